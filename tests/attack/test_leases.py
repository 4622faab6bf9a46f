"""A second container holds leases on files of a shared rootfs or volume: opens wait for it.

fcntl(2), F_SETLEASE: an open of the file blocks until the holder gives the lease up, or
/proc/sys/fs/lease-break-time (45 s) is over. Anybody may take a lease on a file of its own.
"""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import pytest

from tests import libs
from tests.hookcall import PROMPT, measured
from tests.trees import make_tree

pytestmark = pytest.mark.root

DEADLINE = "3"


@pytest.mark.parametrize(
    ("name", "hook"),
    [
        pytest.param("etc/ld.so.conf", ("update-ldcache", "--folder", "/opt/lib"), id="conf"),
        pytest.param("etc/ld.so.conf.d/a.conf", ("update-ldcache",), id="included conf"),
        pytest.param("etc/ld.so.conf.d/00-pyshim.conf", ("update-ldcache", "--folder", "/a"),
            id="ours"),
        pytest.param("etc/ld.so.cache", ("update-ldcache",), id="cache"),
        pytest.param("etc/ld.so.cache~", ("update-ldcache",), id="unfinished cache"),
        pytest.param("opt/lib/liba.so.1", ("update-ldcache", "--folder", "/opt/lib"), id="library"),
        pytest.param("opt/lib/liba.so.1", ("create-soname-symlinks", "--folder", "/opt/lib"),
            id="soname"),
        pytest.param("usr/local/cuda/compat/libcuda.so.999.1",
                     ("enable-cuda-compat", "--host-driver-version=570.1"), id="compat library"),
        pytest.param("opt/lib/liba.so.1",
            ("chmod", "--mode", "755", "--path", "/opt/lib/liba.so.1"), id="chmod"),
        pytest.param("opt/lib/liba.so.1", ("create-symlinks", "--link", "x::/opt/lib/liba.so.1"),
            id="link in place"),
        pytest.param("etc/alpine-release", ("update-ldcache",), id="release file"),
    ],
)  # fmt: skip
def test_no_hook_waits_for_a_lease(tmp_path: Path, name: str, hook: tuple[str, ...]) -> None:
    """Done, or refused by the hook's own deadline at the latest; no wait of 45 s."""
    root = make_tree(
        tmp_path / "root", "file etc/ld.so.conf include /etc/ld.so.conf.d/*.conf\n",
        "file etc/ld.so.conf.d/a.conf /opt/lib\n",
    )  # fmt: skip
    libs.put(libs.library("liba.so.1"), root / "opt/lib/liba.so.1")
    libs.put(libs.compat_library(None), root / "usr/local/cuda/compat/libcuda.so.999.1")
    if not (root / name).exists():
        (root / name).write_text("old")
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # the kernel asks the holder to give it up
    fd = os.open(root / name, os.O_RDWR)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        done = measured(root, "chain", "--timeout", DEADLINE, *hook)
    finally:
        os.close(fd)
        signal.signal(signal.SIGIO, signal.SIG_DFL)
    assert done.seconds < PROMPT, done
    assert done.status in (0, 1)
    assert "Traceback" not in done.stderr
    assert (done.status == 1) is (" failed: " in done.stderr), done
    if name.endswith("liba.so.1"):
        assert done.status == 0, done  # ldconfig waits, and pyshim looks through the folder itself
