"""hooks.readonly_rootfs = "overlay": hooks write over a rootfs that cannot, or must not, be written.

Every test runs on runc, crun and both versions of runsc unless it says otherwise; the fixture of
all integration tests looks for mounts, loop devices, processes and files left behind.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import missing, need
from tools.lab import gvisor, images, leaks
from tools.lab.bundle import without_identity
from tools.lab.driver import MULTIARCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Node
    from tools.lab.bundle import Bundle
    from tools.lab.shim import Shim

    Maker = Callable[[str, Path, Path], Path]

pytestmark = pytest.mark.root

ALL = {"cdi.k8s.io/test": "nvidia.com/gpu=all"}
LIB = f"/usr/lib/{MULTIARCH}"
SCRIPT = "load libcuda.so.1 libvdpau_nvidia.so.1; env | grep NVIDIA_VIS; nvidia-smi"
SEEN = [
    f"libcuda.so.1 => {LIB}/libcuda.so.1",
    f"libvdpau_nvidia.so.1 => {LIB}/vdpau/libvdpau_nvidia.so.1",
    "NVIDIA_VISIBLE_DEVICES=void",
    "nvidia-smi: stand-in, no GPU here",
]
RUNTIMES = ["runc", "crun", "runsc", "runsc-backports"]
only_runc = pytest.mark.parametrize("lowlevel", ["runc"], indirect=True)
real_roots = pytest.mark.parametrize("lowlevel", ["runc", "crun"], indirect=True)


@pytest.fixture(params=RUNTIMES)
def lowlevel(request: pytest.FixtureRequest, lowlevels: dict[str, Path], tmp_path: Path) -> Path:
    """Each low-level runtime in turn, gVisor in the two versions without hooks."""
    if request.param == "runsc":
        return gvisor.wrapper(tmp_path / "runsc", need("runsc"))
    if request.param == "runsc-backports":
        program = gvisor.backports()
        if not program:
            missing("runsc of the backports cannot be fetched")
        return gvisor.wrapper(tmp_path / "runsc", program)
    need(request.param)
    return lowlevels[request.param]


@pytest.fixture(autouse=True)
def _overlay(shim: Shim) -> None:
    shim.configure({"hooks.readonly_rootfs": "overlay"})


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Maker]:
    """Mount a read-only copy of a rootfs; mount points are the layer's to take, too."""
    with images.Mounts() as mounts:

        def make(kind: str, tree: Path, target: Path) -> Path:
            if kind in images.MAKERS:
                need(images.MAKERS[kind][0])
            copy = tmp_path / "tree"
            if not copy.exists():
                shutil.copytree(tree, copy, symlinks=True)
            return mounts.add(kind, copy, target)

        yield make


def fingerprint(tree: Path) -> str:
    """Everything about a tree that a hook or a runtime might change."""
    text = ""
    for folder, folders, names in os.walk(tree):
        for name in sorted([*folders, *names]):
            path = Path(folder, name)
            status = path.lstat()
            text += f"{path} {status.st_mode} {status.st_uid} {status.st_mtime_ns} {status.st_ctime_ns}\n"
        folders.sort()
    return hashlib.sha256(text.encode()).hexdigest()


def on_image(node: Node, make: Maker, kind: str, tree: Path, script: str, **options: Any) -> Bundle:
    bundle = node.bundle(None, script, **options)
    make(kind, tree, bundle.rootfs)
    return bundle


@pytest.mark.parametrize("readonly", [False, True], ids=["writable", "readonly"])
@pytest.mark.parametrize("kind", ["erofs", "squashfs", "bind"])
def test_image(node: Node, glibc: Path, image: Maker, kind: str, readonly: bool) -> None:  # noqa: FBT001
    node.add_spec("nvidia-dgx-a100.yaml")
    script = f"{SCRIPT}; echo mine > /file && cat /file"
    bundle = on_image(node, image, kind, glibc, script, annotations=ALL, readonly=readonly)
    before = fingerprint(bundle.rootfs)
    result = node.run(bundle)
    assert result.stdout.splitlines() == SEEN + ([] if readonly else ["mine"]), result
    assert ("Read-only file system" in result.stderr) is readonly
    assert fingerprint(bundle.rootfs) == before
    assert node.shim.warnings == ""
    for file in node.folder.glob("bundle/*.erofs"):
        assert b"00-pyshim.conf" not in file.read_bytes()


def test_folder_that_is_to_be_read_only(node: Node, glibc: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(glibc, f"{SCRIPT}; echo > /file", annotations=ALL, readonly=True)
    before = fingerprint(bundle.rootfs)
    result = node.run(bundle)
    assert result.stdout.splitlines() == SEEN, result
    assert "Read-only file system" in result.stderr
    assert fingerprint(bundle.rootfs) == before


def test_an_unknown_hook_writes_there_too(node: Node, busybox: Path) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "cat >/dev/null; echo made > made"]}
    bundle = node.bundle(busybox, "cat /made", readonly=True, hooks={"createContainer": [hook]})
    assert node.run(bundle).stdout == "made\n"
    assert not (bundle.rootfs / "made").exists()


def test_a_writable_rootfs_gets_no_layer(node: Node, glibc: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(glibc, "true", annotations=ALL)
    assert node.run(bundle).returncode == 0
    assert (bundle.rootfs / "etc/ld.so.cache").exists()


def test_every_container_gets_its_own(node: Node, glibc: Path, image: Maker) -> None:
    """Nothing of the first is seen by the second; config.json tells the layers apart, no more."""
    node.add_spec("nvidia-dgx-a100.yaml")
    script = "ls /file 2>/dev/null; echo > /file; readlink /etc/ld.so.cache; load libcuda.so.1"
    bundle = on_image(node, image, "erofs", glibc, script, annotations=ALL)
    first = node.run(bundle)
    edited = bundle.config.read_bytes()
    node.shim.delete(node.container)
    second = node.run(bundle)
    assert first.stdout == second.stdout == SEEN[0] + "\n", (first, second)
    again = bundle.config.read_bytes()
    assert without_identity(again) == without_identity(edited)


@real_roots
def test_created_started_and_entered(node: Node, glibc: Path, image: Maker) -> None:
    """Start, exec, state and delete run on the host, which has no layer."""
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = on_image(node, image, "erofs", glibc, "sleep 100", annotations=ALL, readonly=True)
    before = leaks.mounts()
    assert node.shim.create(bundle, node.container).returncode == 0
    assert leaks.mounts() == before, "the host sees a mount"
    assert node.shim.call("start", node.container).returncode == 0
    entered = node.shim.call("exec", node.container, "/bin/load", "libcuda.so.1")
    assert entered.stdout.splitlines() == SEEN[:1], entered
    assert node.shim.call("state", node.container).returncode == 0
    assert node.shim.call("kill", node.container, "KILL").returncode == 0


@only_runc
@pytest.mark.parametrize("propagation", ["", "rslave", "rprivate", "rshared"])
def test_rootfs_propagation(node: Node, glibc: Path, image: Maker, propagation: str) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = on_image(node, image, "erofs", glibc, SCRIPT, annotations=ALL)
    spec = bundle.spec
    spec["linux"]["rootfsPropagation"] = propagation
    bundle.write(spec)
    assert node.run(bundle).stdout.splitlines() == SEEN


class SharedHost:
    """A folder on a mount with peers, as everything is on a machine with systemd."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Path:
        self.folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "shared", self.folder], check=True)
        subprocess.run(["mount", "--make-shared", self.folder], check=True)
        return self.folder

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-R", self.folder], check=True)


def _with_volume(node: Node, bundle: Bundle, volume: Path, option: str) -> None:
    """Let the container mount a tmpfs in a volume that has the propagation `option`."""
    script = "mount -t tmpfs none /volume/sub; sleep 100 >/dev/null 2>&1"
    spec = node.bundle(None, script, annotations=ALL, readonly=True).spec
    for names in spec["process"]["capabilities"].values():
        names.append("CAP_SYS_ADMIN")
    spec["linux"]["rootfsPropagation"] = option
    spec["mounts"].append(
        {
            "destination": "/volume",
            "type": "bind",
            "source": str(volume),
            "options": ["rbind", option],
        }
    )
    bundle.write(spec)


@only_runc
@pytest.mark.parametrize("kind", ["erofs", "folder"])
@pytest.mark.parametrize("option", ["rshared", "rslave"])
def test_volumes_propagate_as_ever(node: Node, glibc: Path, kind: str, option: str) -> None:
    """Bidirectional: a mount made in the container reaches the host. The layer does not."""
    node.add_spec("nvidia-dgx-a100.yaml")
    with SharedHost(node.folder / "host") as host, images.Mounts() as mounts:
        (host / "volume/sub").mkdir(parents=True)
        (host / "volume/back").mkdir()
        bundle = type(node.bundle(None, ""))(host / "bundle")
        _with_volume(node, bundle, host / "volume", option)
        shutil.copytree(glibc, host / "tree" if kind == "erofs" else bundle.rootfs, symlinks=True)
        if kind == "erofs":
            mounts.add(kind, host / "tree", bundle.rootfs)
        before = leaks.mounts()
        try:
            created = node.shim.create(bundle, node.container)
            assert created.returncode == 0, created
            assert leaks.mounts() == before, "the layer reached the host"
            assert node.shim.call("start", node.container).returncode == 0
            made = {f"mount {host}/volume/sub (tmpfs)"} if option == "rshared" else set()
            deadline = time.monotonic() + 60
            while made - leaks.mounts() and time.monotonic() < deadline:
                time.sleep(0.05)
            assert leaks.mounts() - before == made
            subprocess.run(["mount", "-t", "tmpfs", "none", host / "volume/back"], check=True)
            seen = node.shim.call("exec", node.container, "cat", "/proc/mounts").stdout
            assert " /volume/back tmpfs" in seen, "a mount of the host did not arrive"
        finally:
            node.shim.delete(node.container)


@real_roots
def test_over_an_engines_overlay(node: Node, glibc: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(None, SCRIPT, annotations=ALL, readonly=True)
    for name in ("upper", "work"):
        (node.folder / name).mkdir()
    bundle.rootfs.mkdir()
    options = f"lowerdir={glibc},upperdir={node.folder}/upper,workdir={node.folder}/work"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "engine", bundle.rootfs], check=True)
    try:
        result = node.run(bundle)
        assert result.stdout.splitlines() == SEEN, result
        assert not list((node.folder / "upper").iterdir())
    finally:
        subprocess.run(["umount", bundle.rootfs], check=True)


@only_runc
def test_run_that_forbids_programs(node: Node, glibc: Path, image: Maker) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = on_image(node, image, "erofs", glibc, SCRIPT, annotations=ALL)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", "/run"], check=True)
    try:
        assert node.run(bundle).stdout.splitlines() == SEEN
        node.shim.delete(node.container)
    finally:
        subprocess.run(["umount", "/run"], check=True)


@real_roots
def test_user_namespace(node: Node, glibc: Path, image: Maker) -> None:
    def without_devices(document: dict[str, Any]) -> None:
        for edits in [
            document["containerEdits"],
            *(d["containerEdits"] for d in document["devices"]),
        ]:
            edits.pop("deviceNodes", None)
            edits.setdefault("env", ["A=1"])

    node.add_spec("nvidia-dgx-a100.yaml", without_devices)
    script = "stat -c %u /etc/ld.so.cache; load libcuda.so.1"
    bundle = node.bundle(glibc, script, annotations=ALL, user_namespace=True, readonly=True)
    bundle.give_to(200000)
    result = node.run(bundle)
    assert result.stdout.splitlines() == ["0", SEEN[0]], result


@pytest.mark.parametrize(
    ("there", "root"),
    [pytest.param(False, "overlay", id="lacking"), pytest.param(True, "erofs", id="there")],
)
def test_a_device_of_mounts_alone(
    node: Node,
    busybox: Path,
    image: Maker,
    there: bool,  # noqa: FBT001
    root: str,
) -> None:
    """No hook writes, and the image cannot be given a mount point: a layer where one is missing."""
    (tool := node.folder / "tool").write_text("of the host\n")
    mounts = [
        {"hostPath": str(tool), "containerPath": place, "options": ["ro", "bind"]}
        for place in ("/bin/tool", "/tmp/below/a/mount")
    ]
    device = {"name": "0", "containerEdits": {"mounts": mounts}}
    document = {"cdiVersion": "0.5.0", "kind": "acme.com/tool", "devices": [device]}
    node.shim.add_spec("acme.json", json.dumps(document))
    tree = node.folder / "tree"
    shutil.copytree(busybox, tree, symlinks=True)
    (tree / "tmp").mkdir(exist_ok=True)
    if there:
        (tree / "bin/tool").touch()
    script = "cat /bin/tool /tmp/below/a/mount; grep ' / ' /proc/mounts | cut -d' ' -f3"
    asked = {"cdi.k8s.io/t": "acme.com/tool=0"}
    bundle = on_image(node, image, "erofs", tree, script, annotations=asked, readonly=True)
    spec = bundle.spec
    spec["mounts"].append(
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": []}
    )
    bundle.write(spec)
    result = node.run(bundle)
    assert result.stdout.splitlines()[:2] == ["of the host"] * 2, result
    if "runsc" not in node.shim.lowlevel:  # which shows a root of its own
        assert result.stdout.splitlines()[2] == root, result


def test_a_volume_over_a_folder_of_links(node: Node, glibc: Path, image: Maker) -> None:
    """A read-only ConfigMap at /etc/nvidia: the profile is left out, the rest is there."""
    node.add_spec("nvidia-dgx-a100.yaml")
    volume = node.folder / "configmap"
    volume.mkdir()
    bundle = on_image(node, image, "erofs", glibc, SCRIPT, annotations=ALL, readonly=True)
    spec = bundle.spec
    spec["mounts"].append(
        {
            "destination": "/etc/nvidia",
            "type": "bind",
            "source": str(volume),
            "options": ["rbind", "ro"],
        }
    )
    bundle.write(spec)
    result = node.run(bundle)
    assert result.stdout.splitlines() == SEEN, result
    warnings = node.shim.warnings.splitlines()
    assert len(warnings) == 1, warnings
    assert "update-application-profile" in warnings[0]


@real_roots
@pytest.mark.parametrize("end", ["delete --force", "the runtime is killed", "the init is killed"])
def test_however_it_ends_nothing_stays(node: Node, glibc: Path, image: Maker, end: str) -> None:
    """The fixture looks for mounts, processes and loop devices; the next create works."""
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = on_image(node, image, "erofs", glibc, "sleep 100", annotations=ALL)
    before = leaks.mounts()
    argv = node.shim.argv("run", "--bundle", str(bundle.path), node.container)
    with subprocess.Popen(
        argv, env=node.shim.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as running:
        deadline = time.monotonic() + 60
        while '"running"' not in node.shim.call("state", node.container).stdout:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if end == "the runtime is killed":
            running.kill()
        if end == "the init is killed":
            state = json.loads(node.shim.call("state", node.container).stdout)
            os.kill(state["pid"], signal.SIGKILL)
        else:
            deleted = node.shim.delete(node.container)
            # `run` in the foreground deletes what ended, too, and may be the first.
            assert deleted.returncode == 0 or end == "delete --force", deleted
    node.shim.delete(node.container)
    assert node.shim.call("state", node.container).returncode != 0
    assert leaks.mounts() == before
    assert node.shim.create(bundle, node.container).returncode == 0


@only_runc
def test_everything_killed(node: Node, glibc: Path, image: Maker) -> None:
    """A machine's crash in small: the container's processes go without anybody deleting it."""
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = on_image(node, image, "erofs", glibc, "sleep 100", annotations=ALL)
    before = leaks.mounts()
    assert node.shim.create(bundle, node.container).returncode == 0
    for line in leaks.processes():
        os.kill(int(line.split()[1]), signal.SIGKILL)
    assert leaks.mounts() == before
    node.shim.delete(node.container)
    assert node.shim.create(bundle, node.container).returncode == 0


@only_runc
def test_many_at_once(node: Node, glibc: Path, image: Maker) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    first = on_image(node, image, "erofs", glibc, "sleep 100", annotations=ALL, readonly=True)
    names = [f"{node.container}-{number}" for number in range(60)]
    before = leaks.mounts()
    results = []

    def create(name: str) -> None:
        bundle = type(first)(node.folder / name)
        spec = first.spec
        spec["root"]["path"] = str(first.rootfs)
        spec["linux"]["cgroupsPath"] = f"/{name}"
        bundle.write(spec)
        results.append(node.shim.create(bundle, name))

    for start in range(0, len(names), 20):
        threads = [
            threading.Thread(target=create, args=(name,)) for name in names[start : start + 20]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert leaks.mounts() == before
    for name in names:
        node.shim.delete(name)
    assert [result.returncode for result in results] == [0] * len(names), results


@only_runc
def test_one_overlay_too_many(node: Node, glibc: Path) -> None:
    """The kernel stacks two; where the engine has used both up, create says so and leaves nothing."""
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(None, SCRIPT, annotations=ALL, readonly=True)
    lower, inner = glibc, node.folder / "inner"
    stack = []
    for target in (inner, bundle.rootfs):
        target.mkdir()
        options = f"lowerdir={lower}:{node.folder}"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "engine", target], check=True)
        stack.append(target)
        lower = target
    before = bundle.config.read_bytes()
    try:
        result = node.run(bundle)
        assert result.returncode == 1
        assert f"no layer over {bundle.rootfs}: " in result.stderr
        assert "one too many" in result.stderr
        assert bundle.config.read_bytes() == before
    finally:
        for target in reversed(stack):
            subprocess.run(["umount", target], check=True)
