"""Who asks for a CDI device, judged by who could have written the request.

Annotations first; where they ask for nothing, volume mounts and then the environment, if the
configuration switches those on (device_lists.py reads them).

Pure. Sources: containerd and CRI-O as measured (containers' annotations come from device
plugins, pods' from whoever may create a pod); the CDI reference for an annotation's grammar.
"""

from __future__ import annotations

from ocishim import jsonio
from ocishim.cdi import annotations as cdi_annotations
from ocishim.cdi import names as cdi_names
from ocishim.create import device_lists
from ocishim.errors import DocumentError, PyshimError, RequestError
from ocishim.oci import marks
from ocishim.oci.members import must_be

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocishim.settings.config import Config

STANDARD_PREFIX = "cdi.k8s.io/"
_NOTHING = ("", "none", "void")  # what a variable says that asks for nothing
_OF_LISTS = "write indices, UUIDs or names separated by ',', or all, or none"
_OF_MOUNTS = (
    f"{device_lists.MOUNTS_ROOT}/INDEX, a UUID or all in its place, "
    f"or {device_lists.MOUNTS_ROOT}/cdi/VENDOR/CLASS/NAME"
)
_GPUS_HOOK = "/nvidia-container-runtime-hook"  # what `docker run --gpus` puts into config.json


class Requests:
    """names: qualified device names in the order asked for. sources: one sentence a request.

    ignored: one sentence for each request that was not honoured, with the reason.
    refused: those of them that whoever asked for a device is waiting to read. noticed: those that
    may have been no request at all.
    """

    __slots__ = ("ignored", "names", "noticed", "refused", "sources")

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sources: list[str] = []
        self.ignored: list[str] = []
        self.refused: list[str] = []
        self.noticed: list[str] = []

    def add(self, name: str, source: str) -> None:
        """Note that `source` asks for the device `name`."""
        self.names.append(name)
        self.sources.append(f"{source} asks for {name}")

    def refuse(self, sentence: str) -> None:
        """Note a request that is not honoured, for the log's readers too."""
        self.ignored.append(sentence)
        self.refused.append(sentence)

    def notice(self, sentence: str) -> None:
        """Note what looks like a request, for who asks why there is no device."""
        self.ignored.append(sentence)
        self.noticed.append(sentence)


def gather(spec: dict[str, Any], config: Config) -> Requests:
    """Return the devices config.json asks for.

    Raises DocumentError when the annotations are not strings, RequestError naming the annotation,
    the variable or the mounts that ask for what is no device's name.
    """
    requests = Requests()
    written = marks.of(spec)
    asked = {key: value for key, value in written.items() if key.startswith(_prefixes(config))}
    if marks.is_sandbox(written):
        if asked:
            keys = ", ".join(f"'{key}'" for key in sorted(asked))
            requests.refuse(
                f"a sandbox (pause) container never gets devices: annotation {keys} is the pod's, "
                "and a device plugin or the CRI's client asks for a container"
            )
        return requests
    _refuse_other_prefixes(written, config, requests)
    # One does not undo the other: a pod's author can write Podman's mark, an image's CRI-O's.
    if asked and marks.is_podmans(written) and not config.podman_annotations:
        asked = _refused_under_podman(asked, requests)
    if asked and marks.is_crios(written):
        asked = _trusted_under_crio(asked, written, requests)
    for key in sorted(asked):
        for name in _parsed(key, asked[key], config):
            requests.add(name, f"annotation '{key}'")
    if not requests.names and config.volume_mounts:
        _gather_mounts(spec, config, requests)
    if not requests.names and config.env_requests:
        _gather_env(spec, config, requests)
    if not requests.names:
        _notice(spec, config, requests)
    return requests


def _refuse_other_prefixes(written: dict[str, Any], config: Config, requests: Requests) -> None:
    """Refuse annotations that name CDI devices, and whose keys no setting honours."""
    prefixes = _prefixes(config)
    for key, value in written.items():
        # An annotation of an engine's hardly has both signs: most are not looked at.
        if not isinstance(value, str) or "=" not in value or "/" not in value:
            continue
        words = [word.strip() for word in value.split(",")]
        if not key.startswith(prefixes) and all(map(cdi_names.is_qualified, words)):
            requests.refuse(
                f"annotation '{key}' names {value}, and its key begins with none of "
                f"cdi.annotation_prefixes in {config.path}: {', '.join(prefixes)}"
            )


def _notice(spec: dict[str, Any], config: Config, requests: Requests) -> None:
    """Note what would ask for devices with other settings, or asks another program."""
    known = [table["name"] for table in config.env_requests]
    for entry in device_lists.variables(spec):
        name, _, value = entry.partition("=")
        if name.endswith("_VISIBLE_DEVICES") and name not in known and value not in _NOTHING:
            requests.notice(f"environment {entry}: no [[requests.env]] in {config.path} names it")
    if not config.volume_mounts and device_lists.mounted_names(spec, device_lists.DEFAULT_KIND):
        requests.notice(
            f"mounts below {device_lists.MOUNTS_ROOT}: "
            f"requests.volume_mounts is off in {config.path}"
        )
    hooks = spec.get("hooks")
    created = hooks.get("prestart") if isinstance(hooks, dict) else None
    for hook in created if isinstance(created, list) else ():
        path = hook.get("path") if isinstance(hook, dict) else None
        if isinstance(path, str) and path.endswith(_GPUS_HOOK):
            requests.notice(
                f"prestart hook {path}: --gpus asks that program for devices, not CDI; "
                "--device nvidia.com/gpu=all asks for CDI devices"
            )


def _gather_mounts(spec: dict[str, Any], config: Config, requests: Requests) -> None:
    kinds = {table["name"]: table["kind"] for table in config.env_requests}
    kind = kinds.get("NVIDIA_VISIBLE_DEVICES", device_lists.DEFAULT_KIND)
    source = f"a volume mount below {device_lists.MOUNTS_ROOT}"
    for place, name in device_lists.mounted(spec, kind):
        if not name:
            requests.refuse(f"the mount at {place} asks for no device: expected {_OF_MOUNTS}")
    names = device_lists.mounted_names(spec, kind)
    allowed = _of_kinds(
        names, {kind, *kinds.values()}, source, requests, f"mount /dev/null at {_OF_MOUNTS}"
    )
    for name in allowed:
        requests.add(name, source)


def _gather_env(spec: dict[str, Any], config: Config, requests: Requests) -> None:
    for table in config.env_requests:
        value = device_lists.env_value(spec, table["name"])
        names = device_lists.device_names(value, table["kind"]) if value else []
        if names and not table["unprivileged"] and not device_lists.is_privileged(spec):
            requests.ignored.append(
                f"environment {table['name']}={value}: the container is not privileged"
            )
            continue
        source = f"environment {table['name']}"
        for name in _of_kinds(names, {table["kind"]}, source, requests, _OF_LISTS):
            requests.add(name, source)


def _of_kinds(
    names: list[str], kinds: set[str], source: str, requests: Requests, hint: str
) -> list[str]:
    """Return those of `names` that [[requests.env]] lets `source` ask for; refuse the others.

    Raises RequestError for what is no name; `hint` says how one is written there.
    """
    allowed = [name for name in names if name.partition("=")[0] in kinds]
    for name in names:
        if name not in allowed:
            requests.refuse(
                f"{source} asks for {name}, which is not of the kind {' or '.join(sorted(kinds))}: "
                "a [[requests.env]] table allows another"
            )
    for name in allowed:
        if not cdi_names.is_qualified(name):
            raise RequestError(
                f"{source} asks for {cdi_names.goquote(name)}, which no CDI device can be called",
                hint=hint,
            )
    return allowed


def _prefixes(config: Config) -> tuple[str, ...]:
    return tuple(config.annotation_prefixes)


def _parsed(key: str, value: object, config: Config) -> list[str]:
    text = must_be(str, value, f"annotations[{key}]")
    try:
        return [name for _, name in cdi_annotations.parse({key: text}, _prefixes(config))]
    except PyshimError as err:
        raise RequestError(
            f"failed to parse CDI device annotations: {err.message} in annotation '{key}'",
            hint="write qualified names, vendor.com/class=name, separated by ',' without blanks",
        ) from None


def _refused_under_podman(asked: dict[str, Any], requests: Requests) -> dict[str, Any]:
    """Refuse them all. Before 4.6 Podman copies an image's annotations (its PR 18542)."""
    for key in asked:
        requests.refuse(
            f"annotation '{key}': under Podman an image's author can write it; "
            "ask by --device vendor/class=name (or set requests.podman_annotations = true)"
        )
    return {}


def _trusted_under_crio(
    asked: dict[str, Any], written: dict[str, Any], requests: Requests
) -> dict[str, Any]:
    """Keep what a pod's author could not have written.

    CRI-O copies every annotation of the pod into config.json, and injects the containers' own
    itself; its JSON of the container's annotations cannot be forged by a pod, but for a pause
    container's.
    """
    own: Any = {}
    if written.get(marks.CRIO + "ContainerType") == "container":
        try:
            own = jsonio.loads(
                str(written.get(marks.CRIO_ANNOTATIONS)).encode(), marks.CRIO_ANNOTATIONS
            )
        except (DocumentError, UnicodeEncodeError):
            own = {}
    trusted: dict[str, Any] = {}
    for key, value in asked.items():
        if key.startswith(STANDARD_PREFIX):
            requests.ignored.append(f"annotation '{key}': CRI-O injects CDI devices itself")
        elif not isinstance(own, dict) or own.get(key) != value:
            requests.refuse(f"annotation '{key}': not the container's own under CRI-O")
        else:
            trusted[key] = value
    return trusted
