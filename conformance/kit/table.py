"""The scoreboard's text, from the JSON of run.py. Leaves measuring to scoreboard.py."""

from __future__ import annotations

from typing import Any

HEAD = """# Scoreboard

Written by `make scoreboard`. A cell counts the cases that pass, of those that apply (skipped ones
do not). `pyshim/X` is pyshim before X, `pyshim-overlay` with `hooks.readonly_rootfs = "overlay"`;
`nvidia/runc` is nvidia-container-runtime.cdi 1.20.0 before runc. Bare runtimes and NVIDIA's run
nvidia-cdi-hook 1.20.0 as their CDI hook. A bare runtime knows no CDI: cdi, cdi-files, injection,
errors and kubernetes ask it for what it never promised. `podman` and `containerd` are the CDI of
these engines, called by adapters. Device cgroups are left out under crun and runsc, which were told
to leave cgroups alone. youki and NVIDIA's are asked by create and start alone (`--by-create`).

"""
BRIEF = "One case of each kind was asked (`--brief`).\n\n"


def table(results: list[dict[str, Any]]) -> str:
    """Return Markdown: areas by runtimes, versions, and where somebody is better than pyshim."""
    areas = list(dict.fromkeys(case["area"] for each in results for case in each["cases"]))
    lines = [_row("area", *(each["name"] for each in results)), "|---|" + "---:|" * len(results)]
    lines += [_row(area, *(_cell(each, area) for each in results)) for area in areas]
    lines += [_row("version", *(each["version"] for each in results))]
    brief = all(len(set(map(_kind, each["cases"]))) == len(each["cases"]) for each in results)
    head = HEAD + BRIEF if brief else HEAD
    return head + "\n".join(lines) + "\n" + _better(results) + _failures(results)


def _kind(case: dict[str, Any]) -> str:
    return f"{case['area']}/{case['name'].partition('[')[0]}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(each: dict[str, Any], area: str) -> str:
    outcomes = [case["outcome"] for case in each["cases"] if case["area"] == area]
    counted = [outcome for outcome in outcomes if outcome != "skip"]
    return f"{counted.count('pass')} of {len(counted)}" if counted else "-"


def _outcomes(each: dict[str, Any]) -> dict[str, str]:
    return {f"{case['area']}/{case['name']}": case["outcome"] for case in each["cases"]}


def _better(results: list[dict[str, Any]]) -> str:
    """Name what another one passes and pyshim before the same low-level runtime does not."""
    lines = ["", "## Where another one is better than pyshim", ""]
    by_name = {each["name"]: each for each in results}
    for name, each in by_name.items():
        if name.startswith("pyshim"):
            continue
        ours = by_name.get(f"pyshim/{name.rpartition('/')[2]}", by_name.get("pyshim/runc"))
        theirs, mine = _outcomes(each), _outcomes(ours) if ours else {}
        paths = [
            path
            for path, outcome in theirs.items()
            if outcome == "pass" and mine.get(path) == "fail"
        ]
        text = ", ".join(f"`{path}`" for path in paths) or "nowhere"
        lines.append(f"- {name}, beside {ours['name'] if ours else 'none'}: {text}.")
    return "\n".join(lines) + "\n"


def _failures(results: list[dict[str, Any]]) -> str:
    """Name what pyshim fails, with the written reason if there is one."""
    lines = ["", "## What pyshim fails", ""]
    for each in (each for each in results if each["name"].startswith("pyshim")):
        reasons: dict[str, list[str]] = {}
        for case in each["cases"]:
            if case["outcome"] == "fail":
                reasons.setdefault(case["expected"] or "no reason is known", []).append(
                    f"`{case['area']}/{case['name']}`"
                )
        lines.append(f"- {each['name']}: " + ("nothing." if not reasons else ""))
        lines += [f"  - {reason}: {', '.join(paths)}." for reason, paths in reasons.items()]
    return "\n".join(line.rstrip() for line in lines) + "\n"
