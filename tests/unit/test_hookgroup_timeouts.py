"""How long the hooks that pyshim runs itself may take together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ocishim.errors import HookError
from ocishim.executor import hookprocess
from ocishim.log import OwnLog
from tests.isolated import run


@pytest.mark.parametrize(("timeouts", "seconds"), [
    pytest.param([3, 4], 12, id="theirs, and 5 s for the root"),
    pytest.param([3, None], 0, id="one may for ever"),
    pytest.param([3, "4"], 0, id="one that fails when it comes to it"),
    pytest.param([3, 10**30], 1_000_000, id="longer than the kernel can wait"),
    pytest.param([999_999, 999_999, 999_999], 1_000_000, id="longer together"),
])  # fmt: skip
def test_seconds(timeouts: list[object], seconds: int) -> None:
    hooks: list[Any] = [{"path": "/x", "timeout": timeout} for timeout in timeouts]
    job = hookprocess.Job("/b", {}, hooks, "c", OwnLog("", "error", ""))
    assert job.seconds() == seconds


def test_a_message_with_a_nul_is_one_message() -> None:
    reader, writer = os.pipe()
    hookprocess._tell(writer, "path '/a\0b'", "look there")
    os.close(writer)
    pid = os.fork()
    if not pid:
        os._exit(0)
    with os.fdopen(reader, "rb") as pipe, pytest.raises(HookError) as caught:
        hookprocess._report(pid, pipe.read())
    assert (caught.value.message, caught.value.hint) == (r"path '/a\x00b'", "look there")


@pytest.mark.root
def test_a_user_namespace_without_mappings(tmp_path: Path) -> None:
    """Podman's --userns=auto with --rootfs: in our words, not Python's."""
    (tmp_path / "rootfs").mkdir()
    spec = {"root": {"path": "rootfs"}, "linux": {"namespaces": [{"type": "user"}]}}
    hooks: list[Any] = [{"path": "/bin/true", "timeout": 5}]
    job = hookprocess.Job(str(tmp_path), spec, hooks, "c", OwnLog("", "error", ""))

    def fails() -> None:
        with pytest.raises(HookError) as caught:
            hookprocess.run(job)
        assert caught.value.message == "user namespace of the hooks: invalid argument"

    run(fails, flags=0)
