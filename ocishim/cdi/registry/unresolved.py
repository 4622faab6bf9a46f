"""Why a requested device cannot be resolved, in one line for whoever is on call.

The reference's sentence comes first, then a reason for each device (those with the same reason
together), then where was looked. Files may be opened again: this is the way out, speed is
nothing. Engines classify a runtime's errors by phrases such as "permission denied", which
therefore do not occur in our own words (errors.reason).
"""

from __future__ import annotations

import bisect
import errno
import os
import stat
from typing import NamedTuple

from ocishim.cdi import names, writers
from ocishim.cdi.document import rules
from ocishim.cdi.registry import index
from ocishim.errors import UnresolvedDeviceError, quoted, reason, shown, some

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.cdi.registry.index import Known
    from ocishim.cdi.registry.scan import Scan
    from ocishim.cdi.registry.specrecord import Error

# Engines copy the message into events and API objects; Kubernetes cuts an event at 1,024 bytes.
_SENTENCE_BYTES = 800
_REASONS_BYTES = 400
_DIRS_BYTES = 250
_SHOWN = 3
_NO_KIND = ("yaml", "no-data")
"""Faults of files of which nobody knows the kind."""
_SAYS_FIELD = ("json-type", "unknown-field", "null-entry", "no-devices")
"""Faults whose reason names the field."""


class Sight(NamedTuple):
    """What was seen of the spec dirs: every file, the devices that can be had, where was looked."""

    known: Known
    devices: list[str]
    found: Scan
    spec_dirs: list[str]


def error(sight: Sight, missing: list[str]) -> UnresolvedDeviceError:
    """The error for the devices in `missing`, in request order with repeats."""
    reasons = _Reasons(sight)
    for name in dict.fromkeys(missing):
        reasons.add(name)
    message = f"{_sentence(missing)}: {reasons.text()}; {looked_in(sight.found, sight.spec_dirs)}"
    return UnresolvedDeviceError(message, hint=reasons.hint())


def looked_in(found: Scan, spec_dirs: list[str]) -> str:
    """The spec dirs, how many specs each holds, and what is the matter with a dir."""
    dirs = []
    for listing in found.key:
        if len(listing) == 3:
            count = len(listing[1].split("/")) if listing[1] else 0
            dirs.append(f"{listing[0]} ({_count(count, 'file')})")
        elif listing[1] == errno.ENOENT:
            dirs.append(f"{listing[0]} (missing)")
        else:
            dirs.append(f"{listing[0]} (unreadable: {_reason(listing[1])})")
    unseen = spec_dirs[len(dirs) :]
    if unseen:
        dirs.append(f"and so not in {', '.join(unseen)}")
    text = shown(", ".join(dirs)) or "no spec dir: none is configured"
    return "looked in " + _cut(text, _DIRS_BYTES)


def rejection(path: str, fault: Error) -> str:
    """What is wrong with one spec file: reason, field, cdiVersion, what would do instead."""
    _message, kind, field, cdi_version, told = fault
    if kind == "io":
        return f"cannot be read: {_why_unreadable(path)}"
    if field and kind not in _SAYS_FIELD:
        asking = kind == "version-too-old" and field != "cdiVersion"
        told += f" {'for' if asking else 'in'} '{field}'"
    if kind in rules.EXPECTED:
        told += f": {rules.EXPECTED[kind]}"
    if cdi_version and kind != "version-invalid":
        told += f" (cdiVersion {cdi_version})"
    return shown(told)


class _Reasons:
    """Groups the missing devices by what is the matter with them."""

    def __init__(self, sight: Sight) -> None:
        known = sight.known
        self.devices = sight.devices
        self.rejected = [(path, r.error) for _prio, path, r in known if r.error is not None]
        self.conflicts = _conflicts(known)
        self.kinds = sorted({device.partition("=")[0] for device in self.devices})
        self.groups: dict[tuple[str, ...], list[str]] = {}
        self.blamed: list[str] = []

    def add(self, name: str) -> None:
        """Find out why `name` is missing."""
        if name in self.conflicts:
            self._group(name, "conflict", *self.conflicts[name])
        elif not names.is_qualified(name):
            self._group(name, "unqualified")
        else:
            kind, _, device = name.partition("=")
            suspects = self._suspects(kind)
            if not any(mentions for _path, mentions in suspects):
                self._group(device, "device", kind)
            for path, mentions in suspects:
                self._group(name, "rejected", path, kind if mentions else "")

    def text(self) -> str:
        """The reasons, as many as there is room for."""
        texts: list[str] = []
        for number, (key, members) in enumerate(self.groups.items()):
            text = shown(getattr(self, "_say_" + key[0])(members, *key[1:]))
            if texts and len("; ".join([*texts, text]).encode()) > _REASONS_BYTES:
                texts.append(f"and {_count(len(self.groups) - number, 'reason')} more")
                break
            texts.append(_cut(text, _REASONS_BYTES))
        return "; ".join(texts)

    def hint(self) -> str:
        """The next step."""
        if self.blamed:
            path = self.blamed[0]
            if quoted(path) != path:
                return f"run pyshimctl cdi validate {_cut(shown(quoted(path)), 100)}"
            return f"run 'pyshimctl cdi validate {_cut(path, 100)}'"
        if any(key[0] == "conflict" for key in self.groups):
            return "remove one of the two files"
        for key, members in self.groups.items():
            step = writers.of_component("", key[1]) if key[0] == "device" else ""
            if step and not self._nearest(key[1], members[0]):
                return step
        if not self.kinds:
            return "generate the vendor's spec, or check cdi.spec_dirs"
        return "run 'pyshimctl cdi list'"

    def _group(self, member: str, *key: str) -> None:
        self.groups.setdefault(key, []).append(member)

    def _suspects(self, kind: str) -> list[tuple[str, bool]]:
        """The rejected files that may be the cause, and whether each speaks of this kind.

        Those nobody can read; and those that cannot be parsed and say nothing of it, since they
        may have been cut off, where no other file has the kind.
        """
        unreadable = [(path, False) for path, fault in self.rejected if fault[1] == "io"]
        others = [path for path, fault in self.rejected if fault[1] != "io"]
        speaking = [(path, True) for path in others if _mentions(path, kind)]
        if not speaking and kind not in self.kinds:
            faults = dict(self.rejected)
            return unreadable + [(path, False) for path in others if faults[path][1] in _NO_KIND]
        return unreadable + speaking

    def _say_conflict(self, members: list[str], *paths: str) -> str:
        verb = "are" if len(members) > 1 else "is"
        where = " and ".join(paths[:_SHOWN])
        return f"{some(members, _SHOWN)} {verb} defined in both {where}, and so neither counts"

    def _say_unqualified(self, members: list[str]) -> str:
        told = some([names.goquote(member) for member in members], _SHOWN)
        return f"{told} is not of the form vendor/class=name"

    def _say_rejected(self, _members: list[str], path: str, kind: str) -> str:
        self.blamed.append(path)
        fault = dict(self.rejected)[path]
        if fault[1] == "io":
            return f"{path} {rejection(path, fault)}"
        mentions = f", which mentions {kind}," if kind else ""
        return f"{path}{mentions} is rejected: {rejection(path, fault)}"

    def _say_device(self, members: list[str], kind: str) -> str:
        vendor, _, class_ = kind.partition("/")
        classes = [k.partition("/")[2] for k in self.kinds if k.startswith(vendor + "/")]
        if kind in self.kinds:
            text = f"{kind} has no device {some(members, _SHOWN)}"
        elif classes:
            text = f"{vendor} has no class {class_}, it has {_near_first(class_, classes)}"
        elif self.kinds:
            text = f"no spec is of vendor {vendor}, kinds are {_near_first(kind, self.kinds)}"
        else:
            text = "no spec defines any device"
        nearest = self._nearest(kind, members[0])
        return f"{text}, nearest {some(nearest, _SHOWN)}" if nearest else text

    def _nearest(self, kind: str, device: str) -> list[str]:
        """Devices somebody may have meant: of that kind, or of that name under other kinds."""
        # A UUID under another kind is worth a word, a "0" or an "all" is not.
        same_name = [d for d in self.devices if len(device) > 5 and d.endswith("=" + device)]
        start = bisect.bisect_left(self.devices, kind + "=")
        end = bisect.bisect_left(self.devices, kind + ">")
        near = _near(f"{kind}={device}", self.devices[start:end])
        return list(dict.fromkeys(same_name + near))[:_SHOWN]


def _conflicts(known: Known) -> dict[str, list[str]]:
    """The devices lost to conflicts, with the files that define them."""
    paths: dict[str, list[str]] = {}
    for name, later, earlier in index.resolve(known)[1]:
        files = paths.setdefault(name, [earlier])
        files += [path for path in (earlier, later) if path not in files]
    return paths


def _sentence(missing: list[str]) -> str:
    """The reference's sentence; cut when hundreds of names would fill the message."""
    sentence = "unresolvable CDI devices " + ", ".join(missing)
    if len(sentence.encode(errors="replace")) <= _SENTENCE_BYTES:
        return sentence
    cut = _cut(sentence, _SENTENCE_BYTES)
    whole = cut.rpartition(", ")[0] or cut  # one name alone may be too long
    more = len(missing) - whole.count(", ") - 1
    return f"{whole} and {more} more" if more else whole


def _mentions(path: str, kind: str) -> bool:
    try:
        with open(path, "rb") as file:
            data = file.read(1 << 24)
    except OSError:
        return True
    return kind.encode() in data or kind.replace("/", "\\/").encode() in data


def _near(text: str, candidates: list[str]) -> list[str]:
    """The candidates most like `text`; all of them when they are few."""
    from difflib import get_close_matches  # noqa: PLC0415 - 6 ms, failure only

    if len(candidates) <= _SHOWN:
        return candidates
    if len(candidates) > 1000:  # comparing two names takes 30 us; neighbours share a beginning
        middle = bisect.bisect_left(candidates, text)
        candidates = candidates[max(0, middle - 500) : middle + 500]
    return get_close_matches(text, candidates, _SHOWN, 0.5) or candidates[:_SHOWN]


def _near_first(text: str, candidates: list[str]) -> str:
    """Return those most like `text`, and how many there are beside them."""
    near = _near(text, candidates)
    more = len(candidates) - len(near)
    return ", ".join(near) + (f" and {more} more" if more else "")


def _why_unreadable(path: str) -> str:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
            return "not a regular file"  # and a FIFO would block whoever opens it
        with open(path, "rb") as file:
            file.read(1)
    except OSError as e:
        if e.errno == errno.ENOENT and os.path.islink(path):
            return "a symlink to nowhere"
        return _reason(e.errno or 0)
    return "it was not a moment ago, but now it is"


def _reason(number: int) -> str:
    return reason(OSError(number, os.strerror(number)))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _cut(text: str, size: int) -> str:
    data = text.encode(errors="replace")
    return text if len(data) <= size else data[: size - 3].decode(errors="ignore") + "..."
