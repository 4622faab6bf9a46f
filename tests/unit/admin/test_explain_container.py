"""`pyshimctl explain --container`, `--pod`, `--last-failure` and `what-if`, after the fact.

Engines' files as Docker 20.10, containerd 1.6 and 2.x, CRI-O 1.37, Podman 4.3 and the kubelet write
them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ocishim.cache import Cache
from ocishim.create import record
from tests.unit.admin.explaining import ASKED, SPEC, TOLD, Node

ID, OTHER = "a1" * 32, "b2" * 32
WHEN = "2026-03-04T05:06:07Z"
POD_STEP = "runtimeClassName: pyshim in the pod, or pyshimctl configure containerd --set-as-default"
NOT_KEPT = "no create of it is kept: pyshim has the last 200 at least, since the machine started"
GOT = "result    runc got config.json with 3 edits, hooks chmod; how it went on is the engine's to tell"
FAILED = "unresolvable CDI devices acme.com/demo=7"


@pytest.fixture(name="node")
def _node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def keep(node: Node, id_: str = ID, **told: Any) -> None:
    """Leave the record of a create."""
    whole = {
        "version": 1, "time": WHEN, "id": id_, "namespace": "", "pod": "", "container": "",
        "bundle": f"{node.root}/gone", "pyshim": "/usr/local/bin/pyshim", "error": "",
        "runtime": "/usr/bin/runc", "milliseconds": 2.5, "asked": ["somebody asks"],
        "devices": ["acme.com/demo=0 of /etc/cdi/acme.yaml"], "edits": 3, "hooks": ["chmod"], **told,
    }  # fmt: skip
    line = json.dumps(whole, separators=(",", ":")).encode() + b"\n"
    Cache(str(node.root / "cache")).append(record.NAME, line, record._LIMIT, record._SPAN)


def write(node: Node, path: str, value: object) -> None:
    file = node.root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(value if isinstance(value, str) else json.dumps(value))


def docker(node: Node, runtime: str = "runc") -> None:
    folder = f"/var/lib/docker/containers/{ID}"
    write(node, f"{folder}/config.v2.json", {"ID": ID, "Name": "/web", "State": {"Running": False}})
    write(node, f"{folder}/hostconfig.json", {"Runtime": runtime})


def containerd(node: Node, **options: object) -> None:
    folder = f"/run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}"
    marks = {
        "io.kubernetes.cri.sandbox-namespace": "ns", "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.container-name": "web",
    }  # fmt: skip
    write(node, f"{folder}/config.json", {"annotations": marks})
    write(node, f"{folder}/options.json", options)


def crio(node: Node) -> None:
    names = ["k8s_web_web-0_ns_0a-1b_3"]
    write(
        node,
        "/var/lib/containers/storage/overlay-containers/containers.json",
        [{"id": ID, "names": names}],
    )


def podman(node: Node) -> None:
    write(
        node,
        "/run/containers/storage/overlay-containers/volatile-containers.json",
        [{"id": ID, "names": ["web"]}],
    )


def kubelet(node: Node) -> None:
    write(node, f"/var/log/containers/web-0_ns_web-{ID}.log", "")


def conmon(node: Node, runtime: str = "/usr/bin/crun") -> None:
    words = ["/usr/bin/conmon", "--api-version", "1", "-c", ID, "-r", runtime, "-b", "/x", "-n", "web",
             "--exit-dir", "/run/libpod/exits"]  # fmt: skip
    node.process(77, cmdline="\0".join(words))


def nerdctl(node: Node) -> None:
    write(node, "/var/lib/nerdctl/1935db59/names/default/web", ID)


def rootless_docker(node: Node, runtime: str = "pyshim") -> None:
    folder = f"/home/.local/share/docker/containers/{ID}"
    write(node, f"{folder}/config.v2.json", {"ID": ID, "Name": "/web"})
    write(node, f"{folder}/hostconfig.json", {"Runtime": runtime})
    path = {"path": "/usr/local/bin/pyshim"}
    write(node, "/home/.config/docker/daemon.json", {"runtimes": {"pyshim": path}})


def rootless_nerdctl(node: Node) -> None:
    write(node, "/home/.local/share/nerdctl/1935db59/names/default/web", ID)


def elsewhere(node: Node) -> None:
    """Podman's containers where an administrator has put them."""
    write(node, "/etc/containers/storage.conf", '[storage]\ngraphroot = "/data/containers"\n')
    listed = [{"id": ID, "names": ["web"]}]
    write(node, "/data/containers/overlay-containers/containers.json", listed)


def rootless_elsewhere(node: Node) -> None:
    conf = '[storage]\nrootless_storage_path = "$HOME/data/$UID"\n'
    write(node, "/usr/share/containers/storage.conf", conf)
    write(node, "/home/.config/containers/storage.conf", "[storage]\ngraphroot = 7\n")
    listed = [{"id": ID, "names": ["web"]}]
    write(node, f"/home/data/{os.getuid()}/vfs-containers/containers.json", listed)


ENGINES = [
    docker, containerd, crio, podman, kubelet, conmon, nerdctl, rootless_docker, rootless_nerdctl,
    elsewhere, rootless_elsewhere,
]  # fmt: skip
IN_PODS = (containerd, crio, kubelet)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.__name__)
def test_an_ended_container_by_name(node: Node, engine: Any) -> None:
    engine(node)
    keep(node)
    names = ["web", ID, ID[:12], *(["web-0/web", "ns/web-0/web"] if engine in IN_PODS else [])]
    for name in names:
        assert node.lines("--container", name) == [
            f"container {ID}",
            f"created   {WHEN} by /usr/local/bin/pyshim, in 2.5 ms",
            "bundle    @/gone",
            "runtime   /usr/bin/runc",
            "   1      somebody asks",
            "   2      device acme.com/demo=0 of /etc/cdi/acme.yaml",
            GOT,
        ], name
    assert node.explain("--container", "web").exit_code == 0


def test_a_failed_container_of_a_pod(node: Node) -> None:
    """The pod has failed and its container is gone from every file: the record knows the names."""
    keep(node, namespace="ns", pod="web-0", container="web", error=FAILED, devices=[])
    for words in (
        ("--container", "web"),
        ("--container", "web-0/web"),
        ("--pod", "ns/web-0"),
        ("--last-failure",),
    ):
        assert node.lines(*words)[1] == "pod       ns/web-0"
        assert node.lines(*words)[-1] == f"create failed {FAILED}"
        assert node.explain(*words).exit_code == 1


def test_the_last_of_several(node: Node) -> None:
    """A container that is started again and again."""
    whose = {"namespace": "ns", "pod": "web-0", "container": "web"}
    keep(node, OTHER, error="the first reason", **whose)
    keep(node, ID, error="the second reason", **whose)
    assert node.json("--container", "web")["error"] == "the second reason"
    assert node.json("--last-failure")["error"] == "the second reason"
    keep(node, OTHER, error="once more", **whose)
    assert node.json("--container", "web")["error"] == "once more"
    assert node.json("--container", ID)["error"] == "the second reason"


def test_one_name_in_two_pods(node: Node) -> None:
    for pod, id_ in (("web-0", ID), ("web-1", OTHER)):
        keep(node, id_, namespace="ns", pod=pod, container="web")
    result = node.explain("--container", "web")
    assert result.exit_code == 2
    assert result.stderr == (
        "pyshimctl: 2 containers are called 'web': ns/web-0, ns/web-1\n"
        "hint: name one by its id, or as POD/NAME\n"
    )
    assert node.json("--container", "web-1/web")["container"] == OTHER


@pytest.mark.parametrize(("engine", "by", "step"), [
    pytest.param(docker, "runc did",
        "docker run --runtime pyshim ..., or pyshimctl configure docker --set-as-default",
        id="docker"),
    pytest.param(lambda node: rootless_docker(node, "runc"), "runc did",
        "docker run --runtime pyshim ..., or pyshimctl configure docker --set-as-default",
        id="rootless docker"),
    pytest.param(conmon, "/usr/bin/crun did",
        "podman --runtime pyshim run ..., or pyshimctl configure podman --set-as-default",
        id="podman"),
    pytest.param(lambda node: containerd(node, binary_name=""), "runc did", POD_STEP,
        id="no runtimeClassName"),
    pytest.param(lambda node: containerd(node, binary_name="/usr/bin/nvidia-container-runtime"),
        "/usr/bin/nvidia-container-runtime did", POD_STEP, id="another handler"),
])  # fmt: skip
def test_a_container_that_pyshim_did_not_start(node: Node, engine: Any, by: str, step: str) -> None:
    """No --runtime, no runtimeClassName: the commonest mistake."""
    engine(node)
    if by == "runc did" and step == POD_STEP:
        containerd(node, systemd_cgroup=True)
    told = node.json("--container", "web")
    assert (told["result"], told["next"]) == (f"pyshim did not start this container: {by}", step)
    assert told["steps"] == []
    assert "created" not in told


@pytest.mark.parametrize(
    "id_", ["../../tmp/x", "/tmp/x", "..", ".", "--root=/tmp", "-x", "a b", "a\n"]
)
def test_what_is_no_id_is_asked_of_nobody(node: Node, id_: str) -> None:
    """Any user's process can look like conmon: the runtime would read that user's state."""
    node.process(77, cmdline=f"conmon\0-c\0{id_}\0-n\0web\0-r\0pyshim\0")
    done = node.explain("--container", "web")
    assert done.exit_code == 2
    assert "no container 'web' found" in done.output


def test_a_container_is_no_conmon(node: Node) -> None:
    """Its image's author could say that another container's name is its own, or not pyshim's."""
    node.process(77, Path("/"), cmdline=f"conmon\0-c\0{OTHER}\0-n\0web\0-r\0crun\0")
    assert "no container 'web' found" in node.explain("--container", "web").output
    docker(node)
    assert node.json("--container", "web")["container"] == ID


def test_one_that_runs_and_is_not_ours(node: Node) -> None:
    """The low-level runtime knows it, the records reach back further and have none of it."""
    node.asking(annotations=ASKED)
    keep(node, OTHER)
    told = node.json("--container", "c1")
    assert told["result"] == (
        "pyshim did not start this container: no create of it is among those that pyshim keeps"
    )


def test_one_that_runs_with_its_record(node: Node) -> None:
    node.asking(annotations=ASKED)
    keep(node, "c1")
    told = node.json("--container", "c1")
    assert told["created"] == f"{WHEN} by /usr/local/bin/pyshim, in 2.5 ms"
    assert told["steps"] == TOLD


def test_docker_runtimes_of_other_names(node: Node) -> None:
    write(node, "/etc/docker/daemon.json", {"runtimes": {"gpu": {"path": "/usr/local/bin/pyshim"}}})
    docker(node, "gpu")
    assert "did not start" not in node.json("--container", "web")["result"]


@pytest.mark.parametrize(("engine", "result", "step"), [
    pytest.param(lambda node: docker(node, "pyshim"), NOT_KEPT,
        "start it again: pyshim is its runtime, and explain then knows its create", id="by pyshim"),
    pytest.param(kubelet, f"{NOT_KEPT}; pyshim did not start this container, or not since then",
        POD_STEP, id="by nobody knows whom"),
    pytest.param(crio, f"{NOT_KEPT}; pyshim did not start this container, or not since then",
        POD_STEP.replace("containerd", "crio"), id="under CRI-O"),
])  # fmt: skip
def test_one_that_ended_before_the_machine_started(
    node: Node, engine: Any, result: str, step: str
) -> None:
    """The records are in /run, what engines write is not."""
    engine(node)
    told = node.json("--container", "web")
    assert (told["result"], told["next"]) == (result, step)


def test_a_pod(node: Node) -> None:
    keep(node, OTHER, namespace="ns", pod="web-0", container="")
    containerd(node, systemd_cgroup=True)
    told = node.json_of_pod("web-0")
    assert [(one["container"], "created" in one) for one in told] == [(OTHER, True), (ID, False)]
    assert [one["name"] for one in told] == ["the sandbox", "web"]
    result = node.explain("--pod", "web-9")
    assert result.exit_code == 2
    assert result.stderr == (
        "pyshimctl: no container of a pod 'web-9' found\n"
        "hint: see whether it is on this node: kubectl get pod -o wide\n"
    )


def test_no_failure_is_kept(node: Node) -> None:
    keep(node)
    result = node.explain("--last-failure")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (
        2,
        "pyshimctl: no create that failed is kept",
    )


@pytest.mark.parametrize(("words", "step"), [
    pytest.param(["--last-failure"], "look into the engine's log; 'pyshimctl doctor' says", id="last failure"),
    pytest.param(["--pod", "web"], "see whether it is on this node", id="pod"),
    pytest.param(["--container", "web"], "name the engine's runtime root", id="container"),
])  # fmt: skip
@pytest.mark.parametrize("user", [0, 1000])
def test_whoever_is_not_root_sees_their_own(
    node: Node, monkeypatch: pytest.MonkeyPatch, words: list[str], step: str, user: int
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    hint = node.explain(*words).stderr.splitlines()[1]
    assert hint.startswith(f"hint: {'run it as root, or ' if user else ''}{step}")


@pytest.mark.parametrize("line", [
    "", "not JSON", "[]", '{"version": 2}', '{"version": 1}', '{"version": 1, "asked": 7, "id": ["x"]}',
    '{"version": 1, "id": "x", "asked": [{}], "error": {}}',
])  # fmt: skip
def test_a_record_that_was_torn(node: Node, line: str) -> None:
    keep(node, error=FAILED)
    with open(node.root / "cache" / record.NAME, "a") as file:
        file.write(line + "\n")
    assert node.json("--last-failure")["error"] == FAILED


def test_the_record_after_one_that_was_cut_off(node: Node) -> None:
    """What a full disk leaves of a record has no line feed."""
    keep(node, "before", error="the first")
    cut = b'{"version":1,"id":"cut","error":"{\\"version\\":'
    Cache(str(node.root / "cache")).append(record.NAME, cut, 1 << 20, 1 << 30)
    keep(node, "after", error="the last")
    told = node.json("--last-failure")
    assert (told["container"], told["error"]) == ("after", "the last")


@pytest.mark.parametrize("path", [
    f"/var/lib/docker/containers/{ID}/config.v2.json", "/etc/docker/daemon.json",
    f"/run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/options.json",
    "/var/lib/containers/storage/overlay-containers/containers.json", "/etc/containers/storage.conf",
])  # fmt: skip
@pytest.mark.parametrize(
    "text", ["", "[7]", "null", '"x"', "{", '[{"names": 7}]', '{"runtimes": 7, "data-root": 7}']
)
def test_engines_files_that_are_damaged(node: Node, path: str, text: str) -> None:
    write(node, path, text)
    keep(node, error=FAILED)
    assert node.json("--container", ID[:8])["error"] == FAILED


def test_names_move_no_cursor(node: Node) -> None:
    keep(
        node,
        namespace="ns",
        pod="\x1b[2J",
        container="\nresult    all is well",
        error="\x1b]0;x\x07",
    )
    assert "\x1b" not in node.explain("--last-failure").stdout
    titles = [line.split()[0] for line in node.lines("--last-failure")]
    assert titles == [
        "container",
        "pod",
        "name",
        "created",
        "bundle",
        "runtime",
        "1",
        "2",
        "create",
    ]


def test_what_if(node: Node) -> None:
    lines = node.what_if("acme.com/demo=0")
    assert lines == [
        "runtime   @/runc.sh (runc 1.1.5)",
        "   1      annotation 'cdi.k8s.io/what-if' asks for acme.com/demo=0",
        *(f"{number:>4}      {sentence}" for number, sentence in enumerate(TOLD[1:], 2)),
        "result    the low-level runtime gets config.json rewritten: 4 edits, 1 createContainer hook",
    ]
    assert "CDI hooks skipped" in node.what_if("--read-only", "acme.com/demo=0")[-2]
    assert os.listdir(node.root / "cdi") == ["acme.yaml"]


@pytest.mark.parametrize(("names", "message"), [
    pytest.param(["acme.com/demo=7"],
        "unresolvable CDI devices acme.com/demo=7: acme.com/demo has no device 7, nearest "
        "acme.com/demo=0; looked in @/cdi (1 file) (run 'pyshimctl cdi list')", id="no device"),
    pytest.param(["gpu0"],
        'failed to parse CDI device annotations: invalid CDI device name "gpu0" in annotation '
        "'cdi.k8s.io/what-if' (write qualified names, vendor.com/class=name, separated by ',' "
        "without blanks)", id="no kind"),
])  # fmt: skip
def test_what_if_it_fails(node: Node, names: list[str], message: str) -> None:
    assert node.what_if(*names)[-1] == f"create fails {message}"


def test_what_if_several(node: Node) -> None:
    (node.root / "cdi/acme.yaml").write_text(
        SPEC.replace('"0"', '"1"') + SPEC[SPEC.index("- name") :]
    )
    steps = node.what_if("acme.com/demo=0", "acme.com/demo=1")
    assert any("acme.com/demo=1 is defined" in step for step in steps)
