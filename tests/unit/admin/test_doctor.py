"""Every finding of the doctor, each provoked on a node made for it, and a node without any."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ocishim.admin import doctor, host
from ocishim.admin.checks import base, installation
from ocishim.admin.checks.finding import EXIT_STATUS, Finding, gravest
from ocishim.admin.checks.node import Node
from ocishim.admin.host import Host
from ocishim.admin.install import ownfiles
from tests.unit.admin.nodes import SPEC, Tree, findings, listen


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


@pytest.mark.parametrize(("value", "found"), [("2\n", True), ("1\n", False), ("0\n", False)])
def test_memory_that_cannot_be_executed(tree: Tree, value: str, *, found: bool) -> None:
    tree.write("/proc/sys/vm/memfd_noexec", value)
    assert ("memfd-noexec" in findings(tree.node())) is found


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
        pytest.param("", "runtime-unknown", "warning", id="says nothing"),
    ],
)
def test_runtime_versions(tree: Tree, version: str, name: str, severity: str) -> None:
    tree.tells("/usr/bin/runc", version)
    assert findings(tree.node())[name].severity == severity


def test_the_runtime_is_pyshim(tree: Tree) -> None:
    tree.tells("/usr/local/lib/x/pyshim", "")
    os.symlink("/usr/local/lib/x/pyshim", tree.root / "usr/bin/oci")
    found = findings(tree.node(config='runtimes = ["oci", "runc"]\n'))
    assert found["runtime-itself"].evidence.endswith("/usr/bin/oci is /usr/local/lib/x/pyshim")


def test_nobody_runs_the_hooks(tree: Tree) -> None:
    tree.tells("/usr/bin/runc", "runsc version release-20240729.0")
    asked = 'runtimes = ["runc"]\n[hooks]\nexecutor = "runtime"\n'
    found = findings(tree.node(config=asked))["hooks-executor"]
    assert "runsc release-20240729.0 does not run createContainer hooks" in found.evidence
    assert "hooks-executor" not in findings(tree.node())


@pytest.mark.root
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("etc/pyshim/config.toml", "configuration-writable"),
        ("etc/pyshim", "configuration-writable"),
        ("etc/cdi", "spec-dir-writable"),
        ("etc/cdi/acme.yaml", "spec-writable"),
    ],
)
def test_others_may_write(tree: Tree, path: str, name: str) -> None:
    node = tree.node()
    os.chmod(tree.root / path, 0o1777)
    assert {one: found.what for one, found in findings(node).items()} == {
        name: f"everybody may write to /{path}"
    }
    os.chmod(tree.root / path, 0o755)
    os.chown(tree.root / path, 1000, 0)
    (found,) = findings(node).values()
    assert (found.name, found.what) == (name, f"user 1000 may write to /{path}")
    assert (found.evidence, found.next_step) == ("it belongs to user 1000", f"chown root /{path}")
    os.chown(tree.root / path, 0, 1000)
    assert findings(node) == {}


def test_what_is_ones_own_one_may_write(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tree.node()
    if not os.geteuid():
        os.chown(tree.root / "etc/pyshim/config.toml", 1000, 0)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert findings(node) == {}


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, os.mkfifo])
def test_what_is_no_socket_takes_no_warnings(tree: Tree, make: Callable[[Path], object]) -> None:
    """A mount of a file that is not there makes a folder of it, and a redirection a file."""
    (tree.root / "dev/log").unlink()
    make(tree.root / "dev/log")
    found = findings(tree.node())["log"]
    assert found.evidence == "log.file is not set, and /dev/log is no socket"


def test_a_socket_is_no_file_to_append_to(tree: Tree) -> None:
    node = tree.node(config='runtimes = ["runc"]\n[log]\nfile = "/dev/log"\n')
    assert findings(node)["log"].evidence == "log.file is '/dev/log', which is a socket"


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
    if file:
        tree.write(file)
    else:
        listen(tree, "/dev/log")
    assert "log" not in findings(tree.node(config=f'runtimes = ["runc"]\n[log]\nfile = "{file}"\n'))


@pytest.mark.parametrize(("setting", "value", "evidence", "step"), [
    pytest.param("log.file", "/etc", "log.file is '/etc', which is a folder",
        "log.file=/etc/pyshim.log", id="the log is a folder"),
    pytest.param("log.metrics", "/etc/", "log.metrics is '/etc/', which is a folder",
        "log.metrics=/etc/pyshim.prom", id="the counters are a folder"),
    pytest.param("log.metrics", "/etc/a b.txt", "log.metrics is '/etc/a b.txt'",
        "'log.metrics=/etc/a b.txt.prom'", id="counters that nobody reads"),
])  # fmt: skip
def test_where_log_and_counters_go(
    tree: Tree, setting: str, value: str, evidence: str, step: str
) -> None:
    (tree.root / "etc").mkdir(exist_ok=True)
    name = setting.partition(".")[2]
    found = findings(tree.node(config=f'runtimes = ["runc"]\n[log]\n{name} = "{value}"\n'))
    finding = found["log" if name == "file" else name]
    assert (finding.evidence, finding.next_step) == (evidence, f"pyshimctl config set {step}")


@pytest.mark.parametrize(
    ("make", "name", "evidence"),
    [
        pytest.param(lambda p: p.unlink(), "ldconfig-none",
            "neither /sbin/ldconfig nor /sbin/ldconfig.real is there", id="none"),
        pytest.param(lambda p: p.write_bytes(b"#!/bin/sh\n"), "ldconfig",
            f"/sbin/ldconfig is no program for {os.uname().machine}", id="script"),
        pytest.param(lambda p: p.write_bytes(b"\x7fELF" + b"\0" * 14 + b"\x08\0"), "ldconfig",
            f"/sbin/ldconfig is no program for {os.uname().machine}", id="another machine's"),
        pytest.param(lambda p: p.chmod(0o644), "ldconfig", "/sbin/ldconfig is no program",
            id="not executable"),
        pytest.param(lambda p: (p.unlink(), p.mkdir()), "ldconfig", "/sbin/ldconfig is no program",
            id="folder"),
    ],
)  # fmt: skip
def test_ldconfig(tree: Tree, make: Callable[[Path], object], name: str, evidence: str) -> None:
    make(tree.root / "sbin/ldconfig")
    found = findings(tree.node())
    assert found[name].evidence == evidence
    assert found[name].severity == ("info" if name == "ldconfig-none" else "error")


def test_ldconfig_real_is_preferred(tree: Tree) -> None:
    real = tree.root / "sbin/ldconfig.real"
    (tree.root / "sbin/ldconfig").rename(real)
    tree.tells("/sbin/ldconfig", "the wrapper script")
    assert "ldconfig" not in findings(tree.node())


def test_spec_rejected_names_file_and_command(tree: Tree) -> None:
    tree.write("/etc/cdi/bad.yaml", "cdiVersion: 9.9.9\n")
    found = findings(tree.node())["spec-rejected"]
    assert found.what == "/etc/cdi/bad.yaml cannot be used as it is"
    assert found.evidence == (
        "/etc/cdi/bad.yaml: invalid version \"9.9.9\" in 'cdiVersion': known are"
        " 0.3.0, 0.4.0, 0.5.0, 0.6.0, 0.7.0, 0.8.0, 1.0.0, 1.1.0"
    )
    assert found.next_step == (
        "correct 'cdiVersion' in /etc/cdi/bad.yaml and run 'pyshimctl cdi validate"
        " /etc/cdi/bad.yaml', or remove it"
    )


def test_spec_conflict(tree: Tree) -> None:
    tree.write("/etc/cdi/acme.yaml", SPEC + SPEC[SPEC.index("- name") :].replace('"0"', '"1"'))
    shutil.copy(tree.root / "etc/cdi/acme.yaml", tree.root / "etc/cdi/twin.yaml")
    found = [one for one in doctor.examine(tree.node()) if one.name != "spec-none"]
    assert [(one.what, one.evidence, one.next_step) for one in found] == [
        (
            "/etc/cdi/acme.yaml and /etc/cdi/twin.yaml define the same devices",
            "conflicting devices: acme.com/gpu=0 and 1 more",
            "remove one of the files: rm /etc/cdi/twin.yaml",
        )
    ]


@pytest.mark.parametrize(("name", "right"), [
    ("a.yml",
        "a.yaml"),  ("a.YAML", "a.yaml"), ("a.JSON", "a.json"), ("c.json5", "c.json"), ("c.jsonc", "c.json"), ("a.yaml.bak", ""), ("README", ""),
])  # fmt: skip
def test_spec_that_nobody_reads_for_its_name(tree: Tree, name: str, right: str) -> None:
    tree.write(f"/etc/cdi/{name}", SPEC)
    found = findings(tree.node())
    assert [one.next_step for one in found.values()] == (
        [f"mv /etc/cdi/{name} /etc/cdi/{right}"] if right else []
    )


@pytest.mark.parametrize(
    ("edits", "evidence"),
    [
        pytest.param("deviceNodes: [{path: /dev/gone}]",
            'failed to stat CDI host device "/dev/gone": no such file or directory', id="device"),
        pytest.param("deviceNodes: [{path: /dev/a, hostPath: /dev/gone}]",
            'failed to stat CDI host device "/dev/gone": no such file or directory',
            id="other path"),
        pytest.param("deviceNodes: [{path: /dev/log}]",
            'failed to stat CDI host device "/dev/log": not a device node', id="no device"),
        pytest.param("deviceNodes: [{path: dev/log}]",
            'failed to stat CDI host device "dev/log": the path is not absolute', id="relative"),
        pytest.param("deviceNodes: [{path: /dev/gone, type: c, major: 1, minor: 3}]", None,
            id="the spec knows"),
        pytest.param("deviceNodes: [{path: /dev/gone}, {path: /dev/x}]",
            'failed to stat CDI host device "/dev/gone": no such file or directory and 1 more of '
            'this sort', id="two devices"),
        pytest.param("hooks: [{hookName: createContainer, path: /opt/gone}]",
            "createContainer hook /opt/gone is gone", id="program"),
        pytest.param("hooks: [{hookName: poststop, path: /opt/nvidia-ctk}]",
            "poststop hook /opt/nvidia-ctk is gone", id="another stage"),
        pytest.param(
            "hooks: [{hookName: createContainer, path: /opt/nvidia-ctk, args: [nvidia-ctk, hook, "
            "update-ldcache]}]", None, id="ours"),
        pytest.param("hooks: [{hookName: createContainer, path: /usr/bin/runc}]", None, id="there"),
    ],
)  # fmt: skip
def test_spec_names_what_is_not_there(tree: Tree, edits: str, evidence: str | None) -> None:
    tree.write("/etc/cdi/acme.yaml", f"{SPEC}    {edits}\n")
    found = [one.evidence for one in doctor.examine(tree.node())]
    assert found == ([] if evidence is None else [evidence])


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


def test_a_mount_of_the_nodes_own_links(tree: Tree) -> None:
    """A link at the end leads where it leads on the node, not on the machine that looks at it."""
    tree.write("/opt/driver/libacme.so.1")
    (tree.root / "usr/lib").mkdir(parents=True, exist_ok=True)
    (tree.root / "usr/lib/libacme.so").symlink_to("/opt/driver/libacme.so.1")
    mount = "{hostPath: /usr/lib/libacme.so, containerPath: /a, options: [bind]}"
    tree.write("/etc/cdi/acme.yaml", f"{SPEC}    mounts: [{mount}]\n")
    assert findings(tree.node()) == {}


@pytest.mark.root
def test_a_loop_of_links_hides_nothing_else(tree: Tree) -> None:
    os.symlink("loop", tree.root / "loop")
    edits = "    deviceNodes: [{path: /dev/a, hostPath: /loop/a}]\n"
    edits += "    mounts: [{hostPath: /loop/x, containerPath: /a, options: [bind]}]\n"
    tree.write("/etc/cdi/acme.yaml", SPEC + edits)
    (tree.root / "run/systemd/system").mkdir(parents=True)
    assert sorted(findings(tree.node())) == ["spec-device-gone", "spec-stale"]


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
@pytest.mark.parametrize("wrong", ["../gone", "1:3"], ids=["gone", "a loop"])
def test_wrong_char_link_is_corrected(tree: Tree, wrong: str) -> None:
    node = with_device(tree)
    (tree.root / "dev/char").mkdir()
    (tree.root / "dev/char/1:3").symlink_to(wrong)
    assert doctor.repair(node) == ["/dev/char/1:3 leads to /dev/acme0"]
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
    look, folder = os.lstat, str(tree.root / "run/pyshim")
    owner = os.stat_result([look(folder).st_mode, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    monkeypatch.setattr(os, "lstat", lambda path: owner if path == folder else look(path))
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


def as_a_user(monkeypatch: pytest.MonkeyPatch, *closed: str) -> None:
    """Have this process be an ordinary user's, to whom the files of these names are closed."""

    def opened(path: str, *args: Any, **kwargs: Any) -> int:
        if str(path).endswith(closed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return really(path, *args, **kwargs)

    really = os.open
    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.parametrize(
    ("program", "path", "evidence"),
    [
        ("containerd", "/etc/containerd/config.toml", "cannot be read: Permission denied"),
        ("dockerd", "/etc/docker/daemon.json", "cannot be read: Permission denied"),
        ("podman", "/etc/containers/containers.conf", "cannot be read: Permission denied"),
        ("crio", "/etc/crio/crio.conf", "cannot be read: Permission denied"),
        ("", "/etc/pyshim/config.toml", "cannot be read: access denied"),
    ],
)
def test_what_only_root_may_read_is_no_fault_of_the_node(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, program: str, path: str, evidence: str
) -> None:
    if program:
        tree.tells(f"/usr/bin/{program}", "")
        tree.write(path)
    node_root = tree.node().host
    as_a_user(monkeypatch, path)
    node = Node(node_root, kernel="6.1.0", config_path="/etc/pyshim/config.toml")
    found = [one for one in doctor.examine(node) if one.name in UNREAD]
    assert [(one.severity, one.next_step) for one in found] == [("info", "run doctor as root")]
    assert found[0].what.endswith("cannot be read as this user")
    assert found[0].evidence.endswith(f"{path}: {evidence}")


UNREAD = ("configuration", "engine-configuration", "engine-unregistered", "check-failed")


@pytest.mark.parametrize("euid", [0, 1000])
def test_a_runtime_that_only_root_can_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, euid: int
) -> None:
    tree = Tree(tmp_path)
    node = tree.node()

    def enter(_self: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Host, "_enter", enter)
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    found = findings(node)
    wanted = ("runtime", "runtime-unknown") if euid == 0 else ("runtime-unknown", "runtime")
    assert wanted[0] in found
    assert wanted[1] not in found
    if euid:
        one = found["runtime-unknown"]
        assert (one.severity, one.next_step) == ("info", "run doctor as root")
        assert one.evidence == f"/usr/bin/runc cannot be run: {tree.root} cannot be entered"


def test_a_program_that_only_root_may_execute_is_there(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runtime, ldconfig, an engine, its runtime and a hook: mode 0700, and asked by another."""
    tree.tells("/usr/bin/crio", "crio version 1.30")
    tree.tells("/opt/pyshim", "")
    tree.tells("/opt/hook", "")
    tree.write(
        "/etc/crio/crio.conf", '[crio.runtime.runtimes.pyshim]\nruntime_path = "/opt/pyshim"\n'
    )
    hook = "hooks: [{hookName: prestart, path: /opt/hook}]"
    tree.write("/etc/cdi/acme.yaml", f"{SPEC}    {hook}\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.X_OK)
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def run(self: Host, *argv: str) -> object:
        raise host.not_run(argv[0], self.real(argv[0]), denied)

    monkeypatch.setattr(Host, "run", run)
    found = findings(tree.node())
    assert [(one.name, one.severity) for one in found.values()] == [("runtime-unknown", "info")]
    assert found["runtime-unknown"].evidence == "/usr/bin/runc cannot be run: access denied"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("#!/no/such/shell\n", "cannot be run: the interpreter that it names does not exist"),
        ("neither script nor ELF", "cannot be run: exec format error"),
        ("#!/bin/sh\nexec sleep 60\n", "--version did not end in 0.2 s"),
    ],
)
def test_a_runtime_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    """In our words: Python's are of its exceptions."""
    tree = Tree(tmp_path)
    program = tree.program("/usr/bin/runc")
    program.write_text(text)
    monkeypatch.setattr(host, "_TIMEOUT", 0.2 if "sleep" in text else 60)
    config = tree.write("/etc/pyshim/config.toml", f'runtimes = ["{program}"]\n')
    node = Node(Host(), kernel="6.1.0", config_path=str(config))
    (found,) = base.runtime(node)
    assert (found.name, found.what) == ("runtime", f"{program} {why}")
    assert found.next_step == "install it anew, or name another in 'runtimes'"


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
    assert "  next:  correct 'cdiVersion' in /etc/cdi/bad.yaml and run " in result.output
    assert result.output.endswith("\n1 error\n")
    assert result.exit_code == 4


@pytest.mark.parametrize(
    ("room", "evidence"),
    [
        pytest.param((9, 9, os.ST_RDONLY), "/run is on a file system that is mounted read-only",
            id="read-only"),
        pytest.param((0, 9, 0), "/run is on a file system with no space left", id="no space"),
        pytest.param((9, 0, 0), "/run is on a file system with no files left", id="no inodes"),
    ],
)  # fmt: skip
def test_cache_cannot_be_written(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, room: tuple[int, int, int], evidence: str
) -> None:
    monkeypatch.setenv("PYSHIM_CACHE_DIR", "/run/pyshim")
    (tree.root / "run").mkdir()
    blocks, inodes, flag = room
    told = os.statvfs_result((4096, 4096, 9, blocks, blocks, 9, inodes, inodes, flag, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: told)
    assert findings(tree.node())["cache"].evidence == evidence


def loop(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


def folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir(parents=True)


def weird(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_socket():
        path.unlink()
    path.write_bytes(b"#!/bin/sh\nprintf '\\377\\0\\033['\n\xff\0")
    path.chmod(0o755)


def fifo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)


# The findings that a loop of links, a folder, a file of anything and a FIFO make in a file's place:
# one word for all, or one for each; "-" is none.
IN_PLACE = [
    ("etc/pyshim/config.toml", "configuration"),
    ("etc/cdi/acme.yaml",
        "spec-none+spec-rejected spec-none spec-none+spec-rejected spec-none+spec-rejected"),
    ("etc/cdi/x.json", "spec-rejected - spec-rejected spec-rejected"),
    ("var/run/cdi", "check-failed - spec-dir spec-dir"),
    ("dev/log", "log log log log"),
    ("sbin/ldconfig", "ldconfig-none ldconfig ldconfig ldconfig"),
    ("usr/bin/runc", "runtime runtime runtime-unknown runtime"),
    ("usr/local/lib/pyshim", "installation"),
    ("usr/local/lib/pyshim/current", "installation"),
    ("usr/local/lib/pyshim/installed.json", "installation"),
    ("run/pyshim", "cache"),
    ("run", "cache - cache cache"),
    ("dev/char", "-"),
    ("proc/filesystems", "-"),
    ("etc/containerd/config.toml", "engine-configuration"),
    ("etc/docker/daemon.json", "engine-configuration"),
    ("etc/containers/containers.conf", "engine-configuration"),
    ("etc/crio/crio.conf", "engine-configuration"),
    ("etc/crio/crio.conf.d/10-x.conf",
        "engine-configuration - engine-configuration engine-configuration"),
    ("usr/share/containers/containers.conf", "engine-configuration"),
    ("usr/bin/containerd", "- - engine-configuration -"),
    ("usr/bin/dockerd", "engine-unregistered engine-unregistered - engine-unregistered"),
    ("usr/bin/kubelet", "- - engine-unregistered -"),
    ("sys/bus/pci/devices", "-"),
    ("proc/driver/nvidia/version", "-"),
    ("proc/1/mountinfo", "check-failed - - -"),
    ("dev/nvidia0", "-"),
]  # fmt: skip


MAKES: list[Callable[[Path], None]] = [loop, folder, weird, fifo]


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize(("path", "names"), IN_PLACE)
def test_nothing_on_a_node_ends_the_doctor(
    tree: Tree,
    path: str,
    names: str,
    make: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever lies where a file should be is told, or does not matter; other checks go on."""
    monkeypatch.setenv("PYSHIM_CACHE_DIR", "/run/pyshim")
    for engine in ("containerd", "dockerd", "podman", "crio"):
        tree.tells(f"/usr/bin/{engine}", "")
    tree.write("/etc/pyshim/config.toml", 'runtimes = ["runc"]\n')
    tree.write("/etc/containerd/config.toml", "version = 2\n")
    tree.write("/etc/cdi/bad.yaml", "cdiVersion: 9.9.9\n")
    before = told(tree)
    make(tree.root / path)
    found = told(tree)
    each = names.split() * (4 if " " not in names else 1)
    wanted = each[MAKES.index(make)]
    assert ("+".join(sorted({name for name, _ in found - before})) or "-") == wanted
    assert "spec-rejected" in {name for name, _ in found}
    doctor.repair(Node(Host(str(tree.root)), config_path="/etc/pyshim/config.toml"))


def told(tree: Tree) -> set[tuple[str, str]]:
    """Name and evidence of what the doctor finds; no fault is ours."""
    node = Node(Host(str(tree.root)), kernel="6.1.0", config_path="/etc/pyshim/config.toml")
    found = {(one.name, one.evidence) for one in doctor.examine(node)}
    assert [evidence for _, evidence in found if "internal error" in evidence] == []
    return found


def test_a_gpu_whose_facts_are_no_file_is_not_waited_for(tree: Tree) -> None:
    for name in ("proc/driver/nvidia/gpus/0000:01:00.0/information", "etc/ld.so.cache"):
        fifo(tree.root / name)
    node = '{name: "0", containerEdits: {deviceNodes: [{path: /dev/nvidia0}]}}'
    tree.write(
        "/etc/cdi/nvidia.yaml", f"cdiVersion: 0.6.0\nkind: nvidia.com/gpu\ndevices: [{node}]\n"
    )
    found = doctor.examine(tree.node())
    assert [one.evidence for one in found if one.name == "check-failed"] == []


NUL = r'"/usr/bin/a\u0000b"'


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        pytest.param("/etc/containerd/config.toml",
            f'version = 2\nimports = [{NUL}, "/a\\u0000b/*.toml"]\n', "engine-unregistered",
            id="containerd's imports"),
        pytest.param("/etc/crio/crio.conf",
            f'[crio.runtime.runtimes.pyshim]\nruntime_path = {NUL[:-1]}/pyshim"\n',
            "engine-program",
            id="CRI-O's runtime_path"),
        pytest.param("/etc/cdi/x.json",
            '{"cdiVersion": "0.6.0", "kind": "a.com/b", "devices": [{"name": "0", "containerEdits":'
            f' {{"hooks": [{{"hookName": "prestart", "path": {NUL}}}]}}}}]}}', "spec-hook-gone",
            id="a hook's path"),
    ],
)  # fmt: skip
def test_what_can_be_no_path_is_not_there(tree: Tree, path: str, text: str, name: str) -> None:
    for engine in ("containerd", "crio"):
        tree.tells(f"/usr/bin/{engine}", "")
    tree.write(path, text)
    found = doctor.examine(tree.node())
    assert [one.evidence for one in found if one.name == "check-failed"] == []
    assert name in {one.name for one in found}


def test_a_hook_that_is_a_loop_of_links(tree: Tree) -> None:
    loop(tree.root / "usr/bin/x")
    hook = "hooks: [{hookName: prestart, path: /usr/bin/x}]"
    spec = tree.root / "etc/cdi/acme.yaml"
    spec.write_text(spec.read_text().replace("env: [ACME=0]", hook))
    evidence = findings(tree.node())["spec-hook-gone"].evidence
    assert evidence == "prestart hook /usr/bin/x is a loop of links"


def test_a_check_that_fails_is_a_finding(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several that fail for the same reason are one; what they found before stays."""

    def half(_node: Node) -> Iterator[Finding]:
        yield Finding("half", "info", "", evidence="", why="", next_step="")
        raise ImportError("No module named 'yaml'", name="yaml")

    def user(_node: Node) -> Iterator[Finding]:
        raise PermissionError(13, "Permission denied", "/etc/x")

    def ours(_node: Node) -> Iterator[Finding]:
        raise KeyError("x")

    monkeypatch.setattr(base, "kernel", half)
    monkeypatch.setattr(base, "log", half)
    monkeypatch.setattr(base, "runtime", user)
    monkeypatch.setattr(base, "ldconfig", ours)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = doctor.examine(tree.node())
    assert [(one.what, one.evidence, one.next_step) for one in found if one.name != "half"] == [
        (
            "the checks 'base:kernel', 'base:log' could not be made",
            "a part of pyshim is missing or damaged: No module named 'yaml'",
            "install pyshim again from where it came",
        ),
        (
            "the check 'base:runtime' could not be made",
            "/etc/x: access denied",
            "run doctor as root",
        ),
        (
            "the check 'base:ldconfig' could not be made",
            "internal error: KeyError: 'x'",
            "this is pyshim's fault: report it, with what PYSHIM_TRACEBACK=1 adds",
        ),
    ]
    assert len([one for one in found if one.name == "half"]) == 2


def test_a_damaged_installation_is_one_finding(tree: Tree) -> None:
    """What is wrong is selfcheck's to say."""
    tree.write("/usr/local/lib/pyshim/installed.json", "{")
    os.chmod(tree.root / "usr/local/lib/pyshim", 0o700)
    found = findings(tree.node())["installation"]
    assert found.evidence == (
        "/usr/local/lib/pyshim has mode 0700, not 0755, /usr/local/lib/pyshim/installed.json cannot"
        " be read, /usr/local/lib/pyshim/current leads to no version and 3 more"
    )
    assert found.next_step == f"pyshimctl install --host-root {tree.root}"


def test_the_hook_program_of_a_clone(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = tree.root / "bin/pyshim-hook"
    node = Node(Host(), kernel="6.1.0")
    monkeypatch.setattr(ownfiles, "programs", lambda: (str(hook.parent / "pyshim"), str(hook)))
    found = list(installation.hook_program(node))
    assert [one.what for one in found] == [f"{hook} is not there, or cannot be executed"]
    tree.tells("/bin/pyshim-hook", "")
    assert list(installation.hook_program(node)) == []
