"""Programs of the kernel's own machine, for control groups: bpf, section 2 of the manual."""

from __future__ import annotations

import struct

from ocishim import posixos
from ocishim.linux.ffi import address, get_errno, syscall

_BPF = {"x86_64": 321, "aarch64": 280}[posixos.machine()]  # asm/unistd_64.h, asm-generic
_BPF_PROG_LOAD, _BPF_PROG_ATTACH = 5, 8
_BPF_PROG_TYPE_CGROUP_DEVICE = 15
_BPF_CGROUP_DEVICE = 6
_BPF_F_ALLOW_MULTI = 2  # those of the groups above count as well


def restrict_devices(group: int, program: bytes) -> None:
    """Attach `program` to the control group (v2) behind the descriptor `group`.

    It stays as long as the group. OSError where there is no right to, or no such kernel.
    """
    code = bytearray(program)
    name = bytearray(b"Apache-2.0\0")  # of its licence; it calls nothing of the kernel's
    # union bpf_attr: type, number of instructions, where they and the licence are, no log
    attributes = struct.pack(
        "=IIQQIIQII", _BPF_PROG_TYPE_CGROUP_DEVICE, len(code) // 8, address(code), address(name),
        0, 0, 0, 0, 0,
    )  # fmt: skip
    loaded = _bpf(_BPF_PROG_LOAD, attributes, "BPF_PROG_LOAD")
    try:
        attributes = struct.pack("=IIII", group, loaded, _BPF_CGROUP_DEVICE, _BPF_F_ALLOW_MULTI)
        _bpf(_BPF_PROG_ATTACH, attributes, "BPF_PROG_ATTACH")
    finally:
        posixos.close(loaded)


def _bpf(command: int, attributes: bytes, name: str) -> int:
    result = syscall(_BPF, command, attributes, len(attributes))
    if result < 0:
        code = get_errno()
        raise OSError(code, f"bpf({name}): {posixos.strerror(code)}")
    return result
