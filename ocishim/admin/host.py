"""A machine's file tree: this machine's, or a node's root mounted somewhere (--host-root).

Paths that people and configuration files know are the machine's own; `real` says where such a
path lies for us, and `run` runs a program of that machine.
"""

from __future__ import annotations

import errno
import glob
import os
import subprocess
from collections.abc import Callable, Iterator

from ocishim.errors import ConfigError, reason
from ocishim.lowlevel.lowlevel import USUAL_DIRS

_MAX_LINKS = 40  # the kernel's own limit, path_resolution(7)
_TIMEOUT = 120  # seconds


class Host:
    """The tree at `root`; "/" is this machine."""

    __slots__ = ("root",)

    def __init__(self, root: str = "/") -> None:
        if not os.path.isdir(root):
            raise ConfigError(f"{root}: not a directory", hint="--host-root names a mounted root")
        self.root = os.path.realpath(root).rstrip("/")

    @property
    def elsewhere(self) -> bool:
        """Whether this is another tree than the one we run in."""
        return self.root != ""

    def real(self, path: str) -> str:
        """Return where the machine's absolute `path` lies for us, every symbolic link followed.

        Links are followed inside the tree, absolute ones too. What does not exist is kept as
        written, also what can be no file's path: a setting is any text. Raises ConfigError for a
        loop of links.
        """
        done: list[str] = []
        todo = path.split("/")[::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                del done[-1:]
            elif part not in ("", "."):
                try:
                    target = os.readlink("/".join((self.root, *done, part)))
                except (OSError, ValueError):  # NUL, or half a character
                    done.append(part)
                    continue
                links += 1
                if links > _MAX_LINKS:
                    raise ConfigError(f"{path}: too many symbolic links")
                if target.startswith("/"):
                    done = []
                todo += target.split("/")[::-1]
        return "/".join((self.root, *done)) or "/"

    def target(self, path: str) -> str:
        """Return where `path` leads to, as `real`; "" for a loop of links, which leads nowhere."""
        try:
            return self.real(path)
        except ConfigError:
            return ""

    def status(self, path: str) -> os.stat_result | None:
        """Return what stat(2) says of `path`, links followed; None where it cannot be looked at."""
        try:
            return os.stat(self.target(path))
        except (OSError, ValueError):
            return None

    def entry(self, path: str) -> str:
        """Return where the name `path` lies for us: as `real`, but a final link is not followed."""
        folder, name = os.path.split(path)
        return os.path.join(self.real(folder), name)

    def inside(self, real: str) -> str:
        """Return the machine's own path of `real`, which `real` or `entry` returned."""
        return real.removeprefix(self.root) or "/"

    def stat(self, path: str) -> os.stat_result:
        """Ask the machine for the status of `path`. Raises OSError: ELOOP for a loop of links."""
        return os.stat(or_loop(self.real, path))

    def lstat(self, path: str) -> os.stat_result:
        """Ask the same of the name `path`, be it a link's. Raises OSError as `stat`."""
        return os.lstat(or_loop(self.entry, path))

    def has(self, path: str) -> bool:
        """Whether the name `path` is there, be it a link to nothing."""
        return os.path.lexists(self.entry(path))

    def exists(self, path: str) -> bool:
        """Whether `path` leads to something, links followed."""
        return os.path.exists(self.target(path))

    def is_folder(self, path: str) -> bool:
        """Whether `path` is a folder, links followed."""
        return os.path.isdir(self.target(path))

    def is_file(self, path: str) -> bool:
        """Whether `path` is a regular file, links followed."""
        return os.path.isfile(self.target(path))

    def is_program(self, path: str) -> bool:
        """Whether `path` is a file that can be executed, links followed, be it by root alone."""
        return is_program(self.target(path))

    def listdir(self, path: str) -> list[str]:
        """Return the sorted names in the folder `path`; none when it cannot be read."""
        try:
            return sorted(os.listdir(self.target(path)))
        except (OSError, ValueError):
            return []

    def processes(self) -> Iterator[str]:
        """Yield the folders in /proc, where they lie for us, of processes with the machine's root.

        Those of containers are left out: they are called what an image's author likes, and engines
        among them are no engines of this machine. Whose root may not be looked at counts.
        """
        root = os.stat(self.real("/"))
        for folder in glob.glob(glob.escape(self.real("/proc")) + "/[0-9]*"):
            try:
                own = os.path.samestat(os.stat(f"{folder}/root"), root)
            except OSError as err:
                own = err.errno == errno.EACCES
            if own:
                yield folder

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the machine in its own root and return both outputs as text.

        Raises ConfigError when it cannot be started or does not end. Needs root for another tree.
        """
        try:
            return subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="backslashreplace",
                check=False,
                timeout=_TIMEOUT,
                cwd="/",
                env={"PATH": ":".join(USUAL_DIRS), "LC_ALL": "C.UTF-8"},
                preexec_fn=self._enter if self.elsewhere else None,
            )
        except OSError as err:
            raise not_run(argv[0], self.real(argv[0]), err) from None
        except subprocess.TimeoutExpired:
            raise ConfigError(f"{' '.join(argv)} did not end in {_TIMEOUT} s") from None
        except subprocess.SubprocessError:  # Python says no more of what _enter raised
            why = f"{argv[0]} cannot be run: {self.root} cannot be entered"
            raise ConfigError(why, hint="run it as root", errno=errno.EPERM) from None

    def _enter(self) -> None:
        os.chroot(self.root)
        os.chdir("/")


def or_loop(place: Callable[[str], str], path: str) -> str:
    """Return where `path` lies for us, as `place` says. Raises OSError for a loop of links."""
    try:
        return place(path)
    except ConfigError:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None


def is_program(real: str) -> bool:
    """Whether the file `real` can be executed by its owner, his group or others.

    Not only by this user, to whom nothing else tells a program of root's from none.
    """
    if not os.path.isfile(real):
        return False
    return os.access(real, os.X_OK) or (os.geteuid() != 0 and os.stat(real).st_mode & 0o111 != 0)


def not_run(program: str, real: str, err: OSError) -> ConfigError:
    """Return the error for what the kernel refuses to start. real: where `program` lies for us.

    execve(2) has one reason for a program that is not there and for one whose interpreter is not.
    """
    why = reason(err)
    if err.filename == os.devnull:  # what is its standard input, in a root without /dev
        why = f"{os.devnull}: {why}"
    elif err.errno == errno.ENOENT and os.path.isfile(real):
        why = "the interpreter that it names does not exist"
    return ConfigError(f"{program} cannot be run: {why}", errno=err.errno)
