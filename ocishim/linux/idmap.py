"""Whether the kernel maps the owners of a mount's files: asked of a copy that is mounted nowhere.

It depends on the file system (overlayfs has no mapped mounts, ext4 has), on who asks (only with
rights over the file system: not in rootless Podman) and on the mount (one that is mapped already
is not mapped again); mount_setattr(2).
"""

from __future__ import annotations

import errno

from ocishim import posixos
from ocishim.linux import const, process, syscalls, usernamespace


def maps_owners(source_fd: int, *, recursive: bool) -> bool:
    """Ask for a bind mount of the file or folder `source_fd`; O_PATH is enough.

    recursive: with the mounts below. Nothing stays of the question. False where nobody can tell.
    """
    flags = const.OPEN_TREE_CLONE | const.AT_EMPTY_PATH | (const.AT_RECURSIVE if recursive else 0)
    try:
        copy = syscalls.open_tree(source_fd, "", flags)
    except OSError:  # no right to mount at all, or a mount that cannot be bound
        return False
    try:
        namespace = _user_namespace()
        try:
            attribute = const.MOUNT_ATTR_IDMAP
            syscalls.mount_setattr(
                copy, attribute, 0, recursive=recursive, user_namespace=namespace
            )
        finally:
            posixos.close(namespace)
    except OSError:
        return False
    finally:
        posixos.close(copy)
    return True


def _user_namespace() -> int:
    """Return a descriptor of a user namespace that maps something; the caller closes it.

    It lives as long as the descriptor: the process it was made for has nothing to do.
    """
    waits, ends = posixos.pipe2(posixos.O_CLOEXEC)
    pid = process.clone3(const.CLONE_NEWUSER)
    if pid == 0:
        posixos.close(ends)
        posixos.read(waits, 1)
        posixos._exit(0)
    try:
        usernamespace.map_root(str(pid), posixos.geteuid(), posixos.getegid())
        return posixos.open(f"/proc/{pid}/ns/user", posixos.O_RDONLY | posixos.O_CLOEXEC)
    finally:
        posixos.close(waits)
        posixos.close(ends)
        _wait(pid)


def _wait(pid: int) -> None:
    try:
        posixos.waitpid(pid, 0)
    except OSError as error:
        if error.errno != errno.ECHILD:  # the engine has us ignore SIGCHLD
            raise
