"""Which container is meant by a name, and the story of its create: told anew, or as it was kept."""

from __future__ import annotations

import os
from typing import Any

from ocishim.admin.explain import containers, records, states, story
from ocishim.admin.explain.containers import Container
from ocishim.admin.explain.records import Record
from ocishim.admin.install import ownfiles
from ocishim.errors import PyshimError, UsageError
from ocishim.lowlevel import lowlevel
from ocishim.settings import config as settings

_IN_PODS = ("crio", "kubelet")
_POD_STEP = "runtimeClassName: pyshim in the pod, or pyshimctl configure {} --set-as-default"
_STEPS = {
    "docker": "docker run --runtime pyshim ..., or pyshimctl configure docker --set-as-default",
    "podman": "podman --runtime pyshim run ..., or pyshimctl configure podman --set-as-default",
    "containerd": "ctr run --runc-binary pyshim ...; in Kubernetes runtimeClassName: pyshim",
}
"""How a container is started by pyshim, by engine."""
_NOT_KEPT = "no create of it is among those that pyshim keeps"


def of_container(name: str, root: str | None = None) -> dict[str, Any]:
    """Return the story of the container that `name` means. Raises UsageError: there is none."""
    kept = {one.id: one for one in records.kept()}
    known = containers.called(name)
    meant = _meant(name, kept, known)
    return _story(meant or name, kept, known.get(meant, []), root)


def of_pod(name: str) -> list[dict[str, Any]]:
    """Return the stories of the containers of the pod NAME or NAMESPACE/NAME."""
    kept = {one.id: one for one in records.kept() if _is_pods(one.pod, name)}
    known: dict[str, list[Container]] = {}
    for one in containers.known():
        if _is_pods(one.pod, name):
            known.setdefault(one.id, []).append(one)
    pods = {one.pod for one in kept.values()} | {one.pod for ones in known.values() for one in ones}
    if len(pods) > 1:
        raise UsageError(f"{len(pods)} pods are called {name!r}: {', '.join(sorted(pods))}")
    if not pods:
        raise UsageError(
            f"no container of a pod {name!r} found",
            hint=states.or_as_root("see whether it is on this node: kubectl get pod -o wide"),
        )
    return [_story(id_, kept, known.get(id_, []), None) for id_ in dict.fromkeys([*kept, *known])]


def last_failure() -> dict[str, Any]:
    """Return the story of the last create that failed. Raises UsageError when none is kept."""
    for one in reversed(records.kept()):
        if one.told["error"]:
            return records.story(one)
    hint = states.or_as_root(
        "look into the engine's log; 'pyshimctl doctor' says whether records can be kept"
    )
    raise UsageError("no create that failed is kept", hint=hint)


def _is_pods(pod: str, name: str) -> bool:
    return bool(pod) and name in (pod, pod.partition("/")[2])


def _meant(name: str, kept: dict[str, Record], known: dict[str, list[Container]]) -> str:
    """Return the id that `name` means, "" when no file says; of one name's containers the last."""
    if name in kept or name in known:
        return name
    named = [one.id for one in kept.values() if name in one.names]
    named += [id_ for id_, ones in known.items() if any(name in one.names for one in ones)]
    ids = named or [id_ for id_ in {**kept, **known} if id_.startswith(name)]
    owners = sorted({_owner(id_, kept, known) for id_ in ids})
    if len(owners) > 1:
        raise UsageError(
            f"{len(owners)} containers are called {name!r}: {', '.join(owners)}",
            hint="name one by its id, or as POD/NAME",
        )
    order = [one for one in kept if one in ids]
    return [*ids[-1:], *order][-1] if ids else ""


def _owner(id_: str, kept: dict[str, Record], known: dict[str, list[Container]]) -> str:
    """Return what tells containers of one name apart: the pod, else the id."""
    pods = [kept[id_].pod] if id_ in kept else []
    pods += [one.pod for one in known.get(id_, ())]
    return next(filter(None, pods), id_)


def _story(
    id_: str, kept: dict[str, Record], known: list[Container], root: str | None
) -> dict[str, Any]:
    one = kept.get(id_)
    program = next((known_by.started_by for known_by in known if known_by.started_by), "")
    bundle = _bundle(id_, root)
    if not one and (program and not _is_pyshim(program)):
        return _foreign(id_, known, bundle, f"{program} did")
    if bundle:
        return _running(id_, one, known, bundle, program)
    if one:
        return records.story(one)
    if known:
        return _unkept(id_, known, program)
    raise states.not_found(id_, root)


def _bundle(id_: str, root: str | None) -> str:
    """Return the bundle of a container that is there, "" when the low-level runtime knows none."""
    try:
        config = settings.load()
        pyshim, _ = ownfiles.programs()
        program = lowlevel.find(config.runtimes, settings.search_path(), pyshim, config.path)
    except UsageError:
        raise
    except PyshimError:
        return ""  # explain tells what is wrong with them of a bundle; records need none of it
    return states.bundle_of(id_, program, root)


def _running(
    id_: str, one: Record | None, known: list[Container], bundle: str, program: str
) -> dict[str, Any]:
    """Return the story of a container that is there; without a record it may be another's."""
    if not one and not program and _came_later(bundle):
        return _foreign(id_, known, bundle, _NOT_KEPT)
    told = story.tell(bundle)
    if one:
        told = {**told, "created": records.created(one), "container": one.id}
        told = {**told, "pod": one.pod, "name": one.name}
    return told


def _came_later(bundle: str) -> bool:
    """Whether the records reach back to before the bundle was made, so that one is missing."""
    kept = records.kept()
    try:
        made = os.stat(f"{bundle}/config.json").st_mtime
    except OSError:
        return False
    return bool(kept) and records.seconds(kept[0]) < made


def _is_pyshim(program: str) -> bool:
    return "pyshim" in (os.path.basename(program), os.path.basename(os.path.realpath(program)))


def _foreign(id_: str, known: list[Container], bundle: str, why: str) -> dict[str, Any]:
    """Return the story of a container that pyshim did not start."""
    result = f"pyshim did not start this container: {why}"
    return _untold(id_, known, bundle, result, _how_to_start(known))


def _unkept(id_: str, known: list[Container], program: str) -> dict[str, Any]:
    """Return the story of one that has ended, and whose create is kept no longer, or never was."""
    result = "no create of it is kept: pyshim has the last 200 at least, since the machine started"
    if program:
        again = f"start it again: {program} is its runtime, and explain then knows its create"
        return _untold(id_, known, "", result, again)
    result += "; pyshim did not start this container, or not since then"
    return _untold(id_, known, "", result, _how_to_start(known))


def _how_to_start(known: list[Container]) -> str:
    engines = [one.engine for one in known]
    engine = next(iter(engines), "")
    if engine in _IN_PODS or any(one.pod for one in known):
        return _POD_STEP.format("crio" if "crio" in engines else "containerd")
    return _STEPS.get(engine, _STEPS["containerd"])


def _untold(
    id_: str, known: list[Container], bundle: str, result: str, next_step: str
) -> dict[str, Any]:
    return {
        "container": id_,
        "pod": next((one.pod for one in known if one.pod), ""),
        "name": next((one.names[0] for one in known if one.pod and one.names), ""),
        "bundle": bundle,
        "steps": [],
        "warnings": [],
        "error": "",
        "result": result,
        "next": next_step,
    }
