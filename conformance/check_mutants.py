#!/usr/bin/env python3
"""Proves that the cases can fail: each mutant is caught by the cases meant for it.

Those of other areas do not notice it. The runtime named by --runtime must pass; the mutants stand
before it. Exit status 1: a mutant was not caught, or was by a stranger.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import mutant
from kit.case import Case
from kit.isolate import Verdict, run_all
from kit.lab import Setting
from mutants.call import ALL, BROKEN, Mutant
from run import every_case, find

# One case an area that is quick and has little in common with the other areas.
STRANGERS = (
    "cdi/env[plain]",
    "cdi-files/version[0.8.0]",
    "cdi-hooks/create-symlinks[absolute target]",
    "command-line/exit-status[0]",
    "errors/level[unknown device]",
    "hooks/failure-stops-the-rest[prestart]",
    "hostile/image-program[usr/sbin/ldconfig]",
    "injection/rest-survives[hostname]",
    "kubernetes/container[docker]",
    "lifecycle/state[id created]",
    "read-only/silent[root.readonly]",
)
FEW = 1
SECONDS = 5


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Proves that the cases can fail.")
    parser.add_argument("--runtime", required=True, help="a runtime that passes")
    parser.add_argument("--hook", default="", help="the program of its createContainer hooks")
    parser.add_argument("--mutant", action="append", help="only this mutant")
    parser.add_argument("--all", action="store_true", help="a case of every other area, not one")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args(argv)


def strangers(each: Mutant, number: int, count: int) -> list[str]:
    """Return cases of areas that have nothing to do with the mutant, others for every number."""
    related = {*each.seen, *(path.partition("/")[0] for path in each.caught)}
    paths = [path for path in STRANGERS if path.partition("/")[0] not in related]
    start = number * count % len(paths)
    return (paths[start:] + paths[:start])[:count]


def setting(each: Mutant, arguments: argparse.Namespace) -> Setting:
    command = (sys.executable, "-S", "-E", mutant.__file__, each.name, find(arguments.runtime))
    return Setting(
        command, find(arguments.hook) if arguments.hook else "", find("busybox"), patience=3
    )


def bound(case: Case, its: Setting) -> Case:
    """Return the case for a setting of its own."""

    def check(lab: object) -> None:
        lab.setting = its  # type: ignore[attr-defined]
        try:
            case.check(lab)  # type: ignore[arg-type]
        finally:
            if os.path.exists(BROKEN):
                raise RuntimeError(BROKEN)

    return dataclasses.replace(case, check=check, seconds=min(case.seconds, SECONDS))


def judge(each: Mutant, path: str, verdict: Verdict) -> str:
    """Return what is wrong with the verdict, or ""."""
    if BROKEN in verdict.message:
        return f"{path}: the mutant itself is broken"
    if path in each.caught:
        return "" if verdict.outcome == "fail" else f"{path} does not catch it ({verdict.outcome})"
    return (
        ""
        if verdict.outcome == "pass"
        else f"{path} has nothing to do with it, and fails: " + verdict.message[:300]
    )


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    cases = {case.path: case for case in every_case()}
    chosen = [
        each for each in ALL.values() if not arguments.mutant or each.name in arguments.mutant
    ]
    work = [
        (each, path)
        for number, each in enumerate(chosen)
        for path in (
            *each.caught,
            *strangers(each, number, len(STRANGERS) if arguments.all else FEW),
        )
    ]
    runs = [bound(cases[path], setting(each, arguments)) for each, path in work]
    any_setting = setting(chosen[0], arguments)
    wrong = 0
    for (each, path), verdict in zip(work, run_all(runs, any_setting, arguments.jobs), strict=True):
        text = judge(each, path, verdict)
        if text:
            print(f"{each.name}: {text}")
            wrong += 1
    print(f"{len(chosen)} mutants, {len(work)} runs, {wrong} wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
