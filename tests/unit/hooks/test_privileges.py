"""What a hook may while it works, as the kernel tells it: capabilities, new privileges."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ocishim.linux import const, syscalls
from ocishim.linux import privileges as kernel
from ocishim.oci import hooktable
from tests.hookcall import call
from tests.trees import make_tree

pytestmark = pytest.mark.root

HOUSE = Path(__file__).parents[3]
START = f"import sys; sys.path[:0] = [{str(HOUSE)!r}]; from ocishim.hooks.program import start; start(sys.argv[1:])"
FILES = {"DAC_OVERRIDE", "FOWNER"}
AS_USER = {"SETUID", "SETGID"}
LDCONFIG = FILES | AS_USER | {"SYS_ADMIN", "SETPCAP", "KILL", "SYS_CHROOT"}


def fields(pid: int | str) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def names(mask: str) -> set[str]:
    """`0000000000000002` -> {"DAC_OVERRIDE"}."""
    known = {getattr(const, name): name for name in vars(const) if name.startswith("CAP_")}
    bits = [bit for bit in range(64) if int(mask, 16) >> bit & 1]
    return {known.get(bit, str(bit)).removeprefix("CAP_") for bit in bits}


CHAINS = [
    pytest.param(["create-symlinks", "--link", "a::/b"], FILES, id="create-symlinks"),
    pytest.param(["chmod", "--mode", "1"], FILES | {"FSETID"}, id="chmod"),
    pytest.param(["enable-cuda-compat"], FILES | AS_USER, id="enable-cuda-compat"),
    pytest.param(["update-application-profile"], FILES, id="update-application-profile"),
    pytest.param(["disable-device-node-modification"], {"DAC_OVERRIDE", "SYS_ADMIN"}, id="params"),
    pytest.param(["update-ldcache"], LDCONFIG, id="update-ldcache"),
    pytest.param(["create-soname-symlinks"], FILES | AS_USER, id="create-soname-symlinks"),
    pytest.param(
        ["chain", "update-application-profile", "--next", "create-symlinks"], FILES, id="a chain"
    ),
    pytest.param(
        ["chain", "--timeout", "9", "chmod", "--mode", "1", "--next", "update-ldcache"],
        LDCONFIG | {"FSETID"},
        id="a chain's sum",
    ),
]


@pytest.mark.parametrize(("words", "expected"), CHAINS)
def test_while_it_works(words: list[str], expected: set[str]) -> None:
    """It waits for the state of its container, which it needs to find the rootfs."""
    started = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", START, *words],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, env={"PATH": "/usr/bin"},
    )  # fmt: skip
    end = time.monotonic() + 60
    while fields(started.pid)["NoNewPrivs"] == "0" and time.monotonic() < end:
        time.sleep(0.01)
    found = fields(started.pid)
    environment = Path(f"/proc/{started.pid}/environ").read_bytes()
    started.communicate(b"{}")
    assert found["NoNewPrivs"] == "1"
    assert names(found["CapEff"]) == names(found["CapPrm"]) == expected
    assert names(found["CapInh"]) == names(found["CapAmb"]) == set()
    assert environment == b"PATH=/usr/bin\0"


FLAGS = {
    "chmod": ["--mode", "755", "--path", "/gpu"],
    "create-soname-symlinks": ["--folder", "/gpu"],
    "create-symlinks": ["--link", "../gpu/a::/gpu/b"],
    "update-ldcache": ["--folder", "/gpu"],
}


@pytest.mark.parametrize("name", hooktable.HOOKS)
def test_each_works_alone_for_a_container_of_an_ordinary_user(tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o755)
    root = make_tree(tmp_path / "root", "dir gpu", "dir etc", "dir dev")
    done = call(root, "chain", "--rootfs", str(root), "--user", "1000:1000:44", name,
                *FLAGS.get(name, []))  # fmt: skip
    assert (done.status, done.stderr) == (0, "")


class Library:
    """python-prctl's C part as far as it is used, by the same calls of the kernel."""

    CAP_LAST_CAP = 40
    PR_SET_NO_NEW_PRIVS = const.PR_SET_NO_NEW_PRIVS

    @staticmethod
    def set_caps(*lists: list[int]) -> None:
        effective, permitted, inheritable = (sum(1 << n for n in cleared) for cleared in lists[3:])
        old = syscalls.capget()
        assert lists[:3] == ([], [], [])
        syscalls.capset(old[0] & ~effective, old[1] & ~permitted, old[2] & ~inheritable)

    @staticmethod
    def prctl(option: int, value: int) -> None:
        syscalls.prctl(option, value, 0, 0, 0)


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_its_end(stopped: bool) -> None:  # noqa: FBT001
    """In a child, which ends by the kernel's SIGKILL, not before."""
    begun = time.monotonic()
    if not (child := os.fork()):
        kernel.kill_after(0.3)
        if stopped:
            os.kill(os.getpid(), signal.SIGSTOP)
        while True:
            time.sleep(10)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize("library", [None, Library], ids=["our own calls", "python-prctl"])
def test_either_way(monkeypatch: pytest.MonkeyPatch, library: type[Library] | None) -> None:
    monkeypatch.setitem(sys.modules, "_prctl", library)
    reader, writer = os.pipe()
    if not (child := os.fork()):
        kernel.limit(1 << const.CAP_FOWNER | 1 << const.CAP_KILL)
        found = fields("self")
        os.write(
            writer, "\n".join(found[f"Cap{which}"] for which in ("Eff", "Prm", "Inh")).encode()
        )
        os.write(writer, f"\n{found['NoNewPrivs']}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        effective, permitted, inheritable, no_new_privileges = file.read().split()
    os.waitpid(child, 0)
    assert names(effective) == names(permitted) == {"FOWNER", "KILL"}
    assert (names(inheritable), no_new_privileges) == (set(), "1")


@pytest.mark.parametrize("under", [
    pytest.param(["env", "--ignore-signal=CHLD"], id="children are not waited for"),
    pytest.param(["env", "--block-signal"], id="signals are blocked"),
    pytest.param(["prlimit", "--fsize=0:"], id="no file may be written"),
    pytest.param(["prlimit", "--sigpending=0:"], id="no timer"),
    pytest.param(["prlimit", "--nofile=12:"], id="few descriptors"),
])  # fmt: skip
def test_what_is_inherited(tmp_path: Path, under: list[str]) -> None:
    """The engine's signals; under crun the container's own limits, which are for its programs."""
    make_tree(tmp_path, "dir opt/lib")
    words = ["chain", "--timeout", "10", "update-ldcache", "--folder", "/opt/lib"]
    done = call(tmp_path, *words, under=under)
    assert (done.status, done.stderr) == (0, "")
    assert (tmp_path / "etc/ld.so.cache").exists()
