"""An installation on disk: versions side by side, and one link that says which is used.

    PREFIX/lib/pyshim/VERSION-DIGEST/   packages, libraries, programs; never changed once there
    PREFIX/lib/pyshim/current           link to one of them: the switch is one rename
    PREFIX/lib/pyshim/installed.json    what else was made, for uninstall
    PREFIX/bin/pyshim{,-hook,ctl}       links through `current`

A create that runs keeps the version it began with: programs and modules name their own folder,
and the version before the newest stays. Which files, which interpreter and what the configuration
says is decided elsewhere.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat

from ocishim import __version__
from ocishim.admin import files, launchers, preloading
from ocishim.admin.host import Host
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
        """Return what earlier calls remembered."""
        text = files.read(self.host, f"{self.home}/{_RECORD}")
        found: dict[str, list[str]] = json.loads(text) if text else {}
        return found

    def write_record(self, record: dict[str, list[str]]) -> None:
        """Remember `record`."""
        path = self.host.real(f"{self.home}/{_RECORD}")
        files.replace(path, (json.dumps(record, indent=2) + "\n").encode())

    def add(self, sources: Files, python: Python) -> str:
        """Put a version in place, unless it is there; return its name. Nothing uses it yet."""
        name = f"{__version__}-{digest(sources, python)}"
        final = f"{self.home}/{name}"
        if os.path.isdir(self.host.real(final)):
            return name
        scratch = f"{self.home}/.new-{os.getpid()}"
        real = self.host.real(scratch)
        try:
            _copy(sources, real)
            for program, text in self._programs(final, python).items():
                files.replace(f"{real}/bin/{program}", text.encode(), 0o755)
            self._compile(python, scratch, final)
            self._preload(python, scratch, final)
            os.rename(real, self.host.real(final))
        except BaseException:
            shutil.rmtree(real, ignore_errors=True)
            raise
        return name

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
        files.link(name, self.host.entry(f"{self.home}/current"))
        return True

    def link_programs(self) -> list[str]:
        """Make the programs' links in PREFIX/bin; return those that were not there."""
        made = []
        for program in PROGRAMS:
            path, target = f"{self.bin}/{program}", f"../lib/pyshim/current/bin/{program}"
            if self._target(path) != target:
                if os.path.lexists(self.host.entry(path)):
                    raise ConfigError(
                        f"{path} is there and not ours",
                        hint="remove it, or choose another --prefix",
                    )
                files.link(target, self.host.entry(path))
                made.append(path)
        return made

    def unlink_programs(self) -> list[str]:
        """Remove our links from PREFIX/bin; return those that were there."""
        removed = []
        for program in PROGRAMS:
            path = f"{self.bin}/{program}"
            if self._target(path) == f"../lib/pyshim/current/bin/{program}":
                os.unlink(self.host.entry(path))
                removed.append(path)
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
        executable = os.stat(source).st_mode & stat.S_IXUSR
        os.chmod(target, 0o755 if executable else 0o644)
