"""ocishim.hooks.ldconf: the image's ld.so.conf, ordinary and hostile."""

from __future__ import annotations

import fnmatch
import glob
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocishim.errors import UnsafePathError
from ocishim.hooks import ldconf, wildcard
from ocishim.rootfs.rootfs import Rootfs
from tests.trees import make_tree


def read(root: Path, **options: tuple[str, ...]) -> ldconf.Conf:
    with Rootfs.open_dir(str(root)) as rootfs:
        return ldconf.load(rootfs, **options)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(b"/opt/lib\n", [("folder", "/opt/lib")], id="folder"),
        pytest.param(b"/opt/lib", [("folder", "/opt/lib")], id="no newline at the end"),
        pytest.param(b"  /opt/lib/ \t\r\n", [("folder", "/opt/lib")], id="blanks and slash"),
        pytest.param(b"/opt/a b\n", [("folder", "/opt/a b")], id="blank inside"),
        pytest.param(b"# no\n\n/a # yes\n", [("folder", "/a")], id="comments"),
        pytest.param(b"/a=libc6\n", [("folder", "/a")], id="library type of old"),
        pytest.param(b"hwcap 1 x\nlib\n../lib\n", [], id="no absolute path"),
        pytest.param(b"/" + b"a" * 5000 + b"\n", [], id="longer than PATH_MAX"),
        pytest.param(b"/a\0/b\n", [("folder", "/a")], id="NUL"),
        pytest.param(b"/\xff\n", [("folder", "/\udcff")], id="not UTF-8"),
        pytest.param(
            b"include a/*.conf\t/b\n",
            [("include", "a/*.conf"), ("include", "/b")],
            id="include of two patterns",
        ),
        pytest.param(b"includes /a\n", [], id="not quite include"),
    ],
)
def test_entries(text: bytes, found: list[tuple[str, str]]) -> None:
    assert list(ldconf.entries(text)) == found


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("a.conf", "*.conf", True),
        ("a.conf.bak", "*.conf", False),
        ("", "*", True),
        ("ab", "a", False),
        ("a", "ab", False),
        ("ab", "a?", True),
        ("a", "a?", False),
        ("x86", "x[0-9]6", True),
        ("xa6", "x[!0-9]6", True),
        ("x86", "x[!0-9]6", False),
        ("x]6", "x[]a]6", True),
        ("x[6", "x[6", True),
        ("a*b", "a\\*b", True),
        ("axb", "a\\*b", False),
        ("abcabc", "*abc", True),
        ("aXbXc", "a*b*c", True),
        ("aXbX", "a*b*c", False),
        # Found by tests/fuzz, with glibc's fnmatch as the reference.
        ("*", r"[\-*a7c]", True),
        ("]", r"[\]]", True),
        ("b", r"[a-\c]", True),
        ("a\\", "a\\", False),
        ("*[--", "*[--", False),
        ("[a-", "[a-", False),
        ("[[-", "[[-", True),
        ("[-", "[-", True),
        ("[a-b-", "[a-b-", True),
        ("a", "[!--", False),
    ],
)
def test_matches(name: str, pattern: str, *, fits: bool) -> None:
    assert wildcard.matches(name, pattern) is fits


@given(st.text("ab.", max_size=8), st.text("ab.*?", max_size=8))
def test_matches_as_the_standard_library_does(name: str, pattern: str) -> None:
    assert wildcard.matches(name, pattern) == fnmatch.fnmatchcase(name, pattern)


def test_a_pattern_of_stars_is_quick() -> None:
    assert not wildcard.matches("a" * 255, "*a" * 120 + "b")


def test_includes_in_order(tmp_path: Path) -> None:
    make_tree(
        tmp_path,
        "file etc/ld.so.conf /first\ninclude ld.so.conf.d/*.conf\n/last\n",
        "file etc/ld.so.conf.d/b.conf /b\n/first\n",
        "file etc/ld.so.conf.d/a.conf /a\n",
        "file etc/ld.so.conf.d/.hidden.conf /hidden\n",
        "file etc/ld.so.conf.d/readme /readme\n",
    )
    conf = read(tmp_path)
    assert list(conf.folders) == ["/first", "/a", "/b", "/last"]
    assert conf.files == ["/etc/ld.so.conf", "/etc/ld.so.conf.d/a.conf", "/etc/ld.so.conf.d/b.conf"]


def test_patterns_in_folders(tmp_path: Path) -> None:
    make_tree(
        tmp_path,
        "file etc/ld.so.conf include /opt/*/ld/*.conf\n",
        "file opt/a/ld/1.conf /a\n",
        "file opt/b/ld/2.conf /b\n",
        "file opt/c no folder",
    )
    assert list(read(tmp_path).folders) == ["/a", "/b"]
    with Rootfs.open_dir(str(tmp_path)) as rootfs:
        conf = ldconf.Conf()
        found = ldconf.expand(rootfs, "/opt/*/ld/*.conf", "/", conf, conf.own)
    there = glob.glob("opt/*/ld/*.conf", root_dir=tmp_path)
    assert found == sorted(f"/{path}" for path in there)


@pytest.mark.parametrize(
    ("lines", "folders"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(["dir etc/ld.so.conf"], [], id="a folder"),
        pytest.param(["symlink etc/ld.so.conf nowhere"], [], id="dangling"),
        pytest.param(
            ["symlink etc/ld.so.conf /usr/x", "file usr/x /inside\n"], ["/inside"], id="link inside"
        ),
        pytest.param(
            ["file etc/ld.so.conf include /etc/ld.so.conf\n/a\n"], ["/a"], id="includes itself"
        ),
        pytest.param(
            ["file etc/ld.so.conf include b\n/a\n", "file etc/b include ld.so.conf\n/b\n"],
            ["/b", "/a"],
            id="cycle of two",
        ),
        pytest.param(["file etc/ld.so.conf include /none/*.conf /no\n"], [], id="no match"),
        pytest.param(
            ["file etc/ld.so.conf include *.conf\n", "dir etc/x.conf"], [], id="includes a folder"
        ),
    ],
)
def test_what_is_read(tmp_path: Path, lines: list[str], folders: list[str]) -> None:
    assert list(read(make_tree(tmp_path / "root", *lines)).folders) == folders


def _chain(length: int) -> list[str]:
    return [f"file etc/c{i} include c{i + 1}\n" for i in range(length)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param(
            ["fifo etc/ld.so.conf"], "'/etc/ld.so.conf' is a fifo, not a regular file", id="fifo"
        ),
        pytest.param(
            ["socket etc/ld.so.conf"],
            "'/etc/ld.so.conf' is a socket, not a regular file",
            id="socket",
        ),
        pytest.param(
            ["file etc/ld.so.conf include /f\n", "fifo f"],
            "'/f' is a fifo, not a regular file",
            id="included fifo",
        ),
        pytest.param(
            ["file etc/ld.so.conf " + "#" * 65537],
            "'/etc/ld.so.conf' is larger than 65536 bytes",
            id="large",
        ),
        pytest.param(
            ["symlink etc/ld.so.conf ld.so.conf"],
            "path '/etc/ld.so.conf' is refused: a magic link, or too many links",
            id="link to itself",
        ),
        pytest.param(
            ["file etc/ld.so.conf include c0\n", *_chain(10)],
            "'/etc/ld.so.conf' includes more than 256 files, or deeper than 8 levels",
            id="deep",
        ),
        pytest.param(
            [
                "file etc/ld.so.conf include d/*\n",
                *(f"file etc/d/{i} include /etc/d/*\n" for i in range(300)),
            ],
            "'/etc/ld.so.conf' includes more than 256 files, or deeper than 8 levels",
            id="bomb",
        ),
        pytest.param(
            ["file etc/ld.so.conf include bombs/*\n"]
            + [
                f"file etc/bombs/{i} " + "".join(f"/{i}-{j:04}{'x' * 90}\n" for j in range(600))
                for i in range(6)
            ],
            "'/etc/ld.so.conf' names folders of more than 262144 bytes",
            id="too many folders",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    root = make_tree(tmp_path / "root", *lines)
    with pytest.raises(UnsafePathError) as caught:
        read(root)
    assert caught.value.message == message
    assert caught.value.hint == "the image or a volume brings that file: mend it there"


def test_a_device_is_refused(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("mknod needs root")
    root = make_tree(tmp_path / "root", "dir etc", "char etc/ld.so.conf 1 5")
    with pytest.raises(UnsafePathError, match="is a character device, not a regular file"):
        read(root)


def test_files_left_out_count_as_empty(tmp_path: Path) -> None:
    make_tree(tmp_path, "file etc/ld.so.conf include mine other\n", "file etc/mine /mine\n")
    make_tree(tmp_path, "file etc/other /other\n")
    conf = read(tmp_path, without=("/etc/mine",))
    assert (list(conf.folders), conf.files[1]) == (["/other"], "/etc/mine")
