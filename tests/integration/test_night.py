"""The faults of a bad night, each provoked, and what pyshim says of it scored by a rule.

2: one of its voices (the engine's error, doctor, explain, the log) names the file or field at fault, the
cause, and a next step whose commands exist; 1: two of these three; 0: less. The table is printed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from ocishim.admin import doctor
from ocishim.admin.checks.finding import Finding
from ocishim.admin.cli import main
from ocishim.admin.explain import containers, states
from ocishim.admin.host import Host
from ocishim.admin.install import ownfiles
from ocishim.settings.defaults import DEFAULTS
from tests.probe import ACME, Box, oci
from tests.unit.admin.faults import FAULTS
from tests.unit.admin.nodes import Tree
from tests.unit.admin.test_doctor_next import HOST, commands, parse

pytestmark = pytest.mark.root

ASKED = {"cdi.k8s.io/x": "acme.com/gpu=0"}
REMARKS = {
    "memfd-noexec",
    "runtime-environment",
    "runtime-readonly",
    "ldconfig-none",
    "nvidia-persistence",
}
"""Findings that are no faults."""
UUID = "c4" * 32


class Fault(NamedTuple):
    """What is wrong, and what of it has to be said: where, why, and what leads out of it.

    Each may be several texts with | between them: one will do.
    """

    name: str
    where: str
    cause: str
    step: str
    make: Callable[[Box], None]


def spec(text: str, kind: str = "acme.com/gpu", version: str = "0.6.0") -> Callable[[Box], None]:
    """The only spec of the node has these lines below its device's containerEdits."""

    def make(box: Box) -> None:
        head = f"cdiVersion: {version}\nkind: {kind}\ndevices:\n- name: '0'\n  containerEdits:\n"
        box.add_spec("acme.json", "").unlink()
        box.add_spec("acme.yaml", f"{head}    {text}\n")

    return make


def bundle(settings: dict[str, Any] | None = None, **members: Any) -> Callable[[Box], None]:
    def make(box: Box) -> None:
        box.bundle(oci(**members))
        if settings:
            box.settings(settings)

    return make


def asks(value: str, key: str = "cdi.k8s.io/x") -> Callable[[Box], None]:
    return bundle(annotations={key: value})


def settings(text: str) -> Callable[[Box], None]:
    def make(box: Box) -> None:
        box.config.write_text(box.config.read_text() + text)

    return make


def file(name: str, text: str) -> Callable[[Box], None]:
    def make(box: Box) -> None:
        box.add_spec(name, text)

    return make


def nothing(box: Box) -> None:
    for path in box.spec_dir.iterdir():
        path.unlink()


def no_dir(box: Box) -> None:
    nothing(box)
    box.spec_dir.rmdir()


def twice(box: Box) -> None:
    box.add_spec("twin.json", ACME)


def no_config(box: Box) -> None:
    (box.folder / "bundle/config.json").unlink()


def torn(box: Box) -> None:
    path = box.folder / "bundle/config.json"
    path.write_bytes(path.read_bytes()[:60])


def env(*names: str) -> dict[str, Any]:
    return {**oci()["process"], "env": [*names]}


def itself(box: Box) -> None:
    (box.folder / "runc").symlink_to(box.pyshim)
    box.settings({"runtimes": [str(box.folder / "runc")]})


def no_runtime(box: Box) -> None:
    box.settings({"runtimes": ["/opt/none/runc"]})


def no_hook_program(box: Box) -> None:
    (box.bin / "pyshim-hook").unlink()


def other(
    annotations: dict[str, str], table: dict[str, Any] | None = None
) -> Callable[[Box], None]:
    return bundle(table, annotations=annotations)


MOUNT = {
    "destination": "/var/run/nvidia-container-devices/0",
    "source": "/dev/null",
    "type": "bind",
}
CREATES = [
    Fault("a device that no spec has", "acme.com/gpu=7", "has no device 7", "pyshimctl cdi list",
        asks("acme.com/gpu=7")),
    Fault("a vendor that no spec has", "acme.org/gpu", "no spec is of vendor", "pyshimctl cdi list",
        asks("acme.org/gpu=0")),
    Fault("no spec at all", "acme.com/gpu=0", "no spec defines any device|no CDI device",
        "generate the vendor's spec, or check cdi.spec_dirs", nothing),
    Fault("no spec dir", "/cdi", "missing|no spec",
        "generate the vendor's spec, or check cdi.spec_dirs", no_dir),
    Fault("a request that is no device name", "annotation 'cdi.k8s.io/x'",
        "invalid CDI device name", "vendor.com/class=name", asks("gpu0")),
    Fault("two requests with a blank", "annotation 'cdi.k8s.io/x'", "invalid", "without blanks",
        asks("acme.com/gpu=0, acme.com/gpu=1")),
    Fault("an annotation that is no text", "annotations[cdi.k8s.io/x]", "expected string", "engine",
        asks(7)),  # type: ignore[arg-type]
    Fault("a tab in a spec", "tab.yaml", "tab|yaml", "correct|validate",
        file("tab.yaml", "cdiVersion: 0.6.0\n\tkind: acme.com/t\n")),
    Fault("a wrong type in a spec", "'devices'", "expected array, found integer",
        "correct 'devices'", file("bad.yaml", "cdiVersion: 0.6.0\nkind: acme.com/x\ndevices: 7\n")),
    Fault("a version that nobody knows", "'cdiVersion'", 'invalid version "9.9.9"', "known are",
        file("bad.yaml", "cdiVersion: 9.9.9\nkind: acme.com/x\ndevices: []\n")),
    Fault("a field of a later version", "bad.yaml", "must be at least", "correct 'cdiVersion'",
        file("bad.yaml",
        "cdiVersion: 0.3.0\nkind: acme.com/x\ndevices:\n- {name: a, containerEdits: {additionalGids: [7]}}\n")),
    Fault("a spec that is not a spec", "bad.json", "did not find expected", "correct|validate",
        file("bad.json", "{")),
    Fault("two specs of one device", "twin.json", "conflict", "rm |remove one", twice),
    Fault("a spec under a name that nobody reads", "other.yml", "is not read", "mv ",
        file("other.yml", "cdiVersion: 0.6.0\n")),
    Fault("a device node that is gone", "/dev/gone", "does not exist|no such file", "generate the",
        spec("deviceNodes: [{path: /dev/gone}]")),
    Fault("a device node that is none", "/etc/passwd", "not a device node", "generate|load|correct",
        spec("deviceNodes: [{path: /etc/passwd}]")),
    Fault("a hook program that is gone", "/opt/gone", "does not exist|is gone", "install",
        spec("hooks: [{hookName: createContainer, path: /opt/gone}]")),
    Fault("a hook program that cannot run", "/etc/passwd", "not an executable file", "install",
        spec("hooks: [{hookName: prestart, path: /etc/passwd}]")),
    Fault("an interface that is gone", "gone0", "is not on this host", "ip link",
        spec("netDevices: [{hostInterfaceName: gone0, name: e0}]", version="1.1.0")),
    Fault("a library that is gone", "/gone.so", "stale",
        "generate the spec again|pyshimctl cdi generate|driver",
        spec("mounts: [{hostPath: /gone.so, containerPath: /a, options: [bind]}]")),
    Fault("a misspelt setting", "hooks.timout", "unknown setting", "did you mean",
        settings("[hooks]\ntimout = 3\n")),
    Fault("a setting of a wrong type", "hooks.timeout", "expected integer", "pyshimctl config",
        settings('[hooks]\ntimeout = "3"\n')),
    Fault("a table that is there twice", "config.toml", "is there twice", "pyshimctl config set",
        settings("[hooks]\n[hooks]\n")),
    Fault("settings that are no TOML", "config.toml", "not valid TOML", "pyshimctl config default",
        settings("= 7\n")),
    Fault("no low-level runtime", "runc", "no low-level runtime|does not exist|not found",
        "runtimes", no_runtime),
    Fault("the low-level runtime is pyshim", "runtimes", "pyshim itself",
        "pyshimctl config set runtimes|write its path", itself),
    Fault("no hook program of ours", "pyshim-hook", "does not exist|is not there", "install",
        no_hook_program),
    Fault("no config.json", "config.json", "does not exist", "--bundle must name", no_config),
    Fault("half a config.json", "config.json", "JSON|expected", "disk full", torn),
    Fault("a variable without a table", "NVIDIA_VISIBLE_DEVICES=all", "no [[requests.env]]",
        "config.toml", bundle(process=env("NVIDIA_VISIBLE_DEVICES=all"))),
    Fault("mounts that ask for nothing", "/var/run/nvidia-container-devices",
        "requests.volume_mounts is off", "config.toml", bundle(mounts=[MOUNT])),
    Fault("an annotation of another prefix", "nvidia.cdi.k8s.io/x", "begins with none of",
        "cdi.annotation_prefixes in /", other({"nvidia.cdi.k8s.io/x": "acme.com/gpu=0"})),
    Fault("a misspelt annotation", "cdi.k8s.oi/x", "begins with none of",
        "cdi.annotation_prefixes in /", other({"cdi.k8s.oi/x": "acme.com/gpu=0"})),
    Fault("a pause container that asks", "annotation 'cdi.k8s.io/x'", "never gets devices",
        "asks for a container", other({**ASKED, "io.kubernetes.cri.container-type": "sandbox"})),
    Fault("an annotation under Podman", "annotation 'cdi.k8s.io/x'",
        "an image's author can write it", "--device vendor/class=name",
        other({**ASKED, "io.container.manager": "libpod"})),
    Fault("an annotation under CRI-O", "annotation 'cdi.k8s.io/x'", "CRI-O injects",
        "CRI-O injects CDI devices itself", other({**ASKED, "io.container.manager": "cri-o",
        "io.kubernetes.cri-o.ContainerType": "container"})),
    Fault("a root that is read-only", "root.readonly", "CDI hooks skipped",
        'hooks.readonly_rootfs = "when-writable" or "overlay"',
        bundle(annotations=ASKED, root={"path": "rootfs", "readonly": True})),
]  # fmt: skip


def docker(box: Box) -> None:
    put(box, f"var/lib/docker/containers/{UUID}/config.v2.json", {"ID": UUID, "Name": "/web"})
    put(box, f"var/lib/docker/containers/{UUID}/hostconfig.json", {"Runtime": "runc"})


def kubernetes(box: Box) -> None:
    folder = f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{UUID}"
    marks = {"sandbox-namespace": "ns", "sandbox-name": "web-0", "container-name": "web"}
    put(
        box,
        f"{folder}/config.json",
        {"annotations": {f"io.kubernetes.cri.{k}": v for k, v in marks.items()}},
    )
    put(box, f"{folder}/options.json", {"systemd_cgroup": True})


def podman(box: Box) -> None:
    put(
        box,
        "proc/77/cmdline",
        f"/usr/bin/conmon\0-c\0{UUID}\0-n\0web\0-r\0/usr/bin/crun\0--exit-dir\0/run/libpod",
    )
    (box.folder / "root/proc/77/root").symlink_to("../..")


def put(box: Box, path: str, value: object) -> None:
    target = box.folder / "root" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(value if isinstance(value, str) else json.dumps(value))


FOREIGN = [
    Fault("docker run without --runtime", "web", "pyshim did not start this container: runc did",
        "docker run --runtime pyshim", docker),
    Fault("a pod without runtimeClassName", "web", "pyshim did not start this container: runc did",
        "runtimeClassName: pyshim", kubernetes),
    Fault("podman run without --runtime", "web",
        "pyshim did not start this container: /usr/bin/crun did", "podman --runtime pyshim run",
        podman),
]  # fmt: skip


def invoke(*words: str) -> str:
    """What pyshimctl says, its mistakes with it."""
    return CliRunner().invoke(main, [*words], catch_exceptions=False).output


@pytest.fixture(name="here")
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Box]:
    """Boxes by number, and pyshimctl asked about the one that was made last."""
    monkeypatch.setattr(states, "STATE_ROOTS", ())
    monkeypatch.setattr(containers, "_OWN_STORES", ())
    monkeypatch.setenv("HOME", "/nonexistent")
    checks = tuple(
        one for one in doctor.CHECKS if one.startswith(("base:", "specs:", "installation:hook"))
    )

    def box(number: int) -> Box:
        (tmp_path / str(number) / "root").mkdir(parents=True)
        made = Box(tmp_path / str(number))
        made.add_spec("acme.json", ACME)
        made.bundle(oci(annotations=ASKED))
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        found = (str(made.pyshim), str(made.bin / "pyshim-hook"))
        monkeypatch.setattr(ownfiles, "programs", lambda: found)
        monkeypatch.setattr(containers, "HOST", Host(str(made.folder / "root")))
        monkeypatch.setattr(doctor, "CHECKS", checks)
        return made

    return box


def voices(box: Box) -> dict[str, str]:
    """Let the create happen; what each of pyshim's voices says of it, a part of it a line."""
    failed = box.call("create", "--bundle", "bundle", "c")
    return {
        "error": failed.err,
        "doctor": invoke("doctor"),
        "explain": invoke("explain", str(box.folder / "bundle")),
        "log": box.log.read_text() if box.log.exists() else "",
    }


def said(text: str, wanted: str) -> bool:
    return any(one in text for one in wanted.split("|"))


def leads(text: str, step: str) -> bool:
    """Whether the step is there, and all commands of ours in the line that has it exist."""
    for line in text.splitlines():
        if said(line, step):
            for words in commands(line):
                if words[:1] == ["pyshimctl"]:
                    parse([word.rstrip(")':.") for word in words[1:]])
            return True
    return False


def score(fault: Fault, told: dict[str, str]) -> tuple[int, str]:
    """The best voice's points, and which it is."""
    points = {
        voice: [said(text, fault.where), said(text, fault.cause), leads(text, fault.step)].count(True)
        for voice, text in told.items()
    }  # fmt: skip
    best = max(points, key=lambda voice: points[voice])
    return max(points[best] - 1, 0), best


PLACE = re.compile(r"(?:^|[\s'(:])/[\w.+-]+(?:/[\w.+:-]*)*")
VALUE = re.compile(r"[/\d'.:_-]")
ACTS = ("pyshimctl", *HOST, "reboot", "nvidia-modprobe")


def points_of(one: Finding) -> int:
    """Score a finding: a file or a setting by its name, a fact beyond what it is called, a step.

    The step is a command of ours that exists, one of the host's, or names the file to edit; one that leads
    back to doctor alone is none.
    """
    told = f"{one.what} {one.evidence}"
    where = PLACE.search(told) or any(key in told.replace("'", "") for key in DEFAULTS)
    cause = one.why and one.evidence != one.what and VALUE.search(one.evidence)
    for words in commands(one.next_step):
        if words[0] == "pyshimctl":
            parse(words[1:])
    acts = any(re.search(rf"(?<![\w-]){word}(?![\w-])", one.next_step) for word in ACTS)
    circle = one.next_step.startswith("pyshimctl doctor") and "--fix" not in one.next_step
    step = (acts or PLACE.search(one.next_step)) and not circle
    return max([bool(where), bool(cause), bool(step)].count(True) - 1, 0)


def finding(tree: Tree, name: str) -> tuple[int, str]:
    """Score what the doctor says of one fault; it must say it once."""
    found = [one for one in doctor.examine(FAULTS[name](tree)) if one.name == name]
    return (points_of(found[0]) if len(found) == 1 else 0), "doctor"


def test_the_night(
    here: Callable[[int], Box], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    rows: list[tuple[int, str, str]] = []
    number = 0
    for fault in CREATES:
        number += 1
        box = here(number)
        fault.make(box)
        rows.append((*score(fault, voices(box)), fault.name))
    for fault in FOREIGN:
        number += 1
        box = here(number)
        fault.make(box)
        rows.append(
            (
                *score(fault, {"explain": "web\n" + invoke("explain", "--container", "web")}),
                fault.name,
            )
        )
    monkeypatch.undo()
    monkeypatch.setenv("PYSHIM_CACHE_DIR", "/run/pyshim")
    monkeypatch.setattr(Host, "run", by_hand)
    for name in sorted(set(FAULTS) - REMARKS):
        tree = tmp_path / "trees" / name
        tree.mkdir(parents=True)
        rows.append((*finding(Tree(tree), name), name))
    with capsys.disabled():
        print()
        for points, voice, name in rows:
            print(f"{points}  {voice:8} {name}")
        twos = [points for points, _, _ in rows].count(2)
        print(f"{len(rows)} faults: {twos} with 2")
    assert len(rows) >= 83
    assert [name for points, _, name in rows if points < 2] == []


def by_hand(self: Host, *argv: str) -> object:
    """Run a script of a tree without entering the tree, which holds no shell."""
    import subprocess  # noqa: PLC0415 - as the fixture tree has it

    return subprocess.run(
        [self.real(argv[0]), *argv[1:]], capture_output=True, encoding="utf-8", errors="replace", check=False
    )  # fmt: skip


@pytest.mark.parametrize(("told", "points"), [
    ("field x is wrong: mend it",
        2),  ("x is wrong", 1), ("field x", 0), ("", 0), ("wrong; mend it", 1),
])  # fmt: skip
def test_the_rule(told: str, points: int) -> None:
    fault = Fault("", "x", "wrong", "mend it", lambda _box: None)
    assert score(fault, {"error": told})[0] == points


def test_a_step_that_no_command_has_is_none() -> None:
    fault = Fault("", "x", "wrong", "pyshimctl", lambda _box: None)
    with pytest.raises(Exception, match=r"nowhere|No such|None"):
        score(fault, {"error": "x is wrong: run 'pyshimctl nowhere'"})


@pytest.mark.parametrize(("evidence", "step", "points"), [
    pytest.param("/etc/x: a is '7'", "chmod o-w /etc/x", 2, id="all of it"),
    pytest.param("log.file is not set", "pyshimctl config set log.file=/x", 2, id="a setting"),
    pytest.param("a is '7'", "chmod o-w /etc/x", 1, id="no file"),
    pytest.param("/etc/x: a is '7'", "boot a newer kernel", 1, id="nothing to do"),
    pytest.param("/etc/x: a is '7'", "pyshimctl doctor", 1, id="a circle"),
    pytest.param("it fails", "boot a newer kernel", 0, id="nothing said"),
    pytest.param("it fails", "correct it in /etc/x", 0, id="a step alone"),
])  # fmt: skip
def test_the_rule_of_findings(evidence: str, step: str, points: int) -> None:
    one = Finding("x", "error", "it does not work", evidence=evidence, why="so", next_step=step)
    assert points_of(one) == points
