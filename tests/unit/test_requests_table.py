"""Requests by environment variables and volume mounts: the [requests] table, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from ocishim.cache import Cache
from ocishim.create import requests
from ocishim.errors import RequestError
from ocishim.settings import config, defaults

NVIDIA: dict[str, Any] = {
    "name": "NVIDIA_VISIBLE_DEVICES",
    "kind": "nvidia.com/gpu",
    "unprivileged": True,
}
AMD: dict[str, Any] = {"name": "AMD_VISIBLE_DEVICES", "kind": "amd.com/gpu", "unprivileged": True}
SWARM: dict[str, Any] = {**NVIDIA, "name": "DOCKER_RESOURCE_GPU"}
CAREFUL: dict[str, Any] = {**NVIDIA, "unprivileged": False}
MOUNTS = "/var/run/nvidia-container-devices"
PRIVILEGED = {"bounding": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}


def gather(
    tables: list[dict[str, Any]],
    env: list[str],
    *,
    mounts: tuple[str, ...] = (),
    volume_mounts: bool = False,
    capabilities: object = None,
    annotations: object = None,
) -> requests.Requests:
    values = {"requests.env": tables, "requests.volume_mounts": volume_mounts}
    settings = config.Config({**defaults.DEFAULTS, **values}, "/c.toml", Cache("/dev/null/nowhere"))
    process = {"env": ["PATH=/bin", *env], "capabilities": capabilities}
    bound = [{"source": "/dev/null", "destination": f"{MOUNTS}/{name}"} for name in mounts]
    spec = {"process": process, "mounts": bound, "annotations": annotations}
    return requests.gather(spec, settings)


def nvidia(*names: str) -> list[str]:
    return [f"nvidia.com/gpu={name}" for name in names]


@pytest.mark.parametrize(
    ("tables", "env", "names"),
    [
        pytest.param([], ["NVIDIA_VISIBLE_DEVICES=all"], [], id="off by default"),
        pytest.param([NVIDIA], [], [], id="unset"),
        pytest.param([NVIDIA], ["CUDA_VERSION=9.0"], [], id="an old image is no request"),
        pytest.param([NVIDIA], ["NVIDIA_VISIBLE_DEVICES="], [], id="empty"),
        pytest.param([NVIDIA], ["NVIDIA_VISIBLE_DEVICES", "BARE"], [], id="no value"),
        pytest.param([NVIDIA], ["NVIDIA_VISIBLE_DEVICES=void"], [], id="void"),
        pytest.param([NVIDIA], ["NVIDIA_VISIBLE_DEVICES=none"], [], id="none"),
        pytest.param([NVIDIA], ["NVIDIA_VISIBLE_DEVICES=all"], nvidia("all"), id="all"),
        pytest.param(
            [NVIDIA], ["NVIDIA_VISIBLE_DEVICES=1,0,1"], nvidia("1", "0"), id="order, and once each"
        ),
        pytest.param(
            [NVIDIA], ["NVIDIA_VISIBLE_DEVICES=0:1,MIG-6c2f"], nvidia("0:1", "MIG-6c2f"), id="MIG"
        ),
        pytest.param(
            [NVIDIA],
            ["NVIDIA_VISIBLE_DEVICES=0", "NVIDIA_VISIBLE_DEVICES=1"],
            nvidia("1"),
            id="the last one is the variable",
        ),
        pytest.param(
            [NVIDIA],
            ["NVIDIA_VISIBLE_DEVICES=nvidia.com/gpu=GPU-4c3c,0"],
            nvidia("GPU-4c3c", "0"),
            id="qualified",
        ),
        pytest.param(
            [AMD],
            ["AMD_VISIBLE_DEVICES=0-2,5"],
            [f"amd.com/gpu={n}" for n in (0, 1, 2, 5)],
            id="AMD's range",
        ),
        pytest.param([AMD], ["NVIDIA_VISIBLE_DEVICES=0"], [], id="another vendor's"),
        pytest.param(
            [NVIDIA, AMD],
            ["AMD_VISIBLE_DEVICES=0", "NVIDIA_VISIBLE_DEVICES=1"],
            [*nvidia("1"), "amd.com/gpu=0"],
            id="two vendors, as the tables stand",
        ),
        pytest.param(
            [NVIDIA, SWARM],
            ["DOCKER_RESOURCE_GPU=GPU-4c3c"],
            nvidia("GPU-4c3c"),
            id="swarm's resource",
        ),
    ],
)
def test_environment(tables: list[dict[str, Any]], env: list[str], names: list[str]) -> None:
    assert gather(tables, env).names == names


@pytest.mark.parametrize(
    ("capabilities", "names"),
    [
        pytest.param(PRIVILEGED, nvidia("0"), id="privileged"),
        pytest.param(
            {"bounding": ["CAP_CHOWN"], "effective": ["CAP_SYS_ADMIN"]}, [], id="not bounding"
        ),
        pytest.param(None, [], id="no capabilities"),
    ],
)
def test_only_privileged_containers_unless_told(capabilities: object, names: list[str]) -> None:
    found = gather([CAREFUL], ["NVIDIA_VISIBLE_DEVICES=0"], capabilities=capabilities)
    assert found.names == names
    reason = "environment NVIDIA_VISIBLE_DEVICES=0: the container is not privileged"
    assert found.ignored == ([] if names else [reason])


def test_what_asks_for_nothing_is_not_refused() -> None:
    """Images of CUDA set the variable, and most of their containers get no GPU."""
    assert gather([CAREFUL], ["NVIDIA_VISIBLE_DEVICES=void"]).ignored == []


@pytest.mark.parametrize(
    ("mounts", "names"),
    [
        pytest.param(("GPU-4c3c", "MIG-6c2f"), nvidia("GPU-4c3c", "MIG-6c2f"), id="ids"),
        pytest.param(
            ("cdi/nvidia.com/gpu/1", "cdi/nvidia.com/gpu=MIG-6c2f"),
            nvidia("1", "MIG-6c2f"),
            id="qualified",
        ),
        pytest.param(("imex/0",), [], id="imex"),
    ],
)
def test_volume_mounts(mounts: tuple[str, ...], names: list[str]) -> None:
    beside = [f"NVIDIA_VISIBLE_DEVICES={MOUNTS}"]  # as the device plugin sets it
    assert gather([], beside, mounts=mounts, volume_mounts=True).names == names
    assert gather([NVIDIA], beside, mounts=mounts, volume_mounts=True).names == names
    assert gather([], beside, mounts=mounts).names == []


ANOTHER = "which is not of the kind nvidia.com/gpu: a [[requests.env]] table allows another"


@pytest.mark.parametrize(
    ("value", "names", "others"),
    [
        pytest.param("other.com/hsm=0", [], ["other.com/hsm=0"], id="another vendor's"),
        pytest.param("nvidia.com/mig=0,1", nvidia("1"), ["nvidia.com/mig=0"], id="another class"),
        pytest.param("a/b=0,2,c/d=1", nvidia("2"), ["a/b=0", "c/d=1"], id="between"),
        pytest.param("nvidia.com/gpux=0", [], ["nvidia.com/gpux=0"], id="a longer class"),
        pytest.param("x=0", [], ["x=0"], id="no kind"),
        pytest.param("=0", [], ["=0"], id="an empty kind"),
        pytest.param("NVIDIA.com/gpu=0", [], ["NVIDIA.com/gpu=0"], id="letters count"),
    ],
)
def test_a_variable_asks_for_its_kind(value: str, names: list[str], others: list[str]) -> None:
    found = gather([NVIDIA, AMD], [f"NVIDIA_VISIBLE_DEVICES={value}"])
    assert found.names == names
    assert found.refused == [
        f"environment NVIDIA_VISIBLE_DEVICES asks for {name}, {ANOTHER}" for name in others
    ]
    assert found.ignored == found.refused


@pytest.mark.parametrize(
    ("value", "name"),
    [
        pytest.param("0 1", '"nvidia.com/gpu=0 1"', id="blanks between"),
        pytest.param('"0"', '"nvidia.com/gpu=\\"0\\""', id="quotation marks"),
        pytest.param("0,-1", '"nvidia.com/gpu=-1"', id="one of several"),
        pytest.param("MIG-GPU-4c3c/1/0", '"nvidia.com/gpu=MIG-GPU-4c3c/1/0"', id="an old MIG name"),
    ],
)
def test_what_is_no_name_is_told_with_who_asks(value: str, name: str) -> None:
    with pytest.raises(RequestError) as caught:
        gather([NVIDIA], [f"NVIDIA_VISIBLE_DEVICES={value}"])
    assert str(caught.value) == (
        f"environment NVIDIA_VISIBLE_DEVICES asks for {name}, which no CDI device can be called "
        "(write indices, UUIDs or names separated by ',', or all, or none)"
    )


FORMS = f"{MOUNTS}/INDEX, a UUID or all in its place, or {MOUNTS}/cdi/VENDOR/CLASS/NAME"


@pytest.mark.parametrize(
    ("mount", "name"),
    [
        pytest.param("0 1", '"nvidia.com/gpu=0 1"', id="a blank"),
        pytest.param("0,1", '"nvidia.com/gpu=0,1"', id="a list"),
        pytest.param("-1", '"nvidia.com/gpu=-1"', id="no index"),
        pytest.param("cdi/nvidia.com/gpu/0 1", '"nvidia.com/gpu=0 1"', id="qualified"),
        pytest.param("cdi/nvidia.com/gpu=", '"nvidia.com/gpu="', id="qualified, no name"),
    ],
)
def test_what_is_no_name_in_a_mount(mount: str, name: str) -> None:
    with pytest.raises(RequestError) as caught:
        gather([NVIDIA], [], mounts=(mount,), volume_mounts=True)
    assert str(caught.value) == (
        f"a volume mount below {MOUNTS} asks for {name}, which no CDI device can be called "
        f"(mount /dev/null at {FORMS})"
    )


@pytest.mark.parametrize("mount", ["cdi/nvidia.com/gpu", "cdi", "GPU-4c3c/0", "cdi/a/b/c/d"])
def test_a_mount_of_no_form(mount: str) -> None:
    """The others still count; who waits for the device finds the reason in the log."""
    found = gather([], [], mounts=("1", mount), volume_mounts=True)
    assert found.names == nvidia("1")
    assert found.refused == [f"the mount at {MOUNTS}/{mount} asks for no device: expected {FORMS}"]


@pytest.mark.parametrize(
    ("tables", "kinds", "names"),
    [
        pytest.param([], "nvidia.com/gpu", [], id="no table"),
        pytest.param([NVIDIA], "nvidia.com/gpu", [], id="NVIDIA's"),
        pytest.param([NVIDIA, AMD], "", ["amd.com/gpu=1"], id="AMD's too"),
        pytest.param([AMD], "", ["amd.com/gpu=1"], id="AMD's alone"),
    ],
)
def test_volume_mounts_ask_for_the_tables_kinds(
    tables: list[dict[str, Any]], kinds: str, names: list[str]
) -> None:
    found = gather(tables, [], mounts=("cdi/amd.com/gpu/1",), volume_mounts=True)
    assert found.names == names
    source = f"a volume mount below {MOUNTS} asks for amd.com/gpu=1"
    assert found.refused == (
        [f"{source}, which is not of the kind {kinds}: a [[requests.env]] table allows another"]
        if kinds
        else []
    )


def test_mounts_are_of_the_kind_that_the_table_names() -> None:
    table = {**NVIDIA, "kind": "k8s.device-plugin.nvidia.com/gpu"}
    found = gather([table], [], mounts=("GPU-4c3c",), volume_mounts=True)
    assert found.names == ["k8s.device-plugin.nvidia.com/gpu=GPU-4c3c"]
    assert found.sources == [f"a volume mount below {MOUNTS} asks for {found.names[0]}"]


ANNOTATION = {"cdi.k8s.io/x": "acme.com/gpu=0"}


@pytest.mark.parametrize(
    ("annotations", "mounts", "names"),
    [
        pytest.param(ANNOTATION, ("1",), ["acme.com/gpu=0"], id="annotations before mounts"),
        pytest.param(ANNOTATION, (), ["acme.com/gpu=0"], id="annotations before the environment"),
        pytest.param(None, ("1",), nvidia("1"), id="mounts before the environment"),
        pytest.param(None, (), nvidia("all"), id="the environment last"),
    ],
)
def test_who_asks_first(annotations: object, mounts: tuple[str, ...], names: list[str]) -> None:
    """What a device plugin wrote is not widened by what the image sets."""
    found = gather(
        [NVIDIA],
        ["NVIDIA_VISIBLE_DEVICES=all"],
        mounts=mounts,
        volume_mounts=True,
        annotations=annotations,
    )
    assert found.names == names
