"""A low-level runtime that only writes down how it was called, and pyshim in front of it.

The probe is a shell script: it reads what the kernel knows of its own process, so nothing that a
shell does to its variables changes the answer.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.lab import shim

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# $0.d holds one file a fact. Descriptors are listed by a child, the shell's own redirection would be
# among them; the status is not, since a shell that waits blocks signals. The word "fail" among the arguments makes the probe fail as a runtime does.
_PROBE = """\
#!/bin/sh
d=$0.d
mkdir -p "$d"
cat /proc/$$/cmdline >"$d/cmdline"
cat /proc/$$/environ >"$d/environ"
while IFS= read -r line; do
    case $line in
    Sig[BIP]* | Umask:* | [UG]id:* | NoNewPrivs:* | Cap*) printf '%s\\n' "$line" ;;
    esac
done </proc/self/status >"$d/status"
find /proc/$$/fd -mindepth 1 -printf '%f %l\\n' >"$d/fds"
readlink /proc/$$/cwd >"$d/cwd"
cat /proc/$$/limits >"$d/limits"
cut -d' ' -f4-8 /proc/$$/stat >"$d/session"
printf %s $$ >"$d/pid"
case " $* " in
*" eat "*) cat >"$d/stdin" ;;
esac
case "$*" in
--version) echo "@VERSION@" ;;
*) echo "probe's output" ;;
esac
echo "probe's error" >&2
case " $* " in
*" fail "*) exit 7 ;;
esac
"""


class Seen:
    """What the probe wrote down; every attribute is a dict or list that compares."""

    def __init__(self, folder: Path) -> None:
        self.argv = _split(folder / "cmdline")[2:]
        self.environ = sorted(_split(folder / "environ"))
        self.facts = {
            name: sorted((folder / name).read_text().splitlines())
            for name in ("status", "fds", "cwd", "limits", "session")
        }
        self.pid = int((folder / "pid").read_text())
        stdin = folder / "stdin"
        self.stdin = stdin.read_bytes() if stdin.exists() else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seen) and self._all() == other._all()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "\n".join(str(part) for part in self._all())

    def _all(self) -> tuple[Any, ...]:
        return (self.argv, self.environ, self.facts, self.stdin)


def _split(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\0")[:-1]


class Done:
    """A finished call: status, both outputs, the process' id, and what the probe saw, if started."""

    def __init__(self, status: int, out: str, err: str, pid: int, seen: Seen | None) -> None:
        self.status = status
        self.out = out
        self.err = err
        self.pid = pid
        self.seen = seen

    def __repr__(self) -> str:
        return f"exit {self.status}\nout: {self.out}\nerr: {self.err}\n{self.seen}"


class Box:
    """pyshim with its programs, settings, cache and spec dir in one folder, in front of a probe."""

    def __init__(self, folder: Path, version: str = "runc version 1.1.5") -> None:
        self.folder = folder
        self.bin = folder / "bin"
        shim.write_programs(self.bin)
        self.pyshim = self.bin / "pyshim"
        self.config = folder / "config.toml"
        self.cache = folder / "cache"
        self.spec_dir = folder / "cdi"
        self.spec_dir.mkdir()
        self.log = folder / "own.log"
        self.runtime = self.make_probe("lowlevel/runc", version)
        self.settings()

    def make_probe(self, name: str, version: str = "runc version 1.1.5") -> Path:
        """Put a probe at `name` below the folder and return its path."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(_PROBE.replace("@VERSION@", version))
        path.chmod(0o755)
        return path

    def settings(self, settings: Mapping[str, object] | None = None) -> None:
        """Write config.toml: the probe, the spec dir and the log of this box, then `settings`."""
        values = {
            "runtimes": [str(self.runtime)], "cdi.spec_dirs": [str(self.spec_dir)],
            "log.file": str(self.log), "log.level": "debug", **(settings or {}),
        }  # fmt: skip
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        self.config.write_text("\n".join(lines) + "\n")

    def environment(self) -> dict[str, str]:
        """The environment that makes pyshim use this box."""
        return {
            "PATH": os.environ["PATH"], "PYSHIM_CONFIG": str(self.config),
            "PYSHIM_CACHE_DIR": str(self.cache),
        }  # fmt: skip

    def call(self, *args: str, **how: Any) -> Done:
        """Call pyshim as an engine does."""
        return self.start(self.pyshim, *args, **how)

    def bare(self, *args: str, **how: Any) -> Done:
        """Call the probe itself with the same arguments."""
        return self.start(self.runtime, *args, **how)

    def start(
        self,
        program: Path | str,
        *args: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: bytes = b"",
        pass_fds: Sequence[int] = (),
        before: Callable[[], object] | None = None,
        executable: Path | str | None = None,
    ) -> Done:
        """Run `program` with `args`; `before` runs in the child, just before exec."""
        seen = Path(f"{self.runtime}.d")
        if seen.exists():
            for file in seen.iterdir():
                file.unlink()
        # Outputs go to files: their links are the same in two calls, a pipe's are not.
        outputs = [self.folder / "out", self.folder / "err"]
        (self.folder / "in").write_bytes(stdin)
        with (
            (self.folder / "in").open("rb") as given,
            outputs[0].open("wb") as out,
            outputs[1].open("wb") as err,
        ):
            process = subprocess.Popen(
                [str(program), *args], executable=executable, stdin=given, stdout=out, stderr=err,
                env=self.environment() if env is None else dict(env), cwd=cwd or self.folder,
                pass_fds=pass_fds, preexec_fn=before,  # noqa: PLW1509
            )  # fmt: skip
            process.wait(60)
        found = Seen(seen) if (seen / "pid").exists() else None
        if found and found.argv == [b"--version"] != [os.fsencode(arg) for arg in args]:
            found = None  # pyshim asked, the container was not created
        printed = [path.read_text(errors="surrogateescape") for path in outputs]
        return Done(process.returncode, printed[0], printed[1], process.pid, found)

    def bundle(self, spec: object, name: str = "bundle") -> Path:
        """Make a bundle whose config.json is `spec`: bytes as they are, else as JSON."""
        path = self.folder / name
        (path / "rootfs").mkdir(parents=True, exist_ok=True)
        data = spec if isinstance(spec, bytes) else json.dumps(spec).encode()
        (path / "config.json").write_bytes(data)
        return path

    def add_spec(self, name: str, text: str | Mapping[str, object]) -> Path:
        """Put a CDI spec file into the spec dir."""
        path = self.spec_dir / name
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return path


ACME = {
    "cdiVersion": "0.6.0",
    "kind": "acme.com/gpu",
    "devices": [
        {"name": "0", "containerEdits": {"env": ["GPU=0"], "deviceNodes": [
            {"path": "/dev/gpu0", "hostPath": "/dev/null"}]}},
        {"name": "1", "containerEdits": {"env": ["OTHER=1"]}},
    ],
    "containerEdits": {
        "env": ["ACME=yes"],
        "mounts": [{"hostPath": "/usr/lib", "containerPath": "/opt/lib", "options": ["ro", "bind"]}],
        "hooks": [
            {"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook",
             "args": ["nvidia-cdi-hook", "create-symlinks", "--link", "a::/b"]},
            {"hookName": "createContainer", "path": "/bin/true", "args": ["true", "vendor"]},
            {"hookName": "createContainer", "path": "/usr/bin/nvidia-ctk",
             "args": ["nvidia-ctk", "hook", "update-ldcache", "--folder", "/opt/lib"]},
        ],
    },
}  # fmt: skip
"""A CDI spec with everything a test of the runtime needs; its files exist on every machine."""


def oci(**members: object) -> dict[str, Any]:
    """Return a small OCI spec; `members` are top-level properties."""
    return {
        "ociVersion": "1.0.2",
        "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": ["sh"], "env": ["A=1"], "cwd": "/"},
        "root": {"path": "rootfs", "readonly": False},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}]},
                  "namespaces": [{"type": "mount"}]},
        **members,
    }  # fmt: skip
