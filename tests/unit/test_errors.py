"""Every way a create can fail before the low-level runtime runs, and what the person on call reads.

One row a fault: exit status 1, one line on stderr, the same text in the JSON record, nothing
started. {box} is the folder with everything in it. The messages name the file, the field, the
value, the reason and the next step.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from ocishim.errors import unblaming
from tests import words
from tests.conftest import need
from tests.probe import ACME, Box, oci

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Prepare = Callable[[Box], object]

LINE = "create --bundle bundle c"


def asks(names: object, **members: Any) -> Prepare:
    """The bundle asks for these devices."""
    return lambda box: box.bundle(oci(annotations={"cdi.k8s.io/x": names}, **members))


def spec(text: str | dict[str, Any], name: str = "acme.json") -> Prepare:
    """A CDI spec file; the bundle asks for acme.com/gpu=0."""

    def prepare(box: Box) -> None:
        box.add_spec(name, text)
        asks("acme.com/gpu=0")(box)

    return prepare


def both(*steps: Prepare) -> Prepare:
    """All steps, in order."""
    return lambda box: [step(box) for step in steps]


def config_json(data: bytes) -> Prepare:
    """A bundle with this config.json."""
    return lambda box: box.bundle(data)


def settings(text: str | bytes) -> Prepare:
    """A config.toml with this text; {box} stands for the folder."""

    def prepare(box: Box) -> None:
        data = text if isinstance(text, bytes) else text.replace("{box}", str(box.folder)).encode()
        box.config.write_bytes(data)

    return prepare


def setting(**values: Any) -> Prepare:
    """One more setting; "__" stands for the dot."""
    return lambda box: box.settings(
        {key.replace("__", "."): value for key, value in values.items()}
    )


def edits(**members: Any) -> dict[str, Any]:
    """A CDI spec whose device has these edits."""
    return {**ACME, "containerEdits": {}, "devices": [{"name": "0", "containerEdits": members}]}


def nic(host: str, name: str) -> Prepare:
    """A CDI spec whose device is a network interface."""
    device = {"hostInterfaceName": host, "name": name}
    return spec({**edits(netDevices=[device]), "cdiVersion": "1.1.0"})


def asks_nothing(**members: Any) -> Prepare:
    """A bundle with these members and no request."""
    return lambda box: box.bundle(oci(**members))


def remove(name: str) -> Prepare:
    return lambda box: os.remove(box.folder / name)


def write(name: str, data: bytes, mode: int = 0o644) -> Prepare:
    def prepare(box: Box) -> None:
        path = box.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)

    return prepare


def mkdir(name: str) -> Prepare:
    return lambda box: (box.folder / name).mkdir(parents=True)


def hook(path: str, **more: Any) -> dict[str, Any]:
    return {"hookName": "createContainer", "path": path, **more}


def nothing(_box: Box) -> None:
    """The bundle is missing."""


NOTHING: Prepare = nothing
ACME_SPEC = spec(ACME)

ROWS = [
    # --- the command line
    pytest.param(NOTHING, "create --pid-file - id",
        "runtimes disagree on '-' as the value of --pid-file (write --pid-file=-)",
        id="a value that runtimes move"),
    pytest.param(NOTHING, "create --bundle",
        "flag needs an argument: --bundle (name the bundle's directory)",
        id="bundle without a value"),
    # --- the bundle
    pytest.param(NOTHING, "create --bundle nowhere c",
        "{box}/nowhere/config.json: does not exist (--bundle must name a directory with a "
        "config.json)", id="bundle missing"),
    pytest.param(mkdir("bundle"), LINE,
        "{box}/bundle/config.json: does not exist (--bundle must name a directory with a "
        "config.json)", id="config.json missing"),
    pytest.param(NOTHING, "create c",
        "{box}/config.json: does not exist (--bundle must name a directory with a config.json)",
        id="no bundle in the working directory"),
    pytest.param(write("bundle", b""), LINE,
        "{box}/bundle/config.json: not a directory (--bundle must name a directory with a "
        "config.json)", id="bundle is a file"),
    pytest.param(mkdir("bundle/config.json"), LINE, "{box}/bundle/config.json: not a regular file",
        id="config.json is a folder"),
    pytest.param(config_json(b""), LINE,
        "{box}/bundle/config.json: not valid JSON: the document is empty (the engine writes this "
        "file: is its disk full)", id="config.json empty"),
    pytest.param(config_json(b'{"root":{"path":"root'), LINE,
        "{box}/bundle/config.json: not valid JSON: " + words.of_json('{"root":{"path":"root')
        + " (the engine writes this file: is its disk full)",
        id="config.json truncated in a string"),
    pytest.param(config_json(b'{"root":\n{"path":"r"}'), LINE,
        "{box}/bundle/config.json: not valid JSON: " + words.of_json('{"root":\n{"path":"r"}')
        + " (the engine writes this file: is its disk full)", id="config.json truncated"),
    pytest.param(config_json(b"[]"), LINE,
        "{box}/bundle/config.json: expected an object, found array (the engine and its plugins "
        "write this file: look there)", id="config.json no object"),
    pytest.param(config_json(b" " * (50 << 20)), LINE,
        "{box}/bundle/config.json: 52428800 bytes, and at most 16777216 are read (engines write 3 "
        "to 60 KiB; is this the right file)", id="config.json of 50 MB"),
    pytest.param(config_json(b"[" * 100_000), LINE,
        "{box}/bundle/config.json: not valid JSON: nested too deeply (the engine writes this file: "
        "is its disk full)", id="config.json nested"),
    # --- who asks
    pytest.param(asks("gpu0"), LINE,
        'failed to parse CDI device annotations: invalid CDI device name "gpu0" in annotation '
        "'cdi.k8s.io/x' (write qualified names, vendor.com/class=name, separated by ',' without "
        "blanks)", id="annotation malformed"),
    pytest.param(asks("acme.com/gpu=0, acme.com/gpu=1"), LINE,
        'failed to parse CDI device annotations: invalid CDI device name " acme.com/gpu=1" in '
        "annotation 'cdi.k8s.io/x' (write qualified names, vendor.com/class=name, separated by ',' "
        "without blanks)", id="annotation with a blank"),
    pytest.param(asks(3), LINE,
        "{box}/bundle/config.json: expected string, found integer in 'annotations[cdi.k8s.io/x]' "
        "(the engine and its plugins write this file: look there)", id="annotation no string"),
    pytest.param(config_json(b'{"annotations":[]}'), LINE,
        "{box}/bundle/config.json: expected object, found array in 'annotations' (the engine and "
        "its plugins write this file: look there)", id="annotations no object"),
    # --- resolving
    pytest.param(both(ACME_SPEC, asks("acme.com/gpu=7")), LINE,
        "unresolvable CDI devices acme.com/gpu=7: acme.com/gpu has no device 7, nearest "
        "acme.com/gpu=0, acme.com/gpu=1; looked in {box}/cdi (1 file) (run 'pyshimctl cdi list')",
        id="unknown device"),
    pytest.param(both(ACME_SPEC, asks("acme.com/tpu=0")), LINE,
        "unresolvable CDI devices acme.com/tpu=0: acme.com has no class tpu, it has gpu; looked in "
        "{box}/cdi (1 file) (run 'pyshimctl cdi list')", id="unknown class"),
    pytest.param(both(ACME_SPEC, asks("acne.com/gpu=0")), LINE,
        "unresolvable CDI devices acne.com/gpu=0: no spec is of vendor acne.com, kinds are "
        "acme.com/gpu; looked in {box}/cdi (1 file) (run 'pyshimctl cdi list')",
        id="unknown vendor"),
    pytest.param(asks("acme.com/gpu=0"), LINE,
        "unresolvable CDI devices acme.com/gpu=0: no spec defines any device; looked in {box}/cdi "
        "(0 files) (generate the vendor's spec, or check cdi.spec_dirs)", id="no spec files"),
    pytest.param(both(asks("acme.com/gpu=0"), setting(cdi__spec_dirs=["/no/such/dir"])), LINE,
        "unresolvable CDI devices acme.com/gpu=0: no spec defines any device; looked in "
        "/no/such/dir (missing) (generate the vendor's spec, or check cdi.spec_dirs)",
        id="spec dir missing"),
    pytest.param(both(ACME_SPEC, spec(ACME, "other.json")), LINE,
        "unresolvable CDI devices acme.com/gpu=0: acme.com/gpu=0 is defined in both "
        "{box}/cdi/acme.json and {box}/cdi/other.json, and so neither counts; looked in {box}/cdi "
        "(2 files) (remove one of the two files)", id="conflicting specs"),
    pytest.param(spec({**ACME, "future": 1}), LINE,
        "unresolvable CDI devices acme.com/gpu=0: {box}/cdi/acme.json, which mentions "
        "acme.com/gpu, is rejected: unknown field 'future': known are cdiVersion, kind, "
        "annotations, devices, containerEdits (cdiVersion 0.6.0); looked in {box}/cdi (1 file) "
        "(run 'pyshimctl cdi validate {box}/cdi/acme.json')", id="spec with an unknown field"),
    pytest.param(spec({**ACME, "cdiVersion": "9.9.9"}), LINE,
        "unresolvable CDI devices acme.com/gpu=0: {box}/cdi/acme.json, which mentions "
        "acme.com/gpu, is rejected: invalid version \"9.9.9\" in 'cdiVersion': known are 0.3.0, "
        "0.4.0, 0.5.0, 0.6.0, 0.7.0, 0.8.0, 1.0.0, 1.1.0; looked in {box}/cdi (1 file) (run "
        "'pyshimctl cdi validate {box}/cdi/acme.json')", id="spec of an unknown version"),
    pytest.param(spec({**ACME, "cdiVersion": "0.3.0", "containerEdits": {"additionalGids": [1]}}),
        LINE,
        "unresolvable CDI devices acme.com/gpu=0: {box}/cdi/acme.json, which mentions "
        "acme.com/gpu, is rejected: the spec version must be at least v0.7.0 for "
        "'containerEdits.additionalGids' (cdiVersion 0.3.0); looked in {box}/cdi (1 file) (run "
        "'pyshimctl cdi validate {box}/cdi/acme.json')", id="spec of too low a version"),
    pytest.param(spec("kind: [", "acme.yaml"), LINE,
        "unresolvable CDI devices acme.com/gpu=0: no spec defines any device; {box}/cdi/acme.yaml "
        "is rejected: " + words.of_yaml("kind: [")
        + "; looked in {box}/cdi (1 file) (run 'pyshimctl cdi validate {box}/cdi/acme.yaml')",
        id="spec no YAML"),
    pytest.param(spec('{"kind": ', "acme.json"), LINE,
        "unresolvable CDI devices acme.com/gpu=0: no spec defines any device; {box}/cdi/acme.json "
        "is rejected: " + words.of_yaml('{"kind": ')
        + "; looked in {box}/cdi (1 file) (run 'pyshimctl cdi validate {box}/cdi/acme.json')",
        id="spec truncated"),
    pytest.param(
        spec(edits(mounts=[{"hostPath": 1, "containerPath": "/x"}, {"containerPath": "/y"}])), LINE,
        "unresolvable CDI devices acme.com/gpu=0: {box}/cdi/acme.json, which mentions "
        'acme.com/gpu, is rejected: failed add device "0": invalid device "0": invalid mount, '
        "empty host path in 'devices[0].containerEdits.mounts[1].hostPath' (cdiVersion 0.6.0); "
        "looked in {box}/cdi (1 file) (run 'pyshimctl cdi validate {box}/cdi/acme.json')",
        id="spec with a mount without a host path"),
    pytest.param(both(ACME_SPEC, lambda box: os.remove(box.spec_dir / "acme.json"),
        lambda box: (box.spec_dir / "acme.json").symlink_to("acme.json")), LINE,
        "unresolvable CDI devices acme.com/gpu=0: no spec defines any device; {box}/cdi/acme.json "
        "cannot be read: too many levels of symbolic links; looked in {box}/cdi (1 file) (run "
        "'pyshimctl cdi validate {box}/cdi/acme.json')", id="spec that is a link to itself"),
    pytest.param(both(asks("acme.com/gpu=0"), lambda box: (box.spec_dir / "acme.json").mkdir()),
        LINE,
        "unresolvable CDI devices acme.com/gpu=0: no spec defines any device; looked in {box}/cdi "
        "(1 file) (generate the vendor's spec, or check cdi.spec_dirs)",
        id="spec that is a folder"),
    # --- injecting
    pytest.param(spec(edits(deviceNodes=[{"path": "/dev/no-such-gpu"}])), LINE,
        'failed to stat CDI host device "/dev/no-such-gpu": does not exist, needed by '
        'acme.com/gpu=0 of {box}/cdi/acme.json (is the driver loaded? If it is, generate the spec '
        'again)', id="device node missing"),
    pytest.param(spec(edits(deviceNodes=[{"path": "/dev/x", "hostPath": "/etc/passwd"}])), LINE,
        'failed to stat CDI host device "/etc/passwd": not a device node, needed by acme.com/gpu=0 '
        'of {box}/cdi/acme.json (generate the spec again)', id="device node is a file"),
    pytest.param(both(ACME_SPEC, asks("acme.com/gpu=0", mounts={})), LINE,
        "{box}/bundle/config.json: expected array, found object in 'mounts' (the engine and its "
        "plugins write this file: look there)", id="config.json: mounts no array"),
    pytest.param(both(ACME_SPEC, asks("acme.com/gpu=0", process={"env": "A=1"})), LINE,
        "{box}/bundle/config.json: expected array, found string in 'process.env' (the engine and "
        "its plugins write this file: look there)", id="config.json: env no array"),
    pytest.param(both(ACME_SPEC, asks("acme.com/gpu=0", linux=[])), LINE,
        "{box}/bundle/config.json: expected object, found array in 'linux' (the engine and its "
        "plugins write this file: look there)", id="config.json: linux no object"),
    pytest.param(both(ACME_SPEC, asks("acme.com/gpu=0", hooks={"createContainer": {}})), LINE,
        "{box}/bundle/config.json: expected array, found object in 'hooks.createContainer' (the "
        "engine and its plugins write this file: look there)", id="config.json: hooks no array"),
    pytest.param(
        spec(edits(mounts=[{"hostPath": "/gone/lib.so.1", "containerPath": "/x",
            "options": ["bind"]}])),
        LINE,
        "{box}/cdi/acme.json is stale: mount source /gone/lib.so.1 is gone "
        "('devices[name=0].containerEdits.mounts[0].hostPath'); likely the driver was upgraded or "
        "removed, needed by acme.com/gpu=0 (generate the spec again)", id="stale mount"),
    pytest.param(both(write("runc", b"#!/bin/sh\necho runc version 1.1.5\n", 0o755),
        settings('runtimes = ["{box}/runc"]\ncdi.spec_dirs = ["{box}/cdi"]\n'),
        spec(edits(mounts=[{"hostPath": "/etc", "containerPath": "/x", "options": ["ro"]}]))), LINE,
        "{box}/cdi/acme.json: the mount at /x says neither 'bind' nor 'rbind' "
        "('devices[name=0].containerEdits.mounts[0].options'); runc and crun cannot mount it, "
        "needed by acme.com/gpu=0 (add 'bind' to its options)", id="mount without bind"),
    pytest.param(
        both(spec(edits(deviceNodes=[{"path": "/dev/null", "type": "c", "major": 1, "minor": 5}])),
        setting(cdi__stale="error")), LINE,
        "{box}/cdi/acme.json is stale: /dev/null is c 1:5 in the spec, c 1:3 on this host "
        "('devices[name=0].containerEdits.deviceNodes[0].path'); likely its kernel module was "
        "loaded again, needed by acme.com/gpu=0 (generate the spec again, or set cdi.stale = "
        '"auto")', id="stale device node"),
    pytest.param(nic("nosuch0", "eth7"), LINE,
        "network device 'nosuch0' is not on this host (another container may have it; 'ip link' "
        "lists what is there)", id="network device missing"),
    pytest.param(nic("lo", "eth 7"), LINE,
        "network device 'eth 7' is no interface name (at most 15 bytes, and none of '/', ':' and "
        "blanks)", id="network device's name"),
    pytest.param(asks_nothing(linux={"netDevices": ["eth0"]}), LINE,
        "{box}/bundle/config.json: expected object, found array in 'linux.netDevices' (the engine "
        "and its plugins write this file: look there)", id="config.json: netDevices no object"),
    # --- the hooks
    pytest.param(spec(edits(hooks=[hook("/no/such/vendor-hook")])), LINE,
        "{box}/cdi/acme.json: createContainer hook /no/such/vendor-hook: the program does not "
        "exist (install it, or generate the CDI spec again)", id="hook program missing"),
    pytest.param(spec(edits(hooks=[hook("/etc/passwd")])), LINE,
        "{box}/cdi/acme.json: createContainer hook /etc/passwd: the program is not an executable "
        "file (install it, or generate the CDI spec again)", id="hook program not executable"),
    pytest.param(spec(edits(hooks=[hook("vendor-hook")])), LINE,
        "{box}/cdi/acme.json: createContainer hook vendor-hook: the path is not absolute (correct "
        "the CDI spec)", id="hook path relative"),
    pytest.param(both(ACME_SPEC, remove("bin/pyshim-hook")), LINE,
        "createContainer hook {box}/bin/pyshim-hook: the program does not exist (install pyshim "
        "again)", id="pyshim-hook missing"),
    pytest.param(both(ACME_SPEC, asks("acme.com/gpu=0", root={"path": "gone"})), LINE,
        "{box}/bundle/config.json: root.path {box}/bundle/gone: does not exist (the engine mounts "
        "it before create: is the container being removed)", id="rootfs missing"),
    pytest.param(both(ACME_SPEC, asks("acme.com/gpu=0", root={})), LINE,
        "{box}/bundle/config.json: expected string, found null in 'root.path' (the engine and its "
        "plugins write this file: look there)", id="root.path missing"),
    pytest.param(both(ACME_SPEC, asks("acme.com/gpu=0", root={"path": "a\0b"})), LINE,
        "{box}/bundle/config.json: expected a path, found 'a\\x00b' in 'root.path' (the engine and "
        "its plugins write this file: look there)", id="root.path with a NUL"),
    pytest.param(config_json(json.dumps(oci(hooks={"prestart": [None]})).encode()), LINE,
        "{box}/bundle/config.json: expected object, found null in 'hooks.prestart[0]' (the engine "
        "and its plugins write this file: look there)", id="hook null"),
    # --- settings
    pytest.param(settings("nope = 1\n"), LINE,
        "{box}/config.toml:1: unknown setting 'nope' (see 'pyshimctl config default')",
        id="setting unknown"),
    pytest.param(settings('[hooks]\nnative = "yes"\n'), LINE,
        "{box}/config.toml:2: expected boolean, found string in 'hooks.native'",
        id="setting of the wrong type"),
    pytest.param(settings("runtimes = [\n"), LINE, "{box}/config.toml: not valid TOML: "
        + words.of_toml("runtimes = [\n")
        + " ('pyshimctl config default' has every setting as it is written)", id="no TOML"),
    pytest.param(both(remove("config.toml"), mkdir("config.toml")), LINE,
        "{box}/config.toml: cannot be read: is a directory", id="config.toml is a folder"),
    # --- the low-level runtime
    pytest.param(
        both(config_json(b"{}"), settings('runtimes = ["no-such-runtime", "{box}/none"]\n')), LINE,
        "no low-level runtime found: looked for 'no-such-runtime', '{box}/none' (install one or "
        "name its path in 'runtimes' of {box}/config.toml)", id="no runtime"),
    pytest.param(
        both(config_json(b"{}"), write("plain", b"x"), settings('runtimes = ["{box}/plain"]\n')),
        LINE,
        "no low-level runtime found: looked for '{box}/plain' ({box}/plain is not executable) "
        "(install one or name its path in 'runtimes' of {box}/config.toml)",
        id="runtime not executable"),
    pytest.param(both(config_json(b"{}"), write("broken", b"\x7fELF", 0o755),
        settings('runtimes = ["{box}/broken"]\n')), LINE,
        "the low-level runtime {box}/broken cannot be executed: exec format error (check that it "
        "is a program for this machine)", id="runtime no program"),
    pytest.param(both(config_json(b"{}"), settings('runtimes = ["{box}/bin/pyshim"]\n')), LINE,
        "the low-level runtime {box}/bin/pyshim is pyshim itself (write another runtime in "
        "'runtimes' of {box}/config.toml)", id="runtime is pyshim"),
]  # fmt: skip


@pytest.fixture(name="box")
def _box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def complain(box: Box, prepare: Prepare, line: str) -> str:
    """Prepare the fault and call pyshim; return the message without its first word."""
    prepare(box)
    log = box.folder / "log.json"
    done = box.call("--log", str(log), "--log-format", "json", *line.split())
    assert (done.status, done.out, done.seen) == (1, "", None), done
    assert done.err.count("\n") == 1
    records = log.read_text().splitlines()
    assert len(records) == 1
    assert json.loads(records[0])["msg"] == done.err[:-1]
    assert done.err.startswith("pyshim: ")
    return done.err.removeprefix("pyshim: ")[:-1]


@pytest.mark.parametrize(("prepare", "line", "message"), ROWS)
def test_message(box: Box, prepare: Prepare, line: str, message: str) -> None:
    assert complain(box, prepare, line) == message.replace("{box}", str(box.folder))


TRAPS = re.compile(
    r"permission denied|operation not permitted|executable file not found|no such file or directory",
    re.IGNORECASE,
)


@pytest.mark.parametrize("message", [pytest.param(row.values[2], id=row.id) for row in ROWS])
def test_no_words_that_blame_the_containers_command(message: object) -> None:
    """Podman sorts errors by these and then ends with 126 or 127."""
    assert not TRAPS.search(str(message))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("open /x: No such file or directory", "open /x: does not exist"),
        ('exec: "a": executable file not found in $PATH', 'exec: "a": no such program in $PATH'),
        ("PERMISSION DENIED, Operation not permitted", "access denied, not allowed"),
        ("İİ: permission denied \udcff\ud800", "İİ: access denied \udcff\ud800"),
        ("no such device", "no such device"),
    ],
)
def test_words_of_others_blame_it_neither(text: str, told: str) -> None:
    """The kernel's, a vendor's hook's; lower() of some letters is longer than they are."""
    assert unblaming(text) == told


def chmod(name: str, mode: int = 0) -> Prepare:
    return lambda box: (box.folder / name).chmod(mode)


DENIED = [
    pytest.param(chmod("cdi/acme.json"),
        "unresolvable CDI devices acme.com/gpu=0: no spec defines any device; {box}/cdi/acme.json "
        "cannot be read: access denied; looked in {box}/cdi (1 file) (run 'pyshimctl cdi validate "
        "{box}/cdi/acme.json')", id="spec"),
    pytest.param(chmod("cdi"),
        "unresolvable CDI devices acme.com/gpu=0: no spec defines any device; looked in {box}/cdi "
        "(unreadable: access denied) (generate the vendor's spec, or check cdi.spec_dirs)",
        id="spec dir"),
    pytest.param(chmod("bundle/config.json"), "{box}/bundle/config.json: access denied",
        id="config.json"),
    pytest.param(chmod("bundle"), "{box}/bundle/config.json: access denied", id="bundle"),
    pytest.param(chmod("bundle", 0o555),
        "{box}/bundle/config.json: cannot be replaced: access denied (the bundle is as it was; its "
        "folder must be writable and not full)", id="bundle that is read-only"),
    pytest.param(chmod("config.toml"), "{box}/config.toml: cannot be read: access denied",
        id="config.toml"),
    pytest.param(chmod("lowlevel/runc"),
        "no low-level runtime found: looked for '{box}/lowlevel/runc' ({box}/lowlevel/runc is not "
        "executable) (install one or name its path in 'runtimes' of {box}/config.toml)",
        id="runtime"),
    pytest.param(chmod("lowlevel"),
        "no low-level runtime found: looked for '{box}/lowlevel/runc' (install one or name its "
        "path in 'runtimes' of {box}/config.toml)", id="runtime's folder"),
    pytest.param(chmod("bin/pyshim-hook"),
        "createContainer hook {box}/bin/pyshim-hook: the program is not an executable file "
        "(install pyshim again)", id="pyshim-hook"),
    pytest.param(chmod("bundle/rootfs"), None, id="rootfs"),
    pytest.param(chmod("cache"), None, id="cache"),
    pytest.param(chmod("own.log"), None, id="own log"),
]  # fmt: skip


@pytest.mark.root
@pytest.mark.parametrize(("prepare", "message"), DENIED)
def test_not_allowed(box: Box, prepare: Prepare, message: str | None) -> None:
    """Root without the capabilities that let root read everything: the kernel's own refusals.

    Where no message is expected, create succeeds.
    """
    ACME_SPEC(box)
    box.cache.mkdir(mode=0o700)
    box.log.touch()
    prepare(box)
    caps = "-dac_override,-dac_read_search"
    done = box.start(
        need("setpriv"), f"--bounding-set={caps}", f"--inh-caps={caps}", str(box.pyshim),
        *LINE.split(),
    )  # fmt: skip
    for name in ("cdi", "bundle", "lowlevel", "cache"):
        (box.folder / name).chmod(0o755)
    if message is None:
        assert (done.status, done.err) == (0, "probe's error\n"), done
        return
    assert (done.status, done.out) == (1, ""), done
    assert done.err == f"pyshim: {message}\n".replace("{box}", str(box.folder))
    assert not TRAPS.search(done.err)
