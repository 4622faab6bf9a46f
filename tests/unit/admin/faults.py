"""A node with each fault that the doctor has a name for, made in a few lines."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING

from tests.unit.admin.nodes import SPEC, Tree
from tests.unit.admin.test_doctor_engines import FORGETFUL, PASSES, with_containerd
from tests.unit.admin.test_doctor_leftovers import MOUNTS
from tests.unit.admin.test_doctor_nvidia import with_gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocishim.admin.checks.node import Node

RUNC = 'runtimes = ["runc"]\n'


def edits(tree: Tree, text: str) -> Node:
    """Let the node's spec have these edits, too."""
    tree.write("/etc/cdi/acme.yaml", f"{SPEC}    {text}\n")
    return tree.node()


def written(tree: Tree, path: str, text: str = "") -> Node:
    tree.write(path, text)
    return tree.node()


def runtime(tree: Tree, version: str, config: str = "") -> Node:
    tree.tells("/usr/bin/runc", version)
    return tree.node(config=config)


def mode(tree: Tree, path: str, bits: int) -> Node:
    node = tree.node()
    os.chmod(tree.root / path, bits)
    return node


def engine(tree: Tree, name: str, path: str = "", text: str = "") -> Node:
    tree.tells(f"/usr/bin/{name}", f"{name} version 4.3.1")
    if path:
        tree.write(path, text)
    return tree.node()


def conflict(tree: Tree) -> Node:
    shutil.copy(tree.root / "etc/cdi/acme.yaml", tree.root / "etc/cdi/twin.yaml")
    return tree.node()


def no_spec(tree: Tree) -> Node:
    (tree.root / "etc/cdi/acme.yaml").unlink()
    return tree.node()


def char_links(tree: Tree) -> Node:
    (tree.root / "run/systemd/system").mkdir(parents=True)
    os.mknod(tree.root / "dev/acme0", 0o20600, os.makedev(1, 3))
    return edits(tree, "deviceNodes: [{path: /dev/acme0}]")


def no_log(tree: Tree) -> Node:
    (tree.root / "dev/log").unlink()
    return tree.node()


def ldconfig(tree: Tree, text: bytes | None) -> Node:
    file = tree.root / "sbin/ldconfig"
    file.unlink()
    if text is not None:
        file.write_bytes(text)
    return tree.node()


def overlay(tree: Tree) -> Node:
    tree.write("/proc/filesystems", "\text4\n")
    return tree.node(config=RUNC + '[hooks]\nreadonly_rootfs = "overlay"\n')


def forged(tree: Tree) -> Node:
    tree.tells("/usr/bin/podman", "podman version 4.3.1")
    return tree.node(config=RUNC + "[requests]\npodman_annotations = true\n")


def itself(tree: Tree) -> Node:
    tree.tells("/usr/local/lib/x/pyshim", "")
    os.symlink("/usr/local/lib/x/pyshim", tree.root / "usr/bin/oci")
    return tree.node(config='runtimes = ["oci"]\n')


def installation(tree: Tree) -> Node:
    (tree.root / "usr/local/lib/pyshim").mkdir(parents=True)
    return tree.node()


def cache(tree: Tree) -> Node:
    (tree.root / "run/pyshim").mkdir(parents=True, mode=0o755)
    os.chmod(tree.root / "run/pyshim", 0o755)
    return tree.node()


def gpu(tree: Tree, *missing: str, **how: bool) -> Node:
    with_gpu(tree, **how)
    for path in missing:
        (tree.root / path).unlink()
    return tree.node()


def other_versions(tree: Tree) -> Node:
    with_gpu(tree)
    tree.write("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.550.1.1")
    (tree.root / "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.570.86.15").unlink()
    return tree.node()


def other_fabric(tree: Tree) -> Node:
    with_gpu(tree, switch=True)
    tree.tells("/usr/bin/nv-fabricmanager", "Fabric Manager version is : 570.1.1")
    tree.process(7, comm="nv-fabricmanage\n")
    return tree.node()


def no_cdi(tree: Tree) -> Node:
    with_containerd(tree, annotations="")
    path = tree.root / "etc/containerd/config.toml"
    table = "[plugins.'io.containerd.cri.v1.runtime']\nenable_cdi = false\n"
    path.write_text(path.read_text().replace("version = 3\n", f"version = 3\n{table}"))
    return tree.node()


def imports(tree: Tree) -> Node:
    with_containerd(tree)
    tree.write("/etc/containerd/config.toml", FORGETFUL)
    cri = 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "pause"\n'
    tree.write("/etc/containerd/more.toml", cri)
    return tree.node()


def switched_off(tree: Tree) -> Node:
    with_containerd(tree)
    path = tree.root / "etc/containerd/config.toml"
    path.write_text('disabled_plugins = ["cri"]\n' + path.read_text())
    return tree.node()


def not_restarted(tree: Tree) -> Node:
    with_containerd(tree)
    tree.write("/proc/stat", f"btime {int(time.time()) - 1000}\n")
    stat = "7 (containerd) S " + " ".join(["0"] * 18) + " 50 0\n"
    tree.process(7, comm="containerd\n", stat=stat)
    return tree.node()


DOCKER = json.dumps({"runtimes": {"pyshim": {"path": "/usr/bin/runc"}}, "default-runtime": "gone"})
FAULTS: dict[str, Callable[[Tree], Node]] = {
    "kernel": lambda tree: tree.node("5.5.0"),
    "memfd-noexec": lambda tree: written(tree, "/proc/sys/vm/memfd_noexec", "2\n"),
    "overlayfs": overlay,
    "installation": installation,
    "configuration": lambda tree: tree.node(config="runtime = 7\n"),
    "configuration-writable": lambda tree: mode(tree, "etc/pyshim/config.toml", 0o666),
    "runtime": lambda tree: tree.node(config='runtimes = ["not-here"]\n'),
    "runtime-itself": itself,
    "runtime-unknown": lambda tree: runtime(tree, "hello"),
    "runtime-environment": lambda tree: runtime(tree, "runc version 1.1.5"),
    "runtime-readonly": lambda tree: runtime(tree, "crun version 1.8.1"),
    "hooks-executor": lambda tree: runtime(tree, "runsc version release-20240729.0", RUNC + '[hooks]\nexecutor = "runtime"\n'),
    "ldconfig": lambda tree: ldconfig(tree, b"#!/bin/sh\n"),
    "ldconfig-none": lambda tree: ldconfig(tree, None),
    "log": no_log,
    "metrics": lambda tree: tree.node(config=RUNC + '[log]\nmetrics = "/var/lib/none/x.prom"\n'),
    "cache": cache,
    "layers": lambda tree: written(tree, "/proc/1/mountinfo", MOUNTS),
    "spec-dir": lambda tree: written(tree, "/var/run/cdi"),
    "spec-dir-writable": lambda tree: mode(tree, "etc/cdi", 0o777),
    "spec-writable": lambda tree: mode(tree, "etc/cdi/acme.yaml", 0o646),
    "spec-ignored": lambda tree: written(tree, "/etc/cdi/other.yml", SPEC.replace("acme.com", "b.com")),
    "spec-rejected": lambda tree: written(tree, "/etc/cdi/bad.yaml", "cdiVersion: 9.9.9\n"),
    "spec-conflict": conflict,
    "spec-none": no_spec,
    "spec-device-gone": lambda tree: edits(tree, "deviceNodes: [{path: /dev/gone}]"),
    "spec-hook-gone": lambda tree: edits(tree, "hooks: [{hookName: createContainer, path: /opt/gone}]"),
    "spec-stale": lambda tree: edits(tree, "mounts: [{hostPath: /usr/lib/gone.so, containerPath: /a, options: [bind]}]"),
    "spec-mount-type": lambda tree: edits(tree, "mounts: [{hostPath: /usr, containerPath: /a}]"),
    "spec-mount-source": lambda tree: edits(tree, "mounts: [{hostPath: usr/a.so, containerPath: /a, options: [bind]}]"),
    "char-links": char_links,
    "engine-configuration": lambda tree: engine(tree, "dockerd", "/etc/docker/daemon.json", "{"),
    "engine-unregistered": lambda tree: engine(tree, "containerd"),
    "engine-program": lambda tree: with_containerd(tree, installed=False),
    "engine-default": lambda tree: engine(tree, "dockerd", "/etc/docker/daemon.json", DOCKER),
    "engine-restart": not_restarted,
    "default-runtime": lambda tree: with_containerd(tree, default="runc"),
    "containerd-cri": switched_off,
    "containerd-imports": imports,
    "containerd-annotations": lambda tree: with_containerd(tree, annotations=""),
    "containerd-pod-annotations": lambda tree: with_containerd(tree, annotations=PASSES + '\npod_annotations = ["cdi.k8s.io/*"]'),
    "containerd-cdi": no_cdi,
    "podman-annotations": forged,
    "nvidia-module": lambda tree: gpu(tree, driver=False),
    "nvidia-nodes": lambda tree: gpu(tree, "dev/nvidia-uvm"),
    "nvidia-library": lambda tree: gpu(tree, "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"),
    "nvidia-version": other_versions,
    "nvidia-fabricmanager": lambda tree: gpu(tree, switch=True),
    "nvidia-fabricmanager-version": other_fabric,
    "nvidia-persistence": lambda tree: gpu(tree, "run/nvidia-persistenced/socket"),
}  # fmt: skip
"""By the finding's name; those that need this machine itself are ELSEWHERE's."""
ELSEWHERE = {
    *("hook-program", "spec-refused", "check-failed"),
    *(
        "spec-driver",
        "spec-gpu-gone",
        "spec-gpu-new",
        "spec-mig",
        "spec-mig-new",
        "nvidia-node-number",
    ),  # test_doctor_gpus.py
}
