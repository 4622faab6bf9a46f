"""An installation on disk: versions side by side, and one link that says which is used.

    PREFIX/lib/pyshim/VERSION-DIGEST/   packages, libraries, programs, and the list of all these
                                        (integrity.py); never changed once there, only mended
    PREFIX/lib/pyshim/current           link to one of them: the switch is one rename
    PREFIX/lib/pyshim/installed.json    what else was made, for uninstall
    PREFIX/bin/pyshim{,-hook,ctl}       links through `current`

A create that runs keeps the version it began with: programs and modules name their own folder,
and the version before the newest stays. Which files, which interpreter and what the configuration
says is decided elsewhere; what is wrong with an installation is selfcheck.py's.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat

from ocishim import __version__
from ocishim.admin import files, integrity, launchers, preloading
from ocishim.admin.host import Host
from ocishim.admin.integrity import Fault, Listed
from ocishim.admin.pythons import Python
from ocishim.admin.vendor import SITE, Files
from ocishim.errors import ConfigError

PROGRAMS = ("pyshim", "pyshim-hook", "pyshimctl")
_RECORD = "installed.json"


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
        """Wait until no other process changes this installation, whose folder is there."""
        self._lock = os.open(self.host.real(self.home), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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

    def make_folders(self, *folders: str) -> None:
        """Make `folders` and what is above them, and remember which were not there."""
        made: list[str] = []
        for folder in folders:
            missing = folder
            while not os.path.isdir(self.host.real(missing)):
                made.append(missing)
                missing = os.path.dirname(missing)
            os.makedirs(self.host.real(folder), exist_ok=True)
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

    def name_of(self, sources: Files, python: Python) -> str:
        """Return the name of the version made of `sources` for `python`."""
        return f"{__version__}-{digest(sources, python)}"

    def listed(self, name: str) -> Listed | None:
        """Return the list of what the version `name` consists of; None when it has none."""
        return integrity.read(self.host.real(f"{self.home}/{name}"))

    def version_faults(self, name: str) -> list[Fault]:
        """Return what differs in the folder of the version `name` from its list, by path."""
        listed = self.listed(name)
        if listed is None:
            return [Fault(integrity.LIST, "cannot be read", True)]
        return integrity.faults(self.host.real(f"{self.home}/{name}"), listed)

    def add(self, sources: Files, python: Python, facts: dict[str, str]) -> tuple[str, list[Fault]]:
        """Put a version in place, or mend the one that is there; nothing uses it yet.

        facts: noted in its list. Returns its name, and what was mended.
        """
        name = self.name_of(sources, python)
        final = f"{self.home}/{name}"
        there = os.path.isdir(self.host.real(final))
        gone = [Fault(".", "is missing", True)] if self.current == name else []
        wrong = self.version_faults(name) if there else gone
        if there and not wrong:
            return name, []
        scratch = f"{self.home}/.new-{os.getpid()}"
        real = self.host.real(scratch)
        try:
            self._build(sources, python, scratch, final)
            integrity.write(real, facts)
            if there:
                integrity.mend(self.host.real(final), real)
            else:
                os.rename(real, self.host.real(final))
        finally:
            shutil.rmtree(real, ignore_errors=True)
        return name, wrong

    def _build(self, sources: Files, python: Python, scratch: str, final: str) -> None:
        real = self.host.real(scratch)
        _copy(sources, real)
        for program, text in self._programs(final, python).items():
            files.replace(f"{real}/bin/{program}", text.encode(), 0o755)
        self._compile(python, scratch, final)
        self._preload(python, scratch, final)

    def _programs(self, final: str, python: Python) -> dict[str, str]:
        programs = launchers.texts(f"{final}/bin", python.path, final, f"{final}/{SITE}")
        programs["pyshim"] = launchers.pinned(programs["pyshim"], f"{final}/bin/pyshim")
        return programs

    def _compile(self, python: Python, folder: str, final: str) -> None:
        # Nothing in the folder ever changes, so its bytecode is never checked against the
        # sources: a copy or an image layer that loses their times keeps it valid. No faster: create
        # takes 11.8 ms either way (minimum of 300 alternating runs).
        done = self.host.run(
            python.path,
            "-I",
            "-S",
            "-m",
            "compileall",
            "-q",
            "--invalidation-mode",
            "unchecked-hash",
            "-s",
            folder,
            "-p",
            final,
            folder,
        )
        if done.returncode != 0:
            message = (done.stdout + done.stderr).strip()
            raise ConfigError(f"{python.path} cannot compile pyshim: {message[-2000:]}")

    def _preload(self, python: Python, folder: str, final: str) -> None:
        """Write the hot programs' modules into one file each, for where they will lie."""
        script = f"{folder}/ocishim/admin/preloading.py"
        words = (script, folder, f"{folder}/bin", final)
        done = self.host.run(python.path, *preloading.OPTIONS, *words)
        if done.returncode != 0:
            message = (done.stdout + done.stderr).strip()
            raise ConfigError(f"{python.path} cannot compile pyshim: {message[-2000:]}")

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
        for path, _what, _lost in wrong:
            if path == _RECORD:
                self.write_record(self.record())
            else:
                os.chown(real, os.geteuid(), os.getegid())
                os.chmod(real, 0o755)  # noqa: S103 - hooks of user namespaces run it
        return wrong

    def home_faults(self) -> list[Fault]:
        """Return what is wrong with the folder of all versions, and with the record in it."""
        found = os.stat(self.host.real(self.home))
        wrong = []
        if stat.S_IMODE(found.st_mode) & 0o757 != 0o755:
            wrong.append(Fault(".", f"has mode {stat.S_IMODE(found.st_mode):04o}, not 0755", False))
        try:
            record = files.content(self.host.real(f"{self.home}/{_RECORD}"))
            whole = isinstance(json.loads(record), dict)
        except (OSError, ValueError, RecursionError):
            whole = False
        return wrong if whole else [*wrong, Fault(_RECORD, "cannot be read", False)]

    def link_programs(self) -> list[str]:
        """Make the programs' links in PREFIX/bin; return those that were not right."""
        made = self.wrong_links()
        for path in made:
            if not self._may_be_replaced(path):
                raise ConfigError(
                    f"{path} is there and not ours", hint="remove it, or choose another --prefix"
                )
        for path in made:
            files.link(_target_of(path), self.host.entry(path))
        return made

    def wrong_links(self) -> list[str]:
        """Return the programs' paths in PREFIX/bin that do not lead where they should."""
        paths = [f"{self.bin}/{program}" for program in PROGRAMS]
        return [path for path in paths if self._target(path) != _target_of(path)]

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

    def _target(self, path: str) -> str:
        try:
            return os.readlink(self.host.entry(path))
        except OSError:
            return ""


def _target_of(path: str) -> str:
    """Return what the link of a program at `path` says."""
    return f"../lib/pyshim/current/bin/{os.path.basename(path)}"


def digest(sources: Files, python: Python) -> str:
    """Return 12 hexadecimal digits that stand for the files' contents and the interpreter."""
    total = hashlib.sha256(f"{python.path} {python.name}\n".encode())
    for path in sorted(sources):
        with open(sources[path], "rb") as file:
            total.update(f"{path} {hashlib.sha256(file.read()).hexdigest()}\n".encode())
    return total.hexdigest()[:12]


def _copy(sources: Files, folder: str) -> None:
    for path, source in sources.items():
        target = f"{folder}/{path}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)
        os.chmod(target, 0o644)  # none is a program: those are the launchers
