"""Who asks for a CDI device, judged by who could have written the request.

Annotations first; where they ask for nothing, volume mounts and then the environment, if the
configuration switches those on (visible.py reads them).

Pure. Sources: containerd and CRI-O as measured (containers' annotations come from device
plugins, pods' from whoever may create a pod); the CDI reference for an annotation's grammar.
"""

from __future__ import annotations

from ocishim import jsonio, visible
from ocishim.cdi import annotations as cdi_annotations
from ocishim.errors import DocumentError, PyshimError, UnresolvedDeviceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocishim.config import Config

STANDARD_PREFIX = "cdi.k8s.io/"

_SANDBOX_MARKS = ("io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType")
_CRIO_ANNOTATIONS = "io.kubernetes.cri-o.Annotations"


class Requests:
    """names: qualified device names in the order asked for. sources: one sentence a request.

    ignored: one sentence for each request that was not honoured, with the reason.
    """

    __slots__ = ("ignored", "names", "sources")

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sources: list[str] = []
        self.ignored: list[str] = []

    def add(self, name: str, source: str) -> None:
        """Note that `source` asks for the device `name`."""
        self.names.append(name)
        self.sources.append(f"{source} asks for {name}")


def in_pod(spec: dict[str, Any]) -> bool:
    """Return True for a container in a pod whose sandbox is there already."""
    marks = _annotations(spec)
    return any(marks.get(mark) == "container" for mark in _SANDBOX_MARKS)


def gather(spec: dict[str, Any], config: Config) -> Requests:
    """Return the devices config.json asks for.

    Raises DocumentError when the annotations are not strings, UnresolvedDeviceError naming the
    annotation when its value is not a list of qualified device names.
    """
    requests = Requests()
    marks = _annotations(spec)
    asked = {key: value for key, value in marks.items() if key.startswith(_prefixes(config))}
    if any(marks.get(mark) == "sandbox" for mark in _SANDBOX_MARKS):
        if asked:
            requests.ignored.append("a sandbox (pause) container never gets devices")
        return requests
    if asked and marks.get("io.container.manager") == "cri-o":
        asked = _trusted_under_crio(asked, marks, requests)
    for key in sorted(asked):
        for name in _parsed(key, asked[key], config):
            requests.add(name, f"annotation '{key}'")
    if not requests.names and config.volume_mounts:
        _gather_mounts(spec, config, requests)
    if not requests.names and config.env_requests:
        _gather_env(spec, config, requests)
    return requests


def _gather_mounts(spec: dict[str, Any], config: Config, requests: Requests) -> None:
    kinds = {table["name"]: table["kind"] for table in config.env_requests}
    kind = kinds.get("NVIDIA_VISIBLE_DEVICES", visible.DEFAULT_KIND)
    for name in visible.mounted_names(spec, kind):
        requests.add(name, f"a volume mount below {visible.MOUNTS_ROOT}")


def _gather_env(spec: dict[str, Any], config: Config, requests: Requests) -> None:
    for table in config.env_requests:
        value = visible.env_value(spec, table["name"])
        names = visible.device_names(value, table["kind"]) if value else []
        if names and not table["unprivileged"] and not visible.is_privileged(spec):
            requests.ignored.append(
                f"environment {table['name']}={value}: the container is not privileged"
            )
            continue
        for name in names:
            requests.add(name, f"environment {table['name']}")


def _prefixes(config: Config) -> tuple[str, ...]:
    return tuple(config.annotation_prefixes)


def _annotations(spec: dict[str, Any]) -> dict[str, Any]:
    marks = spec.get("annotations")
    if marks is None:
        return {}
    if not isinstance(marks, dict):
        raise DocumentError("config.json: expected object in 'annotations'")
    return marks


def _parsed(key: str, value: object, config: Config) -> list[str]:
    if not isinstance(value, str):
        raise DocumentError(f"config.json: expected string in 'annotations[{key}]'")
    try:
        return [name for _, name in cdi_annotations.parse({key: value}, _prefixes(config))]
    except PyshimError as err:
        raise UnresolvedDeviceError(
            f"failed to parse CDI device annotations: {err.message} in annotation '{key}'",
            hint="write qualified names, vendor.com/class=name, separated by ',' without blanks",
        ) from None


def _trusted_under_crio(
    asked: dict[str, Any], marks: dict[str, Any], requests: Requests
) -> dict[str, Any]:
    """Keep what a pod's author could not have written.

    CRI-O copies every annotation of the pod into config.json, and injects the containers' own
    itself; its JSON of the container's annotations cannot be forged by a pod.
    """
    own: Any = {}
    if marks.get("io.kubernetes.cri-o.ContainerType") == "container":
        try:
            own = jsonio.loads(str(marks.get(_CRIO_ANNOTATIONS)).encode(), _CRIO_ANNOTATIONS)
        except (DocumentError, UnicodeEncodeError):
            own = {}
    trusted: dict[str, Any] = {}
    for key, value in asked.items():
        if key.startswith(STANDARD_PREFIX):
            requests.ignored.append(f"annotation '{key}': CRI-O injects CDI devices itself")
        elif not isinstance(own, dict) or own.get(key) != value:
            requests.ignored.append(f"annotation '{key}': not the container's own under CRI-O")
        else:
            trusted[key] = value
    return trusted
