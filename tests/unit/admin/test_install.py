"""`pyshimctl install` and `uninstall` on the tree of another machine, without entering it."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ocishim.admin.config.settings import default_text
from ocishim.admin.host import Host
from ocishim.admin.install import ownfiles
from ocishim.admin.install.installation import Installation
from ocishim.create.entry import hook_program
from tests.isolated import run
from tests.unit.admin.installing import CONFIG, HOME, Node


def test_what_lies_where(node: Node) -> None:
    output = node.install()
    version = f"{HOME}/{node.current}"
    listing = node.listing()
    for path in (
        "usr/local/bin/pyshim",
        "usr/local/bin/pyshim-hook",
        "usr/local/bin/pyshimctl",
        f"{version}/bin/pyshim",
        f"{version}/bin/pyshim-hook",
        f"{version}/bin/pyshimctl",
        CONFIG,
    ):
        assert path in listing
    assert output.splitlines()[0] == f"use /{version}"
    assert (node.root / "usr/local/bin/pyshim-hook").read_text() == "version 1\n"


def test_folders_that_are_links(node: Node) -> None:
    for name, target in (("bin", "../../opt/programs"), ("lib", "../lib")):
        (node.root / "usr/local").mkdir(parents=True, exist_ok=True)
        (node.root / "usr/local" / target).mkdir(parents=True)
        (node.root / "usr/local" / name).symlink_to(target)
    node.install()
    assert (node.root / "usr/local/bin/pyshim-hook").read_text() == "version 1\n"
    assert node.call("install", "--check").exit_code == 0
    node.uninstall()
    assert not (node.root / "opt/programs/pyshim").is_symlink()


def test_a_create_names_its_own_versions_hook(node: Node) -> None:
    """A create that runs during an upgrade stays with the version it began with."""
    node.install()
    hook = hook_program(str(node.root / "usr/local/bin/pyshim"))
    assert hook == str(node.root / HOME / node.current / "bin/pyshim-hook")
    assert os.readlink(hook) == "pyshim"


def test_everybody_can_read_it_whatever_the_umask(node: Node) -> None:
    old = os.umask(0o077)
    try:
        node.install()
    finally:
        os.umask(old)
    for path in [
        node.root / "etc/pyshim",
        *(node.root / "usr/local").rglob("*"),
        node.root / CONFIG,
    ]:
        if path.name == ".lock":
            continue
        wanted = 0o755 if path.is_dir() else 0o444
        assert path.is_symlink() or path.stat().st_mode & wanted == wanted, path
    assert (node.root / HOME / node.current / "bin/pyshim").stat().st_mode & 0o777 == 0o755


def test_twice_changes_nothing(node: Node) -> None:
    node.install()
    before = {path: (node.root / path).lstat().st_mtime_ns for path in node.listing()}
    assert node.install() == "nothing to do\n"
    assert {path: (node.root / path).lstat().st_mtime_ns for path in node.listing()} == before


def test_upgrade_keeps_the_version_before_and_no_older_one(node: Node, static: Path) -> None:
    names = []
    for count in (1, 2, 3):
        static.write_text(f"version {count}\n")
        node.install()
        names.append(node.current)
    assert len(set(names)) == 3
    versions = [
        path.name
        for path in (node.root / HOME).iterdir()
        if path.is_dir() and not path.is_symlink()
    ]
    assert sorted(versions) == sorted(names[1:])


def test_going_back_is_a_switch(node: Node, static: Path) -> None:
    node.install()
    first = node.current
    static.write_text("version 2\n")
    node.install()
    static.write_text("version 1\n")
    assert node.install() == f"use /{HOME}/{first}\n"


def test_a_failure_leaves_the_version_in_use(node: Node, static: Path) -> None:
    node.install()
    before = node.listing()
    static.unlink()
    result = node.call("install")
    assert (result.exit_code, result.output) == (
        1,
        f"pyshimctl: {static}: No such file or directory\n",
    )
    assert node.listing() == before


def test_a_full_disk_leaves_the_version_in_use(node: Node, static: Path) -> None:
    node.install()
    before = node.listing()
    static.write_bytes(bytes(3 << 20))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, limits[1]))  # CPython ignores SIGXFSZ
    try:
        result = node.call("install")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert result.exit_code == 1
    folder = node.root / HOME / f".new-{os.getpid()}"
    assert result.output == f"pyshimctl: {folder}/bin/pyshim: File too large\n"
    assert node.listing() == before


def test_a_clone_that_was_not_built(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(ownfiles, "library", lambda: str(tmp_path / "clone"))
    before = node.listing()
    result = node.call("install")
    assert result.exit_code == 1
    assert result.output == (
        f"pyshimctl: {tmp_path}/clone/build/pyshim is not there: what a node gets is one static"
        f" file, and this is its source\nhint: make -C {tmp_path}/clone binary, then install again\n"
    )
    assert node.listing() == before
    built = tmp_path / "clone/build/pyshim"
    built.parent.mkdir(parents=True)
    built.write_text("version 1\n")
    node.install()


def test_configuration_begins_with_the_runtimes_that_are_there(node: Node) -> None:
    node.install()
    assert (node.root / CONFIG).read_text() == default_text(["/usr/sbin/runc", "runc", "crun"])


def test_the_runtime_an_engine_brings_is_found(node: Node) -> None:
    (node.root / "usr/sbin/runc").unlink()
    node.program("usr/libexec/crio/crun", "")
    node.install()
    first = (node.root / CONFIG).read_text().splitlines()[0]
    assert first == 'runtimes = ["/usr/libexec/crio/crun", "runc", "crun"]'


def test_a_runtime_can_be_named(node: Node) -> None:
    node.program("opt/crun", "")
    node.install("--runtime", "/opt/crun")
    first = (node.root / CONFIG).read_text().splitlines()[0]
    assert first == 'runtimes = ["/opt/crun", "runc", "crun"]'


def test_a_runtime_that_is_not_there_is_refused(node: Node) -> None:
    before = node.listing()
    result = node.call("install", "--runtime", "/opt/nothing")
    assert result.exit_code == 1
    assert result.output.startswith("pyshimctl: /opt/nothing: no such program\n")
    assert node.listing() == before


def test_no_runtime_is_a_warning(node: Node) -> None:
    (node.root / "usr/sbin/runc").unlink()
    assert "warning: no low-level runtime found" in node.install()
    assert (node.root / CONFIG).read_text() == default_text(["runc", "crun"])


def test_a_configuration_that_is_there_stays(node: Node) -> None:
    (node.root / "etc/pyshim").mkdir(parents=True)
    (node.root / CONFIG).write_text("# mine\n")
    node.install()
    assert (node.root / CONFIG).read_text() == "# mine\n"


def test_a_program_of_somebody_else_is_not_replaced(node: Node) -> None:
    node.program("usr/local/bin/pyshim", "# mine")
    before = node.listing()
    result = node.call("install")
    assert result.exit_code == 1
    assert result.output == (
        "pyshimctl: /usr/local/bin/pyshim is there and not ours\n"
        f"hint: mv {node.root}/usr/local/bin/pyshim {node.root}/usr/local/bin/pyshim.old"
        ", or choose another --prefix\n"
    )
    assert node.listing() == before


@pytest.mark.parametrize("prefix", ["/usr/local", "/opt/pyshim", "/opt/a/b/"])
def test_uninstall_leaves_no_trace(node: Node, static: Path, prefix: str) -> None:
    before = node.listing()
    node.install("--prefix", prefix)
    static.write_text("version 2\n")
    node.install("--prefix", prefix)
    (node.root / "run/pyshim").mkdir(parents=True)
    (node.root / "run/pyshim/registry").write_text("")
    node.uninstall("--prefix", prefix)
    (node.root / "run").rmdir()
    assert node.listing() == before
    assert node.uninstall("--prefix", prefix) == "nothing to do\n"


def test_uninstall_keeps_an_edited_configuration(node: Node) -> None:
    node.install()
    with (node.root / CONFIG).open("a") as file:
        file.write("# mine\n")
    assert f"keep /{CONFIG}, which was edited (--purge removes it)\n" in node.uninstall()
    assert (node.root / CONFIG).exists()
    node.install()
    node.uninstall("--purge")
    assert not (node.root / "etc/pyshim").exists()


def test_uninstall_refuses_while_an_engine_uses_it(node: Node) -> None:
    node.install()
    configured = node.call("configure", "crio", "--force")
    assert configured.exit_code == 0, configured.output
    result = node.call("uninstall")
    assert result.exit_code == 1
    assert result.output == (
        "pyshimctl: crio still uses pyshim (/etc/crio/crio.conf.d/99-pyshim.conf)\n"
        "hint: pyshimctl configure crio --remove; systemctl restart crio\n"
    )
    assert (node.root / "usr/local/bin/pyshim").exists()
    node.uninstall("--force")
    assert not (node.root / "usr/local/bin/pyshim").exists()


def test_uninstall_leaves_other_programs_alone(node: Node) -> None:
    node.install()
    node.program("usr/local/bin/other", "")
    (node.root / "usr/local/bin/pyshimctl").unlink()
    node.program("usr/local/bin/pyshimctl", "# mine")
    node.uninstall()
    left = [path for path in node.listing() if path.startswith("usr/local/")]
    assert left == ["usr/local/bin", "usr/local/bin/other", "usr/local/bin/pyshimctl"]


def test_json_report(node: Node) -> None:
    report = json.loads(node.install("--json"))
    assert report["version"] == node.current
    assert report["programs"][0] == "/usr/local/bin/pyshim"
    assert report["lowlevel"] == ["/usr/sbin/runc"]
    assert json.loads(node.install("--json"))["done"] == []


def test_a_folder_in_the_way_is_named(node: Node) -> None:
    (node.root / "usr/local").write_text("")
    result = node.call("install")
    assert result.exit_code == 1
    assert "usr/local" in result.output
    assert "Traceback" not in result.output


def test_a_relative_prefix_is_a_usage_error(node: Node) -> None:
    assert node.call("install", "--prefix", "x").exit_code == 2


def test_who_may_read_it_cannot_hold_an_install_up(node: Node) -> None:
    node.install()
    held = os.open(node.root / HOME, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    run(node.install, flags=0, limit=20)
    os.close(held)
    assert (node.root / HOME / ".lock").stat().st_mode & 0o777 == 0o600


def test_two_installs_wait_for_each_other(node: Node) -> None:
    node.install()
    with Installation(Host(str(node.root)), "/usr/local") as first:
        first.lock()
        script = (
            "import fcntl, os, sys\n"
            "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        )
        command = [sys.executable, "-c", script, str(node.root / HOME / ".lock")]
        assert subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode != 0
    assert subprocess.run(command, check=False).returncode == 0


def test_uninstall_quiet_says_what_stands_against_it_alone(node: Node) -> None:
    """What the packages' scripts ask."""
    node.install()
    assert node.uninstall("--dry-run", "--quiet") == ""
    node.program("usr/bin/containerd")
    node.call("configure", "containerd", "--force")
    refused = node.call("uninstall", "--dry-run", "--quiet")
    assert (refused.exit_code, "containerd still uses pyshim" in refused.output) == (1, True)
