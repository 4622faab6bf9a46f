"""`pyshimctl configure containerd` on whole files of k3s, RKE2, k0s and MicroK8s, and their doctor.

What containerd reads is made of the files as each of them makes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ocishim.admin.editing import tomlfile
from tests import layouts
from tests.layouts import CRI2, CRI3, K0S, K0S_DROP_INS, K0S_NOW, K3S, MICROK8S, RKE2, rancher
from tests.unit.admin.configuring import PROGRAM, Machine
from tests.unit.admin.nodes import Tree, findings

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = '{{ template "base" . }}\n'


class Layout(NamedTuple):
    """A distribution's files, what pyshim writes, and what containerd gets to read then."""

    config: str
    text: str
    written: str
    unit: str
    plugin: str
    read: Callable[[Machine, Any], dict[str, Any]]
    is_default_refused: bool = False


def _template(machine: Machine, layout: Layout) -> dict[str, Any]:
    text = machine.read(layout.written)
    assert text.startswith(BASE)
    return tomlfile.plain(text.replace(BASE, machine.read(layout.config)), layout.written)


def _drop_in(machine: Machine, layout: Layout) -> dict[str, Any]:
    return tomlfile.merged(machine.toml(layout.config), machine.toml(layout.written))


def _microk8s(machine: Machine, layout: Layout) -> dict[str, Any]:
    return tomlfile.plain(layouts.microk8s(machine.read(layout.written)), layout.written)


def _rancher(name: str, folder: str, unit: str) -> dict[str, Layout]:
    config, drop_in = f"{folder}/config.toml", f"{folder}/config-v3.toml.d/99-pyshim.toml"
    three, two = f"{folder}/config-v3.toml.tmpl", f"{folder}/config.toml.tmpl"
    imports = rancher(name, 3, imports=True)
    return {
        f"{name}, drop-ins": Layout(config, imports, drop_in, unit, CRI3, _drop_in),
        f"{name}, version 3": Layout(config, rancher(name, 3), three, unit, CRI3, _template),
        f"{name}, version 2": Layout(config, rancher(name, 2), two, unit, CRI2, _template, True),
    }


LAYOUTS = {
    **_rancher("k3s", K3S, "k3s"),
    **_rancher("rke2", RKE2, "rke2-server"),
    "k0s": Layout(K0S, K0S_NOW, f"{K0S_DROP_INS}/99-pyshim.toml", "k0scontroller", CRI3, _drop_in),
    "MicroK8s": Layout(
        MICROK8S,
        layouts.MICROK8S_TEMPLATE,
        MICROK8S,
        "snap.microk8s.daemon-containerd",
        CRI2,
        _microk8s,
    ),
}
rows = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def read(machine: Machine, layout: Layout) -> dict[str, Any]:
    """Return containerd's table of the CRI plugin."""
    found: dict[str, Any] = layout.read(machine, layout)["plugins"][layout.plugin]
    return found


@rows
def test_what_containerd_reads(machine: Machine, layout: Layout) -> None:
    """The options of runc are pyshim's, too: the cgroups of a pod are one driver's."""
    machine.write(layout.config, layout.text)
    before = machine.files()
    result = machine.configure("containerd")
    assert result.output.splitlines()[-1] == f"next: systemctl restart {layout.unit}"
    cri = read(machine, layout)
    had = tomlfile.plain(layouts.microk8s(layout.text), layout.config)["plugins"][layout.plugin]
    runtimes = cri["containerd"].pop("runtimes")
    options = had.get("containerd", {}).get("runtimes", {}).get("runc", {}).get("options", {})
    assert runtimes.pop("pyshim") == {
        "runtime_type": "io.containerd.runc.v2",
        "container_annotations": ["cdi.k8s.io/*"],
        "options": {**options, "BinaryName": PROGRAM},
    }
    assert runtimes == had.pop("containerd", {}).pop("runtimes", {})
    assert machine.configure("containerd").output.endswith("as wanted\n")
    machine.configure("containerd", "--remove")
    assert machine.files() == before


@rows
def test_the_default(machine: Machine, layout: Layout) -> None:
    machine.write(layout.config, layout.text)
    before = machine.files()
    result = machine.call("configure", "containerd", "--set-as-default")
    if layout.is_default_refused:
        assert (result.exit_code, machine.files()) == (2, before)
        assert "name the runtime in pods (runtimeClassName)" in result.output
        return
    assert result.exit_code == 0, result.output
    assert read(machine, layout)["containerd"]["default_runtime_name"] == "pyshim"
    machine.configure("containerd")
    assert read(machine, layout)["containerd"].get("default_runtime_name") in (None, "runc")
    machine.configure("containerd", "--set-as-default")
    machine.configure("containerd", "--remove")
    assert machine.files() == before


def test_an_old_template_goes_when_k3s_has_drop_ins(machine: Machine) -> None:
    machine.write(f"{K3S}/config.toml", rancher("k3s", 3))
    machine.configure("containerd")
    machine.write(f"{K3S}/config.toml", rancher("k3s", 3, imports=True))
    machine.configure("containerd")
    assert not machine.exists(f"{K3S}/config-v3.toml.tmpl")
    assert machine.exists(f"{K3S}/config-v3.toml.d/99-pyshim.toml")


def test_what_k0s_made_of_the_drop_in_is_not_taken_out(machine: Machine) -> None:
    """Before 1.36 k0s writes into its import what the drop-ins say: configured is configured."""
    machine.write(K0S, '# k0s_managed=true\nversion = 2\nimports = ["/run/k0s/cri.toml"]\n')
    runc = f'[plugins."{CRI2}".containerd.runtimes.runc]\nruntime_type = "io.containerd.runc.v2"\n'
    cri = f"version = 2\n{runc}"
    machine.write("/run/k0s/cri.toml", cri)
    assert "before that upgrade" in machine.configure("containerd").output
    made = machine.read(f"{K0S_DROP_INS}/99-pyshim.toml")
    made = cri + made.partition("version = 2\n")[2]
    machine.write("/run/k0s/cri.toml", made)
    again = machine.configure("containerd").output
    assert again.endswith(f"{K0S_DROP_INS}/99-pyshim.toml is as wanted\n")
    assert machine.read("/run/k0s/cri.toml") == made


@pytest.mark.parametrize("folder", ["/etc/systemd/system", "/usr/local/lib/systemd/system"])
def test_the_enabled_unit_is_the_nodes(machine: Machine, folder: str) -> None:
    """RKE2's tarball has the units of server and agent on every node."""
    for unit in ("rke2-server", "rke2-agent"):
        machine.write(f"{folder}/{unit}.service", "")
    wants = machine.write("/etc/systemd/system/multi-user.target.wants/x", "").parent
    (wants / "rke2-agent.service").symlink_to(f"{folder}/rke2-agent.service")
    machine.write(f"{RKE2}/config.toml", rancher("rke2", 3))
    assert machine.configure("containerd").output.endswith("next: systemctl restart rke2-agent\n")


@rows
def test_the_doctors_steps(tree: Tree, layout: Layout) -> None:
    """Configured and not restarted; then as restarted, with what a person can break."""
    tree.program(PROGRAM, "pyshim")
    tree.write(layout.config, layout.text)
    machine = Machine.of(tree.root)
    assert list(findings(tree.node())) == ["engine-unregistered"]
    machine.configure("containerd")
    step = f"systemctl restart {layout.unit}"
    if layout.written.endswith(".tmpl"):
        found = findings(tree.node())
        assert {name: one.next_step for name, one in found.items()} == {"engine-restart": step}
        text = machine.read(layout.written).replace(BASE, layout.text)
        tree.write(layout.config, text)
    assert list(findings(tree.node())) == ["default-runtime"]
    file = layout.config if layout.written.endswith(".tmpl") else layout.written
    patterns = 'pod_annotations = ["cdi.k8s.io/*"]\ncontainer_annotations'
    tree.write(file, machine.read(file).replace("container_annotations", patterns))
    forged = findings(tree.node())["containerd-pod-annotations"]
    assert forged.next_step == (
        f"remove 'cdi.k8s.io/*' from pod_annotations of 'pyshim' in {layout.written}; then {step}"
    )


@rows
def test_the_doctors_steps_without_a_cri(tree: Tree, layout: Layout) -> None:
    tree.program("/usr/bin/kubelet", "Kubernetes")
    tree.write(
        layout.config, layout.text.replace("version =", 'disabled_plugins = ["cri"]\nversion =')
    )
    generated = "DO NOT EDIT" in layout.text
    version = "-v3" if layout.plugin == CRI3 else ""
    folder = layout.config.rpartition("/")[0]
    file = f"{folder}/config{version}.toml.tmpl" if generated else layout.config
    assert findings(tree.node())["containerd-cri"].next_step == (
        f"take it out of disabled_plugins in {file}; then systemctl restart {layout.unit}"
    )
