"""containerd 2.x: it reads what `pyshimctl configure` writes; its own CDI beside pyshim's, and alone.

What a pod's container gets is test_cri.py's, on 1.x and 2.x alike.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ocishim.admin.editing import tomlfile
from tests.conftest import need
from tests.integration.containerd2 import PROGRAMS, Containerd2, Cri2
from tests.integration.cri import IMAGE, running
from tools.lab.driver import MULTIARCH
from tools.lab.shim import PROGRAMS as OURS
from tools.lab.shim import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tools.lab.compiler import Compiler

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.xdist_group("cri2")]

PYSHIM = str(OURS / "pyshim")
RUNTIME = "io.containerd.cri.v1.runtime"
KIND = "k8s.device-plugin.nvidia.com/gpu"
GPU = f"{KIND}=GPU-4c3c4c80-47bf-48ac-9c6c-21ba3f2906d1"
LIB = f"/usr/lib/{MULTIARCH}"
PLAIN = """cdiVersion: 0.6.0
kind: acme.com/demo
containerEdits:
  env: [ACME_ALL=yes]
devices:
- name: "0"
  containerEdits:
    deviceNodes: [{path: /dev/acme0, hostPath: /dev/null, permissions: rw}]
    env: [ACME=zero]
    mounts: [{hostPath: /usr/share, containerPath: /acme, options: [ro, rbind]}]
"""
WITHOUT_RUNC = """version = {version}
imports = ["{folder}/conf.d/*.toml"]
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "example.com/pause:1" # ours
"""
WITH_RUNC = (
    WITHOUT_RUNC
    + """
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  base_runtime_spec = ""
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
    SystemdCgroup = true
"""
)
IN_PLACE = WITH_RUNC.replace("imports", "# imports")


def run(*argv: str) -> str:
    """Run a command to its end, on a node that has this containerd; its standard output."""
    path = f"{PROGRAMS}:{os.environ['PATH']}"
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Files:
    """A folder with config.toml, which containerd 2.x reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.toml"

    def write(self, text: str) -> None:
        self.config.write_text(text.format(version=3, folder=self.folder))

    def write_default(self) -> None:
        """Write what containerd itself proposes, with another folder to import from."""
        text = run(str(PROGRAMS / "containerd"), "config", "default")
        self.config.write_text(text.replace("/etc/containerd/conf.d", f"{self.folder}/conf.d"))

    def configure(self, *options: str) -> str:
        """Call pyshimctl as an administrator does."""
        return run(
            *(sys.executable, "-m", "ocishim.admin", "configure", "containerd"),
            *("--runtime-path", PYSHIM, "--config", str(self.config), *options),
        )

    def dump(self) -> dict[str, Any]:
        """Return the settings as containerd reads them, all files together."""
        text = run(str(PROGRAMS / "containerd"), "--config", str(self.config), "config", "dump")
        return tomlfile.plain(text, "containerd config dump")

    def trees(self) -> dict[str, dict[str, Any]]:
        """What every file says, by its path below the folder."""
        return {name: tomlfile.plain(text, name) for name, text in self.texts().items()}

    def texts(self) -> dict[str, str]:
        """Every file's text, by its path below the folder."""
        return {
            str(path.relative_to(self.folder)): path.read_text()
            for path in sorted(self.folder.rglob("*.toml"))
        }


@pytest.fixture(params=["default", "drop-in", "drop-in beside runc", "in place"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    """A node's files: containerd's own proposal, or one of version 3 that somebody wrote."""
    Containerd2.is_there()
    files = Files(tmp_path)
    if request.param == "default":
        files.write_default()
    else:
        files.write(
            {
                "drop-in": WITHOUT_RUNC,
                "drop-in beside runc": WITH_RUNC,
                "in place": IN_PLACE,
            }[request.param]
        )
    return files


def test_containerd_loads_what_is_written(files: Files) -> None:
    before = files.dump()
    files.configure("--set-as-default")

    after = files.dump()

    was = before["plugins"].pop(RUNTIME)["containerd"]
    containerd = after["plugins"].pop(RUNTIME)["containerd"]
    pyshim = containerd["runtimes"].pop("pyshim")
    assert pyshim.pop("container_annotations") == ["cdi.k8s.io/*"]
    assert pyshim.pop("pod_annotations") == []
    options = dict(was["runtimes"]["runc"]["options"], BinaryName=PYSHIM)
    # Options that say nothing are left out; containerd shows them as they are written.
    assert pyshim.pop("options") == {key: value for key, value in options.items() if value}
    # Where no file says it, containerd takes podsandbox for every runtime, and tells of runc's.
    assert pyshim.pop("sandboxer") in {"", "podsandbox"}
    runc = was["runtimes"]["runc"]
    assert pyshim == {key: runc[key] for key in pyshim}
    assert pyshim["runtime_type"] == "io.containerd.runc.v2"
    assert containerd["default_runtime_name"] == "pyshim"
    assert containerd["runtimes"] == was["runtimes"]
    assert after == before  # whatever else there is


def test_a_drop_in_where_files_are_imported(files: Files) -> None:
    imported = "conf.d/*.toml" in files.config.read_text().partition("# imports")[0]
    files.configure()
    assert ("conf.d/99-pyshim.toml" in files.texts()) is imported


@pytest.mark.parametrize("options", [[], ["--set-as-default", "--enable-cdi"]])
def test_twice_is_once_and_removed_is_never(files: Files, options: list[str]) -> None:
    texts, trees, settings = files.texts(), files.trees(), files.dump()

    files.configure(*options)
    once = files.texts()
    again = files.configure(*options)

    assert once != texts
    assert again.endswith(" is as wanted\n")
    assert files.texts() == once
    files.configure("--remove")
    assert files.dump() == settings
    assert files.trees() == trees


def test_its_own_cdi_fails_nothing_of_the_kit_but_what_is_written_down() -> None:
    """By the adapter that the scoreboard is measured with, a case of each kind."""
    Containerd2.is_there()
    need("busybox")
    kit = REPOSITORY / "conformance"
    run(
        *(sys.executable, str(kit / "run.py"), "--name", "containerd", "--brief"),
        *("--runtime", str(kit / "adapters/containerd.py"), "--area", "cdi"),
    )


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory,
    busybox: Path,
    glibc: Path,
) -> Iterator[Cri2]:
    """The node, with containerd's CDI as it is shipped."""
    with running(Cri2, tmp_path_factory.mktemp("cri2"), busybox, glibc) as node:
        assert isinstance(node, Cri2)
        yield node


@pytest.fixture
def node(daemon: Cri2, compiler: Compiler, tmp_path: Path) -> Iterator[Cri2]:
    """The node with a plain device and the device plugin's; no pod is left on it."""
    daemon.equip(compiler, tmp_path / "driver")
    daemon.shim.add_spec("acme.yaml", PLAIN)
    yield daemon
    daemon.remove_pods()


def asked_of_cri(*devices: str) -> dict[str, Any]:
    """Return the CRI request with which the kubelet asks for CDI devices (KEP 4009)."""
    return {"CDI_devices": [{"name": device} for device in devices]}


def handed_over(node: Cri2, container: str) -> dict[str, Any]:
    """Return config.json as containerd wrote it, before pyshim saw it."""
    spec: dict[str, Any] = json.loads((node.tasks / container / "handed-over.json").read_text())
    return spec


def test_a_device_of_the_cri_request_is_not_added_twice(node: Cri2) -> None:
    """Asked for both ways, and applied by containerd: pyshim leaves config.json alone."""
    pod = node.run_pod("gpu", "watched")
    container = node.create(
        pod,
        "gpu",
        IMAGE,
        "ls /dev/acme0; env | grep ACME; ls -d /acme/doc; sleep 60",
        annotations=node.asking("acme.com/demo=0"),
        **asked_of_cri("acme.com/demo=0"),
    )

    node.start_container(container)

    spec = handed_over(node, container)
    assert node.spec(container) == spec
    assert spec["annotations"].items() >= node.asking("acme.com/demo=0").items()
    assert [env for env in spec["process"]["env"] if "ACME" in env] == ["ACME_ALL=yes", "ACME=zero"]
    assert [mount["source"] for mount in spec["mounts"] if mount["destination"] == "/acme"] == [
        "/usr/share"
    ]
    assert [device["path"] for device in spec["linux"]["devices"]] == ["/dev/acme0"]


def test_hooks_of_containerds_cdi_become_one(node: Cri2) -> None:
    """The edits are containerd's; links and library cache are pyshim's, once."""
    script = f"ls /dev | grep -c nvidia; readlink {LIB}/libcuda.so; load libcuda.so.1; sleep 60"
    pod = node.run_pod("gpu", "watched")
    asked = asked_of_cri(GPU)
    container = node.create(pod, "gpu", IMAGE, script, annotations=node.asking(GPU), **asked)

    node.start_container(container)

    before, after = handed_over(node, container), node.spec(container)
    assert len(before["hooks"].pop("createContainer")) > 1
    [hook] = after["hooks"].pop("createContainer")
    assert "env" in hook
    assert after == before
    assert node.written(container, 3) == [
        "4",
        "libcuda.so.1",
        f"libcuda.so.1 => {LIB}/libcuda.so.1",
    ]


def test_an_unknown_device_is_containerds_to_refuse(node: Cri2) -> None:
    """It resolves annotations first, so that the container is not even created."""
    pod = node.run_pod("gpu", "pyshim")
    asked = node.asking(f"{KIND}=GPU-7")

    result = node.client(*node.creation(pod, "gpu", IMAGE, "true", annotations=asked))

    assert result.returncode != 0
    assert f"CDI device injection failed: unresolvable CDI devices {KIND}=GPU-7" in result.stderr
