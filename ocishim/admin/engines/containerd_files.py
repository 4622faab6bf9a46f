"""containerd's configuration as it is: the file, what it imports, and what they make together.

containerd 1.x takes a plugin's whole table from the last file that has one; 2.x brings every file
to its own version and merges them (services/server/config/config.go of 1.6 and 1.7,
cmd/containerd/server/config/config.go of 2.x). In 1.x a table of runtimes replaces the runc that
is built in; in 2.x it stays (seen in `containerd config dump`).
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ocishim import jsonio
from ocishim.admin.editing import tomlfile
from ocishim.admin.editing.files import read
from ocishim.admin.editing.tomlfile import find, find_table
from ocishim.admin.engines import first_table
from ocishim.admin.engines.containerd_places import K0S_CONFIG, K0S_DROP_INS, K0S_MARK, rendered
from ocishim.errors import ConfigError

if TYPE_CHECKING:
    from ocishim.admin.host import Host

DROP_IN = "99-pyshim.toml"
RUNC_SHIM = "io.containerd.runc.v2"
PLUGINS = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}
"""The plugin with the runtimes' table, by the file's version; version 4 has that of 3."""
_SHORT = "cri"
"""Its name in a file of version 1, which later ones refuse."""
_NEWEST = 4
BUILT_IN = {"runc": {"runtime_type": RUNC_SHIM}}
"""The runtimes of a containerd whose files name none."""
_GENERATED = "DO NOT EDIT"  # in the head of k3s' and RKE2's file


class Files:
    """The configuration file and what it imports, parsed, in the order containerd reads them.

    merges: whether containerd is one that merges plugins' tables; None: as the file's version
    says, 2 being a file of 1.x. lost: file and pattern of each import that 1.x looks for elsewhere.
    """

    def __init__(
        self, host: Host, path: str, own: str | None = None, *, merges: bool | None = None
    ) -> None:
        self.host = host
        self.path = path
        self.texts: dict[str, str] = {}
        self.trees: dict[str, dict[str, Any]] = {}
        self.globs: list[str] = []
        self.lost: list[tuple[str, str]] = []
        self._asked = merges
        self._load()
        self.version = self._version(path, 2 if not self.trees.get(path) else 1)
        self.merges = self._is_two()
        self.drop_in = own or self._drop_in()

    def cri(self, path: str) -> tuple[str, str]:
        """Return the keys of the CRI plugin's table in the file `path`."""
        version = self._version(path, self.version)
        return ("plugins", _SHORT if version == 1 else PLUGINS[min(version, 3)])

    def table(self, path: str) -> dict[str, Any] | None:
        """Return the CRI plugin's table of one file, None when it has none."""
        found = find(self.trees.get(path), *self.cri(path))
        return found if isinstance(found, dict) else None

    @property
    def having(self) -> list[str]:
        """The files that have the CRI plugin's table."""
        return [path for path in self.trees if find(self.trees[path], *self.cri(path)) is not None]

    @property
    def others(self) -> list[str]:
        """The same, ours aside."""
        return [path for path in self.having if path != self.drop_in]

    def effective(self, paths: list[str]) -> dict[str, Any]:
        """Return the CRI plugin's table as containerd makes it of the files `paths`."""
        return self._merged(paths if self.merges else paths[-1:])

    def everything(self) -> dict[str, Any]:
        """Return what all files say of the CRI plugin, seen or not."""
        return self._merged(self.having)

    def runtimes(self, cri: dict[str, Any]) -> dict[str, Any]:
        """Return the runtimes of a CRI plugin's table, the built-in one included."""
        named = find_table(cri, "containerd", "runtimes")
        if not named or self.merges:
            named = {**BUILT_IN, **named}
        if first_table(find(cri, "containerd"), "default_runtime").get("runtime_type"):
            named = {**named, "default": {}}  # the way of before 1.3, until 2.0
        return named

    def model(self) -> dict[str, Any]:
        """Return the table of the runtime to be copied, {} when no file has one.

        containerd 1.x forgets what earlier files say of runc, and 2.x does not: what the last
        one does not have is taken from those.
        """
        return _model(self.effective(self.others)) or _model(self._merged(self.others))

    @property
    def default_drop_in(self) -> str:
        """Our file where no import says which folder."""
        return f"{os.path.dirname(self.path)}/conf.d/{DROP_IN}"

    @property
    def is_generated(self) -> bool:
        """Whether the head of the file says that a program writes it at each of its starts."""
        return _GENERATED in self.texts.get(self.path, "").partition("\n[")[0]

    @property
    def is_patched(self) -> bool:
        """Whether k0s merges drop-ins into the file's import, key by key: so before its 1.36."""
        is_k0s = self.path == K0S_CONFIG and K0S_MARK in self.texts.get(self.path, "")
        return is_k0s and not self.globs

    @property
    def is_off(self) -> list[str]:
        """The entries of `disabled_plugins` without which there would be a CRI."""
        lists = [tree.get("disabled_plugins") for tree in self.trees.values()]
        listed = [one for names in lists if isinstance(names, list) for one in names]
        return [one for one in listed if one in (_SHORT, *PLUGINS.values())]

    def _merged(self, paths: list[str]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for path in paths:
            result = tomlfile.merged(result, self.table(path) or {})
        return result

    def _is_two(self) -> bool:
        version = (self.trees.get(self.path) or {}).get("version")
        says_so = type(version) is int and version > 2
        return says_so if self._asked is None else self._asked

    def _unmarked(self, text: str) -> str:
        """Return the text without a byte order mark where containerd does not mind one: 1.x."""
        return text if self._is_two() else text.removeprefix("\ufeff")

    def _load(self) -> None:
        pending = [self.path]
        while pending:
            path = pending.pop(0)
            text = read(self.host, path) if path not in self.trees else None
            if text is not None:
                self.texts[path] = text
                self.trees[path] = tomlfile.plain(rendered(self.path, self._unmarked(text)), path)
                pending += self._imports(path, self.trees[path].get("imports", []))

    def _imports(self, parent: str, patterns: object) -> list[str]:
        if not isinstance(patterns, list) or not all(isinstance(one, str) for one in patterns):
            raise ConfigError(
                f"{parent}: expected array of strings in 'imports'", hint=f"correct {parent}"
            )
        found = []
        for pattern in patterns:
            path = os.path.normpath(os.path.join(os.path.dirname(parent), pattern))
            if "*" not in path or "\0" in path:
                found.append(path)
                continue
            if not pattern.startswith("/") and not self._is_two():
                # 1.x takes it as it is, from its working directory: systemd's is / (seen, 1.6.20)
                self.lost.append((parent, pattern))
                found += _matching(self.host, os.path.normpath(f"/{pattern}"))
                continue
            self.globs.append(path)
            found += _matching(self.host, path)
        return found

    def is_imported(self, path: str) -> bool:
        """Whether containerd reads the file `path`, or will once it is there."""
        return path in self.trees or any(_matches(path, pattern) for pattern in self.globs)

    def _version(self, path: str, unsaid: int) -> int:
        version = (self.trees.get(path) or {}).get("version", unsaid)
        if type(version) is not int:
            raise ConfigError(
                f"{path}: expected integer, found {jsonio.type_name(version)} in 'version'",
                hint=f"correct {path}: containerd refuses it too",
            )
        if not 0 <= version <= _NEWEST:
            raise ConfigError(
                f"{path}: 'version' is {version}, and 1 to {_NEWEST} are supported",
                hint=f"correct {path}, or install a newer pyshim if containerd starts with it",
            )
        return version or 1  # as containerd takes 0

    def _drop_in(self) -> str | None:
        if self.is_patched:
            return f"{K0S_DROP_INS}/{DROP_IN}"
        if self.default_drop_in in self.trees:
            return self.default_drop_in
        for pattern in self.globs:
            folder, name = os.path.split(pattern)
            if name == "*.toml" and "*" not in folder:
                return f"{folder}/{DROP_IN}"
        return None


def default_of(cri: dict[str, Any], *, merges: bool) -> str:
    """Return the name of the default runtime, which in 1.x the way of before 1.3 decides."""
    if not merges and first_table(find(cri, "containerd"), "default_runtime").get("runtime_type"):
        return "default"
    return find(cri, "containerd", "default_runtime_name") or "runc"


def _matching(host: Host, pattern: str) -> list[str]:
    """Return what the pattern matches on `host`, sorted (filepath.Glob of Go)."""
    found = [""]
    for part in pattern.split("/")[1:]:
        found = [f"{folder}/{name}" for folder in found for name in _names(host, folder, part)]
    return found


def _names(host: Host, folder: str, part: str) -> list[str]:
    """Return the names in `folder` that one part of a pattern matches."""
    if not {*"*?["} & {*part}:
        return [part] if host.has(f"{folder}/{part}") else []
    real = host.real(f"{folder}/")
    names = os.listdir(real) if os.path.isdir(real) else []
    return sorted(name for name in names if _matches(name, part))


def _matches(path: str, pattern: str) -> bool:
    """Whether the pattern matches, in which nothing stands for a slash (filepath.Match of Go)."""
    names, parts = path.split("/"), pattern.replace("[^", "[!").split("/")
    return len(names) == len(parts) and all(map(fnmatchcase, names, parts))


def template_of(files: Files) -> str:
    """Return the template that k3s renders a file of this version from."""
    return f"{os.path.dirname(files.path)}/config{'-v3' if files.version > 2 else ''}.toml.tmpl"


def _model(cri: dict[str, Any]) -> dict[str, Any]:
    shims = {
        name: table
        for name, table in find_table(cri, "containerd", "runtimes").items()
        if isinstance(table, dict) and table.get("runtime_type", RUNC_SHIM) == RUNC_SHIM
    }
    return first_table(shims, "runc", find(cri, "containerd", "default_runtime_name"), "crun")
