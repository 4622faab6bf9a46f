#!/usr/bin/env python3
"""Podman's own CDI as an OCI runtime: run, create and delete of a bundle's cdi.k8s.io devices.

For the kit's areas cdi and cdi-files, which ask for devices and look at the container. Podman has
containers of its own: what the bundle's config.json says of namespaces and limits is left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

CDI = "cdi.k8s.io/"
VALUED = ("--root", "--log", "--log-format", "--bundle", "--pid-file")


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
        with open(f"{values.get('--bundle', '.')}/config.json", encoding="utf-8") as file:
            spec = json.load(file)
        flags = ["--rm"] if command == "run" else []
        status = subprocess.call([
            *podman, command, *flags, "--name", name, *container(spec), "--rootfs",
            f"{os.path.abspath(values.get('--bundle', '.'))}/rootfs", *spec["process"]["args"],
        ], stdout=None if command == "run" else subprocess.DEVNULL)
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


def parse(argv: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the words and the flags' values."""
    words: list[str] = []
    values: dict[str, str] = {}
    index = 0
    while index < len(argv):
        arg = argv[index]
        flag, equals, value = arg.partition("=")
        if flag in VALUED:
            values[flag] = value if equals else argv[index + 1]
            index += not equals
        elif not arg.startswith("-"):
            words.append(arg)
        index += 1
    return words, values


def storage(root: str) -> list[str]:
    """Return flags that keep podman's files below the runtime's --root."""
    return [
        f"--root={root}/storage", f"--runroot={root}/run", f"--tmpdir={root}/tmp",
        "--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none",
        "--runtime=runc", "--log-level=error",
    ]


def container(spec: dict[str, Any]) -> list[str]:
    """Return podman's flags for what the kit's bundles differ in."""
    names = [name for key, value in spec.get("annotations", {}).items() if key.startswith(CDI)
             for name in value.split(",")]
    user = spec["process"]["user"]
    hooks = [flag for name in names for flag in ("--device", name)]
    return [
        *hooks, "--network=none", "--cgroups=no-conmon", "--log-driver=none", "--pids-limit=0",
        f"--user={user['uid']}:{user['gid']}", "--ulimit=nofile=1024:1024",
        "--ulimit=nproc=1024:1024",
        *(flag for text in spec["process"]["env"] for flag in ("--env", text)),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
