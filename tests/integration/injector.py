"""One system call of a create fails, as strace(1) makes it: which calls there are, and what follows.

Calls are numbered within each process. Those before a process touches a file of the test are the
shell's, the dynamic linker's and Python's own: their failures are not told here.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from tools.lab.runtime import Result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LINE = re.compile(r"(\d+) +(<\.\.\. )?(\w+)(?:\(| resumed>)(.*)")


class Injector:
    """Runs the command `argv`; `own` is the folder whose files are pyshim's business."""

    def __init__(self, argv: list[str], environment: dict[str, str], own: Path) -> None:
        self._argv = argv
        self._environment = environment
        self._own = f'"{own}'
        self._log = own / "strace.log"

    def points(self, call: str, most: int) -> list[int]:
        """Which invocations of `call` to let fail: at most `most`, spread over what there is."""
        self._strace(call)
        counts: dict[str, int] = {}
        found = set()
        for pid, name, ours, _ in self._lines():
            if name == call:
                counts[pid] = counts.get(pid, 0) + 1
                if ours:
                    found.add(counts[pid])
        numbers = sorted(found)
        step = max(len(numbers) / most, 1)
        return [numbers[int(index * step)] for index in range(min(most, len(numbers)))]

    def fail(self, call: str, error: str, number: int) -> Result | None:
        """Run with the `number`th `call` of each process failing; None if one was not ours."""
        result = self._strace(call, f"inject={call}:error={error}:when={number}")
        injected = [ours for _, _, ours, line in self._lines() if line.endswith("(INJECTED)")]
        assert injected, f"{call} {number} was not reached"
        return result if all(injected) else None

    def became(self, program: str) -> bool:
        """Whether a process of the last run became `program`, and not to ask for its version."""
        calls = [line for _, name, _, line in self._lines() if name == "execve"]
        started = [line for line in calls if line.startswith(f'"{program}"')]
        return any(line.endswith(" = 0") and '"--version"]' not in line for line in started)

    def _strace(self, call: str, inject: str = "trace=none") -> Result:
        options = ["-f", "--seccomp-bpf", "-e", f"trace=execve,openat,{call}", "-o", str(self._log)]
        if inject != "trace=none":
            options += ["-e", inject]
        done = subprocess.run(
            ["strace", *options, *self._argv],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def _lines(self) -> Iterator[tuple[str, str, bool, str]]:
        """Process, call, whether pyshim itself is at work there, and the rest of the line."""
        started: dict[str, bool] = {}
        for text in self._log.read_text(errors="replace").splitlines():
            match = _LINE.match(text)
            if match is None:
                continue
            pid, resumed, name, rest = match.groups()
            if resumed:
                name = f"resumed {name}"
            elif name == "execve":
                started[pid] = False
            elif self._own in rest:
                started[pid] = True
            # A process that became no program is a copy of one that was at work.
            yield pid, name, started.get(pid, True), rest
