"""Edits to an engine's files, made only where the engine itself can read the result.

First in a mount namespace of our own, with overlays over the folders concerned, where nobody else
sees them; then for good, with what was there kept beside until the engine has read that too.
Knows nothing of what the files say.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ocishim.admin.editing import files
from ocishim.errors import ConfigError
from ocishim.linux import mntns, syscalls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ocishim.admin.editing.files import Edit
    from ocishim.admin.host import Host

    Problem = Callable[[str], str]
    """Takes an empty folder of the machine's; returns the engine's complaint, "" for none."""

KEPT = ".pyshim-old"
"""What a file that is being replaced is called beyond its name."""
_NOT_HELD = "\0"  # no engine's words


def rehearse(host: Host, edits: list[Edit], problem: Problem) -> str:
    """Return the engine's complaint about the edits, which are not made.

    "" also where no trial can be held: by an ordinary user, who may not mount, and without
    overlays.
    """
    with _scratch(host) as scratch:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _tell(writer, host, edits, problem, scratch)
        os.close(writer)
        with open(reader, encoding="utf-8", errors="backslashreplace") as pipe:
            words = pipe.read()
        os.waitpid(child, 0)
    return "" if words == _NOT_HELD else words


def make(host: Host, edits: list[Edit], problem: Problem) -> str:
    """Make the edits; return the engine's complaint, with which everything is as it was again.

    Raises ConfigError where a file cannot be written; then, too.
    """
    kept: list[tuple[Edit, str]] = []
    words = "unfinished"
    try:
        for edit in edits:
            if edit.changes:
                kept.append((edit, _keep(edit)))  # noqa: PERF401 - those before a failure go again
        files.apply_all([edit for edit, _ in kept])
        with _scratch(host) as scratch:
            words = problem(host.inside(scratch))
    finally:
        for edit, old in reversed(kept):
            if words and not _is_as_it_was(edit, old):
                _undo(edit, old)
            with suppress(FileNotFoundError):
                os.unlink(old)
    return words


def _keep(edit: Edit) -> str:
    """Keep the file under another name, which is returned; there may be no file.

    Raises ConfigError naming the file where its folder cannot be written.
    """
    real = _place(edit)
    folder, name = os.path.split(real)
    if folder.endswith(".d"):  # CRI-O reads whatever lies there
        folder = os.path.dirname(folder)
    old = f"{folder}/{name}{KEPT}"
    try:
        with suppress(FileNotFoundError, PermissionError):  # the edit itself tells the latter
            _link(real, old)
    except OSError as err:
        raise files.refused(err, edit.path, "cannot be written: ") from None
    return old


def _link(real: str, old: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(old)
    try:
        os.link(real, old)  # the edit is a rename, which leaves this file as it is
    except OSError:
        shutil.copy2(real, old)


def _is_as_it_was(edit: Edit, old: str) -> bool:
    """Whether the file is what was kept of it: where it could not be written."""
    try:
        kept, now = os.stat(old), os.stat(_place(edit))
    except FileNotFoundError:
        return False
    same_mode = stat.S_IMODE(kept.st_mode) == stat.S_IMODE(now.st_mode)
    return same_mode and files.read(edit.host, edit.path) == edit.before


def _undo(edit: Edit, old: str) -> None:
    if os.path.lexists(old):
        shutil.move(old, _place(edit))
    elif edit.before is None:
        with suppress(FileNotFoundError):
            os.unlink(_place(edit))


def _place(edit: Edit) -> str:
    """Return the name that the edit replaces or removes."""
    host, path = edit.host, edit.path
    return host.entry(path) if edit.after is None else host.real(path)


@contextmanager
def _scratch(host: Host) -> Iterator[str]:
    """An empty folder of the machine's, by our path, that is gone afterwards."""
    usual = (host.real(folder) for folder in ("/tmp", "/run"))  # noqa: S108 - mkdtemp is careful
    folder = next((real for real in usual if os.path.isdir(real)), host.real("/"))
    made = tempfile.mkdtemp(prefix="pyshim-", dir=folder)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _tell(writer: int, *trial: Any) -> None:
    """Hold the trial in this process and write what came of it. Does not return."""
    words = _NOT_HELD
    try:
        words = _hold(*trial)
    except (OSError, ConfigError):
        pass  # what cannot be written is told when it is written
    finally:
        with open(writer, "w", encoding="utf-8", errors="surrogateescape") as pipe:
            pipe.write(words)
        os._exit(0)


def _hold(host: Host, edits: list[Edit], problem: Problem, scratch: str) -> str:
    mntns.private()
    syscalls.mount("pyshim", scratch, "tmpfs", 0, "mode=0700")
    changing = [edit for edit in edits if edit.changes]
    for number, folder in enumerate(_folders(changing)):
        _cover(folder, f"{scratch}/{number}")
    for edit in changing:
        edit.apply()
    own = f"{scratch}/engine"
    os.mkdir(own)
    return problem(host.inside(own))


def _folders(edits: list[Edit]) -> list[str]:
    """Return the folders below which the edits lie, those within others left out."""
    found: list[str] = []
    for edit in edits:
        folder = os.path.dirname(_place(edit))
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        found.append(folder)
    return [one for one in dict.fromkeys(found) if not any(one.startswith(f"{o}/") for o in found)]


def _cover(folder: str, layer: str) -> None:
    """Mount over `folder` what looks the same, and writes to `layer`."""
    for name in ("", "/upper", "/work"):
        os.mkdir(layer + name)
    os.chmod(f"{layer}/upper", stat.S_IMODE(os.stat(folder).st_mode))
    options = f"lowerdir={folder},upperdir={layer}/upper,workdir={layer}/work"
    syscalls.mount("pyshim", folder, "overlay", 0, options)
