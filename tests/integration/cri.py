"""containerd with its CRI plugin and crictl: a Kubernetes node without the Kubernetes.

`pyshimctl configure` makes its handler `pyshim`. Pods use the host's network, so that no network
plugin is needed. Leaves what pyshim does under it to test_cri.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import missing, need
from tests.integration.conftest import DATA, TOKEN
from tests.integration.engines import Engine
from tools.lab import archive, driver, leaks
from tools.lab.shim import REPOSITORY, Shim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tools.lab.compiler import Compiler
    from tools.lab.runtime import Result

CRICTL = REPOSITORY / "build/crictl/crictl"
PAUSE = "pyshim.test/pause:1"
IMAGE = "pyshim.test/glibc:1"
_SECONDS = 60
_NODE = 2  # runtime.v1.NamespaceMode: the host's

# `careless` is what no administrator should write: it lets pods' annotations through.
CONFIG = """version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
  address = "{folder}/sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{folder}/cni"
    conf_dir = "{folder}/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{root}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.careless]
      runtime_type = "io.containerd.runc.v2"
      pod_annotations = ["{prefix}/*"]
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.careless.options]
        BinaryName = "{program}"
        Root = "{root}"
"""


class Cri(Engine):
    """A node that crictl talks to; `pods` are those it runs.

    `prefix` is that of the annotations which carry devices, `template` the node's config.toml,
    `importing` what `ctr image import` must be told.
    """

    name = "cri"
    programs: tuple[str, ...] = ("containerd", "ctr")
    prefix = "cdi.k8s.io"
    template = CONFIG
    importing: tuple[str, ...] = ()

    @classmethod
    def is_there(cls) -> None:
        super().is_there()
        if not CRICTL.exists():
            missing("crictl is not built; tools/crictl.sh build/crictl gets it")

    def start(self) -> None:
        self.pods: list[str] = []
        self.logs = self.folder / "logs"
        config = self.folder / "config.toml"
        config.write_text(
            self.template.format(
                folder=self.folder,
                root=self.shim.root,
                program=self.shim.program,
                pause=PAUSE,
                specs=self.shim.spec_dir,
                prefix=self.prefix,
            )
        )
        subprocess.run(
            [
                sys.executable,
                "-m",
                "ocishim.admin",
                "configure",
                "containerd",
                "--config",
                str(config),
                "--runtime-path",
                self.shim.program,
            ],
            check=True,
            capture_output=True,
            env=self.environment,  # the containerd of this node reads the result
        )
        self.launch("containerd", "--config", str(config), answers=self.command("version"))

    def configure(self, settings: dict[str, object] | None = None) -> None:
        """Write pyshim's configuration: its defaults, but for `settings`."""
        self.shim.configure({"cdi.annotation_prefixes": [f"{self.prefix}/"], **(settings or {})})

    def equip(self, compiler: Compiler, folder: Path) -> None:
        """Give it the device plugin's spec and driver, pyshim's defaults and an empty log."""
        text = driver.text_of(DATA / "k8s-device-plugin.json", folder)
        self.shim.add_spec("k8s-device-plugin.json", text)
        driver.build(text, compiler)
        self.configure()
        self.shim.log.unlink(missing_ok=True)

    def asking(self, *devices: str) -> dict[str, str]:
        """Return the annotations with which a device plugin answers for `devices`."""
        return {f"{self.prefix}/nvidia-device-plugin_0b21ff2c": ",".join(devices)}

    def add_image(self, name: str, tree: Path, command: list[str]) -> None:
        """Give the node the image `name`, made from the rootfs `tree`."""
        path = self.folder / "image.tar"
        archive.write(path, name, tree, command)
        self.said(
            "ctr",
            "--address",
            f"{self.folder}/sock",
            "--namespace",
            "k8s.io",
            *("image", "import", *self.importing, "--snapshotter", "native", str(path)),
        )
        path.unlink()
        # The CRI plugin hears of the image by an event.
        self._until(lambda: self.crictl("images", "--quiet", name).stdout != "")

    def run_pod(self, name: str, handler: str, annotations: dict[str, str] | None = None) -> str:
        """Start a pod's sandbox and return its id."""
        config = self._write(f"{name}.pod", self._pod(name, annotations))
        options = ["--runtime", handler] if handler else []
        pod = self.said(*self.command("runp", *options, str(config))).strip()
        self.pods.append(pod)
        return pod

    def create(self, pod: str, name: str, image: str, script: str, **config: object) -> str:
        """Create the container `name` in a pod of that name; `config` is CRI's ContainerConfig."""
        return self.said(*self.creation(pod, name, image, script, **config)).strip()

    def creation(
        self,
        pod: str,
        name: str,
        image: str,
        script: str,
        **config: object,
    ) -> list[str]:
        """Return the command line that creates the container."""
        document: dict[str, Any] = {
            "metadata": {"name": name},
            "image": {"image": image},
            "command": ["/bin/sh", "-c", script],
            "log_path": f"{self.next_id()}.log",
            **config,
        }
        container = self._write(f"{name}.container", document)
        return self.command("create", pod, str(container), str(self.folder / f"{name}.pod"))

    def start_container(self, container: str) -> None:
        """Start a container that must start."""
        self.said(*self.command("start", container))

    def run(self, tree: Path, script: str, device: str) -> Result:
        """Not what a CRI client does: it makes pods first."""
        raise NotImplementedError

    def crictl(self, *args: str) -> Result:
        """Call crictl and wait for it."""
        return self.client(*self.command(*args))

    def said(self, *argv: str) -> str:
        """Call a command that must succeed; its standard output."""
        done = self.client(*argv)
        assert done.returncode == 0, done
        return done.stdout

    def wait(self, container: str) -> tuple[int, list[str]]:
        """Wait for the container's end; its exit status and the lines it wrote."""
        self._until(lambda: self._status(container)["state"] == "CONTAINER_EXITED")
        return self._status(container)["exitCode"], self.written(container)

    def written(self, container: str, count: int = 0) -> list[str]:
        """Wait until the container has written `count` lines; what it wrote."""
        log = Path(self._status(container)["logPath"])
        self._until(lambda: len(log.read_text().splitlines()) >= count)
        # Each line is `TIME STREAM TAG TEXT` (the kubelet's CRI log format).
        return [line.split(" ", 3)[3] for line in log.read_text().splitlines()]

    def spec(self, container: str) -> dict[str, Any]:
        """The container's config.json as it was handed to the low-level runtime."""
        spec: dict[str, Any] = json.loads((self.tasks / container / "config.json").read_text())
        return spec

    @property
    def tasks(self) -> Path:
        """The folder of the bundles."""
        return self.folder / "state/io.containerd.runtime.v2.task/k8s.io"

    def remove_pods(self) -> None:
        """Stop and remove every pod with its containers."""
        for pod in self.pods:
            self.said(*self.command("rmp", "--force", pod))
        self.pods.clear()

    def _status(self, container: str) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.said(*self.command("inspect", container)))
        return status["status"]  # type: ignore[no-any-return]

    def _pod(self, name: str, annotations: dict[str, str] | None) -> dict[str, Any]:
        return {
            "metadata": {"name": name, "namespace": "default", "uid": self.next_id(), "attempt": 1},
            "log_directory": str(self.logs),
            "annotations": annotations or {},
            "linux": {
                "cgroup_parent": f"/{self.token}-cri",
                "security_context": {"namespace_options": {"network": _NODE}},
            },
        }

    def _write(self, name: str, document: dict[str, Any]) -> Path:
        path = self.folder / name
        path.write_text(json.dumps(document))
        return path

    def command(self, *args: str) -> list[str]:
        """The command line of crictl for this node."""
        socket = f"unix://{self.folder}/sock"
        return [
            str(CRICTL),
            "--runtime-endpoint",
            socket,
            "--image-endpoint",
            socket,
            "--timeout",
            f"{_SECONDS}s",
            *args,
        ]

    def _until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _SECONDS
        while not ready():
            assert time.monotonic() < deadline, (self.folder / "daemon.log").read_text()[-2000:]
            time.sleep(0.1)


@contextmanager
def running(kind: type[Cri], folder: Path, busybox: Path, glibc: Path) -> Iterator[Cri]:
    """A node with both images; what it leaves in `folder` after its stop is an error."""
    kind.is_there()
    before = leaks.snapshot(TOKEN, str(folder))
    node = kind(folder / "engine", Shim(folder / "pyshim", need("runc")), TOKEN)
    try:
        node.start()
        node.add_image(PAUSE, busybox, ["/bin/sleep", "1000000"])
        node.add_image(IMAGE, glibc, ["/bin/true"])
        # containerd makes folders in /run with its first container; no test is to blame.
        node.run_pod("first", "")
        node.remove_pods()
        yield node
    finally:
        node.stop()
    left = {
        what for what in leaks.snapshot(TOKEN, str(folder)) - before if "file /run/" not in what
    }
    assert not left, "left by the node:\n" + "\n".join(sorted(left))
