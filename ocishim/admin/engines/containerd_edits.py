"""The edits that put pyshim's runtime into containerd's files, or take it out again.

A drop-in of our own wherever containerd merges files (version 3 and 4), and in 1.x where the last
word is not the main file's: there ours repeats the whole table of the CRI plugin, which 1.x takes
from the last file alone. Nobody else's drop-in is written to. Otherwise the main file is edited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ocishim.admin.editing import tomlfile
from ocishim.admin.editing.files import Edit, read
from ocishim.admin.editing.tomlfile import TomlFile, find
from ocishim.admin.engines import HEADER, is_ours, whole_file
from ocishim.admin.engines.containerd_tables import (
    DEFAULT,
    RUNC_TYPE,
    RUNTIMES,
    SINGLE,
    entry,
    settings,
)
from ocishim.errors import ConfigError

if TYPE_CHECKING:
    from ocishim.admin.engines import Wish
    from ocishim.admin.engines.containerd_files import Files

_PRIVATE = 0o600  # a copied table may hold a registry's password


def uses_drop_in(files: Files, wish: Wish) -> bool:
    """Whether our tables go into a file of their own."""
    if files.merges or files.is_patched:
        return files.drop_in is not None
    last_word = files.others[-1] if files.others else None
    if last_word in (None, files.path):
        return wish.drop_in is not None or (last_word is None and files.drop_in is not None)
    return True


def drop_in(files: Files, wish: Wish) -> list[Edit]:
    """Return the edits that put the runtime into our drop-in, and out of every other file."""
    path = files.drop_in or files.default_drop_in
    effective = files.effective(files.others)
    copied = effective if not (files.merges or files.is_patched) else {}
    keys = files.cri(files.path)
    file = TomlFile(path, tomlfile.dumps({"version": files.version}))
    if copied:
        file.set(keys, copied)
    for below, value in settings(files, wish, has_runc=_has_runc(effective)).items():
        file.set((*keys, *below), value)
    file.set((*keys, *RUNTIMES, wish.name), entry(files, wish))
    text = HEADER.format(engine="containerd") + file.text()
    mode = _PRIVATE if copied else None
    # What k0s imports it makes of ours, too, at each of its starts.
    cleaned = [] if files.is_patched else _clean(files, wish, importing=path)
    return [*cleaned, whole_file(files.host, path, text, mode)]


def _has_runc(cri: dict[str, Any]) -> bool:
    return find(cri, *RUNTIMES, "runc") is not None


def strangers(files: Files, wish: Wish) -> list[str]:
    """Return the files in which a runtime has the wished name and is not pyshim."""
    tables = {path: find(files.table(path), *RUNTIMES, wish.name) for path in files.others}
    return [path for path, table in tables.items() if table and not _is_ours(table, wish)]


def _is_ours(table: object, wish: Wish) -> bool:
    return is_ours(wish, find(table, "options", "BinaryName"))


def in_place(files: Files, wish: Wish) -> list[Edit]:
    """Return the edits that put the runtime into the main file; our drop-in goes.

    Raises ConfigError when somebody else's has the name, which --remove could not bring back.
    """
    path = files.path
    if path in strangers(files, wish):
        raise ConfigError(
            f"{path} has a runtime '{wish.name}' that is not pyshim",
            hint="name another by --runtime-name; --set-as-default makes it the one of every pod",
        )
    before = files.texts.get(path)
    text = HEADER.format(engine="containerd") if before is None else before
    file = TomlFile(path, text, traceless=True)
    if before is None:
        file.set(("version",), files.version)
    elif "version" not in file.wanted and files.version > 1:  # it says nothing at all
        file.replace(("version",), files.version)
    cri = files.cri(path)
    runtime = (*cri, *RUNTIMES, wish.name)
    for key, value in entry(files, wish).items():
        if key == "options":
            for option, setting in value.items():
                file.set((*runtime, key, option), setting)
        else:
            file.set((*runtime, key), value)
    has_runc = _has_runc(files.effective([path])) and not file.is_replaced((*cri, *RUNC_TYPE))
    wanted = settings(files, wish, has_runc=has_runc)
    for below in SINGLE:
        if below in wanted:
            file.replace((*cri, *below), wanted[below])
        else:
            _restore(file, cri, below)
    edits = [Edit(files.host, path, before, file.text())]
    if files.drop_in in files.texts:
        edits.append(whole_file(files.host, str(files.drop_in), None))
    return edits


def _restore(file: TomlFile, cri: tuple[str, str], below: tuple[str, ...]) -> None:
    """Take back a single setting of ours; runc's type stays where somebody built on it."""
    if below != RUNC_TYPE or len(file.table((*cri, *RUNC_TYPE[:-1]))) == 1:
        file.restore((*cri, *below))


def _clean(files: Files, wish: Wish, importing: str = "") -> list[Edit]:
    """Return the edits that take the runtime out of every file but our drop-in.

    importing: the drop-in that the main file has to import from now on.
    """
    edits = []
    for path in dict.fromkeys([files.path, *files.others]):
        if path not in files.texts:
            continue
        file = TomlFile(path, files.texts[path], traceless=True)
        if path in files.others:
            _clean_table(file, files.cri(path), wish)
        if path == files.path:
            _import(file, files, importing)
        text = file.text()
        after = None if text != file.original and _is_all_ours(file) else text
        if after != files.texts[path]:
            edits.append(Edit(files.host, path, files.texts[path], after))
    return edits


def _clean_table(file: TomlFile, cri: tuple[str, str], wish: Wish) -> None:
    runtime, default = (*cri, *RUNTIMES, wish.name), (*cri, *DEFAULT)
    own = file.get(*runtime)
    if not _is_ours(own, wish) if own else file.get(*default) != wish.name:
        return
    for below in SINGLE:
        _restore(file, cri, below)
    if file.get(*default) == wish.name:
        file.remove(default)
    file.remove(runtime)
    file.restore(("version",))


def _import(file: TomlFile, files: Files, importing: str) -> None:
    """Have the main file import the drop-in where nothing does, or no longer import ours."""
    keys = ("imports",)
    imports = file.get(*keys) or []
    if importing and not files.is_patched and not files.is_imported(importing):
        file.replace(keys, [*imports, importing])
    elif not importing and files.drop_in in imports:
        rest = [one for one in imports if one != files.drop_in]
        file.restore(keys)
        if file.get(*keys) not in (rest, None):
            file.set(keys, rest)  # something was added since


def _is_all_ours(file: TomlFile) -> bool:
    """Whether we made the file, and nobody added anything."""
    ours = file.original.startswith(HEADER.format(engine="containerd"))
    return ours and set(file.wanted) <= {"version"}


def take_out(files: Files, wish: Wish) -> list[Edit]:
    """Return the edits that leave nothing of ours."""
    edits = _clean(files, wish)
    if files.drop_in and read(files.host, files.drop_in) is not None:
        edits.append(whole_file(files.host, files.drop_in, None))
    return edits
