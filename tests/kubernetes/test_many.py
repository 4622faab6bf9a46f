"""Many pods at once, and what the handler costs a pod."""

from __future__ import annotations

import statistics
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.conftest import MEASURED
from tests.kubernetes.pods import SLEEP, Object, container, pod

if TYPE_CHECKING:
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.pods import Pods

ROUNDS = 3


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
    taken: dict[str | None, list[float]] = {None: [], "pyshim": []}
    lasts: dict[str | None, list[float]] = {None: [], "pyshim": []}
    for turn in range(ROUNDS):
        for handler in (None, "pyshim") if turn % 2 else ("pyshim", None):
            seconds = begin(installed, pods, f"pod{turn}{handler}".lower(), count, handler)
            taken[handler] += seconds
            lasts[handler].append(max(seconds))
    median = {handler: statistics.median(found) for handler, found in taken.items()}
    last = {handler: statistics.median(found) for handler, found in lasts.items()}
    MEASURED.append(
        f"{engine}, {count} pods at once: median {median['pyshim']:.3f} s with the handler,"
        f" {median[None]:.3f} s without, ratio {median['pyshim'] / median[None]:.3f};"
        f" all after {last['pyshim']:.2f} and {last[None]:.2f} s, ratio"
        f" {last['pyshim'] / last[None]:.3f}"
    )
    print(MEASURED[-1])
