"""Injection into a bundle: nothing else in config.json changes, and nothing is injected twice."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from kit.case import CODE, ENGINE, SPEC, area, check, equal

from areas.cdi import ask, device, document

if TYPE_CHECKING:
    from kit.lab import Bundle, Lab

case = area("injection")
EXTENSIBLE = SPEC + "config.md Extensibility"
TWICE = "containerd 2.x and CRI-O apply cdi.k8s.io annotations, and leave them in config.json"
CONTAINER = CODE + "pkg/cdi/container-edits.go"


def injected(lab: Lab, change: Any = None, **sections: Any) -> tuple[Bundle, dict[str, Any]]:
    """Create a container with the device 0; return its bundle and config.json as it was before.

    `change(spec)` edits config.json beforehand.
    """
    lab.cdi(document(device("0", env=["DEVICE=0"])))
    bundle = lab.bundle("env", annotations=ask("0"), **sections)
    spec = bundle.spec
    if change is not None:
        change(spec)
        bundle.write(spec)
    lab.creates(bundle)
    return bundle, spec


def _at(spec: dict[str, Any], place: tuple[Any, ...]) -> Any:
    for step in place:
        spec = spec[step]
    return spec


PLACES: dict[str, tuple[Any, ...]] = {
    "top": (),
    "process": ("process",),
    "user": ("process", "user"),
    "root": ("root",),
    "mount": ("mounts", 0),
    "linux": ("linux",),
    "resources": ("linux", "resources"),
    "namespace": ("linux", "namespaces", 0),
    "hooks": ("hooks",),
    "hook": ("hooks", "createRuntime", 0),
}


@case(
    "unknown-survives",
    "MUST NOT generate an error if they encounter an unknown property: it is "
    "for whoever comes next",
    EXTENSIBLE,
    PLACES,
)
def unknown_survives(lab: Lab, place: tuple[Any, ...]) -> None:
    value = {"a": [1, None, {"b": "\u00e9\U0001f600"}], "": False}

    def add(spec: dict[str, Any]) -> None:
        _at(spec, place)["x-future"] = value

    hooks = {"createRuntime": [{"path": lab.busybox, "args": ["true"], "env": ["A=b"]}]}
    bundle, _ = injected(lab, add, hooks=hooks)
    equal(_at(bundle.spec, place).get("x-future"), value, "the unknown property after create")


VALUES: dict[str, Any] = {
    "true": True,
    "false": False,
    "null": None,
    "zero": 0,
    "empty string": "",
    "empty list": [],
    "empty object": {},
    "int64": 9223372036854775807,
    "uint64": 18446744073709551615,
    "negative": -9223372036854775808,
    "float": 1.0,
    "small float": 1e-7,
    "control characters": "\x00\x1f\x7f\u2028",
    "astral": "\U0001f600",
    "quotes": "\"\\/<>&'",
    "long": "x" * 100_000,
    "nested": [[[[[[[[[[1]]]]]]]]]],
}


@case(
    "value-survives",
    "a value is what it was: its type, its digits, its emptiness",
    EXTENSIBLE,
    VALUES,
)
def value_survives(lab: Lab, value: Any) -> None:
    bundle, _ = injected(lab, lambda spec: spec["linux"].update({"x-future": value}))
    seen = bundle.spec["linux"].get("x-future", "nothing")
    equal((type(seen), json.dumps(seen)), (type(value), json.dumps(value)), "the value")


@case(
    "order-survives",
    "the properties keep their order",
    "whoever compares two config.json files",
    {"top": (), "process": ("process",), "linux": ("linux",), "mounts": ("mounts", 0)},
)
def order_survives(lab: Lab, place: tuple[Any, ...]) -> None:
    bundle, before = injected(lab)
    wanted = list(_at(before, place))
    equal([key for key in _at(bundle.spec, place) if key in wanted], wanted, "keys in order")


@case(
    "rest-survives",
    "an edit of the environment edits the environment alone",
    CONTAINER,
    {name: name for name in ("ociVersion", "root", "hostname", "mounts", "annotations", "linux")},
)
def rest_survives(lab: Lab, name: str) -> None:
    bundle, before = injected(lab)
    equal(bundle.spec[name], before[name], name)


def _touch(bundle: Bundle, mode: int = 0o600, owner: int = 0) -> None:
    os.chmod(bundle.config, mode)
    os.chown(bundle.config, owner, owner)


@case(
    "file",
    "config.json keeps its mode and owner",
    "containerd's bundle: 0666 & umask, 0710 folders of user namespaces",
    {"0600": (0o600, 0), "0644": (0o644, 0), "another's": (0o640, 1000)},
)
def file_kept(lab: Lab, what: tuple[int, int]) -> None:
    lab.cdi(document(device("0", env=["DEVICE=0"])))
    bundle = lab.bundle(annotations=ask("0"))
    _touch(bundle, *what)
    lab.creates(bundle)
    found = os.stat(bundle.config)
    equal(
        (found.st_mode & 0o7777, found.st_uid, found.st_gid),
        (what[0], what[1], what[1]),
        "mode, owner, group",
    )


@case(
    "no-litter",
    "the bundle holds the files it held",
    "whoever removes a bundle file by file",
    {"succeeds": "0", "fails": "9"},
)
def no_litter(lab: Lab, name: str) -> None:
    lab.cdi(document(device("0")))
    bundle = lab.bundle(annotations=ask(name))
    before = sorted(os.listdir(bundle.path))
    done = lab.create(bundle)
    equal(done.status == 0, name == "0", "create succeeds")
    equal(sorted(os.listdir(bundle.path)), before, "files in the bundle")


@case(
    "failed-untouched",
    "Error MUST leave the environment as if the operation were never attempted",
    SPEC + "runtime.md Operations",
    {"unresolvable": ("9",), "one of two": ("0", "9"), "missing node": ("node",)},
)
def failed_untouched(lab: Lab, names: tuple[str, ...]) -> None:
    lab.cdi(document(device("0"), device("node", deviceNodes=[{"path": "/dev/nowhere"}])))
    bundle = lab.bundle(annotations=ask(*names))
    before = bundle.bytes
    check(lab.create(bundle).status != 0, "create succeeds")
    equal(bundle.bytes, before, "config.json")


@case(
    "retry",
    "a create that failed can be tried again once its cause has gone",
    SPEC + "runtime.md Operations",
)
def retry(lab: Lab) -> None:
    bundle = lab.bundle("env", annotations=ask("0"))
    check(lab.create(bundle).status != 0, "create succeeds without a spec")
    lab.cdi(document(device("0")))
    check("DEVICE_0=yes" in lab.runs(bundle).lines, "no device at the second try")


@case(
    "reader",
    "a runtime reads config.json once: a link to it stays what it was",
    "engines hand a bundle over and keep copies of it",
    {"hard link": "link"},
)
def hard_link(lab: Lab, name: str) -> None:
    lab.cdi(document(device("0")))
    bundle = lab.bundle(annotations=ask("0"))
    before = bundle.bytes
    os.link(bundle.config, f"{lab.dir}/{name}")
    lab.creates(bundle)
    with open(f"{lab.dir}/{name}", "rb") as file:
        equal(file.read(), before, "the other name's content: the file is replaced, not rewritten")


def _full(lab: Lab) -> dict[str, Any]:
    """A device with every kind of edit. What runs says so in the file `ran`."""
    os.mkdir(f"{lab.dir}/source")
    entry = {
        "hookName": "createRuntime",
        "path": lab.busybox,
        "args": ["sh", "-c", f"{lab.busybox} cat; echo ran >> {lab.out}/ran"],
        "env": ["A=b"],
    }
    node = {"path": "/dev/acme", "type": "c", "major": 240, "minor": 7, "fileMode": 0o600}
    mount = {"hostPath": f"{lab.dir}/source", "containerPath": "/mnt", "options": ["bind"]}
    return device(
        "0",
        env=["DEVICE=0"],
        deviceNodes=[node],
        mounts=[mount],
        hooks=[entry],
        additionalGids=[11],
    )


PARTS: dict[str, Any] = {
    "env": lambda spec: [text for text in spec["process"]["env"] if text.startswith("DEVICE=")],
    "node": lambda spec: [item for item in spec["linux"]["devices"] if item["path"] == "/dev/acme"],
    "cgroup": lambda spec: [
        item for item in spec["linux"]["resources"]["devices"] if item.get("major") == 240
    ],
    "mount": lambda spec: [item for item in spec["mounts"] if item["destination"] == "/mnt"],
    "gid": lambda spec: [gid for gid in spec["process"]["user"]["additionalGids"] if gid == 11],
}


def _again(lab: Lab, bundle: Bundle) -> None:
    lab.creates(bundle)
    equal(lab.call("delete", "--force", lab.id).status, 0, "delete's exit status")


@case("twice", "the same bundle again: what is there is not added", TWICE, PARTS)
def twice(lab: Lab, part: Any) -> None:
    lab.cdi(document(_full(lab)))
    bundle = lab.bundle(annotations=ask("0"))
    for _ in range(3):
        _again(lab, bundle)
    equal(len(part(bundle.spec)), 1, "how often it is in config.json")


@case("twice-hook", "the same bundle again: a hook runs once a create", TWICE)
def twice_hook(lab: Lab) -> None:
    lab.cdi(document(_full(lab)))
    bundle = lab.bundle(annotations=ask("0"))
    for number in (1, 2, 3):
        _again(lab, bundle)
        equal(lab.read(f"{lab.out}/ran").count("ran"), number, f"runs after {number} creates")


@case("twice-bytes", "the second time changes nothing", TWICE)
def twice_bytes(lab: Lab) -> None:
    lab.cdi(document(_full(lab)))
    bundle = lab.bundle(annotations=ask("0"))
    _again(lab, bundle)
    before = bundle.bytes
    _again(lab, bundle)
    equal(bundle.bytes, before, "config.json")


@case(
    "same-device-twice",
    "requested by two annotations, a device is given once",
    ENGINE + "containerd WithCDI: duplicates are skipped",
    PARTS,
)
def same_device(lab: Lab, part: Any) -> None:
    lab.cdi(document(_full(lab)))
    annotations = {"cdi.k8s.io/a": "acme.com/gpu=0", "cdi.k8s.io/b": "acme.com/gpu=0"}
    bundle = lab.bundle(annotations=annotations)
    _again(lab, bundle)
    equal(len(part(bundle.spec)), 1, "how often it is in config.json")


@case(
    "engine-did-it",
    "an engine that has applied the edits: nothing to do",
    TWICE,
    {
        "env": {"env": ["DEVICE=0"]},
        "mount": {"mounts": [{"hostPath": "/etc", "containerPath": "/mnt", "options": ["bind"]}]},
    },
)
def engine_did(lab: Lab, edits: dict[str, Any]) -> None:
    lab.cdi(document(device("0", **edits)))
    bundle = lab.bundle(annotations=ask("0"))
    spec = bundle.spec
    spec["process"]["env"] += edits.get("env", [])
    spec["mounts"] += [
        {
            "source": item["hostPath"],
            "destination": item["containerPath"],
            "options": item["options"],
        }
        for item in edits.get("mounts", [])
    ]
    # As the reference leaves them: sorted by depth.
    spec["mounts"].sort(key=lambda item: item["destination"].count("/"))
    bundle.write(spec)
    before = bundle.bytes
    lab.creates(bundle)
    equal(bundle.bytes, before, "config.json")
