"""pyshim's own configuration as a file for people: the commented default, and who set what.

Values and checks are those of ocishim.settings.config and ocishim.settings.configfile.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ocishim.settings import configfile
from ocishim.settings.defaults import DEFAULTS

EXPLAINED = {
    "runtimes": "The low-level runtime is the first of these that exists: an absolute path, or a\n"
    "name looked up in PATH and the usual folders. Keep this the first line: commands that pass\n"
    "through (start, kill, delete) find it without starting Python.",
    "cdi.spec_dirs": "Where CDI spec files lie; a later folder wins over an earlier one.",
    "cdi.annotation_prefixes": "Annotations that ask for CDI devices.",
    "cdi.stale": "What to do when a spec no longer fits the host: refuse what the runtime would\n"
    "fail on and warn of the rest (auto), refuse all (error), warn (warn), or ignore.",
    "hooks.executor": "Who runs createContainer hooks: the low-level runtime (runtime), pyshim\n"
    "before it (shim), or whoever does it right on this machine (auto).",
    "hooks.native": "Run hooks that pyshim knows itself, instead of the vendor's program.",
    "hooks.readonly_rootfs": "Hooks that write, where the rootfs is read-only: skip them (skip),\n"
    "skip them only where the file system cannot be written (when-writable), or give them a\n"
    "private layer to write to (overlay).",
    "hooks.timeout": "Seconds a hook may take that sets no timeout of its own, 1 to 3600.",
    "requests.env": "Environment variables that ask for devices; none by default, since any\n"
    "image may set them. As tables at the end of this file:\n"
    '  [[requests.env]]\n  name = "NVIDIA_VISIBLE_DEVICES"\n  kind = "nvidia.com/gpu"\n'
    "  unprivileged = false",
    "requests.volume_mounts": "Whether mounts below /var/run/nvidia-container-devices ask for\n"
    "devices.",
    "requests.podman_annotations": "Whether annotations ask for devices under Podman. Before 4.6\n"
    "it copies an image's annotations, so whoever builds one could ask. `podman run --device\n"
    "vendor/class=name` needs no such setting.",
    "log.file": "pyshim's own log; empty: the system log, where there is one.",
    "log.level": "error, warning, info (a line for each container with a device) or debug.",
    "log.format": "text, or json: each line of log.file one object.",
    "log.metrics": "Counters of creates and devices as Prometheus reads them: a file NAME.prom in\n"
    "the folder that node-exporter's textfile collector reads; empty: none.",
}
"""What every setting of defaults.DEFAULTS is for; in the order of the default file."""


def default_text(runtimes: list[str] | None = None) -> str:
    """Return the commented default configuration; only `runtimes` is set, the rest shown."""
    lines: list[str] = []
    table = ""
    for key, words in EXPLAINED.items():
        above, _, name = key.rpartition(".")
        if above != table:
            table = above
            lines += ["", f"[{table}]"]
        comment = [f"# {line}" for line in words.split("\n")]
        if key == "runtimes":
            # What passes through reads up to this line, so that it comes before its words.
            lines += [f"{name} = {toml(runtimes or DEFAULTS[key])}", *comment]
        else:
            lines += [*comment, f"# {name} = {toml(DEFAULTS[key])}"]
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """Return a setting's value as TOML."""
    if isinstance(value, list):
        return f"[{', '.join(toml(item) for item in value)}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    # JSON leaves DEL and the controls from U+0080 as they are; TOML has these two escapes for them.
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else _unicode_escape(c) for c in text)


def _unicode_escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def lines_of(text: str) -> dict[str, int]:
    """Return the line, from 1, on which each setting of the valid TOML `text` stands."""
    found: dict[str, int] = {}
    for number, name in configfile.named(text.splitlines()):
        for key in DEFAULTS:
            if name.key == key or name.key.startswith(f"{key}."):
                found.setdefault(key, number)
    return found


def read_early(text: str) -> bool:
    """Whether pyshim finds `runtimes` before it starts Python for a command that passes through.

    binary/command.c reads up to the first table, and one line form: runtimes = ["name", ...].
    """
    for line in text.split("\n"):
        if re.fullmatch(r"runtimes = \[[^\\'#]*\"[^\\'#]*\]", line):
            return True
        if line.startswith("["):
            return True
        if line and not line.startswith("#"):
            return False
    return True
