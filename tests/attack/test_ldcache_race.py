"""A second container changes the image while the hooks run: folders and links swapped under them.

Either outcome of a race will do, a refusal or a result inside the image; nothing of the host may
change. CVE-2025-23359 and CVE-2026-24260 were of this kind.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from ocishim.linux import const, syscalls
from tests import libs
from tests.hookcall import PROMPT, call
from tests.swapper import Swapper
from tests.trees import make_tree, snapshot

pytestmark = pytest.mark.root
SWAPS = 10_000


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    root = make_tree(
        tmp_path / "outside",
        "file 00-pyshim.conf of the host",
        "file ld.so.conf /of/the/host",
        "file ld.so.cache of the host",
        "file aux-cache of the host",
        "dir ld.so.conf.d",
        "dir ldconfig",
        "file ldconfig/aux-cache of the host",
    )
    libs.put(libs.library("libvictim.so.1"), root / "libvictim.so.1.2")
    return root


@pytest.mark.parametrize(
    "name",
    ["etc", "etc/ld.so.conf.d", "etc/ld.so.conf", "opt/lib", "opt", "var/cache", "etc/ld.so.cache"],
)
def test_swapped_with_a_link_to_the_host(tmp_path: Path, outside: Path, name: str) -> None:
    root = make_tree(
        tmp_path / "root",
        "file etc/ld.so.conf include /etc/ld.so.conf.d/*.conf\n",
        "file etc/ld.so.conf.d/a.conf /opt/image\n",
        "file etc/ld.so.cache old",
        "dir var/cache/ldconfig",
    )
    libs.put(libs.library("liba.so.1"), root / "opt/lib/liba.so.1.2")
    target = outside / name if (outside / name).exists() else outside
    make_tree(tmp_path / "swap", f"symlink link {target}")
    before = snapshot(outside)
    hooks = (
        ("update-ldcache", "--folder", "/opt/lib"),
        ("create-soname-symlinks", "--folder", "/opt/lib"),
        ("enable-cuda-compat", "--host-driver-version=570.1"),
    )
    end = time.monotonic() + 300
    runs = 0
    with Swapper(root / name, tmp_path / "swap/link") as swapper:
        while swapper.swaps < SWAPS or runs < 12:
            done = call(root, *hooks[runs % len(hooks)])
            assert done.status in (0, 1), done
            assert done.seconds < PROMPT, done
            assert "Traceback" not in done.stderr
            assert time.monotonic() < end
            runs += 1
    assert snapshot(outside) == before


def test_a_fifo_that_comes_and_goes(tmp_path: Path, outside: Path) -> None:
    """Looked at as a file, opened as a fifo: no hook may wait for a writer."""
    root = make_tree(tmp_path / "root", "file etc/ld.so.conf /opt/lib\n")
    make_tree(tmp_path / "swap", "fifo fifo")
    before = snapshot(outside)
    statuses: set[int] = set()
    with Swapper(root / "etc/ld.so.conf", tmp_path / "swap/fifo") as swapper:
        while swapper.swaps < SWAPS or len(statuses) < 2:
            done = call(root, "update-ldcache", "--folder", "/opt/lib")
            statuses.add(done.status)
            assert done.seconds < PROMPT, done
            assert done.status == 0 or "/etc/ld.so.conf" in done.stderr, done
    assert snapshot(outside) == before


def test_a_library_that_shrinks_and_grows(tmp_path: Path) -> None:
    """ldconfig, which reads by mmap(2), is killed by SIGBUS in a tenth of the starts."""
    library = libs.put(libs.library("liba.so.1"), tmp_path / "root/opt/lib/liba.so.1.2")
    data = library.read_bytes()
    pid = os.fork()
    if pid == 0:
        syscalls.prctl(const.PR_SET_PDEATHSIG, signal.SIGKILL)
        fd = os.open(library, os.O_RDWR)
        while True:
            os.ftruncate(fd, 0)
            os.pwrite(fd, data, 0)
    try:
        for _ in range(100):
            done = call(tmp_path / "root", "update-ldcache", "--folder", "/opt/lib")
            assert done.status == 0, done
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
