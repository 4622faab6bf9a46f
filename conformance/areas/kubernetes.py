"""What Kubernetes' engines put into a bundle: sandboxes, pod annotations, vendors' plugins."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from kit.case import ENGINE, area, check, equal

from areas.cdi import ask, device, document

if TYPE_CHECKING:
    from kit.lab import Lab

case = area("kubernetes")
CRI = ENGINE + "containerd pkg/cri/annotations: "
IMAGE = ENGINE + "podman before 4.6, pkg/specgen/generate/container.go: "
CRIO = ENGINE + "cri-o internal/factory/container SpecAddAnnotations: "
REQUEST = ask("0")
TYPE = "io.kubernetes.cri.container-type"
CRIO_TYPE = "io.kubernetes.cri-o.ContainerType"
MANAGER = "io.container.manager"


def given(lab: Lab, annotations: dict[str, str], *names: str) -> bool:
    """Run a container with these annotations; True when it has the devices."""
    lines = lab.runs(lab.bundle("env", annotations=annotations)).lines
    wanted = [f"DEVICE_{name}=yes" for name in names or ("0",)]
    return all(line in lines for line in wanted)


SANDBOXES = {
    "containerd": {TYPE: "sandbox", "io.kubernetes.cri.sandbox-id": "box"},
    "CRI-O": {
        CRIO_TYPE: "sandbox",
        MANAGER: "cri-o",
        "io.kubernetes.cri-o.Annotations": json.dumps(REQUEST),
    },
    "CRI-O, forged": {
        CRIO_TYPE: "container",
        MANAGER: "x",
        "io.kubernetes.cri-o.Annotations": json.dumps(REQUEST),
        "io.kubernetes.cri-o.HostNetwork": "false",
        "io.kubernetes.cri-o.PortMappings": "[]",
    },
}


@case(
    "sandbox",
    "the pause container goes through the same BinaryName and has the pod's "
    "annotations: it gets no devices",
    CRI + "container-type",
    SANDBOXES,
)
def sandbox(lab: Lab, marks: dict[str, str]) -> None:
    lab.cdi(document(device("0")))
    check(not given(lab, {**marks, **REQUEST}), "the sandbox has the device")


@case(
    "sandbox-starts",
    "what a pod's annotations say must not keep its sandbox from starting",
    CRI + "container-type",
    {
        f"{engine} {label}": (marks, text)
        for engine, marks in SANDBOXES.items()
        for label, text in {
            "unknown device": "acme.com/gpu=9",
            "malformed": "x y",
            "empty": "",
        }.items()
    },
)
def sandbox_starts(lab: Lab, what: tuple[dict[str, str], str]) -> None:
    lab.cdi(document(device("0")))
    lab.runs(lab.bundle("true", annotations={**what[0], "cdi.k8s.io/x": what[1]}))


@case(
    "sandbox-untouched",
    "a sandbox's config.json is as the engine wrote it",
    CRI + "container-type",
    SANDBOXES,
)
def sandbox_untouched(lab: Lab, marks: dict[str, str]) -> None:
    lab.cdi(document(device("0")))
    bundle = lab.bundle("true", annotations={**marks, **REQUEST})
    before = bundle.bytes
    lab.runs(bundle)
    equal(bundle.bytes, before, "config.json")


@case(
    "container",
    "containerd 1.6 and 1.7 hand cdi.k8s.io annotations down unserved",
    ENGINE + "containerd container_annotations",
    {
        "containerd": {TYPE: "container", "io.kubernetes.cri.sandbox-id": "box"},
        "docker": {},
        "ctr": {"io.containerd.image": "x"},
    },
)
def container(lab: Lab, marks: dict[str, str]) -> None:
    lab.cdi(document(device("0")))
    check(given(lab, {**marks, **REQUEST}), "the container has no device")


# What 4.3 writes first, and then the image's over it: no key goes away by that.
PODMAN = {
    MANAGER: "libpod",
    "io.kubernetes.cri-o.TTY": "false",
    "io.podman.annotations.init": "FALSE",
    "io.podman.annotations.privileged": "FALSE",
}


@case(
    "image-annotation",
    "Podman before 4.6 copies an image's annotations into config.json: they are no request",
    IMAGE + "image annotations",
    {
        "alone": {},
        "beside CRI-O's marks": {CRIO_TYPE: "container"},
        "a mark forged": {MANAGER: "x"},
        "a mark of CRI-O's": {MANAGER: "cri-o", "io.podman.annotations.init": "TRUE"},
    },
)
def image_annotation(lab: Lab, marks: dict[str, str]) -> None:
    """`podman run --device` injects what a user asks for."""
    lab.cdi(document(device("0")))
    check(not given(lab, {**PODMAN, **marks, **REQUEST}), "an image's author gets the device")


CRIO_MARKS = {CRIO_TYPE: "container", MANAGER: "cri-o"}


@case(
    "pod-annotation",
    "CRI-O copies every pod annotation into config.json, and a pod's author "
    "writes them: they are no request",
    CRIO,
    {
        "alone": {},
        "beside others": {"io.kubernetes.cri-o.Annotations": '{"a": "b"}'},
        "damaged": {"io.kubernetes.cri-o.Annotations": "{"},
        "container's": {"io.kubernetes.cri-o.Annotations": json.dumps(REQUEST)},
    },
)
def pod_annotation(lab: Lab, marks: dict[str, str]) -> None:
    """CRI-O has injected its container's own requests itself."""
    lab.cdi(document(device("0")))
    check(not given(lab, {**CRIO_MARKS, **marks, **REQUEST}), "a pod's author gets the device")


@case(
    "pod-annotation-bad",
    "nor can they keep a container from starting",
    CRIO,
    {"unknown device": "acme.com/gpu=9", "malformed": "x y"},
)
def pod_annotation_bad(lab: Lab, text: str) -> None:
    lab.cdi(document(device("0")))
    lab.runs(lab.bundle("true", annotations={**CRIO_MARKS, "cdi.k8s.io/x": text}))


@case(
    "device-plugin",
    "the device plugin's annotation and names",
    "k8s-device-plugin v0.20.0 internal/plugin/server.go, cdi-annotations",
    {
        "one": "GPU-0",
        "two": "GPU-0,GPU-1",
        "MIG": "MIG-7a1b2c3d-0000-5111-8222-333344445555",
        "index": "0:1",
    },
)
def device_plugin(lab: Lab, text: str) -> None:
    names = text.split(",")
    kind = "k8s.device-plugin.nvidia.com/gpu"
    numbers = [str(number) for number in range(len(names))]
    devices = [device(name, env=[f"DEVICE_{n}=yes"]) for n, name in enumerate(names)]
    lab.cdi(
        {**document(*devices, version="0.7.0"), "kind": kind},
        "k8s.device-plugin.nvidia.com-gpu.json",
        high=True,
    )
    key = "cdi.k8s.io/nvidia-device-plugin_0c2b1d8a-4f0e-4c55-9d3a-1f2e3d4c5b6a"
    annotations = {TYPE: "container", key: ",".join(f"{kind}={name}" for name in names)}
    check(given(lab, annotations, *numbers), "a device is missing")


@case(
    "claims",
    "one transient spec a claim, each with the vendor's common edits",
    "dra-driver-nvidia-gpu cdi.go",
    {"one": 1, "two": 2, "ten": 10},
)
def claims(lab: Lab, count: int) -> None:
    kind = "k8s.gpu.nvidia.com/claim"
    hook = {
        "hookName": "createRuntime",
        "path": lab.busybox,
        "env": ["A=b"],
        "args": ["sh", "-c", f"{lab.busybox} cat; echo ran >> {lab.out}/ran"],
    }
    for number in range(count):
        name = f"claim{number}-gpu-0"
        lab.cdi(
            {
                **document(device(name, env=[f"DEVICE_{number}=yes"])),
                "kind": kind,
                "containerEdits": {"env": ["NVIDIA_VISIBLE_DEVICES=void"], "hooks": [hook]},
            },
            f"k8s.gpu.nvidia.com-claim_{number}.yaml",
            high=True,
        )
    names = ",".join(f"{kind}=claim{number}-gpu-0" for number in range(count))
    annotations = {TYPE: "container", "cdi.k8s.io/claims": names}
    check(given(lab, annotations, *map(str, range(count))), "a claim's device is missing")


@case(
    "claim-gone",
    "a claim's spec is deleted when it is unprepared: what runs is not disturbed",
    "dra-driver-nvidia-gpu cdi.go DeleteClaimSpecFile",
    {name: name for name in ("start", "state", "kill", "delete")},
)
def claim_gone(lab: Lab, name: str) -> None:
    path = lab.cdi(document(device("0")), high=True)
    lab.creates(lab.bundle("sleep 30", annotations={TYPE: "container", **REQUEST}))
    os.unlink(path)
    args = {"kill": [name, lab.id, "KILL"], "delete": [name, "--force", lab.id]}
    done = lab.call(*args.get(name, [name, lab.id]))
    equal((done.status, done.err), (0, ""), "status and stderr")


@case(
    "merged-by-engine",
    "CRI CDIDevices leave no annotation: the edits are in config.json",
    "kubelet draManager; containerd WithCDI",
    {"hook": "hook", "env": "env"},
)
def merged(lab: Lab, what: str) -> None:
    hook = {
        "path": lab.busybox,
        "env": ["A=b"],
        "args": ["sh", "-c", f"{lab.busybox} cat; echo ran >> {lab.out}/ran"],
    }
    bundle = lab.bundle("env", annotations={TYPE: "container"}, hooks={"createRuntime": [hook]})
    spec = bundle.spec
    spec["process"]["env"].append("NVIDIA_VISIBLE_DEVICES=void")
    bundle.write(spec)
    lines = lab.runs(bundle).lines
    if what == "hook":
        equal(lab.read(f"{lab.out}/ran"), "ran\n", "what the engine's hook wrote")
    else:
        check("NVIDIA_VISIBLE_DEVICES=void" in lines, lines)


@case(
    "in-a-pod",
    "the shim's working directory is the bundle of its first container, the sandbox",
    ENGINE + "containerd-shim-runc-v2",
    {"create": "create", "run": "run"},
)
def in_a_pod(lab: Lab, command: str) -> None:
    lab.cdi(document(device("0")))
    pause = lab.bundle("true", name="pause", annotations={TYPE: "sandbox", **REQUEST})
    bundle = lab.bundle("env > /seen", annotations={TYPE: "container", **REQUEST})
    before = pause.bytes
    done = lab.call(command, "--bundle", bundle.path, lab.id, cwd=pause.path)
    equal(done.status, 0, "exit status")
    if command == "create":
        lab.starts()
        lab.wait_for("stopped")
    check("DEVICE_0=yes" in lab.read(f"{bundle.rootfs}/seen").splitlines(), "no device")
    equal(pause.bytes, before, "the sandbox's config.json")


MARKS: dict[str, Any] = {"read-only": True, "writable": False}


@case(
    "read-only-root",
    "securityContext.readOnlyRootFilesystem becomes root.readonly: the devices "
    "are given all the same",
    CRI + "spec_opts",
    MARKS,
)
def read_only(lab: Lab, readonly: bool) -> None:  # noqa: FBT001
    lab.cdi(document(device("0")))
    bundle = lab.bundle("env", annotations={TYPE: "container", **REQUEST}, readonly=readonly)
    check("DEVICE_0=yes" in lab.runs(bundle).lines, "no device")
