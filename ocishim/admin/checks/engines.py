"""The engines' configuration: is pyshim registered, do requests reach it, who is the default.

Of an engine that is not on the node nothing is said. containerd's is in containerd.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ocishim.admin.checks import containerd
from ocishim.admin.checks.finding import Finding
from ocishim.admin.checks.node import Node
from ocishim.admin.checks.registration import (
    is_pyshim,
    missing_program,
    no_such_default,
    not_restarted,
    unreadable,
    unregistered,
)
from ocishim.admin.editing import tomlfile
from ocishim.admin.editing.files import read
from ocishim.admin.editing.tomlfile import find
from ocishim.admin.engines import (
    containerd_places,
    crio,
    docker,
    dropins,
    first_table,
    podman,
    programs,
)
from ocishim.errors import ConfigError

# The default runtimes that an engine has without a table: its documentation's, or source's.
_CRIOS_OWN = ("crun", "runc")
_DOCKERS_OWN = ("runc", "io.containerd.")
_PODMANS_OWN = ("crun", "runc", "runsc", "youki", "kata", "krun", "ocijail", "/")
# The first Podman that keeps an image's annotations to itself.
_KEEPS_ANNOTATIONS = (4, 6)


_Judge = tuple[str, Callable[[Node], Iterator[Finding]]]


def check(node: Node) -> Iterator[Finding]:
    """Yield what keeps the engines on `node` from using pyshim as their users expect."""
    host = node.host
    judges: list[_Judge] = [
        (place.name, partial(containerd.check, place=place))
        for place in containerd_places.there(host)
    ]
    others: list[tuple[Any, _Judge]] = [
        (crio, ("crio", _crio)),
        (docker, ("docker", _docker)),
        (podman, ("podman", _podman)),
    ]
    judges += [(name, partial(_if_there, of=of, judge=one)) for of, (name, one) in others]
    failures = []
    for engine, judge in judges:
        try:
            yield from judge(node)
        except ConfigError as err:
            yield unreadable(engine, err)
        except Exception as err:  # noqa: BLE001 - told when the others have been looked at
            failures.append(err)
    if failures:
        raise failures[0]


def _if_there(node: Node, of: Any, judge: Callable[[Node], Iterator[Finding]]) -> Iterator[Finding]:
    if programs.find(node.host, of.PROGRAMS):
        yield from judge(node)


def _crio(node: Node) -> Iterator[Finding]:
    runtime = first_table(crio.effective(node.host).get("crio"), "runtime")
    runtimes = first_table(runtime, "runtimes")
    ours = {k: v for k, v in runtimes.items() if is_pyshim(find(v, "runtime_path"))}
    default = runtime.get("default_runtime")
    if default and default not in (*runtimes, *_CRIOS_OWN):
        yield no_such_default(
            "crio",
            f"default_runtime is '{default}', and the tables are {_listed(runtimes, _CRIOS_OWN)}",
            "set default_runtime to one of these; then systemctl restart crio",
        )
    if ours:
        yield from not_restarted(
            node, "crio", crio.files(node.host), f"systemctl restart {crio.UNIT}"
        )
    else:
        yield unregistered("crio", "no [crio.runtime.runtimes] entry with runtime_path pyshim")
    for name, table in ours.items():
        if not node.host.is_program(table["runtime_path"]):
            yield missing_program(node, "crio", name, table["runtime_path"])


def _docker(node: Node) -> Iterator[Finding]:
    path = docker.config_of(node.host)
    settings = _json(node, path)
    runtimes = first_table(settings, "runtimes")
    ours = {k: v for k, v in runtimes.items() if is_pyshim(find(v, "path"))}
    default = settings.get("default-runtime")
    if default and default not in runtimes and not str(default).startswith(_DOCKERS_OWN):
        yield no_such_default(
            "docker",
            f"{path}: default-runtime is '{default}', and the runtimes are"
            f" {_listed(runtimes, ['runc'])}",
            f"set default-runtime in {path} to one of these; then systemctl restart"
            f" {docker.unit(node.host)}",
        )
    if not ours:
        yield unregistered("docker", f"{path}: no runtime with path pyshim")
    wanted = find(_json(node, path + docker.KEPT), "after")
    was = docker.parse(wanted, path).get("default-runtime") if isinstance(wanted, str) else None
    if was in ours and default != was:
        yield Finding(
            "default-runtime",
            "warning",
            f"docker's default runtime is no longer '{was}'",
            evidence=f"{path}: default-runtime is {default or 'not set'}",
            why="a container without --runtime is started past pyshim",
            next_step="pyshimctl configure docker --set-as-default, or without it if this is meant",
        )
    for name, table in ours.items():
        if "/" in table["path"] and not node.host.is_program(table["path"]):
            yield missing_program(node, "docker", name, table["path"])


def _json(node: Node, path: str) -> dict[str, Any]:
    return docker.parse(read(node.host, path) or "{}", path)


def _podman(node: Node) -> Iterator[Finding]:
    """Podman starts any program that --runtime names: only what its files name can be wrong."""
    engine: dict[str, Any] = {}
    for path in podman.files(node.host, podman.CONFIG):
        tree = dropins.tree(node.host, path, "engine")
        engine = tomlfile.merged(engine, first_table(tree, "engine"))
    runtimes = first_table(engine, "runtimes")
    default = engine.get("runtime")
    if default and default not in runtimes and not str(default).startswith(_PODMANS_OWN):
        yield no_such_default(
            "podman",
            f"engine.runtime is '{default}', and [engine.runtimes] has no such name",
            f"set engine.runtime in {podman.CONFIG} to a name that is there",
        )
    for name, paths in runtimes.items():
        ours = [one for one in paths if is_pyshim(one)] if isinstance(paths, list) else []
        if ours and not any(node.host.is_program(one) for one in ours):
            yield missing_program(node, "podman", name, ours[0])
    if node.config.podman_annotations:
        yield from _forged(node, programs.find(node.host, podman.PROGRAMS))


def _forged(node: Node, program: str) -> Iterator[Finding]:
    """Yield the finding for a Podman under which an image's author asks for devices."""
    try:
        said = node.host.run(program, "--version").stdout.strip()
    except ConfigError:
        said = ""
    version = re.search(r"(\d+)\.(\d+)", said)
    if version and (int(version[1]), int(version[2])) >= _KEEPS_ANNOTATIONS:
        return
    yield Finding(
        "podman-annotations",
        "warning",
        "under Podman an image can ask for devices",
        evidence=f"requests.podman_annotations is true in {node.config.path}, and {program}"
        + (f" is {said}" if version else " does not tell its version"),
        why="before 4.6 Podman hands on the annotations of the image, whoever wrote it",
        next_step="pyshimctl config unset requests.podman_annotations; then ask by"
        " podman run --device vendor/class=name",
    )


def _listed(*names: Any) -> str:
    return ", ".join(dict.fromkeys(str(name) for some in names for name in some))
