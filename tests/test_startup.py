"""What starting costs: the modules each hot path loads and the processes it starts, as lists.

The modules are those of an ordinary interpreter; the static file finishes its interpreter's start
for each that is not ours and not in binary/start.py's list. Before a line is added here: `python3
-I -S -X importtime`, and the number in the commit message. Times are the benchmark's business.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import need
from tests.probe import ACME, Box, oci

# Of the standard library: what is cheap, 0.1 ms each, or written in C.
STANDARD = {"__future__", "_struct", "errno", "struct"}

PASS_THROUGH = {
    "ocishim", "ocishim.cache", "ocishim.errors", "ocishim.posixos", "ocishim.start",
    "ocishim.create", "ocishim.create.argv", "ocishim.create.entry",
    "ocishim.lowlevel", "ocishim.lowlevel.lowlevel", "ocishim.settings", "ocishim.settings.config",
    "ocishim.settings.defaults",
}  # fmt: skip

CREATE = PASS_THROUGH | {
    "ocishim.jsonio", "ocishim.log", "ocishim.create.device_lists", "ocishim.create.plan",
    "ocishim.create.record",
    "ocishim.create.requests", "ocishim.hookplan", "ocishim.hookplan.hookplan",
    "ocishim.hookplan.knownhooks", "ocishim.hookplan.runnable", "ocishim.lowlevel.quirks", "ocishim.rootfs",
    "ocishim.rootfs.readonly",
    "ocishim.oci", "ocishim.oci.bundle", "ocishim.oci.changes", "ocishim.oci.structs",
    "ocishim.oci.hookchanges", "ocishim.oci.hooktable",
    "ocishim.oci.marks", "ocishim.oci.members", "ocishim.oci.reading", "ocishim.oci.spec",
    "ocishim.cdi", "ocishim.cdi.annotations", "ocishim.cdi.names",
}  # fmt: skip

DEVICE = CREATE | {
    "ocishim.cdi.edits", "ocishim.cdi.fields", "ocishim.cdi.hostdev", "ocishim.cdi.registry",
    "ocishim.cdi.registry.entries", "ocishim.cdi.registry.registry", "ocishim.cdi.registry.scan",
    "ocishim.cdi.stale",
    "ocishim.oci.container",
}  # fmt: skip

HOOK = {
    "ocishim", "ocishim.errors", "ocishim.posixos",
    "ocishim.hooks", "ocishim.hooks.chain", "ocishim.hooks.outcome", "ocishim.hooks.flags",
    "ocishim.hooks.privileges", "ocishim.hooks.program",
    "ocishim.linux", "ocishim.linux.const", "ocishim.linux.ffi", "ocishim.linux.privileges",
    "ocishim.linux.syscalls", "ocishim.oci", "ocishim.oci.container", "ocishim.oci.hooktable", "ocishim.oci.state",
    "ocishim.rootfs", "ocishim.rootfs.dirent", "ocishim.rootfs.handle", "ocishim.rootfs.ownmounts",
    "ocishim.rootfs.locate", "ocishim.rootfs.rootfs", "ocishim.rootfs.tree",
}  # fmt: skip

LDCACHE = {
    "ocishim.hooks.arch", "ocishim.hooks.corelibs", "ocishim.hooks.elf", "ocishim.hooks.ldcache",
    "ocishim.hooks.ldconf", "ocishim.hooks.ldconfig", "ocishim.hooks.libview", "ocishim.hooks.musl",
    "ocishim.hooks.sandbox", "ocishim.hooks.seccomp", "ocishim.hooks.soname",
    "ocishim.hooks.update_ldcache", "ocishim.hooks.wildcard", "ocishim.linux.memfd",
    "ocishim.linux.mntns", "ocishim.linux.mountinfo", "ocishim.linux.process",
}  # fmt: skip


@pytest.fixture(name="box")
def _box(tmp_path: Path) -> Box:
    return fill(tmp_path)


def fill(folder: Path) -> Box:
    """Pyshim in front of /bin/true; config, specs and the runtime's version are compiled."""
    box = Box(folder)
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
    """The modules that `python -I -S command` loads beyond those of a program that does nothing."""
    found = []
    for words in (("-c", "import os, sys"), command):
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-X", "importtime", *words],
            env=box.environment(), cwd=box.folder, input=stdin, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        lines = done.stderr.splitlines()
        assert [line for line in lines if not line.startswith("import time:")] == []
        found.append({line.rpartition("|")[2].strip() for line in lines[1:]})
    return found[1] - found[0]


def by_pyshim(box: Box, *args: str) -> set[str]:
    return loaded(box, str(box.pyshim), *args)


def by_hook(box: Box, *args: str) -> set[str]:
    state = {"ociVersion": "1.0.2", "id": "c", "status": "creating", "pid": 1,
             "bundle": str(box.folder / "device")}  # fmt: skip
    return loaded(box, str(box.bin / "pyshim-hook"), *args, stdin=json.dumps(state))


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] == "ocishim"}


@pytest.mark.clone
def test_create(box: Box) -> None:
    found = by_pyshim(box, "create", "--bundle", "device", "c")
    assert b"GPU=0" in (box.folder / "device/config.json").read_bytes()
    assert ours(found) == DEVICE
    assert found - DEVICE <= STANDARD | {"_json"}


@pytest.mark.clone
def test_create_again(box: Box) -> None:
    assert ours(by_pyshim(box, "create", "--bundle", "again", "c")) == DEVICE


@pytest.mark.clone
def test_create_without_a_device(box: Box) -> None:
    found = by_pyshim(box, "create", "--bundle", "plain", "c")
    assert ours(found) == CREATE
    assert found - CREATE <= STANDARD | {"_json"}


@pytest.mark.clone
@pytest.mark.parametrize("line", ["exec c create", "delete run", "create --help"])
def test_pass_through(box: Box, line: str) -> None:
    found = by_pyshim(box, *line.split())
    assert ours(found) == PASS_THROUGH
    assert found - PASS_THROUGH <= STANDARD


@pytest.mark.clone
def test_one_hook(box: Box) -> None:
    found = by_hook(box, "create-symlinks", "--link", "a::/b")
    expected = HOOK | {
        *("ocishim.hooks.create_symlinks", "ocishim.jsonio", "ocishim.oci.bundle"),
        *("ocishim.oci.structs", "ocishim.oci.reading"),
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


@pytest.mark.clone
def test_a_chain(box: Box) -> None:
    """Neither the state nor config.json is parsed: pyshim has said where the rootfs is."""
    links = ["create-symlinks", "--link", "a::/b", "--next", "create-symlinks", "--link", "c::/d"]
    found = by_hook(box, *chain(box, *links))
    assert (box.folder / "device/rootfs/d").is_symlink()
    assert ours(found) == HOOK | {"ocishim.hooks.create_symlinks"}
    assert found - ours(found) <= STANDARD | {"_ctypes", "_prctl"}


LIBRARIES = ["create-symlinks", "--link", "a::/b", "--next", "update-ldcache", "--folder", "/lib"]


@pytest.mark.clone
@pytest.mark.root
def test_a_chain_with_libraries(box: Box) -> None:
    found = by_hook(box, *chain(box, *LIBRARIES))
    assert ours(found) == HOOK | LDCACHE | {"ocishim.hooks.create_symlinks"}
    assert found - ours(found) <= STANDARD | {"_ctypes", "_prctl", "fcntl", "select"}


@pytest.mark.clone
@pytest.mark.root
def test_a_host_without_ldconfig(box: Box) -> None:
    """The writer of caches, and the log for the warning."""
    words = ["--quiet", "update-ldcache", "--folder", "/lib", "--ldconfig-path"]
    ordinary = by_hook(box, *words, "/sbin/ldconfig")
    found = by_hook(box, *words, "/no/ldconfig")
    more = {"ocishim.hooks.cachewriter", "ocishim.log"}
    assert ours(found) - ours(ordinary) == more
    assert ours(ordinary) - ours(found) == set()


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


@pytest.mark.parametrize("line", [
    pytest.param("state c", id="passes through"),
    pytest.param("--root /r kill c 9", id="passes through, flags"),
    pytest.param("exec c create", id="passes through, a name like a command"),
    pytest.param("create --bundle plain c", id="create"),
    pytest.param("create --bundle device c", id="create with hooks"),
    pytest.param("create --bundle again c", id="create again"),
])  # fmt: skip
def test_one_process(box: Box, line: str) -> None:
    """Always the process that the engine started: nothing is forked."""
    assert processes(box, str(box.pyshim), *line.split()) == (["pyshim", "true"], 0)


def test_the_runtime_is_asked_once_for_its_version(box: Box) -> None:
    """By a process of its own."""
    for name in os.listdir(box.cache):
        (box.cache / name).unlink()
    line = ["create", "--bundle", "device", "c"]
    assert processes(box, str(box.pyshim), *line) == (["pyshim", "true"], 1)
    assert processes(box, str(box.pyshim), *line) == (["pyshim", "true"], 0)


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


@pytest.mark.parametrize(
    "name", sorted((DEVICE | HOOK | LDCACHE) - {"ocishim.posixos", "ocishim.start"})
)
def test_nothing_opens_by_python(name: str) -> None:
    """open() finishes the interpreter's start in the static file, 1.3 ms and 1 MiB."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_bytes())
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert "open" not in {func.id for func in calls if isinstance(func, ast.Name)}
