"""`pyshimctl manifest` and deploy/: what Kubernetes gets, and what the installer's image runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from ocishim.admin.cli import main
from ocishim.admin.manifest import OBJECTS

DEPLOY = Path(__file__).parents[3] / "deploy"


def printed(*args: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(main, ["manifest", *args])
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))


def one(kind: str, *args: str) -> dict[str, Any]:
    return next(document for document in printed(*args) if document["kind"] == kind)


def command(name: str) -> click.Command:
    found = main.get_command(click.Context(main), name)
    assert found
    return found


def test_what_is_printed() -> None:
    assert [document["kind"] for document in printed()] == [
        "Namespace",
        "RuntimeClass",
        "DaemonSet",
    ]
    assert [document["kind"] for document in printed("test-pod", "runtimeclass")] == [
        "RuntimeClass",
        "Pod",
    ]


def test_printed_is_what_lies_in_deploy() -> None:
    kustomization = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
    files = [yaml.safe_load((DEPLOY / name).read_text()) for name in kustomization["resources"]]
    assert printed() == files
    assert set(OBJECTS.values()) == {*kustomization["resources"], "test-pod.yaml"}


def test_handler_is_the_name_that_configure_writes() -> None:
    name = next(option for option in command("configure").params if "--runtime-name" in option.opts)
    assert one("RuntimeClass")["handler"] == name.default
    assert (
        one("Pod", "test-pod")["spec"]["runtimeClassName"]
        == one("RuntimeClass")["metadata"]["name"]
    )


def test_names_of_this_cluster() -> None:
    options = ("--image", "example.com/i:2", "--namespace", "gpu", "--resource", "amd.com/gpu")
    daemon_set = one("DaemonSet", *options)
    pod = daemon_set["spec"]["template"]["spec"]
    images = {container["image"] for container in pod["initContainers"] + pod["containers"]}
    assert images == {"example.com/i:2"}
    assert daemon_set["metadata"]["namespace"] == "gpu"
    assert one("Namespace", *options)["metadata"]["name"] == "gpu"
    test = one("Pod", "test-pod", *options)["spec"]["containers"][0]
    assert test["resources"]["limits"] == {"amd.com/gpu": 1}


def test_only_the_installing_container_has_rights() -> None:
    pod = one("DaemonSet")["spec"]["template"]["spec"]
    install, waits = pod["initContainers"][0], pod["containers"][0]
    assert install["securityContext"]["privileged"] is True
    assert [mount["mountPath"] for mount in install["volumeMounts"]] == ["/host"]
    assert waits["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert waits["securityContext"]["runAsNonRoot"] is True
    assert "volumeMounts" not in waits
    selector = one("DaemonSet")["spec"]["selector"]["matchLabels"]
    template = one("DaemonSet")["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= template.items()


class Image:
    """The installer's script with stand-ins for what it calls; they write down their arguments."""

    def __init__(self, folder: Path) -> None:
        self.host = folder / "host"
        self.host.mkdir()
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.calls_file = folder / "calls"
        self.changed = True
        self.program("nsenter", "")

    def program(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.calls_file}\n{script}\n')
        path.chmod(0o755)

    def start(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script with a pyshimctl that says whether it changed a file."""
        changed = "true" if self.changed else "false"
        self.program("pyshimctl", f"""[ "$1" != configure ] || echo '  "changed": {changed},'""")
        return subprocess.run(
            ["sh", str(DEPLOY / "installer.sh"), *args],
            check=False,
            capture_output=True,
            text=True,
            env={
                "PATH": f"{self.bin}:{os.environ['PATH']}",
                "HOST_ROOT": str(self.host),
                **environment,
            },
        )

    def run(self, *args: str, **environment: str) -> list[str]:
        """Run the script; the calls it made, with the host's folder as HOST."""
        done = self.start(*args, **environment)
        assert done.returncode == 0, done.stderr
        text = self.calls_file.read_text().replace(str(self.host), "HOST")
        self.calls_file.unlink()
        return text.splitlines()


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path)


INSTALL = "pyshimctl install --host-root HOST --prefix /usr/local"
CONFIGURE = "pyshimctl configure containerd --host-root HOST --json"
RESTART = "nsenter --target 1 --mount --uts --ipc --net -- systemctl restart containerd"


def test_install_restarts_the_engine_that_changed(image: Image) -> None:
    assert image.run("install") == [
        INSTALL,
        f"{CONFIGURE} --runtime-path /usr/local/bin/pyshim",
        RESTART,
    ]


def test_install_restarts_nothing_when_nothing_changed(image: Image) -> None:
    image.changed = False
    assert image.run("install") == [INSTALL, f"{CONFIGURE} --runtime-path /usr/local/bin/pyshim"]


def test_a_restart_that_failed_is_made_up_for(image: Image) -> None:
    image.program("nsenter", "exit 5")
    assert image.start("install").returncode == 5
    image.calls_file.unlink()
    image.changed = False
    image.program("nsenter", "")
    configure = f"{CONFIGURE} --runtime-path /usr/local/bin/pyshim"
    assert image.run("install") == [INSTALL, configure, RESTART]
    assert image.run("install") == [INSTALL, configure]


def test_install_with_every_setting(image: Image) -> None:
    calls = image.run(
        "install",
        ENGINE="crio",
        PREFIX="/opt/p",
        SET_AS_DEFAULT="true",
        ENABLE_CDI="true",
        CONFIG="/x.conf",
    )
    settings = (
        "--runtime-path /opt/p/bin/pyshim --set-as-default --enable-cdi --config /x.conf --force"
    )
    assert calls == [
        "pyshimctl install --host-root HOST --prefix /opt/p",
        f"{CONFIGURE.replace('containerd', 'crio')} {settings}",
        RESTART.replace("containerd", "crio"),
    ]


def test_remove_takes_the_engine_first(image: Image) -> None:
    assert image.run("remove") == [
        f"{CONFIGURE} --remove",
        RESTART,
        "pyshimctl uninstall --host-root HOST --prefix /usr/local",
    ]


def test_crio_is_known_by_its_socket(image: Image) -> None:
    import socket  # noqa: PLC0415 - only here

    (image.host / "run/crio").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(image.host / "run/crio")  # sun_path has 108 bytes
        try:
            server.bind("crio.sock")
        finally:
            os.chdir(here)
        assert image.run("install")[1].startswith("pyshimctl configure crio ")


@pytest.mark.parametrize("name", ["pyshimctl", "nsenter"])
def test_a_step_that_fails_fails_the_pod(image: Image, name: str) -> None:
    image.program(name, "exit 1")
    script = f"""[ "$1" != configure ] || echo '"changed": true'\n{"exit 1" if name == "pyshimctl" else ""}"""
    image.program("pyshimctl", script)
    done = subprocess.run(
        ["sh", str(DEPLOY / "installer.sh")],
        check=False,
        capture_output=True,
        env={"PATH": f"{image.bin}:{os.environ['PATH']}", "HOST_ROOT": str(image.host)},
    )
    assert done.returncode == 1


def test_the_options_it_uses_exist() -> None:
    """The script's options are those of pyshimctl."""
    words = (DEPLOY / "installer.sh").read_text().split()
    options = {word.strip("\"'}") for word in words if word.startswith("--")}
    known = set()
    for name in ("install", "uninstall", "configure"):
        known |= {option for param in command(name).params for option in param.opts}
    nsenter = {"--target", "--mount", "--uts", "--ipc", "--net", "--"}
    assert options - nsenter <= known
