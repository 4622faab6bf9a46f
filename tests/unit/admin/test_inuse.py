"""What still runs under pyshim, as engines' files and processes tell it, and what that forbids."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ocishim.admin.host import Host
from ocishim.admin.install import inuse
from ocishim.errors import ConfigError
from tests.unit.admin.installing import HOME, Node
from tests.unit.admin.test_daemonset import DROP_IN, Pod, pod

__all__ = ["pod"]
DATA = Path(__file__).parents[2] / "data/engines"
PYSHIM = "/usr/local/bin/pyshim"
ID = "4f1c0d9e12345678"
HINT = "hint: delete what still runs under pyshim, then try again\n"
OR_FORCE = HINT.replace("\n", "; --force does not wait\n")
NO_DEFAULT = "hint: 'pyshimctl configure containerd', so that it is no default any more; "
ENTERED = (
    "pod shop/web-0 could not be entered without the runtime 'pyshim' in containerd's configuration"
)
CONFIG = "etc/containerd/config.toml"
TASKS = "io.containerd.runtime.v2.task"
CRI = {"io.kubernetes.cri.sandbox-namespace": "shop", "io.kubernetes.cri.sandbox-name": "web-0"}


def task(node: Node, space: str = "k8s.io", state: str = "run/containerd", **options: str) -> Path:
    """A bundle as containerd's shim leaves it."""
    bundle = node.root / state / TASKS / space / ID
    bundle.mkdir(parents=True)
    (bundle / "options.json").write_text(json.dumps(options))
    spec = {"annotations": CRI} if space == "k8s.io" else {}
    (bundle / "config.json").write_text(json.dumps(spec))
    return bundle


def process(node: Node, *argv: str, cwd: Path | None = None, root: Path | None = None) -> None:
    folder = node.root / "proc" / str(len(argv) + len(os.listdir(node.root)))
    folder.mkdir(parents=True)
    (folder / "cmdline").write_text("\0".join(argv) + "\0")
    (folder / "root").symlink_to(root or node.root)
    (folder / "cwd").symlink_to(cwd or node.root)


def conmon(node: Node, name: str, program: str, bundle: str, id_: str = ID) -> None:
    argv = ("/usr/bin/conmon", "-c", id_, "-n", name, "-r", program, "-b", bundle, "--log-level")
    process(node, *argv)


def crio(node: Node, handler: str) -> None:
    """CRI-O's container and its sandbox, as data/engines has them."""
    store = "run/containers/storage/overlay-containers"
    spec = json.loads((DATA / "crio.config.json").read_text())
    sandbox = spec["annotations"]["io.kubernetes.cri-o.SandboxID"]
    for id_, notes in (
        (ID, spec["annotations"]),
        (sandbox, {"io.kubernetes.cri-o.RuntimeHandler": handler}),
    ):
        (node.root / store / id_ / "userdata").mkdir(parents=True)
        text = json.dumps({"annotations": notes})
        (node.root / store / id_ / "userdata/config.json").write_text(text)
    name = spec["annotations"]["io.kubernetes.cri-o.Name"]
    conmon(node, name, PYSHIM, f"/{store}/{ID}/userdata")


def docker_wrapper(node: Node) -> None:
    """What Docker makes of a runtime with runtimeArgs."""
    node.program("var/lib/docker/runtimes/pyshim", f'exec {PYSHIM} --debug "$@"')
    task(node, "moby", binary_name="/var/lib/docker/runtimes/pyshim")


def elsewhere(node: Node) -> None:
    bundle = task(node, state="data/mine", binary_name=PYSHIM)
    process(node, "/opt/bin/containerd-shim-runc-v2", "-id", ID, cwd=bundle)


def only_runtime(node: Node) -> None:
    bundle = task(node)
    (bundle / "runtime").write_text(PYSHIM)


@pytest.mark.parametrize(
    ("make", "called"),
    [
        pytest.param(lambda node: task(node, binary_name=PYSHIM), "pod shop/web-0", id="pod"),
        pytest.param(only_runtime, "pod shop/web-0", id="no options.json, but runtime"),
        pytest.param(
            lambda node: task(node, state="run/k3s/containerd", binary_name=PYSHIM),
            "pod shop/web-0",
            id="k3s",
        ),
        pytest.param(elsewhere, "pod shop/web-0", id="a state nobody knows, by its shim"),
        pytest.param(
            lambda node: task(node, "default", binary_name=PYSHIM),
            "containerd 4f1c0d9e1234",
            id="ctr",
        ),
        pytest.param(
            lambda node: task(node, "moby", binary_name="pyshim"),
            "docker 4f1c0d9e1234",
            id="docker, the name alone",
        ),
        pytest.param(docker_wrapper, "docker 4f1c0d9e1234", id="docker, runtimeArgs"),
        pytest.param(
            lambda node: task(node, binary_name=f"/{HOME}/{node.current}/bin/pyshim"),
            "pod shop/web-0",
            id="one version",
        ),
        pytest.param(
            lambda node: conmon(node, "web", PYSHIM, "/b"), "podman web", id="podman, by path"
        ),
        pytest.param(
            lambda node: conmon(node, "web", "/usr/bin/../local/bin/pyshim", "/b"),
            "podman web",
            id="another spelling",
        ),
        pytest.param(lambda node: crio(node, "pyshim"), "pod default/p", id="crio"),
    ],
)
def test_uninstall_refuses_what_could_not_be_stopped(
    node: Node, make: Callable[[Node], object], called: str
) -> None:
    node.install()
    make(node)
    before = node.listing()
    for options in ((), ("--force",), ("--dry-run",), ("--purge",)):
        result = node.call("uninstall", *options)
        assert (result.exit_code, result.output) == (
            1,
            f"pyshimctl: {called} could not be stopped without {PYSHIM}\n{HINT}",
        )
    assert node.listing() == before


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda node: task(node, binary_name="/usr/sbin/runc"), id="runc"),
        pytest.param(task, id="the engine's own"),
        pytest.param(lambda node: task(node, binary_name="/opt/bin/pyshim"), id="another pyshim"),
        pytest.param(lambda node: conmon(node, "web", "/usr/bin/crun", "/b"), id="podman"),
        pytest.param(
            lambda node: process(
                node, "conmon", "-c", ID, "-n", "w", "-r", PYSHIM, root=node.root.parent
            ),
            id="an engine in a container",
        ),
        pytest.param(lambda node: process(node, "sleep", "-r", PYSHIM), id="no conmon"),
        pytest.param(
            lambda node: (task(node) / "options.json").write_text("[" * 100_000), id="no JSON"
        ),
    ],
)
def test_others_containers_are_no_hindrance(node: Node, make: Callable[[Node], object]) -> None:
    node.install()
    make(node)
    assert node.uninstall("--dry-run").startswith("remove /usr/local/bin/pyshim\n")
    assert (node.root / "usr/local/bin/pyshim").exists()
    node.uninstall()
    assert not (node.root / "usr/local/bin/pyshim").is_symlink()


def test_many_are_told_briefly_and_a_pod_once() -> None:
    some = [inuse.Container("docker", f"{n}" * 64, "", "", PYSHIM) for n in range(6)]
    pods = [inuse.Container("containerd", str(n), "", "shop/web", PYSHIM) for n in range(3)]
    with pytest.raises(ConfigError) as caught:
        inuse.refuse(pods + some, "it")
    assert str(caught.value) == (
        "pod shop/web, docker 000000000000, docker 111111111111, docker 222222222222,"
        " docker 333333333333 and 2 more could not be stopped without it"
        " (delete what still runs under pyshim, then try again)"
    )


@pytest.mark.parametrize(
    ("engine", "make", "told"),
    [
        pytest.param(
            "crio", lambda node: crio(node, "pyshim"), "pod default/p could not be stopped", id="c"
        ),
        pytest.param(
            "podman",
            lambda node: conmon(node, "web", PYSHIM, "/b"),
            "podman web could not be stopped",
            id="podman",
        ),
        pytest.param(
            "containerd",
            lambda node: task(node, binary_name=PYSHIM),
            "pod shop/web-0 could not be entered",
            id="containerd",
        ),
    ],
)
def test_an_engine_that_looks_for_the_name_keeps_it(
    node: Node, engine: str, make: Callable[[Node], object], told: str
) -> None:
    node.install()
    assert node.call("configure", engine, "--force").exit_code == 0
    make(node)
    before = node.listing()
    told += f" without the runtime 'pyshim' in {engine}'s configuration"
    for options in ((), ("--dry-run",), ("--runtime-path", PYSHIM)):
        result = node.call("configure", engine, "--remove", *options)
        assert (result.exit_code, result.output) == (1, f"pyshimctl: {told}\n{OR_FORCE}")
    assert node.listing() == before
    forced = node.call("configure", engine, "--remove", "--force")
    assert (forced.exit_code, forced.stderr) == (0, f"note: {told}\n")
    assert node.call("configure", engine, "--remove").exit_code == 0


def test_when_they_are_gone_the_name_goes(node: Node) -> None:
    node.install()
    node.call("configure", "containerd", "--force")
    bundle = task(node, binary_name=PYSHIM)
    assert node.call("configure", "containerd", "--remove").exit_code == 1
    shutil.rmtree(bundle)
    assert node.call("configure", "containerd", "--remove").exit_code == 0
    assert not (node.root / CONFIG).exists()


def test_a_default_is_taken_away_first(node: Node) -> None:
    """Else pods that are deleted come back under pyshim."""
    node.install()
    node.call("configure", "containerd", "--force", "--set-as-default")
    task(node, binary_name=PYSHIM)
    told = f"pyshimctl: {ENTERED}\n{NO_DEFAULT}{OR_FORCE.removeprefix('hint: ')}"
    assert node.call("configure", "containerd", "--remove").output == told
    assert node.call("configure", "containerd", "--force").exit_code == 0
    assert "default_runtime_name" not in (node.root / CONFIG).read_text()
    told = f"pyshimctl: {ENTERED}\n{OR_FORCE}"
    assert node.call("configure", "containerd", "--remove").output == told


@pytest.mark.parametrize("space", ["default", "moby"])
def test_what_is_no_pod_needs_no_name(node: Node, space: str) -> None:
    """Docker and ctr tell containerd the program with each container."""
    node.install()
    for engine in ("containerd", "docker"):
        node.call("configure", engine, "--force")
    task(node, space, binary_name=PYSHIM)
    for engine in ("containerd", "docker"):
        assert node.call("configure", engine, "--remove").exit_code == 0


@pytest.mark.parametrize(
    "path",
    ["etc/k0s/containerd.toml", "var/lib/rancher/k3s/agent/etc/containerd/config.toml.tmpl"],
    ids=["k0s", "k3s"],
)
def test_files_of_others_too(node: Node, path: str) -> None:
    node.install()
    if not path.endswith(".tmpl"):
        (node.root / path).parent.mkdir(parents=True)
        (node.root / path).write_text("# k0s_managed=true\nversion = 3\n")
    config = ("--config", f"/{path}")
    done = node.call("configure", "containerd", *config, "--force")
    assert done.exit_code == 0, done.output
    task(node, binary_name=PYSHIM)
    result = node.call("configure", "containerd", *config, "--remove")
    assert result.output == f"pyshimctl: {ENTERED}\n{OR_FORCE}"


def test_a_name_that_another_one_replaces(node: Node) -> None:
    """Our file is written anew, with the new name alone."""
    node.install()
    node.call("configure", "crio", "--force")
    crio(node, "pyshim")
    node.program("usr/bin/crio", "")
    result = node.call("configure", "crio", "--runtime-name", "nvidia")
    told = "pod default/p could not be stopped without the runtime 'pyshim' in crio's configuration"
    assert result.output == f"pyshimctl: {told}\n{OR_FORCE}"


def test_a_name_that_goes_with_the_file(node: Node) -> None:
    """Whatever --runtime-name says: all of our file is removed."""
    node.install()
    node.call("configure", "crio", "--force", "--runtime-name", "nvidia")
    crio(node, "nvidia")
    assert node.call("configure", "crio", "--remove").exit_code == 1


def test_crios_default_runtime_is_any(node: Node) -> None:
    """With no handler of its own a container is stopped by the default runtime of that moment."""
    node.install()
    assert node.call("configure", "crio", "--force", "--set-as-default").exit_code == 0
    crio(node, "")
    assert node.call("configure", "crio", "--remove").exit_code == 0
    assert node.call("uninstall").exit_code == 1


def test_the_installers_own_pod_is_not_locked_in(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    """SET_AS_DEFAULT: the pod that removes pyshim was begun by it, and has to be stopped."""
    pod.run("install")
    bundle = task(pod.node, binary_name=PYSHIM)
    monkeypatch.setattr(socket, "gethostname", lambda: "web-0")
    told = (
        f"note: this pod itself runs under {PYSHIM}, which stays until a new one removes it:"
        " kubectl rollout restart this DaemonSet once more\n"
    )
    assert pod.run("remove") == (0, told, ["systemctl restart crio"])
    assert not (pod.node.root / DROP_IN).exists()
    assert (pod.node.root / "usr/local/bin/pyshim").exists()
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    assert pod.run("remove")[0] == 1
    shutil.rmtree(bundle)
    assert pod.run("remove") == (0, "", [])
    assert not (pod.node.root / "usr/local/bin/pyshim").exists()


@pytest.mark.parametrize("prefix", ["/usr/local", "/opt/p"])
def test_the_daemonset_takes_the_default_first_and_the_name_last(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    environment = {"ENGINE": "containerd", "PREFIX": prefix, "ENABLE_CDI": "true"}
    pod.run("install", SET_AS_DEFAULT="true", **environment)
    own = task(pod.node, binary_name=f"{prefix}/bin/pyshim")
    monkeypatch.setattr(socket, "gethostname", lambda: "web-0")
    restart = ["systemctl restart containerd"]
    status, told, calls = pod.run("remove", SET_AS_DEFAULT="true", **environment)
    assert (status, told.startswith("note: this pod itself runs"), calls) == (0, True, restart)
    text = (pod.node.root / CONFIG).read_text()
    assert "default_runtime_name" not in text
    assert f'BinaryName = "{prefix}/bin/pyshim"' in text
    assert "enable_cdi = true" in text
    # The next pod began without pyshim, and others have yet to go.
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    hint = "delete these pods; a next try of this one, which the kubelet makes, removes the rest"
    told = f"pyshimctl: {ENTERED}\nhint: {hint}\n"
    assert pod.run("remove", **environment) == (1, told, [])
    assert (pod.node.root / CONFIG).read_text() == text
    shutil.rmtree(own)
    assert pod.run("remove", **environment) == (0, "", restart)
    assert not (pod.node.root / CONFIG).exists()
    assert not (pod.node.root / f"{prefix[1:]}/bin/pyshim").is_symlink()


def test_a_program_that_somebody_deleted_is_no_reason_to_fail_otherwise(pod: Pod) -> None:
    pod.run("install", ENGINE="containerd")
    task(pod.node, binary_name=PYSHIM)
    (pod.node.root / PYSHIM[1:]).unlink()
    status, told, calls = pod.run("remove", ENGINE="containerd")
    assert (status, told.splitlines()[0], calls) == (1, f"pyshimctl: {ENTERED}", [])


def test_this_machine_is_read_too() -> None:
    """Whatever runs here: all of it can be read."""
    assert all(one.program for one in inuse.there(Host()))


@pytest.mark.parametrize(
    ("id_", "name", "pod", "called"),
    [
        pytest.param(ID, "", "", "containerd 4f1c0d9e1234", id="an id that a program made"),
        pytest.param("training-job-17", "", "", "containerd training-job-17", id="a person's"),
        pytest.param("deadbeef", "", "", "containerd deadbeef", id="short"),
        pytest.param(ID, "web", "", "containerd web", id="a name"),
        pytest.param(ID, "web", "ns/web-0", "pod ns/web-0", id="a pod"),
    ],
)
def test_what_people_call_it(id_: str, name: str, pod: str, called: str) -> None:
    assert inuse.Container("containerd", id_, name, pod, "").describe() == called
