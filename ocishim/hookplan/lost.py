"""What hooks that pyshim runs make in vain: links below what the container mounts later. Pure.

pyshim's hooks see an empty tmpfs where the container will have its own (/dev, and so
/dev/dri/by-path), and that ends with them.
"""

from __future__ import annotations

from ocishim.oci.container import has_bind_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ocishim.hookplan.knownhooks import Part


def warnings(spec: dict[str, Any], parts: list[Part], runtime: str) -> list[str]:
    """Return a sentence for each mount that hides links of `parts`, which pyshim runs itself."""
    return [
        f"links below the container's own {place} are missing: {', '.join(made)}: pyshim runs the "
        f"hooks before {runtime or 'the runtime'} mounts it"
        for place, made in links(spec, parts).items()
    ]


def links(spec: dict[str, Any], parts: list[Part]) -> dict[str, list[str]]:
    """Return the links that known hooks make below mounts of the container's own, by the mount."""
    found: dict[str, list[str]] = {}
    places = [f"/{place.strip('/')}" for place in _own_mounts(spec)]
    for link in _links(parts):
        path = f"/{link.lstrip('/')}"
        above = [place for place in places if path.startswith(f"{place}/")]
        if above:
            found.setdefault(max(above, key=len), []).append(link)
    return found


def _own_mounts(spec: dict[str, Any]) -> Iterator[str]:
    """Where config.json mounts a file system that is made for the container."""
    mounts = spec.get("mounts")
    for mount in mounts if isinstance(mounts, list) else ():
        if not isinstance(mount, dict) or mount.get("type") in (None, "", "bind", "none"):
            continue
        place = mount.get("destination")
        if isinstance(place, str) and not has_bind_option(mount):
            yield place


def _links(parts: list[Part]) -> Iterator[str]:
    """The places of the links that the hooks make."""
    for part in parts:
        if part.name != "create-symlinks":
            continue
        for word in part.args:  # the flag and its value, in one word or in two
            _, separator, place = word.partition("::")
            if separator:
                yield place
