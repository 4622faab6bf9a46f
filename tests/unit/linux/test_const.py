"""Constants against Python's own copies of the kernel's headers, and their names in messages."""

from __future__ import annotations

import fcntl
import os

import pytest

from ocishim.linux import const


@pytest.mark.parametrize(
    ("value", "prefix", "text"),
    [
        pytest.param(0, "MS_", "0", id="nothing"),
        pytest.param(const.MS_BIND | const.MS_RDONLY, "MS_", "MS_RDONLY|MS_BIND", id="two"),
        pytest.param(0x10000000 | 1, "MS_", "MS_RDONLY|0x10000000", id="one without a name"),
        pytest.param(os.O_PATH | os.O_DIRECTORY, "O_", "O_DIRECTORY|O_PATH", id="open flags"),
        pytest.param(os.O_TMPFILE, "O_", "O_TMPFILE", id="O_DIRECTORY is part of O_TMPFILE"),
        pytest.param(
            const.RESOLVE_IN_ROOT | const.RESOLVE_NO_MAGICLINKS,
            "RESOLVE_",
            "RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT",
            id="resolve",
        ),
    ],
)
def test_names_of_a_value(value: int, prefix: str, text: str) -> None:
    assert const.names(value, prefix) == text


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (fcntl, "F_ADD_SEALS"),
        (fcntl, "F_GET_SEALS"),
        (fcntl, "F_SEAL_SEAL"),
        (fcntl, "F_SEAL_SHRINK"),
        (fcntl, "F_SEAL_GROW"),
        (fcntl, "F_SEAL_WRITE"),
        (os, "MFD_CLOEXEC"),
        (os, "MFD_ALLOW_SEALING"),
    ],
)
def test_the_same_value_as_pythons(module: object, name: str) -> None:
    assert getattr(const, name) == getattr(module, name)
