"""Who may ask for a device: containers' annotations, judged by the engine that wrote them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ocishim.cache import Cache
from ocishim.create import requests
from ocishim.errors import DocumentError, PyshimError, RequestError
from ocishim.oci import marks
from ocishim.settings import config, defaults

if TYPE_CHECKING:
    from pathlib import Path

GPU0, GPU1 = "acme.com/gpu=0", "acme.com/gpu=1"
OTHER = "nvidia.cdi.k8s.io/"


def settings(**values: Any) -> config.Config:
    """Settings with these values over the defaults; "__" stands for the dot."""
    chosen = {key.replace("__", "."): value for key, value in values.items()}
    return config.Config({**defaults.DEFAULTS, **chosen}, "/c.toml", Cache("/dev/null/nowhere"))


def gather(annotations: object, **values: Any) -> requests.Requests:
    return requests.gather({"annotations": annotations}, settings(**values))


CONTAINER = {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "x"}
SANDBOX = {"io.kubernetes.cri.container-type": "sandbox"}

ASKED = [
    pytest.param({}, [], id="nothing"),
    pytest.param(None, [], id="null"),
    pytest.param({"cdi.k8s.io/x": GPU0}, [GPU0], id="one"),
    pytest.param({"cdi.k8s.io/nvidia-device-plugin_01234567-89ab-cdef-0123-456789abcdef":
                  "k8s.device-plugin.nvidia.com/gpu=GPU-4c3c"},
                 ["k8s.device-plugin.nvidia.com/gpu=GPU-4c3c"], id="the device plugin's"),
    pytest.param({"cdi.k8s.io/x": f"{GPU1},{GPU0}"}, [GPU1, GPU0], id="in the order asked"),
    pytest.param({"cdi.k8s.io/b": GPU1, "cdi.k8s.io/a": GPU0}, [GPU0, GPU1], id="keys sorted"),
    pytest.param({"cdi.k8s.io/x": f"{GPU0},{GPU0}"}, [GPU0, GPU0], id="repeats stay"),
    pytest.param({"cdi.k8s.io/": GPU0}, [GPU0], id="the prefix alone"),
    pytest.param({"cdi.k8s.iox/x": GPU0}, [], id="another prefix"),
    pytest.param({"x.cdi.k8s.io/x": GPU0}, [], id="the prefix inside"),
    pytest.param({"CDI.k8s.io/x": GPU0}, [], id="letters count"),
    pytest.param({OTHER + "x": GPU0}, [], id="a prefix that is not configured"),
    pytest.param({"a": "b", "n": 1, "cdi.k8s.io/x": GPU0}, [GPU0], id="others are not looked at"),
    pytest.param({**CONTAINER, "cdi.k8s.io/x": GPU0}, [GPU0], id="containerd's container"),
]  # fmt: skip


@pytest.mark.parametrize(("annotations", "names"), ASKED)
def test_asked(annotations: object, names: list[str]) -> None:
    found = gather(annotations)
    assert found.names == names
    assert bool(found.ignored) == (found.refused != []) == (GPU0 in str(annotations) and not names)


def never_a_sandbox(*keys: str) -> str:
    told = ", ".join(f"'{key}'" for key in keys)
    return (
        f"a sandbox (pause) container never gets devices: annotation {told} is the pod's, and a "
        "device plugin or the CRI's client asks for a container"
    )


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        pytest.param(OTHER + "x", GPU0, True, id="the device plugin's other prefix"),
        pytest.param("cdi.k8s.io", f"{GPU0},{GPU1}", True, id="no slash"),
        pytest.param("acme.com/cdi", GPU0, True, id="whatever prefix"),
        pytest.param(OTHER + "x", f"{GPU0}, {GPU1} ", True, id="two mistakes at once"),
        pytest.param("cdi.k8s.io/x", GPU0, False, id="the right one"),
        pytest.param("note", "see acme.com/gpu=0", False, id="words"),
        pytest.param("args", "--a/b=c", False, id="something else"),
        pytest.param("n", 1, False, id="no string"),
    ],
)
def test_another_prefix_is_told(key: str, value: object, *, told: bool) -> None:
    found = gather({key: value, "cdi.k8s.io/y": GPU1})
    assert (
        found.refused
        == found.ignored
        == told
        * [
            (
                f"annotation '{key}' names {value}, and its key begins with none of "
                "cdi.annotation_prefixes in /c.toml: cdi.k8s.io/"
            )
        ]
    )


NVIDIA_HOOK = "/usr/bin/nvidia-container-runtime-hook"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        pytest.param({"process": {"env": ["PATH=/", "NVIDIA_VISIBLE_DEVICES=0"]}},
                     "environment NVIDIA_VISIBLE_DEVICES=0: no [[requests.env]] in /c.toml names it",
                     id="a variable without a table"),
        pytest.param({"process": {"env": ["AMD_VISIBLE_DEVICES=all"]}},
                     "environment AMD_VISIBLE_DEVICES=all: no [[requests.env]] in /c.toml names it",
                     id="another's"),
        pytest.param({"process": {"env": ["NVIDIA_VISIBLE_DEVICES=void", "A=1"]}}, "", id="void"),
        pytest.param({"process": {"env": 5}}, "", id="the runtime's to refuse"),
        pytest.param({"process": {"env": [5, None]}}, "", id="entries that are no text"),
        pytest.param({"hooks": {"prestart": [{"path": NVIDIA_HOOK}]}},
                     f"prestart hook {NVIDIA_HOOK}: --gpus asks that program for devices, not CDI; "
                     "--device nvidia.com/gpu=all asks for CDI devices", id="--gpus"),
        pytest.param({"hooks": {"prestart": [{"path": "/usr/bin/other"}, 1]}}, "", id="others"),
        pytest.param({"mounts": [{"source": "/dev/null",
                                  "destination": "/var/run/nvidia-container-devices/0"}]},
                     "mounts below /var/run/nvidia-container-devices: requests.volume_mounts is off "
                     "in /c.toml", id="volume mounts"),
    ],
)  # fmt: skip
def test_what_is_no_request_here_is_noticed(spec: dict[str, Any], told: str) -> None:
    """Unless the container gets devices by something else."""
    found = requests.gather(spec, settings())
    assert (found.noticed, found.refused) == ([told] if told else [], [])
    assert found.ignored == found.noticed
    asking = {**spec, "annotations": {"cdi.k8s.io/x": GPU0}}
    assert requests.gather(asking, settings()).noticed == []


def test_sources() -> None:
    assert gather({"cdi.k8s.io/x": f"{GPU0},{GPU1}"}).sources == [
        f"annotation 'cdi.k8s.io/x' asks for {GPU0}", f"annotation 'cdi.k8s.io/x' asks for {GPU1}",
    ]  # fmt: skip


@pytest.mark.parametrize(("prefixes", "names"), [
    pytest.param(["cdi.k8s.io/"], [GPU0], id="the standard one"),
    pytest.param([OTHER], [GPU1], id="another"),
    pytest.param(["cdi.k8s.io/", OTHER], [GPU0, GPU1], id="both"),
    pytest.param(["cdi.k8s.io/plugin_"], [], id="a longer one"),
    pytest.param([], [], id="none"),
])  # fmt: skip
def test_prefixes_are_configured(prefixes: list[str], names: list[str]) -> None:
    annotations = {"cdi.k8s.io/x": GPU0, OTHER + "y": GPU1}
    assert gather(annotations, cdi__annotation_prefixes=prefixes).names == names


@pytest.mark.parametrize("mark", [
    {"io.kubernetes.cri.container-type": "sandbox"}, {"io.kubernetes.cri-o.ContainerType": "sandbox"},
])  # fmt: skip
@pytest.mark.parametrize("source", ["annotation", "environment", "volume mount"])
def test_a_sandbox_never_gets_devices(mark: dict[str, str], source: str) -> None:
    """The pause container carries the pod's annotations; a device there would be nobody's."""
    chosen = settings(requests__volume_mounts=True,
                      requests__env=[{"name": "N", "kind": "acme.com/gpu", "unprivileged": True}])  # fmt: skip
    spec: dict[str, Any] = {"annotations": dict(mark)}
    if source == "annotation":
        spec["annotations"]["cdi.k8s.io/x"] = GPU0
    elif source == "environment":
        spec["process"] = {"env": ["N=0"]}
    else:
        spec["mounts"] = [
            {"source": "/dev/null", "destination": "/var/run/nvidia-container-devices/0"}
        ]
    found = requests.gather(spec, chosen)
    assert found.names == []
    assert bool(found.ignored) == (source == "annotation")
    spec["annotations"] = {
        key: value.replace("sandbox", "container") for key, value in spec["annotations"].items()
    }
    assert requests.gather(spec, chosen).names, "without the mark it would have got them"


MANAGER = "io.container.manager"
PODMAN = {
    MANAGER: "libpod",
    "io.kubernetes.cri-o.Created": "2026",
    "io.kubernetes.cri-o.TTY": "false",
}
IN_A_POD = {"io.kubernetes.cri-o.ContainerType": "container", "io.kubernetes.cri-o.SandboxID": "x"}
BOTH = ["cdi.k8s.io/", OTHER]


def an_images(key: str) -> str:
    """The refusal of an annotation under Podman."""
    return (
        f"annotation '{key}': under Podman an image's author can write it; ask by --device "
        "vendor/class=name (or set requests.podman_annotations = true)"
    )


@pytest.mark.parametrize(("annotations", "refused"), [
    pytest.param({"cdi.k8s.io/x": GPU0}, ["cdi.k8s.io/x"], id="the standard prefix"),
    pytest.param({OTHER + "x": GPU0}, [OTHER + "x"], id="another prefix"),
    pytest.param({"cdi.k8s.io/x": "no name"}, ["cdi.k8s.io/x"], id="not parsed either"),
    pytest.param({**IN_A_POD, "cdi.k8s.io/x": GPU0}, ["cdi.k8s.io/x"], id="in a pod of Podman's"),
    pytest.param({**IN_A_POD, "io.kubernetes.cri-o.Annotations": json.dumps({OTHER + "x": GPU0}),
                  OTHER + "x": GPU0}, [OTHER + "x"], id="an image that writes CRI-O's marks"),
    pytest.param({"x": "y"}, [], id="asks for nothing"),
])  # fmt: skip
def test_an_images_author_gets_nothing_under_podman(
    annotations: dict[str, str], refused: list[str]
) -> None:
    found = gather({**annotations, **PODMAN}, cdi__annotation_prefixes=BOTH)
    sentences = [an_images(key) for key in refused]
    assert (found.names, found.ignored, found.refused) == ([], sentences, sentences)


@pytest.mark.parametrize("forged", [
    {}, IN_A_POD, {"io.kubernetes.cri-o.Name": "x", "io.kubernetes.cri-o.ContainerType": "container"},
], ids=["the mark", "a pod's as well", "CRI-O's as well"])  # fmt: skip
@pytest.mark.parametrize("mark", ["x", "cri-o", ""])
def test_an_image_cannot_hide_that_podman_wrote_it(
    data: Path, forged: dict[str, str], mark: str
) -> None:
    """Podman 4.3 copies an image's annotations over its own io.container.manager."""
    marks = json.loads((data / "engines/podman.config.json").read_bytes())["annotations"]
    del marks["cdi.k8s.io/example"]
    own = json.dumps({OTHER + "x": GPU0})
    asked = {**marks, **forged, "io.kubernetes.cri-o.Annotations": own, MANAGER: mark}
    asked |= {"cdi.k8s.io/x": GPU0, OTHER + "x": GPU0}
    found = gather(asked, cdi__annotation_prefixes=BOTH)
    sentences = [an_images("cdi.k8s.io/x"), an_images(OTHER + "x")]
    assert (found.names, found.refused) == ([], sentences)


@pytest.mark.parametrize("mark", ["libpod", "x"])
def test_podmans_keys_alone_are_enough(mark: str) -> None:
    found = gather({**PODMAN, MANAGER: mark, "cdi.k8s.io/x": GPU0})
    assert (found.names, found.refused) == ([], [an_images("cdi.k8s.io/x")])


@pytest.mark.parametrize("annotations", [{}, IN_A_POD], ids=["alone", "in a pod of Podman's"])
def test_podmans_annotations_can_be_switched_on(annotations: dict[str, str]) -> None:
    asked = {**annotations, **PODMAN, "cdi.k8s.io/x": GPU0}
    found = gather(asked, requests__podman_annotations=True)
    assert (found.names, found.ignored) == ([GPU0], [])


def test_under_podman_the_environment_still_asks() -> None:
    """It has settings of its own; an image's annotation does not stand in its way."""
    table = {"name": "N", "kind": "acme.com/gpu", "unprivileged": True}
    spec = {"annotations": {**PODMAN, "cdi.k8s.io/x": GPU1}, "process": {"env": ["N=0"]}}
    found = requests.gather(spec, settings(requests__env=[table]))
    assert (found.names, found.refused) == ([GPU0], [an_images("cdi.k8s.io/x")])


def test_a_forged_pause_container_of_crios_gets_nothing(data: Path) -> None:
    """The pod's author wrote over CRI-O's annotations; see the file's `of-the-pod`."""
    written = json.loads((data / "engines/crio.pause.config.json").read_bytes())["annotations"]
    assert written["io.kubernetes.cri-o.ContainerType"] == "container"
    own = "io.kubernetes.cri-o.Annotations"
    for forged in ({}, {MANAGER: "libpod"}, {own: json.dumps({OTHER + "x": GPU0})}):
        asked = {**written, **forged, OTHER + "x": GPU0, "cdi.k8s.io/x": GPU0}
        found = gather(asked, cdi__annotation_prefixes=BOTH, requests__podman_annotations=True)
        assert (found.names, found.ignored) == (
            [], [never_a_sandbox("cdi.k8s.io/mine", "cdi.k8s.io/x", OTHER + "x")],
        )  # fmt: skip
        assert not marks.in_pod({"annotations": asked})


@pytest.mark.parametrize("mark", [
    *({f"io.kubernetes.cri-o.{name}": "x"} for name in (
        "CgroupParent", "HostName", "HostNetwork", "HostnamePath", "KubeName", "Namespace",
        "NamespaceOptions", "PortMappings", "PrivilegedRuntime", "RuntimeHandler", "ShmPath")),
    {"pod-linux-overhead.crio.io": "null"}, {"pod-linux-resources.crio.io": "null"},
    {"io.kubernetes.cri.sandbox-log-directory": "/var/log/pods/x"},
    {"io.kubernetes.container.name": "POD"}, {"io.kubernetes.docker.type": "podsandbox"},
    {"io.kubernetes.cri.container-type": "sandbox"},
], ids=lambda mark: next(iter(mark)))  # fmt: skip
def test_one_hint_of_a_sandbox_is_enough(mark: dict[str, str]) -> None:
    """Whatever the marks of a container say beside it."""
    annotations = {**CONTAINER, **IN_A_POD, **mark, "cdi.k8s.io/x": GPU0}
    assert gather(annotations).ignored == [never_a_sandbox("cdi.k8s.io/x")]


@pytest.mark.parametrize("forged", [
    {MANAGER: "x"}, {MANAGER: "libpod"}, {MANAGER: "libpod", **IN_A_POD},
    {MANAGER: "x", "io.kubernetes.cri-o.ContainerType": "x"},
], ids=["no manager", "Podman's", "Podman's, in a pod", "no type"])  # fmt: skip
def test_a_pod_cannot_hide_that_crio_wrote_it(data: Path, forged: dict[str, str]) -> None:
    marks = json.loads((data / "engines/crio.config.json").read_bytes())["annotations"]
    asked = {**marks, **forged, "cdi.k8s.io/plugin_1": GPU1}
    found = gather(asked, requests__podman_annotations=True)
    assert found.names == []
    assert found.ignored == ["annotation 'cdi.k8s.io/plugin_1': CRI-O injects CDI devices itself"]


def crio(container: object, **annotations: str) -> dict[str, str]:
    """config.json's annotations as CRI-O writes them: the container's own also as JSON."""
    own = container if isinstance(container, str) else json.dumps(container)
    return {
        "io.container.manager": "cri-o", "io.kubernetes.cri-o.ContainerType": "container",
        "io.kubernetes.cri-o.Annotations": own, **annotations,
    }  # fmt: skip


KEY = OTHER + "x"
NOT_OWN = f"annotation '{KEY}': not the container's own under CRI-O"
CRIO = [
    pytest.param(crio({"cdi.k8s.io/x": GPU0}, **{"cdi.k8s.io/x": GPU0}), [],
        "annotation 'cdi.k8s.io/x': CRI-O injects CDI devices itself",
        id="the standard prefix, the container's"),
    pytest.param(crio({}, **{"cdi.k8s.io/x": GPU0}), [],
        "annotation 'cdi.k8s.io/x': CRI-O injects CDI devices itself",
        id="the standard prefix, the pod's"),
    pytest.param(crio({KEY: GPU0}, **{KEY: GPU0}), [GPU0], None,
        id="another prefix, the container's"),
    pytest.param(crio({}, **{KEY: GPU0}), [], NOT_OWN, id="another prefix, the pod's"),
    pytest.param(crio({KEY: GPU1}, **{KEY: GPU0}), [], NOT_OWN,
        id="the pod's value over the container's"),
    pytest.param(crio("not json", **{KEY: GPU0}), [], NOT_OWN, id="JSON that is none"),
    pytest.param(crio([KEY], **{KEY: GPU0}), [], NOT_OWN, id="JSON that is no object"),
    pytest.param(crio("\ud800", **{KEY: GPU0}), [], NOT_OWN, id="JSON that is no text"),
    pytest.param(crio("[" * 1000, **{KEY: GPU0}), [], NOT_OWN, id="JSON too deep"),
    pytest.param(crio({KEY: [GPU0]}, **{KEY: GPU0}), [], NOT_OWN, id="JSON of another type"),
    pytest.param({"io.container.manager": "cri-o",
        "io.kubernetes.cri-o.Annotations": json.dumps({KEY: GPU0}), KEY: GPU0}, [], NOT_OWN,
        id="no container type"),
    pytest.param({"io.container.manager": "cri-o", "io.kubernetes.cri-o.ContainerType": "container",
        KEY: GPU0}, [], NOT_OWN, id="no JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("annotations", "names", "ignored"), CRIO)
def test_crio(annotations: dict[str, str], names: list[str], ignored: str | None) -> None:
    """A pod's author can put any annotation into config.json there, but not into CRI-O's JSON."""
    found = gather(annotations, cdi__annotation_prefixes=["cdi.k8s.io/", OTHER])
    assert found.names == names
    assert found.ignored == ([ignored] if ignored else [])


def test_the_pods_own_json_is_overwritten_by_crio() -> None:
    """A pod that forges CRI-O's marks only loses: CRI-O writes its own over them."""
    forged = {"io.kubernetes.cri-o.Annotations": json.dumps({KEY: GPU0}), KEY: GPU0}
    annotations = {**forged, **crio({})}
    assert gather(annotations, cdi__annotation_prefixes=[OTHER]).names == []


FAULTS = [
    pytest.param(["x"], DocumentError, "config.json: expected object, found array in 'annotations'",
        id="no object"),
    pytest.param({"cdi.k8s.io/x": 1}, DocumentError,
        "config.json: expected string, found integer in 'annotations[cdi.k8s.io/x]'",
        id="no string"),
    pytest.param({"cdi.k8s.io/x": None}, DocumentError,
        "config.json: expected string, found null in 'annotations[cdi.k8s.io/x]'", id="null"),
    pytest.param({"cdi.k8s.io/a": GPU0, "cdi.k8s.io/b": "gpu0"}, RequestError,
        'failed to parse CDI device annotations: invalid CDI device name "gpu0" in annotation '
        "'cdi.k8s.io/b'", id="no qualified name"),
    pytest.param({"cdi.k8s.io/x": f"{GPU0}, {GPU1}"}, RequestError,
        'failed to parse CDI device annotations: invalid CDI device name " acme.com/gpu=1" in '
        "annotation 'cdi.k8s.io/x'", id="a blank"),
    pytest.param({"cdi.k8s.io/x": ""}, RequestError,
        'failed to parse CDI device annotations: invalid CDI device name "" in annotation '
        "'cdi.k8s.io/x'", id="empty"),
    pytest.param({"cdi.k8s.io/x": GPU0 + ","}, RequestError,
        'failed to parse CDI device annotations: invalid CDI device name "" in annotation '
        "'cdi.k8s.io/x'", id="a comma at the end"),
    pytest.param({"cdi.k8s.io/x": "acme.com/gpu=0\x1b[31m"}, RequestError,
        "failed to parse CDI device annotations: invalid CDI device name "
        "\"acme.com/gpu=0\\x1b[31m\" in annotation 'cdi.k8s.io/x'", id="a terminal's command"),
]  # fmt: skip


@pytest.mark.parametrize(("annotations", "kind", "message"), FAULTS)
def test_fault(annotations: object, kind: type[PyshimError], message: str) -> None:
    with pytest.raises(PyshimError) as caught:
        gather(annotations)
    assert (type(caught.value), caught.value.message) == (kind, message)


def test_a_pods_fault_is_not_the_containers() -> None:
    """What is ignored is not parsed either: a pod's author cannot stop containers with it."""
    assert (
        gather(
            crio({}, **{"cdi.k8s.io/x": "no name", KEY: "no name"}),
            cdi__annotation_prefixes=["cdi.k8s.io/", OTHER],
        ).names
        == []
    )
    assert gather({**SANDBOX, "cdi.k8s.io/x": "no name"}).names == []
