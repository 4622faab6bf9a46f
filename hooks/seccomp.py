"""The system calls that the hooks' sandbox takes away from the program it runs.

A list of what is denied, not of what is allowed: an ldconfig of a glibc we have not seen may need
a call we did not think of, and what is left can do nothing more than read and write files of the
image. The list stands for a network and an IPC namespace, at a tenth of their price (0.05 against
0.6 ms, and creating network namespaces takes a lock of the whole machine); beyond them it keeps a
program that the image has taken over from the container's own network and from the kernel's
larger surfaces: bpf, io_uring, keys, user namespaces.

fsync(2) succeeds without doing anything: the result is made anew at each start of the container,
and a disk would hold the start up for milliseconds.
"""

from __future__ import annotations

import struct

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000

# name: (x86_64, aarch64); asm/unistd_64.h, asm-generic/unistd.h. -1: not there.
DENIED = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "shmat": (30, 196),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "semctl": (66, 191),
    "shmctl": (31, 195),
    "msgctl": (71, 187),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "clone": (56, 220),
    "fork": (57, -1),
    "vfork": (58, -1),
    "clone3": (435, 435),
    "execve": (59, 221),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "mknod": (133, -1),
    "mknodat": (259, 33),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
}
WITHOUT_EFFECT = {"fsync": (74, 82), "fdatasync": (75, 83)}

# linux/bpf_common.h, linux/seccomp.h
_LOAD_WORD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCH_AT = 0, 4  # struct seccomp_data
_ALLOW, _KILL, _ERRNO, _EPERM = 0x7FFF0000, 0x80000000, 0x00050000, 1


def _numbers(table: dict[str, tuple[int, int]], machine: str) -> list[int]:
    column = list(_AUDIT_ARCH).index(machine)
    return [row[column] for row in table.values() if row[column] >= 0]


def program(machine: str) -> bytes:
    """Return the filter for `machine` ("x86_64", "aarch64") as struct sock_filter after another."""
    numbers = [(number, 2) for number in _numbers(DENIED, machine)]
    numbers += [(number, 1) for number in _numbers(WITHOUT_EFFECT, machine)]
    count = len(numbers)
    # A jump counts the instructions it skips; after the numbers: allow, idle, deny, kill.
    steps = [
        (_LOAD_WORD, 0, 0, _ARCH_AT),
        (_JUMP_EQUAL, 0, count + 5, _AUDIT_ARCH[machine]),
        (_LOAD_WORD, 0, 0, _NUMBER_AT),
        (_JUMP_GREATER_EQUAL, count + 2, 0, _X32_BIT),
    ]
    for index, (number, end) in enumerate(numbers):
        steps.append((_JUMP_EQUAL, count - 1 - index + end, 0, number))
    steps += [(_RETURN, 0, 0, value) for value in (_ALLOW, _ERRNO, _ERRNO | _EPERM, _KILL)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
