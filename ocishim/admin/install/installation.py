"""An installation on disk: versions side by side, and one link that says which is used.

    PREFIX/lib/pyshim/VERSION-DIGEST/bin/   the static file and links to it by its other names;
                                            never changed once there, only mended
    PREFIX/lib/pyshim/current               link to one of them: the switch is one rename
    PREFIX/lib/pyshim/installed.json        what else was made, for uninstall
    PREFIX/bin/pyshim{,-hook,ctl}           links through `current`

A create that runs keeps the version it began with: the hook program that it names is the one
beside it, and the version before the newest stays. What the configuration says is decided
elsewhere; what is wrong with an installation is selfcheck.py's.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil

from ocishim import __version__
from ocishim.admin.editing import files
from ocishim.admin.host import Host
from ocishim.admin.install import integrity
from ocishim.admin.install.integrity import Fault
from ocishim.errors import ConfigError

PREFIX = "/usr/local"
"""Where pyshim is installed unless somebody says otherwise."""

PROGRAMS = ("pyshim", "pyshim-hook", "pyshimctl")
_FILE = "pyshim"
_RECORD = "installed.json"
_LOCK = ".lock"
_SCRATCH = ".new-"
_DIGITS = 12  # of the file's SHA-256, in the name of its folder


class Installation:
    """The installation below `prefix` on `host`; paths without "real" are the machine's own."""

    def __init__(self, host: Host, prefix: str) -> None:
        self.host = host
        self.prefix = prefix.rstrip("/")
        self.home = f"{self.prefix}/lib/pyshim"
        self.bin = f"{self.prefix}/bin"
        self._lock = -1
        self._umask = 0o022

    def __enter__(self) -> Installation:  # noqa: PYI034 - typing has Self from 3.11 on
        # Containers in user namespaces run the hook program: whatever the caller's umask says,
        # everybody can read what is installed.
        self._umask = os.umask(0o022)
        return self

    def __exit__(self, *_exc: object) -> None:
        os.umask(self._umask)
        if self._lock >= 0:
            os.close(self._lock)

    def lock(self) -> None:
        """Wait until no other process changes this installation, whose folder is there.

        Not by the folder itself, which everybody may open, and then lock for ever.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._lock = os.open(f"{self.host.real(self.home)}/{_LOCK}", flags, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    @property
    def current(self) -> str:
        """Name of the version in use, "" when there is none."""
        try:
            return os.readlink(self.host.entry(f"{self.home}/current"))
        except OSError:
            return ""

    def versions(self) -> list[str]:
        """Names of the versions that are there, oldest change first."""
        real = self.host.real(self.home)
        found = (
            [entry for entry in os.scandir(real) if entry.is_dir(follow_symlinks=False)]
            if os.path.isdir(real)
            else []
        )
        return [entry.name for entry in sorted(found, key=lambda one: one.stat().st_mtime_ns)]

    @property
    def owner(self) -> tuple[int, int]:
        """User and group of all that is ours: root's, unless who looks has it for himself.

        Not whoever has the folder now: root executes what is in there.
        """
        user = os.geteuid()
        if user and os.stat(self.host.real(self.home)).st_uid == user:
            return user, os.getegid()
        return 0, 0

    def _own(self, real: str, mode: int) -> None:
        """Make `real`, which is not a link, ours: its owner and mode."""
        os.chown(real, os.geteuid(), os.getegid() if os.geteuid() else 0)
        os.chmod(real, mode)

    def make_folders(self, *folders: str) -> None:
        """Make `folders` and what is above them, and remember which were not there."""
        made: list[str] = []
        for folder in folders:
            missing = folder
            while not os.path.isdir(self.host.real(missing)):
                made.append(missing)
                missing = os.path.dirname(missing)
            os.makedirs(self.host.real(folder), exist_ok=True)
        for folder in made:  # the folder above may hand down its group and its setgid bit
            self._own(self.host.real(folder), 0o755)
        if made:
            record = self.record()
            self.write_record({**record, "folders": [*record.get("folders", []), *made]})

    def record(self) -> dict[str, list[str]]:
        """Return what earlier calls remembered; nothing when that cannot be read any more."""
        try:
            found = json.loads(files.read(self.host, f"{self.home}/{_RECORD}") or "{}")
        except (ConfigError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_record(self, record: dict[str, list[str]]) -> None:
        """Remember `record`."""
        path = self.host.real(f"{self.home}/{_RECORD}")
        files.replace(path, (json.dumps(record, indent=2) + "\n").encode())

    def name_of(self, file: str) -> str:
        """Return the name of the version that the static file `file` makes."""
        return f"{__version__}-{integrity.digest(file)[:_DIGITS]}"

    def version_faults(self, name: str) -> list[Fault]:
        """Return what differs in the folder of the version `name` from what belongs there."""
        folder = self.host.real(f"{self.home}/{name}")
        return integrity.faults(folder, _entries(name), self.owner)

    def add(self, file: str) -> tuple[str, list[Fault]]:
        """Put the static file in place, or mend what is there of it; nothing uses it yet.

        Returns the version's name, and what was mended.
        """
        name = self.name_of(file)
        final = self.host.real(f"{self.home}/{name}")
        there = os.path.isdir(final)
        gone = [Fault(".", "is missing")] if self.current == name else []
        wrong = self.version_faults(name) if there else gone
        if there and not wrong:
            return name, []
        scratch = self.host.real(f"{self.home}/{_SCRATCH}{os.getpid()}")
        try:
            _build(file, scratch)
            integrity.own(scratch, self.owner)
            if there:
                integrity.mend(final, scratch, _entries(name))
            else:
                os.rename(scratch, final)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return name, wrong

    def use(self, name: str) -> bool:
        """Make the version `name` the one in use, by one rename; False when it was already."""
        if self.current == name:
            return False
        path = self.host.entry(f"{self.home}/current")
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)  # a copy that did not keep links
        files.link(name, path)
        return True

    def make_readable(self) -> list[Fault]:
        """Mend the folder of all versions and the record of what was made; return what it was."""
        wrong = self.home_faults()
        real = self.host.real(self.home)
        for path, _what in wrong:
            if path == _RECORD:
                self.write_record(self.record())
            else:
                self._own(real, 0o755)
        return wrong

    def home_faults(self) -> list[Fault]:
        """Return what is wrong with the folder of all versions, and with the record in it."""
        real = self.host.real(self.home)
        wrong = integrity.differences(real, ".", (0o755, integrity.FOLDER), self.owner)
        try:
            record = files.content(self.host.real(f"{self.home}/{_RECORD}"))
            whole = isinstance(json.loads(record), dict)
        except (OSError, ValueError, RecursionError):
            whole = False
        return wrong if whole else [*wrong, Fault(_RECORD, "cannot be read")]

    def refuse_strangers(self) -> None:
        """Raise ConfigError when a program of somebody else has the name of one of ours."""
        for path in self.wrong_links():
            if not self._may_be_replaced(path):
                raise ConfigError(
                    f"{path} is there and not ours", hint="remove it, or choose another --prefix"
                )

    def link_programs(self) -> list[str]:
        """Make the programs' links in PREFIX/bin; return those that were not right."""
        made = self.wrong_links()
        for path in made:
            files.link(self._wanted(path), self.host.entry(path))
        return made

    def wrong_links(self) -> list[str]:
        """Return the programs' paths in PREFIX/bin that do not lead where they should."""
        paths = [f"{self.bin}/{program}" for program in PROGRAMS]
        return [path for path in paths if self._target(path) != self._wanted(path)]

    def _may_be_replaced(self, path: str) -> bool:
        """Whether nobody misses what is at `path`: nothing, or a link to nowhere or to us."""
        entry = self.host.entry(path)
        if not os.path.islink(entry):
            return not os.path.lexists(entry) or (
                os.path.isfile(entry) and not os.stat(entry).st_size
            )
        real = self.host.real(path)
        return not os.path.exists(real) or real.startswith(self.host.real(self.home) + "/")

    def unlink_programs(self) -> list[str]:
        """Remove our links from PREFIX/bin; return those that were there."""
        wrong = self.wrong_links()
        removed = [f"{self.bin}/{one}" for one in PROGRAMS if f"{self.bin}/{one}" not in wrong]
        for path in removed:
            os.unlink(self.host.entry(path))
        return removed

    def prune(self, *keep: str) -> list[str]:
        """Remove the versions that are not in `keep`; return their names."""
        gone = [name for name in self.versions() if name not in keep]
        for name in gone:
            shutil.rmtree(self.host.real(f"{self.home}/{name}"))
        return gone

    def clear(self) -> list[str]:
        """Remove what installs that were killed have left, under the lock; return its names."""
        left = [name for name in self.versions() if name.startswith(_SCRATCH)]
        for name in left:
            shutil.rmtree(self.host.real(f"{self.home}/{name}"))
        return left

    def _wanted(self, path: str) -> str:
        """Return what the link of a program at `path` says, also where PREFIX/bin is a link."""
        home, folder = self.host.real(self.home), self.host.real(self.bin)
        return f"{os.path.relpath(home, folder)}/current/bin/{os.path.basename(path)}"

    def _target(self, path: str) -> str:
        try:
            return os.readlink(self.host.entry(path))
        except OSError:
            return ""


def _entries(name: str) -> integrity.Entries:
    """Return what belongs into the folder of the version `name`."""
    links = {f"bin/{one}": (0o777, integrity.LINK + _FILE) for one in PROGRAMS if one != _FILE}
    folders = dict.fromkeys((".", "bin"), (0o755, integrity.FOLDER))
    return {**folders, **links, f"bin/{_FILE}": (0o755, name.rpartition("-")[2])}


def _build(file: str, folder: str) -> None:
    os.makedirs(f"{folder}/bin")
    for one in (folder, f"{folder}/bin"):
        os.chmod(one, 0o755)  # noqa: S103 - also where the folder above hands down its setgid bit
    target = f"{folder}/bin/{_FILE}"
    try:
        shutil.copyfile(file, target)
    except OSError as err:
        # It names the source first, which is rarely the one that is at fault: a full disk.
        raise OSError(err.errno, err.strerror, err.filename2 or err.filename) from None
    os.chmod(target, 0o755)  # noqa: S103 - hooks of user namespaces run it
    with open(target, "rb") as copy:
        os.fsync(copy.fileno())
    for program in PROGRAMS:
        if program != _FILE:
            os.symlink(_FILE, f"{folder}/bin/{program}")
