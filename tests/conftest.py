"""What every test may need: programs that must be there, and the data files.

`need` skips a test with a reason where a program is missing; with CI=true it fails instead,
because there everything was installed on purpose.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from tools.lab.shim import BINARY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Named on the command line they run: make test-kubernetes.
collect_ignore = ["kubernetes"]

# A shell's background job ignores both, and every program a test starts would inherit that.
for _number, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

CI = os.environ.get("CI") == "true"
DATA = Path(__file__).parent / "data"


def missing(reason: str) -> NoReturn:
    """Skip the running test for `reason`; in CI, fail it."""
    if CI:
        pytest.fail(f"{reason}, and CI=true forbids to skip", pytrace=False)
    pytest.skip(reason)


def need(program: str) -> str:
    """Return the path of `program`, or skip (in CI: fail) the running test."""
    found = shutil.which(program)
    if found is None:
        missing(f"{program} is not installed; tools/packages.sh test gets it")
    return found


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder of the session's own for what pyshim keeps; nothing of a test in the host's."""
    os.environ.setdefault("PYSHIM_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    yield
    ours, host = os.fsencode(tmp_path_factory.getbasetemp()), Path("/run/pyshim")
    left = [file for file in host.glob("*") if ours in file.read_bytes()]
    assert not left, "a test wrote to the host's cache"


@pytest.fixture(scope="session", name="need")
def _need() -> Callable[[str], str]:
    return need


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder tests/data."""
    return DATA


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--as-runc PROGRAM`: what is asked of runc is asked of another runtime (make test-youki)."""
    parser.addoption("--as-runc", type=Path, metavar="PROGRAM")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of what is not tried are left out: of the static file, or of a clone's programs.

    Tests marked `root` are skipped for others; in CI that is a failure.
    """
    other = "clone" if BINARY else "binary"
    left_out = [item for item in items if item.get_closest_marker(other)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(
                pytest.mark.usefixtures("_needs_root") if CI else pytest.mark.skip("needs root"),
            )


@pytest.fixture
def _needs_root() -> None:
    missing("needs root")
