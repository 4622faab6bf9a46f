"""Wrong with a container's life: states, and operations at the wrong time."""

from __future__ import annotations

import json
import os

from mutants.call import Call, mutant


@mutant("lifecycle/state[status created]", "lifecycle/state[annotations running]")
def state_is_another(call: Call) -> int | None:
    if call.command != "state":
        return None
    done = call.ask(*call.args[call.at :])
    if done.returncode == 0:
        state = json.loads(done.stdout)
        state["annotations"] = {}
        state["status"] = {"created": "running"}.get(state["status"], state["status"])
        print(json.dumps(state))
    return done.returncode


@mutant("lifecycle/pid[created]")
def pid_is_its_own(call: Call) -> int | None:
    if call.command != "state":
        return None
    done = call.ask(*call.args[call.at :])
    if done.returncode == 0:
        print(json.dumps({**json.loads(done.stdout), "pid": os.getppid()}))
    return done.returncode


@mutant("lifecycle/error[delete]", "errors/does-not-exist[delete]", seen=("errors",))
def delete_of_nothing(call: Call) -> int | None:
    if call.command == "delete" and call.ask("state", call.args[-1]).returncode != 0:
        return 0
    return None


@mutant("lifecycle/id-twice[running]")
def id_taken_over(call: Call) -> None:
    if call.command == "create":
        call.ask("delete", "--force", call.args[-1])


@mutant("lifecycle/id-invalid[slash]")
def id_made_valid(call: Call) -> None:
    if call.command == "create":
        call.args[-1] = call.args[-1].replace("/", "_")


@mutant("lifecycle/start-again[running]")
def start_never_fails(call: Call) -> int | None:
    if call.command == "start":
        call.run()
        return 0
    return None


@mutant("lifecycle/kill-stopped[KILL]", "errors/not-running[kill]", seen=("errors",))
def kill_never_fails(call: Call) -> int | None:
    if call.command == "kill":
        call.ask(*call.args[call.at :])
        return 0
    return None


@mutant("lifecycle/delete-running")
def delete_by_force(call: Call) -> None:
    if call.command == "delete" and "--force" not in call.args:
        call.args.insert(call.at + 1, "--force")


@mutant("lifecycle/delete[stopped]", "lifecycle/id-reused")
def delete_forgets(call: Call) -> int | None:
    return 0 if call.command == "delete" and "--force" not in call.args else None


@mutant("lifecycle/not-before-start", seen=("hooks",))
def create_starts(call: Call) -> int | None:
    if call.command == "start":
        done = call.ask("state", call.args[-1])
        return 0 if done.returncode == 0 and '"running"' in done.stdout else None
    if call.command != "create":
        return None
    return call.run() or call.ask("start", call.args[-1]).returncode


@mutant("lifecycle/config-later[emptied]", "lifecycle/config-later[gone]")
def config_read_again(call: Call) -> int | None:
    if call.command != "start":
        return None
    done = call.ask("state", call.args[-1])
    if done.returncode == 0:
        path = json.loads(done.stdout)["bundle"] + "/config.json"
        if not os.path.exists(path):
            return 1
        with open(path, encoding="utf-8") as file:
            try:
                json.load(file)
            except ValueError:
                return 1
    return None
