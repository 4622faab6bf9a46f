"""containerd's configuration: version 1 and 2 (1.x and 2.x read them), 3 and 4 (2.x).

Which files, and what containerd says of them; the edits are containerd_edits.py's, k3s' templates
containerd_template.py's.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from ocishim.admin.editing import tomlfile
from ocishim.admin.editing.tomlfile import find
from ocishim.admin.engines import (
    SPEC_DIRS,
    Plan,
    complaint,
    containerd_edits,
    containerd_places,
    containerd_template,
    own_runtime,
)
from ocishim.admin.engines.containerd_files import PLUGINS, Files, default_of, template_of
from ocishim.admin.engines.containerd_tables import ALWAYS_CDI
from ocishim.errors import ConfigError, UsageError, quoted

if TYPE_CHECKING:
    from ocishim.admin.editing.files import Edit
    from ocishim.admin.engines import Wish
    from ocishim.admin.host import Host

PROGRAMS = ("containerd",)


def program(host: Host, wish: Wish) -> str:
    """Return the path of the containerd whose files are meant, "" when it is not there."""
    return containerd_places.of(_configs(host, wish)[0]).program(host)


def plan(host: Host, wish: Wish) -> Plan:
    """Return what has to change for containerd to have, or no longer have, the runtime."""
    plans = [
        (_removal if wish.remove else _registration)(host, wish, path)
        for path in _configs(host, wish)
    ]
    first = next((one for one in plans if one.changes), plans[0])
    edits = [edit for one in plans for edit in one.edits]
    return Plan(edits, first.unit, first.notes)


def problem(host: Host, wish: Wish, scratch: str) -> str:
    """Return why containerd would not do with its files what was wished, "" if it would.

    What k0s before 1.36 makes of its drop-ins it makes at its next start alone.
    """
    for path in _configs(host, wish):
        program = containerd_places.of(path).program(host)
        readable = _readable(host, wish, path, scratch) if program and host.is_file(path) else ""
        if readable:
            argv = (program, "--config", readable, "config", "dump")
            words = complaint(host, *argv)
            dump = {} if words else tomlfile.plain(host.run(*argv).stdout, program)
            words = words or _misses(dump, host, wish, path)
            if words:
                return words
    return ""


def _readable(host: Host, wish: Wish, path: str, scratch: str) -> str:
    """Return the file that containerd can read for `path`, below `scratch` if need be; "": none."""
    text = None
    if path.endswith(containerd_template.SUFFIX):
        text = containerd_template.rendered(host, path)
    else:
        files = Files(host, path, wish.drop_in)
        if files.is_patched:
            return ""
        if files.is_generated and not containerd_edits.uses_drop_in(files, wish):
            text = containerd_template.rendered(host, template_of(files))
        else:
            own = files.texts[path]
            text = containerd_places.rendered(path, own)
            if text == own:
                return path
    if text is None:
        return ""
    readable = f"{scratch}/containerd.toml"
    with open(host.real(readable), "w", encoding="utf-8") as file:
        file.write(text)
    return readable


def _configs(host: Host, wish: Wish) -> list[str]:
    """Return the files to begin with. Raises UsageError when one is wanted and it may be any."""
    if wish.config:
        return [wish.config]
    found = containerd_places.there(host) or [containerd_places.USUAL]
    if len(found) > 1 and not wish.remove:
        named = ", ".join(f"{place.name} ({place.config})" for place in found)
        raise UsageError(
            f"this node has more than one containerd: {named}",
            hint="name the file of the one that is meant: --config FILE",
        )
    return [place.config for place in found]


def _registration(host: Host, wish: Wish, path: str) -> Plan:
    place = containerd_places.of(path)
    unit = place.unit(host)
    if path.endswith(containerd_template.SUFFIX):
        return Plan([containerd_template.edit(host, wish, path)], unit)
    files = Files(host, path, wish.drop_in)
    if place is not containerd_places.USUAL and path not in files.trees:
        raise ConfigError(
            f"{path}: not there: {place.name} writes it when it starts",
            hint=f"start {place.name} once, and try again",
        )
    if containerd_edits.uses_drop_in(files, wish):
        edits = containerd_edits.drop_in(files, wish) + _old_templates(files, wish)
        return Plan(edits, unit, _notes(files, wish))
    if files.is_generated:
        return Plan([_template(files, wish)], unit)
    return Plan(containerd_edits.in_place(files, wish), unit, _notes(files, wish))


def _removal(host: Host, wish: Wish, path: str) -> Plan:
    unit = containerd_places.of(path).unit(host)
    if path.endswith(containerd_template.SUFFIX):
        return Plan([containerd_template.edit(host, wish, path)], unit)
    files = Files(host, path, wish.drop_in)
    edits = containerd_edits.take_out(files, wish) + _old_templates(files, wish)
    stay = containerd_edits.strangers(files, wish)
    return Plan(edits, unit, [f"{one}: '{wish.name}' is not pyshim, and stays" for one in stay])


def _old_templates(files: Files, wish: Wish) -> list[Edit]:
    """Return the edits that take our tables out of the templates beside a file that k3s renders."""
    templates = [] if wish.config else containerd_template.there(files.host, files.path)
    none = dataclasses.replace(wish, remove=True)
    return [containerd_template.edit(files.host, none, one) for one in templates]


def _misses(dump: dict[str, Any], host: Host, wish: Wish, path: str) -> str:
    """Return what the settings that containerd has read lack, "" for nothing."""
    having = [key for key in PLUGINS.values() if find(dump, "plugins", key, "containerd")]
    if not having:
        return ""  # without the CRI, which disabled_plugins may say
    cri = find(dump, "plugins", having[0])
    runtimes = find(cri, "containerd", "runtimes") or {}
    default = default_of(cri, merges=having[0] != PLUGINS[2])
    if find(cri, "containerd", "default_runtime_name") and default not in {*runtimes, "default"}:
        return f"default_runtime_name is '{default}', and no runtime has that name"
    if not wish.remove and find(runtimes, wish.name, "options", "BinaryName") is None:
        return f"no runtime '{wish.name}' is seen{_later(host, wish, path)}"
    if wish.set_as_default and not wish.remove and default != wish.name:
        if default == "default":
            return "the table default_runtime is the default runtime, whatever its name: remove it"
        return f"the default runtime is '{default}'{_later(host, wish, path)}"
    return ""


def _later(host: Host, wish: Wish, path: str) -> str:
    """Return which file is read after those that have our settings, as the end of a sentence."""
    files = Files(host, path, wish.drop_in)
    last = files.having[-1] if files.having else path
    if last in {path, files.drop_in or files.default_drop_in}:
        return f": {last} is of version {files.version}, which it reads otherwise"
    after = f"{os.path.dirname(last)}/zzz-pyshim.toml"
    step = f"; --config {quoted(last)} writes into it"
    if files.is_imported(after):
        step = f"; --drop-in {quoted(after)} comes after it"
    return f": {last} is read later{step}"


def _template(files: Files, wish: Wish) -> Edit:
    """Return the edit of the template of a generated file, unless the file itself was asked for."""
    template = template_of(files)
    if wish.config:
        raise ConfigError(
            f"{files.path} is written anew at each start of its owner",
            hint=f"name its template: --config {quoted(template)}",
        )
    return containerd_template.edit(files.host, wish, template)


def _notes(files: Files, wish: Wish) -> list[str]:
    notes = []
    effective = files.effective(files.others)
    engine_dirs = find(effective, "cdi_spec_dirs") or SPEC_DIRS
    if wish.enable_cdi and wish.spec_dirs != engine_dirs:
        notes.append(f"containerd looks for CDI specs in {engine_dirs}, pyshim in {wish.spec_dirs}")
    if files.is_patched:
        notes.append(
            "k0s 1.36 and newer stop at a drop-in of version 2: before that upgrade 'pyshimctl"
            " configure containerd --remove', and configure again after it"
        )
    if wish.enable_cdi and files.version >= ALWAYS_CDI:
        notes.append("containerd 2.4 applies CDI itself, always")
    own = find(files.model(), "options", "BinaryName")
    if own and own != wish.program:
        notes.append(own_runtime(own, "containerd"))
    if (
        containerd_edits.uses_drop_in(files, wish)
        and not files.merges
        and not files.is_patched
        and files.others
    ):
        notes.append(
            f"containerd 1.x takes the CRI plugin's settings from the last file alone, so"
            f" {files.drop_in or files.default_drop_in} repeats those of {files.others[-1]}:"
            " configure again when they change"
        )
    for path, pattern in files.lost:
        whole = f"{os.path.dirname(path)}/{pattern}"
        notes.append(
            f"containerd 1.x does not look for {pattern!r} beside {path}, but in its working"
            f" directory, which is / under systemd: write {whole!r} there if it is meant"
        )
    if patterns := files.model().get("pod_annotations"):
        notes.append(
            f"pod_annotations {patterns} of the runtime copied are left out: pod authors"
            " choose those",
        )
    if off := files.is_off:
        notes.append(
            f"disabled_plugins has {off[0]!r}: without the CRI no pod is started; take it out in"
            f" {files.path}"
        )
    return notes
