"""What is wrong with an installation: every file, link and folder of it, and its interpreter.

`pyshimctl install --check` prints it, the doctor makes one finding of it, `install` mends it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from ocishim.admin import integrity, launchers, pythons
from ocishim.admin.installation import Installation
from ocishim.admin.integrity import Fault
from ocishim.errors import ConfigError


def faults(installation: Installation) -> list[Fault]:
    """Return what is wrong; the paths are the machine's own. Nothing is there: that alone."""
    if not os.path.isdir(installation.host.real(installation.home)):
        return [Fault(installation.home, "is missing: pyshim is not installed there", False)]
    return [*_all(installation)]


def _all(installation: Installation) -> Iterator[Fault]:
    home, name = installation.home, installation.current
    for fault in installation.home_faults():
        yield fault._replace(path=os.path.normpath(f"{home}/{fault.path}"))
    if not name or not os.path.isdir(installation.host.real(f"{home}/{name}")):
        yield Fault(f"{home}/current", "leads to no version", True)
        return
    for fault in installation.version_faults(name):
        yield fault._replace(path=os.path.normpath(f"{home}/{name}/{fault.path}"))
    yield from _links(installation, name)
    yield from _interpreter(installation, name)
    for path in installation.wrong_links():
        yield Fault(path, f"is no link to {home}/current/bin", False)


def _links(installation: Installation, name: str) -> Iterator[Fault]:
    """Yield the version's links that lead nowhere; those that changed were told already."""
    listed = installation.listed(name)
    for path in listed.entries if listed else ():
        whole = f"{installation.home}/{name}/{path}"
        entry = installation.host.entry(whole)
        if os.path.islink(entry) and not os.path.exists(installation.host.real(whole)):
            yield Fault(whole, f"leads to {os.readlink(entry)}, which is gone", False)


def _interpreter(installation: Installation, name: str) -> Iterator[Fault]:
    """Yield why the interpreter that the version was made for cannot run it any more."""
    listed = installation.listed(name)
    path = listed.facts.get("python", "") if listed else ""
    if not path or listed is None:
        return
    if not installation.host.is_program(path):
        yield Fault(path, "is gone, and is pyshim's interpreter", False)
    elif not installation.host.elsewhere:
        found = pythons.ask(installation.host, path)
        told = found.name if isinstance(found, pythons.Python) else found
        if told != listed.facts.get("version"):
            yield Fault(
                path, f"is not Python {listed.facts.get('version')} any more: {told}", False
            )


def must_be_whole() -> set[str] | None:
    """Return the files that this copy was installed with; None when it is no installed copy.

    Raises ConfigError when it has lost some, for it could only install what is wrong with it.
    """
    if not launchers.program():
        return None
    listed = integrity.read(launchers.library())
    lost = lost_here()
    if lost or listed is None:
        raise ConfigError(
            f"{lost[0].path} {lost[0].what}, and only its origin has it", hint=origin()
        )
    return set(listed.entries)


def lost_here() -> list[Fault]:
    """Return what this copy of pyshim has lost and cannot restore; nothing when it is a clone's."""
    folder = launchers.library()
    if not launchers.program():
        return []
    listed = integrity.read(folder)
    if listed is None:
        return [Fault(f"{folder}/{integrity.LIST}", "cannot be read", True)]
    found = (one for one in integrity.faults(folder, listed) if one.lost)
    return [
        one._replace(path=f"{folder}/{one.path}")
        for one in found if not one.path.startswith("bin/") and "__pycache__" not in one.path
    ]  # fmt: skip


def facts(python: pythons.Python) -> dict[str, str]:
    """Return what a new version's list notes: its interpreter, and the pyshimctl that made it."""
    own = integrity.read(launchers.library()) if launchers.program() else None
    program = os.path.abspath(sys.argv[0])
    origin_ = own.facts.get("origin", "") if own else program
    is_ctl = os.path.basename(origin_) == "pyshimctl"
    return {"python": python.path, "version": python.name, "origin": origin_ if is_ctl else ""}


def origin() -> str:
    """Return how to install again where this copy cannot."""
    own = integrity.read(launchers.library())
    program = own.facts.get("origin", "") if own else ""
    if program and os.access(program, os.X_OK):
        return f"{program} install"
    return "install pyshim again from its clone or wheel"


def next_step(installation: Installation) -> str:
    """Return the command that mends `installation`, as far as this copy can."""
    if lost_here():
        return origin()
    words = ["pyshimctl install"]
    if installation.prefix != "/usr/local":
        words.append(f"--prefix {installation.prefix}")
    if installation.host.elsewhere:
        words.append(f"--host-root {installation.host.root}")
    return " ".join(words)
