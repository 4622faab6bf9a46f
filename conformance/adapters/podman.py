#!/usr/bin/env python3
"""Podman's own CDI as an OCI runtime: run, create and delete of a bundle's cdi.k8s.io devices.

For the kit's areas cdi and cdi-files, which ask for devices and look at the container. Podman has
containers of its own: what the bundle's config.json says of namespaces and limits is left out.
"""

from __future__ import annotations

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from adapters.call import Bundle, parse


def main(argv: list[str]) -> int:
    """Do what the command line says with podman; its exit status."""
    words, values = parse(argv)
    if "--version" in argv:
        return subprocess.call(["podman", "--version"])
    if not words:
        return 1
    command, name = words[0], words[-1]
    podman = ["podman", *storage(values.get("--root", "/run/podman-adapter"))]
    if command in ("run", "create"):
        bundle = Bundle(values)
        flags = ["--rm"] if command == "run" else []
        status = subprocess.call(
            [
                *podman,
                command,
                *flags,
                "--name",
                name,
                *container(bundle),
                *("--rootfs", bundle.rootfs, *bundle.args),
            ],
            stdout=None if command == "run" else subprocess.DEVNULL,
        )
        if command == "create" and status == 0:
            # What podman calls create only writes its database; init is where CDI is applied.
            status = subprocess.call([*podman, "init", name], stdout=subprocess.DEVNULL)
            if status != 0:
                subprocess.call([*podman, "rm", "--force", name], stdout=subprocess.DEVNULL)
        return status
    if command == "state":
        return subprocess.call([*podman, "container", "exists", name])
    if command == "delete":
        return subprocess.call([*podman, "rm", "--force", name], stdout=subprocess.DEVNULL)
    return subprocess.call([*podman, command, name], stdout=subprocess.DEVNULL)


def storage(root: str) -> list[str]:
    """Return flags that keep podman's files below the runtime's --root."""
    return [
        f"--root={root}/storage",
        f"--runroot={root}/run",
        f"--tmpdir={root}/tmp",
        "--storage-driver=vfs",
        "--cgroup-manager=cgroupfs",
        "--events-backend=none",
        "--runtime=runc",
        "--log-level=error",
    ]


def container(bundle: Bundle) -> list[str]:
    """Return podman's flags for what the kit's bundles differ in."""
    return [
        *bundle.flags(),
        "--network=none",
        "--cgroups=no-conmon",
        "--log-driver=none",
        "--pids-limit=0",
        "--ulimit=nofile=1024:1024",
        "--ulimit=nproc=1024:1024",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
