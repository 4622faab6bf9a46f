"""Which containers have pyshim as their runtime, whatever engines' configurations say by now.

An engine remembers the program a container was created by, and can neither stop, enter nor delete
it without: containerd's shims beside the bundle (options.json, `runtime`), Docker by way of them,
conmon, which Podman and CRI-O leave with each container, on its command line. Reads only.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ocishim.admin.editing import files
from ocishim.admin.host import Host
from ocishim.errors import ConfigError
from ocishim.lowlevel.lowlevel import USUAL_DIRS

_TASKS = "io.containerd.runtime.v2.task"
_STATES = (
    *("/run/containerd", "/run/k3s/containerd", "/run/k0s/containerd"),
    *("/var/snap/microk8s/common/run/containerd", "/run/docker/containerd/daemon"),
)
"""Where containerd keeps its state; elsewhere it is found by its shims, which stand in bundles."""
_CRI = ("io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name")
_CRIO_NAME = re.compile(r"k8s_[^_]+_([^_]+)_([^_]+)_[^_]+_[0-9]+")
_MADE_ID = re.compile(r"[0-9a-f]{13,}")
_CRIO = "io.kubernetes.cri-o."
_MAX_BYTES = 16 << 20
_MAX_SCRIPT = 1 << 16
_SHOWN = 5


NEXT_STEP = "delete what still runs under pyshim, then try again"


class InUseError(ConfigError):
    """Containers that are there need what would be gone."""


class Container(NamedTuple):
    """One container that is there. program: its runtime, as the engine calls it.

    pod: "namespace/name", "" outside of pods. handler: the name CRI-O has for the runtime, "" for
    its default one.
    """

    engine: str
    id: str
    name: str
    pod: str
    program: str
    handler: str = ""

    def describe(self) -> str:
        """Return what people call it; of an id that a program made, as much as engines show."""
        short = self.id[:12] if _MADE_ID.fullmatch(self.id) else self.id
        return f"pod {self.pod}" if self.pod else f"{self.engine} {self.name or short}"


def of(host: Host, program: str) -> list[Container]:
    """Return the containers whose runtime is the pyshim that `program` is a path of."""
    return [one for one in there(host) if _is(host, one.program, program)]


def by_name(host: Host, engine: str, names: set[str], program: str) -> list[Container]:
    """Return those that `engine` has to find the runtime for by one of its `names`.

    containerd's CRI starts every container of a pod by the name that the pod began with, and 2.x
    looks it up to enter one (seen: `no runtime for "pyshim" is configured`). Its files do not tell
    the name: every pod counts, also one that began when pyshim was the default. A container of
    CRI-O's default runtime has no name, and is stopped by whichever is the default then.
    """
    if not names:
        return []
    ours = [one for one in of(host, program) if one.engine == engine]
    if engine == "containerd":
        return [one for one in ours if one.pod]
    return [one for one in ours if engine != "crio" or one.handler in names]


def complaint(containers: list[Container], what: str, *, verb: str = "stopped") -> str:
    """Return what would become of them without `what`, "" when there are none."""
    names = list(dict.fromkeys(one.describe() for one in containers))
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more} could not be {verb} without {what}"


def refuse(containers: list[Container], what: str) -> None:
    """Raise InUseError when there are any; `what` says what would be gone."""
    fault = complaint(containers, what)
    if fault:
        raise InUseError(fault, hint=NEXT_STEP)


def there(host: Host) -> Iterator[Container]:
    """Yield every container of the machine that engines' files or processes tell of."""
    processes = list(_processes(host))
    seen = set()
    for bundle in _bundles(host, processes):
        one = _identity(bundle)
        if one and one not in seen:
            seen.add(one)
            yield from _task(bundle)
    for _, argv in processes:
        if os.path.basename(argv[0]) == "conmon":
            yield _monitored(host, argv)


def _processes(host: Host) -> Iterator[tuple[str, list[str]]]:
    """Yield (folder in /proc, command line) of the machine's own processes.

    Others are of engines in containers, which have another pyshim at the same path.
    """
    for folder in host.processes():
        yield folder, _text(f"{folder}/cmdline").split("\0")


def _bundles(host: Host, processes: list[tuple[str, list[str]]]) -> Iterator[str]:
    """Yield the folders of containerd's tasks; one may come twice, by different ways."""
    places = [f"{glob.escape(host.real(f'{state}/{_TASKS}'))}/*" for state in _STATES]
    places += [
        f"{folder}/cwd/.."  # a shim stands in its bundle, wherever containerd's state is
        for folder, argv in processes
        if os.path.basename(argv[0]).startswith("containerd-shim")
    ]
    for place in places:
        yield from sorted(glob.glob(f"{place}/*/"))


def _task(bundle: str) -> Iterator[Container]:
    options = _json(f"{bundle}/options.json")
    program = options.get("binary_name") or _text(f"{bundle}/runtime").strip()
    if not program:
        return
    notes = _notes(bundle)
    space, pod = (str(notes.get(key, "")) for key in _CRI)
    namespace, id_ = os.path.realpath(bundle).split("/")[-2:]
    engine = "docker" if namespace == "moby" else "containerd"
    yield Container(engine, id_, "", f"{space}/{pod}" if pod else "", str(program))


def _monitored(host: Host, argv: list[str]) -> Container:
    """Return the container of a conmon: -c ID -n NAME -r RUNTIME -b BUNDLE."""
    flags = dict(itertools.pairwise(argv))
    bundle = host.real(flags.get("-b", "/"))
    id_, name, program = (flags.get(flag, "") for flag in ("-c", "-n", "-r"))
    notes = _notes(bundle)
    pod = _CRIO_NAME.fullmatch(name)
    if not pod:
        return Container("podman", id_, name, "", program)
    # The sandbox has the handler; its bundle lies beside the containers', with a process or not.
    sandbox = str(notes.get(f"{_CRIO}SandboxID", id_))
    handler = _notes(bundle.replace(id_, sandbox)).get(f"{_CRIO}RuntimeHandler", "")
    return Container("crio", id_, "", f"{pod[2]}/{pod[1]}", program, str(handler))


def _is(host: Host, named: str, program: str) -> bool:
    """Whether `named` is, leads to, or is a script that calls the pyshim at `program`."""
    if "/" not in named:
        places = (f"{folder}/{named}" for folder in USUAL_DIRS)
        named = next((path for path in places if host.is_program(path)), named)
    if named == program or _home(host, named) == _home(host, program):
        return True
    script = _text(host.target(named), _MAX_SCRIPT)
    return script.startswith("#!") and program in script


def _home(host: Host, path: str) -> str:
    """Return the folder of all versions for a program of an installation, else its file."""
    real = host.target(path) or host.root + path  # itself, where links lead in a circle
    home, below, _ = real.rpartition("/lib/pyshim/")
    return home + below or real


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _notes(bundle: str) -> dict[str, Any]:
    notes = _json(f"{bundle}/config.json").get("annotations")
    return notes if isinstance(notes, dict) else {}


def _json(path: str) -> dict[str, Any]:
    try:
        found = json.loads(_text(path) or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(path: str, limit: int = _MAX_BYTES) -> str:
    try:
        return files.content(path, limit).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
