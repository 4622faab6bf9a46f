"""The rows of the table of goals: what is compared, how often, and the goal."""

from __future__ import annotations

from bench import creates, hookprograms, registry
from bench.case import Case, Row
from bench.memory import memory

CASES = {
    **{
        words[0]: Case(
            lambda place, words=words: creates.pass_through(  # type: ignore[misc]
                place,
                *words,
            ),
            200,
            (Row(words[0], f"{words[0]} (pass-through)", 0.15),),
        )
        for words in (
            ("state", "nobody"),
            ("start", "nobody"),
            ("kill", "nobody", "9"),
            ("delete", "nobody"),
        )
    },
    "create": Case(
        creates.create,
        120,
        (
            Row("create", "create, DGX A100, all, six hooks", 0.4),
            Row("cpu", "user+system CPU of that create", 0.45, "cpu"),
        ),
    ),
    "life": Case(creates.life, 60, (Row("life", "create, start, wait, delete", 0.4),)),
    "claims-56": Case(
        lambda place: creates.with_claims(place, 56),
        40,
        (Row("claims-56", "create, 56 claim specs", 0.1),),
    ),
    "claims-1000": Case(
        lambda place: creates.with_claims(place, 1000),
        21,
        (Row("claims-1000", "create, 1,000 claim specs", 0.008),),
    ),
    **{
        f"parallel-{count}": Case(
            lambda place, count=count: creates.parallel(place, count),  # type: ignore[misc]
            5,
            (Row(f"parallel-{count}", f"{count} creates at the same time", 0.45),),
        )
        for count in (16, 64)
    },
    "chain": Case(hookprograms.chain, 100, (Row("chain", "six hooks, as runc starts them", 0.35),)),
    "hook": Case(hookprograms.hook, 150, (Row("hook", "one hook, as a program", 1.2),)),
    "memory": Case(memory, 7, (Row("memory", "peak memory, MiB", 0.95, "peak"),)),
    **registry.CASES,
}
