"""How many replicas are wanted: by the requests under way, and by the processor time that replicas take."""

import math
import time
from collections.abc import Mapping
from typing import Any

BUSY = 0.75
"""Share of a core that a replica may be busy for. Python lets one thread at a time run, so that a replica cannot use much more than one."""

CPU = "cpu"
"""The name under which a replica tells Ray how busy it was."""


class Busyness:
    """How many cores this process kept busy since it was last asked."""

    def __init__(self) -> None:
        self._looked_s, self._cpu_s = time.monotonic(), time.process_time()

    def look(self) -> dict[str, float]:
        """The cores, by `CPU`."""
        now_s, cpu_s = time.monotonic(), time.process_time()
        passed_s = max(now_s - self._looked_s, 1e-6)
        busy = (cpu_s - self._cpu_s) / passed_s
        self._looked_s, self._cpu_s = now_s, cpu_s
        return {CPU: busy}


def wanted(under_way: float, target: float, busy: Mapping[Any, float], replicas: int) -> float:
    """Replicas that would work on `target` requests each, and be busy for `BUSY` of a core each: whichever is more.

    Args:
        under_way: requests, of all replicas.
        target: requests a replica.
        busy: cores that replicas were kept busy, of those that have said so.
        replicas: that run; those that have not said so count like the others.

    Example:
        >>> wanted(4.0, 16.0, {"a": 0.9}, 1), wanted(64.0, 16.0, {"a": 0.9}, 1), wanted(2.0, 16.0, {"a": 0.1, "b": 0.2}, 2)
        (1.2, 4.0, 0.4)
    """
    by_cpu = replicas * sum(busy.values()) / (len(busy) * BUSY) if busy else 0.0
    return max(under_way / target, by_cpu)


def policy(context: Any) -> tuple[int, dict[str, Any]]:
    """What Ray Serve asks a few times a second (`ray.serve.config.AutoscalingContext`); it waits and keeps to the bounds itself."""
    if context.current_num_replicas == 0:
        return context.target_num_replicas, {}
    busy = (context.aggregated_metrics or {}).get(CPU, {})
    found = wanted(context.total_num_requests, context.config.target_ongoing_requests, busy, context.current_num_replicas)
    return math.ceil(round(found, 6)), {}
