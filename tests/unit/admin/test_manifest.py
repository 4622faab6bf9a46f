"""`pyshimctl manifest` and deploy/: what Kubernetes gets. What the image runs: test_daemonset.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
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


def test_the_environment_is_the_daemonsets() -> None:
    """What installer.yaml sets are variables that `pyshimctl daemonset` reads, at their defaults."""
    options = {option.envvar: option for option in command("daemonset").params if option.envvar}
    pod = one("DaemonSet")["spec"]["template"]["spec"]
    for variable in pod["initContainers"][0]["env"]:
        option = options[variable["name"]]
        assert isinstance(option, click.Option)
        assert variable["value"] == ("false" if option.is_flag else option.default)
    actions = next(one for one in command("daemonset").params if one.name == "action").type
    assert isinstance(actions, click.Choice)
    assert {*pod["initContainers"][0]["args"], *pod["containers"][0]["args"]} < {*actions.choices}
