import threading

from contracts.metrics import DECISIONS, FEATURE_AGE_SECONDS, REPLICA_PLAN_VERSION, Metric
from serving.metrics import Labels, Metrics, flush_every


def test_counters_add_up_and_are_handed_on_as_growth() -> None:
    handed: list[tuple[str, Labels, float, int]] = []

    def export(metric: Metric, labels: Labels, value: float, count: int) -> None:
        handed.append((metric.name, labels, value, count))

    metrics = Metrics(export)
    metrics.add(DECISIONS, "shop", "control", "r-1")
    metrics.add(DECISIONS, "shop", "control", "r-1", value=2)
    metrics.flush()
    metrics.add(DECISIONS, "shop", "control", "r-1")
    assert metrics.totals(DECISIONS) == {("shop", "control", "r-1"): 4}
    assert [value for _, _, value, _ in handed] == [3, 1]


def test_a_histogram_keeps_counts_and_sum() -> None:
    handed: list[tuple[float, int]] = []
    metrics = Metrics(lambda metric, labels, value, count: handed.append((value, count)))
    for value in (0.2, 0.4, 5.0, 1e9):
        metrics.observe(FEATURE_AGE_SECONDS, "shop", value=value)
    assert metrics.totals(FEATURE_AGE_SECONDS) == {("shop",): 4}
    assert sum(count for _, count in handed) == 4
    assert abs(sum(value * count for value, count in handed) - (0.2 + 0.4 + 5.0 + 1e9)) < 1e-3
    edges = FEATURE_AGE_SECONDS.buckets
    assert sum(count for value, count in handed if value <= edges[0]) == 2


def test_a_gauge_holds_its_last_value() -> None:
    metrics = Metrics()
    metrics.set(REPLICA_PLAN_VERSION, "shop", value=1)
    metrics.set(REPLICA_PLAN_VERSION, "shop", value=2)
    assert metrics.totals(REPLICA_PLAN_VERSION) == {("shop",): 2}


def test_what_is_left_is_handed_on_at_the_end() -> None:
    handed: list[float] = []
    metrics = Metrics(lambda metric, labels, value, count: handed.append(value))
    stop = threading.Event()
    thread = flush_every(metrics, 60.0, stop)
    metrics.add(DECISIONS, "shop", "control", "r-1")
    stop.set()
    thread.join(10)
    assert handed == [1]
