import time
from dataclasses import dataclass, field

import pytest

from serving.scaling import CPU, Busyness, policy, wanted


@pytest.mark.parametrize(
    ("under_way", "busy", "replicas", "expected"),
    [
        (0.0, {}, 1, 0.0),
        (40.0, {}, 1, 2.5),
        (4.0, {"a": 0.9}, 1, 1.2),
        (40.0, {"a": 0.9}, 1, 2.5),
        (4.0, {"a": 0.9}, 2, 2.4),
        (2.0, {"a": 0.05, "b": 0.1}, 2, 0.2),
    ],
)
def test_requests_or_processor_time_ask_for_more(under_way: float, busy: dict[str, float], replicas: int, expected: float) -> None:
    assert wanted(under_way, 16.0, busy, replicas) == pytest.approx(expected)


@dataclass(frozen=True)
class Config:
    target_ongoing_requests: float = 16.0


@dataclass(frozen=True)
class Context:
    """What Ray says."""

    current_num_replicas: int
    total_num_requests: float
    aggregated_metrics: dict[str, dict[str, float]] | None
    target_num_replicas: int = 1
    config: Config = field(default_factory=Config)


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (Context(1, 4.0, {CPU: {"a": 0.9}}), 2),
        (Context(1, 4.0, {CPU: {"a": 0.75}}), 1),
        (Context(2, 1.0, {CPU: {"a": 0.1, "b": 0.1}}), 1),
        (Context(1, 33.0, {}), 3),
        (Context(1, 0.0, None), 0),
        (Context(0, 0.0, None), 1),
    ],
)
def test_ray_is_told_whole_replicas(context: Context, expected: int) -> None:
    assert policy(context) == (expected, {})


def test_a_replica_says_how_busy_it_was_since_it_was_asked() -> None:
    busyness = Busyness()
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    worked = busyness.look()[CPU]
    time.sleep(0.05)

    assert busyness.look()[CPU] < worked
