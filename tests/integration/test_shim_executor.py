"""createContainer hooks run by pyshim itself, before runc: what they see, and what stays."""

from __future__ import annotations

import contextlib
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

from tests.conftest import need
from tools.lab import driver, images
from tools.lab.driver import MULTIARCH
from tools.lab.shim import Shim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Node
    from tools.lab.bundle import Bundle

pytestmark = pytest.mark.root

ALL = {"cdi.k8s.io/test": "nvidia.com/gpu=all"}
LIB = f"/usr/lib/{MULTIARCH}"
_PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.fixture
def lowlevel(lowlevels: dict[str, Path]) -> Path:
    """runc, which would run the hooks itself: they must run once, by pyshim."""
    need("runc")
    return lowlevels["runc"]


@pytest.fixture(autouse=True)
def _executor(shim: Shim) -> None:
    shim.configure({"hooks.executor": "shim"})


def hook(script: str, **members: object) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": [_PATH], **members}


def bundle_with(node: Node, tree: Path, *hooks: dict[str, Any], **options: Any) -> Bundle:
    return node.bundle(tree, "true", hooks={"createContainer": list(hooks)}, **options)


def seen(node: Node, tree: Path, script: str, **options: Any) -> str:
    """What a hook's `script` prints."""
    out = node.folder / "out"
    node.folder.chmod(0o755)
    edit = options.pop("edit", None)
    bundle = bundle_with(node, tree, hook(f"( {script} ) > {out} 2>&1"), **options)
    if edit:
        spec = bundle.spec
        edit(spec)
        bundle.write(spec)
    result = node.shim.create(bundle, node.container)
    assert result.returncode == 0, result
    return out.read_text()


def test_a_program_loads_the_driver_by_name(node: Node, glibc: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(glibc, "load libcuda.so.1 libvdpau_nvidia.so.1", annotations=ALL)
    result = node.run(bundle)
    assert result.stdout.splitlines() == [
        f"libcuda.so.1 => {LIB}/libcuda.so.1",
        f"libvdpau_nvidia.so.1 => {LIB}/vdpau/libvdpau_nvidia.so.1",
    ], result


def test_a_second_create_changes_nothing(node: Node, glibc: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(glibc, "true", annotations=ALL, hooks={"createContainer": [hook("true")]})
    assert node.shim.create(bundle, node.container).returncode == 0
    node.shim.delete(node.container)
    edited, inode = bundle.config.read_bytes(), bundle.config.stat().st_ino
    assert node.shim.create(bundle, node.container).returncode == 0
    assert (bundle.config.read_bytes(), bundle.config.stat().st_ino) == (edited, inode)


def test_the_engines_hooks_run_again_on_another_create(node: Node, busybox: Path) -> None:
    bundle = bundle_with(node, busybox, hook("echo x >> runs"))
    for _ in range(2):
        assert node.shim.create(bundle, node.container).returncode == 0
        node.shim.delete(node.container)
    assert (bundle.rootfs / "runs").read_text() == "x\nx\n"


def test_known_and_unknown_hooks_keep_their_order(node: Node, busybox: Path) -> None:
    def link(name: str) -> dict[str, Any]:
        args = ["nvidia-cdi-hook", "create-symlinks", "--link", f"target::/{name}"]
        return {"path": "/usr/bin/nvidia-cdi-hook", "args": args}

    look = "ls -d one two three 2>/dev/null | tr '\\n' ' ' >> order; echo >> order"
    bundle = bundle_with(
        node, busybox, hook(look), link("one"), hook(look), link("two"), link("three"), hook(look)
    )
    assert node.run(bundle).returncode == 0
    assert (bundle.rootfs / "order").read_text() == "\none \none three two \n"


def test_state(node: Node, busybox: Path) -> None:
    text = seen(node, busybox, "cat", annotations={"a": "b"})
    assert json.loads(text) == {
        "ociVersion": "1.0.2", "id": node.container, "status": "creating",
        "bundle": str(node.folder / "bundle"), "annotations": {"a": "b"},
    }  # fmt: skip


def test_working_directory_is_the_rootfs(node: Node, busybox: Path) -> None:
    assert seen(node, busybox, "pwd -P; stat -c %i . ../rootfs").split() == [
        str(node.folder / "bundle/rootfs"),
        *[str((node.folder / "bundle/rootfs").stat().st_ino)] * 2,
    ]


def test_the_process_that_runs_them_holds_nothing_of_the_engine(node: Node, busybox: Path) -> None:
    """The hook's parent: descriptors, environment, standard streams."""
    node.folder.chmod(0o755)
    out = node.folder / "out"
    script = f"""
        read -r self rest < /proc/self/stat  # numbered by the host's /proc
        while read -r key value; do [ $key != PPid: ] || parent=$value; done < /proc/$self/status
        {{ ls -l /proc/$parent/fd | sed 's/.* -> //'; echo; cat /proc/$parent/environ; }} > {out}
    """
    node.shim.environment["SECRET_OF_THE_ENGINE"] = "x"
    with (node.folder / "engines").open("w") as engines:
        bundle = bundle_with(node, busybox, hook(script))
        words = ("create", "--bundle", str(bundle.path), node.container)
        result = node.shim.call(*words, pass_fds=(engines.fileno(),))
    assert result.returncode == 0, result
    links, _, environment = out.read_text().partition("\n\n")
    assert environment.strip("\0") == ""
    found = {link.rstrip("0123456789[]") for link in links.splitlines()[1:]}
    ours = {"/dev/null", str(bundle.rootfs), "/memfd:state (deleted)", "pipe:", "anon_inode:[pidfd"}
    assert found == ours


UNIFIED = Path("/sys/fs/cgroup/cgroup.controllers").exists()
HIERARCHIES = ("",) if UNIFIED else ("cpu", "memory", "pids", "devices")
LIMITS = {
    "cpu": {"quota": 5000, "period": 100000},
    "memory": {"limit": 256 << 20},
    "pids": {"limit": 50},
    "devices": [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
    ],
}


@pytest.mark.parametrize(("path", "parent"), [
    pytest.param("", "", id="below the caller's"),
    pytest.param("/{}/container", "/{}", id="beside the container's"),
    pytest.param("/no/such/folder/container", "", id="whose folder is not there"),
    pytest.param("{}.slice:cri:container", "/{}.slice", id="systemd's"),
])  # fmt: skip
def test_in_a_group_with_the_containers_limits(
    node: Node, busybox: Path, path: str, parent: str
) -> None:
    """And under its device rules; nothing is left of it."""
    own = f"pyshimtest{os.getpid()}"  # a dash would be a slice in a slice
    path, parent = path.format(own), parent.format(own)
    script = """
        cat /proc/self/cgroup; for device in kmsg null; do
            (: < /dev/$device) 2>/dev/null && echo $device opens || echo $device does not; done"""
    with _groups(parent):
        found = seen(node, busybox, script, edit=lambda spec: _limit(spec, path)).splitlines()
        node.shim.delete(node.container)
    assert found[-2:] == ["kmsg does not", "null opens"]
    groups = dict(line.split(":", 2)[1:] for line in found[:-2])
    for hierarchy in HIERARCHIES:
        above, name = groups[hierarchy].rsplit("/", 1)
        assert name.startswith("pyshim-hooks-")
        assert not parent or above == parent
        assert not Path(f"/sys/fs/cgroup/{hierarchy}{above}/{name}").exists()


def _limit(spec: dict[str, Any], path: str) -> None:
    spec["linux"]["resources"] = LIMITS
    spec["linux"]["cgroupsPath"] = path
    if not path:
        del spec["linux"]["cgroupsPath"]


@contextlib.contextmanager
def _groups(path: str) -> Iterator[None]:
    """The folder `path`, if it is one, in every hierarchy."""
    for hierarchy in HIERARCHIES if path else ():
        Path(f"/sys/fs/cgroup/{hierarchy}{path}").mkdir()
    try:
        yield
    finally:
        for folder in (
            Path("/sys/fs/cgroup").glob(path[1:] if UNIFIED else f"*{path}") if path else ()
        ):
            folder.rmdir()


def test_an_engine_that_waits_for_no_child(node: Node, busybox: Path) -> None:
    """SIGCHLD ignored: hooks are waited for, and the runtime has it as the engine had."""
    seen = node.folder / "signals"
    scripts = {
        "engine": f'#!/bin/sh\nexec env --ignore-signal=CHLD {node.shim.program} "$@"\n',
        # A shell would change it.
        "runc": f"#!/usr/bin/python3 -IS\nimport os, sys\nopen({str(seen)!r}, 'w').write("
        "open('/proc/self/status').read().partition('SigIgn:')[2].split()[0])\n"
        f"os.execv({node.shim.lowlevel!r}, sys.argv)\n",
    }
    for name, text in scripts.items():
        (node.folder / name).write_text(text)
        (node.folder / name).chmod(0o755)
    node.shim.program = str(node.folder / "engine")
    node.shim.lowlevel = str(node.folder / "runc")
    node.shim.configure({"hooks.executor": "shim"})
    bundle = bundle_with(node, busybox, hook("exit 3"))
    assert "exit status 3" in node.shim.create(bundle, node.container).stderr
    bundle.write({**bundle.spec, "hooks": {"createContainer": [hook("exit 0")]}})
    result = node.shim.create(bundle, node.container)
    assert result.returncode == 0, result
    ignored = int(seen.read_text(), 16)
    assert ignored >> (signal.SIGCHLD - 1) & 1


def test_no_descriptor_of_the_engine_is_passed_on(node: Node, busybox: Path) -> None:
    out = node.folder / "out"
    bundle = bundle_with(node, busybox, hook(f"ls /proc/self/fd > {out}"))
    fd = os.open("/", os.O_RDONLY)
    result = node.shim.call("create", "--bundle", str(bundle.path), node.container, pass_fds=(fd,))
    os.close(fd)
    assert result.returncode == 0, result
    assert out.read_text().split() == ["0", "1", "2", "3"]


def test_mounts_of_the_container_are_seen(node: Node, busybox: Path) -> None:
    folder, file = node.folder / "volume", node.folder / "file"
    (folder / "sub").mkdir(parents=True)
    file.write_text("content\n")
    bind = {"type": "bind", "options": ["rbind"]}
    bundle = bundle_with(
        node,
        busybox,
        hook(
            "cat mnt/file; ls mnt; echo x > mnt/rw/made; echo x 2>&1 > mnt/ro/made; "
            "echo x 2>&1 > tmp/made; ls tmp; ls -A dev",
            timeout=5,
        ),
    )
    spec = bundle.spec
    script = spec["hooks"]["createContainer"][0]["args"]
    script[2] = f"( {script[2]} ) > {node.folder}/out 2>&1"
    spec["mounts"] += [
        {"destination": "/mnt/rw", "source": str(folder), **bind},
        {"destination": "mnt/ro", "source": str(folder), "type": "bind", "options": ["bind", "ro"]},
        {"destination": "/mnt/file", "source": str(file), **bind},
        {"destination": "/tmp", "source": "tmpfs", "type": "tmpfs"},
        {"destination": "/proc/uptime", "source": str(file), **bind},
    ]
    spec["linux"]["devices"] = [{"path": "/dev/acme0", "type": "c", "major": 1, "minor": 3}]
    bundle.write(spec)
    assert node.shim.create(bundle, node.container).returncode == 0
    lines = (node.folder / "out").read_text().splitlines()
    assert lines[:4] == ["content", "file", "ro", "rw"]
    assert "Read-only file system" in lines[4]
    assert lines[5:] == ["made", "acme0", "shm"]
    assert (folder / "made").exists()
    assert not (bundle.rootfs / "tmp/made").exists()
    assert not (bundle.rootfs / "dev/acme0").exists()


def test_mount_points_do_not_leave_the_rootfs(node: Node, busybox: Path) -> None:
    outside = node.folder / "outside"
    outside.mkdir()
    bundle = bundle_with(node, busybox, hook("true"))
    (bundle.rootfs / "opt").symlink_to("../../../../../../.." + str(outside))
    spec = bundle.spec
    spec["mounts"].append(
        {
            "destination": "/opt/made",
            "source": "/etc/hostname",
            "type": "bind",
            "options": ["bind"],
        }
    )
    bundle.write(spec)
    node.shim.create(bundle, node.container)
    assert not list(outside.iterdir())


def test_namespaces_are_the_containers_kind(node: Node, busybox: Path) -> None:
    """A hook that renames the host or looks for interfaces means the container's."""
    before = os.uname().nodename
    names = ("mnt", "pid", "uts", "ipc", "net")
    text = seen(node, busybox, "hostname changed; cd /proc/self/ns; readlink " + " ".join(names))
    assert os.uname().nodename == before
    for name, line in zip(names, text.split(), strict=True):
        assert line != os.readlink(f"/proc/self/ns/{name}")


def test_a_shared_network_is_joined(node: Node, busybox: Path) -> None:
    with subprocess.Popen(
        ["unshare", "-n", "sh", "-c", "echo; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        path = f"/proc/{other.pid}/ns/net"
        bundle = bundle_with(node, busybox, hook(f"readlink /proc/self/ns/net > {node.folder}/out"))
        spec = bundle.spec
        spaces = [ns for ns in spec["linux"]["namespaces"] if ns["type"] != "network"]
        spec["linux"]["namespaces"] = [*spaces, {"type": "network", "path": path}]
        bundle.write(spec)
        assert node.shim.create(bundle, node.container).returncode == 0
        assert (node.folder / "out").read_text().strip() == os.readlink(path)
        other.communicate(b"\n")


def test_files_belong_to_the_containers_root(node: Node, glibc: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml", _without_devices)
    script = "stat -c '%u %g' /etc/ld.so.cache /made; load libcuda.so.1"
    bundle = node.bundle(
        glibc,
        script,
        annotations=ALL,
        user_namespace=True,
        hooks={"createContainer": [hook("id -u > made")]},
    )
    bundle.give_to(200000)
    result = node.run(bundle)
    assert result.stdout.splitlines() == [
        "0 0",
        "0 0",
        f"libcuda.so.1 => {LIB}/libcuda.so.1",
    ], result
    assert (bundle.rootfs / "made").read_text() == "0\n"
    assert (bundle.rootfs / "made").stat().st_uid == 200000


def _without_devices(document: dict[str, Any]) -> None:
    """In a user namespace runc binds the host's nodes, and this host has none."""
    for edits in driver.all_edits(document):
        edits.pop("deviceNodes", None)
        edits.setdefault("env", ["A=1"])  # edits must not be empty


@pytest.mark.parametrize("readonly", [False, True], ids=["folder", "layer"])
def test_a_rootfs_behind_closed_folders(
    node: Node,
    glibc: Path,
    readonly: bool,  # noqa: FBT001
) -> None:
    """The mapped root cannot walk there: by the working directory and its numbers it finds it.

    /bin/true for a runtime, because runc cannot walk there either.
    """
    node.add_spec("nvidia-dgx-a100.yaml", _without_devices)
    shim = Shim(node.folder / "true", "/bin/true", Path(node.shim.program).parent)
    shim.configure(
        {
            "hooks.executor": "shim",
            "hooks.readonly_rootfs": "overlay",
            "cdi.spec_dirs": [str(node.shim.spec_dir)],
        }
    )
    bundle = node.bundle(glibc, "", annotations=ALL, user_namespace=True, readonly=readonly)
    bundle.give_to(200000)
    node.folder.chmod(0o700)
    result = shim.create(bundle, "c1")
    assert result.returncode == 0, result
    assert (bundle.rootfs / "etc/ld.so.cache").exists() is not readonly


FAILURES = [
    pytest.param(hook("echo a; echo why >&2; exit 3"), "sh failed: exit status 3: why",
        id="status"),
    pytest.param(hook("kill -9 $$"), "sh failed: killed by signal 9", id="killed"),
    pytest.param(hook("echo here; sleep 60", timeout=1),
                 "sh failed: still running after 1 s, killed: here", id="timeout"),
    pytest.param({"path": "/no/such/hook"},
                 "hook failed: the program cannot be run: does not exist", id="missing"),
    pytest.param(
        {"path": "/x/nvidia-ctk", "args": ["nvidia-ctk", "hook", "create-symlinks", "--link", "a::/etc"]},
        "create-symlinks failed: /etc -> a: 'etc' is a directory", id="known"),
]  # fmt: skip


@pytest.mark.parametrize(("failing", "message"), FAILURES)
def test_a_failure_is_told_once(
    node: Node,
    busybox: Path,
    failing: dict[str, Any],
    message: str,
) -> None:
    bundle = bundle_with(node, busybox, hook("sleep 50 & true"), failing, hook("touch late"))
    before = bundle.config.read_bytes()
    log = node.folder / "log.json"
    result = node.shim.call(
        "--log",
        str(log),
        "--log-format",
        "json",
        "create",
        "--bundle",
        str(bundle.path),
        node.container,
    )
    assert result.returncode == 1
    assert result.stderr == f"pyshim: createContainer hook {message}\n"
    record = json.loads(log.read_text())
    assert (record["level"], record["msg"]) == ("error", result.stderr.strip())
    assert bundle.config.read_bytes() == before
    assert not (bundle.rootfs / "late").exists()


OUTLIVING = [
    pytest.param("sleep {mark}", id="a child in front"),
    pytest.param("sleep {mark} & wait", id="a child behind"),
    pytest.param("setsid sleep {mark} & wait", id="a child in another session"),
    pytest.param("trap '' TERM INT HUP; sleep {mark} & while :; do wait; done", id="deaf"),
    pytest.param("sleep {mark} & kill -STOP $$", id="stopped"),
    pytest.param("setsid sh -c 'kill -STOP $$' & sleep {mark}", id="a stopped child"),
    pytest.param("yes", id="talking"),
]


@pytest.mark.parametrize("script", OUTLIVING)
def test_nothing_outlives_the_timeout(node: Node, busybox: Path, script: str) -> None:
    mark = f"61.{os.getpid()}"
    bundle = bundle_with(node, busybox, hook(script.replace("{mark}", mark), timeout=1))
    begun = time.monotonic()
    result = node.shim.create(bundle, node.container)
    assert time.monotonic() - begun < 50
    assert result.returncode == 1
    said = "pyshim: createContainer hook sh failed: still running after 1 s, killed"
    assert result.stderr.startswith(said), result
    assert f"sleep\0{mark}".encode() not in b"".join(_command_lines())


def test_the_process_that_runs_them_is_not_waited_for_either(node: Node, busybox: Path) -> None:
    """Stopped by somebody, or stuck at a mount that never answers: its own clock stands still."""
    node.folder.chmod(0o755)
    out = node.folder / "out"
    script = f"grep PPid /proc/self/status > {out}; sleep 500"
    bundle = bundle_with(node, busybox, hook(script, timeout=1))
    stopped = threading.Thread(target=_stop_the_parent, args=(out,))
    stopped.start()
    begun = time.monotonic()
    result = node.shim.create(bundle, node.container)
    stopped.join()
    assert result.returncode == 1
    assert result.stderr == "pyshim: createContainer hooks: not done after 6 s, killed\n"
    assert time.monotonic() - begun < 120


def _stop_the_parent(out: Path) -> None:
    """Stop the process whose child's child wrote `out`, a line of /proc/PID/status."""
    while not out.exists() or not out.read_text().endswith("\n"):
        time.sleep(0.01)
    shell = Path(f"/proc/{out.read_text().split()[1]}/status").read_text()
    [parent] = [line.split()[1] for line in shell.splitlines() if line.startswith("PPid:")]
    os.kill(int(parent), signal.SIGSTOP)


def _command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes()


def test_a_hook_without_timeout_gets_the_configured_one(node: Node, busybox: Path) -> None:
    node.shim.configure({"hooks.executor": "shim", "hooks.timeout": 1})
    result = node.shim.create(bundle_with(node, busybox, hook("sleep 60")), node.container)
    assert result.returncode == 1
    assert "createContainer hook sh failed: still running after 1 s, killed" in result.stderr


def test_what_a_hook_starts_in_the_background_ends_with_the_hooks(
    node: Node,
    busybox: Path,
) -> None:
    """Left running, it would hold the namespaces; the test's own look for leaks sees it."""
    bundle = bundle_with(node, busybox, hook("setsid sleep 100 >/dev/null 2>&1 &"))
    assert node.shim.create(bundle, node.container).returncode == 0


def test_many_at_once(node: Node, busybox: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    first = node.bundle(busybox, "true", annotations=ALL)
    bundles = []
    for number in range(20):
        bundle = type(first)(node.folder / f"bundle{number}")
        shutil.copytree(busybox, bundle.rootfs, symlinks=True)
        spec = first.spec
        spec["linux"]["cgroupsPath"] = f"/{node.container}-{number}"
        bundle.write(spec)
        bundles.append(bundle)
    results = []

    def create(number: int) -> None:
        name = f"{node.container}-{number}"
        results.append(node.shim.create(bundles[number], name))
        node.shim.delete(name)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.returncode for result in results] == [0] * 20, results
    assert all((bundle.rootfs / "etc/ld.so.cache").exists() for bundle in bundles)


def test_a_full_file_system_is_told(node: Node, busybox: Path) -> None:
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(None, "true", annotations=ALL)
    bundle.rootfs.mkdir()
    files = sum(len(folders) + len(names) for _, folders, names in os.walk(busybox))
    options = f"nr_inodes={files + 20}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", bundle.rootfs], check=True)
    try:
        shutil.copytree(busybox, bundle.rootfs, symlinks=True, dirs_exist_ok=True)
        before = bundle.config.read_bytes()
        result = node.run(bundle)
        assert result.returncode == 1
        (line,) = result.stderr.splitlines()
        assert "cannot be mounted for the hooks: " in line
        assert "No space left on device" in line
        assert bundle.config.read_bytes() == before
    finally:
        subprocess.run(["umount", bundle.rootfs], check=True)


def test_an_unknown_hook_runs_in_a_root_that_cannot_be_written(
    node: Node,
    busybox: Path,
) -> None:
    """Its own business: the known ones are skipped, and so are mount points that are not there."""
    need("mkfs.erofs")
    node.add_spec("nvidia-dgx-a100.yaml")
    bundle = node.bundle(
        None,
        "true",
        annotations=ALL,
        hooks={"createContainer": [hook(f"ls bin/sh > {node.folder}/out")]},
    )
    with images.Mounts() as mounts:
        tree = node.folder / "tree"
        shutil.copytree(busybox, tree, symlinks=True)
        node.add_mount_points(tree)
        mounts.add("erofs", tree, bundle.rootfs)
        result = node.run(bundle)
        node.shim.delete(node.container)
    assert result.returncode == 0, result
    assert (node.folder / "out").read_text() == "bin/sh\n"
    assert "CDI hooks skipped" in node.shim.warnings
