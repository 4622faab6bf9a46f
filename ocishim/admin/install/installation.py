"""An installation on disk: versions side by side, and one link that says which is used.

    PREFIX/lib/pyshim/VERSION-DIGEST/bin/   the static file and links to it by its other names;
                                            never changed once there, only mended
    PREFIX/lib/pyshim/current               link to one of them: the switch is one rename
    PREFIX/lib/pyshim/installed.json        what else was made, for uninstall
    PREFIX/bin/pyshim{,-hook,ctl}           links through `current`

A create that runs keeps the version it began with: the hook program that it names is the one
beside it, the version before the newest stays, and older ones while they are needed (inuse.py).
What the configuration says is decided elsewhere; what is wrong with an installation is
selfcheck.py's.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
from contextlib import suppress

from ocishim import __version__
from ocishim.admin.editing import files
from ocishim.admin.host import Host
from ocishim.admin.install import integrity, record, versionfolder
from ocishim.admin.install.integrity import Fault
from ocishim.admin.install.record import Record
from ocishim.admin.install.versionfolder import PROGRAMS
from ocishim.errors import ConfigError

PREFIX = "/usr/local"
"""Where pyshim is installed unless somebody says otherwise."""

_LOCK = ".lock"
_BESIDE = ("current", _LOCK, record.NAME)  # the versions
_SCRATCH = ".new-"
_VERSION = re.compile(r"[0-9].*-[0-9a-f]{12}")
_LEFT = re.compile(r"\.new-|(\.installed\.json|current)\.[0-9]+$")
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
        path = self._at(_LOCK)
        if os.path.lexists(path) and self._lock_faults():
            integrity.remove(path)  # who has another user's open may have locked it for ever
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._lock = os.open(path, flags, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    @property
    def current(self) -> str:
        """Name of the version in use, "" when there is none."""
        try:
            return os.readlink(self.host.entry(f"{self.home}/current"))
        except (OSError, ConfigError):
            return ""

    def versions(self) -> list[str]:
        """Names of the versions that are there, oldest change first.

        Another folder is somebody else's: ours may be a clone's or lead to one that has much more.
        """
        found = {}
        for name in self.named():
            with suppress(FileNotFoundError):  # another install has just removed it
                found[name] = os.lstat(self._at(name))
        folders = [name for name, status in found.items() if stat.S_ISDIR(status.st_mode)]
        return sorted(folders, key=lambda name: found[name].st_mtime_ns)

    def named(self) -> list[str]:
        """Names of whatever is called as a version, be it a folder or not."""
        return [name for name in self._names() if _VERSION.fullmatch(name)]

    @property
    def owner(self) -> tuple[int, int]:
        """User and group of all that is ours: root's, unless who looks has it for himself.

        Not whoever has the folder now: root executes what is in there.
        """
        user = os.geteuid()
        if user and os.stat(self.host.real(self.home)).st_uid == user:
            return user, os.getegid()
        return 0, 0

    def make_folders(self, *folders: str) -> None:
        """Make `folders` and what is above them, and remember which were not there."""
        made: list[str] = []
        for folder in folders:
            missing = folder
            while not self.host.is_folder(missing):
                made.append(missing)
                missing = os.path.dirname(missing)
            os.makedirs(self.host.real(folder), exist_ok=True)
        for folder in made:  # the folder above may hand down its group and its setgid bit
            integrity.take(self.host.real(folder), 0o755)
        if made:
            old = self.record()
            self.write_record({**old, "folders": [*old.get("folders", []), *made]})

    def record(self) -> Record:
        """Return what earlier calls remembered; nothing when that cannot be read any more."""
        return record.read(self._at(record.NAME))[0]

    def write_record(self, new: Record) -> None:
        """Remember `new`."""
        path = self._at(record.NAME)
        record.write(path, new)
        integrity.take(path, 0o644)

    def name_of(self, file: str) -> str:
        """Return the name of the version that the static file `file` makes."""
        return f"{__version__}-{integrity.digest(file)[:_DIGITS]}"

    def version_faults(self, name: str) -> list[Fault]:
        """Return what differs in the folder of the version `name` from what belongs there."""
        folder = self._at(name)
        if name not in self.versions():
            return [Fault(".", "is no folder")]
        return integrity.faults(folder, versionfolder.entries(name), self.owner)

    def to_mend(self, name: str) -> list[Fault]:
        """Return what `add` mends of the version `name`, be it no folder, or gone while in use."""
        if name in self.named():
            return self.version_faults(name)
        return [Fault(".", "is missing")] if self.current == name else []

    def add(self, file: str) -> tuple[str, list[Fault]]:
        """Put the static file in place, or mend what is there of it; nothing uses it yet.

        Returns the version's name, and what was mended.
        """
        name = self.name_of(file)
        final = self._at(name)
        there = name in self.versions()
        wrong = self.to_mend(name)
        if there and not wrong:
            return name, []
        scratch = self._at(f"{_SCRATCH}{os.getpid()}")
        try:
            versionfolder.build(file, scratch)
            integrity.own(scratch, self.owner)
            if there:
                integrity.mend(final, scratch, versionfolder.entries(name))
            else:
                integrity.remove(final)
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

    def mend_home(self) -> list[Fault]:
        """Make the folder of all versions ours, and take the lock; return what was wrong.

        First of all: what another user's folder holds is his, whoever looks at it.
        """
        wrong = self._home_faults()
        if wrong:
            integrity.take(self.host.real(self.home), 0o755)
        lock = self._lock_faults()
        self.lock()
        return [*wrong, *lock]

    def mend_record(self) -> list[Fault]:
        """Mend the record of what was made, under the lock; return what was wrong."""
        wrong = self._record_faults()
        if wrong:
            self.write_record(self.record())
        return wrong

    def home_faults(self) -> list[Fault]:
        """Return what is wrong with the folder of all versions, and with the files in it."""
        return [*self._home_faults(), *self._lock_faults(), *self._record_faults()]

    def _home_faults(self) -> list[Fault]:
        return self._differences(".", 0o755, integrity.FOLDER)

    def _lock_faults(self) -> list[Fault]:
        there = os.path.lexists(self._at(_LOCK))
        return self._differences(_LOCK, 0o600, integrity.ANY) if there else []

    def _record_faults(self) -> list[Fault]:
        if not record.read(self._at(record.NAME))[1]:
            return [Fault(record.NAME, "cannot be read")]
        return self._differences(record.NAME, 0o644, integrity.ANY)

    def _differences(self, path: str, mode: int, content: str) -> list[Fault]:
        home = self.host.real(self.home)
        return [*integrity.differences(home, path, (mode, content), self.owner)]

    def _at(self, name: str) -> str:
        """Return where `name` in the folder of all versions lies for us, be it a link or not."""
        return f"{self.host.real(self.home)}/{name}"

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

    def unlink_programs(self) -> list[str]:
        """Remove our links from PREFIX/bin; return those that were there."""
        wrong = self.wrong_links()
        removed = [f"{self.bin}/{one}" for one in PROGRAMS if f"{self.bin}/{one}" not in wrong]
        for path in removed:
            os.unlink(self.host.entry(path))
        return removed

    def unused(self, *keep: str) -> list[str]:
        """Return the names of the versions that are not in `keep`."""
        return [name for name in self.versions() if name not in keep]

    def damaged(self, keep: str) -> list[str]:
        """Return the names of the versions beside `keep` that are not what was put there.

        They cannot be mended, and are of no use to creates that still run.
        """
        return [name for name in self.named() if name != keep and self.version_faults(name)]

    def left(self) -> list[str]:
        """Return the names of what installs that were killed have left."""
        return [name for name in self._names() if _LEFT.match(name)]

    def others(self) -> list[str]:
        """Return the names of what lies in the folder of all versions and is not ours."""
        ours = {*self.named(), *self.left(), *_BESIDE}
        return [name for name in self._names() if name not in ours]

    def clear(self) -> None:
        """Remove what is ours in the folder of all versions, and it, if that was all."""
        others = self.others()
        self.remove([name for name in self._names() if name not in others])
        if not others:
            os.rmdir(self.host.real(self.home))

    def _names(self) -> list[str]:  # not Host.listdir: who may not look must not find nothing
        try:
            return sorted(os.listdir(self.host.real(self.home)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def remove(self, names: list[str]) -> list[str]:
        """Remove `names` from the folder of all versions, under the lock; return their paths."""
        for name in names:
            integrity.remove(self._at(name))
        return [f"{self.home}/{name}" for name in names]

    def _wanted(self, path: str) -> str:
        """Return what the link of a program at `path` says, also where PREFIX/bin is a link."""
        home, folder = self.host.real(self.home), self.host.real(self.bin)
        return f"{os.path.relpath(home, folder)}/current/bin/{os.path.basename(path)}"

    def _target(self, path: str) -> str:
        try:
            return os.readlink(self.host.entry(path))
        except OSError:
            return ""
