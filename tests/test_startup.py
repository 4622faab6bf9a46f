"""What starting costs: the modules each hot path loads and the processes it starts, as lists.

Before a line is added here: `python3 -I -S -X importtime`, and the number in the commit message.
Times are the benchmark's business.
"""

from __future__ import annotations

import json
import marshal
import os
import re
import subprocess
import time
from importlib.util import MAGIC_NUMBER
from typing import TYPE_CHECKING

import pytest

from ocishim.admin import boot, launchers, preloading
from tests.conftest import need
from tests.probe import ACME, Box, oci

if TYPE_CHECKING:
    from pathlib import Path

# Of the standard library: what is cheap, 0.1 ms each, or written in C.
STANDARD = {"__future__", "_stat", "_struct", "errno", "gc", "struct"}

PASS_THROUGH = {
    "ocishim", "ocishim.argv", "ocishim.cache", "ocishim.config", "ocishim.entry", "ocishim.errors",
    "ocishim.lowlevel", "ocishim.posixos", "ocishim.start",
}  # fmt: skip

CREATE = PASS_THROUGH | {
    "ocishim.jsonio", "ocishim.knownhooks", "ocishim.hookplan", "ocishim.executor", "ocishim.log",
    "ocishim.readonly", "ocishim.requests", "ocishim.runtime", "ocishim.visible", "ocishim.oci",
    "ocishim.oci.bundle", "ocishim.oci.changes", "ocishim.oci.fields", "ocishim.oci.members",
    "ocishim.oci.reading", "ocishim.oci.spec",
    "ocishim.cdi", "ocishim.cdi.annotations", "ocishim.cdi.names",
}  # fmt: skip

DEVICE = CREATE | {
    "ocishim.cdi.edits", "ocishim.cdi.hostdev", "ocishim.cdi.registry", "ocishim.cdi.scan",
    "ocishim.cdi.stale", "ocishim.oci.container",
}  # fmt: skip

HOOK = {
    "ocishim.hooks", "ocishim.hooks.chain", "ocishim.hooks.change", "ocishim.hooks.flags", "ocishim.hooks.privileges", "ocishim.hooks.program", "ocishim.linux.privileges",
    "ocishim", "ocishim.dirent", "ocishim.errors", "ocishim.handle", "ocishim.linux",
    "ocishim.linux.const", "ocishim.linux.ffi", "ocishim.linux.syscalls", "ocishim.oci",
    "ocishim.oci.container", "ocishim.oci.state", "ocishim.ownmounts", "ocishim.posixos", "ocishim.rootfs", "ocishim.tree",
}  # fmt: skip

LDCACHE = {
    "ocishim.hooks.arch", "ocishim.hooks.elf", "ocishim.hooks.ldconf", "ocishim.hooks.ldconfig", "ocishim.hooks.musl", "ocishim.hooks.sandbox",
    "ocishim.hooks.seccomp", "ocishim.hooks.update_ldcache", "ocishim.linux.memfd", "ocishim.linux.mntns",
    "ocishim.linux.process", "ocishim.hooks.corelibs", "ocishim.hooks.ldcache", "ocishim.hooks.libview",
    "ocishim.hooks.soname", "ocishim.mountinfo",
}  # fmt: skip


@pytest.fixture(name="box")
def _box(tmp_path: Path) -> Box:
    """Pyshim in front of /bin/true; config, specs and the runtime's version are compiled.

    Modules are imported one by one here, not taken from one file, so that each is seen.
    """
    box = Box(tmp_path)
    for name in preloading.NAMES.values():
        (box.bin / name).unlink()
    box.settings({"runtimes": ["/bin/true"], "log.level": "info"})
    box.add_spec("acme.json", ACME)
    settle()
    box.bundle(oci(annotations={"cdi.k8s.io/x": "acme.com/gpu=0"}), "again")
    assert box.call("create", "-b", "again", "c").status == 0
    box.bundle(oci(), "plain")
    box.bundle(oci(annotations={"cdi.k8s.io/x": "acme.com/gpu=0"}), "device")
    return box


def settle() -> None:
    """Wait until a spec file's times are older than the clock's tick: a younger one is parsed again."""
    time.sleep(0.05)


def loaded(box: Box, *command: str, stdin: str = "") -> set[str]:
    """The modules that `python -I -S command` loads beyond those of an empty program."""
    found = []
    for words in (("-c", ""), command):
        done = subprocess.run(
            [launchers.interpreter(), "-I", "-S", "-X", "importtime", *words],
            env=box.environment(), cwd=box.folder, input=stdin, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        lines = done.stderr.splitlines()
        assert [line for line in lines if not line.startswith("import time:")] == []
        found.append({line.rpartition("|")[2].strip() for line in lines[1:]})
    return found[1] - found[0]


def preloaded(box: Box, program: str) -> set[str]:
    """The modules that are run from the one file before anything is imported."""
    launchers.preload(launchers.interpreter(), launchers.library(), str(box.bin))
    data = (box.bin / preloading.NAMES[program]).read_bytes()
    return {entry[0] for entry in marshal.loads(data[len(MAGIC_NUMBER) :])[1]}


def test_what_is_preloaded_is_what_is_needed(box: Box) -> None:
    assert preloaded(box, "pyshim") == DEVICE | {"struct"}
    assert preloaded(box, "pyshim-hook") == HOOK | {"ocishim.hooks.create_symlinks", "struct"}


def by_pyshim(box: Box, *args: str) -> set[str]:
    return loaded(box, str(box.bin / ".pyshim-main.py"), str(box.pyshim), "", "", *args)


def by_hook(box: Box, *args: str) -> set[str]:
    state = {"ociVersion": "1.0.2", "id": "c", "status": "creating", "pid": 1,
             "bundle": str(box.folder / "device")}  # fmt: skip
    return loaded(box, str(box.bin / "pyshim-hook"), *args, stdin=json.dumps(state))


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] == "ocishim"}


def test_create(box: Box) -> None:
    found = by_pyshim(box, "create", "--bundle", "device", "c")
    assert b"GPU=0" in (box.folder / "device/config.json").read_bytes()
    assert ours(found) == DEVICE
    assert found - DEVICE == STANDARD | {"_json"}


def test_create_again(box: Box) -> None:
    assert ours(by_pyshim(box, "create", "--bundle", "again", "c")) == DEVICE


def test_create_without_a_device(box: Box) -> None:
    found = by_pyshim(box, "create", "--bundle", "plain", "c")
    assert ours(found) == CREATE
    assert found - CREATE <= STANDARD | {"_json"}


@pytest.mark.parametrize("line", ["exec c create", "delete run", "create --help"])
def test_pass_through(box: Box, line: str) -> None:
    found = by_pyshim(box, *line.split())
    assert ours(found) == PASS_THROUGH
    assert found - PASS_THROUGH <= STANDARD


def test_one_hook(box: Box) -> None:
    found = by_hook(box, "create-symlinks", "--link", "a::/b")
    expected = HOOK | {
        *("ocishim.hooks.create_symlinks", "ocishim.jsonio", "ocishim.oci.bundle"),
        *("ocishim.oci.fields", "ocishim.oci.reading"),
    }
    assert (box.folder / "device/rootfs/b").is_symlink()
    assert ours(found) == expected
    assert found - expected <= STANDARD | {"_json", "_ctypes", "_prctl"}


def chain(box: Box, *words: str) -> list[str]:
    """A chain as pyshim writes it."""
    rootfs = box.folder / "device/rootfs"
    status = rootfs.stat()
    return ["chain", "--rootfs", str(rootfs), "--rootfs-id", f"{status.st_dev}:{status.st_ino}",
            "--timeout", "10", "--log", str(box.log), "--log-level", "info", *words]  # fmt: skip


def test_a_chain(box: Box) -> None:
    """Neither the state nor config.json is parsed: pyshim has said where the rootfs is."""
    links = ["create-symlinks", "--link", "a::/b", "--next", "create-symlinks", "--link", "c::/d"]
    found = by_hook(box, *chain(box, *links))
    assert (box.folder / "device/rootfs/d").is_symlink()
    assert ours(found) == HOOK | {"ocishim.hooks.create_symlinks"}
    assert found - ours(found) <= STANDARD | {"_ctypes", "_prctl"}


LIBRARIES = ["create-symlinks", "--link", "a::/b", "--next", "update-ldcache", "--folder", "/lib"]


@pytest.mark.root
def test_a_chain_with_libraries(box: Box) -> None:
    found = by_hook(box, *chain(box, *LIBRARIES))
    assert ours(found) == HOOK | LDCACHE | {"ocishim.hooks.create_symlinks"}
    assert found - ours(found) <= STANDARD | {"_ctypes", "_prctl", "fcntl", "select"}


# --- processes --------------------------------------------------------------------------------


def processes(box: Box, *command: str, stdin: str = "") -> tuple[list[str], int]:
    """The programs that replace one another in the first process, and how many others it starts."""
    trace = box.folder / "trace"
    subprocess.run(
        [need("strace"), "-f", "-qq", "-e", "trace=process", "-o", str(trace), *command],
        env=box.environment(), cwd=box.folder, input=stdin, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = trace.read_text().splitlines()
    first = lines[0].split()[0]
    programs = [
        os.path.basename(match[1])
        for line in lines
        if (match := re.match(rf'{first} +execve\("([^"]+)".* = 0$', line))
    ]
    others = {line.split()[0] for line in lines} - {first}
    return programs, len(others)


PYTHON = os.path.basename(boot.program(""))


@pytest.mark.parametrize(("line", "programs"), [
    pytest.param("state c", ["pyshim", "true"], id="the shell decides"),
    pytest.param("--root /r kill c 9", ["pyshim", "true"], id="the shell decides, flags"),
    pytest.param("exec c create", ["pyshim", PYTHON, "true"], id="Python decides"),
    pytest.param("create --bundle plain c", ["pyshim", PYTHON, "true"], id="create"),
    pytest.param("create --bundle device c", ["pyshim", PYTHON, "true"], id="create with hooks"),
    pytest.param("create --bundle again c", ["pyshim", PYTHON, "true"], id="create again"),
])  # fmt: skip
def test_one_process(box: Box, line: str, programs: list[str]) -> None:
    """Always the process that the engine started: nothing is forked."""
    assert processes(box, str(box.pyshim), *line.split()) == (programs, 0)


@pytest.mark.parametrize("text", [
    pytest.param('runtimes = ["/bin/true"]', id="one line"),
    pytest.param('# one\n\n# two\nruntimes = ["no-such", "true"]\n[cdi]\n', id="comments before"),
    pytest.param('runtimes = ["/bin/true"]\nbroken', id="broken further down"),
    pytest.param('[cdi]\nstale = "warn"\n', id="a table first"),
    pytest.param("# nothing\n", id="comments only"),
    pytest.param("", id="empty"),
    pytest.param(None, id="no file"),
])  # fmt: skip
def test_the_shell_decides(box: Box, text: str | None) -> None:
    """Python is not started to find the low-level runtime of an ordinary configuration."""
    box.config.unlink()
    if text is not None:
        box.config.write_text(text)
    (box.folder / "path").mkdir()
    (box.folder / "path/runc").symlink_to("/bin/true")
    command = ["env", f"PATH={box.folder}/path:{os.environ['PATH']}", str(box.pyshim), "state", "c"]
    programs, others = processes(box, *command)
    assert (programs[:2], len(programs), others) == (["env", "pyshim"], 3, 0)


def test_the_runtime_is_asked_once_for_its_version(box: Box) -> None:
    """By a process of its own."""
    for name in os.listdir(box.cache):
        (box.cache / name).unlink()
    line = ["create", "--bundle", "device", "c"]
    assert processes(box, str(box.pyshim), *line) == (["pyshim", PYTHON, "true"], 1)
    assert processes(box, str(box.pyshim), *line) == (["pyshim", PYTHON, "true"], 0)


def test_a_hook_is_one_process(box: Box) -> None:
    """However many links: six hooks of the peer are six processes."""
    links = [
        word for n in range(20) for word in ("--next", "create-symlinks", "--link", f"a::/l{n}")
    ][1:]
    command = [str(box.bin / "pyshim-hook"), *chain(box, *links)]
    assert processes(box, *command, stdin="{}") == (["pyshim-hook"], 0)
    assert (box.folder / "device/rootfs/l19").is_symlink()


@pytest.mark.root
def test_ldconfig_is_the_second(box: Box) -> None:
    command = [str(box.bin / "pyshim-hook"), *chain(box, *LIBRARIES)]
    assert processes(box, *command, stdin="{}") == (["pyshim-hook"], 1)
