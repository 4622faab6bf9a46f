"""Fuzzes for a time: `make fuzz MINUTES=n`.

    python -m tests.fuzz [--seconds S] [--folder DIR] [--jobs N] [TARGET...]

Each target is a process, and N of them run at a time, S seconds each. What was found is left in DIR
(build/fuzz): the corpus, which the next run begins with, and the inputs that failed.
Exit status: 1 when a target failed; its last lines say how.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor


def main() -> int:
    """Run the targets named, else all; return the exit status."""
    from tests.fuzz.seeds import SEEDS  # noqa: PLC0415 - a target's own process has atheris first

    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(SEEDS))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--folder", default="build/fuzz")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    chosen = parser.parse_args()
    with ThreadPoolExecutor(chosen.jobs) as pool:
        done = pool.map(
            lambda name: _run(name, chosen.seconds, chosen.folder), chosen.targets or list(SEEDS)
        )
        return 0 if all(done) else 1


def _run(name: str, seconds: float, folder: str) -> bool:
    """Fuzz one target in a process of its own; say how it went."""
    code = (
        "import sys; from tests.fuzz import engines;"
        " engines.fuzz(sys.argv[1], float(sys.argv[2]), sys.argv[3])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, name, str(seconds), folder],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    said = (done.stdout + done.stderr).splitlines()
    if done.returncode:
        words = [line for line in said if not line.startswith(("#", "INFO:", "WARNING:"))]
        print(f"{name}: failed", *words[-60:], sep="\n", flush=True)
    else:
        print(
            name,
            *[line for line in said if "executed_units" in line or "inputs by" in line],
            flush=True,
        )
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
