"""Hooks that fail, that are not there, and that take too long."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from kit.case import area, check, equal

from areas.hooks import AT_CREATE, AT_START, CONFIG, EACH, LIFE, hook, life, prepare, record

if TYPE_CHECKING:
    from kit.lab import Lab

case = area("hooks")
FAILURES = {"exit 1": "exit 1", "exit 42": "exit 42", "killed": "kill -9 $$"}


@case(
    "failure",
    "If any hook fails, the runtime MUST generate an error, stop the container, and "
    "continue the lifecycle at step 12.",
    LIFE,
    {
        f"{kind} {label}": (kind, script)
        for kind in (*AT_CREATE, *AT_START)
        for label, script in FAILURES.items()
    },
)
def failure(lab: Lab, what: tuple[str, str]) -> None:
    kind, script = what
    bundle = prepare(lab, {kind: [hook(lab, kind, script)]}, "sleep 30")
    done = lab.create(bundle)
    if kind in AT_START:
        equal(done.status, 0, "create's exit status")
        done = lab.call("start", lab.id)
    check(done.status != 0, "exit status 0")
    check(done.err.strip(), "nothing said")
    if kind in AT_CREATE:
        lab.gone()
    else:
        lab.until(
            lambda: lab.call("state", lab.id).status != 0 or lab.state()["status"] == "stopped",
            "the container is stopped",
            5,
        )


@case(
    "failure-stops-the-rest",
    "the runtime MUST generate an error, stop the container",
    LIFE,
    {kind: kind for kind in AT_CREATE},
)
def failure_stops(lab: Lab, kind: str) -> None:
    hooks = [hook(lab, kind, "exit 3"), hook(lab, kind, "echo late > $O/seen")]
    check(lab.create(prepare(lab, {kind: hooks}, "true")).status != 0, "exit status 0")
    check(not os.path.exists(f"{lab.out}/seen"), "the next hook ran")


@case(
    "poststop-failure",
    "If any `poststop` hook fails, the runtime MUST log a warning, but the "
    "remaining hooks and lifecycle continue as if the hook had succeeded.",
    LIFE,
    FAILURES,
)
def poststop_failure(lab: Lab, script: str) -> None:
    hooks = [hook(lab, "poststop", script), hook(lab, "poststop", "echo here > $O/seen")]
    _, calls = life(lab, {"poststop": hooks})
    equal([call.status for call in calls], [0, 0, 0], "exit status of create, start, delete")
    equal(lab.read(f"{lab.out}/seen"), "here\n", "the remaining hook")
    lab.gone()


@case(
    "missing",
    "path ... MUST be absolute; a hook that cannot be run has failed",
    LIFE,
    {kind: kind for kind in AT_CREATE},
)
def missing(lab: Lab, kind: str) -> None:
    bundle = prepare(lab, {kind: [{"path": "/nowhere/hook", "env": ["A=1"]}]}, "true")
    check(lab.create(bundle).status != 0, "exit status 0")
    lab.gone()


@case(
    "timeout",
    "`timeout` (int, OPTIONAL) is the number of seconds before aborting the hook.",
    CONFIG,
    {kind: kind for kind in (*AT_CREATE, "poststart")},
)
def timeout(lab: Lab, kind: str) -> None:
    lives = "$B touch $O/began; while $B touch $O/lived; do $B usleep 50000; done"
    started = time.monotonic()
    bundle = prepare(lab, {kind: [hook(lab, kind, lives, timeout=1)]}, "sleep 30")
    done = lab.create(bundle)
    if kind == "poststart":
        done = lab.call("start", lab.id)
    check(done.status != 0, "exit status 0")
    taken = time.monotonic() - started
    check(taken < 20, f"aborted after {taken:.1f} s")
    began, ended = (os.stat(f"{lab.out}/{name}").st_mtime for name in ("began", "lived"))
    check(ended - began > 0.4, f"aborted after {ended - began:.1f} s of its time")


@case("timeout-not-reached", "the number of seconds before aborting the hook", CONFIG, EACH)
def timeout_not_reached(lab: Lab, kind: str) -> None:
    equal(record(lab, kind, "$B sleep 1; echo done > $O/seen", timeout=15), "done\n", "the hook")
