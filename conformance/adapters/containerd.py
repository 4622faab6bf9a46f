#!/usr/bin/env python3
"""containerd's own CDI as an OCI runtime: run, create and delete of a bundle's cdi.k8s.io devices.

For the kit's areas cdi and cdi-files, by `ctr run --device` of containerd 2.x, which makes the same
edits as its CRI plugin. containerd is this repository's build (make containerd2), else the
machine's; each --root has a daemon of its own, which ends with the case's namespace. Containers are
ctr's: what the bundle's config.json says of namespaces, mounts and hooks is left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from adapters.call import Bundle, parse

BUILT = os.path.join(sys.path[0], "../peers/containerd2")
CONFIG = """version = 2
root = "{root}/lib"
state = "{root}/run"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime", "io.containerd.nri.v1.nri"]
[grpc]
address = "{root}/sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{root}/opt"
"""
SECONDS = 30


def main(argv: list[str]) -> int:
    """Do what the command line says with ctr; its exit status."""
    os.environ["PATH"] = f"{BUILT}:{os.environ['PATH']}"
    os.environ["CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS"] = "1"
    words, values = parse(argv)
    if "--version" in argv:
        said = subprocess.check_output(["containerd", "--version"], text=True)
        print("containerd version", said.split()[2].removeprefix("v"))
        return 0
    if not words:
        return 1
    ctr = daemon(f"{values.get('--root', '/run')}/containerd")
    command, name = words[0], words[-1]
    if command == "run":
        bundle = Bundle(values)
        flags = [
            f"--fifo-dir={values.get('--root', '/run')}/fifo",
            f"--cgroup={bundle.spec['linux']['cgroupsPath']}",
        ]
        return subprocess.call([*ctr, "run", "--rm", *flags, *container(name, bundle)])
    if command == "create":
        return subprocess.call([*ctr, "containers", "create", *container(name, Bundle(values))])
    if command == "state":
        return subprocess.call([*ctr, "containers", "info", name])
    subprocess.call([*ctr, "tasks", "delete", "--force", name], stderr=subprocess.DEVNULL)
    return subprocess.call([*ctr, "containers", "delete", name])


def daemon(root: str) -> list[str]:
    """Return ctr's command line for the daemon of `root`, which is started where there is none."""
    ctr = ["ctr", f"--address={root}/sock"]
    if os.path.exists(root):
        return ctr
    os.makedirs(root)
    config = f"{root}/config.toml"
    with open(config, "w", encoding="utf-8") as file:
        file.write(CONFIG.format(root=root))
    with open(f"{root}/log", "wb") as log:
        subprocess.Popen(
            ["containerd", "--config", config],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + SECONDS
    while subprocess.call([*ctr, "version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        if time.monotonic() > deadline:
            with open(f"{root}/log", encoding="utf-8") as file:
                sys.exit(f"containerd did not start: {file.read()[-2000:]}")
        time.sleep(0.05)
    return ctr


def container(name: str, bundle: Bundle) -> list[str]:
    """Return ctr's flags and words for what the kit's bundles differ in."""
    return [*bundle.flags(), "--rootfs", bundle.rootfs, name, *bundle.args]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
