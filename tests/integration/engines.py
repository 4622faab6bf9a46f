"""Container engines with everything they own in one folder, started here and stopped by pid.

Nothing of the host's engines is used: own sockets, data, state and configuration. Leaves what
pyshim does under them to test_engines.py.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tests.conftest import need
from tools.lab import cgroups, leaks
from tools.lab.runtime import Result

if TYPE_CHECKING:
    from tools.lab.shim import Shim

_START_SECONDS = 60
_STOP_SECONDS = 30
SLEEP = "exec sleep 600"


class Engine:
    """An engine whose runtime is `shim`; subclasses know the command lines."""

    name = ""
    programs: tuple[str, ...] = ()

    def __init__(self, folder: Path, shim: Shim, token: str) -> None:
        self.folder = folder
        self.shim = shim
        self.token = token
        self.count = 0
        self.daemon: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tmp").mkdir(exist_ok=True)
        self.environment = {**shim.environment, "TMPDIR": str(folder / "tmp")}

    @classmethod
    def is_there(cls) -> None:
        """Skip (in CI: fail) the running test where a program is missing."""
        for program in cls.programs:
            need(program)

    def start(self) -> None:
        """Start the daemon, if there is one, and wait until it answers."""

    def stop(self) -> None:
        """Stop the daemon by its process id and remove the control groups it keeps."""
        if self.daemon is not None:
            self.daemon.terminate()
            self.daemon.wait(_STOP_SECONDS)
        cgroups.remove(f"{self.token}-")

    def ask(self, device: str) -> list[str]:
        """Return the options of `run` that ask for the CDI device; none for no device."""
        return ["--annotation", f"cdi.k8s.io/test={device}"] if device else []

    def settings(self, kind: str) -> dict[str, object]:  # noqa: ARG002 - one engine needs it
        """Return pyshim's settings that let this engine's users ask for devices of `kind`."""
        return {}

    def refuses(self, lowlevel: Path) -> str:  # noqa: ARG002 - one engine needs it
        """Return why no container of this engine's can be started by `lowlevel`, "" if it can."""
        return ""

    def run(self, tree: Path, script: str, device: str) -> Result:
        """Run the shell `script` in a copy of the rootfs `tree`, asking for `device`."""
        raise NotImplementedError

    def begin(self, tree: Path) -> str:
        """Have a container sleep in a copy of `tree` and return its name."""
        raise NotImplementedError

    def enter(self, container: str, *argv: str) -> Result:
        """Run a program in the container that began."""
        raise NotImplementedError

    def end(self, container: str) -> list[Result]:
        """Stop the container and delete it; the results of all calls."""
        raise NotImplementedError

    def told(self, result: Result) -> str:
        """Return the line that tells a user of a failure: ours, in the engine's own words."""
        return result.stderr.partition("\n")[0]

    def copy(self, tree: Path) -> Path:
        """Return a fresh copy of `tree`: hooks write to the rootfs."""
        rootfs = self.folder / "rootfs"
        shutil.rmtree(rootfs, ignore_errors=True)
        shutil.copytree(tree, rootfs, symlinks=True)
        return rootfs

    def next_id(self) -> str:
        """Return a container id that was not used before."""
        self.count += 1
        return f"{self.token}-{self.name}-{self.count}"

    def client(self, *argv: str, stdin: IO[bytes] | None = None) -> Result:
        """Call the engine's command and wait for it."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                argv,
                env=self.environment,
                stdin=stdin or subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                check=False,
                timeout=120,
            )
            out.seek(0)
            err.seek(0)
            return Result(done.returncode, out.read(), err.read())

    def launch(self, *argv: str, answers: list[str]) -> None:
        """Start the daemon `argv`; it is up when the command `answers` succeeds."""
        log = self.folder / "daemon.log"
        with log.open("wb") as output:
            self.daemon = subprocess.Popen(
                argv,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + _START_SECONDS
        while self.client(*answers).returncode != 0:
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)


class Containerd(Engine):
    """containerd without CRI, driven by ctr."""

    name = "containerd"
    programs: tuple[str, ...] = ("containerd", "ctr")

    def start(self) -> None:
        config = self.folder / "config.toml"
        config.write_text(f"""version = 2
root = "{self.folder}/root"
state = "{self.folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{self.folder}/sock"
""")
        self.launch("containerd", "--config", str(config), answers=self._ctr("version"))

    def _ctr(self, *args: str) -> list[str]:
        return ["ctr", "--address", f"{self.folder}/sock", "--namespace", self.token, *args]

    def run(self, tree: Path, script: str, device: str) -> Result:
        options = ("--rm", *self.ask(device))
        return self._run(self.next_id(), tree, *options, script=script)

    def begin(self, tree: Path) -> str:
        container = self.next_id()
        self._run(container, tree, "--detach", script=SLEEP)
        return container

    def enter(self, container: str, *argv: str) -> Result:
        options = ("--exec-id", "enter", "--fifo-dir", f"{self.folder}/fifo")
        return self.client(*self._ctr("task", "exec", *options, container, *argv))

    def end(self, container: str) -> list[Result]:
        return [
            self.client(*self._ctr("task", "delete", "--force", container)),
            self.client(*self._ctr("container", "delete", container)),
        ]

    def _run(self, container: str, tree: Path, *options: str, script: str) -> Result:
        return self.client(
            *self._ctr(
                "run",
                "--runc-binary",
                self.shim.program,
                "--runc-root",
                str(self.shim.root),
                "--cgroup",
                f"/{container}",
                "--fifo-dir",
                f"{self.folder}/fifo",
                *options,
                "--rootfs",
                str(self.copy(tree)),
                container,
                "/bin/sh",
                "-c",
                script,
            )
        )


class Docker(Engine):
    """dockerd with a containerd of its own and no network, driven by docker."""

    name = "docker"
    programs = ("dockerd", "docker", "containerd")

    def __init__(self, folder: Path, shim: Shim, token: str) -> None:
        super().__init__(folder, shim, token)
        self.environment |= {
            "DOCKER_HOST": f"unix://{folder}/sock",
            "DOCKER_CONFIG": f"{folder}/client",
        }
        self.by_environment = False

    def start(self) -> None:
        (self.folder / "daemon.json").write_text("{}")
        argv = [
            "dockerd",
            f"--config-file={self.folder}/daemon.json",
            f"--host=unix://{self.folder}/sock",
            f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/exec",
            f"--pidfile={self.folder}/pid",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            "--userland-proxy=false",
            "--storage-driver=vfs",
            f"--cgroup-parent=/{self.token}-docker",
            f"--add-runtime=pyshim={self.shim.program}",
        ]
        self.launch(*argv, answers=["docker", "version"])
        version = self.client("docker", "version", "--format", "{{.Server.APIVersion}}").stdout
        # API 1.43 (Docker 24) knows --annotation; before, only the environment reaches us.
        self.by_environment = tuple(map(int, version.split("."))) < (1, 43)
        cgroups.make(f"{self.token}-docker")

    def stop(self) -> None:
        super().stop()
        # dockerd binds its data root over itself, and leaves that where / is itself a folder of a
        # file system, as in a chroot (shouldUnmountRoot of moby's daemon/daemon_linux.go).
        data = self.folder / "data"
        if any(what.startswith(f"mount {data} ") for what in leaks.mounts()):
            subprocess.run(["umount", str(data)], check=True)

    def ask(self, device: str) -> list[str]:
        if device and self.by_environment:
            return ["--env", f"TEST_VISIBLE_DEVICES={device.partition('=')[2]}"]
        return super().ask(device)

    def settings(self, kind: str) -> dict[str, object]:
        table = {"name": "TEST_VISIBLE_DEVICES", "kind": kind, "unprivileged": True}
        return {"requests.env": [table]} if self.by_environment else {}

    def run(self, tree: Path, script: str, device: str) -> Result:
        return self._run(tree, "--rm", *self.ask(device), script=script)

    def begin(self, tree: Path) -> str:
        return self._run(tree, "--detach", script=SLEEP).stdout.strip()

    def enter(self, container: str, *argv: str) -> Result:
        return self.client("docker", "exec", container, *argv)

    def end(self, container: str) -> list[Result]:
        return [self.client("docker", "rm", "--force", container)]

    def _run(self, tree: Path, *options: str, script: str) -> Result:
        if not self.client("docker", "image", "ls", "--quiet", tree.name).stdout:
            self._import(tree)
        command = (tree.name, "/bin/sh", "-c", script)
        return self.client(
            "docker", "run", "--network=none", "--runtime=pyshim", *options, *command
        )

    def _import(self, tree: Path) -> None:
        with tempfile.TemporaryFile() as archive:
            subprocess.run(["tar", "-C", str(tree), "-c", "."], stdout=archive, check=True)
            archive.seek(0)
            self.client("docker", "import", "-", tree.name, stdin=archive)


class Podman(Engine):
    """Podman, which has no daemon but conmon a container."""

    name = "podman"
    programs = ("podman", "conmon")

    def __init__(self, folder: Path, shim: Shim, token: str) -> None:
        super().__init__(folder, shim, token)
        # conmon starts the runtime with hardly any environment.
        self.program = shim.wrapper()
        (folder / "containers.conf").write_text("")
        (folder / "networks").mkdir(exist_ok=True)
        self.environment |= {
            "CONTAINERS_CONF": f"{folder}/containers.conf",
            "XDG_CONFIG_HOME": f"{folder}/xdg",
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "yes",
        }

    def start(self) -> None:
        cgroups.make(f"{self.token}-podman")
        Path("/run/containers/networks").mkdir(parents=True, exist_ok=True)

    def settings(self, kind: str) -> dict[str, object]:  # noqa: ARG002 - of any kind
        return {"requests.podman_annotations": True}

    def pull(self, source: str) -> Result:
        """Call `podman pull`, which writes to /var/lib/containers/cache, whatever its --root."""
        private = ("unshare", "-m", "sh", "-ec", 'mount -t tmpfs tmpfs /var/lib; exec "$@"', "sh")
        return self.podman("pull", "--quiet", source, before=private)

    def podman(self, *argv: str, before: tuple[str, ...] = ()) -> Result:
        """Call podman with the options that keep it in its folder."""
        # The runroot's path may have 50 characters at most; /run is the session's own.
        runroot = f"/run/{self.token}"
        result = self.client(
            *before,
            "podman",
            f"--root={self.folder}/root",
            f"--runroot={runroot}",
            f"--tmpdir={runroot}/libpod",
            "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
            f"--network-config-dir={self.folder}/networks",
            f"--runtime={self.program}",
            *argv,
        )
        # Podman 5 forgets this folder when a container cannot be created.
        for left in Path(runroot, "libpod/persist").glob("*"):
            if not (self.folder / "root/vfs-containers" / left.name).exists():
                shutil.rmtree(left)
        return result

    def begin(self, tree: Path) -> str:
        rootfs = ("--rootfs", str(self.copy(tree)))
        result = self.start_container("--detach", *rootfs, "/bin/sh", "-c", SLEEP)
        return result.stdout.strip()

    def enter(self, container: str, *argv: str) -> Result:
        return self.podman("exec", container, *argv)

    def end(self, container: str) -> list[Result]:
        return [self.podman("rm", "--force", "--time=0", container)]

    def start_container(self, *argv: str) -> Result:
        """Call `podman run` with these arguments."""
        return self.podman(
            "run",
            "--rm",
            "--network=none",
            f"--cgroup-parent=/{self.token}-podman",
            # Podman raises limits beyond what a machine may allow.
            "--ulimit=nofile=1024:1024",
            "--ulimit=nproc=1024:1024",
            *argv,
        )

    def run(self, tree: Path, script: str, device: str) -> Result:
        rootfs = ("--rootfs", str(self.copy(tree)))
        return self.start_container(*self.ask(device), *rootfs, "/bin/sh", "-c", script)
