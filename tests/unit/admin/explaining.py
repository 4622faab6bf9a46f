"""A node for `pyshimctl explain`: one CDI spec, a runtime that only answers questions, bundles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ocishim.admin.explain import containers, states
from ocishim.admin.host import Host
from ocishim.admin.install import ownfiles
from tests.unit.admin.noderoot import NodeRoot

SPEC = """cdiVersion: 0.6.0
kind: acme.com/demo
devices:
- name: "0"
  containerEdits:
    deviceNodes: [{path: /dev/acme0, hostPath: /dev/null, type: c, major: 1, minor: 3}]
    env: [ACME=zero]
    hooks:
    - hookName: createContainer
      path: /usr/bin/nvidia-ctk
      args: [nvidia-ctk, hook, create-symlinks, --link, a::/usr/lib/b]
"""
# Answers what explain asks a low-level runtime: its version, and the state of the container c1.
RUNC = """\
case "$*" in
--version) echo 'runc version 1.1.5' ;;
"state c1" | "--root @/runc state c1") echo '{"id": "c1", "bundle": "@/bundle"}' ;;
"--root /nowhere state noise") echo 'not JSON' ;;
*) exit 1 ;;
esac
"""
MOUNTS = "/var/run/nvidia-container-devices"
ASKED = {"cdi.k8s.io/test": "acme.com/demo=0"}

TOLD = [
    "annotation 'cdi.k8s.io/test' asks for acme.com/demo=0",
    "device acme.com/demo=0 is defined in @/cdi/acme.yaml",
    "environment ACME=zero",
    "device node /dev/acme0 (c 1:3, 0666)",
    "cgroup rule allow c 1:3 rwm",
    "createContainer hook /usr/bin/nvidia-ctk hook create-symlinks --link a::/usr/lib/b",
    "createContainer hooks run by the runtime: runc 1.1.5 runs createContainer hooks",
    "hook create-symlinks --link a::/usr/lib/b",
]


class Node(NodeRoot):
    """A node with one CDI spec, a runtime that only answers questions, and a bundle."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(root)
        self.write("cdi/acme.yaml", SPEC)
        self.program("runc.sh", RUNC.replace("@", str(root)))
        self.program("pyshim-hook")
        self.configure()
        self.be_ours(monkeypatch)
        found = (str(root / "pyshim"), str(root / "pyshim-hook"))
        monkeypatch.setattr(ownfiles, "programs", lambda: found)
        monkeypatch.setattr(states, "STATE_ROOTS", (str(root / "run*"),))
        monkeypatch.setattr(containers, "HOST", Host(str(root)))
        monkeypatch.setattr(containers, "_OWN_STORES", ())
        monkeypatch.setenv("HOME", str(root / "home"))

    def configure(self, *lines: str) -> None:
        runtimes = f'runtimes = ["{self.root}/runc.sh"]'
        self.settings(runtimes, *lines, spec_dirs=[f"{self.root}/cdi"])

    def asking(self, name: str = "bundle", **members: object) -> str:
        """A bundle with these members of config.json; its path."""
        return self.bundle({"ociVersion": "1.0.2", "root": {"path": "rootfs"}, **members}, name)

    def explain(self, *words: str) -> Result:
        return self.run("explain", *words)

    def lines(self, *words: str) -> list[str]:
        return self.shown(self.explain(*words).stdout).splitlines()

    def what_if(self, *words: str) -> list[str]:
        result = self.run("what-if", *words)
        return self.shown(result.stdout).splitlines()

    def json_of_pod(self, name: str) -> list[dict[str, Any]]:
        stories: list[dict[str, Any]] = json.loads(self.explain("--json", "--pod", name).stdout)[
            "containers"
        ]
        return stories

    def json(self, *words: str) -> dict[str, Any]:
        text = self.shown(self.explain("--json", *words).stdout)
        story: dict[str, Any] = json.loads(text)
        assert (story.pop("schema"), story.pop("schema_version")) == ("pyshim/explain", 1)
        return story
