"""Which file wins when several define a device, and the index made from that. Pure.

The reference's rules (HEAD, cache.go): a later spec dir wins over an earlier one; two files of
one dir, or of equal priority, conflict, and then the device is gone altogether, even if a dir of
higher priority defines it without conflict.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.cdi.registry.entries import Index
    from ocishim.cdi.registry.specrecord import Record

    # priority, path, record: in the order in which the reference reads the files
    Known = list[tuple[int, str, Record]]
    # qualified name to the file's number and the device's number in it
    Devices = dict[str, tuple[int, int]]
    # qualified name, later path, earlier path
    Conflict = tuple[str, str, str]


def resolve(known: Known) -> tuple[Devices, list[Conflict]]:
    """The devices that can be requested, and the conflicts in the order of their discovery."""
    devices: Devices = {}
    conflicts: list[Conflict] = []
    for number, (priority, path, record) in enumerate(known):
        for device, name in enumerate(record.names):
            qualified = f"{record.kind}={name}"
            other = devices.get(qualified)
            rival, rival_path, _record = known[other[0]] if other else (-1, "", None)
            if rival == priority:
                conflicts.append((qualified, path, rival_path))
            else:
                devices[qualified] = (number, device)
    for qualified in {qualified for qualified, _later, _earlier in conflicts}:
        del devices[qualified]
    return devices, conflicts


def compile_index(known: Known) -> Index:
    """The index that answers for these files."""
    devices, _conflicts = resolve(known)
    lines = []
    for name, (number, device) in devices.items():
        _priority, _path, record = known[number]
        offset, length = record.device_places[device]
        lines.append(f"{name}\t{number}\t{offset}\t{length}")
    files = []
    for number, (_priority, _path, record) in enumerate(known):
        if record.common_place:
            _offset, length = record.common_place  # the first part of its entry
            files.append(f"{number}\t{record.entry}\t{length}")
    return _table(lines), _table(files)


def _table(lines: list[str]) -> bytes:
    return "\n".join(["", *lines, ""]).encode()
