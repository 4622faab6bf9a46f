"""Which directory hooks are planned for, when its path has links."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from ocishim.errors import DocumentError, UnsafePathError
from ocishim.rootfs import readonly
from tests.isolated import run
from tests.swapper import Swapper
from tests.trees import make_tree

pytestmark = pytest.mark.root
USER = 1000
SWAPS = 10_000


def identity(bundle: Path, path: str) -> tuple[int, int]:
    spec: dict[str, Any] = {"root": {"path": path}}
    return readonly.identity(spec, str(bundle))


def of(path: Path) -> tuple[int, int]:
    return path.stat().st_dev, path.stat().st_ino


def give(*paths: Path) -> None:
    for path in paths:
        os.lchown(path, USER, USER)


@pytest.fixture(name="bundle")
def _bundle(tmp_path: Path) -> Path:
    return make_tree(
        tmp_path, "dir rootfs", "dir host", "dir users", "symlink link rootfs",
        "symlink users/link ../rootfs", "symlink users/again ../users/link",
        f"symlink users/absolute {tmp_path}/rootfs", "symlink loop loop",
    )  # fmt: skip


@pytest.mark.parametrize("path", [
    "rootfs", "{bundle}/rootfs", "./rootfs/", "users/../rootfs", "link", "users/link",
    "users/again", "users/absolute", "{bundle}//users/absolute/.",
])  # fmt: skip
def test_roots_own_links(bundle: Path, path: str) -> None:
    assert identity(bundle, path.format(bundle=bundle)) == of(bundle / "rootfs")


@pytest.mark.parametrize(("path", "given", "name"), [
    pytest.param("users/link", ["users"], "link", id="in a user's folder"),
    pytest.param("link", ["link"], "link", id="a user's"),
    pytest.param("users/again", ["users/link"], "link", id="behind another"),
])  # fmt: skip
def test_another_users_link(bundle: Path, path: str, given: list[str], name: str) -> None:
    give(*(bundle / each for each in given))
    message = f"root.path {bundle}/{path}: the link '{name}' is user {USER}'s, who can have it"
    with pytest.raises(UnsafePathError, match=re.escape(message)):
        identity(bundle, path)


def test_ones_own_links_are_ones_own(bundle: Path) -> None:
    give(bundle / "users", bundle / "users/link")
    for folder in (bundle, *bundle.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o111)

    def as_user() -> None:
        os.setresuid(USER, USER, USER)
        assert identity(bundle, "users/link") == of(bundle / "rootfs")

    run(as_user, flags=0)


def test_folders_of_others_without_links(bundle: Path) -> None:
    """As engines' storage for user namespaces."""
    give(bundle, bundle / "rootfs")
    assert identity(bundle, "rootfs") == of(bundle / "rootfs")


@pytest.mark.parametrize(("path", "why"), [
    ("gone", "does not exist"), ("loop", "too many levels of symbolic links"),
])  # fmt: skip
def test_what_is_not_there(bundle: Path, path: str, why: str) -> None:
    with pytest.raises(DocumentError) as caught:
        identity(bundle, path)
    assert caught.value.fault == f"root.path {bundle}/{path}: {why}"


def test_a_link_to_the_host_is_swapped_in(bundle: Path) -> None:
    """While hooks are planned: the runtime then finds the rootfs, and they would write elsewhere."""
    folder = make_tree(bundle / "users", "dir rootfs", "symlink away ../host")
    give(folder, folder / "rootfs", folder / "away")
    expected = of(folder / "rootfs")
    found: set[tuple[int, int]] = set()
    descriptors = os.listdir("/proc/self/fd")
    with Swapper(folder / "rootfs", folder / "away") as swapper:
        while swapper.swaps < SWAPS or len(found) < 2:
            try:
                found.add(identity(bundle, "users/rootfs"))
            except (UnsafePathError, DocumentError):
                found.add((0, 0))
    assert found == {expected, (0, 0)}
    assert os.listdir("/proc/self/fd") == descriptors
