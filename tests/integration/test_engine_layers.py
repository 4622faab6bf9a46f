"""Hooks on an engine's own layers: Docker's overlay2 and Podman's overlay, an image of two layers.

The second layer, made by the engine, has whiteouts and an opaque folder where the hooks write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import DATA, TOKEN
from tests.integration.engines import Docker, Podman
from tools.lab import driver, leaks
from tools.lab.driver import MULTIARCH
from tools.lab.shim import Shim

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from tools.lab.compiler import Compiler
    from tools.lab.runtime import Result

pytestmark = [pytest.mark.root, pytest.mark.engine]

KIND = "nvidia.com/gpu"
LIB = f"/usr/lib/{MULTIARCH}"
FIRST = f"""mkdir -p {LIB} /etc/nvidia /opt/gone
ln -s nowhere {LIB}/libcuda.so; echo x >/opt/gone/f; echo old >/etc/ld.so.cache"""
SECOND = f"""rm -rf /opt/gone {LIB}/libcuda.so /etc/ld.so.cache /etc/nvidia
mkdir /etc/nvidia /opt/gone"""
LOOKS = f"load libcuda.so.1 libvdpau_nvidia.so.1; readlink {LIB}/libcuda.so; ls /opt/gone"


class DockerOverlay(Docker):
    """Docker with the storage driver it has by default."""

    def launch(self, *argv: str, answers: list[str]) -> None:
        words = [word.replace("--storage-driver=vfs", "--storage-driver=overlay2") for word in argv]
        super().launch(*words, answers=answers)

    def image(self, tree: Path, name: str) -> None:
        """Make an image `name` of `tree`, by two more layers."""
        self._import(tree)
        image = tree.name
        for number, script in enumerate((FIRST, SECOND)):
            made = f"{name}-{number}"
            run = ("run", "--network=none", f"--name={made}", image, "/bin/sh", "-c", script)
            for words in (run, ("commit", made, f"{name}:{number}"), ("rm", made)):
                done = self.client("docker", *words)
                assert done.returncode == 0, done
            image = f"{name}:{number}"

    def look(self, name: str, device: str) -> Result:
        """Run LOOKS in a container of the image."""
        return self.client(
            "docker", "run", "--rm", "--network=none", "--runtime=pyshim", *self.ask(device),
            f"{name}:1", "/bin/sh", "-c", LOOKS,
        )  # fmt: skip


# Podman keeps lists of images in /var, whatever its --root.
PRIVATE = ("unshare", "-m", "sh", "-ec",
           'mount -t tmpfs tmpfs /var/lib; mount -t tmpfs tmpfs /var/cache; exec "$@"', "sh")  # fmt: skip


class PodmanOverlay(Podman):
    """Podman with overlay."""

    def client(self, *argv: str, stdin: IO[bytes] | None = None) -> Result:
        words = [word.replace("--storage-driver=vfs", "--storage-driver=overlay") for word in argv]
        return super().client(*PRIVATE, *words, stdin=stdin)

    def image(self, tree: Path, name: str) -> None:
        """Make an image `name` of `tree`, by two more layers."""
        archive = self.folder / "tree.tar"
        assert self.client("tar", "-C", str(tree), "-cf", str(archive), ".").returncode == 0
        done = self.podman("import", "--quiet", str(archive), name)
        assert done.returncode == 0, done
        image = name
        for number, script in enumerate((FIRST, SECOND)):
            made = f"{name}-{number}"
            run = self.podman(
                "run", "--network=none", f"--cgroup-parent=/{self.token}-podman",
                "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", f"--name={made}",
                image, "/bin/sh", "-c", script,
            )  # fmt: skip
            assert run.returncode == 0, run
            for words in (("commit", "--quiet", made, f"{name}:{number}"), ("rm", made)):
                done = self.podman(*words)
                assert done.returncode == 0, done
            image = f"{name}:{number}"

    def look(self, name: str, device: str) -> Result:
        """Run LOOKS in a container of the image."""
        return self.start_container(*self.ask(device), f"{name}:1", "/bin/sh", "-c", LOOKS)


@pytest.fixture(scope="module", params=[DockerOverlay, PodmanOverlay], ids=["docker", "podman"])
def daemon(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    glibc: Path,
) -> Iterator[DockerOverlay | PodmanOverlay]:
    """The engine, running, with the image; what it leaves after its stop is an error."""
    request.param.is_there()
    folder = tmp_path_factory.mktemp(request.param.name)
    before = leaks.snapshot(TOKEN, str(folder))
    made: DockerOverlay | PodmanOverlay = request.param(
        folder / "engine", Shim(folder / "pyshim", "runc"), TOKEN
    )
    try:
        made.start()
        made.image(glibc, "layers")
        made.look("layers", "")  # what an engine makes in /run with its first container
        yield made
    finally:
        made.stop()
    left = {w for w in leaks.snapshot(TOKEN, str(folder)) - before if "file /run/" not in w}
    assert not left, "left by the engine:\n" + "\n".join(sorted(left))


def test_hooks_write_to_layers_of_the_engine(
    daemon: DockerOverlay | PodmanOverlay, lowlevel: Path, compiler: Compiler, tmp_path: Path
) -> None:
    daemon.shim.lowlevel = str(lowlevel)
    daemon.shim.configure(daemon.settings(KIND))
    text = driver.text_of(DATA / "nvidia-dgx-a100.yaml", tmp_path / "driver")
    daemon.shim.add_spec("nvidia.yaml", text)
    driver.build(text, compiler)
    for _ in range(2):
        result = daemon.look("layers", f"{KIND}=1")
        assert (result.returncode, result.stdout.splitlines(), result.stderr) == (
            0,
            [
                f"libcuda.so.1 => {LIB}/libcuda.so.1",
                f"libvdpau_nvidia.so.1 => {LIB}/vdpau/libvdpau_nvidia.so.1",
                "libcuda.so.1",
            ],
            "",
        )
    assert daemon.shim.warnings == ""
