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
            (Row(words[0], f"{words[0]} (pass-through)", 0.4),),
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
            Row("create", "create, DGX A100, all, six hooks", 0.55),
            Row("cpu", "user+system CPU of that create", 0.6, "cpu"),
        ),
    ),
    "life": Case(creates.life, 60, (Row("life", "create, start, wait, delete", 0.5),)),
    "claims-56": Case(
        lambda place: creates.with_claims(place, 56),
        40,
        (Row("claims-56", "create, 56 claim specs", 0.25),),
    ),
    "claims-1000": Case(
        lambda place: creates.with_claims(place, 1000),
        21,
        (Row("claims-1000", "create, 1,000 claim specs", 0.015),),
    ),
    "chain": Case(hookprograms.chain, 100, (Row("chain", "six hooks, as runc starts them", 0.55),)),
    "hook": Case(hookprograms.hook, 150, (Row("hook", "one hook, as a program", 2.2),)),
    "memory": Case(memory, 7, (Row("memory", "peak memory, MiB", 1.0, "peak"),)),
    **registry.CASES,
}
