"""Fixtures of the tests of pyshimctl."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.admin.configuring import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with pyshim at /usr/local/bin and nothing else."""
    return Machine(tmp_path)
