"""`pyshimctl explain`: the story of a bundle, as text and as JSON, and the exit status."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.admin.explaining import ASKED, MOUNTS, TOLD, Node

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(name="node")
def _node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def test_the_story_in_order(node: Node) -> None:
    bundle = node.asking(annotations=ASKED)

    assert node.lines(bundle) == [
        "bundle    @/bundle",
        "runtime   @/runc.sh (runc 1.1.5)",
        'rootfs    @/bundle/rootfs: can be written; hooks.readonly_rootfs is "skip"',
        *(f"{number:>4}      {sentence}" for number, sentence in enumerate(TOLD, 1)),
        "result    the low-level runtime gets config.json rewritten: 4 edits, 1 createContainer hook",
    ]
    assert node.explain(bundle).exit_code == 0


def test_nothing_is_changed(node: Node) -> None:
    bundle = node.asking(annotations=ASKED)
    before = (node.root / "bundle/config.json").read_bytes()
    node.explain(bundle)
    assert (node.root / "bundle/config.json").read_bytes() == before
    assert sorted(os.listdir(node.root / "bundle/rootfs")) == []


def test_json(node: Node) -> None:
    assert node.json(node.asking(annotations=ASKED)) == {
        "bundle": "@/bundle",
        "error": "",
        "runtime": "@/runc.sh (runc 1.1.5)",
        "steps": TOLD,
        "warnings": [],
        "rootfs": '@/bundle/rootfs: can be written; hooks.readonly_rootfs is "skip"',
        "result": "the low-level runtime gets config.json rewritten: 4 edits, 1 createContainer hook",
    }


def test_a_create_that_fails_tells_what_the_engine_would_read(node: Node) -> None:
    bundle = node.asking(annotations={"cdi.k8s.io/test": "acme.com/demo=7"})
    message = (
        "unresolvable CDI devices acme.com/demo=7: acme.com/demo has no device 7, "
        "nearest acme.com/demo=0; looked in @/cdi (1 file) (run 'pyshimctl cdi list')"
    )
    assert node.lines(bundle)[-1] == f"create fails {message}"
    story = node.json(bundle)
    assert story["error"] == message
    assert story["steps"] == ["annotation 'cdi.k8s.io/test' asks for acme.com/demo=7"]
    assert node.explain(bundle).exit_code == 1


def test_a_broken_configuration_is_why_create_fails(node: Node) -> None:
    node.configure("[hooks]", "timout = 3")
    story = node.json(node.asking())
    assert story["error"] == (
        "@/config.toml:3: unknown setting 'hooks.timout' (did you mean 'hooks.timeout'?)"
    )


def test_readonly_rootfs_and_its_warning(node: Node) -> None:
    bundle = node.asking(annotations=ASKED, root={"path": "rootfs", "readonly": True})
    warning = (
        "CDI hooks skipped, links and library cache are missing: create-symlinks: "
        "root.readonly is true in config.json; "
        'hooks.readonly_rootfs = "when-writable" or "overlay" in @/config.toml runs them'
    )
    lines = node.lines(bundle)
    assert lines[2] == (
        "rootfs    @/bundle/rootfs: root.readonly is true in config.json; "
        'hooks.readonly_rootfs is "skip"'
    )
    assert lines[-2:] == [
        f"warning   {warning}",
        "result    the low-level runtime gets config.json rewritten: 4 edits",
    ]


@pytest.mark.parametrize(
    ("members", "steps"),
    [
        pytest.param(
            {},
            ["nothing asks for a device: no annotation begins with 'cdi.k8s.io/'"],
            id="nothing",
        ),
        pytest.param(
            {"process": {"env": ["PATH=/bin", "NVIDIA_VISIBLE_DEVICES=all"]}},
            [
                "nothing asks for a device: no annotation begins with 'cdi.k8s.io/'",
                "environment NVIDIA_VISIBLE_DEVICES=all: no [[requests.env]] in @/config.toml names it",
            ],
            id="environment",
        ),
        pytest.param(
            {
                "mounts": [
                    {"destination": f"{MOUNTS}/0", "source": "/dev/null"},
                ]
            },
            [
                "nothing asks for a device: no annotation begins with 'cdi.k8s.io/'",
                f"mounts below {MOUNTS}: requests.volume_mounts is off in @/config.toml",
            ],
            id="volume mount",
        ),
        pytest.param(
            {"annotations": {**ASKED, "io.kubernetes.cri.container-type": "sandbox"}},
            [
                (
                    f"a sandbox (pause) container never gets devices: annotation '{next(iter(ASKED))}' "
                    "is the pod's, and a device plugin or the CRI's client asks for a container"
                )
            ],
            id="sandbox",
        ),
        pytest.param(
            {"annotations": {**ASKED, "io.container.manager": "libpod"}},
            [
                (
                    f"annotation '{next(iter(ASKED))}': under Podman an image's author can write it; "
                    "ask by --device vendor/class=name (or set requests.podman_annotations = true)"
                )
            ],
            id="Podman",
        ),
    ],
)
def test_why_there_is_no_device(node: Node, members: dict[str, Any], steps: list[str]) -> None:
    story = node.json(node.asking(**members))
    assert story["steps"] == steps
    assert story["result"] == "the low-level runtime gets config.json as it is"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        pytest.param("none", "asks for nothing", id="none"),
        pytest.param(
            "void",
            "asks for nothing: CDI specs set it so, over what a container that was created "
            "before had asked for",
            id="after the fact",
        ),
    ],
)
def test_a_variable_that_asks_for_nothing(node: Node, value: str, told: str) -> None:
    node.configure('[[requests.env]]\nname = "ACME"\nkind = "acme.com/demo"\nunprivileged = true\n')
    story = node.json(node.asking(process={"env": [f"ACME={value}"]}))
    assert story["steps"][1] == f"environment ACME={value} {told}"


def test_text_is_text_and_not_markup(node: Node) -> None:
    """A bundle's path and a device's name may hold what rich takes for a style."""
    bundle = node.asking("[red]b[/]", annotations=ASKED)
    lines = node.lines(bundle)
    assert lines[0] == "bundle    @/[red]b[/]"
    assert lines[2].startswith("rootfs    @/[red]b[/]/rootfs: ")
    failed = node.asking("c", annotations={"cdi.k8s.io/x": "acme.com/demo=[/]"})
    assert '"acme.com/demo=[/]"' in node.lines(failed)[-1]


def test_a_bundle_without_a_rootfs_is_explained(node: Node) -> None:
    story = node.json(node.asking(root={"path": "elsewhere"}))
    assert story["rootfs"] == (
        "config.json: root.path @/bundle/elsewhere: does not exist"
        " (the engine mounts it before create: is the container being removed)"
    )
    assert story["error"] == ""


def test_no_bundle_there(node: Node) -> None:
    story = node.json(str(node.root / "none"))
    assert story["error"].startswith("@/none/config.json: ")


def test_a_container_by_the_runtimes_default_root(node: Node) -> None:
    node.asking(annotations=ASKED)
    assert node.json("--container", "c1")["bundle"] == "@/bundle"
    assert node.json("--container", "c1")["steps"] == TOLD


def test_a_container_by_the_beginning_of_its_id(node: Node) -> None:
    node.asking(annotations=ASKED)
    (node.root / "runc/c1").mkdir(parents=True)
    assert node.json("--container", "c")["bundle"] == "@/bundle"
    (node.root / "runc/c2").mkdir()
    result = node.explain("--container", "c")
    assert result.exit_code == 2
    assert result.stderr == (f"pyshimctl: 2 containers below {node.root}/runc begin with 'c'\n")


@pytest.mark.parametrize(
    ("container", "user", "first"),
    [
        ("c9", 0, ""),
        ("noise", 0, ""),
        ("c9", 1000, "run it as root, or "),
    ],
)
def test_no_such_container_is_a_wrong_command_line(
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    container: str,
    user: int,
    first: str,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    result = node.explain("--container", container, "--root", "/nowhere")
    assert result.exit_code == 2
    assert result.stderr == (
        f"pyshimctl: no container '{container}' found (looked in /nowhere)\n"
        f"hint: {first}name the engine's runtime root with --root, or the bundle\n"
    )


@pytest.mark.parametrize("words", [(), ("bundle", "--container", "c1")])
def test_a_bundle_or_a_container(node: Node, words: tuple[str, ...]) -> None:
    result = node.explain(*words)
    assert result.exit_code == 2
    assert "name a BUNDLE, --container NAME, --pod NAME or --last-failure" in result.stderr


def test_edits_that_a_later_device_overrides(node: Node) -> None:
    """And what two devices ask for alike is told once: none of it is in config.json already."""
    node.write(
        "cdi/two.yaml",
        "cdiVersion: 0.6.0\nkind: acme.com/two\ndevices:\n"
        "- {name: a, containerEdits: {env: [ONE=a, BOTH=x]}}\n"
        "- {name: b, containerEdits: {env: [ONE=b, BOTH=x]}}\n",
    )
    bundle = node.asking(annotations=dict.fromkeys(ASKED, "acme.com/two=a,acme.com/two=b"))
    steps = node.json(bundle)["steps"]
    assert [step for step in steps if step.startswith("environment")] == [
        "environment ONE=a: environment ONE=b takes its place",
        "environment ONE=b",
        "environment BOTH=x",
    ]
