"""Devices of any vendor: what a description, or --device on the command line, means on this host.

In a description's texts stand {*} for what an `each` pattern's wildcards matched, {index} for the
device's number within its table, and {read:FILE} for the first line of a file.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ocishim.admin.editing import files
from ocishim.admin.generate.described import Description, Device
from ocishim.admin.generate.edits import Edits, merged
from ocishim.admin.generate.hooks import Hooks
from ocishim.admin.generate.nodes import Nodes
from ocishim.admin.generate.patterns import Match, expand, is_wild
from ocishim.admin.generate.report import Report
from ocishim.cdi import names
from ocishim.errors import ConfigError, DocumentError, UsageError

_READ = re.compile(r"\{read:([^{}]+)\}")
_OPTIONS = ["ro", "nosuid", "nodev", "rbind", "rprivate"]


def plain(words: tuple[str, ...], root: str, report: Report) -> dict[str, Edits]:
    """Return the devices of `NAME=PATH` or `PATH` words; the same name again adds a node.

    Without a name each path, of which a pattern may mean several, is a device of its last part.
    """
    nodes = Nodes(root, report)
    found: dict[str, Edits] = {}
    for word in words:
        name, sign, path = word.partition("=") if not word.startswith("/") else ("", "=", word)
        if not sign or not (name or word.startswith("/")) or not path.startswith("/"):
            raise UsageError(f"--device {word!r} is not NAME=/PATH or /PATH")
        matches = [one.path for one in expand(nodes.host, path)] if is_wild(path) else [path]
        if not matches:
            raise ConfigError(f"no device matches {path}", hint="load the device's driver")
        for one in matches:
            device = name or os.path.basename(one)
            try:
                names.validate_device_name(device)
            except DocumentError as err:
                hint = f"give it a name: NAME={path}"
                raise UsageError(f"--device {word!r}: {err.message}", hint=hint) from None
            _node(nodes, found.setdefault(device, Edits()), one, f"of {device}")
            report.add("devices", device)
    return found


class Custom:
    """A description on a host. root: below which it all lies, hooks: of links and libraries."""

    def __init__(self, root: str, hooks: Hooks, report: Report) -> None:
        self.nodes = Nodes(root, report)
        self.hooks = hooks
        self.report = report

    def generate(self, description: Description) -> tuple[dict[str, Edits], Edits]:
        """Return the devices' edits by name, and the common ones. Raises ConfigError: no device."""
        devices: dict[str, Edits] = {}
        for device in description.devices:
            for name, edits in self._devices(device):
                if name in devices:
                    raise ConfigError(
                        f"{device.place}: two devices are called {name!r}",
                        hint="put {*} or {index} into 'name'",
                    )
                devices[name] = edits
        if not devices:
            raise ConfigError(
                f"no {description.kind} found: {'; '.join(self.report.reasons())}",
                hint=self.report.remedy("load the device's driver"),
            )
        for name in devices:
            self.report.add("devices", name)
        if description.with_all and "all" not in devices:
            devices["all"] = merged(devices)
        return devices, self._edits(description.lists, Match("", ""), 0, description.kind)

    def _devices(self, device: Device) -> list[tuple[str, Edits]]:
        found = [one for pattern in device.each for one in expand(self.nodes.host, pattern)]
        there = found if device.each else [Match("", "")]
        matches = [one for one in there if self._is_wanted(device, one)]
        if not matches:
            what = ", ".join(device.each) or "'where'"
            self.report.warn(f"nothing matches {what}", "load the device's driver")
        template = device.name or "{index}"
        made = []
        for index, match in enumerate(matches):
            name = self._filled(template, match, index)
            _require_name(name, device.place)
            edits = self._edits(device.lists, match, index, name)
            if edits.is_empty:
                what = f"{name} is left out: nothing of it is on this host"
                self.report.warn(what, "load the device's driver", of_device=True)
            else:
                made.append((name, edits))
        return made

    def _is_wanted(self, device: Device, match: Match) -> bool:
        """Whether each file of `where` holds its text; of several matches some may."""
        return all(
            self._read(self._filled(path, match, 0)) == text for path, text in device.where.items()
        )

    def _edits(self, lists: dict[str, list[Any]], match: Match, index: int, whose: str) -> Edits:
        edits = Edits()

        def filled(key: str) -> list[str]:
            return [self._filled(text, match, index) for text in lists[key]]

        for key in ("nodes", "optional_nodes"):
            for path in filled(key):
                self._nodes(edits, path, whose, optional=key != "nodes")
        for word in filled("mounts"):
            self._mount(edits, word, whose)
        for text in filled("env"):
            edits.add("env", text)
        for gid in lists["gids"]:
            edits.add("additionalGids", gid)
        for hook in lists["hooks"]:
            edits.add("hooks", self._hook(hook, match, index))
        pairs = [text.partition("::") for text in filled("links")]
        self.hooks.add_links(edits, [(target, path) for target, _, path in pairs])
        if lists["library_folders"]:
            self.hooks.add_ldcache(edits, filled("library_folders"))
        return edits

    def _nodes(self, edits: Edits, pattern: str, whose: str, *, optional: bool) -> None:
        matches = [one.path for one in expand(self.nodes.host, pattern)]
        for path in matches or ([] if optional else [pattern]):
            _node(self.nodes, edits, path, f"of {whose}")

    def _mount(self, edits: Edits, word: str, whose: str) -> None:
        """Add `HOST[:CONTAINER[:OPTIONS]]`; HOST may be a pattern, options are ro ones."""
        source, _, rest = word.partition(":")
        target, _, options = rest.partition(":")
        found = [one.path for one in expand(self.nodes.host, source)]
        if not found:
            self.report.warn(f"no {source} of {whose} on this host", "install the device's driver")
        if target and len(found) > 1:
            what = f"{source} of {whose} is {len(found)} files for one place, {target}"
            self.report.warn(f"{what}: {found[-1]} is taken", "name the one that is meant")
            found = found[-1:]
        for path in found:
            mount = {
                "hostPath": self._host_path(path),
                "containerPath": target or path,
                "options": _options(options),
            }
            edits.add("mounts", mount)
            self.report.add("files", path)

    def _host_path(self, path: str) -> str:
        """Return where `path` lies for the runtime: in another root it cannot follow the links."""
        host = self.nodes.host
        return self.nodes.prefix + (host.inside(host.real(path)) if host.elsewhere else path)

    def _hook(self, hook: dict[str, Any], match: Match, index: int) -> dict[str, Any]:
        program = self._filled(hook["path"], match, index)
        args = [self._filled(text, match, index) for text in hook.get("args", [])]
        made: dict[str, Any] = {
            "hookName": hook.get("name", "createContainer"),
            "path": program,
            "args": args or [os.path.basename(program)],
            # An explicit environment keeps the image's out (CVE-2025-23266).
            "env": hook.get("env") or ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
        }
        return made | ({"timeout": hook["timeout"]} if "timeout" in hook else {})

    def _filled(self, text: str, match: Match, index: int) -> str:
        text = text.replace("{*}", match.star).replace("{index}", str(index))
        return _READ.sub(lambda found: self._read(found[1]), text)

    def _read(self, path: str) -> str:
        return files.text(self.nodes.host, path, 4096).partition("\n")[0].strip()


def _require_name(name: str, place: str) -> None:
    try:
        names.validate_device_name(name)
    except DocumentError as err:
        raise ConfigError(f"{place}: {err.message}", hint="its 'name' makes it") from None


def _node(nodes: Nodes, edits: Edits, path: str, whose: str) -> None:
    """Add a node; one that is a link is the node that it leads to."""
    if nodes.add(edits, nodes.host.inside(nodes.host.real(path)), block=True):
        return
    edits.add_node(path, nodes.prefix + path)
    nodes.report.add("nodes", path)
    nodes.report.warn(f"no device node {path} {whose}", "create fails until it is there")


def _options(given: str) -> list[str]:
    """Return a mount's options: those given before the usual ones, rw instead of ro."""
    own = [one for one in given.split(",") if one]
    usual = [one for one in _OPTIONS if one != "ro" or "rw" not in own]
    return list(dict.fromkeys([*own, *usual]))
