"""Two makers of inputs: atheris, where it is installed, which watches what is reached; hypothesis.

Both stop at the first input on which a target raises, takes too long or too much memory, leave that
input in a file and end with a status other than 0.
"""

from __future__ import annotations

import importlib
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

LONGEST = 4096
"""Bytes of an input."""

SECONDS = 5
"""Of the processor, for one input: the slowest take 0.1."""

MEMORY = 1 << 30

Target = Callable[[bytes], None]


def checked(target: Target, data: bytes) -> None:
    """Run `target` on `data`; AssertionError when it takes too long."""
    begun = time.process_time()
    target(data)
    taken = time.process_time() - begun
    assert taken < SECONDS, f"{taken:.1f} seconds"


def inputs(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Anything, and seeds with parts cut out, repeated, or replaced by bytes of other seeds."""
    pieces = st.binary(max_size=8) | st.sampled_from(seeds)

    def changed(seed: bytes, places: list[tuple[float, int, bytes]]) -> bytes:
        for share, length, piece in places:
            at = int(share * len(seed))
            seed = seed[:at] + piece + seed[at + length :]
        return seed[:LONGEST]

    place = st.tuples(st.floats(0, 1), st.integers(0, 8), pieces)
    edited = st.builds(changed, st.sampled_from(seeds), st.lists(place, max_size=4))
    return st.binary(max_size=64) | edited


def by_hypothesis(target: Target, seeds: list[bytes], runs: int) -> None:
    """Run `target` on the seeds and on `runs` inputs made of them."""
    for seed in seeds:
        checked(target, seed)

    @settings(
        max_examples=runs,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(seeds))
    def run(data: bytes) -> None:
        checked(target, data)

    run()


def limit_memory() -> None:
    """Have what takes more than MEMORY beyond the interpreter's own end in MemoryError."""
    resource.setrlimit(resource.RLIMIT_AS, (4 * MEMORY, resource.RLIM_INFINITY))


def fuzz(name: str, seconds: float, folder: str) -> int:
    """Fuzz the target `name`; return how many inputs were run. `folder` keeps what was found."""
    atheris = _atheris()
    if atheris is None:
        return _fuzz_by_hypothesis(name, seconds)
    with atheris.instrument_imports(include=["ocishim"]):
        targets = importlib.import_module("tests.fuzz.targets")
    seeds = importlib.import_module("tests.fuzz.seeds").SEEDS[name]
    corpus = f"{folder}/{name}"
    os.makedirs(corpus, exist_ok=True)
    for number, seed in enumerate(seeds):
        with open(f"{corpus}/seed-{number}", "wb") as file:
            file.write(seed)
    words = [
        name, corpus, f"-max_total_time={int(seconds)}", f"-max_len={LONGEST}", "-verbosity=1",
        f"-timeout={SECONDS * 4}", f"-rss_limit_mb={MEMORY >> 20}", "-print_final_stats=1",
        f"-artifact_prefix={folder}/{name}-",
    ]  # fmt: skip
    target = targets.TARGETS[name]
    atheris.Setup(words, lambda data: checked(target, data))
    atheris.Fuzz()  # ends the process
    return 0


def _atheris() -> Any:
    try:
        return importlib.import_module("atheris")
    except ImportError:
        return None


def _fuzz_by_hypothesis(name: str, seconds: float) -> int:
    from tests.fuzz.seeds import SEEDS  # noqa: PLC0415 - atheris has to be there first
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415

    limit_memory()
    runs, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        by_hypothesis(TARGETS[name], SEEDS[name], 500)
        runs += 500
    print(f"{runs} inputs by hypothesis", file=sys.stderr)
    return runs
