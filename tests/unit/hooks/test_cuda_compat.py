"""enable-cuda-compat: when the image's libraries are used, and what is written then."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocishim.errors import UnsafePathError, UsageError
from ocishim.hooks import enable_cuda_compat
from ocishim.hooks.enable_cuda_compat import NAME, Note, fits, parse, version
from ocishim.hooks.outcome import Outcome
from ocishim.hooks.update_ldcache import CUDA_COMPAT_FILE
from ocishim.rootfs.rootfs import Rootfs
from tests import libs
from tests.trees import make_tree, names

NOTE = b'{"format": 1, "CUDA version": "12.9", "driver": [535, 550, 570, 575], "device": [1]}'
COMPAT = "usr/local/cuda/compat"


def apply(root: Path, *args: str) -> list[Outcome]:
    with Rootfs.open_dir(str(root)) as rootfs:
        return enable_cuda_compat.apply(rootfs, parse(list(args)))


def written(root: Path) -> str | None:
    path = root / CUDA_COMPAT_FILE[1:]
    return path.read_text() if path.exists() else None


def image(
    root: Path,
    library: str = "libcuda.so.575.57.08",
    note: bytes | None = NOTE,
    where: str = COMPAT,
) -> Path:
    libs.put(libs.compat_library(note), root / where / library)
    return root


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("575.57.08", (575, 57, 8)),
        ("570.10", (570, 10, 0)),
        ("12", (12, 0, 0)),
        ("v12.9", (12, 9, 0)),
        ("1.2.3.4", (1, 2, 3, 4)),
        ("", None),
        ("575.x", None),
        ("575..1", None),
        ("-1", None),
        ("१२", None),
    ],
)
def test_version(text: str, number: tuple[int, ...] | None) -> None:
    assert version(text) == number


@pytest.mark.parametrize(
    ("library", "note", "driver", "cuda", "used"),
    [
        pytest.param("575.57.08", NOTE, "570.10", "", True, id="older driver in the list"),
        pytest.param("575.57.08", NOTE, "575.57.08", "", False, id="same driver"),
        pytest.param("575.57.08", NOTE, "575.57.07", "", True, id="a little older"),
        pytest.param("575.57.08", NOTE, "575.60", "", False, id="a little newer"),
        pytest.param("575.57.08", NOTE, "580.1", "", False, id="newer driver"),
        pytest.param("575.57.08", NOTE, "560.1", "", False, id="driver not in the list"),
        pytest.param("575.57.08", NOTE, "", "12.8", True, id="older CUDA"),
        pytest.param("575.57.08", NOTE, "", "12.9", False, id="same CUDA"),
        pytest.param("575.57.08", NOTE, "", "13.0", False, id="newer CUDA"),
        pytest.param("575.57.08", NOTE, "560.1", "12.8", False, id="driver decides"),
        pytest.param("575.57.08", NOTE, "bad", "12.8", True, id="bad driver version: CUDA decides"),
        pytest.param("575.57.08", NOTE, "bad", "", False, id="bad driver version alone"),
        pytest.param("575.57.08", None, "570.1", "", True, id="no note, major is higher"),
        pytest.param("575.57.08", None, "575.1", "", False, id="no note, major is the same"),
        pytest.param("575.57.08", None, "570.1", "12.8", False, id="no note, CUDA asked for"),
        pytest.param("575.x", None, "570.1", "", False, id="no note, library without version"),
        pytest.param("575.57.08", b"{}", "570.1", "", False, id="note without drivers"),
        pytest.param("575.57.08", b"{}", "", "12.8", False, id="note without CUDA version"),
        pytest.param(
            "575.57.08", NOTE.replace(b"driver", b"Driver"), "570.10", "", True, id="other case"
        ),
    ],
)
def test_when_it_is_used(
    tmp_path: Path, *, library: str, note: bytes | None, driver: str, cuda: str, used: bool
) -> None:
    root = image(tmp_path, f"libcuda.so.{library}", note)
    apply(root, f"--host-driver-version={driver}", f"--host-cuda-version={cuda}")
    assert written(root) == ("/usr/local/cuda/compat\n" if used else None)


def test_without_versions_nothing_is_done(tmp_path: Path) -> None:
    assert apply(image(tmp_path)) == []
    assert written(tmp_path) is None


def test_the_folder_is_written_as_it_resolves(tmp_path: Path) -> None:
    root = image(tmp_path, where="opt/cuda-12.9/compat")
    make_tree(
        root, "dir usr/local", "symlink usr/local/cuda /opt/cuda", "symlink opt/cuda cuda-12.9"
    )
    assert [change.describe() for change in apply(root, "--host-driver-version=570.1")] == [
        f"{CUDA_COMPAT_FILE}: /opt/cuda-12.9/compat"
    ]
    assert written(root) == "/opt/cuda-12.9/compat\n"
    assert oct((root / CUDA_COMPAT_FILE[1:]).stat().st_mode) == "0o100644"


def test_another_folder(tmp_path: Path) -> None:
    root = image(tmp_path, where="opt/compat")
    apply(root, "--host-driver-version=570.1", "--cuda-compat-container-root", "/opt/compat")
    assert written(root) == "/opt/compat\n"


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    root = image(tmp_path)
    assert len(apply(root, "--host-driver-version=570.1")) == 1
    assert apply(root, "--host-driver-version=570.1") == []


def test_a_newer_driver_takes_it_back(tmp_path: Path) -> None:
    root = image(tmp_path)
    apply(root, "--host-driver-version=570.1")
    apply(root, "--host-driver-version=580.1")
    assert written(root) == ""


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([], id="no folder"),
        pytest.param([f"dir {COMPAT}"], id="empty"),
        pytest.param([f"file {COMPAT}/libcuda.so.575 elf"], id="another name"),
        pytest.param([f"symlink {COMPAT}/libcuda.so.575.1 /etc/passwd"], id="a link"),
        pytest.param([f"fifo {COMPAT}/libcuda.so.575.1"], id="a fifo"),
        pytest.param([f"dir {COMPAT}/libcuda.so.575.1"], id="a directory"),
    ],
)
def test_no_library(tmp_path: Path, lines: list[str]) -> None:
    make_tree(tmp_path, *lines)
    before = names(tmp_path)
    assert apply(tmp_path, "--host-driver-version=570.1") == []
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        pytest.param([f"file {COMPAT} text"], "is a regular file, not a directory", id="a file"),
        pytest.param([f"fifo {COMPAT}"], "is a fifo, not a directory", id="a fifo"),
        pytest.param(
            ["dir usr/local/cuda", f"symlink {COMPAT} compat"],
            "is refused: a magic link, or too many links",
            id="a loop",
        ),
    ],
)
def test_what_is_no_folder_is_a_warning(tmp_path: Path, lines: list[str], what: str) -> None:
    (change,) = apply(make_tree(tmp_path, *lines), "--host-driver-version=570.1")
    assert change.warning
    assert change.describe().endswith(f"{what}: no compatibility library used")
    assert written(tmp_path) is None


def test_two_libraries_are_a_warning(tmp_path: Path) -> None:
    image(image(tmp_path), "libcuda.so.580.1")
    (change,) = apply(tmp_path, "--host-driver-version=570.1")
    assert change.warning
    assert change.describe() == (
        "/usr/local/cuda/compat: more than one library: libcuda.so.575.57.08, libcuda.so.580.1: "
        "none used"
    )


@pytest.mark.parametrize("note", [b"[1]", b"{"], ids=["an array", "cut off"])
def test_a_note_that_is_none_is_told_and_left_alone(tmp_path: Path, note: bytes) -> None:
    warning, _ = apply(image(tmp_path, note=note), "--host-driver-version=570.1")
    assert warning.warning
    assert warning.describe().startswith(
        "/usr/local/cuda/compat/libcuda.so.575.57.08: .note.cuda.fwd_compatibility: "
    )
    assert written(tmp_path) == "/usr/local/cuda/compat\n"


@pytest.mark.parametrize(
    ("note", "used"),
    [
        pytest.param(b'{"driver": [570]}', True, id="a list of numbers"),
        pytest.param(b'{"driver": ["570", null, {}]}', False, id="of other things"),
        pytest.param(b'{"driver": 570, "cuda version": 12}', False, id="no list"),
    ],
)
def test_drivers_of_a_note(tmp_path: Path, note: bytes, *, used: bool) -> None:
    """Of a driver that is older, so that the list alone decides."""
    outcomes = apply(image(tmp_path, note=note), "--host-driver-version=570.1")
    assert [change.warning for change in outcomes] == [False] * used
    assert written(tmp_path) == ("/usr/local/cuda/compat\n" if used else None)


def test_a_library_that_is_no_elf_file(tmp_path: Path) -> None:
    make_tree(tmp_path, f"file {COMPAT}/libcuda.so.575.1 text")
    first, second = apply(tmp_path, "--host-driver-version=570.1")
    assert (first.warning, second.warning) == (True, False)
    assert written(tmp_path) == "/usr/local/cuda/compat\n"


def test_a_folder_that_would_be_two_lines(tmp_path: Path) -> None:
    root = image(tmp_path, where="opt/a\n/etc")
    make_tree(root, "dir usr/local/cuda", "symlink usr/local/cuda/compat /opt/a\n/etc")
    with pytest.raises(UnsafePathError, match=r"cannot stand in ld\.so\.conf"):
        apply(root, "--host-driver-version=570.1")


def test_a_folder_outside_is_not_looked_at(tmp_path: Path) -> None:
    outside = image(tmp_path / "outside", where="compat")
    root = make_tree(
        tmp_path / "root", "dir usr/local/cuda", f"symlink usr/local/cuda/compat {outside}/compat"
    )
    assert apply(root, "--host-driver-version=570.1") == []


def test_fits_needs_something_to_compare() -> None:
    assert not fits((575, 1, 0), Note(None, [570]), parse(["--host-cuda-version=12.8"]))


def test_bad_arguments() -> None:
    for args in (["--host-driver"], ["--cuda-compat-container-root="], ["570"]):
        with pytest.raises(UsageError):
            parse(args)
    assert NAME == "enable-cuda-compat"
