"""Containers by the names people know, and what started them, as the engines' own files say.

Reads only; an engine that is not there has no files. Names are what an engine, a pod's author or a
user chose: for comparing and showing, never for paths.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ocishim.admin.editing import files, tomlfile
from ocishim.admin.engines import docker
from ocishim.admin.host import Host
from ocishim.errors import ConfigError
from ocishim.oci import marks

HOST = Host()
_TASKS = "containerd/io.containerd.runtime.v2.task/*"
_TASK_ROOTS = (
    *(f"/run/{_TASKS}", f"/run/k3s/{_TASKS}", f"/run/k0s/{_TASKS}"),
    *(
        f"/var/snap/microk8s/common/run/{_TASKS}",
        "/run/docker/" + _TASKS.replace("/", "/daemon/", 1),
    ),
)
"""Where containerd's shims keep bundles, a namespace below each (moby: Docker's)."""
_STORES = ("/var/lib/containers/storage", "/run/containers/storage")
_OWN_STORES = ("~/.local/share/containers/storage", "$XDG_RUNTIME_DIR/containers/storage")
_STORAGE_CONFS = ("/usr/share/containers/storage.conf", "/etc/containers/storage.conf")
_OWN_STORAGE_CONF = "~/.config/containers/storage.conf"
_PLACES = ("graphroot", "runroot")
"""containers-storage.conf(5): where Podman and CRI-O have their containers."""
_OWN_DOCKER, _OWN_NERDCTL = "~/.config/docker/daemon.json", "~/.local/share/nerdctl"
_OWN_DOCKERS_DATA = "~/.local/share/docker"
"""Of an ordinary user's Docker and nerdctl; nobody else reads another user's."""
_LOG_NAME = re.compile(r"([^_]+)_([^_]+)_(.+)-([0-9a-f]{64})\.log")
# As runc takes it. Any user's process can look like conmon, and crun 1.8 goes where `../` leads.
_ID = re.compile(r"(?!\.\.?$)[\w+.][\w+.-]*", re.ASCII)
_MAX_BYTES = 64 << 20


class Container(NamedTuple):
    """One container: its id, the names it goes by, whose it is, and what started it.

    pod: "namespace/name", "" outside of pods. started_by: the runtime's path, or the name the
    engine has for it; "" when the engine's files do not say.
    """

    id: str
    names: tuple[str, ...]
    engine: str
    pod: str = ""
    started_by: str = ""

    def is_called(self, name: str) -> bool:
        """Whether a person may mean this one by `name`: a name, or the beginning of the id."""
        return bool(name) and (name in self.names or self.id.startswith(name))


def known() -> list[Container]:
    """Return every container that some engine's files name, one entry a file that names it."""
    found: list[Container] = []
    own = (_own_dockers, _own_nerdctls)
    for source in (_dockers, _containerds, _conmons, _stored, _kubelets, _nerdctls, *own):
        try:
            found += [one for one in source() if _ID.fullmatch(one.id)]
        except (OSError, ConfigError):
            continue
    return found


def called(name: str) -> dict[str, list[Container]]:
    """Return what is known by `name`, by id."""
    found: dict[str, list[Container]] = {}
    everything = known()
    ids = {one.id for one in everything if one.is_called(name)}
    for one in everything:
        if one.id in ids:
            found.setdefault(one.id, []).append(one)
    return found


def pod_names(namespace: str, pod: str, container: str) -> tuple[str, ...]:
    """Return what a container of a pod may be called."""
    both = f"{pod}/{container}"
    return (container, both, f"{namespace}/{both}") if container else ()


def texts_of(value: object) -> list[str]:
    """Return an array's entries as text; none when it is something else."""
    return [str(each) for each in value] if isinstance(value, list) else []


def _dockers() -> Iterator[Container]:
    settings = _json(docker.config_of(HOST))
    root = str(settings.get("data-root") or "/var/lib/docker")
    paths = _glob(f"{root}/containers/*/config.v2.json")
    return _of_docker(settings, [HOST.real(path) for path in paths])


def _own_dockers() -> Iterator[Container]:
    settings = _object(os.path.expanduser(_OWN_DOCKER))
    root = str(settings.get("data-root") or os.path.expanduser(_OWN_DOCKERS_DATA))
    paths = glob.glob(f"{glob.escape(root)}/containers/*/config.v2.json")
    return _of_docker(settings, sorted(paths))


def _of_docker(settings: dict[str, Any], paths: list[str]) -> Iterator[Container]:
    for path in paths:
        about = _object(path)
        name = str(about.get("Name", "")).lstrip("/")
        chosen = str(_object(os.path.dirname(path) + "/hostconfig.json").get("Runtime") or "")
        yield Container(
            str(about.get("ID", "")), (name,), "docker", "", _dockers_program(settings, chosen)
        )


def _dockers_program(settings: dict[str, Any], name: str) -> str:
    """Return the program of Docker's runtime `name`, the name where it has no table."""
    return str(tomlfile.find(settings, "runtimes", name, "path") or name)


def _containerds() -> Iterator[Container]:
    for root in _TASK_ROOTS:
        for bundle in _glob(f"{root}/*"):
            namespace, id_ = bundle.split("/")[-2:]
            spec = _json(f"{bundle}/config.json")
            space, pod, container = marks.pod_of(spec)
            options = _json(f"{bundle}/options.json")
            program = options.get("binary_name") or options.get("BinaryName")
            engine = "docker" if namespace == "moby" else "containerd"
            whose = f"{space}/{pod}" if pod else ""
            names = pod_names(space, pod, container)
            yield Container(id_, names, engine, whose, str(program or ("runc" if options else "")))


def _conmons() -> Iterator[Container]:
    """Podman's and CRI-O's monitors: -c ID -n NAME -r RUNTIME."""
    for folder in HOST.processes():
        words = _text(f"{HOST.inside(folder)}/cmdline").split("\0")
        if os.path.basename(words[0]) != "conmon":
            continue
        flags = dict(itertools.pairwise(words))
        engine = "podman" if "libpod" in " ".join(words) else "crio"
        yield Container(
            flags.get("-c", ""), (flags.get("-n", ""),), engine, "", flags.get("-r", "")
        )


def _stored() -> Iterator[Container]:
    """Podman's and CRI-O's containers, running or not, as their storage lists them."""
    for store in _stores():
        for path in glob.glob(f"{glob.escape(store)}/*-containers/*containers.json"):
            for entry in _loads(path, list):
                names = tuple(texts_of(entry.get("names")))
                yield from _from_store(str(entry.get("id", "")), names)


def _stores() -> list[str]:
    """Return the folders of these storages, the user's own last, as they lie for us."""
    told = [_storage(HOST, path) for path in _STORAGE_CONFS]
    own = _storage(Host(), os.path.expanduser(_OWN_STORAGE_CONF))
    users = [*_OWN_STORES, *(table.get("rootless_storage_path", "") for table in told)]
    users += [own.get(key, "") for key in _PLACES]
    stores = [*_STORES, *(table.get(key, "") for table in told for key in _PLACES)]
    return [*(HOST.real(store) for store in dict.fromkeys(stores) if store), *map(_expanded, users)]


def _storage(host: Host, path: str) -> dict[str, str]:
    """Return the texts of the table [storage] of a storage.conf; none where it has none."""
    try:
        table = tomlfile.find_table(tomlfile.plain(files.text(host, path), path), "storage")
    except ConfigError:
        return {}
    return {key: value for key, value in table.items() if isinstance(value, str)}


def _expanded(path: str) -> str:
    """Return a path of a user's, who is $UID."""
    return os.path.expandvars(os.path.expanduser(path.replace("$UID", str(os.getuid()))))


def _from_store(id_: str, names: tuple[str, ...]) -> Iterator[Container]:
    """CRI-O's names are k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT."""
    for name in names:
        parts = name.split("_")
        if len(parts) == 6 and parts[0] == "k8s":
            _, container, pod, namespace, _, _ = parts
            whose = f"{namespace}/{pod}"
            yield Container(id_, pod_names(namespace, pod, container), "crio", whose)
            return
    yield Container(id_, names, "podman")


def _kubelets() -> Iterator[Container]:
    """The kubelet keeps a link to the log of each container, ended ones too."""
    for path in _glob("/var/log/containers/*.log"):
        parts = _LOG_NAME.fullmatch(os.path.basename(path))
        if parts:
            pod, namespace, container, id_ = parts.groups()
            names = pod_names(namespace, pod, container)
            yield Container(id_, names, "kubelet", f"{namespace}/{pod}")


def _nerdctls() -> Iterator[Container]:
    for path in _glob("/var/lib/nerdctl/*/names/*/*"):
        yield Container(_text(path).strip(), (os.path.basename(path),), "containerd")


def _own_nerdctls() -> Iterator[Container]:
    own = Host()
    for path in glob.glob(f"{glob.escape(os.path.expanduser(_OWN_NERDCTL))}/*/names/*/*"):
        id_ = files.text(own, path, _MAX_BYTES).strip()
        yield Container(id_, (os.path.basename(path),), "containerd")


def _glob(pattern: str) -> list[str]:
    """Return the machine's own paths that match, sorted."""
    return [HOST.inside(path) for path in sorted(glob.glob(glob.escape(HOST.root) + pattern))]


def _text(path: str) -> str:
    return files.text(HOST, path, _MAX_BYTES)


def _json(path: str) -> dict[str, Any]:
    return _object(HOST.real(path))


def _object(path: str) -> dict[str, Any]:
    return next(iter(_loads(path, dict)), {})


def _loads(path: str, kind: type) -> list[dict[str, Any]]:
    """Return the object in the file, or those in its array; none when it is anything else."""
    try:
        value = json.loads(files.content(path, _MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return []
    entries = value if kind is list and isinstance(value, list) else [value]
    return [entry for entry in entries if isinstance(entry, dict)]
