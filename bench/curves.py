"""How the costs grow: pyshim beside the peer, as a table, as JSON and as a plot.

One quantity grows at a time. What only the shim does (spec files, mounts, devices) is measured in
front of an empty program, so that the low-level runtime's own growth does not hide it; what hooks
do (links, libraries), as programs; parallel creates with runc and all of nvidia-dgx-a100.yaml.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

from bench import creates, hookprograms, node, paired, report
from bench.case import Row
from bench.node import BARE
from bench.paired import Command, Side
from tools.lab import driver
from tools.lab.compiler import Compiler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.case import Place, Result

EMPTY = os.path.realpath("/bin/true")
KIND = "acme.com/gpu"


class Curve(NamedTuple):
    """One quantity: its values, the sides for one of them, and how often each is measured."""

    title: str
    values: tuple[int, ...]
    sides: Callable[[Place, int], list[Side]]
    rounds: int


def _in_front_of_nothing(of: node.Node) -> list[Side]:
    """`create` without a container: the shim's own time."""
    asking = of.bundle.config.read_bytes()

    def before() -> None:
        of.bundle.config.write_bytes(asking)

    return [
        Side(name, Command(of.create(one), one.environment), before=before)
        for name, one in {BARE: of.bare, **of.contestants}.items()
    ]


def spec_files(place: Place, count: int) -> list[Side]:
    """Claims of a DRA driver; one is asked for."""
    return _in_front_of_nothing(creates.claim_node(place, count, EMPTY))


def _acme(place: Place, edits: Callable[[Path], list[str]]) -> node.Node:
    """A node with one device; `edits` makes what is needed in a folder and returns its YAML."""
    of = node.Node(place.folder / "acme", place.installed, f"{KIND}=0", EMPTY)
    root = of.folder / "driver"
    root.mkdir()
    lines = ["cdiVersion: 0.5.0", f"kind: {KIND}", "devices:", "- name: '0'", "  containerEdits:"]
    text = "\n".join([*lines, *(f"    {line}" for line in edits(root)), ""])
    (of.specs / "acme.yaml").write_text(text)
    return of


def mounts(place: Place, count: int) -> list[Side]:
    """Files of one device, bind-mounted."""

    def edits(root: Path) -> list[str]:
        lines = ["mounts:"]
        for number in range(count):
            (root / f"lib{number}.so").touch()
            lines += [f"- hostPath: {root}/lib{number}.so"]
            lines += [f"  containerPath: /usr/lib/lib{number}.so"]
            lines += ["  options: [ro, nosuid, nodev, bind]"]
        return lines

    return _in_front_of_nothing(_acme(place, edits))


def devices(place: Place, count: int) -> list[Side]:
    """Device nodes of one device."""

    def edits(root: Path) -> list[str]:
        lines = ["deviceNodes:"]
        for number in range(count):
            os.mknod(root / f"acme{number}", 0o20666, os.makedev(1, 3))
            lines += [f"- path: /dev/acme{number}", f"  hostPath: {root}/acme{number}"]
        return lines

    return _in_front_of_nothing(_acme(place, edits))


def _hook_sides(
    place: Place,
    words: Sequence[str],
    fill: Callable[[Path], None] = lambda _rootfs: None,
) -> list[Side]:
    """One hook as a program, in a rootfs that `fill` has filled."""
    of = node.Node(place.folder / "hook", place.installed, "")
    of.mount_rootfs()
    filled = of.folder / "filled"
    filled.mkdir()
    fill(filled)
    state = hookprograms.state_of(of)
    prepare = of.fresh(of.bundle.config.read_bytes(), filled)
    programs = hookprograms.programs(place)
    return [
        Side(name, Command([str(programs[name]), *words], {}, stdin=state), before=prepare)
        for name in of.contestants
    ]


def links(place: Place, count: int) -> list[Side]:
    """create-symlinks: one hook with many links."""
    words = ["create-symlinks"]
    for number in range(count):
        words += ["--link", f"lib{number}.so.1::/usr/lib/lib{number}.so"]
    return _hook_sides(place, words)


def libraries(place: Place, count: int) -> list[Side]:
    """update-ldcache: libraries in the image, which ldconfig reads all."""
    compiler = Compiler(place.folder / "compiled")

    def fill(usr: Path) -> None:
        folder = usr / "lib" / driver.MULTIARCH
        folder.mkdir(parents=True)
        for number in range(count):
            library = compiler.library(f"lib{number % 50}.so.1")
            shutil.copyfile(library, folder / f"lib{number}.so.1")

    folder = f"/usr/lib/{driver.MULTIARCH}"
    return _hook_sides(place, ["update-ldcache", "--folder", folder], fill)


CURVES = {
    "specs": Curve("spec files", (1, 10, 100, 300, 1000), spec_files, 5),
    "mounts": Curve("mounts", (1, 8, 32, 128), mounts, 11),
    "devices": Curve("device nodes", (1, 8, 32, 128), devices, 11),
    "links": Curve("links", (1, 10, 100, 300), links, 11),
    "libraries": Curve("libraries in the rootfs", (1, 30, 100, 300, 1000), libraries, 11),
    "parallel": Curve("parallel creates", (1, 2, 4, 16, 64), creates.parallel, 3),
}


def main(place: Place, facts: dict[str, object], rounds: int | None) -> int:
    """Measure all curves; print them, write bench/out/curves.json and curves.png; exit status."""
    rows = []
    for name, curve in CURVES.items():
        for value in curve.values:
            here = place._replace(folder=place.folder / f"{name}-{value}")
            samples = paired.measure(curve.sides(here, value), rounds or curve.rounds, 1)
            row = Row(f"{name}-{value}", f"{curve.title}: {value}", None)
            rows.append({**row.result(samples), "curve": name, "value": value})
            shutil.rmtree(here.folder, ignore_errors=True)
        show(curve, [row for row in rows if row["curve"] == name])
    print(f"written: {report.write('curves', rows, facts)}")
    plot(rows)
    return 0


def show(curve: Curve, rows: Sequence[Result]) -> None:
    """Print one curve: medians of what each side adds, and the ratio."""
    names = list(rows[0]["adds"])
    print(f"{curve.title + ', ms added':<34}" + "".join(f"{name:>12}" for name in names), end="")
    print(f"{'pyshim/peer':>14}")
    for row in rows:
        cells = "".join(f"{row['adds'][name]['median']:>12.2f}" for name in names)
        ratio = row["score"]
        print(f"{row['value']:>10}{'':24}{cells}{'-' if ratio is None else ratio:>14}")
    print(flush=True)


def plot(rows: Sequence[Result]) -> None:
    """Draw all curves into bench/out/curves.png, where matplotlib is (the extra `bench`)."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - 20 MB that only this needs
    except ImportError:
        print("no plot: .venv/bin/python -m pip install matplotlib")
        return
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
    for axis, (name, curve) in zip(axes.flat, CURVES.items(), strict=True):
        mine = [row for row in rows if row["curve"] == name]
        for side in mine[0]["adds"]:
            numbers = [row["adds"][side] for row in mine]
            values = [row["value"] for row in mine]
            axis.plot(values, [one["median"] for one in numbers], marker="o", label=side)
            low, high = ([one[end] for one in numbers] for end in ("quarter", "three_quarters"))
            axis.fill_between(values, low, high, alpha=0.2)
        axis.set(title=curve.title, ylabel="ms added", xscale="log")
        if name in ("specs", "parallel"):  # a hundred times between the sides, or along the line
            axis.set(yscale="log")
        else:
            axis.set(ylim=(0, None))
        axis.set_xticks(curve.values, [str(value) for value in curve.values])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes.flat[0].legend()
    path = report.OUT / "curves.png"
    figure.savefig(path, dpi=80)
    _shrink(path)
    print(f"written: {path}")


def _shrink(path: Path) -> None:
    """Leave 64 colours of the plot: a third of the bytes, for the documents."""
    from PIL import Image  # noqa: PLC0415 - matplotlib brings it

    with Image.open(path) as image:
        image.convert("RGB").quantize(64).save(path, optimize=True)
