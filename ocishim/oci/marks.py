"""What engines write into config.json's annotations about a container, and who can forge it.

Sources: config.json as containerd, CRI-O, Docker and Podman hand it over; Podman's PR 18542.
Pure.
"""

from __future__ import annotations

from ocishim.oci.members import find_dict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MANAGER = "io.container.manager"
CRIO = "io.kubernetes.cri-o."
_PODMAN = "io.podman.annotations."
CRIO_ANNOTATIONS = CRIO + "Annotations"
_TYPE_MARKS = ("io.kubernetes.cri.container-type", CRIO + "ContainerType")
# Podman writes these in CRI-O's name; in a pod the last two, for Kata.
_PODMAN_ALSO = frozenset(CRIO + name for name in ("Created", "TTY", "ContainerType", "SandboxID"))
# CRI-O writes a pause container's own annotations first and the pod's over them: a value can be
# anybody's, but what only a pause container has cannot be taken away. A container whose pod
# carries one of these gets no device, which is its author's own loss.
_SANDBOX_KEYS = frozenset(
    (
        *(CRIO + name for name in ("CgroupParent", "HostName", "HostNetwork", "HostnamePath")),
        *(CRIO + name for name in ("KubeName", "Namespace", "NamespaceOptions", "PortMappings")),
        *(CRIO + name for name in ("PrivilegedRuntime", "RuntimeHandler", "ShmPath")),
        *("pod-linux-overhead.crio.io", "pod-linux-resources.crio.io"),
        "io.kubernetes.cri.sandbox-log-directory",
    )
)
_POD_MARKS = (
    tuple(
        "io.kubernetes.cri." + name
        for name in ("sandbox-namespace", "sandbox-name", "container-name")
    ),
    ("io.kubernetes.pod.namespace", "io.kubernetes.pod.name", "io.kubernetes.container.name"),
)
_SANDBOX_VALUES = {
    **dict.fromkeys(_TYPE_MARKS, "sandbox"),
    "io.kubernetes.container.name": "POD",
    "io.kubernetes.docker.type": "podsandbox",
}


def of(spec: dict[str, Any]) -> dict[str, Any]:
    """Return config.json's annotations, {} when there are none; DocumentError when no object."""
    return find_dict(spec, "annotations")


def in_pod(spec: dict[str, Any]) -> bool:
    """Return True for a container in a pod whose sandbox is there already."""
    marks = of(spec)
    return not is_sandbox(marks) and any(marks.get(mark) == "container" for mark in _TYPE_MARKS)


def is_sandbox(marks: dict[str, Any]) -> bool:
    """Whether anything says so, whatever else says that it is a container."""
    return not _SANDBOX_KEYS.isdisjoint(marks) or any(
        marks.get(key) == value for key, value in _SANDBOX_VALUES.items()
    )


def pod_of(spec: dict[str, Any]) -> tuple[str, str, str]:
    """Return namespace, name and container of the pod that the engine made it for; else "" each.

    For people to read: under CRI-O a pod's author can write them.
    """
    marks = spec.get("annotations")
    marks = marks if isinstance(marks, dict) else {}
    for names in _POD_MARKS:
        found = [marks.get(name) for name in names]
        if found[0] and found[1]:
            return str(found[0]), str(found[1]), str(found[2] or "")
    return "", "", ""


def is_podmans(marks: dict[str, Any]) -> bool:
    """Whether Podman wrote config.json: before 4.6 an image may overwrite values, never keys."""
    return (
        marks.get(_MANAGER) == "libpod"
        or any(key.startswith(_PODMAN) for key in marks)
        or (CRIO + "TTY" in marks and not is_crios(marks))
    )


def is_crios(marks: dict[str, Any]) -> bool:
    """Whether CRI-O wrote config.json: by keys that it always writes, whatever their values."""
    return marks.get(_MANAGER) == "cri-o" or any(
        key.startswith(CRIO) and key not in _PODMAN_ALSO for key in marks
    )
