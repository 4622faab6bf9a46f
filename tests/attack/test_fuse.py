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


TOLD = "pyshim-hook: warning: update-ldcache: "
FAILED = f"{TOLD}'/etc/ld.so.conf' "
LEFT = ", on the mount /volume: what it names is left out\n"
UNOPENED = FAILED + "cannot be opened by its descriptor: it is gone, or there is no /proc" + LEFT


@pytest.mark.parametrize(
    ("lie", "said", "opens"),
    [
        pytest.param("none", "", 1, id="it says the truth"),
        pytest.param("missing", UNOPENED, 1, id="ENOENT at open"),
        pytest.param("turns", UNOPENED, 1, id="ENOENT at open, then a device"),
        pytest.param("inode", FAILED + "changed while it was opened" + LEFT, 1, id="another inode"),
        pytest.param("device", FAILED + "is a character device, not a regular file" + LEFT, 0,
            id="device"),
        pytest.param("broken", f"{TOLD}/etc/ld.so.conf: Input/output error" + LEFT, 1,
            id="EIO at read"),
        pytest.param("stale", f"{TOLD}/etc/ld.so.conf: Stale file handle" + LEFT, 0,
            id="ESTALE at lookup"),
    ],
)  # fmt: skip
@isolated
def test_a_server_that_lies(tmp_path: Path, lie: str, said: str, opens: int) -> None:
    """The image's link leads there: what its owner does not let be read keeps nothing from starting."""
    root = _root(tmp_path)
    with served(root / "volume", lie) as server:
        done = _hook(root, *LDCACHE)
    assert (done.status, done.stderr) == (0, said)
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
