"""S9: a volume whose file system is a program's, which lies, or stops to answer.

A real one, over /dev/fuse (fuse_server.c), without nodev: what it calls a device is one.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import libs
from tests.attack.fuse import served
from tests.hookcall import PROMPT, Done, call
from tests.isolated import isolated
from tests.trees import make_tree

DEADLINE = 2  # seconds
LDCACHE = ("update-ldcache", "--folder", "/opt/lib")
OPEN = "14"  # FUSE_OPEN


def _hook(root: Path, *args: str) -> Done:
    return call(root, "chain", "--timeout", str(DEADLINE), *args, limit=DEADLINE + 3)


def _root(folder: Path) -> Path:
    root = make_tree(
        folder / "root", "dir etc", "dir volume", "symlink etc/ld.so.conf /volume/conf"
    )
    libs.put(libs.library("liba.so.1"), root / "opt/lib/liba.so.1")
    return root


FAILED = "pyshim-hook: createContainer hook update-ldcache failed: '/etc/ld.so.conf' "
MEND = " (the image or a volume brings that file: mend it there)\n"
UNOPENED = FAILED + "cannot be opened by its descriptor: it is gone, or there is no /proc" + MEND


@pytest.mark.parametrize(
    ("lie", "status", "said", "opens"),
    [
        pytest.param("none", 0, "", 1, id="it says the truth"),
        pytest.param("missing", 1, UNOPENED, 1, id="ENOENT at open"),
        pytest.param("turns", 1, UNOPENED, 1, id="ENOENT at open, then a device"),
        pytest.param("inode", 1, FAILED + "changed while it was opened" + MEND, 1,
            id="another inode"),
        pytest.param("device", 1, FAILED + "is a character device, not a regular file" + MEND, 0,
            id="device"),
    ],
)  # fmt: skip
@isolated
def test_a_server_that_lies(tmp_path: Path, lie: str, status: int, said: str, opens: int) -> None:
    root = _root(tmp_path)
    with served(root / "volume", lie) as server:
        done = _hook(root, *LDCACHE)
    assert (done.status, done.stderr) == (status, said)
    assert server.stdout
    assert server.stdout.read().split().count(OPEN) == opens


@pytest.mark.parametrize(
    "hook",
    [
        pytest.param(LDCACHE, id="file that is read"),
        pytest.param(("update-ldcache", "--folder", "/volume/lib"), id="folder"),
        pytest.param(("create-symlinks", "--link", "x::/volume/a/link"), id="link"),
        pytest.param(("chmod", "--mode", "700", "--path", "/volume/a"), id="chmod"),
    ],
)
@isolated
def test_a_server_that_never_answers(tmp_path: Path, hook: tuple[str, ...]) -> None:
    """The alarm does not end such a wait, the kernel's timer does: at the timeout, by SIGKILL."""
    root = _root(tmp_path)
    with served(root / "volume", "silent"):
        done = _hook(root, *hook)
    assert done.status != 0
    assert DEADLINE * 0.85 < done.seconds < PROMPT, done
    assert os.listdir(root / "opt/lib") == ["liba.so.1"]
