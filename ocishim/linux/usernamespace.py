"""User namespaces: whose ids theirs are; user_namespaces(7)."""

from __future__ import annotations

from ocishim import posixos


def map_root(pid: str, uid: int, gid: int) -> None:
    """Make our `uid` and `gid` root's in the new namespace of process `pid`, which may be self."""
    write(f"/proc/{pid}/setgroups", "deny")  # gid_map demands it of whoever has no rights
    write(f"/proc/{pid}/uid_map", f"0 {uid} 1\n")
    write(f"/proc/{pid}/gid_map", f"0 {gid} 1\n")


def write(path: str, text: str) -> None:
    """Write a map's file, which the kernel takes in one piece."""
    fd = posixos.open(path, posixos.O_WRONLY | posixos.O_CLOEXEC)
    try:
        posixos.write(fd, text.encode())
    finally:
        posixos.close(fd)
