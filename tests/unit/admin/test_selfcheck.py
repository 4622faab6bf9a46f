"""A damaged installation: `install --check` and the doctor say what, `install` mends it."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from ocishim.admin.checks import installation
from ocishim.admin.checks.node import Node as Checked
from ocishim.admin.host import Host
from ocishim.admin.install import ownfiles, selfcheck
from ocishim.admin.install.installation import Installation
from ocishim.errors import ConfigError
from tests.unit.admin.installing import HOME, Node

Damage = Callable[[Path], object]


def snapshot(node: Node) -> dict[str, tuple[int, bytes | str]]:
    """Everything of the installation: mode and content."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in (node.root / "usr/local").rglob("*"):
        content: bytes | str = path.name if path.is_dir() else b""
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(node.root))] = (path.lstat().st_mode, content)
    return found


def replaced(path: Path, make: Damage) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    make(path)


def to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def full_folder(path: Path) -> None:
    (path / "below").mkdir(parents=True)


# What is done to the version's folder, and what is said of the path below it.
VERSION = [
    pytest.param(lambda at: (at / "bin/pyshim").chmod(0o644), "bin/pyshim has mode 0644, not 0755",
        id="not executable"),
    pytest.param(lambda at: (at / "bin/pyshim").write_text(""), "bin/pyshim is empty", id="empty"),
    pytest.param(lambda at: (at / "bin/pyshim").write_text("version 2\n"), "bin/pyshim was changed",
        id="changed"),
    pytest.param(lambda at: os.truncate(at / "bin/pyshim", 9), "bin/pyshim was changed",
        id="truncated"),
    pytest.param(lambda at: (at / "bin/pyshim").unlink(), "bin/pyshim is missing", id="gone"),
    pytest.param(lambda at: (at / "bin/pyshim-hook").unlink(), "bin/pyshim-hook is missing",
        id="hook gone"),
    pytest.param(lambda at: replaced(at / "bin/pyshim-hook", os.mkfifo),
        "bin/pyshim-hook is neither file nor folder, not a link to pyshim", id="hook a FIFO"),
    pytest.param(lambda at: replaced(at / "bin/pyshim-hook", lambda path: path.symlink_to("/gone")),
        "bin/pyshim-hook is a link to /gone, not a link to pyshim", id="hook to nowhere"),
    pytest.param(lambda at: replaced(at / "bin/pyshim", Path.mkdir),
        "bin/pyshim is a folder, not a file", id="folder for file"),
    pytest.param(lambda at: shutil.rmtree(at / "bin"), "bin is missing", id="all programs gone"),
    pytest.param(lambda at: replaced(at / "bin", Path.touch), "bin is a file, not a folder",
        id="file for folder"),
    pytest.param(lambda at: replaced(at / "bin", lambda path: path.symlink_to("/gone")),
        "bin is a link to /gone, not a folder", id="link for folder"),
    pytest.param(lambda at: (at / "bin").chmod(0o700), "bin has mode 0700, not 0755",
        id="folder closed"),
    pytest.param(lambda at: at.chmod(0o700), " has mode 0700, not 0755", id="version closed"),
    pytest.param(lambda at: (at / "bin/pyshim-ctl").write_text(""),
        "bin/pyshim-ctl does not belong there", id="file too much"),
    pytest.param(lambda at: (at / "ocishim").mkdir(), "ocishim does not belong there",
        id="folder too much"),
]  # fmt: skip

# What is done beside the versions, and what is said of the path.
BESIDE = [
    pytest.param(lambda root: (root / "bin/pyshim").unlink(),
        "/usr/local/bin/pyshim is no link to /usr/local/lib/pyshim/current/bin", id="link gone"),
    pytest.param(
        lambda root: replaced(root / "bin/pyshim-hook", lambda path: path.symlink_to("/gone")),
        "/usr/local/bin/pyshim-hook is no link to /usr/local/lib/pyshim/current/bin",
        id="link to nowhere"),
    pytest.param(lambda root: replaced(root / "bin/pyshim-hook",
        lambda path: path.symlink_to("../lib/pyshim/current/bin/pyshim")),
        "/usr/local/bin/pyshim-hook is no link to /usr/local/lib/pyshim/current/bin",
        id="link to another"),
    pytest.param(lambda root: replaced(root / "bin/pyshimctl", Path.touch),
        "/usr/local/bin/pyshimctl is no link to /usr/local/lib/pyshim/current/bin",
        id="empty file"),
    pytest.param(lambda root: (root / "lib/pyshim/current").unlink(),
        "/usr/local/lib/pyshim/current leads to no version", id="current gone"),
    pytest.param(lambda root: replaced(root / "lib/pyshim/current", Path.mkdir),
        "/usr/local/lib/pyshim/current leads to no version", id="current a folder"),
    pytest.param(
        lambda root: replaced(root / "lib/pyshim/current", lambda path: path.symlink_to("gone")),
        "/usr/local/lib/pyshim/current leads to no version", id="current to nowhere"),
    pytest.param(lambda root: replaced((root / "lib/pyshim/current").resolve(), lambda _path: None),
        "/usr/local/lib/pyshim/current leads to no version", id="version gone"),
    pytest.param(lambda root: (root / "lib/pyshim").chmod(0o700),
        "/usr/local/lib/pyshim has mode 0700, not 0755", id="home closed"),
    pytest.param(lambda root: (root / "lib/pyshim").chmod(0o777),
        "/usr/local/lib/pyshim has mode 0777, not 0755", id="home open"),
    pytest.param(lambda root: (root / "lib/pyshim").chmod(0o2775),
        "/usr/local/lib/pyshim has mode 2775, not 0755", id="home open to a group"),
    pytest.param(lambda root: (root / "lib/pyshim/installed.json").write_text("{"),
        "/usr/local/lib/pyshim/installed.json cannot be read", id="record damaged"),
    pytest.param(lambda root: (root / "lib/pyshim/installed.json").unlink(),
        "/usr/local/lib/pyshim/installed.json cannot be read", id="record gone"),
    pytest.param(lambda root: replaced(root / "lib/pyshim/installed.json", Path.mkdir),
        "/usr/local/lib/pyshim/installed.json cannot be read", id="record a folder"),
    pytest.param(lambda root: replaced(root / "lib/pyshim/installed.json", to_itself),
        "/usr/local/lib/pyshim/installed.json cannot be read", id="record to itself"),
    pytest.param(
        lambda root: (root / "lib/pyshim/installed.json").write_text('{"folders": 5}'),
        "/usr/local/lib/pyshim/installed.json cannot be read", id="record a number"),
    pytest.param(
        lambda root: (root / "lib/pyshim/installed.json").write_text('{"folders": ["\\u0000"]}'),
        "/usr/local/lib/pyshim/installed.json cannot be read", id="record no path"),
    pytest.param(
        lambda root: (root / "lib/pyshim/installed.json").write_text('{"refresh": ["\\udead"]}'),
        "/usr/local/lib/pyshim/installed.json cannot be read", id="record no text"),
    pytest.param(lambda root: replaced(root / "lib/pyshim/.lock", full_folder),
        "/usr/local/lib/pyshim/.lock is a folder, not a file", id="lock a folder"),
    pytest.param(lambda root: replaced(root / "lib/pyshim/.lock", to_itself),
        "/usr/local/lib/pyshim/.lock is a link to .lock, not a file", id="lock to itself"),
    pytest.param(lambda root: replaced(root / "lib/pyshim/.lock", os.mkfifo),
        "/usr/local/lib/pyshim/.lock is neither file nor folder, not a file", id="lock a FIFO"),
    pytest.param(lambda root: (root / "lib/pyshim/.lock").chmod(0o666),
        "/usr/local/lib/pyshim/.lock has mode 0666, not 0600", id="lock open"),
    pytest.param(lambda root: replaced((root / "lib/pyshim/current").resolve(), Path.touch),
        "/usr/local/lib/pyshim/current leads to no version", id="version a file"),
    pytest.param(lambda root: replaced((root / "lib/pyshim/current").resolve(), to_itself),
        "/usr/local/lib/pyshim/current leads to no version", id="version to itself"),
    pytest.param(lambda root: replaced((root / "lib/pyshim/current").resolve(),
        lambda path: path.symlink_to("/usr")),
        "/usr/local/lib/pyshim/current leads to no version", id="version to a folder"),
    pytest.param(lambda root: replaced(root / "lib/pyshim/current", to_itself),
        "/usr/local/lib/pyshim/current leads to no version", id="current to itself"),
    pytest.param(lambda root: replaced(root / "lib/pyshim/current", full_folder),
        "/usr/local/lib/pyshim/current leads to no version", id="current a full folder"),
    pytest.param(lambda root: replaced(root / "lib/pyshim/current", os.mkfifo),
        "/usr/local/lib/pyshim/current leads to no version", id="current a FIFO"),
    pytest.param(lambda root: replaced(root / "bin/pyshim", to_itself),
        "/usr/local/bin/pyshim is no link to /usr/local/lib/pyshim/current/bin",
        id="link to itself"),
]  # fmt: skip


def is_found_and_mended(node: Node, said: str) -> None:
    broken = snapshot(node)
    checked = node.call("install", "--check")
    assert checked.exit_code == 1, checked.output
    assert said in checked.stdout.splitlines()
    assert checked.stdout.splitlines()[-1] == f"next: pyshimctl install --host-root {node.root}"
    assert snapshot(node) == broken
    told = node.install("--dry-run").splitlines()
    assert sorted(told) == sorted(node.install().splitlines()) != ["nothing to do"]
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


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        *VERSION,
        pytest.param(lambda at: replaced(at, Path.touch), " is no folder", id="a file"),
        pytest.param(lambda at: replaced(at, lambda path: path.symlink_to("/etc")),
            " is no folder", id="a link"),
    ],
)  # fmt: skip
def test_the_version_before(node: Node, static: Path, damage: Damage, said: str) -> None:
    """Nothing is there that it could be mended from, and creates cannot end with it: it goes."""
    node.install()
    version = f"/{HOME}/{node.current}"
    static.write_text("version 2\n")
    node.install()
    place = f"{HOME}/{node.current}"
    whole = {path: what for path, what in snapshot(node).items() if path.startswith(place)}
    damage(node.root / version.lstrip("/"))
    is_found_and_mended(node, f"{version}/{said}" if said[0] != " " else version + said)
    left = snapshot(node).items()
    assert whole == {path: what for path, what in left if path.startswith(f"{HOME}/0")}


@pytest.mark.parametrize(("damage", "said"), BESIDE)
def test_what_lies_beside_the_versions(node: Node, damage: Damage, said: str) -> None:
    node.install()
    whole = snapshot(node)
    damage(node.root / "usr/local")
    is_found_and_mended(node, said)
    differs = [path for path in whole if snapshot(node)[path] != whole[path]]
    assert differs in ([], [f"{HOME}/installed.json"])


@pytest.mark.parametrize("umask", [0o022, 0o077], ids=oct)
def test_folders_that_hand_down_their_setgid_bit(node: Node, umask: int) -> None:
    """Debian's /usr/local was root:staff 2775; folders that are there stay as they are."""
    local = node.root / "usr/local"
    for folder in (local, local / "lib"):
        folder.mkdir(parents=True)
        if os.geteuid() == 0:
            os.chown(folder, 0, 50)
        folder.chmod(0o2775)
    before = os.umask(umask)
    try:
        node.install()
    finally:
        os.umask(before)
    assert node.call("install", "--check").exit_code == 0
    assert node.install() == "nothing to do\n"
    assert [stat.S_IMODE(one.stat().st_mode) for one in (local, local / "lib")] == [0o2775] * 2
    made = [path for path in local.rglob("*") if path.is_dir() and path != local / "lib"]
    assert {(stat.S_IMODE(one.stat().st_mode), one.stat().st_gid) for one in made} == {
        (0o755, os.getegid())
    }


# What another user owns, below usr/local/lib/pyshim; VERSION is the one in use.
OWNED = [
    pytest.param(["VERSION/bin/pyshim"], id="the file"),
    pytest.param(["VERSION/bin/pyshimctl"], id="a link"),
    pytest.param(["VERSION"], id="the version"),
    pytest.param(["."], id="the folder of all"),
    pytest.param(["installed.json"], id="the record"),
    pytest.param([".lock"], id="the lock"),
    pytest.param([".", "installed.json", ".lock", "VERSION", "VERSION/bin", "VERSION/bin/pyshim",
        "VERSION/bin/pyshim-hook", "VERSION/bin/pyshimctl"], id="all"),
]  # fmt: skip


@pytest.mark.root
@pytest.mark.parametrize("owner", [(1000, 1000), (0, 1000), (1000, 0)], ids=str)
@pytest.mark.parametrize("paths", OWNED)
def test_an_owner(node: Node, paths: list[str], owner: tuple[int, int]) -> None:
    """Root executes it, and whoever owns the folder can put another in its place."""
    node.install()
    names = [path.replace("VERSION", node.current) for path in paths]
    for name in names:
        os.chown(node.root / HOME / name, *owner, follow_symlinks=False)
    said = "/{} belongs to {}:{}, not 0:0"
    said = said.format(os.path.normpath(f"{HOME}/{names[0]}"), *owner)
    is_found_and_mended(node, said)
    left = [path for path in (node.root / HOME).rglob("*") if path.lstat().st_uid]
    assert not left


@pytest.mark.parametrize("text", ['{"folders": 5}', '{"refresh": 5}', '{"configuration": {}}'])
def test_uninstall_with_a_damaged_record(node: Node, text: str) -> None:
    node.install()
    (node.root / HOME / "installed.json").write_text(text)
    node.uninstall()
    assert not (node.root / HOME).exists()


def test_what_was_mended_is_told(node: Node) -> None:
    node.install()
    version = f"{HOME}/{node.current}"
    (node.root / version / "bin/pyshim").write_text("")
    (node.root / version / "bin/pyshimctl").unlink()
    assert node.install() == (
        f"mend /{version}/bin/pyshim, which is empty\n"
        f"mend /{version}/bin/pyshimctl, which is missing\n"
    )


def test_a_file_is_mended_by_one_rename(node: Node) -> None:
    """Whoever runs it meanwhile finds the old one or the new one; others stay."""
    node.install()
    version = node.root / HOME / node.current
    before = {path: path.lstat().st_ino for path in version.rglob("*")}
    (version / "bin/pyshim").write_text("")
    node.install()
    changed = [path.name for path, inode in before.items() if path.lstat().st_ino != inode]
    assert changed == ["pyshim"]


def test_nothing_is_installed(node: Node) -> None:
    result = node.call("install", "--check", "--json")
    told = {"path": f"/{HOME}", "what": "is missing: pyshim is not installed there"}
    about = {"schema": "pyshim/install-check", "schema_version": 1}
    assert json.loads(result.stdout) == {**about, "version": "", "wrong": [told]}
    assert result.exit_code == 1


def test_another_version_than_this_is_told(node: Node, static: Path) -> None:
    node.install()
    before = node.current
    static.write_text("version 2\n")
    first = node.call("install", "--check").stdout.splitlines()[0]
    assert first.startswith(f"/{HOME}/current leads to {before}, and this pyshim is ")


def test_a_version_that_goes_meanwhile(
    node: Node, static: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another install removes it between the list and the look."""
    node.install()
    static.write_text("version 2\n")
    node.install()
    gone = "0.2.0-000000000000"
    listed = os.listdir
    monkeypatch.setattr(
        os, "listdir", lambda path: [*listed(path), *([gone] if str(path).endswith(HOME) else [])]
    )
    assert gone not in Installation(Host(str(node.root)), "/usr/local").versions()


def test_an_earlier_pyshims_folder_is_replaced(node: Node) -> None:
    """0.2.0 and before installed packages and an interpreter's scripts."""
    old = node.root / HOME / "0.2.0-0123456789ab"
    (old / "ocishim").mkdir(parents=True)
    (old / "bin").mkdir()
    (node.root / HOME / "current").symlink_to(old.name)
    assert node.call("install", "--check").exit_code == 1
    node.install()
    assert node.current != old.name
    assert node.call("install", "--check").exit_code == 0


def test_a_changed_copy_does_not_install_itself(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.install()
    copy = node.root / HOME / node.current / "bin/pyshim"
    monkeypatch.setattr(ownfiles, "static_file", lambda: str(copy))
    monkeypatch.setattr(ownfiles, "installed", lambda: ("/usr/local", node.current))
    assert selfcheck.whole_file() == str(copy)
    copy.write_text("version 2\n")
    with pytest.raises(ConfigError) as caught:
        selfcheck.whole_file()
    assert caught.value.message == f"{copy} was changed since it was installed"
    assert caught.value.hint == "install pyshim again from where it came"


def test_the_next_step_can_be_pasted(node: Node) -> None:
    node.install("--prefix", "/opt/a b")
    (node.root / "opt/a b/bin/pyshim").unlink()
    result = node.call("install", "--check", "--prefix", "/opt/a b")
    assert result.exit_code == 1
    assert result.output.splitlines()[1] == (
        f"next: pyshimctl install --prefix '/opt/a b' --host-root {node.root}"
    )


@pytest.mark.root
@pytest.mark.parametrize("path", ["usr/local", "usr/local/bin", "usr/local/lib"])
def test_a_folder_in_which_others_may_replace_it(node: Node, path: str) -> None:
    """Not ours to mend; Debian's group staff has been root's own business."""
    node.install()
    folder = node.root / path
    checked = Checked(Host(str(node.root)))
    folder.chmod(0o2775)
    assert [*installation.check(checked)] == []
    folder.chmod(0o777)
    (found,) = installation.check(checked)
    assert (found.what, found.next_step) == (
        f"everybody may write to /{path}",
        f"chmod o-w /{path}",
    )
    folder.chmod(0o755)
    os.chown(folder, 1000, 0)
    (found,) = installation.check(checked)
    assert (found.what, found.next_step) == (
        f"user 1000 may write to /{path}",
        f"chown root /{path}",
    )
