"""`pyshimctl configure containerd` leaves the node its CRI, whatever file it began with.

Each containerd starts on each file, and says by crictl which runtimes it serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import missing
from tests.integration.containerds import VERSIONS, Node, folder_of
from tests.integration.cri import CRICTL

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

V2, V3 = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"
# /etc/containerd/config.toml of Debian's packages, 12 and 13.
DEBIAN = """\
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
"""
IMPORTS = 'imports = ["/etc/containerd/conf.d/*.toml"]\n'
OTHERS = f"""\
version = 2
[plugins."{V2}".containerd]
default_runtime_name = "nvidia"
[plugins."{V2}".containerd.runtimes.nvidia]
runtime_type = "io.containerd.runc.v2"
[plugins."{V2}".containerd.runtimes.nvidia.options]
BinaryName = "/usr/bin/nvidia-container-runtime"
"""
DEFAULT = "what `containerd config default` prints"
FILES: dict[str, dict[str, str]] = {
    "none": {},
    DEFAULT: {"config.toml": DEFAULT},
    "empty": {"config.toml": ""},
    "Debian's": {"config.toml": DEBIAN},
    "Debian's with imports": {"config.toml": IMPORTS + DEBIAN},
    "version 2": {"config.toml": "version = 2\n"},
    "version 2 with imports": {"config.toml": f"version = 2\n{IMPORTS}"},
    "another tool's drop-in": {"config.toml": IMPORTS + DEBIAN, "conf.d/99-nvidia.toml": OTHERS},
    "another tool's drop-in by name": {
        "config.toml": 'imports = ["/etc/containerd/nvidia.toml"]\n' + DEBIAN,
        "nvidia.toml": OTHERS,
    },
    "a default, no runc": {"config.toml": OTHERS},
    "version 3": {"config.toml": "version = 3\n"},
    "version 3 with imports": {"config.toml": f"version = 3\n{IMPORTS}"},
    "version 4": {"config.toml": "version = 4\n"},
    "version 4 and a drop-in of 2": {
        "config.toml": f"version = 4\n{IMPORTS}",
        "conf.d/99-nvidia.toml": OTHERS,
    },
}
"""What /etc/containerd may hold when pyshim comes."""


def written(node: Node, row: str) -> dict[str, str]:
    """Write that row's files to the node; returns them."""
    files = dict(FILES[row])
    if row == DEFAULT:
        files["config.toml"] = node.run("containerd", "config", "default").stdout
        assert "default_runtime_name = " in files["config.toml"]
    for name, text in files.items():
        (node.etc / name).parent.mkdir(exist_ok=True)
        (node.etc / name).write_text(text)
    return files


@pytest.fixture(params=VERSIONS)
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    if not CRICTL.exists():
        missing("crictl is not built; tools/crictl.sh build/crictl gets it")
    return Node(tmp_path, folder_of(request.param))


def reads(node: Node, files: dict[str, str]) -> bool:
    """Whether the node's containerd knows files of that version: 1.x knows no other than 2."""
    newer = any(text.startswith(("version = 3", "version = 4")) for text in files.values())
    return not newer or "containerd2" in node.environment["PATH"].partition(":")[0]


@pytest.mark.parametrize("row", FILES)
def test_the_cri_stays(node: Node, row: str) -> None:
    before = written(node, row)
    if not reads(node, before):
        assert node.configure().returncode == 1
        assert node.files() == before
        return
    was = node.cri()
    done = node.configure()
    assert done.returncode == 0, done.stderr
    now = node.cri()
    assert now["defaultRuntimeName"] == was["defaultRuntimeName"]
    assert set(now["runtimes"]) == {*was["runtimes"], "runc", "pyshim"}
    # As before for everybody else; 1.x has the defaults of a runtime that no file names.
    theirs = {name: table for name, table in was["runtimes"].items() if name != "runc"}
    assert {name: now["runtimes"][name] for name in theirs} == theirs
    once = node.files()
    assert node.configure().returncode == 0
    assert node.files() == once
    assert node.configure("--set-as-default").returncode == 0
    assert node.cri()["defaultRuntimeName"] == "pyshim"
    assert node.configure("--remove").returncode == 0
    assert node.files() == before  # which has served `was`
