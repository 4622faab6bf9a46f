"""Records what this machine's engines hand over to their runtime, for tests/data/engines.

    python -m tests.integration.handovers FOLDER [ENGINE...]        as root

ENGINE-VERSION.config.json and .calls of a container that asks for acme.com/demo=0, in the way that the
engine has for it; with the CRI also the pause container's. Engines that are not there are told.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.integration.containerd2 import Containerd2, Cri2
from tests.integration.cri import CRICTL, IMAGE, PAUSE, Cri
from tests.integration.engines import Containerd, Docker, Engine, Podman
from tools import record
from tools.lab import namespace, rootfs
from tools.lab.runtime import Result
from tools.lab.shim import Shim

DEVICE = "acme.com/demo=0"
TOKEN = "handover"
# containerd 2.x resolves devices itself.
SPEC = """{"cdiVersion": "0.6.0", "kind": "acme.com/demo", "devices": [
    {"name": "0", "containerEdits": {"env": ["ACME=0"]}}]}"""


def containers(engine: Engine, tree: Path) -> Result:
    """One container of an engine that runs containers."""
    return engine.run(tree, "true", DEVICE)


def pods(engine: Cri, tree: Path) -> Result:
    """One pod with one container."""
    engine.add_image(PAUSE, tree, ["/bin/sleep", "600"])
    engine.add_image(IMAGE, tree, ["/bin/sh"])
    engine.shim.add_spec("acme.json", SPEC)
    try:
        pod = engine.run_pod("p", "pyshim")
        made = engine.create(pod, "p", IMAGE, "true", annotations=engine.asking(DEVICE))
        engine.start_container(made)
        engine.wait(made)
    finally:
        engine.remove_pods()
    return Result(0, "", "")


def builds(engine: Docker, tree: Path) -> Result:
    """One step of a build by dockerd's BuildKit, which starts the runc that PATH leads to."""
    engine.run(tree, "true", "")
    engine.environment |= {"DOCKER_BUILDKIT": "1", "BUILDX_CONFIG": str(engine.folder / "buildx")}
    context = engine.folder / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {tree.name}\nRUN true\n")
    notes = engine.folder / "record"
    for noted in (notes / "calls", *notes.glob("*.config.json")):
        noted.unlink()  # of the container that brought the image
    return engine.client("docker", "build", "--network=none", str(context))


class Buildah(Engine):
    """buildah, which has no daemon."""

    name = "buildah"
    programs = ("buildah",)

    def run(self, tree: Path, script: str, device: str) -> Result:  # noqa: ARG002 - no devices
        own = ("--root", f"{self.folder}/root", "--runroot", f"/run/{TOKEN}-buildah")
        buildah = ("buildah", "--storage-driver=vfs", *own)
        # buildah raises limits beyond what a machine may allow.
        limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
        made = self.client(*buildah, "from", *limits, "--pull-never", "scratch").stdout.strip()
        self.client(*buildah, "copy", made, str(tree), "/")
        runtime = ("--runtime", self.shim.program, "--isolation", "oci", "--network", "none")
        return self.client(*buildah, "run", *runtime, made, "/bin/sh", "-c", script)


Drive = Callable[..., Result]
KINDS: dict[str, tuple[type[Engine], Drive, str]] = {
    "containerd": (Containerd, containers, "containerd --version"),
    "containerd2": (Containerd2, containers, "containerd --version"),
    "cri": (Cri, pods, "containerd --version"),
    "cri2": (Cri2, pods, "containerd --version"),
    "docker": (Docker, containers, "dockerd --version"),
    "buildkit": (Docker, builds, "dockerd --version"),
    "podman": (Podman, containers, "podman --version"),
    "buildah": (Buildah, containers, "buildah --version"),
}


def main(out: Path, names: list[str]) -> None:
    """Record the engines `names`, all by default, into `out`."""
    namespace.enter()
    namespace.adopt_orphans()
    tree = rootfs.make_busybox(Path(tempfile.mkdtemp(dir="/run")) / "busybox")
    out.mkdir(parents=True, exist_ok=True)
    for name in names or KINDS:
        try:
            told = _record(name, tree, out)
        except (AssertionError, OSError, RuntimeError, subprocess.SubprocessError) as err:
            told = f"failed: {err!r}"
        print(name, told, flush=True)


def _record(name: str, tree: Path, out: Path) -> str:
    kind, drive, asked = KINDS[name]
    if absent := [program for program in kind.programs if not shutil.which(program)]:
        return f"is not here: {absent[0]}"
    if issubclass(kind, Cri) and not CRICTL.exists():
        return "is not here: crictl, which tools/crictl.sh build/crictl gets"
    folder = Path(f"/run/{TOKEN}-{name}")
    shutil.rmtree(folder, ignore_errors=True)
    runc = shutil.which("runc") or "runc"
    record.write(folder / "record", runc, "pyshim")
    (folder / "record/runc").symlink_to("pyshim")
    shim = Shim(folder / "pyshim", runc, folder / "record")
    shim.environment["PATH"] = f"{folder}/record:{shim.environment['PATH']}"
    engine = kind(folder, shim, TOKEN)
    try:
        engine.start()
        said = engine.client(*asked.split()).stdout
        done = drive(engine, tree)
    finally:
        engine.stop()
    version = re.search(r"\d+(\.\d+)+", said)
    if done.returncode or not version:
        return f"failed: {done}"
    called = f"{name.rstrip('2')}-{version[0]}"
    return _keep(folder / "record", out, called)


def _keep(folder: Path, out: Path, called: str) -> str:
    made = sorted(folder.glob("*.config.json"), key=lambda path: int(path.name.split(".")[0]))
    names = [called] if len(made) == 1 else [f"{called}.pause", called]
    for path, name in zip(made[-2:], names, strict=True):
        shutil.copy(path, out / f"{name}.config.json")
    shutil.copy(folder / "calls", out / f"{called}.calls")
    return f"is {called}, {len(made)} creates"


if __name__ == "__main__":
    if subprocess.run(["id", "-u"], capture_output=True, check=True).stdout != b"0\n":
        sys.exit("needs root")
    main(Path(sys.argv[1]), sys.argv[2:])
