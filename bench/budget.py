"""What the milliseconds are made of: differences between sides that take turns.

Prints a table and writes bench/out/budget.json; docs/performance.md shows it with what was done
about each line.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, NamedTuple

from bench import hookprograms, node, paired, report
from bench.case import Result, Row
from bench.creates import check_links
from bench.memory import EMPTY
from bench.node import PYSHIM
from bench.paired import Command, Side
from tools.lab import driver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.case import Place
    from bench.paired import Sample

ROUNDS = 120


class Line(NamedTuple):
    """One cost: the sum of `plus` without that of `minus`, and what was done about it."""

    title: str
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    done: str

    def summary(self, values: paired.Series) -> dict[str, float]:
        """Return the summary over the rounds; "min" is of the minima."""
        plus, minus = ([values[name] for name in side] for side in (self.plus, self.minus))
        least = sum(map(min, plus)) - sum(map(min, minus))
        taken = [
            sum(side[number] for side in plus) - sum(side[number] for side in minus)
            for number in range(len(plus[0]))
        ]
        return {**paired.summary(taken), "min": round(least, 3)}


LINES = (
    Line("exec of an empty program", ("empty",), (), "the limit below"),
    Line(
        "pass-through: main in C finds the runtime",
        ("pass",),
        ("empty",),
        "no interpreter; no file but the configuration, read up to its first line",
    ),
    Line(
        "the interpreter's core and one answer, `pyshim-hook --version`",
        ("python",),
        ("empty",),
        "no streams, no codecs, no search path, no `encodings`: what is rare finishes the start",
    ),
    Line(
        "create without devices, more than that and the runtime",
        ("plain",),
        ("python", "empty"),
        "no `json`, `re`, `enum`, `os`: what is imported lies side by side in the file; no garbage "
        "collection; `exec` without an end of Python",
    ),
    Line(
        "its devices: registry, 5 nodes, 26 mounts, 6 hooks",
        ("create",),
        ("plain",),
        "specs compiled into a cache of marshal data, only the part asked for is read; the edits "
        "are planned before config.json is touched",
    ),
    Line(
        "one hook as a program, more than that: one link",
        ("hook",),
        ("python",),
        "system calls by a function of our own; the state is parsed only where pyshim did not name "
        "the rootfs; no end of Python",
    ),
    Line(
        "five hooks without ldconfig, more than that",
        ("links",),
        ("python",),
        "one process for all; config.json is not read again",
    ),
    Line(
        "update-ldcache in the chain",
        ("chain",),
        ("links",),
        "ldconfig gets its folders on the command line and reads no file of the image first; "
        "namespaces, seccomp and limits only where they protect",
    ),
    Line("ldconfig by itself on that rootfs", ("ldconfig",), (), "the limit below"),
    Line(
        "runc with one hook that does nothing",
        ("runc hook",),
        ("runc",),
        "six hooks are one: this is paid once, by the peer six times",
    ),
    Line(
        "the six hooks under runc",
        ("whole", "empty"),
        ("runc", "create"),
        "one process that imports what the chain names; nothing waits for it",
    ),
    Line("create as a whole, six hooks, runc", ("whole",), ("runc",), "the sum, beside runc's own"),
)


def _with_hook(config: bytes) -> bytes:
    """Return config.json with one createContainer hook, an empty program."""
    spec = json.loads(config)
    spec["hooks"] = {"createContainer": [{"path": EMPTY, "args": ["true"], "env": ["A=1"]}]}
    return json.dumps(spec).encode()


def _without_ldcache(hook: Command) -> Command:
    """Return the fused hook without its update-ldcache."""
    words = " ".join(hook.argv).split(" --next ")
    rest = [words[0], *(part for part in words[1:] if not part.startswith("update-ldcache"))]
    return Command(
        " --next ".join(rest).split(" "), hook.environment, program=hook.program, stdin=hook.stdin
    )


def _programs(place: Place) -> list[Side]:
    """Return the sides that need no low-level runtime."""
    program = str(hookprograms.programs(place)[PYSHIM])
    of = node.dgx(place.folder / "budget", place.installed, EMPTY)
    of.mount_rootfs()
    shim, asking = of.contestants[PYSHIM], of.bundle.config.read_bytes()
    [hook] = hookprograms.commands(of, PYSHIM)
    plain = node.Node(place.folder / "plain", place.installed, "", EMPTY)
    fresh = of.fresh(asking, of.folder / hookprograms.LIBRARIES)
    one = [program, "create-symlinks", "--link", "a::/usr/b"]
    ldconfig = [
        shutil.which("ldconfig") or "/sbin/ldconfig",
        "-r",
        str(of.bundle.rootfs),
        "-C",
        "/etc/ld.so.cache",
        f"/usr/lib/{driver.MULTIARCH}",
    ]
    environment = shim.environment

    def checked() -> None:
        check_links(of.bundle)

    return [
        Side("empty", Command([EMPTY], environment)),
        Side("pass", Command(shim.argv("state", "nobody"), environment)),
        Side("python", Command([program, "--version"], {})),
        Side(
            "plain",
            Command(plain.create(plain.contestants[PYSHIM]), plain.contestants[PYSHIM].environment),
        ),
        Side("create", Command(of.create(shim), environment), before=fresh),
        Side("hook", Command(one, {}, stdin=hookprograms.state_of(of)), before=fresh),
        Side("links", _without_ldcache(hook), before=fresh),
        Side("chain", hook, before=fresh, check=checked),
        Side("ldconfig", Command(ldconfig, {}), before=fresh),
    ]


def _containers(place: Place) -> list[Side]:
    """Return the sides with runc."""
    of = node.dgx(place.folder / "budget-runc", place.installed)
    asking, merged = of.bundle.config.read_bytes(), of.merged()
    configs = {"runc": merged, "runc hook": _with_hook(merged), "whole": asking}

    def side(name: str, before: Callable[[], None]) -> Side:
        one = of.contestants[PYSHIM] if name == "whole" else of.bare
        return Side(
            name,
            Command(of.create(one), one.environment),
            before=before,
            finish=of.stop,
            after=of.delete,
        )

    return [side(name, of.rested(config)) for name, config in configs.items()]


def lines(samples: Mapping[str, Sequence[Sample]]) -> list[Result]:
    """Return each line's title, what was done, and the summaries of "wall" and "cpu"."""
    both = {of: Row("budget", "budget", None, of).series(samples) for of in ("wall", "cpu")}
    return [
        {
            "title": line.title,
            "done": line.done,
            **{of: line.summary(values) for of, values in both.items()},
        }
        for line in LINES
    ]


def main(place: Place, facts: dict[str, object], rounds: int | None) -> int:
    """Measure, print and write; return the exit status."""
    samples = paired.measure([*_programs(place), *_containers(place)], rounds or ROUNDS)
    rows = lines(samples)
    show(rows)
    print(f"written: {report.write('budget', rows, facts)}")
    return 0


def show(rows: Sequence[Result]) -> None:
    """Print the table."""
    print(f"{'':<54}{'ms':>9}{'least':>9}{'CPU ms':>9}{'least':>9}")
    for row in rows:
        numbers = (row[of][what] for of in ("wall", "cpu") for what in ("median", "min"))
        print(f"{row['title']:<54}" + "".join(f"{number:>9.2f}" for number in numbers))
    print(flush=True)
