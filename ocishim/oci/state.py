"""The state a runtime writes to a hook's stdin, and the rootfs path it leads to.

Source: runtime-spec runtime.md#state. Runtimes differ: crun sends status `created` and pid 0 where
the spec says `creating`, adds `root`, gVisor sends pid -1, youki none. Only what leads to the
rootfs is looked at; anything else may be missing or odd.
"""

from __future__ import annotations

from ocishim import posixos
from ocishim.errors import DocumentError
from ocishim.oci.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_BYTES = 4 << 20
"""The largest state read; the annotations of a Kubernetes object may have 256 KiB."""


class State:
    """One state. `root` is crun's extension, relative to the bundle; all may be empty."""

    __slots__ = ("annotations", "bundle", "id", "pid", "root", "status")

    def __init__(self, document: dict[str, Any]) -> None:
        self.id = _text(document, "id")
        self.status = _text(document, "status")
        self.bundle = _text(document, "bundle")
        self.root = _text(document, "root")
        pid = document.get("pid")
        self.pid: int = pid if isinstance(pid, int) else 0
        annotations = document.get("annotations")
        self.annotations: dict[str, Any] = annotations if isinstance(annotations, dict) else {}


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def parse(data: bytes, source: str = "state") -> State:
    """Parse the state; DocumentError names `source` and the fault."""
    from ocishim import jsonio  # noqa: PLC0415 - 0.6 ms that a chain with --rootfs can do without

    document = jsonio.loads(data, source)
    if not isinstance(document, dict):
        found = jsonio.type_name(document)
        raise DocumentError(f"expected an object, found {found}", source=source)
    state = State(document)
    for name, path in (("bundle", state.bundle), ("root", state.root)):
        if "\0" in path:
            raise DocumentError(f"expected a path, found {path!r} in '{name}'", source=source)
    return state


def read(fd: int, source: str = "state on stdin") -> bytes:
    """Read the state's text from `fd` to its end; DocumentError: more than MAX_BYTES."""
    chunks = []
    size = 0
    while chunk := posixos.read(fd, 1 << 16):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BYTES:
            raise DocumentError(f"more than {MAX_BYTES} bytes", source=source)
    return b"".join(chunks)


def container(state: State) -> Container:
    """Return what config.json in the state's bundle says of the container.

    A hook that may not read it (in a user namespace) has no rights of the host's root anyway.
    """
    from ocishim.oci.bundle import Bundle  # noqa: PLC0415 - only where no chain tells

    try:
        return Container.of(Bundle(state.bundle).spec)
    except DocumentError:
        return Container()


def rootfs_path(state: State) -> str:
    """Return the rootfs's path: crun's `root`, else root.path of config.json in the bundle.

    DocumentError: no bundle, no config.json, no root.path; an empty one would mean the bundle
    itself.
    """
    if not state.bundle.startswith("/"):
        raise DocumentError(f"state: bundle {state.bundle!r} is not an absolute path")
    if state.root:
        return posixos.path.join(state.bundle, state.root)
    from ocishim.oci.bundle import Bundle  # noqa: PLC0415 - only where the state does not tell

    try:
        bundle = Bundle(state.bundle)
    except DocumentError as error:
        raise DocumentError(error.message) from error  # the hint is for the runtime's caller
    root = bundle.spec.get("root")
    path = root.get("path") if isinstance(root, dict) else None
    if not isinstance(path, str) or not path:
        raise DocumentError("root.path is missing", source=bundle.config_path)
    return posixos.path.join(state.bundle, path)
