#!/usr/bin/env python3
"""Checks an OCI runtime from outside: run.py --runtime PATH. See README.md beside this file.

Exit status: 0 when every failure was expected, 1 when one was not, 2 when nothing could be run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import shlex
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import areas
from kit import expected, report
from kit.case import ALL, Case
from kit.isolate import run_all
from kit.lab import Setting

FORMATS = {"tap": report.tap, "json": report.as_json, "junit": report.junit}


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--runtime", help="the runtime: a path, or a name in PATH")
    parser.add_argument(
        "--runtime-args",
        default="",
        metavar="'...'",
        help="its global flags: --runtime-args='--a --b'",
    )
    parser.add_argument("--hook", default="", help="the program of its createContainer hooks")
    parser.add_argument("--name", help="the name expected.json knows it by (from --version)")
    parser.add_argument("--area", action="append", help="only this area")
    parser.add_argument("--case", action="append", help="only cases of this name, path or glob")
    parser.add_argument("--brief", action="store_true", help="the first case of each kind only")
    parser.add_argument(
        "--by-create",
        action="store_true",
        help="create and start where the cases would run, as engines do",
    )
    parser.add_argument(
        "--lacks",
        action="append",
        default=[],
        choices=["cgroup"],
        help="skip what needs it: for runtimes told to leave cgroups alone",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=20,
        metavar="SECONDS",
        help="how long a hostile image may keep a command busy (20)",
    )
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--list", action="store_true", help="print the cases and what they check")
    for name in FORMATS:
        parser.add_argument(f"--{name}", dest="format", action="store_const", const=name)
    return parser.parse_args(argv)


def every_case() -> list[Case]:
    """Read all areas."""
    for name in sorted(module.name for module in pkgutil.iter_modules(areas.__path__)):
        importlib.import_module(f"areas.{name}")
    return ALL


def select(arguments: argparse.Namespace) -> list[Case]:
    cases = every_case()
    if arguments.brief:
        cases = list({case.path.partition("[")[0]: case for case in reversed(cases)}.values())[::-1]
    return [
        case
        for case in cases
        if (not arguments.area or case.area in arguments.area)
        and (not arguments.case or any(map(case.matches, arguments.case)))
    ]


def find(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        sys.exit(f"run.py: no program {program}")
    return os.path.abspath(path)


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    cases = select(arguments)
    if arguments.list:
        print("\n".join(f"{case.path}\t{case.must}\t{case.source}" for case in cases))
        return 0
    if not arguments.runtime or not cases or os.geteuid() != 0:
        print("run.py: needs --runtime, at least one case, and root", file=sys.stderr)
        return 2
    setting = Setting(
        (find(arguments.runtime), *shlex.split(arguments.runtime_args)),
        find(arguments.hook) if arguments.hook else "",
        find("busybox"),
        tuple(arguments.lacks),
        arguments.patience,
        arguments.by_create,
    )
    name, version = expected.identify(setting.runtime)
    about = {"name": arguments.name or name, "version": version}
    verdicts = list(run_all(cases, setting, arguments.jobs))
    stale = expected.annotate(verdicts, about["name"], version)
    print(FORMATS.get(arguments.format, report.people)(verdicts, about))
    for line in stale:
        print(f"run.py: expected.json: {line}", file=sys.stderr)
    return int(any(map(report.is_news, verdicts)) or bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
