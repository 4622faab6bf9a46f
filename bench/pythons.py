"""The same programs on each interpreter at hand, 3.10 to 3.13: which one to install with.

Each gets launchers, a file of modules and a cache of its own. Prints a table and writes
bench/out/pythons.json.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sysconfig
from typing import TYPE_CHECKING, NamedTuple

from bench import hookprograms, node, paired, report
from bench.case import Result, Row
from bench.creates import check_links
from bench.memory import EMPTY
from bench.paired import Command, Side
from ocishim.admin import launchers
from tools.lab.shim import PROGRAMS, REPOSITORY, Shim

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.case import Place

ROUNDS = 60
NEWEST, OLDEST = 13, 10
WORKS = ("empty program", "create", "six hooks")
_ASK = """
import json, sys, sysconfig, os
args = sysconfig.get_config_var("CONFIG_ARGS") or ""
# Debian is configured with --enable-shared, and links its program without.
shared = "libpython" in open("/proc/self/maps").read()
print(json.dumps([
    os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
    ".".join(map(str, sys.version_info[:3])), sys.version_info[1],
    [word for word in ("optimizations", "lto") if "--enable-" + word in args
     or "--with-" + word in args] + ["shared"] * shared,
]))
"""


class Build(NamedTuple):
    """An interpreter: its real path, version, minor version and what it was configured with."""

    path: str
    version: str
    minor: int
    options: list[str]

    @property
    def title(self) -> str:
        """Return what the table calls it."""
        return f"{self.version} {'+'.join(self.options) or 'plain'}"


def builds() -> list[Build]:
    """Return the interpreters at hand, the usual one first, each real path once."""
    names = [f"python3.{minor}" for minor in range(OLDEST, NEWEST + 1)]
    versions = glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python3"))
    found: dict[str, Build] = {}
    for program in (launchers.interpreter(), *map(shutil.which, names), *sorted(versions)):
        done = program and subprocess.run(
            [program, "-c", _ASK],
            capture_output=True,
            text=True,
            check=False,
        )
        if done and done.returncode == 0:
            build = Build(*json.loads(done.stdout))
            if OLDEST <= build.minor <= NEWEST:
                found.setdefault(build.path, build)
    return list(found.values())


def _site(build: Build) -> str:
    """Return a folder with the libraries that compile specs: those of `make matrix`, else ours.

    3.10 alone needs one that we lack, tomli.
    """
    folder = REPOSITORY / f".nox/unit-3-{build.minor}/lib/python3.{build.minor}/site-packages"
    return str(folder) if folder.exists() else sysconfig.get_path("platlib")


def _shim(of: node.Node, build: Build) -> Shim:
    """Return pyshim on that interpreter; caches are its own, as their checksums differ."""
    folder = of.folder / f"python-{build.version}-{'-'.join(build.options)}"
    programs = folder / "bin"
    programs.mkdir(parents=True)
    texts = launchers.texts(str(programs), build.path, launchers.library(), _site(build))
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    launchers.preload(build.path, launchers.library(), str(programs))
    shim = Shim(folder, of.lowlevel, programs)
    shim.root = of.folder / "root"
    shim.configure({"cdi.spec_dirs": [str(of.specs)]})
    return shim


def sides(place: Place, found: list[Build]) -> list[Side]:
    """Return for each build: an empty program, a create in front of one, six hooks as a program."""
    of = node.dgx(place.folder / "pythons", place.installed, EMPTY)
    of.mount_rootfs()
    asking = of.bundle.config.read_bytes()
    hooks = list(hookprograms.commands(of, node.PYSHIM))
    fresh = of.fresh(asking, of.folder / hookprograms.LIBRARIES)
    result = []
    for build in found:
        shim = _shim(of, build)
        works: list[Callable[[], None]] = [
            Command([build.path, "-I", "-S", "-c", ""], {}),
            Command(of.create(shim), shim.environment),
            _chain(hooks, shim),
        ]
        checks = (_nothing, _nothing, lambda: check_links(of.bundle))
        result += [
            Side(f"{build.title}: {title}", work, before=fresh, check=check)
            for title, work, check in zip(WORKS, works, checks, strict=True)
        ]
    return result


def _chain(hooks: list[Command], shim: Shim) -> Callable[[], None]:
    own = [
        Command(
            hook.argv,
            hook.environment,
            stdin=hook.stdin,
            program=hook.program.replace(str(PROGRAMS), os.path.dirname(shim.program)),
        )
        for hook in hooks
    ]

    def run() -> None:
        for hook in own:
            hook()

    return run


def _nothing() -> None:
    pass


def table(rows: list[Result]) -> list[tuple[str, list[dict[str, float]]]]:
    """Return (build, summaries of WORKS) for each build."""
    summaries = rows[0]["sides"]
    titles = dict.fromkeys(side.rpartition(": ")[0] for side in summaries)
    return [(title, [summaries[f"{title}: {work}"] for work in WORKS]) for title in titles]


def main(place: Place, facts: dict[str, object], rounds: int | None) -> int:
    """Measure, print and write; return the exit status."""
    samples = paired.measure(sides(place, builds()), rounds or ROUNDS)
    rows = [Row("pythons", "interpreters", None).result(samples)]
    print(f"{'ms, median (min)':<34}" + "".join(f"{work:>18}" for work in WORKS))
    for title, numbers in table(rows):
        cells = (f"{one['median']:.1f} ({one['min']:.1f})" for one in numbers)
        print(f"{title:<34}" + "".join(f"{cell:>18}" for cell in cells))
    path: Path = report.write("pythons", rows, facts)
    print(f"written: {path}")
    return 0
