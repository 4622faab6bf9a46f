"""`pyshimctl install` and `uninstall` on the tree of another machine, without entering it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocishim.admin import pythons, vendor
from ocishim.admin.installation import Installation
from ocishim.admin.settings import default_text
from ocishim.errors import ConfigError
from tests.unit.admin.installing import CONFIG, HOME, Node, Tree


def test_what_lies_where(node: Node) -> None:
    output = node.install()
    version = f"{HOME}/{node.current}"
    listing = node.listing()
    for path in (
        "usr/local/bin/pyshim",
        "usr/local/bin/pyshim-hook",
        "usr/local/bin/pyshimctl",
        f"{version}/ocishim/entry.py",
        f"{version}/ocishim/hooks/program.py",
        f"{version}/site/small.py",
        f"{version}/bin/.pyshim-main.py",
        CONFIG,
    ):
        assert path in listing
    assert output.splitlines()[0] == f"use /{version}"


def test_programs_name_their_own_version(node: Node) -> None:
    """A create that runs during an upgrade stays with the version it began with."""
    node.install()
    version = f"/{HOME}/{node.current}"
    launcher = (node.root / HOME / node.current / "bin/pyshim").read_text()
    assert f"-I -S {version}/bin/.pyshim-main.py {version}/bin/pyshim " in launcher
    assert "current" not in launcher
    main_script = (node.root / HOME / node.current / "bin/.pyshim-main.py").read_text()
    assert f"sys.path[:0] = ['{version}']" in main_script
    hook = (node.root / HOME / node.current / "bin/pyshim-hook").read_text()
    assert hook.startswith(f"#!{version}/bin/.pyshim-python/python -IS\n")


def test_bytecode_is_compiled_and_never_checked(node: Node) -> None:
    node.install()
    folder = node.root / HOME / node.current / "ocishim"
    tag = sys.implementation.cache_tag
    for source in folder.glob("*.py"):
        compiled = folder / "__pycache__" / f"{source.stem}.{tag}.pyc"
        # PEP 552: bit 0 says hash-based, bit 1 that the source is to be checked.
        assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 1, source
        assert str(node.root).encode() not in compiled.read_bytes()


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
        wanted = 0o755 if path.is_dir() else 0o444
        assert path.is_symlink() or path.stat().st_mode & wanted == wanted, path
    assert (node.root / HOME / node.current / "bin/pyshim").stat().st_mode & 0o777 == 0o755


def test_twice_changes_nothing(node: Node) -> None:
    node.install()
    before = {path: (node.root / path).lstat().st_mtime_ns for path in node.listing()}
    assert node.install() == "nothing to do\n"
    assert {path: (node.root / path).lstat().st_mtime_ns for path in node.listing()} == before


def test_upgrade_keeps_the_version_before_and_no_older_one(node: Node, library: Path) -> None:
    names = []
    for count in (1, 2, 3):
        (library / "ocishim/hooks/extra.py").write_text(f"VERSION = {count}\n")
        node.install()
        names.append(node.current)
    assert len(set(names)) == 3
    versions = [
        path.name
        for path in (node.root / HOME).iterdir()
        if path.is_dir() and not path.is_symlink()
    ]
    assert sorted(versions) == sorted(names[1:])


def test_going_back_is_a_switch(node: Node, library: Path) -> None:
    node.install()
    first = node.current
    (library / "ocishim/hooks/extra.py").write_text("VERSION = 2\n")
    node.install()
    (library / "ocishim/hooks/extra.py").write_text("VERSION = 1\n")
    assert node.install() == f"use /{HOME}/{first}\n"


def test_a_failure_leaves_the_version_in_use(node: Node, library: Path) -> None:
    node.install()
    before = node.listing()
    (library / "ocishim/hooks/extra.py").write_text("no Python\n")
    result = node.call("install")
    assert result.exit_code == 1
    assert "cannot compile pyshim" in result.output
    assert node.listing() == before


def test_what_a_killed_install_left_is_removed(node: Node, library: Path) -> None:
    node.install()
    (node.root / HOME / ".new-1").mkdir()
    (library / "ocishim/hooks/extra.py").write_text("VERSION = 2\n")
    node.install()
    assert not (node.root / HOME / ".new-1").exists()


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
    result = node.call("install")
    assert result.exit_code == 1
    assert result.output == (
        "pyshimctl: /usr/local/bin/pyshim is there and not ours\n"
        "hint: remove it, or choose another --prefix\n"
    )


@pytest.mark.parametrize("prefix", ["/usr/local", "/opt/pyshim", "/opt/a/b/"])
def test_uninstall_leaves_no_trace(node: Node, library: Path, prefix: str) -> None:
    before = node.listing()
    node.install("--prefix", prefix)
    (library / "ocishim/hooks/extra.py").write_text("VERSION = 2\n")
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
    assert (report["python"], report["lowlevel"]) == ("/usr/bin/python3", ["/usr/sbin/runc"])
    assert json.loads(node.install("--json"))["done"] == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        pytest.param(
            "echo 3 9 .so", "/usr/bin/python3: is Python 3.9, and 3.10 is the oldest", id="old"
        ),
        pytest.param(
            "echo no module named _ctypes >&2; exit 1",
            "/usr/bin/python3: cannot run pyshim: no module named _ctypes",
            id="minimal",
        ),
    ],
)
def test_a_python_that_will_not_do(node: Node, script: str, message: str) -> None:
    node.program("usr/bin/python3", script)
    result = node.call("install")
    assert result.exit_code == 1
    assert result.output == (
        f"pyshimctl: no interpreter for pyshim ({message})\n"
        "hint: install Python 3.10 or newer there, or name one: --python PATH\n"
    )


def test_another_python_needs_its_own_libraries(node: Node, tmp_path: Path) -> None:
    python = pythons.Python("/usr/bin/python3.99", (3, 99), ".cpython-399.so")
    with pytest.raises(
        ConfigError, match=r"^/usr/bin/python3\.99 is Python 3\.99, and the libraries"
    ):
        pythons.site_for(python, None)
    (tmp_path / "3.99").mkdir()
    assert pythons.site_for(python, str(tmp_path)) == str(tmp_path / "3.99")
    ours = pythons.choose(Tree(str(node.root)), None)
    assert pythons.site_for(ours, str(tmp_path)) is None


def test_libraries_are_those_pyshim_requires() -> None:
    files = vendor.libraries()
    for path in (
        "site/yaml/__init__.py",
        "site/click/core.py",
        "site/tomlkit/api.py",
        "site/jsonschema/validators.py",
        "site/attr/__init__.py",
    ):
        assert path in files
    assert not [path for path in files if "pytest" in path or ".." in path or path.endswith(".pyc")]


def test_a_folder_in_the_way_is_named(node: Node) -> None:
    (node.root / "usr/local").write_text("")
    result = node.call("install")
    assert result.exit_code == 1
    assert "usr/local" in result.output
    assert "Traceback" not in result.output


def test_a_relative_prefix_is_a_usage_error(node: Node) -> None:
    assert node.call("install", "--prefix", "x").exit_code == 2


def test_two_installs_wait_for_each_other(node: Node) -> None:
    node.install()
    with Installation(Tree(str(node.root)), "/usr/local") as first:
        first.lock()
        script = (
            "import fcntl, os, sys\n"
            "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        )
        command = [sys.executable, "-c", script, str(node.root / HOME)]
        assert subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode != 0
    assert subprocess.run(command, check=False).returncode == 0
