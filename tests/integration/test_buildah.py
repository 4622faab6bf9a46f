"""buildah with pyshim as its runtime: `buildah run` and the RUN lines of `buildah build`.

Its storage is the test's own. An image's annotations do not reach the runtime, so that a request is a
variable of who runs it; buildah 1.28 has no --annotation and no --device.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tools.lab.shim import Shim

pytestmark = [pytest.mark.root, pytest.mark.engine]

SPEC = """\
cdiVersion: 0.6.0
kind: acme.com/demo
devices:
- name: "0"
  containerEdits:
    deviceNodes: [{path: /dev/acme0, hostPath: /dev/null}]
    env: [ACME=zero]
"""
LOOK = "ls /dev | grep acme; echo ACME=$ACME"
# Wherever its storage is, buildah makes /var/lib/containers, /var/lib/cni and /var/cache/containers.
_PRIVATE = 'mount -t tmpfs none /var/lib; mount -t tmpfs none /var/cache; exec "$0" "$@"'
GIVEN, NOTHING = ["acme0", "ACME=zero"], ["ACME="]


@pytest.fixture
def lowlevel(lowlevels: dict[str, Path]) -> Path:
    return lowlevels["runc"]


@pytest.fixture
def buildah(shim: Shim, tmp_path: Path) -> Callable[..., str]:
    """Call buildah; its standard output."""
    need("buildah")
    table = {"name": "ACME_VISIBLE_DEVICES", "kind": "acme.com/demo", "unprivileged": True}
    shim.configure({"requests.env": [table]})
    shim.add_spec("acme.yaml", SPEC)
    # It raises limits to what it may not on a machine without CAP_SYS_RESOURCE.
    (tmp_path / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
    )
    environment = {**shim.environment, "CONTAINERS_CONF": f"{tmp_path}/containers.conf"}
    folders = [f"--root={tmp_path}/root", f"--runroot={tmp_path}/run", "--storage-driver=vfs"]

    def call(command: str, *args: str) -> str:
        argv = ["unshare", "-m", "--propagation", "private", "sh", "-ec", _PRIVATE, "buildah"]
        argv += [*folders, command, *args]
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, done
        return done.stdout

    return call


@pytest.fixture
def runtime(shim: Shim) -> list[str]:
    return [f"--runtime={shim.program}", "--isolation=oci", "--network=none"]


@pytest.fixture
def image(buildah: Callable[..., str], busybox: Path) -> Iterator[str]:
    """An image whose author asks for a device by annotation."""
    container = buildah("from", "scratch").strip()
    buildah("copy", "--quiet", container, str(busybox), "/")
    buildah("config", "--annotation", "cdi.k8s.io/x=acme.com/demo=0", container)
    buildah("commit", "--quiet", container, "greedy")
    yield "localhost/greedy"
    buildah("rm", "--all")


def test_run(buildah: Callable[..., str], image: str, runtime: list[str]) -> None:
    container = buildah("from", image).strip()
    look = [container, "/bin/sh", "-c", LOOK]
    assert buildah("run", *runtime, *look).splitlines() == NOTHING
    asking = ["--env", "ACME_VISIBLE_DEVICES=0"]
    assert buildah("run", *runtime, *asking, *look).splitlines() == GIVEN


def test_build(buildah: Callable[..., str], image: str, runtime: list[str], tmp_path: Path) -> None:
    """A variable of the Containerfile asks, as one of an image does: `unprivileged` lets it."""
    lines = [
        f"FROM {image}",
        f"RUN {{ {LOOK}; }} >/before",
        "ENV ACME_VISIBLE_DEVICES=0",
        f"RUN {{ {LOOK}; }} >/after",
    ]
    file = tmp_path / "Containerfile"
    file.write_text("\n".join(lines))
    (tmp_path / "context").mkdir()
    named = ["--tag=built", "--file", str(file), str(tmp_path / "context")]
    buildah("build", *runtime, "--quiet", *named)
    mounted = Path(buildah("mount", buildah("from", "localhost/built").strip()).strip())
    found = [(mounted / name).read_text().splitlines() for name in ("before", "after")]
    assert found == [NOTHING, GIVEN]
