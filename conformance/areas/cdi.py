"""CDI edits: what a device asks for is what the container gets, and nothing else."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from kit.case import CDI, CODE, area, check, equal

if TYPE_CHECKING:
    from kit.lab import Lab

case = area("cdi")
EDITS = CDI + "OCI Edits"
NODES = CODE + "pkg/cdi/container-edits_unix.go"
APPLY = CODE + "pkg/cdi/container-edits.go"


def device(name: str = "gpu0", **edits: Any) -> dict[str, Any]:
    return {"name": name, "containerEdits": edits or {"env": [f"DEVICE_{name}=yes"]}}


def document(*devices: dict[str, Any], version: str = "old", **more: Any) -> dict[str, Any]:
    """Return a CDI spec of the oldest version that serves: old engines know no newer one."""
    if version == "old":
        version = "0.7.0" if "additionalGids" in str(devices) else "0.5.0"
    return {"cdiVersion": version, "kind": "acme.com/gpu", "devices": list(devices), **more}


def ask(*names: str) -> dict[str, str]:
    return {"cdi.k8s.io/test": ",".join(f"acme.com/gpu={name}" for name in names)}


def give(lab: Lab, script: str, names: tuple[str, ...] = ("0",), **edits: Any) -> list[str]:
    """Give a container the device 0 with `edits`; return the lines its `script` prints."""
    lab.cdi(document(device("0", **edits)))
    return lab.runs(lab.bundle(script, annotations=ask(*names))).lines


@case(
    "env",
    "env: a list of environment variables in the form NAME=value",
    EDITS,
    {
        "plain": "A=b",
        "empty value": "A=",
        "equals": "A=b=c",
        "blanks": "A= b ",
        "unicode": "A=\u00e9",
    },
)
def env(lab: Lab, text: str) -> None:
    check(text in give(lab, "env", env=[text]), f"no {text!r}")


@case(
    "env-replaces",
    "a variable that is there gets the device's value",
    APPLY,
    {"engine's": "TERM", "path": "PATH"},
)
def env_replaces(lab: Lab, name: str) -> None:
    found = [line for line in give(lab, "/bin/env", env=[f"{name}=device"]) if line[:4] == name[:4]]
    equal(found, [f"{name}=device"], name)


def _node(
    path: str,
    kind: int = stat.S_IFCHR,
    number: tuple[int, int] = (240, 77),
    mode: int = 0o640,
) -> None:
    os.mknod(path, kind | mode, os.makedev(*number))
    os.chmod(path, mode)


SHOW = "stat -c '%F %t:%T %a %u:%g' /dev/acme"


@case(
    "node",
    "deviceNodes: the device nodes that should be made",
    NODES,
    {
        "by host": (
            {"path": "/dev/acme", "hostPath": "{dir}/node"},
            "character special file f0:4d 640 0:0",
        ),
        "by number": (
            {"path": "/dev/acme", "type": "c", "major": 1, "minor": 7, "fileMode": 0o600},
            "character special file 1:7 600 0:0",
        ),
        "type c": (
            {"path": "/dev/acme", "hostPath": "{dir}/node", "type": "c"},
            "character special file f0:4d 640 0:0",
        ),
        "type b": (
            {"path": "/dev/acme", "type": "b", "major": 7, "minor": 99, "fileMode": 0o600},
            "block special file 7:63 600 0:0",
        ),
        "block by host": (
            {"path": "/dev/acme", "hostPath": "{dir}/block"},
            "block special file 7:63 600 0:0",
        ),
        "fifo": ({"path": "/dev/acme", "hostPath": "{dir}/fifo"}, "fifo 0:0 644 0:0"),
        "mode": (
            {"path": "/dev/acme", "hostPath": "{dir}/node", "fileMode": 0o604},
            "character special file f0:4d 604 0:0",
        ),
        "owner": (
            {"path": "/dev/acme", "hostPath": "{dir}/node", "uid": 12, "gid": 34},
            "character special file f0:4d 640 12:34",
        ),
        "major without minor": (
            {"path": "/dev/acme", "type": "c", "major": 5, "fileMode": 0o666},
            "character special file 5:0 666 0:0",
        ),
    },
    seconds=40,
)
def node(lab: Lab, what: tuple[dict[str, Any], str]) -> None:
    fields, wanted = what
    _node(f"{lab.dir}/node")
    _node(f"{lab.dir}/block", stat.S_IFBLK, (7, 99), 0o600)
    os.mkfifo(f"{lab.dir}/fifo", 0o644)
    for key, value in fields.items():
        fields = {**fields, key: value.format(dir=lab.dir) if isinstance(value, str) else value}
    equal(give(lab, SHOW, deviceNodes=[fields]), [wanted], "the node")


@case(
    "node-owner",
    "uid and gid are the process's where the spec gives none",
    NODES,
    {"spec silent": ({}, "7:8"), "spec says 0": ({"uid": 0, "gid": 0}, "0:0")},
)
def node_owner(lab: Lab, what: tuple[dict[str, int], str]) -> None:
    _node(f"{lab.dir}/node")
    nodes = [{"path": "/dev/acme", "hostPath": f"{lab.dir}/node", **what[0]}]
    lab.cdi(document(device("0", deviceNodes=nodes)))
    bundle = lab.bundle("stat -c %u:%g /dev/acme", annotations=ask("0"))
    spec = bundle.spec
    spec["process"]["user"] = {"uid": 7, "gid": 8}
    bundle.write(spec)
    equal(lab.runs(bundle).lines, [what[1]], "owner")


@case(
    "node-refused",
    "a host path that is no device node, or of another type, is an error",
    NODES,
    {
        "missing": {"hostPath": "/nowhere"},
        "folder": {"hostPath": "{dir}"},
        "file": {"hostPath": "{dir}/file"},
        "symlink": {"hostPath": "{dir}/link"},
        "type mismatch": {"hostPath": "{dir}/node", "type": "b"},
    },
)
def node_refused(lab: Lab, fields: dict[str, str]) -> None:
    _node(f"{lab.dir}/node")
    open(f"{lab.dir}/file", "w").close()
    os.symlink(f"{lab.dir}/node", f"{lab.dir}/link")
    entry = {key: value.format(dir=lab.dir) for key, value in fields.items()}
    refused(lab, document(device("0", deviceNodes=[{"path": "/dev/acme", **entry}])))


def refused(
    lab: Lab,
    spec: object,
    names: tuple[str, ...] = ("0",),
    name: str = "acme.json",
) -> None:
    """Check that a create which asks for the device fails, and leaves no container."""
    lab.cdi(spec, name)
    done = lab.create(lab.bundle(annotations=ask(*names)))
    check(done.status != 0, "create succeeds")
    lab.gone()


OPEN = "(: < /dev/acme) 2>&1; (: > /dev/acme) 2>&1; true"
DENIED, NOBODY = "Operation not permitted", "No such device or address"


@case(
    "cgroup",
    "permissions: Cgroups permissions of the device",
    EDITS,
    {
        "rw": ("rw", True, True),
        "r": ("r", True, False),
        "w": ("w", False, True),
        "m": ("m", False, False),
        "rwm": ("rwm", True, True),
        "absent": ("", True, True),
    },
)
def cgroup(lab: Lab, what: tuple[str, bool, bool]) -> None:
    # No driver has this number: who may open it is told so, who may not is refused.
    lab.needs("cgroup")
    permissions, *wanted = what
    _node(f"{lab.dir}/node", number=(240, 77))
    entry = {"path": "/dev/acme", "hostPath": f"{lab.dir}/node"}
    if permissions:
        entry["permissions"] = permissions
    lines = give(lab, OPEN, deviceNodes=[entry])
    equal([NOBODY in line for line in lines], wanted, f"may read, may write ({lines})")
    equal([DENIED in line for line in lines], [not may for may in wanted], f"denied ({lines})")


@case("cgroup-others", "only the requested device's rule is added", APPLY)
def cgroup_others(lab: Lab) -> None:
    lab.needs("cgroup")
    lab.cdi(
        document(
            *(
                device(
                    str(n),
                    deviceNodes=[
                        {
                            "path": f"/dev/acme{n}",
                            "type": "c",
                            "major": 240,
                            "minor": 70 + n,
                            "fileMode": 0o666,
                        }
                    ],
                )
                for n in (0, 1)
            )
        )
    )
    script = "mknod /tmp/other c 240 71 && (: < /tmp/other) 2>&1; ls /dev/acme0 /dev/acme1 2>&1"
    bundle = lab.bundle(script.replace("mknod", "/bin/busybox mknod"), annotations=ask("0"))
    out = lab.run(bundle).out
    check("/dev/acme0\n" in out and "No such file" in out, out)
    check(NOBODY not in out, f"the other device can be opened: {out}")


@case(
    "mount",
    "mounts: the mounts that should be mounted",
    EDITS,
    {
        "bind": ["bind"],
        "rbind": ["rbind"],
        "read-only": ["ro", "nosuid", "nodev", "bind"],
        "private": ["rbind", "rprivate"],
    },
)
def mount(lab: Lab, options: list[str]) -> None:
    os.mkdir(f"{lab.dir}/source")
    with open(f"{lab.dir}/source/file", "w", encoding="utf-8") as file:
        file.write("host\n")
    script = "cat /mnt/file; (echo x > /mnt/new) 2>/dev/null && echo writable"
    mounts = [{"hostPath": f"{lab.dir}/source", "containerPath": "/mnt", "options": options}]
    wanted = ["host"] if "ro" in options else ["host", "writable"]
    equal(give(lab, script + "; true", mounts=mounts), wanted, "what the container sees")


@case("mount-type", "type: the type of the mount (from 0.4.0)", EDITS, {"tmpfs": "tmpfs"})
def mount_type(lab: Lab, kind: str) -> None:
    mounts = [{"hostPath": kind, "containerPath": "/mnt", "type": kind, "options": ["size=1m"]}]
    lines = give(lab, "cut -d' ' -f2,3 /proc/self/mounts", mounts=mounts)
    check(f"/mnt {kind}" in lines, lines)


@case(
    "mount-order",
    "mounts are sorted by the depth of their destination",
    APPLY,
    {"deep first": ("/mnt/a/b", "/mnt"), "deep last": ("/mnt", "/mnt/a/b")},
)
def mount_order(lab: Lab, targets: tuple[str, str]) -> None:
    for name in ("outer/a/b", "inner"):
        os.makedirs(f"{lab.dir}/{name}")
    os.mknod(f"{lab.dir}/inner/file")
    source = {"/mnt": "outer", "/mnt/a/b": "inner"}
    mounts = [
        {"hostPath": f"{lab.dir}/{source[target]}", "containerPath": target, "options": ["bind"]}
        for target in targets
    ]
    equal(give(lab, "ls /mnt/a/b", mounts=mounts), ["file"], "the inner mount is on top")


@case(
    "gids",
    "additionalGids: additional group ids of the process (from 0.7.0)",
    EDITS,
    {
        "one": ([11], ["11"]),
        "more": ([11, 12], ["11", "12"]),
        "twice": ([11, 11], ["11"]),
        "zero": ([0, 11], ["11"]),
    },
)
def gids(lab: Lab, what: tuple[list[int], list[str]]) -> None:
    lines = give(lab, "grep ^Groups: /proc/self/status", additionalGids=what[0])
    equal([gid for gid in lines[0].split()[1:] if gid != "0"], what[1], "groups")


@case(
    "hook",
    "hooks: the hooks that should be run",
    EDITS,
    {
        kind: kind
        for kind in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    },
)
def hook(lab: Lab, kind: str) -> None:
    script = f'{lab.busybox} cat; echo "$0 $1 $A" >> {lab.out}/seen'
    entry = {
        "hookName": kind,
        "path": lab.busybox,
        "args": ["sh", "-c", script, "zero", "one"],
        "env": ["A=b"],
        "timeout": 9,
    }
    give(lab, "true", hooks=[entry])
    lab.call("delete", "--force", lab.id)
    check(os.path.exists(f"{lab.out}/seen"), "the hook did not run")
    equal(lab.read(f"{lab.out}/seen"), "zero one b\n", "what the hook wrote")


@case(
    "hook-order", "hooks are appended: the engine's come first, then in the devices' order", APPLY
)
def hook_order(lab: Lab) -> None:
    def entry(name: str) -> dict[str, Any]:
        script = f"{lab.busybox} cat; echo {name} >> {lab.out}/seen"
        return {"path": lab.busybox, "args": ["sh", "-c", script], "env": ["A=b"]}

    lab.cdi(
        document(
            *(device(name, hooks=[{"hookName": "createRuntime", **entry(name)}]) for name in "ab")
        )
    )
    lab.runs(lab.bundle(annotations=ask("b", "a"), hooks={"createRuntime": [entry("engine")]}))
    equal(lab.read(f"{lab.out}/seen").split(), ["engine", "b", "a"], "order")


@case(
    "spec-edits",
    "the edits MUST be made if any of the device defined in the `devices` field are requested",
    EDITS,
    {"one": ("0",), "two": ("0", "1")},
)
def spec_edits(lab: Lab, names: tuple[str, ...]) -> None:
    script = f"{lab.busybox} cat; echo once >> {lab.out}/seen"
    entry = {
        "hookName": "createRuntime",
        "path": lab.busybox,
        "args": ["sh", "-c", script],
        "env": ["A=b"],
    }
    lab.cdi(document(device("0"), device("1"), containerEdits={"env": ["ALL=1"], "hooks": [entry]}))
    lines = lab.runs(lab.bundle("env", annotations=ask(*names))).lines
    check("ALL=1" in lines, lines)
    equal([f"DEVICE_{n}=yes" in lines for n in ("0", "1")], ["0" in names, "1" in names], "devices")
    equal(lab.read(f"{lab.out}/seen"), "once\n", "the spec's own edits, once a file")


@case("not-requested", "the edits MUST only be made if the matching device is requested", EDITS)
def not_requested(lab: Lab) -> None:
    lab.cdi(document(device("0"), device("1")))
    lines = lab.runs(lab.bundle("env", annotations=ask("1"))).lines
    check("DEVICE_1=yes" in lines and "DEVICE_0=yes" not in lines, lines)


@case(
    "no-request",
    "no request, no change",
    EDITS,
    {
        "none": {},
        "another prefix": {"cdi.example/x": "acme.com/gpu=0"},
        "no slash": {"cdi.k8s.io": "acme.com/gpu=0"},
        "upper case": {"CDI.k8s.io/x": "acme.com/gpu=0"},
    },
)
def no_request(lab: Lab, annotations: dict[str, str]) -> None:
    lab.cdi(document(device("0"), containerEdits={"env": ["ALL=1"]}))
    bundle = lab.bundle("env", annotations=annotations)
    before = bundle.bytes
    lines = lab.runs(bundle).lines
    check("DEVICE_0=yes" not in lines and "ALL=1" not in lines, lines)
    equal(bundle.bytes, before, "config.json")


@case(
    "annotations",
    "every key with the prefix counts; a value is names separated by commas",
    CODE + "pkg/cdi/annotations.go",
    {
        "two names": {"cdi.k8s.io/x": "acme.com/gpu=0,acme.com/gpu=1"},
        "two keys": {"cdi.k8s.io/x": "acme.com/gpu=0", "cdi.k8s.io/y": "acme.com/gpu=1"},
        "empty rest": {"cdi.k8s.io/": "acme.com/gpu=0,acme.com/gpu=1"},
        "odd rest": {"cdi.k8s.io/-bad key!/x": "acme.com/gpu=1,acme.com/gpu=0"},
    },
)
def every_key(lab: Lab, given: dict[str, str]) -> None:
    lab.cdi(document(device("0"), device("1")))
    lines = lab.runs(lab.bundle("env", annotations=given)).lines
    check("DEVICE_0=yes" in lines and "DEVICE_1=yes" in lines, lines)


@case(
    "annotation-refused",
    "each item must be a qualified name, else nothing is injected",
    CODE + "pkg/cdi/annotations.go",
    {
        "empty": "",
        "comma behind": "acme.com/gpu=0,",
        "blank": "acme.com/gpu=0, acme.com/gpu=1",
        "no vendor": "gpu=0",
        "no device": "acme.com/gpu",
        "no name": "acme.com/gpu=",
        "two commas": "acme.com/gpu=0,,acme.com/gpu=1",
        "bad character": "acme.com/gpu=0;1",
    },
)
def annotation_refused(lab: Lab, text: str) -> None:
    lab.cdi(document(device("0"), device("1")))
    done = lab.create(lab.bundle(annotations={"cdi.k8s.io/x": text}))
    check(done.status != 0, "create succeeds")
    lab.gone()


@case(
    "unresolvable",
    "a device no spec defines is an error, and none of the others is given",
    CODE + "pkg/cdi/cache.go InjectDevices",
    {"alone": ("9",), "beside a good one": ("0", "9"), "first": ("9", "0")},
)
def unresolvable(lab: Lab, names: tuple[str, ...]) -> None:
    lab.cdi(document(device("0")))
    bundle = lab.bundle(annotations=ask(*names))
    done = lab.create(bundle)
    check(done.status != 0, "create succeeds")
    check("acme.com/gpu=9" in done.err, f"the message does not name the device: {done.err}")
    check("DEVICE_0" not in bundle.bytes.decode(), "the bundle was edited")
