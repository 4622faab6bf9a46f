"""Containers of the integration tests, for attacks that need a low-level runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import need
from tests.integration.conftest import busybox, compiler, lowlevels, node, programs, shim
from tools.lab import gvisor

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["busybox", "compiler", "lowlevels", "node", "programs", "shim"]


@pytest.fixture(params=["runc", "crun", "runsc"])
def lowlevel(request: pytest.FixtureRequest, lowlevels: dict[str, Path], tmp_path: Path) -> Path:
    """Each runtime in turn; runsc ignores hooks, so that pyshim's own executor runs them."""
    program = need(request.param)
    if request.param == "runsc":
        return gvisor.wrapper(tmp_path / "runsc", program)
    return lowlevels[request.param]
