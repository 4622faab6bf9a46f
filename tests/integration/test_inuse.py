"""While a container runs under pyshim nobody takes pyshim away, and the container can be ended."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from ocishim.admin.cli import main
from tests.integration import test_engines
from tests.integration.engines import Containerd, Docker, Engine, Podman

pytestmark = [pytest.mark.root, pytest.mark.engine]
daemon = test_engines.daemon


def _uninstall(program: str) -> tuple[int, str]:
    """Ask what stands against removing the pyshim that is tested; the host's engines aside."""
    prefix = str(Path(program).parents[1])
    done = CliRunner().invoke(main, ["uninstall", "--dry-run", "--force", "--prefix", prefix])
    return done.exit_code, done.output


def test_it_stays_until_the_last_container_is_deleted(daemon: Engine, busybox: Path) -> None:
    program = daemon.shim.program
    container = daemon.begin(busybox)
    called = {
        Containerd: f"containerd {container}",
        Docker: f"docker {container[:12]}",
        Podman: f"podman {_podmans_name(daemon, container)}",
    }
    name = next(name for kind, name in called.items() if isinstance(daemon, kind))
    status, told = _uninstall(program)  # tells of what runs for other tests, too
    assert (status, name in told) == (1, True), told
    assert f" could not be stopped without {program}\n" in told
    assert told.endswith("hint: delete what still runs under pyshim, then try again\n")
    entered = daemon.enter(container, "/bin/echo", "inside")
    assert (entered.returncode, entered.stdout) == (0, "inside\n"), entered
    ended = daemon.end(container)
    assert not any(call.returncode for call in ended), ended
    # Podman's monitor, by which it is found, ends after the command that deletes.
    deadline = time.monotonic() + 30
    while name in (told := _uninstall(program)[1]) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert name not in told


def _podmans_name(daemon: Engine, container: str) -> str:
    if not isinstance(daemon, Podman):
        return ""
    return daemon.podman("inspect", "--format={{.Name}}", container).stdout.strip()
