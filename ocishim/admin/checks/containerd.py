"""The node's containerds: does their CRI come up, is pyshim registered, do requests reach it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from ocishim.admin import engines
from ocishim.admin.checks import registration
from ocishim.admin.checks.finding import Finding
from ocishim.admin.checks.node import Node
from ocishim.admin.editing import tomlfile
from ocishim.admin.editing.tomlfile import find, find_table
from ocishim.admin.engines import containerd_places, containerd_template, docker, programs
from ocishim.admin.engines.containerd_files import PLUGINS, Files, default_of, template_of
from ocishim.admin.engines.containerd_places import Place
from ocishim.admin.engines.containerd_tables import ALWAYS_CDI
from ocishim.errors import ConfigError, quoted

_MERGES = re.compile(r"\bv?[2-9]\.\d+\.\d")  # "containerd github.com/containerd/containerd 1.6.20"


def check(node: Node, place: Place) -> Iterator[Finding]:
    """Yield what keeps pods of the containerd at `place` from starting, or from pyshim."""
    program = place.program(node.host)
    files = Files(node.host, place.config, merges=_merges(node, program))
    cri = _as_read(node, program, files) or files.effective(files.having)
    ours = _ours(files.everything())
    step = f"systemctl restart {place.unit(node.host)}"
    if files.is_off:
        if ours or _is_kubernetes(node):
            yield _switched_off(files, step)
        return
    yield from _does_not_load(files, cri, step)
    yield from (registration.lost_import(*one, step) for one in files.lost)
    if ours and place is containerd_places.USUAL:
        yield from registration.not_restarted(node, "containerd", files.trees, step)
    command = _configure(node, files, place)
    if ours:
        yield from _reached(node, files, cri, ours, _Steps(command, step))
    elif waiting := containerd_template.having_ours(node.host, place.config):
        yield registration.not_read(place.name, f"{waiting} has pyshim, {place.config} not", step)
    elif not _is_dockers(node, place):
        yield registration.unregistered(
            "containerd", f"{place.config}: no runtime with BinaryName pyshim", command
        )


class _Steps(NamedTuple):
    """What mends a place: the command that writes its files, and the one that has them read."""

    configure: str
    restart: str


def _reached(
    node: Node, files: Files, cri: dict[str, Any], ours: dict[str, Any], steps: _Steps
) -> Iterator[Finding]:
    """Yield what keeps requests from pyshim, which the files name as `ours`."""
    yield from _imports(files, steps.configure)
    for name, table in ours.items():
        yield from _annotations(node, name, table, _file(files, name), steps.configure)
        yield from _forgeable(node, name, table, files, steps.restart)
        program = find(table, "options", "BinaryName")
        if "/" in program and not node.host.is_program(program):
            yield registration.missing_program(node, "containerd", name, program, steps.configure)
    switched_off = cri.get("enable_cdi") is False and files.version < ALWAYS_CDI
    if switched_off and not any(_passes(node, table) for table in ours.values()):
        yield Finding(
            "containerd-cdi",
            "error",
            "containerd neither applies CDI nor passes the annotations on",
            evidence=f"{files.path}: enable_cdi is false and container_annotations lacks the"
            " prefix",
            why="no container of this node gets a device",
            next_step=f"{steps.configure} --enable-cdi",
        )
    yield from _default(files, ours, steps.configure)


def _source(files: Files, file: str) -> str:
    """Return the file that a person has to change for `file` to say something else."""
    if file == files.path and files.is_generated:
        return template_of(files)
    if files.is_patched and file not in (files.path, files.drop_in):
        return f"a drop-in of {containerd_places.K0S_DROP_INS}"
    return file


def _file(files: Files, name: str) -> str:
    """Return the file whose table of the runtime `name` counts: the last that has one."""
    having = (path for path in reversed(files.having) if name in _ours(files.table(path)))
    return next(having, files.path)


def _ask(node: Node, *argv: str) -> tuple[int, str, str]:
    try:
        done = node.host.run(*argv)
    except ConfigError:
        return 0, "", ""  # it cannot be run from here: its files tell enough
    return done.returncode, done.stdout, done.stderr


def _merges(node: Node, program: str) -> bool | None:
    """Whether containerd says that it is 2.x; None where it says nothing of the kind."""
    said = _ask(node, program, "--version")[1] if program else ""
    return True if _MERGES.search(said) else None


def _as_read(node: Node, program: str, files: Files) -> dict[str, Any]:
    """Return the CRI plugin's table as containerd itself reads it, {} when it cannot be asked.

    Raises ConfigError with its words when it cannot read its files.
    """
    if not program or files.path not in files.texts:
        return {}
    status, text, words = _ask(node, program, "--config", files.path, "config", "dump")
    if status:
        lines = words.strip().splitlines() or [f"exit status {status}"]
        raise ConfigError(lines[-1], hint=f"correct {files.path} or what it imports")
    try:
        read = containerd_places.rendered(files.path, text)
        plugins = tomlfile.plain(read, program).get("plugins")
    except ConfigError:
        return {}
    return engines.first_table(plugins, *reversed(PLUGINS.values()))


def _is_kubernetes(node: Node) -> bool:
    return programs.find(node.host, ("kubelet",)) != ""


def _is_dockers(node: Node, place: Place) -> bool:
    """Whether this containerd is there for Docker alone, whose own file says what matters."""
    has_docker = programs.find(node.host, docker.PROGRAMS) != ""
    return place is containerd_places.USUAL and has_docker and not _is_kubernetes(node)


def _configure(node: Node, files: Files, place: Place) -> str:
    if place is containerd_places.USUAL:
        several = len(containerd_places.there(node.host)) > 1
        return "pyshimctl configure containerd" + (
            f" --config {quoted(place.config)}" if several else ""
        )
    file = template_of(files) if files.is_generated and not files.drop_in else place.config
    return f"pyshimctl configure containerd --config {quoted(file)}"


def _switched_off(files: Files, step: str) -> Finding:
    return Finding(
        "containerd-cri",
        "error",
        "containerd's CRI is switched off",
        evidence=f"{files.path}: disabled_plugins has '{files.is_off[0]}'",
        why="the kubelet cannot start a pod: unknown service runtime.v1.RuntimeService",
        next_step=f"take it out of disabled_plugins in {_source(files, files.path)}; then {step}",
    )


def _does_not_load(files: Files, cri: dict[str, Any], step: str) -> Iterator[Finding]:
    """Yield why the CRI plugin would not load (ValidatePluginConfig in its config.go)."""
    default = find(cri, "containerd", "default_runtime_name")
    runtimes = files.runtimes(cri)
    if default is not None and default not in runtimes:
        yield registration.no_such_default(
            "containerd",
            f"default_runtime_name is '{default}', and the runtimes are {', '.join(runtimes)}",
            f"set default_runtime_name to one of these, or add"
            f' [plugins."{files.cri(files.path)[1]}".containerd.runtimes.{default or "runc"}]'
            f" with runtime_type; then {step}",
        )
    registry = find(cri, "registry") or {}
    if find(registry, "config_path") and find(registry, "mirrors"):
        yield _refused(
            "registry.config_path and registry.mirrors are both set", "remove the mirrors", step
        )
    if cri.get("systemd_cgroup") is True and not files.merges:
        yield _refused(
            "systemd_cgroup = true is for a runtime of before 1.4",
            "remove it, and set SystemdCgroup in the runtime's options",
            step,
        )


def _refused(evidence: str, cure: str, step: str) -> Finding:
    return Finding(
        "containerd-cri",
        "error",
        "containerd's CRI does not load",
        evidence=evidence,
        why="the kubelet cannot start a pod: unknown service runtime.v1.RuntimeService",
        next_step=f"{cure}; then {step}",
    )


def _ours(cri: object) -> dict[str, Any]:
    """Return the runtimes of a CRI plugin's table that are pyshim."""
    return {
        name: table
        for name, table in find_table(cri, "containerd", "runtimes").items()
        if registration.is_pyshim(find(table, "options", "BinaryName"))
    }


def _imports(files: Files, command: str) -> Iterator[Finding]:
    """Yield what 1.x does not see because it takes a plugin's whole table from the last file."""
    if files.merges or not files.having:
        return
    last = files.having[-1]
    why = "of a file of version 2 containerd 1.x takes a plugin's whole table from the last one"
    if not _ours(files.table(last)):
        yield Finding(
            "containerd-imports",
            "warning",
            "containerd 1.x does not see pyshim's runtime",
            evidence=f"{last} has the CRI plugin's table, too, and comes after {files.having[-2]}",
            why=why,
            next_step=command,
        )
    elif last == files.drop_in and not _repeats(files):
        yield Finding(
            "containerd-imports",
            "warning",
            f"containerd 1.x does not see what {files.others[-1]} says",
            evidence=f"{last} repeats an older text of it",
            why=why,
            next_step=command,
        )


def _repeats(files: Files) -> bool:
    """Whether our drop-in has everything that the files before it say, our own settings aside."""
    theirs = files.effective(files.others)
    inner = {**(find(theirs, "containerd") or {})}
    inner.pop("default_runtime_name", None)
    theirs = {**theirs, **({"containerd": inner} if inner else {})}
    theirs.pop("enable_cdi", None)
    own = files.table(str(files.drop_in)) or {}
    return tomlfile.merged(own, theirs) == own


def _passes(node: Node, table: dict[str, Any]) -> bool:
    patterns = table.get("container_annotations") or []
    return all(
        any(fnmatchcase(prefix + "x", str(pattern)) for pattern in patterns)
        for prefix in node.config.annotation_prefixes
    )


def _annotations(
    node: Node, name: str, table: dict[str, Any], file: str, command: str
) -> Iterator[Finding]:
    if not _passes(node, table):
        yield Finding(
            "containerd-annotations",
            "warning",
            f"annotations do not reach the runtime '{name}'",
            evidence=f"{file}: container_annotations is"
            f" {table.get('container_annotations') or 'not set'}",
            why="containerd keeps what no pattern lists, so pyshim sees no request",
            next_step=command,
        )


def _forgeable(
    node: Node, name: str, table: dict[str, Any], files: Files, step: str
) -> Iterator[Finding]:
    file = _file(files, name)
    for pattern in table.get("pod_annotations") or []:
        if any(fnmatchcase(f"{prefix}x", pattern) for prefix in node.config.annotation_prefixes):
            yield Finding(
                "containerd-pod-annotations",
                "error",
                f"pods' own annotations reach the runtime '{name}'",
                evidence=f"{file}: pod_annotations lists '{pattern}'",
                why="whoever may create a pod can take any device of the node",
                next_step=f"remove '{pattern}' from pod_annotations of '{name}' in"
                f" {_source(files, file)}; then {step}",
            )


def _default(files: Files, ours: dict[str, Any], command: str) -> Iterator[Finding]:
    default = default_of(files.everything(), merges=files.merges)
    if default not in ours:
        yield Finding(
            "default-runtime",
            "info",
            "pods use pyshim only with a RuntimeClass",
            evidence=f"{files.path}: default_runtime_name is {default}"
            if default != "default"
            else f"{files.path}: the table default_runtime is the default runtime",
            why="a pod without runtimeClassName is started past pyshim",
            next_step=f"set runtimeClassName in the pod, or {command} --set-as-default",
        )
