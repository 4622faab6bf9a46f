"""A damaged installation: `install --check` and the doctor say what, `install` mends it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ocishim.admin import integrity, launchers, selfcheck
from ocishim.admin.installation import Installation
from ocishim.errors import ConfigError
from tests.unit.admin.installing import HOME, Node, Tree

Damage = Callable[[Path], object]


def snapshot(node: Node) -> dict[str, tuple[int, bytes | str]]:
    """Everything of the installation but its lists: mode and content."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in (node.root / "usr/local").rglob("*"):
        content: bytes | str = path.name if path.is_dir() else b""
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file() and path.suffix != ".pyc":
            content = path.read_bytes()
        if path.name != integrity.LIST:
            found[str(path.relative_to(node.root))] = (path.lstat().st_mode, content)
    return found


def replaced(path: Path, make: Damage) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    make(path)


# What is done to the version's folder, and what is said of the path below it.
VERSION = [
    pytest.param(lambda at: (at / "bin/pyshim").chmod(0o644), "bin/pyshim has mode 0644, not 0755", id="launcher not executable"),
    pytest.param(lambda at: (at / "bin/pyshim").write_text(""), "bin/pyshim is empty", id="launcher empty"),
    pytest.param(lambda at: (at / "bin/pyshim-hook").unlink(), "bin/pyshim-hook is missing", id="hook gone"),
    pytest.param(lambda at: replaced(at / "bin/pyshim-hook", os.mkfifo), "bin/pyshim-hook is neither file nor folder, not a file", id="hook a FIFO"),
    pytest.param(lambda at: (at / "site/small.py").unlink(), "site/small.py is missing", id="library gone"),
    pytest.param(lambda at: shutil.rmtree(at / "site"), "site is missing", id="all libraries gone"),
    pytest.param(lambda at: (at / "ocishim/entry.py").write_text("x"), "ocishim/entry.py was changed", id="module changed"),
    pytest.param(lambda at: os.truncate(at / "ocishim/entry.py", 9), "ocishim/entry.py was changed", id="module truncated"),
    pytest.param(lambda at: (at / "ocishim/entry.py").chmod(0o600), "ocishim/entry.py has mode 0600, not 0644", id="module closed"),
    pytest.param(lambda at: (at / "ocishim").chmod(0o700), "ocishim has mode 0700, not 0755", id="folder closed"),
    pytest.param(lambda at: at.chmod(0o700), " has mode 0700, not 0755", id="version closed"),
    pytest.param(lambda at: (at / "site/yaml.py").write_text(""), "site/yaml.py does not belong there", id="file too much"),
    pytest.param(lambda at: (at / "site/yaml").mkdir(), "site/yaml does not belong there", id="folder too much"),
    pytest.param(lambda at: replaced(at / "ocishim/entry.py", Path.mkdir), "ocishim/entry.py is a folder, not a file", id="folder for file"),
    pytest.param(lambda at: replaced(at / "ocishim/hooks", Path.touch), "ocishim/hooks is a file, not a folder", id="file for folder"),
    pytest.param(lambda at: replaced(at / "ocishim/hooks", lambda path: path.symlink_to("/gone")), "ocishim/hooks is a link to /gone, not a folder", id="link for folder"),
    pytest.param(lambda at: shutil.rmtree(at / "ocishim/__pycache__"), "ocishim/__pycache__ is missing", id="bytecode gone"),
    pytest.param(lambda at: (at / "files.json").unlink(), "files.json cannot be read", id="list gone"),
    pytest.param(lambda at: (at / "files.json").write_text("[3"), "files.json cannot be read", id="list damaged"),
    pytest.param(lambda at: (at / "files.json").write_text("{}"), "files.json cannot be read", id="list says nothing"),
    pytest.param(lambda at: (at / "files.json").chmod(0o666), "files.json has mode 0666, not 0644", id="list open"),
]  # fmt: skip

# What is done beside the versions, and what is said of the path.
BESIDE = [
    pytest.param(lambda root: (root / "bin/pyshim").unlink(), "/usr/local/bin/pyshim is no link to /usr/local/lib/pyshim/current/bin", id="link gone"),
    pytest.param(lambda root: replaced(root / "bin/pyshim-hook", lambda path: path.symlink_to("/gone")), "/usr/local/bin/pyshim-hook is no link to /usr/local/lib/pyshim/current/bin", id="link to nowhere"),
    pytest.param(lambda root: replaced(root / "bin/pyshim-hook", lambda path: path.symlink_to("../lib/pyshim/current/bin/pyshim")), "/usr/local/bin/pyshim-hook is no link to /usr/local/lib/pyshim/current/bin", id="link to another"),
    pytest.param(lambda root: replaced(root / "bin/pyshimctl", Path.touch), "/usr/local/bin/pyshimctl is no link to /usr/local/lib/pyshim/current/bin", id="empty file"),
    pytest.param(lambda root: (root / "lib/pyshim/current").unlink(), "/usr/local/lib/pyshim/current leads to no version", id="current gone"),
    pytest.param(lambda root: replaced(root / "lib/pyshim/current", Path.mkdir), "/usr/local/lib/pyshim/current leads to no version", id="current a folder"),
    pytest.param(lambda root: replaced(root / "lib/pyshim/current", lambda path: path.symlink_to("gone")), "/usr/local/lib/pyshim/current leads to no version", id="current to nowhere"),
    pytest.param(lambda root: replaced((root / "lib/pyshim/current").resolve(), lambda _path: None), "/usr/local/lib/pyshim/current leads to no version", id="version gone"),
    pytest.param(lambda root: (root / "lib/pyshim").chmod(0o700), "/usr/local/lib/pyshim has mode 0700, not 0755", id="home closed"),
    pytest.param(lambda root: (root / "lib/pyshim").chmod(0o777), "/usr/local/lib/pyshim has mode 0777, not 0755", id="home open"),
    pytest.param(lambda root: (root / "lib/pyshim/installed.json").write_text("{"), "/usr/local/lib/pyshim/installed.json cannot be read", id="record damaged"),
    pytest.param(lambda root: (root / "lib/pyshim/installed.json").unlink(), "/usr/local/lib/pyshim/installed.json cannot be read", id="record gone"),
]  # fmt: skip


def is_found_and_mended(node: Node, said: str) -> None:
    broken = snapshot(node)
    checked = node.call("install", "--check")
    assert checked.exit_code == 1, checked.output
    assert said in checked.stdout.splitlines()
    assert checked.stdout.splitlines()[-1] == f"next: pyshimctl install --host-root {node.root}"
    assert snapshot(node) == broken
    assert node.install() != "nothing to do\n"
    assert node.install() == "nothing to do\n"
    right = node.call("install", "--check")
    assert (right.exit_code, right.stdout) == (0, f"/{HOME}/{node.current}: right\n")


@pytest.mark.parametrize(("damage", "said"), VERSION)
def test_a_version(node: Node, damage: Damage, said: str) -> None:
    node.install()
    whole, version = snapshot(node), f"/{HOME}/{node.current}"
    damage(node.root / version.lstrip("/"))
    is_found_and_mended(node, f"{version}/{said}" if said[0] != " " else version + said)
    assert snapshot(node) == whole


@pytest.mark.parametrize(("damage", "said"), BESIDE)
def test_what_lies_beside_the_versions(node: Node, damage: Damage, said: str) -> None:
    node.install()
    whole = snapshot(node)
    damage(node.root / "usr/local")
    is_found_and_mended(node, said)
    differs = [path for path in whole if snapshot(node)[path] != whole[path]]
    assert differs in ([], [f"{HOME}/installed.json"])


@pytest.mark.root
def test_an_owner(node: Node) -> None:
    node.install()
    version = f"/{HOME}/{node.current}"
    os.chown(node.root / version.lstrip("/") / "bin/pyshim", 1000, 1000)
    is_found_and_mended(node, f"{version}/bin/pyshim belongs to 1000:1000, not 0:0")


def test_what_was_mended_is_told(node: Node) -> None:
    node.install()
    version = f"{HOME}/{node.current}"
    (node.root / version / "bin/pyshim").write_text("")
    (node.root / version / "site/small.py").unlink()
    assert node.install() == (
        f"mend /{version}/bin/pyshim, which is empty\n"
        f"mend /{version}/site/small.py, which is missing\n"
    )


def test_a_file_is_mended_by_one_rename(node: Node) -> None:
    """Whoever runs the launcher meanwhile finds the old one or the new one; others stay."""
    node.install()
    version = node.root / HOME / node.current
    before = {path: path.lstat().st_ino for path in version.rglob("*") if path.name != "files.json"}
    (version / "bin/pyshim").write_text("")
    node.install()
    changed = [path.name for path, inode in before.items() if path.lstat().st_ino != inode]
    assert changed == ["pyshim"]


def test_an_interpreter_of_another_version(node: Node) -> None:
    node.install()
    listed = node.root / HOME / node.current / "files.json"
    listed.write_text(listed.read_text().replace('"version": "3.', '"version": "2.'))
    wrong = selfcheck.faults(Installation(Tree(str(node.root)), "/usr/local"))
    assert [one.path for one in wrong] == []  # another machine's is not run
    (node.root / "usr/bin/python3").unlink()
    wrong = selfcheck.faults(Installation(Tree(str(node.root)), "/usr/local"))
    assert [f"{one.path} {one.what}" for one in wrong] == [
        "/usr/bin/python3 is gone, and is pyshim's interpreter"
    ]


def test_nothing_is_installed(node: Node) -> None:
    result = node.call("install", "--check", "--json")
    told = {"path": f"/{HOME}", "what": "is missing: pyshim is not installed there"}
    assert json.loads(result.stdout) == {"version": "", "wrong": [told]}
    assert result.exit_code == 1


def test_another_version_than_this_is_told(node: Node, library: Path) -> None:
    node.install()
    before = node.current
    (library / "ocishim/hooks/extra.py").write_text("VERSION = 2\n")
    first = node.call("install", "--check").stdout.splitlines()[0]
    assert first.startswith(f"/{HOME}/current leads to {before}, and this pyshim is ")


def test_a_copy_that_lost_files_does_not_install_itself(
    node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It names where it came from, if that is there still."""
    origin = tmp_path / "venv/bin/pyshimctl"
    origin.parent.mkdir(parents=True)
    origin.write_text("")
    origin.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(origin)])
    node.install()
    copy = node.root / HOME / node.current
    monkeypatch.setattr(launchers, "library", lambda: str(copy))
    assert selfcheck.must_be_whole() == set(
        json.loads((copy / "files.json").read_text())["entries"]
    )
    (copy / "bin/pyshim").unlink()
    selfcheck.must_be_whole()  # a launcher is made anew
    (copy / "site/small.py").unlink()
    with pytest.raises(ConfigError) as caught:
        selfcheck.must_be_whole()
    assert caught.value.message == f"{copy}/site/small.py is missing, and only its origin has it"
    assert caught.value.hint == f"{origin} install"
    origin.unlink()
    assert selfcheck.origin() == "install pyshim again from its clone or wheel"
