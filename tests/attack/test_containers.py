"""Hostile images in real containers: hooks run by runc and crun, and by pyshim before runsc.

The same promises as for the hooks alone: nothing outside of the rootfs is created, changed or
executed, the answer comes in time, and who starts the container reads what was refused.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import libs
from tests.conftest import need
from tests.integration.conftest import Node
from tests.swapper import Swapper
from tests.trees import make_tree, snapshot
from tools.lab import namespace
from tools.lab.runtime import Runtime
from tools.lab.shim import Shim

if TYPE_CHECKING:
    from tools.lab.bundle import Bundle
    from tools.lab.compiler import Compiler
    from tools.lab.runtime import Result

pytestmark = pytest.mark.root

SECONDS = 50.0  # for the whole run: two interpreters, a runtime, on two busy cores
DEVICE = {"cdi.k8s.io/attack": "attack.com/image=0"}
MARKER = "executed-on-the-host"


@pytest.fixture(scope="module", autouse=True)
def _private_node() -> None:
    namespace.enter()
    namespace.adopt_orphans()


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder of the host that the image aims at, and that is the same afterwards."""
    outside = make_tree(
        tmp_path / "outside", "file file secret", "dir dir", "file ld.so.conf /of/host"
    )
    before = snapshot(outside)
    yield outside
    assert snapshot(outside) == before


def _hook(*args: str, path: str = "/usr/bin/nvidia-cdi-hook") -> dict[str, object]:
    return {"hookName": "createContainer", "path": path, "args": [path.rpartition("/")[2], *args]}


def _request(node: Node, *hooks: dict[str, object]) -> None:
    """Let the device attack.com/image=0 bring `hooks`."""
    edits = {"env": ["ATTACKED=yes"], "hooks": list(hooks)}
    spec = {
        "cdiVersion": "0.5.0", "kind": "attack.com/image",
        "devices": [{"name": "0", "containerEdits": edits}],
    }  # fmt: skip
    node.shim.add_spec("attack.json", json.dumps(spec))


def _bundle(node: Node, busybox: Path, outside: Path, *lines: str) -> Bundle:
    bundle = node.bundle(busybox, "echo started", annotations=DEVICE)
    for line in lines:
        name = line.split(" ")[1]
        target = bundle.rootfs / name
        if target.is_dir() and not target.is_symlink() and not line.startswith("dir"):
            subprocess.run(["rm", "-rf", str(target)], check=True)
        target.unlink(missing_ok=True)
    make_tree(bundle.rootfs, *(line.format(out=outside) for line in lines))
    return bundle


def _run(node: Node, bundle: Bundle) -> Result:
    begun = time.monotonic()
    result = node.run(bundle)
    assert time.monotonic() - begun < SECONDS
    assert "Traceback" not in result.stderr
    return result


def _row(what: str, hook: tuple[str, ...], *lines: str, says: str = "") -> object:
    return pytest.param(hook, lines, says, id=what)


def _link(path: str) -> tuple[str, ...]:
    return "create-symlinks", "--link", f"target::{path}"


CACHE = ("update-ldcache", "--folder", "/opt/lib")
MAGIC = "a magic link"
# Refused for the magic link, or for the process, which a hook may not trace under runc 1.1.15.
REFUSED = "/opt/l -> target: "
A_DEVICE = "is a character device, not a regular file"
NO_WAY = "is a symbolic link that leads to no directory in the rootfs"
# In pyshim's own executor links find neither /proc nor more devices than the container's.
IN_GVISOR = {MAGIC: NO_WAY, REFUSED: NO_WAY, A_DEVICE: ""}
# gVisor mounts a tmpfs on an image's empty /tmp, and refuses a link there by itself.
GVISORS_TMP = 'opening "/tmp" inside container: too many symbolic links'


@pytest.mark.parametrize(
    ("hook", "lines", "says"),
    [
        _row("T3 parent to the host", _link("/opt/a/l"), "symlink opt {out}",
            says=f"'/opt' {NO_WAY}"),
        _row("T3 parent up", _link("/opt/l"), "symlink opt ../../outside", says=f"'/opt' {NO_WAY}"),
        _row("T3 parent dangles", _link("/opt/l"), "symlink opt /no/where",
            says=f"'/opt' {NO_WAY}"),
        _row("T3 dots in the link", _link("../../../../../../..{out}/l")),
        _row("T1 magic link", _link("/opt/l"), "symlink opt /proc/self/cwd", says=MAGIC),
        _row("T1 root of a process", _link("/opt/l"), "symlink opt /proc/1/root{out}",
            says=REFUSED),
        _row("T9 chmod", ("chmod", "--mode", "777", "--path", "/opt/x"), "symlink opt/x {out}/dir",
            says="'/opt/x' is a symbolic link: its mode is not set"),
        _row("T9 chmod up", ("chmod", "--mode", "4777", "--path", "../../../outside/file")),
        _row("T7 etc to the host", CACHE, "symlink etc {out}", says=f"'/etc' {NO_WAY}"),
        _row("T7 cache to the host", CACHE, "symlink etc/ld.so.cache {out}/file"),
        _row("T7 conf.d to the host", CACHE,
            "file etc/ld.so.conf include /etc/ld.so.conf.d/*.conf\n",
            "symlink etc/ld.so.conf.d {out}", says=NO_WAY),
        _row("T7 run in the root", CACHE, "dir var/run", "symlink run /var/run"),
        _row("T7 tmp to the host", CACHE, "symlink tmp {out}"),
        _row("T8 conf a fifo", CACHE, "fifo etc/ld.so.conf",
            says="'/etc/ld.so.conf' is a fifo, not a regular file"),
        _row("T8 conf a device", CACHE, "symlink etc/ld.so.conf /dev/zero", says=A_DEVICE),
        _row("T8 conf huge", CACHE, "file etc/ld.so.conf " + "/x\n" * 100_000,
            says="is larger than"),
        _row("T5 ldconfig of the image", CACHE,
            "file sbin/ldconfig #!/bin/sh\ntouch {out}/executed\n"),
        _row("links inside, absolute", _link("/run/l"), "dir var/run", "symlink run /var/run"),
    ],
)  # fmt: skip
def test_paths(
    node: Node, busybox: Path, outside: Path, *, hook: list[str], lines: tuple[str, ...], says: str
) -> None:
    _request(node, _hook(*(arg.format(out=outside) for arg in hook)))
    result = _run(node, _bundle(node, busybox, outside, *lines))
    gvisor = Path(node.shim.lowlevel).name == "runsc"
    if gvisor:
        says = IN_GVISOR.get(says, says)
    if not says:
        if gvisor and "symlink tmp {out}" in lines and GVISORS_TMP in result.stderr:
            return
        assert (result.returncode, result.stdout) == (0, "started\n"), result
        return
    assert result.returncode == 1, result
    assert "started" not in result.stdout
    if Path(node.shim.lowlevel).name != "crun":  # which shows no hook's output
        assert f"createContainer hook {hook[0]} failed: " in result.stderr
        assert says in result.stderr


# Leaves a mark where the image should not reach, as NVIDIAScape's payload did.
_PAYLOAD = """#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) void payload(void) {{ close(creat("{mark}", 0644)); }}
"""


@pytest.fixture
def payload(node: Node, busybox: Path, outside: Path) -> tuple[Bundle, Path]:
    """A bundle with /poc.so, and the file on the host that shows that it ran."""
    mark = node.folder / MARKER
    bundle = _bundle(node, busybox, outside)
    library = _library(node, mark)
    libs.put(library, bundle.rootfs / "poc.so")
    return bundle, mark


def _library(node: Node, mark: Path) -> Path:
    source = node.folder / "poc.c"
    source.write_text(_PAYLOAD.format(mark=mark))
    target = node.folder / "poc.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(target), str(source)], check=True)
    return target


ENVIRONMENTS = [
    pytest.param(["LD_PRELOAD=/proc/self/cwd/poc.so"], id="by working directory"),
    pytest.param(["LD_PRELOAD={rootfs}/poc.so"], id="by path"),
    pytest.param(["LD_PRELOAD=poc.so", "LD_LIBRARY_PATH=/proc/self/cwd"], id="by library path"),
    pytest.param(["LD_AUDIT={rootfs}/poc.so"], id="as auditor"),
]


def _set_environment(bundle: Bundle, environment: list[str]) -> None:
    spec = bundle.spec
    spec["process"]["env"] += [entry.format(rootfs=bundle.rootfs) for entry in environment]
    bundle.write(spec)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_t6_t11_a_vendors_hook_without_environment(
    node: Node, payload: tuple[Bundle, Path], environment: list[str]
) -> None:
    """CVE-2025-23266: runc before 1.3 gives such a hook the image's environment, as root."""
    bundle, mark = payload
    # cat, not true: crun 1.8 fails when a hook ends before it has written the state.
    _request(node, _hook(path="/bin/cat"), {**_hook(path="/bin/cat"), "env": []})
    _set_environment(bundle, environment)
    result = _run(node, bundle)
    assert result.returncode == 0, result
    assert not mark.exists()


BARE = '{"path":"/bin/cat","args":["cat"]}'
SPELLINGS = [
    pytest.param(f'"Hooks":{{"createContainer":[{BARE}]}}', id="Hooks"),
    pytest.param(f'"hooks":{{"createcontainer":[{BARE}]}}', id="createcontainer"),
    pytest.param(f'"hoo\\u212a\\u017f":{{"CreateContainer":[{BARE}]}}', id="Kelvin's and a long s"),
    pytest.param(f'"hooks":{{}},"hooks":{{"createContainer":[{BARE}]}}', id="hooks twice"),
    pytest.param(f'"hooks":{{"createContainer":[{BARE}]}},"hooks":{{}}', id="the other way round"),
    pytest.param(
        f'"hooks":{{"createContainer":[],"createContainer":[{BARE}]}}', id="createContainer twice"
    ),
    pytest.param(
        f'"hooks":{{"createContainer":[{BARE}]}},"HOOKS":{{"createContainer":[{{"timeout":9}}]}}',
        id="an array over an array",
    ),
]


@pytest.mark.parametrize("members", SPELLINGS)
def test_t6_t11_a_hook_by_another_name(
    node: Node, payload: tuple[Bundle, Path], members: str
) -> None:
    """Go reads names without case, and of repeated fields all or the last, crun the first."""
    bundle, mark = payload
    _set_environment(bundle, ["LD_PRELOAD=/proc/self/cwd/poc.so"])
    bundle.write({**bundle.spec, "annotations": {}})
    bundle.config.write_text(f"{bundle.config.read_text()[:-1]},{members}}}")
    result = _run(node, bundle)
    assert result.returncode == 0, result
    assert not mark.exists()


@pytest.mark.parametrize("environment", ENVIRONMENTS[:2])
def test_t6_hooks_pyshim_knows(
    node: Node, payload: tuple[Bundle, Path], environment: list[str]
) -> None:
    bundle, mark = payload
    _request(node, _hook(*_link("/opt/l")), _hook(*CACHE))
    _set_environment(bundle, environment)
    result = _run(node, bundle)
    assert result.returncode == 0, result
    assert not mark.exists()


def test_t6_the_attack_is_one(
    tmp_path: Path, busybox: Path, compiler: Compiler, lowlevels: dict[str, Path]
) -> None:
    """What the tests above prevent does happen on runc before 1.3 without pyshim."""
    need("runc")
    node = Node(tmp_path, Shim(tmp_path / "pyshim", lowlevels["runc"]), compiler)
    bundle = node.bundle(busybox, "true")
    libs.put(_library(node, tmp_path / MARKER), bundle.rootfs / "poc.so")
    spec = bundle.spec
    spec["process"]["env"].append("LD_PRELOAD=/proc/self/cwd/poc.so")
    spec["hooks"] = {"createContainer": [{"path": "/bin/cat", "args": ["cat"]}]}
    bundle.write(spec)
    plain = Runtime(lowlevels["runc"], tmp_path / "plain")
    result = plain.run(bundle, f"{node.container}-plain")
    assert result.returncode == 0, result
    assert (tmp_path / MARKER).exists() is (_runc_version() < (1, 3))


def _runc_version() -> tuple[int, ...]:
    text = subprocess.run(["runc", "--version"], check=True, capture_output=True, text=True).stdout
    number = text.split()[2].split("+")[0].split("-")[0]
    return tuple(int(part) for part in number.split(".")[:2])


def test_python_of_the_image_is_not_used(node: Node, busybox: Path, outside: Path) -> None:
    """The hook starts in the rootfs: modules, settings and site files there mean nothing."""
    bad = f"open({str(outside / MARKER)!r}, 'w')\n"
    modules = ("os", "sys", "errno", "json", "ocishim", "sitecustomize", "struct", "prctl")
    files = [f"file {name}.py {bad}" for name in modules]
    bundle = _bundle(node, busybox, outside, *files, f"file pyvenv.cfg home = {outside}")
    _set_environment(bundle, ["PYTHONPATH={rootfs}", "PYTHONHOME={rootfs}", "PYTHONSTARTUP=/os.py"])
    _request(node, _hook(*_link("/opt/l")), _hook(*CACHE))
    result = _run(node, bundle)
    assert (result.returncode, result.stdout) == (0, "started\n"), result


@pytest.mark.parametrize(
    "evil", [pytest.param("symlink v/b {out}", id="link"), pytest.param("fifo v/b", id="fifo")]
)
def test_a_second_container_swaps_in_a_shared_volume(
    node: Node, busybox: Path, outside: Path, evil: str
) -> None:
    """CVE-2025-23359: 10,000 swaps and more while containers start one after another."""
    volume = make_tree(node.folder / "shared", "dir v/a", evil.format(out=outside))
    _request(
        node, _hook("create-symlinks", "--link", "t::/shared/v/a/l", "--link", "t::/shared/v/b/d/l"),
        _hook("update-ldcache", "--folder", "/shared/v/a"),
        _hook("chmod", "--mode", "777", "--path", "/shared/v/a"),
    )  # fmt: skip
    bundle = _bundle(node, busybox, outside)
    spec = bundle.spec
    spec["mounts"].append(
        {
            "destination": "/shared",
            "type": "bind",
            "source": str(volume),
            "options": ["rbind", "rw"],
        }
    )
    bundle.write(spec)
    results: list[int] = []
    with Swapper(volume / "v/a", volume / "v/b") as swapper:
        while swapper.swaps < 10_000 or len(results) < 12:
            results.append(_run(node, bundle).returncode)
            node.shim.delete(node.container)
    assert set(results) <= {0, 1}
