"""mountinfo: one line of /proc/self/mountinfo, and the line of an open file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocishim.linux import mountinfo


@pytest.mark.parametrize(("line", "expected"), [
    pytest.param(b"36 35 98:0 / /mnt rw - ext3 /dev/root rw", (36, "/mnt", "/dev/root", False),
        id="private"),
    pytest.param(b"36 35 98:0 / /mnt rw shared:1 - ext3 /dev/root rw",
        (36, "/mnt", "/dev/root", True), id="shared"),
    pytest.param(b"36 35 98:0 / /mnt rw master:1 - ext3 x rw", (36, "/mnt", "x", False),
        id="slave"),
    pytest.param(b"36 35 98:0 / /mnt rw shared:1 master:2 - ext3 x rw", (36, "/mnt", "x", True),
        id="both"),
    pytest.param(rb"7 1 0:5 / /a\040b\134c\012 rw - tmpfs a\011b rw",
        (7, "/a b\\c\n", "a\tb", False), id="escapes"),
    pytest.param(b"7 1 0:5 / /\xff rw - tmpfs x rw", (7, "/\udcff", "x", False), id="bytes"),
])  # fmt: skip
def test_line(line: bytes, expected: tuple[int, str, str, bool]) -> None:
    mount = mountinfo.parse(line)
    assert (mount.id, mount.point, mount.source, mount.shared) == expected


def test_the_mount_of_a_file(tmp_path: Path) -> None:
    fd = os.open("/proc/self/status", os.O_PATH)
    try:
        assert mountinfo.mount_of(fd).point == "/proc"
    finally:
        os.close(fd)


def test_a_file_that_is_on_no_mount() -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(LookupError):
            mountinfo.mount_of(reader)
    finally:
        os.close(reader)
        os.close(writer)


TABLE = b"""\
30 1 8:1 / / rw - ext4 a rw
31 30 8:2 / /mnt rw - ext4 b rw
32 30 8:1 /home /home rw - ext4 a rw
33 30 8:3 /x /y rw - ext4 c rw
"""


@pytest.mark.parametrize(("number", "sole"), [
    pytest.param(31, True, id="the only one"), pytest.param(30, False, id="another has a part of it"),
    pytest.param(32, False, id="a part, and another"), pytest.param(33, False, id="a part"),
    pytest.param(99, False, id="no such mount"),
])  # fmt: skip
def test_the_sole_mount_of_a_file_system(
    monkeypatch: pytest.MonkeyPatch, number: int, *, sole: bool
) -> None:
    monkeypatch.setattr(mountinfo, "read", lambda: TABLE)
    assert mountinfo.is_sole_mount(number) is sole
