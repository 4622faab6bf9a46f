"""CDI spec files: versions, names, directories, and what one bad file may do to the others."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from kit.case import CDI, CODE, area, check

from areas.cdi import ask, device, document, refused

if TYPE_CHECKING:
    from kit.lab import Lab

case = area("cdi-files")
SPEC_GO = CODE + "pkg/cdi/spec.go"
CACHE = CODE + "pkg/cdi/cache.go"
VERSION_GO = CODE + "specs-go/version.go"
SPEC_DIRS = CODE + "pkg/cdi/spec-dirs.go"
VERSION = CDI + "CDI JSON Specification, Specification version"


def gets(lab: Lab, *variables: str, names: tuple[str, ...] = ("0",)) -> None:
    """Check that a container which asks for `names` has these variables."""
    lines = lab.runs(lab.bundle("env", annotations=ask(*names))).lines
    missing = [text for text in variables if text not in lines]
    check(not missing, f"not in the environment: {missing}")


@case(
    "version",
    "the version of the CDI specification used by the vendor",
    VERSION,
    {
        text: text
        for text in (
            "0.3.0",
            "0.4.0",
            "0.5.0",
            "0.6.0",
            "0.7.0",
            "0.8.0",
            "1.0.0",
            "1.1.0",
            "v1.0.0",
        )
    },
)
def version(lab: Lab, text: str) -> None:
    lab.cdi(document(device("gpu"), version=text))
    gets(lab, "DEVICE_gpu=yes", names=("gpu",))


@case(
    "version-refused",
    "a version that is none makes the file unusable",
    VERSION,
    {
        text or "empty": text
        for text in (
            "",
            "0.1.0",
            "0.2.0",
            "1.2.0",
            "2.0.0",
            "0.6",
            "V1.0.0",
            "vv1.0.0",
            "1.0.0 ",
            "1.0.0-rc1",
            "latest",
        )
    },
)
def version_refused(lab: Lab, text: str) -> None:
    refused(lab, document(device("gpu"), version=text), ("gpu",))


NEEDS = {
    "mount type": (
        "0.3.0",
        "0.4.0",
        {
            "mounts": [
                {"hostPath": "/etc", "containerPath": "/mnt", "type": "bind", "options": ["bind"]}
            ]
        },
    ),
    "hostPath": (
        "0.4.0",
        "0.5.0",
        {"deviceNodes": [{"path": "/dev/acme", "hostPath": "/dev/null"}]},
    ),
    "additionalGids": ("0.6.0", "0.7.0", {"additionalGids": [11]}),
}


@case(
    "field-too-new",
    "the spec version must be at least that of the newest field in it",
    VERSION_GO,
    {
        **NEEDS,
        "intelRdt": ("0.6.0", "", {"intelRdt": {"closID": "x"}}),
        "netDevices": ("1.0.0", "", {"netDevices": [{"hostInterfaceName": "x", "name": "y"}]}),
        "schemata": ("1.0.0", "", {"intelRdt": {"schemata": ["x"]}}),
    },
)
def field_too_new(lab: Lab, what: tuple[str, str, dict[str, Any]]) -> None:
    refused(lab, document(device("gpu", env=["A=b"], **what[2]), version=what[0]), ("gpu",))


@case(
    "field-new-enough",
    "the spec version must be at least that of the newest field in it",
    VERSION_GO,
    NEEDS,
)
def field_new_enough(lab: Lab, what: tuple[str, str, dict[str, Any]]) -> None:
    lab.cdi(document(device("gpu", env=["A=b"], **what[2]), version=what[1]))
    gets(lab, "A=b", names=("gpu",))


@case(
    "device-digit",
    "a device name may start with a digit from 0.5.0 on",
    VERSION_GO,
    {"0.4.0": "0.4.0", "0.5.0": "0.5.0"},
)
def device_digit(lab: Lab, text: str) -> None:
    spec = document(device("0"), version=text)
    if text == "0.4.0":
        refused(lab, spec)
    else:
        lab.cdi(spec)
        gets(lab, "DEVICE_0=yes")


@case(
    "annotations-field",
    "annotations on specs and devices from 0.6.0 on",
    VERSION_GO,
    {"0.5.0": "0.5.0", "0.6.0": "0.6.0"},
)
def annotations_field(lab: Lab, text: str) -> None:
    spec = document(device("0"), version=text, annotations={"a": "b"})
    if text == "0.5.0":
        refused(lab, spec)
    else:
        lab.cdi(spec)
        gets(lab, "DEVICE_0=yes")


@case(
    "kind",
    "a prefix and a name, separated by a slash",
    CDI + "Kind",
    {
        text: text
        for text in (
            "acme.com/gpu",
            "a/b",
            "Vendor.com/Class",
            "a.b.c/d-e_f",
            "vendor.com/net.class",
            "a--b/c",
        )
    },
)
def kind(lab: Lab, text: str) -> None:
    version = "0.6.0" if "." in text.partition("/")[2] else "old"
    lab.cdi({**document(device("x"), version=version), "kind": text})
    lines = lab.runs(lab.bundle("env", annotations={"cdi.k8s.io/t": f"{text}=x"})).lines
    check("DEVICE_x=yes" in lines, lines)


@case(
    "kind-refused",
    "beginning and ending with an alphanumeric character",
    CDI + "Kind",
    {
        text or "empty": text
        for text in (
            "",
            "gpu",
            "/gpu",
            "acme.com/",
            "1acme/gpu",
            "acme/1gpu",
            "acme-/gpu",
            "acme/gpu-",
            "acme/g/pu",
            "ac me/gpu",
            "acm\u00e9/gpu",
        )
    },
)
def kind_refused(lab: Lab, text: str) -> None:
    """The other file is still of use, this one is not."""
    lab.cdi(document(device("good")), "good.json")
    lab.cdi({**document(device("x")), "kind": text}, "bad.json")
    gets(lab, "DEVICE_good=yes", names=("good",))
    done = lab.create(lab.bundle(name="b", annotations={"cdi.k8s.io/t": f"{text}=x"}))
    check(done.status != 0, "create succeeds")


@case(
    "name",
    "Beginning and ending with an alphanumeric character with dashes, underscores, dots, "
    "and alphanumerics between",
    CDI + "CDI Devices",
    {text: text for text in ("0", "all", "GPU-0.1_a", "0:1", "a--b")},
)
def name(lab: Lab, text: str) -> None:
    lab.cdi(document(device(text, env=["A=b"])))
    gets(lab, "A=b", names=(text,))


@case(
    "name-refused",
    "Beginning and ending with an alphanumeric character",
    CDI + "CDI Devices",
    {text or "empty": text for text in ("", "-0", "0-", "a b", "a/b", "a=b", ".", "\u00e9")},
)
def name_refused(lab: Lab, text: str) -> None:
    """One bad device makes the whole file unusable (pkg/cdi/spec.go)."""
    refused(lab, document(device("0"), device(text)))


E_ENV = {"env": ["A=b"]}
BAD = {
    "no JSON": "{",
    "empty": "",
    "null": "null",
    "list": "[]",
    "string": '"x"',
    "unknown field": document(device("0"), unknown=1),
    "unknown field, null": document(device("0"), unknown=None),
    "unknown field in a device": document({**device("0"), "x": 1}),
    "unknown field in edits": document(device("0", env=["A=b"], x=[])),
    "duplicate key": json.dumps(document(device("0")))[:-1] + ', "kind": "acme.com/gpu"}',
    "duplicate device": document(device("0"), device("0")),
    "no devices": document(),
    "devices a map": {**document(), "devices": {}},
    "no edits": document({"name": "0"}),
    "empty edits": document({"name": "0", "containerEdits": {}}),
    "edits a list": document({"name": "0", "containerEdits": []}),
    "null device": {**document(device("0")), "devices": [device("0"), None]},
    "env without =": document(device("0", env=["A"])),
    "env without name": document(device("0", env=["=b"])),
    "env a number": document(device("0", env=[1, "A"])),
    "node without path": document(device("0", deviceNodes=[{"hostPath": "/dev/null"}])),
    "node type": document(device("0", deviceNodes=[{"path": "/dev/null", "type": "x"}])),
    "node permissions": document(
        device("0", deviceNodes=[{"path": "/dev/null", "permissions": "rwx"}])
    ),
    "node major a string": document(device("0", deviceNodes=[{"path": "/dev/null", "major": "1"}])),
    "node uid negative": document(device("0", deviceNodes=[{"path": "/dev/null", "uid": -1}])),
    "mount without hostPath": document(device("0", mounts=[{"containerPath": "/mnt"}])),
    "mount without containerPath": document(device("0", mounts=[{"hostPath": "/etc"}])),
    "hook name": document(
        device("0", hooks=[{"hookName": "createcontainer", "path": "/bin/true"}])
    ),
    "hook without path": document(device("0", hooks=[{"hookName": "createRuntime"}])),
    "hook env": document(
        device("0", hooks=[{"hookName": "createRuntime", "path": "/bin/true", "env": ["A"]}])
    ),
    "closID": document(device("0", env=["A=b"], intelRdt={"closID": "a/b"})),
    "netDevices twice": document(
        device(
            "0",
            netDevices=[
                {"hostInterfaceName": "a", "name": "x"},
                {"hostInterfaceName": "a", "name": "y"},
            ],
        ),
        version="1.1.0",
    ),
    "enableCMT": document(device("0", env=["A=b"], intelRdt={"enableCMT": True})),
}


@case(
    "bad-file",
    "a file that is not valid gives no devices, and does not disable another",
    SPEC_GO,
    BAD,
)
def bad_file(lab: Lab, spec: object) -> None:
    lab.cdi(document(device("good")), "a-good.json")
    lab.cdi(spec, "bad.json")
    lab.cdi(document(device("fine")), "z-fine.json")
    gets(lab, "DEVICE_good=yes", "DEVICE_fine=yes", names=("good", "fine"))
    done = lab.create(lab.bundle(name="b", annotations=ask("0")))
    check(done.status != 0, "the bad file's device is given")


@case(
    "odd-entry",
    "direct children only, extension exactly .json or .yaml",
    SPEC_DIRS,
    {
        name: name
        for name in (
            "folder.json",
            "dangling.json",
            "loop.json",
            "spec.yml",
            "spec.JSON",
            "spec.json~",
            "spec",
            "sub/spec.json",
            "fifo.json",
        )
    },
)
def odd_entry(lab: Lab, name: str) -> None:
    """Whatever lies there: the good file serves, and the odd one's device is not given."""
    path = f"/etc/cdi/{name}"
    if name == "folder.json":
        os.mkdir(path)
    elif name == "fifo.json":
        os.mkfifo(path)
    elif name in ("dangling.json", "loop.json"):
        os.symlink("nowhere" if name[0] == "d" else "loop.json", path)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        lab.cdi(document(device("odd")), name)
    lab.cdi(document(device("good")), "good.json")
    gets(lab, "DEVICE_good=yes", names=("good",))
    done = lab.create(lab.bundle(name="b", annotations=ask("odd")))
    check(done.status != 0, "the odd file's device is given")


@case(
    "file-found",
    "extension exactly .json or .yaml; the name is irrelevant to vendor and class",
    SPEC_DIRS,
    {
        name: name
        for name in ("other.json", ".hidden.json", "a.b.json", "spec.yaml", "with blank.json")
    },
)
def file_found(lab: Lab, name: str) -> None:
    lab.cdi(document(device("0")), name)
    gets(lab, "DEVICE_0=yes")


HEAD = "cdiVersion: 0.5.0\nkind: acme.com/gpu\n"
GPU = "devices:\n- name: gpu\n  containerEdits:"
YAML = {
    "block": f"{HEAD}{GPU}\n    env:\n    - A=b\n",
    "document marks": f"---\n{HEAD}{GPU} {{env: [A=b]}}\n...\n",
    "quotes": f"cdiVersion: '0.5.0'\nkind: \"acme.com/gpu\"\n{GPU} {{env: ['A=b']}}\n",
    "comments": f"# spec\n{HEAD}# more\n{GPU} {{env: [A=b]}} # the end\n",
    "flow": HEAD + 'devices: [{name: gpu, containerEdits: {env: ["A=b"]}}]\n',
    "anchors": f"{HEAD}containerEdits: &e\n  env: [A=b]\n{GPU} *e\n",
    "octal mode": f"{HEAD}{GPU}\n    env: [A=b]\n    deviceNodes:\n"
    "    - {path: /dev/null, fileMode: 0666}\n",
    "second document": f"{HEAD}{GPU} {{env: [A=b]}}\n---\nanything: here\n",
    "JSON": json.dumps(document(device("gpu", env=["A=b"]))),
}


@case("yaml", "a spec file may be YAML", SPEC_GO, YAML)
def yaml(lab: Lab, text: str) -> None:
    lab.cdi(text, "acme.yaml")
    gets(lab, "A=b", names=("gpu",))


@case(
    "name-yaml-number",
    "a YAML scalar becomes the text the field asks for",
    SPEC_GO,
    {"0": ("0", "0"), "0x1F": ("0x1F", "31"), "yes": ("yes", "true"), "1.50": ("1.50", "1.5")},
)
def yaml_number(lab: Lab, what: tuple[str, str]) -> None:
    lab.cdi(YAML["block"].replace("name: gpu", f"name: {what[0]}"), "acme.yaml")
    gets(lab, "A=b", names=(what[1],))


@case(
    "priority",
    "a device of /var/run/cdi is preferred to that of /etc/cdi",
    CACHE,
    {"same name": "same.json", "another name": "a.json"},
)
def priority(lab: Lab, name: str) -> None:
    lab.cdi(document(device("0", env=["FROM=etc"]), device("1", env=["OTHER=etc"])), "same.json")
    lab.cdi(document(device("0", env=["FROM=run"])), name, high=True)
    gets(lab, "FROM=run", "OTHER=etc", names=("0", "1"))


@case("bad-is-no-shadow", "a bad file of higher priority does not shadow a good one", CACHE)
def no_shadow(lab: Lab) -> None:
    lab.cdi(document(device("0")), "acme.json")
    lab.cdi("{", "acme.json", high=True)
    gets(lab, "DEVICE_0=yes")


@case(
    "conflict",
    "a device that two files of one directory define cannot be resolved",
    CACHE,
    {"refused": ("0",), "beside another": ("1", "0")},
)
def conflict(lab: Lab, names: tuple[str, ...]) -> None:
    lab.cdi(document(device("0"), device("1")), "a.json")
    refused(lab, document(device("0")), names, "b.json")


@case("conflict-others", "other devices of files in conflict work", CACHE)
def conflict_others(lab: Lab) -> None:
    lab.cdi(document(device("0"), device("1")), "a.json")
    lab.cdi(document(device("0"), device("2")), "b.json")
    gets(lab, "DEVICE_1=yes", "DEVICE_2=yes", names=("1", "2"))


@case(
    "changed",
    "a spec file that has changed is read again",
    CACHE,
    {"same size": "NEW", "longer": "NEWER"},
)
def changed(lab: Lab, text: str) -> None:
    lab.cdi(document(device("0", env=["A=OLD"])))
    gets(lab, "A=OLD")
    lab.call("delete", "--force", lab.id)
    lab.cdi(document(device("0", env=[f"A={text}"])))
    lines = lab.runs(lab.bundle("env", name="again", annotations=ask("0"))).lines
    check(f"A={text}" in lines, lines)


@case("removed", "a spec file that has gone gives no devices", CACHE)
def removed(lab: Lab) -> None:
    path = lab.cdi(document(device("0")))
    gets(lab, "DEVICE_0=yes")
    lab.call("delete", "--force", lab.id)
    os.unlink(path)
    check(lab.create(lab.bundle(name="again", annotations=ask("0"))).status != 0, "create succeeds")
