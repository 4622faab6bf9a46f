"""Every finding of the doctor, each provoked on a node made for it, and a node without any."""

from __future__ import annotations

import json
import os
import stat

import pytest
from click.testing import CliRunner

from ocishim.admin import doctor
from ocishim.admin.finding import EXIT_STATUS, Finding, gravest
from ocishim.admin.node import Node
from tests.unit.admin.nodes import SPEC, Tree, findings


def test_healthy_node_has_no_findings(tree: Tree) -> None:
    assert findings(tree.node()) == {}


@pytest.mark.parametrize(
    ("kernel", "found"),
    [("5.5.19", True), ("4.19.0-20-amd64", True), ("5.6.0", False), ("6.18.44-x", False)],
)
def test_kernel_floor(tree: Tree, kernel: str, *, found: bool) -> None:
    assert ("kernel" in findings(tree.node(kernel))) is found


def test_overlay_missing_matters_only_where_it_is_used(tree: Tree) -> None:
    tree.write("/proc/filesystems", "nodev\ttmpfs\n\text4\n")
    wanted = 'runtimes = ["runc"]\n[hooks]\nreadonly_rootfs = "overlay"\n'
    assert "overlayfs" in findings(tree.node(config=wanted))
    assert "overlayfs" not in findings(tree.node())


def test_bad_configuration(tree: Tree) -> None:
    found = findings(tree.node(config='runtime = ["runc"]\n'))["configuration"]
    assert "unknown setting 'runtime'" in found.evidence


def test_no_runtime(tree: Tree) -> None:
    assert "runtime" in findings(tree.node(config='runtimes = ["youki-not-here"]\n'))


@pytest.mark.parametrize(
    ("version", "name", "severity"),
    [
        pytest.param("runc version 1.1.5+ds1", "runtime-environment", "info", id="old runc"),
        pytest.param("crun version 1.8.1", "runtime-readonly", "info", id="old crun"),
        pytest.param("hello", "runtime-unknown", "warning", id="unknown"),
    ],
)
def test_runtime_versions(tree: Tree, version: str, name: str, severity: str) -> None:
    tree.program("/usr/bin/runc", version)
    assert findings(tree.node())[name].severity == severity


def test_nobody_runs_the_hooks(tree: Tree) -> None:
    tree.program("/usr/bin/runc", "runsc version release-20240729.0")
    asked = 'runtimes = ["runc"]\n[hooks]\nexecutor = "runtime"\n'
    found = findings(tree.node(config=asked))["hooks-executor"]
    assert "runsc release-20240729.0 does not run createContainer hooks" in found.evidence
    assert "hooks-executor" not in findings(tree.node())


def test_configuration_everybody_may_write(tree: Tree) -> None:
    node = tree.node()
    os.chmod(tree.root / "etc/pyshim/config.toml", 0o666)
    assert set(findings(node)) == {"configuration-writable"}


@pytest.mark.parametrize(
    ("file", "evidence"),
    [
        pytest.param("", "log.file is not set, and there is no /dev/log", id="no system log"),
        pytest.param(
            "/var/log/pyshim/log",
            "log.file is '/var/log/pyshim/log', and /var/log/pyshim is not there",
            id="no folder",
        ),
    ],
)
def test_warnings_go_nowhere(tree: Tree, file: str, evidence: str) -> None:
    (tree.root / "dev/log").unlink()
    found = findings(tree.node(config=f'runtimes = ["runc"]\n[log]\nfile = "{file}"\n'))
    assert found["log"].evidence == evidence
    tree.write(file or "/dev/log")
    assert "log" not in findings(tree.node(config=f'runtimes = ["runc"]\n[log]\nfile = "{file}"\n'))


@pytest.mark.parametrize("content", [None, b"#!/bin/sh\n", b"\x7fELF" + b"\0" * 14 + b"\x08\0"])
def test_ldconfig(tree: Tree, content: bytes | None) -> None:
    path = tree.root / "sbin/ldconfig"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert "ldconfig" in findings(tree.node())


def test_ldconfig_real_is_preferred(tree: Tree) -> None:
    real = tree.root / "sbin/ldconfig.real"
    (tree.root / "sbin/ldconfig").rename(real)
    tree.program("/sbin/ldconfig", "the wrapper script")
    assert "ldconfig" not in findings(tree.node())


def test_spec_rejected_names_file_and_command(tree: Tree) -> None:
    tree.write("/etc/cdi/bad.yaml", "cdiVersion: 9.9.9\n")
    found = findings(tree.node())["spec-rejected"]
    assert found.what == "/etc/cdi/bad.yaml cannot be used as it is"
    assert found.next_step == "pyshimctl cdi validate /etc/cdi/bad.yaml"


def test_spec_conflict(tree: Tree) -> None:
    tree.write("/etc/cdi/twin.yaml", SPEC)
    assert "conflicting device" in findings(tree.node())["spec-conflict"].evidence


def test_no_devices(tree: Tree) -> None:
    (tree.root / "etc/cdi/acme.yaml").unlink()
    assert "spec-none" in findings(tree.node())


def test_no_spec_dir_at_all(tree: Tree) -> None:
    (tree.root / "etc/cdi/acme.yaml").unlink()
    (tree.root / "etc/cdi").rmdir()
    found = findings(tree.node())["spec-none"]
    assert found.evidence == "looked in /etc/cdi (missing), /var/run/cdi (missing)"


def test_spec_everybody_may_write(tree: Tree) -> None:
    os.chmod(tree.root / "etc/cdi/acme.yaml", 0o646)
    assert findings(tree.node())["spec-writable"].evidence == "mode 0646"


def test_spec_dir_is_a_file(tree: Tree) -> None:
    tree.write("/var/run/cdi", "")
    assert "spec-dir" in findings(tree.node())


def test_spec_dir_everybody_may_write(tree: Tree) -> None:
    os.chmod(tree.root / "etc/cdi", 0o777)
    assert "spec-dir-writable" in findings(tree.node())


def test_stale_mount(tree: Tree) -> None:
    edits = "    mounts: [{hostPath: /usr/lib/gone.so, containerPath: /usr/lib/gone.so}]\n"
    tree.write("/etc/cdi/acme.yaml", SPEC + edits)
    assert "/usr/lib/gone.so" in findings(tree.node())["spec-stale"].evidence


def with_device(tree: Tree, *, systemd: bool = True) -> Node:
    tree.write("/etc/cdi/acme.yaml", SPEC + "    deviceNodes: [{path: /dev/acme0}]\n")
    os.mknod(tree.root / "dev/acme0", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    if systemd:
        (tree.root / "run/systemd/system").mkdir(parents=True)
    return tree.node()


@pytest.mark.root
def test_char_links_are_found_and_fixed(tree: Tree) -> None:
    node = with_device(tree)
    assert "char-links" in findings(node)
    assert doctor.repair(node) == ["/dev/char/1:3 leads to /dev/acme0"]
    assert os.readlink(tree.root / "dev/char/1:3") == "../acme0"
    assert "char-links" not in findings(node)
    assert doctor.repair(node) == []


@pytest.mark.root
def test_wrong_char_link_is_corrected(tree: Tree) -> None:
    node = with_device(tree)
    (tree.root / "dev/char").mkdir()
    (tree.root / "dev/char/1:3").symlink_to("../gone")
    doctor.repair(node)
    assert "char-links" not in findings(node)


@pytest.mark.root
def test_fix_mends_what_names_it(tree: Tree) -> None:
    node = with_device(tree)
    named = {name for name, one in findings(node).items() if "doctor --fix" in one.next_step}
    assert (named, bool(doctor.repair(node))) == ({"char-links"}, True)
    assert not named & set(findings(node))


@pytest.mark.root
def test_char_links_do_not_matter_without_systemd(tree: Tree) -> None:
    assert "char-links" not in findings(with_device(tree, systemd=False))


def test_cache_of_somebody_else(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSHIM_CACHE_DIR", "/run/pyshim")
    (tree.root / "run/pyshim").mkdir(parents=True, mode=0o755)
    assert "cache" in findings(tree.node())
    os.chmod(tree.root / "run/pyshim", 0o700)
    assert findings(tree.node()) == {}


def test_cache_of_root_is_no_finding_for_a_user(
    tree: Tree,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYSHIM_CACHE_DIR", "/run/pyshim")
    (tree.root / "run/pyshim").mkdir(parents=True, mode=0o700)
    found = os.lstat(tree.root / "run/pyshim")
    owner = os.stat_result([found.st_mode, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    monkeypatch.setattr(os, "lstat", lambda _path: owner)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert findings(tree.node()) == {}


def test_user_is_told_that_some_checks_need_root(
    tree: Tree,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree.node()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(doctor.command, ["--host-root", str(tree.root)])
    assert result.stderr == "pyshimctl doctor: some checks need root, and --fix does\n"


def test_exit_status_by_severity() -> None:
    def one(severity: str) -> Finding:
        return Finding("x", severity, "", evidence="", why="", next_step="")

    assert EXIT_STATUS[gravest([])] == 0
    assert EXIT_STATUS[gravest([one("info")])] == 0
    assert EXIT_STATUS[gravest([one("info"), one("warning")])] == 3
    assert EXIT_STATUS[gravest([one("error"), one("warning")])] == 4


def test_command_as_json(tree: Tree) -> None:
    (tree.root / "etc/cdi/acme.yaml").unlink()
    tree.node()
    result = CliRunner().invoke(doctor.command, ["--json", "--host-root", str(tree.root)])
    told = json.loads(result.stdout)
    assert told["fixed"] == []
    assert [finding["name"] for finding in told["findings"]] == ["spec-none"]
    assert result.exit_code == 3


def test_command_for_people_names_the_next_step(tree: Tree) -> None:
    tree.write("/etc/cdi/bad.yaml", "cdiVersion: 9.9.9\n")
    tree.node()
    result = CliRunner().invoke(doctor.command, ["--host-root", str(tree.root)])
    assert "  next:  pyshimctl cdi validate /etc/cdi/bad.yaml" in result.output
    assert result.output.endswith("\n1 error\n")
    assert result.exit_code == 4
