"""ocishim.hooks.musl: the path file of images with musl."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocishim.hooks import arch, musl
from ocishim.rootfs.rootfs import Rootfs
from tests.trees import make_tree

MACHINE = arch.host()


@pytest.mark.parametrize(
    ("present", "folders", "text"),
    [
        pytest.param(
            "", ["/opt/lib"], "/lib\n/usr/local/lib\n/usr/lib\n/opt/lib\n", id="none: defaults stay"
        ),
        pytest.param("", ["/usr/lib"], "", id="none, and a default is asked for"),
        pytest.param(
            "\n:\n", ["/a"], "/lib\n/usr/local/lib\n/usr/lib\n/a\n", id="as good as empty"
        ),
        pytest.param("/lib\n", ["/a"], "/lib\n/a\n", id="appended"),
        pytest.param("/lib", ["/a"], "/lib\n/a\n", id="no newline at the end"),
        pytest.param("/lib:/usr/lib", ["/a"], "/lib:/usr/lib\n/a\n", id="colons"),
        pytest.param("/lib:/a", ["/a"], "", id="known, after a colon"),
        pytest.param("/lib\n/a\n", ["/a", "/b", "/b"], "/lib\n/a\n/b\n", id="each once"),
    ],
)
def test_updated(present: str, folders: list[str], text: str) -> None:
    assert musl.updated(present, folders) == text
    assert not text or musl.updated(text, folders) == ""


@pytest.mark.parametrize(
    ("lines", "is_musl"),
    [
        pytest.param(["file etc/alpine-release 3.20.0"], True, id="Alpine"),
        pytest.param([f"file {MACHINE.musl_loader[1:]} elf"], True, id="loader"),
        pytest.param(["dir lib"], False, id="neither"),
        pytest.param(["file lib/ld-musl-riscv64.so.1 elf"], False, id="of another machine"),
        pytest.param(["symlink etc/alpine-release /nowhere"], False, id="dangling"),
    ],
)
def test_is_musl(tmp_path: Path, lines: list[str], *, is_musl: bool) -> None:
    with Rootfs.open_dir(str(make_tree(tmp_path, *lines))) as rootfs:
        assert musl.is_musl(rootfs, MACHINE) is is_musl


def test_the_file_is_replaced_not_written_through(tmp_path: Path) -> None:
    outside = make_tree(tmp_path / "outside", "file path /host\n")
    root = make_tree(
        tmp_path / "root", "file real /lib\n", f"symlink etc{MACHINE.musl_path_file[4:]} /real"
    )
    with Rootfs.open_dir(str(root)) as rootfs:
        text = musl.missing(rootfs, MACHINE, ["/a"])
        assert text == b"/lib\n/a\n"
        assert rootfs.put_file(MACHINE.musl_path_file, text)
        assert musl.missing(rootfs, MACHINE, ["/a"]) == b""
    assert (root / MACHINE.musl_path_file[1:]).read_text() == "/lib\n/a\n"
    assert (root / "real").read_text() == "/lib\n"
    assert (outside / "path").read_text() == "/host\n"
