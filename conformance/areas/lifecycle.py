"""Operations and states of a container's life, as the runtime specification has them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kit.case import SPEC, area, check, equal

if TYPE_CHECKING:
    from kit.lab import Lab

case = area("lifecycle")
STATE = SPEC + "runtime.md State"


def _created(lab: Lab) -> None:
    lab.creates(lab.bundle("sleep 30", annotations={"org.example.key": "value"}))


def _running(lab: Lab) -> None:
    _created(lab)
    lab.starts()


def _stopped(lab: Lab) -> None:
    lab.creates(lab.bundle("true", annotations={"org.example.key": "value"}))
    lab.starts()
    lab.wait_for("stopped")


STATES = {"created": _created, "running": _running, "stopped": _stopped}
PROPERTIES = {
    "id": lambda lab, state: equal(state["id"], lab.id, "id"),
    "status": None,
    "bundle": lambda lab, state: equal(state["bundle"], f"{lab.dir}/bundle", "bundle"),
    "ociVersion": lambda _, state: check(state["ociVersion"][0] == "1", state),
    "annotations": lambda _, state: equal(
        state["annotations"]["org.example.key"], "value", "annotation"
    ),
    "pid": lambda _, state: check(isinstance(state["pid"], int), state),
}


@case(
    "state",
    "This operation MUST return the state of a container as specified in the State section.",
    SPEC + "runtime.md Query State",
    {f"{name} {status}": (name, status) for status in STATES for name in PROPERTIES},
)
def state(lab: Lab, what: tuple[str, str]) -> None:
    name, status = what
    STATES[status](lab)
    seen = lab.state()
    verify = PROPERTIES[name]
    if verify is None:
        equal(seen["status"], status, "status")
    else:
        verify(lab, seen)


@case(
    "pid",
    "pid is the ID of the container process",
    STATE,
    {"created": _created, "running": _running},
)
def pid(lab: Lab, prepare: object) -> None:
    prepare(lab)  # type: ignore[operator]
    number = lab.state()["pid"]
    check(os.path.exists(f"/proc/{number}"), f"no process {number}")
    same = os.readlink(f"/proc/{number}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    check(not same, "the process is in the runtime namespace")


@case(
    "error",
    "Attempting to query a container that does not exist MUST generate an error.",
    SPEC + "runtime.md Operations",
    {
        "state": ["state", "nobody"],
        "start": ["start", "nobody"],
        "kill": ["kill", "nobody", "TERM"],
        "delete": ["delete", "nobody"],
        "state of none": ["state"],
        "start of none": ["start"],
        "delete of none": ["delete"],
    },
)
def missing(lab: Lab, args: list[str]) -> None:
    done = lab.call(*args)
    check(done.status != 0, f"{args}: exit status 0")
    check(done.err.strip(), f"{args}: nothing said")


@case(
    "id-twice",
    "If the ID provided is not unique across all containers within the scope of the "
    "runtime ... the implementation MUST generate an error and a new container MUST NOT be "
    "created.",
    SPEC + "runtime.md Create",
    {name: name for name in STATES},
)
def twice(lab: Lab, status: str) -> None:
    STATES[status](lab)
    other = lab.bundle("sleep 30", name="other")
    check(lab.create(other).status != 0, "a second container of this ID")
    equal(lab.state()["status"], status, "status of the first")
    equal(lab.state()["bundle"], f"{lab.dir}/bundle", "bundle of the first")


@case(
    "id-invalid",
    "is not valid in any other way, the implementation MUST generate an error",
    SPEC + "runtime.md Create",
    {"empty": "", "slash": "a/b", "up": ".."},
)
def invalid(lab: Lab, name: str) -> None:
    lab.id = name
    check(lab.create(lab.bundle()).status != 0, f"a container {name!r}")


@case(
    "start-again",
    "Attempting to `start` a container that is not `created` MUST have no effect "
    "on the container and MUST generate an error.",
    SPEC + "runtime.md Start",
    {name: STATES[name] for name in ("running", "stopped")},
)
def start_again(lab: Lab, prepare: object) -> None:
    prepare(lab)  # type: ignore[operator]
    before = lab.state()["status"]
    check(lab.call("start", lab.id).status != 0, "exit status 0")
    equal(lab.state()["status"], before, "status")


@case(
    "kill-stopped",
    "Attempting to send a signal to a container that is neither `created` nor "
    "`running` MUST have no effect on the container and MUST generate an error.",
    SPEC + "runtime.md Kill",
    {name: name for name in ("TERM", "KILL")},
)
def kill_stopped(lab: Lab, name: str) -> None:
    _stopped(lab)
    check(lab.call("kill", lab.id, name).status != 0, "exit status 0")


@case(
    "delete-running",
    "Attempting to `delete` a container that is not `stopped` MUST have no "
    "effect on the container and MUST generate an error.",
    SPEC + "runtime.md Delete",
)
def delete_running(lab: Lab) -> None:
    _running(lab)
    check(lab.call("delete", lab.id).status != 0, "exit status 0")
    equal(lab.state()["status"], "running", "status")


@case(
    "delete",
    "Deleting a container MUST delete the resources that were created during the `create` step.",
    SPEC + "runtime.md Delete",
    {
        "stopped": (_stopped, []),
        "running, by force": (_running, ["--force"]),
        "created, by force": (_created, ["--force"]),
    },
)
def delete(lab: Lab, what: tuple[object, list[str]]) -> None:
    what[0](lab)  # type: ignore[operator]
    before = lab.read("/proc/self/mounts")
    equal(lab.call("delete", *what[1], lab.id).status, 0, "exit status")
    lab.gone()
    check(len(lab.read("/proc/self/mounts")) <= len(before), "a mount is left")


@case(
    "id-reused",
    "Once a container is deleted its ID MAY be used by a subsequent container.",
    SPEC + "runtime.md Delete",
)
def reused(lab: Lab) -> None:
    _stopped(lab)
    equal(lab.call("delete", lab.id).status, 0, "delete's exit status")
    equal(lab.runs(lab.bundle("echo again", name="again")).out, "again\n", "stdout")


@case(
    "not-before-start",
    "`process.args` MUST NOT be applied until triggered by the `start` operation.",
    SPEC + "runtime.md Create",
)
def not_before_start(lab: Lab) -> None:
    bundle = lab.bundle("touch /ran; sleep 30")
    lab.creates(bundle)
    check(not os.path.exists(f"{bundle.rootfs}/ran"), "it ran at create")
    lab.starts()
    lab.until(lambda: os.path.exists(f"{bundle.rootfs}/ran"), "it runs at start")


@case(
    "config-later",
    "Any updates to `config.json` after this step MUST NOT affect the container.",
    SPEC + "runtime.md Lifecycle",
    {"emptied": "", "another": "{}", "gone": None},
)
def config_later(lab: Lab, text: str | None) -> None:
    bundle = lab.bundle("echo first > /said")
    lab.creates(bundle)
    os.unlink(bundle.config)
    if text is not None:
        with open(bundle.config, "w", encoding="utf-8") as file:
            file.write(text)
    lab.starts()
    lab.wait_for("stopped")
    equal(lab.read(f"{bundle.rootfs}/said"), "first\n", "what the container said")
