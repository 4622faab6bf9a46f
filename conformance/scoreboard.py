#!/usr/bin/env python3
"""Measures the runtimes of this machine and writes scoreboard.md: areas by runtimes.

scoreboard.py [--only NAME]... --results FOLDER: each runtime's cases are kept in FOLDER as JSON and
only measured when they are not there. Everything is a call of run.py, nothing is typed by hand.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
GVISOR = "--network=none --ignore-cgroups --platform=ptrace --overlay2=none"
# crun refuses hybrid cgroups, so its kit sees cgroup2 alone, and crun leaves cgroups alone.
CGROUP2 = (
    "unshare",
    "-m",
    "--propagation",
    "private",
    "sh",
    "-c",
    'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"',
    "sh",
)
CDI = ("cdi", "cdi-files")


@dataclasses.dataclass(frozen=True)
class Column:
    """One runtime of the table, and how run.py is called for it."""

    name: str
    runtime: str
    flags: tuple[str, ...] = ()
    hook: str = "peers/nvidia-cdi-hook"
    settings: str = ""
    lowlevel: str = ""
    before: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()


def shim(
    name: str,
    lowlevel: str,
    *flags: str,
    settings: str = "",
    before: tuple[str, ...] = (),
) -> Column:
    return Column(
        name, ".venv/bin/pyshim", flags, ".venv/bin/pyshim-hook", settings, lowlevel, before
    )


NO_CGROUP = ("--lacks", "cgroup")
COLUMNS = (
    shim("pyshim/runc", "runc"),
    shim("pyshim-overlay/runc", "runc", settings='[hooks]\nreadonly_rootfs = "overlay"\n'),
    shim("pyshim/crun", "crun --cgroup-manager=disabled", *NO_CGROUP, before=CGROUP2),
    shim("pyshim/runsc", f"runsc {GVISOR}", *NO_CGROUP),
    # `youki run` waits forever for a container that ended too soon: create and start instead.
    shim("pyshim/youki", "youki", "--by-create"),
    Column("youki", "youki", ("--by-create",)),
    Column("runc", "runc"),
    Column(
        "crun", "crun", ("--runtime-args=--cgroup-manager=disabled", *NO_CGROUP), before=CGROUP2
    ),
    Column("runsc", "runsc", (f"--runtime-args={GVISOR}", *NO_CGROUP)),
    Column("nvidia/runc", "peers/nvidia-container-runtime.cdi", ("--by-create",)),
    Column("podman", "conformance/adapters/podman.py", areas=CDI),
    Column("containerd", "conformance/adapters/containerd.py", areas=CDI),
)


def program(name: str) -> str:
    """Return the path of a program of the repository, or of the newest one of that name."""
    for folder in ("runsc-backports/unpacked/usr/bin", "youki"):
        if os.path.exists(f"{ROOT}/build/{folder}/{name}"):
            return f"{ROOT}/build/{folder}/{name}"
    return f"{ROOT}/{name}" if "/" in name else name


def configuration(column: Column, folder: str) -> str:
    """Write pyshim's configuration, and the low-level runtime's flags as a program; its path."""
    words = column.lowlevel.split()
    lowlevel = f"{folder}/bin-{column.name.replace('/', '-')}/{words[0]}"
    os.makedirs(os.path.dirname(lowlevel), exist_ok=True)
    with open(lowlevel, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {" ".join([program(words[0]), *words[1:]])} "$@"\n')
    os.chmod(lowlevel, 0o755)
    path = f"{os.path.dirname(lowlevel)}/config.toml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'runtimes = ["{lowlevel}"]\n{column.settings}')
    return path


def measure(column: Column, folder: str, *flags: str) -> None:
    """Run the kit; keep its JSON in `folder`."""
    command = [
        *column.before,
        sys.executable,
        f"{HERE}/run.py",
        "--json",
        "--name",
        column.name,
        "--runtime",
        program(column.runtime),
        "--hook",
        program(column.hook),
        "--patience",
        "10",
        *column.flags,
        *flags,
        *(flag for area in column.areas for flag in ("--area", area)),
    ]
    env = dict(os.environ)
    if column.lowlevel:
        env["PYSHIM_CONFIG"] = configuration(column, folder)
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode in (0, 1) and done.stdout:
        with open(result(column, folder), "w", encoding="utf-8") as file:
            file.write(done.stdout)


def result(column: Column, folder: str) -> str:
    """Return where a runtime's cases are kept."""
    return f"{folder}/{column.name.replace('/', '-').replace(' ', '-')}.json"


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--results", default=f"{ROOT}/build/conformance", metavar="FOLDER")
    parser.add_argument("--brief", action="store_true", help="the first case of each kind only")
    parser.add_argument("--only", action="append", help="measure this one, again; the rest is kept")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    os.makedirs(arguments.results, exist_ok=True)
    found = []
    for column in COLUMNS:
        path = result(column, arguments.results)
        if column.name in (arguments.only or ()) or not (arguments.only or os.path.exists(path)):
            measure(column, arguments.results, *["--brief"] * arguments.brief)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found.append(json.load(file))
    from kit.table import table  # noqa: PLC0415 (it is the only one that needs the kit)

    with open(f"{HERE}/scoreboard.md", "w", encoding="utf-8") as file:
        file.write(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
