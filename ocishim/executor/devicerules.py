"""A container's device rules, as control groups take them: lines for v1, a program for v2.

The rules are linux.resources.devices of config.json and, after them, what runtimes let every
container have. The last rule that speaks of a device decides; what none speaks of is denied.
Pure.
"""

from __future__ import annotations

import struct

from ocishim.oci.members import find_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_READ_WRITE_MKNOD = "rwm"
# runc: libcontainer/specconv, AllowedDevices. (type, major, minor); any number is -1.
_ALWAYS = (("c", 1, 3), ("c", 1, 5), ("c", 1, 7), ("c", 1, 8), ("c", 1, 9), ("c", 5, 0),
           ("c", 5, 2), ("c", 136, -1))  # fmt: skip
_LARGEST = 0xFFFFFFFF

# linux/bpf.h: BPF_DEVCG_DEV_..., BPF_DEVCG_ACC_...
_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
# linux/bpf.h, bpf_common.h: class, operation and source of the operand in one byte
_LOAD_WORD, _COPY, _COPY_NUMBER, _EXIT = 0x61, 0xBC, 0xB4, 0x95
_AND, _XOR, _OR_OTHER, _SHIFT_RIGHT = 0x54, 0xA4, 0x4C, 0x74
_IF_EQUAL, _IF_NOT_EQUAL = 0x16, 0x56  # JMP32, Linux 5.1
_RESULT, _CONTEXT, _TYPE, _WANTED, _MAJOR, _MINOR, _OTHER, _DIFFERENT = range(8)  # registers


class Rule:
    """One rule: type "a" is every device and every access; a number of -1 is any."""

    __slots__ = ("access", "allow", "major", "minor", "type")

    def __init__(
        self, type_: str, major: int, minor: int, access: str = _READ_WRITE_MKNOD,
        *, allow: bool = True,
    ) -> None:  # fmt: skip
        self.allow = allow
        self.type = type_
        self.major = major
        self.minor = minor
        self.access = access

    def text(self) -> str:
        """The rule as devices.allow and devices.deny take it: `c 195:* rw`."""
        numbers = (str(number) if number >= 0 else "*" for number in (self.major, self.minor))
        return f"{self.type} {':'.join(numbers)} {self.access}"


def parse(spec: dict[str, Any]) -> list[Rule]:
    """Return the rules in order; none when the container has none."""
    listed = find_list(spec, "linux", "resources", "devices")
    rules = [_rule(rule) for rule in listed if isinstance(rule, dict)]
    always = [Rule(kind, -1, -1, "m") for kind in _TYPES]
    always += [Rule(*numbers) for numbers in _ALWAYS]
    return rules and [*rules, *always]


def _rule(rule: dict[str, Any]) -> Rule:
    return Rule(
        str(rule.get("type") or "a"), _number(rule.get("major")), _number(rule.get("minor")),
        str(rule.get("access") or _READ_WRITE_MKNOD), allow=bool(rule.get("allow")),
    )  # fmt: skip


def _number(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else -1


def program(rules: list[Rule]) -> bytes:
    """Return the rules as the instructions of a program of type BPF_PROG_TYPE_CGROUP_DEVICE.

    The kernel asks for a device and several kinds of access at once. From the last rule to the
    first, each that fits takes the kinds it allows off the list, or denies all for one it denies.
    """
    code = [
        _instruction(_LOAD_WORD, _TYPE, _CONTEXT, offset=0),
        _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, offset=4),
        _instruction(_LOAD_WORD, _MINOR, _CONTEXT, offset=8),
        _instruction(_COPY, _WANTED, _TYPE),
        _instruction(_AND, _TYPE, number=0xFFFF),
        _instruction(_SHIFT_RIGHT, _WANTED, number=16),
    ]
    for rule in reversed(rules):
        if rule.type == "a":  # whatever else it says, as in v1
            return b"".join([*code, *_end(allow=rule.allow)])
        if rule.type in _TYPES and max(rule.major, rule.minor) <= _LARGEST:
            code += _step(rule)
    return b"".join([*code, *_end(allow=False)])


def _step(rule: Rule) -> list[bytes]:
    access = sum(_ACCESS[letter] for letter in _ACCESS if letter in rule.access)
    if rule.allow:
        step = [
            _instruction(_AND, _WANTED, number=~access & 7),
            _instruction(_IF_NOT_EQUAL, _WANTED, number=0, offset=2),
        ]
    else:
        step = [
            _instruction(_COPY, _OTHER, _WANTED),
            _instruction(_AND, _OTHER, number=access),
            _instruction(_IF_EQUAL, _OTHER, number=0, offset=2),
        ]
    step += _end(allow=rule.allow)
    return [*_differs(rule), _instruction(_IF_NOT_EQUAL, _DIFFERENT, offset=len(step)), *step]


def _differs(rule: Rule) -> list[bytes]:
    """Have _DIFFERENT say whether the device is another one: 0 where the rule is about it.

    Without comparing the device's own registers: the kernel's verifier would remember of each way
    through the program what they were compared with, and need 10 s for 1,000 rules instead of
    10 ms.
    """
    code = [_instruction(_COPY_NUMBER, _DIFFERENT)]
    for register, number in (_TYPE, _TYPES[rule.type]), (_MAJOR, rule.major), (_MINOR, rule.minor):
        if number >= 0:
            code += [
                _instruction(_COPY, _OTHER, register),
                _instruction(_XOR, _OTHER, number=number),
                _instruction(_OR_OTHER, _DIFFERENT, _OTHER),
            ]
    return code


def _end(*, allow: bool) -> list[bytes]:
    return [_instruction(_COPY_NUMBER, _RESULT, number=int(allow)), _instruction(_EXIT)]


def _instruction(
    code: int, target: int = 0, source: int = 0, *, offset: int = 0, number: int = 0
) -> bytes:
    # struct bpf_insn; the registers' halves lie as on a little-endian machine, as all of ours are
    return struct.pack("=BBhI", code, target | source << 4, offset, number)
