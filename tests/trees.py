"""Directory trees for tests, written as one line for each file, and what they look like after.

    dir a/b [MODE]          symlink e /b/c          fifo b/f            socket s
    file etc/x some text    hardlink h etc/x        char d 1 5          block d 7 0

Parents are made. A line whose parent is a link is a mistake of the test and refused: the tree
would grow outside of its root.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

HOSTILE = (
    "file etc/passwd of the image",
    "dir usr/lib",
    "dir var/run",
    "symlink run /var/run",
    "symlink abs-root /",
    "symlink dots ../../../../../../../..",
    "symlink dots-out ../../../../../../../..{outside}",
    "symlink out {outside}",
    "symlink out-file {outside}/file",
    "symlink magic-cwd /proc/self/cwd",
    "symlink magic-root /proc/self/root",
    "symlink magic-fd /proc/self/fd/0",
    "symlink dangling /nowhere",
    "symlink loop loop",
    "symlink loop-a loop-b",
    "symlink loop-b loop-a",
    "symlink nonlexical usr/lib/../../etc",
    "symlink deep/link ../usr/lib",
    "fifo fifo",
    "socket socket",
    "symlink to-fifo fifo",
    "file plain text",
)
"""One image that tries everything; `{outside}` is a directory of the host."""


def make_tree(root: Path, *lines: str) -> Path:
    """Make the files of `lines` below `root` and return it."""
    root.mkdir(parents=True, exist_ok=True)
    for line in lines:
        kind, name, *rest = line.split(" ", 2)
        path = _parents(root, name)
        _MAKERS[kind](root, path, rest[0] if rest else "")
    return root


def hostile_tree(root: Path, outside: Path) -> Path:
    """Make HOSTILE below `root`, aimed at `outside`, which gets a file and a directory."""
    make_tree(outside, "file file secret", "dir dir", "symlink link target")
    return make_tree(root, *(line.format(outside=outside) for line in HOSTILE))


def link_chain(root: Path, length: int, end: str = "plain") -> Path:
    """`chain0 -> chain1 -> ... -> end`; the kernel gives up after 40."""
    names = [f"chain{i}" for i in range(length)]
    return make_tree(
        root, *(f"symlink {a} {b}" for a, b in zip(names, [*names[1:], end], strict=True))
    )


def _parents(root: Path, name: str) -> Path:
    path = root / name
    for parent in reversed(path.relative_to(root).parents[:-1]):
        where = root / parent
        if where.is_symlink():
            raise ValueError(f"{name}: {parent} is a link")
        where.mkdir(exist_ok=True)
    return path


def _dir(_root: Path, path: Path, mode: str) -> None:
    path.mkdir(exist_ok=True)
    if mode:
        path.chmod(int(mode, 8))


def _socket(_root: Path, path: Path, _rest: str) -> None:
    # sockaddr_un holds 108 bytes, pytest's directories are longer: bind where it lies
    parent = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{parent}/{path.name}")
    finally:
        os.close(parent)


def _node(kind: int, path: Path, rest: str) -> None:
    major, minor = map(int, rest.split())
    os.mknod(path, 0o666 | kind, os.makedev(major, minor))


_MAKERS: dict[str, Callable[[Path, Path, str], object]] = {
    "dir": _dir,
    "file": lambda _root, path, text: path.write_text(text),
    "symlink": lambda _root, path, target: path.symlink_to(target),
    "hardlink": lambda root, path, source: os.link(root / source, path),
    "fifo": lambda _root, path, _rest: os.mkfifo(path),
    "socket": _socket,
    "char": lambda _root, path, rest: _node(stat.S_IFCHR, path, rest),
    "block": lambda _root, path, rest: _node(stat.S_IFBLK, path, rest),
}


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """What lies below `root`: path -> (type and mode, owner, link count, text or content, times).

    Links are not followed. Two equal snapshots: nothing was created, changed or removed.
    """
    found: dict[str, tuple[object, ...]] = {}
    for path in _walk(root):
        status = path.lstat()
        content: object = None
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            content = status.st_rdev
        found[str(path.relative_to(root))] = (
            oct(status.st_mode),
            (status.st_uid, status.st_gid),
            status.st_nlink,
            content,
            (status.st_mtime_ns, status.st_ctime_ns),
        )
    return found


def _walk(root: Path) -> Iterable[Path]:
    yield root
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            yield Path(folder) / name


def names(root: Path) -> list[str]:
    """Every path below `root`, relative, sorted; links are not followed."""
    return sorted(str(path.relative_to(root)) for path in _walk(root) if path != root)
