"""What engines of many versions hand over (tests/data/engines), through the whole of create.

Recorded by tests/integration/handovers.py, CRI-O's elsewhere: a new file wants a row here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ocishim.cache import Cache
from ocishim.create import argv, requests
from ocishim.oci.hookchanges import unguarded
from ocishim.settings import config, defaults
from tests.probe import Box
from tests.unit.test_contract_bundle import is_extension

ENGINES = Path(__file__).parents[1] / "data/engines"
DEVICE = "acme.com/demo=0"
SPEC = {
    "cdiVersion": "0.6.0",
    "devices": [
        {
            "name": "0",
            "containerEdits": {
                "env": ["ACME_DEMO=0"],
                "deviceNodes": [{"path": "/dev/acme-demo", "hostPath": "/dev/null"}],
                "hooks": [
                    {"hookName": "createContainer", "path": "/bin/true", "args": ["acme", "a"]},
                    {"hookName": "createRuntime", "path": "/bin/true", "args": ["acme", "b"]},
                ],
            },
        }
    ],
}
OLD = "acme.com/device=0"
SANDBOX = (
    "a sandbox (pause) container never gets devices: annotation 'cdi.k8s.io/mine' is the pod's, and"
    " a device plugin or the CRI's client asks for a container"
)
VARIABLE = ["environment TEST_VISIBLE_DEVICES=0: no [[requests.env]] in /c.toml names it"]
CRIO = ["annotation 'cdi.k8s.io/plugin_1': CRI-O injects CDI devices itself"]
PODMAN = (
    "annotation 'cdi.k8s.io/{}': under Podman an image's author can write it; ask by --device"
    " vendor/class=name (or set requests.podman_annotations = true)"
)

# file: the devices that create gives it, and which requests it does not honour
ROWS: dict[str, tuple[list[str], list[str]]] = {
    "buildah-1.39.3": ([], []),
    "buildah-1.43.2": ([], []),
    "buildkit-26.1.5": ([], []),
    "buildkit-28.5.2": ([], []),
    "containerd": ([OLD], []),
    "containerd-1.6.20": ([DEVICE], []),
    "containerd-1.7.24": ([DEVICE], []),
    "containerd-2.1.9": ([DEVICE], []),
    "containerd-2.4.2": ([DEVICE], []),
    "cri-1.6.20": ([DEVICE], []),
    "cri-1.6.20.pause": ([], []),
    "cri-1.7.24": ([DEVICE], []),
    "cri-1.7.24.pause": ([], []),
    "cri-2.4.2": ([DEVICE], []),
    "cri-2.4.2.pause": ([], []),
    "crio": ([], CRIO),
    "crio.pause": ([], [SANDBOX]),
    "docker": ([], []),
    "docker-20.10.24": ([], VARIABLE),  # which has no --annotation
    "docker-26.1.5": ([DEVICE], []),
    "docker-28.5.2": ([DEVICE], []),
    "podman": ([], [PODMAN.format("example")]),
    "podman-4.3.1": ([], [PODMAN.format("test")]),
    "podman-5.4.2": ([], [PODMAN.format("test")]),
    "podman-5.8.6": ([], [PODMAN.format("test")]),
}


def handed_over(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ENGINES / f"{name}.config.json").read_text())
    return found


def test_every_hand_over_has_a_row() -> None:
    files = {path.name.removesuffix(".config.json") for path in ENGINES.glob("*.config.json")}
    assert files == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_who_gets_what(name: str) -> None:
    settings = config.Config(defaults.DEFAULTS, "/c.toml", Cache("/dev/null/nowhere"))
    found = requests.gather(handed_over(name), settings)
    asked, refused = ROWS[name]
    assert (found.names, found.ignored) == (asked, refused)


@pytest.mark.parametrize("name", ROWS)
def test_create(name: str, tmp_path: Path) -> None:
    """Nothing is lost, nothing doubled, no hook is without an environment."""
    box = Box(tmp_path)
    for kind in (DEVICE, OLD):
        box.add_spec(f"{len(kind)}.json", {**SPEC, "kind": kind.partition("=")[0]})
    spec = handed_over(name)
    spec["root"]["path"] = "rootfs"
    path = box.bundle(spec)
    asked = bool(ROWS[name][0])
    for _ in range(2):
        done = box.call("create", "--bundle", str(path), "c")
        assert done.status == 0, done
        made = json.loads((path / "config.json").read_text())
        hooks = made.pop("hooks", {})
        is_extension({key: value for key, value in spec.items() if key != "hooks"}, made)
        assert made["process"].get("env", []).count("ACME_DEMO=0") == asked
        nodes = [node["path"] for node in made["linux"].get("devices") or ()]
        assert nodes.count("/dev/acme-demo") == asked
        calls = [hook for stage in hooks.values() for hook in stage if "acme" in hook["args"]]
        assert len(calls) == 2 * asked
        for stage in ("createContainer", "startContainer"):
            assert all("env" in hook for hook in hooks.get(stage) or ())
        for stage, before in (spec.get("hooks") or {}).items():
            kept = [unguarded(hook) for hook in hooks[stage] if "acme" not in hook["args"]]
            assert [hook["path"] for hook in kept] == [hook["path"] for hook in before]


@pytest.mark.parametrize("path", sorted(ENGINES.glob("*.calls")), ids=lambda path: path.stem)
def test_calls(path: Path) -> None:
    """Each is understood: what creates reads its bundle, what does not is passed through."""
    for line in path.read_text().splitlines():
        words = line.split()
        found = argv.parse(words)
        plain = [word for word in words if word in argv.COMMANDS]
        assert found.command == (plain[0] if plain else ""), line
        assert found.edits == (found.command in ("create", "run")), line
        named = words[words.index("--bundle") + 1] if "--bundle" in words else ""
        assert found.edits == bool(named), line
        assert not found.edits or (found.bundle, found.container_id) == (named, words[-1]), line
