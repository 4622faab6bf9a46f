"""What the host has under a path."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ocishim.cdi import hostdev


def test_a_device_node() -> None:
    node, info = hostdev.stat("/dev/null"), os.lstat("/dev/null")
    assert (node.type, node.major, node.minor) == ("c", 1, 3)
    assert node.mode == info.st_mode & 0o7777


def test_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p", 0o600)
    os.chmod(tmp_path / "p", 0o4620)
    node = hostdev.stat(str(tmp_path / "p"))
    assert (node.type, node.mode) == ("p", 0o4620)


def test_a_link_to_a_device_is_none(tmp_path: Path) -> None:
    os.symlink("/dev/null", tmp_path / "l")
    for path in (tmp_path / "l", tmp_path):
        with pytest.raises(OSError, match=r"^not a device node$"):
            hostdev.stat(str(path))


@pytest.mark.parametrize("path", ["dev/null", "null", "./dev/null", ""])
def test_a_relative_path_leads_nowhere_for_sure(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the engine is: containerd in /, its shim in the bundle, a person anywhere."""
    for folder in ("/", "/dev"):
        monkeypatch.chdir(folder)
        with pytest.raises(OSError, match=r"^the path is not absolute$") as e:
            hostdev.stat(path)
        assert e.value.errno is None


@pytest.mark.parametrize(
    ("path", "code"),
    [("/nonexistent", errno.ENOENT), ("/dev/null/x", errno.ENOTDIR), ("/dev/\0", errno.EINVAL)],
)
def test_what_cannot_be_looked_at(path: str, code: int) -> None:
    with pytest.raises(OSError) as e:
        hostdev.stat(path)
    assert e.value.errno == code
