"""containerd's configuration: version 2 (1.x and 2.x read it), 3 and 4 (2.x).

containerd 1.x takes a plugin's whole table from the last file that has one, so a drop-in would
hide what other files say of the CRI plugin; 2.x merges them (services/server/config/config.go of
1.6 and 1.7, cmd/containerd/server/config/config.go of 2.x). Hence a drop-in where the files are
of version 3, or where nobody else has the table; otherwise the last file that has it is edited.
"""

from __future__ import annotations

import fnmatch
import glob
import os
from typing import Any

from ocishim.admin import engines, tomlfile
from ocishim.admin.engines import HEADER, SPEC_DIRS, Plan, Wish, first_table, own_runtime
from ocishim.admin.files import Edit, read
from ocishim.admin.host import Host
from ocishim.admin.tomlfile import TomlFile, find
from ocishim.errors import ConfigError

CONFIG = "/etc/containerd/config.toml"
RANCHERS = tuple(f"/var/lib/rancher/{name}/agent/etc/containerd" for name in ("k3s", "rke2"))
"""Where k3s and RKE2 keep config.toml and its templates."""
DROP_IN = "99-pyshim.toml"
NEXT_STEP = "systemctl restart containerd"
_GENERATED = "DO NOT EDIT"  # in the head of k3s' and RKE2's file
RUNC_SHIM = "io.containerd.runc.v2"
PLUGINS = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}
"""The plugin with the runtimes' table, by the file's version; version 4 has that of 3."""

# The version of containerd 2.4, which has no enable_cdi any more and warns of it (its RELEASES.md).
ALWAYS_CDI = 4
# Of runc's entry these are not for us: user-controlled, or of the shim of containerd 1.0.
_NOT_COPIED = ("pod_annotations", "runtime_engine", "runtime_root", "runtime_type", "options")


class Files:
    """The configuration file and what it imports, parsed, in the order containerd reads them."""

    def __init__(self, host: Host, path: str, own: str | None) -> None:
        self.host = host
        self.path = path
        self.texts: dict[str, str] = {}
        self.trees: dict[str, dict[str, Any]] = {}
        self.globs: list[str] = []
        self._load()
        self.version = self._version()
        self.plugin = PLUGINS[min(self.version, 3)]
        self.drop_in = own or self._drop_in()

    @property
    def cri(self) -> tuple[str, str]:
        """Keys of the CRI plugin's table."""
        return ("plugins", self.plugin)

    @property
    def others(self) -> list[str]:
        """The files, ours aside, that have the CRI plugin's table."""
        return [
            path
            for path, tree in self.trees.items()
            if path != self.drop_in and find(tree, *self.cri) is not None
        ]

    def effective(self) -> dict[str, Any]:
        """Return the CRI plugin's table as the files other than ours make it."""
        return self._merged(self.others[-1:] if self.version == 2 else self.others)

    def model(self) -> dict[str, Any]:
        """Return the table of the runtime to be copied, {} when no file has one.

        containerd 1.x forgets what earlier files say of runc, and 2.x does not: what the last
        one does not have is taken from those.
        """
        return _model(self.effective()) or _model(self._merged(self.others))

    def _merged(self, paths: list[str]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for path in paths:
            table = find(self.trees[path], *self.cri)
            result = tomlfile.merged(result, table if isinstance(table, dict) else {})
        return result

    def _load(self) -> None:
        pending = [self.path]
        while pending:
            path = pending.pop(0)
            text = read(self.host, path) if path not in self.trees else None
            if text is not None:
                self.texts[path] = text
                self.trees[path] = tomlfile.plain(text, path)
                pending += self._imports(path, self.trees[path].get("imports", []))

    def _imports(self, parent: str, patterns: object) -> list[str]:
        if not isinstance(patterns, list) or not all(isinstance(one, str) for one in patterns):
            raise ConfigError(f"{parent}: expected array of strings in 'imports'")
        found = []
        for pattern in patterns:
            path = os.path.normpath(os.path.join(os.path.dirname(parent), pattern))
            if "*" not in path:
                found.append(path)
                continue
            self.globs.append(path)
            folder, name = os.path.split(path)
            real = glob.escape(self.host.real(folder))
            names = sorted(os.path.basename(one) for one in glob.glob(f"{real}/{name}"))
            found += [f"{folder}/{one}" for one in names]
        return found

    def _version(self) -> int:
        tree = self.trees.get(self.path)
        version = 2 if not tree else tree.get("version", 1)
        if version not in (2, 3, 4):
            raise ConfigError(
                f"{self.path}: 'version' is {version}, and 2, 3 and 4 are supported",
                hint=f"containerd --config {self.path} config migrate",
            )
        return int(version)

    def _drop_in(self) -> str | None:
        for pattern in self.globs:
            folder, name = os.path.split(pattern)
            if name == "*.toml" and "*" not in folder:
                return f"{folder}/{DROP_IN}"
        return None


def template_of(files: Files) -> str:
    """Return the template that k3s renders a file of this version from."""
    return f"{os.path.dirname(files.path)}/config{'-v3' if files.version > 2 else ''}.toml.tmpl"


def plan(host: Host, wish: Wish) -> Plan:
    """Return what has to change for containerd to have, or no longer have, the runtime."""
    path = wish.config or CONFIG
    if path.endswith(".tmpl"):
        from ocishim.admin import containerd_template  # noqa: PLC0415 - it uses this module

        return containerd_template.plan(host, wish, path)
    files = Files(host, path, wish.drop_in)
    if wish.remove:
        return Plan(_take_out(files, wish), NEXT_STEP)
    if wish.drop_in and files.version == 2 and files.others:
        raise ConfigError(
            f"{wish.drop_in}: containerd 1.x would take the CRI plugin's settings from it alone,"
            f" and forget those of {', '.join(files.others)}",
            hint="leave out --drop-in",
        )
    use_drop_in = files.drop_in and (wish.drop_in or files.version > 2 or not files.others)
    edits = _drop_in(files, wish) if use_drop_in else _in_place(files, wish)
    return Plan(edits, NEXT_STEP, _notes(files, wish))


def entry(files: Files, wish: Wish) -> dict[str, Any]:
    """Return the runtime's table: runc's own settings with our program."""
    source = files.model()
    ours = {key: value for key, value in source.items() if value and key not in _NOT_COPIED}
    passed = ours.get("container_annotations")
    annotations = [*(passed if isinstance(passed, list) else []), *wish.annotations]
    options = {key: value for key, value in first_table(source, "options").items() if value}
    return {
        **ours,
        "runtime_type": RUNC_SHIM,
        "container_annotations": list(dict.fromkeys(annotations)),
        "options": {**options, "BinaryName": wish.program},
    }


def _model(cri: dict[str, Any]) -> dict[str, Any]:
    runtimes = find(cri, "containerd", "runtimes")
    shims = {
        name: table
        for name, table in (runtimes.items() if isinstance(runtimes, dict) else ())
        if isinstance(table, dict) and table.get("runtime_type", RUNC_SHIM) == RUNC_SHIM
    }
    return first_table(shims, "runc", find(cri, "containerd", "default_runtime_name"), "crun")


def _settings(files: Files, wish: Wish) -> list[tuple[tuple[str, ...], Any]]:
    """Return the single values that are wanted beside the runtime's table."""
    wanted: list[tuple[tuple[str, ...], Any]] = []
    if wish.set_as_default:
        wanted.append(((*files.cri, "containerd", "default_runtime_name"), wish.name))
    if wish.enable_cdi and files.version < ALWAYS_CDI:
        wanted.append(((*files.cri, "enable_cdi"), True))
    return wanted


def _drop_in(files: Files, wish: Wish) -> list[Edit]:
    tree: dict[str, Any] = {"version": files.version}
    file = TomlFile(str(files.drop_in), tomlfile.dumps(tree))
    for keys, value in _settings(files, wish):
        file.set(keys, value)
    file.set((*files.cri, "containerd", "runtimes", wish.name), entry(files, wish))
    text = HEADER.format(engine="containerd") + file.text()
    return [*_clean(files, wish), engines.whole_file(files.host, str(files.drop_in), text)]


def _in_place(files: Files, wish: Wish) -> list[Edit]:
    path = files.others[-1] if files.others else files.path
    before = files.texts.get(path)
    _refuse_generated(files, path)
    file = TomlFile(path, before or HEADER.format(engine="containerd"))
    if path == files.path and "version" not in file.wanted:
        file.set(("version",), files.version)
    runtime = (*files.cri, "containerd", "runtimes", wish.name)
    for key, value in entry(files, wish).items():
        if key == "options":
            for option, setting in value.items():
                file.set((*runtime, key, option), setting)
        else:
            file.set((*runtime, key), value)
    wanted = dict(_settings(files, wish))
    for keys in _single_keys(files):
        if keys in wanted:
            file.replace(keys, wanted[keys])
        else:
            file.restore(keys)
    edits = [Edit(files.host, path, before, file.text())]
    if files.drop_in in files.texts:
        edits.append(engines.whole_file(files.host, str(files.drop_in), None))
    return edits


def _refuse_generated(files: Files, path: str) -> None:
    """Raise ConfigError for a file whose head says that a program writes it."""
    if _GENERATED in files.texts.get(path, "").partition("\n[")[0]:
        raise ConfigError(
            f"{path} is written anew at each start of its owner",
            hint=f"name its template: --config {template_of(files)}",
        )


def _single_keys(files: Files) -> list[tuple[str, ...]]:
    return [(*files.cri, "containerd", "default_runtime_name"), (*files.cri, "enable_cdi")]


def _clean(files: Files, wish: Wish) -> list[Edit]:
    """Return the edits that take the runtime out of every file but our drop-in."""
    edits = []
    for path in files.others:
        file = TomlFile(path, files.texts[path])
        runtime = (*files.cri, "containerd", "runtimes", wish.name)
        default = (*files.cri, "containerd", "default_runtime_name")
        if file.get(*runtime) is None and file.get(*default) != wish.name:
            continue
        _refuse_generated(files, path)
        for keys in _single_keys(files):
            file.restore(keys)
        if file.get(*default) == wish.name:
            file.remove(default)
        file.remove(runtime)
        after = None if _is_all_ours(file) else file.text()
        edits.append(Edit(files.host, path, files.texts[path], after))
    return edits


def _is_all_ours(file: TomlFile) -> bool:
    """Whether we made the file, and nobody added anything."""
    ours = file.original.startswith(HEADER.format(engine="containerd"))
    return ours and set(file.wanted) <= {"version"}


def _take_out(files: Files, wish: Wish) -> list[Edit]:
    edits = _clean(files, wish)
    if files.drop_in and read(files.host, files.drop_in) is not None:
        edits.append(engines.whole_file(files.host, files.drop_in, None))
    return edits


def _notes(files: Files, wish: Wish) -> list[str]:
    notes = []
    engine_dirs = find(files.effective(), "cdi_spec_dirs") or SPEC_DIRS
    if wish.enable_cdi and wish.spec_dirs != engine_dirs:
        notes.append(f"containerd looks for CDI specs in {engine_dirs}, pyshim in {wish.spec_dirs}")
    if wish.enable_cdi and files.version >= ALWAYS_CDI:
        notes.append("containerd 2.4 applies CDI itself, always")
    program = find(files.model(), "options", "BinaryName")
    if program and program != wish.program:
        notes.append(own_runtime(program, "containerd"))
    if files.others and files.others[-1] != files.path and files.version == 2:
        notes.append(f"{files.others[-1]} is the file containerd 1.x takes these settings from")
    if patterns := files.model().get("pod_annotations"):
        notes.append(
            f"pod_annotations {patterns} of the runtime copied are left out: pod authors"
            " choose those",
        )
    read_by_it = [*files.trees, *files.globs]
    if wish.drop_in and not any(fnmatch.fnmatchcase(wish.drop_in, one) for one in read_by_it):
        notes.append(f"{wish.drop_in} is not imported by {files.path}: add it to 'imports'")
    return notes
