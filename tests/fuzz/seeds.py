"""What fuzzing begins with: small inputs of every kind that a reader knows, made here."""

from __future__ import annotations

import struct

from ocishim import cache
from ocishim.hooks import ldcache

MACHINE = 62  # x86-64
NOTE_SECTION, NOTE_OWNER = ".note.cuda", "NVIDIA"
CDI_SPEC = (
    b'{"cdiVersion":"0.6.0","kind":"acme.com/gpu",'
    b'"devices":[{"name":"0","containerEdits":{"env":["A=1"]}}]}'
)


def _elf(kind: int, segments: tuple[int, ...], note: bytes = b"") -> bytes:
    """An ELF file: header, program headers of these types, a note section and its name."""
    names = b"\0" + NOTE_SECTION.encode() + b"\0"
    at = 64 + 56 * len(segments)
    sections = [
        struct.pack("<IIQQQQIIQQ", 1, 7, 0, 0, at, len(note), 0, 0, 4, 0),
        struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, at + len(note), len(names), 0, 0, 1, 0),
    ]
    table = at + len(note) + len(names)
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", kind, MACHINE, 1, 0, 64, table, 0, 64, 56,
        len(segments), 64, len(sections), 1,
    )  # fmt: skip
    programs = b"".join(struct.pack("<II6Q", p_type, 5, 0, 0, 0, 0, 0, 1) for p_type in segments)
    return head + programs + note + names + b"".join(sections)


def _library(dt_soname: int) -> bytes:
    """A library of two program headers whose dynamic section has the name "liba.so.1"."""
    at = 64 + 2 * 56
    dynamic = struct.pack("<qQqQqQ", 5, at + 48, 14, dt_soname, 0, 0)
    names = b"\0\0\0liba.so.1\0"
    whole = at + len(dynamic) + len(names)
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, MACHINE, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0
    )
    load = struct.pack("<II6Q", 1, 5, 0, 0, 0, whole, whole, 4096)
    return head + load + struct.pack("<II6Q", 2, 6, at, at, at, 48, 48, 8) + dynamic + names


_ENTRY = ldcache.Entry(b"liba.so.1", b"/lib/x86-64-v3/liba.so.1", 0x303, 0, 1 << 62)
_NOTE = struct.pack("<III", 7, 4, 1) + b"NVIDIA\0\0" + b"12.4"
_YAML = b"""---
cdiVersion: 0.6.0   # a comment
kind: acme.com/gpu
containerEdits: &common
  env: [A=1, 'B=2', "C=\\u00fc"]
devices:
- name: "0"
  containerEdits:
    <<: *common
    deviceNodes:
    - {path: /dev/null, type: c, major: 1, minor: 0x3, fileMode: 0o666}
    mounts:
    - hostPath: /a
      containerPath: |-
        /b
      options: [ro, nosuid]
    hooks:
    - hookName: createContainer
      path: /bin/x
      timeout: 1
"""
_BLOCK = b"""cdiVersion: 0.6.0
kind: acme.com/gpu
devices:
- name: gpu0
  containerEdits:
    env:
    - A=1
    - 'B'
    deviceNodes:
    - path: /dev/null
      major: 1
"""


def _words(line: str) -> bytes:
    return line.replace(" ", "\0").encode()


SEEDS: dict[str, list[bytes]] = {
    "elf": [_elf(2, (1, 4)), _elf(3, (1, 3)), _elf(3, (1,), _NOTE), _elf(1, ()), _elf(2, (1, 4))[:122]],
    "soname": [_library(3), _library(2), _elf(3, (1,))],
    "ldcache": [
        ldcache.build(ldcache.Cache([_ENTRY], [b"x86-64-v3"])),
        ldcache.build(ldcache.Cache([_ENTRY, ldcache.Entry(b"x", b"/y", 1, 0, 0)])),
        ldcache.build(ldcache.Cache([])),
    ],
    "ldconf": [
        b"/usr/lib # comment\n/lib=libc6\n\ninclude d/*.conf\xff\xff/opt/a\n\xff\xff/opt/b/\ninclude x",
        b"include /etc/[a-d]/?.conf\nhwcap 1 x\ninclude /etc/ld.so.conf\xff\xff/a b\t\n",
    ],
    "pattern": [b"*.conf\0a.conf", b"[!a-c]?\\*\0dx*", b"[]-]x[^]]\0]xa", b"a*b*c\0aXbYc", b"[a\0[a",
                b"*[--\0*[--", b"[[-\0[[-", b"[a-b-\0[a-b-"],
    "json": [
        b'{"a": [1, -0, 1.50, 1e3, 12345678901234567890, true, null], "a": "\\u00fc\\ud83d\\ude00"}',
        b' [[], {}, "\\ud800", "\xff"] ', b"NaN", b"\t[1]\r\n", b'"\\\\ud83d\\ud83d\\\\\\udc00"', b'{"a": {"b": {"c": []}}}',
    ],
    "cdi": [CDI_SPEC, _YAML, _BLOCK, b"a: &x [*x]", b"? a\n: b\n", b"\xef\xbb\xbfkind: x\n", b"- |2\n   x\n"],
    "argv": [
        _words("--root /run/runc --log /l --log-format json create --bundle /b --pid-file /p c1"),
        _words("--debug --x create -b/b -- c1"), _words("--systemd-cgroup run --bun=/b -f x c"),
        _words("kill c1 9"), _words("create --help"),
    ],
    "cache": [cache._frame("key", {"a": [1, "b", None]}), cache._frame("key", ()), cache.MARK],
    "registry": [b"\0\0\0", b"\1\0\x30x", b"\2\0\x10pyshim", b"\0\xff\xff\0"],
    "hookargs": [
        _words("hook create-symlinks --link a::/b --link=c::/d"),
        _words(
            "chain --rootfs /r --timeout 9 update-ldcache --folder /a --next chmod --mode 755 --path /x"),
        _words(
            "--debug enable-cuda-compat --host-driver-version=550.54 --cuda-compat-container-root /x"),
        _words("update-ldcache --folder /a --container-spec x"), _words("--mode=1 --folder /a"),
    ],
    "state": [
        b'{"ociVersion":"1.2.0","id":"c","status":"creating","pid":1,"bundle":"/nowhere","root":"/r"}',
        b'{"bundle":"/nowhere","annotations":{"a":"b"},"pid":-1}', b"[]", b"{}",
    ],
}  # fmt: skip
"""Target -> inputs."""
