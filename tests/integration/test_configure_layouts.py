"""containerd itself reads what k3s, RKE2, k0s and MicroK8s make of files that pyshim configured.

The node has the distribution's files and a containerd at the distribution's place; `configure` asks
that one before it writes, and the test asks it for what it reads at the next start.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ocishim.admin.editing import tomlfile
from ocishim.admin.host import Host
from tests import layouts
from tests.integration.containerds import folder_of
from tests.unit.admin.configuring import PROGRAM, Machine
from tests.unit.admin.test_configure_layouts import BASE, LAYOUTS, Layout

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

PROGRAMS = {
    layouts.K3S: "/var/lib/rancher/k3s/data/current/bin/containerd",
    layouts.RKE2: "/var/lib/rancher/rke2/bin/containerd",
    "/etc/k0s": "/var/lib/k0s/bin/containerd",
    "/var/snap/microk8s/current/args": "/snap/microk8s/current/bin/containerd",
}
"""By the folder of the configuration."""


@pytest.fixture(params=list(LAYOUTS.values()), ids=list(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> Layout:
    chosen: Layout = request.param
    return chosen


@pytest.fixture
def node(tmp_path: Path, layout: Layout) -> Machine:
    machine = Machine(tmp_path)
    machine.write(layout.config, layout.text)
    program = machine.write(PROGRAMS[os.path.dirname(layout.config)], "")
    program.unlink()
    real = folder_of("2.x") / "containerd"
    try:
        os.link(real, program)
    except OSError:  # another file system
        shutil.copy(real, program)
    (tmp_path / "tmp").mkdir()
    return machine


def rendered(node: Machine, layout: Layout) -> str:
    """Return the text that containerd is started with."""
    text = node.read(layout.config)
    if layout.written.endswith(".tmpl") and node.exists(layout.written):
        text = node.read(layout.written).replace(BASE, text)
    return layouts.microk8s(text)


def read(node: Machine, layout: Layout) -> dict[str, Any]:
    """Return the CRI plugin's table of version 3 as containerd reads it after a restart."""
    node.write("/next/config.toml", rendered(node, layout))
    program = PROGRAMS[os.path.dirname(layout.config)]
    done = Host(str(node.root)).run(program, "--config", "/next/config.toml", "config", "dump")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(node.root / "next")
    cri: dict[str, Any] = tomlfile.plain(done.stdout, program)["plugins"][layouts.CRI3]
    return cri


def test_configured(node: Machine, layout: Layout) -> None:
    before, cri = node.files(), read(node, layout)
    result = node.call_as_is("configure", "containerd")
    assert (result.exit_code, "was not asked" in result.output) == (0, False), result.output
    after = read(node, layout)
    pyshim = after["containerd"]["runtimes"].pop("pyshim")
    assert pyshim["options"]["BinaryName"] == PROGRAM
    runc = cri["containerd"]["runtimes"]["runc"]["options"]
    assert pyshim["options"].get("SystemdCgroup", False) == runc["SystemdCgroup"]
    assert pyshim["container_annotations"] == ["cdi.k8s.io/*"]
    assert after == cri  # cdi_spec_dirs, the default and the other runtimes among it
    assert node.call_as_is("configure", "containerd", "--remove").exit_code == 0
    assert node.files() == before


def test_the_default(node: Machine, layout: Layout) -> None:
    result = node.call_as_is("configure", "containerd", "--set-as-default")
    assert result.exit_code == (2 if layout.is_default_refused else 0), result.output
    name = read(node, layout)["containerd"]["default_runtime_name"]
    assert name == ("runc" if layout.is_default_refused else "pyshim")


def test_what_containerd_would_refuse_is_not_written(node: Machine, layout: Layout) -> None:
    """The distribution's own text has what containerd alone knows to be wrong."""
    node.write(
        layout.config, layout.text.replace("version =", "required_plugins = 3\nversion =", 1)
    )
    before = node.files()
    result = node.call_as_is("configure", "containerd")
    assert (result.exit_code, node.files()) == (1, before)
    assert "containerd refuses the result" in result.output


OLDER = {name: layout for name, layout in LAYOUTS.items() if layout.plugin == layouts.CRI2}


@pytest.mark.parametrize("version", ["1.6", "1.7"])
@pytest.mark.parametrize("name", OLDER)
def test_older_containerds_read_it(tmp_path: Path, name: str, version: str) -> None:
    """Releases of the distributions that had containerd 1.x."""
    layout, machine = OLDER[name], Machine(tmp_path)
    machine.write(layout.config, layout.text)
    machine.configure("containerd")
    config = machine.write("/next/config.toml", rendered(machine, layout))
    argv = [str(folder_of(version) / "containerd"), "--config", str(config), "config", "dump"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    runtimes = tomlfile.plain(done.stdout, "dump")["plugins"][layouts.CRI2]["containerd"][
        "runtimes"
    ]
    assert runtimes["pyshim"]["options"]["BinaryName"] == PROGRAM
    systemd = [runtimes[one]["options"].get("SystemdCgroup", False) for one in ("runc", "pyshim")]
    assert systemd in ([True, True], [False, False])
