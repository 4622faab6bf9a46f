"""Many pods at once, and what the handler costs a pod."""

from __future__ import annotations

import os
import statistics
import time
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.conftest import MEASURED
from tests.kubernetes.pods import SLEEP, Object, container, pod

if TYPE_CHECKING:
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.pods import Pods

ROUNDS = int(os.environ.get("PODS_ROUNDS", "3"))


def begin(
    installed: Cluster, pods: Pods, name: str, count: int, handler: str | None
) -> list[float]:
    """Start pods at once; the seconds from their creation until each one's script ran."""
    script = f"echo begun; {SLEEP}"
    small: Object = {"terminationGracePeriodSeconds": 1}
    names = [f"{name}-{number}" for number in range(count)]
    before = time.time()
    pods.create(*(pod(one, container(script), handler=handler, **small) for one in names))
    pods.ready(*names, seconds=240)
    # Each line of the kubelet's logs begins with its time.
    lines = installed.node.said("sh", "-c", f"cat /var/log/pods/default_{name}-*/main/0.log")
    assert lines.count(" begun\n") == count
    pods.delete(*names)
    return [moment(line.split()[0]) - before for line in lines.splitlines()]


def moment(text: str) -> float:
    """Return a time of the kubelet's logs, in seconds."""
    return datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00").timestamp()


def test_fifty_pods_at_once(installed: Cluster, pods: Pods) -> None:
    assert len(begin(installed, pods, "fifty", 50, "pyshim")) == 50


@pytest.mark.parametrize("count", [1, 30, 100])
def test_what_the_handler_costs(installed: Cluster, pods: Pods, engine: str, count: int) -> None:
    """Rounds in turn, without a limit: a shared machine's noise is no fault."""
    orders: list[list[str | None]] = [["pyshim", None], [None, "pyshim"]]
    rounds = []
    for turn in range(ROUNDS):
        taken = {
            handler: begin(installed, pods, f"pod{turn}{handler}".lower(), count, handler)
            for handler in orders[turn % 2]
        }
        rounds.append((taken["pyshim"], taken[None]))
    sides = list(zip(*rounds, strict=True))
    median = [statistics.median(chain.from_iterable(side)) for side in sides]
    last = [statistics.median(map(max, side)) for side in sides]
    pairs = [statistics.median(with_) / statistics.median(bare) for with_, bare in rounds]
    MEASURED.append(
        f"{engine}, {count} pods at once, {ROUNDS} rounds: median {median[0]:.3f} s with the"
        f" handler, {median[1]:.3f} s without, ratio {median[0] / median[1]:.3f}; of the rounds'"
        f" ratios {statistics.median(pairs):.3f} ({min(pairs):.3f} to {max(pairs):.3f});"
        f" all after {last[0]:.2f} and {last[1]:.2f} s, ratio {last[0] / last[1]:.3f}"
    )
    print(MEASURED[-1])
