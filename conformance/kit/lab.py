"""What a check works with: bundles with a busybox in them, CDI specs, and calls of the runtime.

Leaves namespaces to isolate.py: here everything may be written to, and nothing need be removed.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

from kit.case import Failure, Skip, check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

APPLETS = (
    "sh",
    "cat",
    "ls",
    "stat",
    "id",
    "env",
    "sleep",
    "kill",
    "readlink",
    "touch",
    "grep",
    "sort",
    "head",
    "wc",
    "dd",
    "tr",
    "cut",
    "true",
    "false",
    "printf",
    "pwd",
    "test",
    "mount",
    "mkdir",
    "hostname",
    "od",
)
NAMESPACES = ("pid", "ipc", "uts", "mount", "network")
MOUNTS: tuple[tuple[str, str, list[str]], ...] = (
    ("/proc", "proc", []),
    ("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
    ("/sys", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
)
CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE"]
PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
GPU = {"cdi.k8s.io/test": "acme.com/gpu=0"}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is under test: the runtime's command, and the hook program's path or "".

    `lacks` names what the machine or the runtime's flags leave out: cgroup. `patience` is how long
    (s) a command may take before it counts as hanging. `by_create`: create and start instead of
    run, as engines do.
    """

    runtime: tuple[str, ...]
    hook: str
    busybox: str
    lacks: tuple[str, ...] = ()
    patience: float = 20
    by_create: bool = False


@dataclasses.dataclass(frozen=True)
class Done:
    """What a call left: exit status (negative: a signal) and both outputs."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Standard output, line by line."""
        return self.out.splitlines()


class Bundle:
    """A folder with config.json and a rootfs."""

    def __init__(self, path: str, spec: dict[str, Any]) -> None:
        self.path = path
        self.config = f"{path}/config.json"
        self.rootfs = f"{path}/rootfs"
        os.makedirs(self.rootfs)
        self.write(spec)

    @property
    def spec(self) -> dict[str, Any]:
        """config.json as it is now."""
        spec: dict[str, Any] = json.loads(self.bytes)
        return spec

    @property
    def bytes(self) -> bytes:
        """config.json's text as it is now."""
        with open(self.config, "rb") as file:
            return file.read()

    def write(self, spec: object) -> None:
        """Write config.json."""
        with open(self.config, "w", encoding="utf-8") as file:
            json.dump(spec, file)


class Lab:
    """One case's folder, and the runtime under test."""

    def __init__(self, setting: Setting, folder: str, cgroup: str) -> None:
        self.dir = folder
        self.setting = setting
        self.busybox = setting.busybox
        self.cgroup = cgroup
        self.id = "box"
        self.out = f"{folder}/out"
        os.mkdir(self.out)

    def needs(self, what: str) -> None:
        """Skip the case where the call said that `what` is lacking."""
        if what in self.setting.lacks:
            raise Skip(f"without {what}, as the call says")

    def bundle(
        self,
        script: str = "true",
        *,
        name: str = "bundle",
        annotations: Mapping[str, str] | None = None,
        hooks: Mapping[str, Any] | None = None,
        readonly: bool = False,
        **sections: object,
    ) -> Bundle:
        """Make a bundle whose container runs the shell `script`."""
        spec = self.spec(script, annotations or {}, readonly=readonly)
        if hooks is not None:
            spec["hooks"] = copy.deepcopy(dict(hooks))
        spec.update(sections)
        bundle = Bundle(f"{self.dir}/{name}", spec)
        for part in ("bin", "proc", "dev", "sys", "etc", "tmp"):
            os.mkdir(f"{bundle.rootfs}/{part}")
        shutil.copyfile(self.busybox, f"{bundle.rootfs}/bin/busybox")
        os.chmod(f"{bundle.rootfs}/bin/busybox", 0o755)
        for applet in APPLETS:
            os.symlink("busybox", f"{bundle.rootfs}/bin/{applet}")
        return bundle

    def spec(
        self,
        script: str,
        annotations: Mapping[str, str],
        *,
        readonly: bool = False,
    ) -> dict[str, Any]:
        """Return the OCI spec of a plain container: no terminal, no network."""
        return {
            "ociVersion": "1.0.2",
            "process": {
                "terminal": False,
                "user": {"uid": 0, "gid": 0},
                "args": ["/bin/sh", "-c", script],
                "env": [PATH, "TERM=dumb"],
                "cwd": "/",
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
                "noNewPrivileges": True,
            },
            "root": {"path": "rootfs", "readonly": readonly},
            "hostname": "box",
            "mounts": [
                {"destination": path, "type": kind, "source": kind, "options": list(options)}
                for path, kind, options in MOUNTS
            ],
            "annotations": dict(annotations),
            "linux": {
                "cgroupsPath": f"/{self.cgroup}",
                "resources": {"devices": [{"allow": False, "access": "rwm"}]},
                "namespaces": [{"type": kind} for kind in NAMESPACES],
            },
        }

    def cdi(self, document: object, name: str = "acme.json", *, high: bool = False) -> str:
        """Write a CDI spec, a document or its text, into /etc/cdi or, `high`, /var/run/cdi."""
        path = f"{'/var/run/cdi' if high else '/etc/cdi'}/{name}"
        with open(path, "w", encoding="utf-8") as file:
            file.write(document if isinstance(document, str) else json.dumps(document))
        return path

    def command(self, *args: str) -> list[str]:
        """Return the whole command line for the runtime's `args`, with a --root of the case."""
        return [*self.setting.runtime, "--root", f"{self.dir}/root", *args]

    def call(self, *args: str, **how: Any) -> Done:
        """Call the runtime; `how` goes to execute()."""
        return self.execute(self.command(*args), **how)

    def execute(
        self,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 30,
        **how: Any,
    ) -> Done:
        """Call any program. Outputs go to files: a pipe would last as long as the container."""
        names = [f"{self.dir}/.{stream}" for stream in ("stdin", "stdout", "stderr")]
        given, out, err = names
        with open(given, "wb") as file:
            file.write(stdin)
        for name in names[1:]:  # a container of an earlier call may still write to the old ones
            if os.path.exists(name):
                os.unlink(name)
        with open(given, "rb") as one, open(out, "wb") as two, open(err, "wb") as three:
            try:
                status = subprocess.call(
                    command,
                    stdin=one,
                    stdout=two,
                    stderr=three,
                    timeout=timeout,
                    **how,
                )
            except subprocess.TimeoutExpired as late:
                raise Failure(f"no end after {timeout:g} s: {' '.join(command)}") from late
        return Done(status, self.read(out), self.read(err))

    def read(self, path: str) -> str:
        """Return a file's text, undecodable bytes replaced."""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def run(self, bundle: Bundle, *options: str, **how: Any) -> Done:
        """`run` the bundle in the foreground, or what comes to the same."""
        if self.setting.by_create:
            return self._run_by_create(bundle, *options, **how)
        return self.call("run", *options, "--bundle", bundle.path, self.id, **how)

    def _run_by_create(self, bundle: Bundle, *options: str, **how: Any) -> Done:
        """`create` and `start`, and wait as an engine's monitor does: as the one who adopts it."""
        pid_file = f"{self.dir}/.pid"
        done = self.create(bundle, *options, "--pid-file", pid_file, **how)
        if done.status != 0:
            return done
        for name in ("stdout", "stderr"):
            os.rename(f"{self.dir}/.{name}", f"{self.dir}/.container-{name}")
        started = self.call("start", self.id)
        if started.status != 0:
            return started
        _, status = os.waitpid(int(self.read(pid_file)), 0)
        self.call("delete", self.id)
        return Done(
            os.waitstatus_to_exitcode(status),
            self.read(f"{self.dir}/.container-stdout"),
            self.read(f"{self.dir}/.container-stderr"),
        )

    def create(self, bundle: Bundle, *options: str, **how: Any) -> Done:
        """`create` the container."""
        return self.call("create", *options, "--bundle", bundle.path, self.id, **how)

    def runs(self, bundle: Bundle, *options: str, **how: Any) -> Done:
        """`run` the bundle; it is a failure if that fails."""
        done = self.run(bundle, *options, **how)
        check(done.status == 0, f"run exits {done.status}: {done.err[-600:]}")
        return done

    def creates(self, bundle: Bundle, *options: str, **how: Any) -> Done:
        """`create` the container; it is a failure if that fails."""
        done = self.create(bundle, *options, **how)
        check(done.status == 0, f"create exits {done.status}: {done.err[-600:]}")
        return done

    def starts(self) -> Done:
        """`start` the container; it is a failure if that fails."""
        done = self.call("start", self.id)
        check(done.status == 0, f"start exits {done.status}: {done.err[-600:]}")
        return done

    def state(self) -> dict[str, Any]:
        """Return what `state` prints; it is a failure if that fails."""
        done = self.call("state", self.id)
        check(done.status == 0, f"state exits {done.status}: {done.err[-600:]}")
        state: dict[str, Any] = json.loads(done.out)
        return state

    def wait_for(self, status: str, seconds: float = 15) -> None:
        """Wait until the container's status is `status`."""
        self.until(lambda: self.state()["status"] == status, f"status {status}", seconds)

    def until(self, condition: Any, what: str, seconds: float = 15) -> None:
        """Wait until `condition()` holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            check(time.monotonic() < deadline, f"not within {seconds:g} s: {what}")
            time.sleep(0.02)

    def gone(self) -> None:
        """Check that there is no such container."""
        done = self.call("state", self.id)
        check(done.status != 0, f"a container is left: {done.out}")
