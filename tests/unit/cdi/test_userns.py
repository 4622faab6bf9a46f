"""What the kernel is asked about user namespaces, and what of its answers is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ocishim.cache import Cache
from ocishim.cdi import userns
from ocishim.linux import idmap
from tests.isolated import isolated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The questions that reach the kernel, by whether they are recursive."""
    asked = []
    ask = idmap.maps_owners

    def noting(fd: int, *, recursive: bool) -> bool:
        asked.append(recursive)
        return ask(fd, recursive=recursive)

    monkeypatch.setattr(idmap, "maps_owners", noting)
    return asked


@pytest.fixture(name="overlay")
def _overlay(tmp_path: Path) -> Iterator[Path]:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    places = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    merged = tmp_path / "merged"
    subprocess.run(["mount", "-t", "overlay", "none", "-o", places, str(merged)], check=True)
    yield merged
    subprocess.run(["umount", str(merged)], check=True)


@pytest.mark.root
def test_a_file_system_is_asked_once(tmp_path: Path, overlay: Path, asked: list[bool]) -> None:
    (tmp_path / "cache").mkdir(mode=0o700)
    for path in (tmp_path / "one", tmp_path / "two", overlay / "three"):
        path.touch()
    for _ in range(2):  # another process's Kernel, the same cache
        kernel = userns.Kernel(Cache(str(tmp_path / "cache")))
        assert not kernel.maps_owners(str(overlay / "three"), recursive=False)
        assert kernel.maps_owners(str(tmp_path / "one"), recursive=False)
        assert kernel.maps_owners(str(tmp_path / "two"), recursive=True)  # a file: nothing below
    assert asked == [False, False]


@pytest.mark.root
def test_a_folder_with_its_mounts_is_always_asked_about(
    tmp_path: Path, overlay: Path, asked: list[bool]
) -> None:
    kernel = userns.Kernel(Cache(str(tmp_path / "cache")))
    assert kernel.maps_owners(str(tmp_path), recursive=False)
    assert not kernel.maps_owners(str(overlay.parent), recursive=True)
    assert kernel.maps_owners(str(tmp_path / "lower"), recursive=True)
    assert asked == [False, True, True]


@pytest.mark.parametrize("path", ["/no/such/file", "/proc/version", "a\0b"])
def test_where_there_is_no_answer_nothing_is_mapped(tmp_path: Path, path: str) -> None:
    kernel = userns.Kernel(Cache(str(tmp_path / "cache")))
    assert not kernel.maps_owners(path, recursive=False)


def test_a_runtime_without_mapped_mounts_makes_no_question(
    tmp_path: Path, asked: list[bool]
) -> None:
    kernel = userns.Kernel(Cache(str(tmp_path / "cache")), can_map=False)
    assert not kernel.maps_owners(str(tmp_path), recursive=True)
    assert asked == []


@pytest.mark.root
def test_who_has_no_right_over_the_file_system_cannot(tmp_path: Path) -> None:
    """Root of a user namespace, as rootless Podman is; and it is known to make no nodes."""
    code = (
        "import sys; from ocishim.cdi import userns; from ocishim.cache import Cache;"
        "kernel = userns.Kernel(Cache(sys.argv[1] + '/cache'));"
        "print(kernel.maps_owners(sys.argv[1], recursive=False), kernel.makes_no_nodes())"
    )
    said = []
    for before in ([], ["unshare", "-Urm"]):
        done = subprocess.run(
            [*before, sys.executable, "-c", code, str(tmp_path)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        said.append(done.stdout)
    assert said == ["True False\n", "False True\n"]


@pytest.mark.root
@isolated
def test_nothing_stays_of_a_question(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    fd = os.open(tmp_path, os.O_PATH)
    assert idmap.maps_owners(fd, recursive=False)
    os.close(fd)
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
