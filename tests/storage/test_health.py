import os
from pathlib import Path

import pytest

from storage.health import EDGES_S, KEPT_S, MOST_VERSIONS, Health, HealthCounter, read_health
from storage.layout import Layout

CANARY = ("shop", 2, "canary", "r-2")
CHAMPION = ("shop", 2, "champion", "r-1")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_what_processes_count_is_summed_by_arm_and_release(layout: Layout) -> None:
    one, other = HealthCounter(layout), HealthCounter(layout)
    one.decided(CANARY, 0.002, degraded=True)
    one.failed(CANARY)
    other.decided(CANARY, 0.004, degraded=False)
    other.decided(CHAMPION, 0.004, degraded=False)
    one.publish()
    other.publish()
    found = read_health(layout, "shop")
    canary, champion = found["canary", "r-2"], found["champion", "r-1"]
    assert (canary.decided, canary.failed, canary.degraded, canary.asked) == (2, 1, 1, 3)
    assert (champion.decided, champion.failed) == (1, 0)
    assert read_health(layout, "elsewhere") == {}


def test_only_what_came_under_later_plans_is_asked_for(layout: Layout) -> None:
    counter = HealthCounter(layout)
    counter.decided(("shop", 2, "canary", "r-2"), 0.001, degraded=False)
    counter.decided(("shop", 3, "canary", "r-2"), 0.001, degraded=False)
    counter.decided(("shop", 4, "canary", "r-2"), 0.001, degraded=False)
    counter.publish()
    assert [read_health(layout, "shop", since)["canary", "r-2"].decided for since in (0, 3, 4)] == [3, 2, 1]
    assert read_health(layout, "shop", 5) == {}


def test_what_a_dead_process_counted_stays_and_what_a_crash_tore_is_passed_over(layout: Layout) -> None:
    counter = HealthCounter(layout)
    counter.decided(CANARY, 0.001, degraded=False)
    counter.publish()
    (layout.run / "health" / "7-1.json").write_bytes(b'[["shop",2,"can')
    (layout.run / "health" / "7-2.json").write_bytes(b"")
    again = HealthCounter(layout)
    again.failed(CANARY)
    again.publish()
    found = read_health(layout, "shop")["canary", "r-2"]
    assert (found.decided, found.failed) == (1, 1)


def test_it_is_written_once_a_second_and_at_the_end(layout: Layout) -> None:
    counter = HealthCounter(layout)
    counter.publish()
    assert not layout.run.exists()
    counter.decided(CANARY, 0.001, degraded=False)
    counter.publish()
    counter.decided(CANARY, 0.001, degraded=False)
    counter.publish()
    assert read_health(layout, "shop")["canary", "r-2"].decided == 1
    counter.publish(at_once=True)
    assert read_health(layout, "shop")["canary", "r-2"].decided == 2


def test_the_oldest_plans_and_the_oldest_files_are_forgotten(layout: Layout) -> None:
    old = layout.run / "health" / "1-1.json"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"[]")
    os.utime(old, (0.0, os.stat(old).st_mtime - KEPT_S - 1.0))
    counter = HealthCounter(layout)
    for version in range(MOST_VERSIONS + 10):
        counter.failed(("shop", version, "champion", "r-1"))
    counter.publish()
    assert read_health(layout, "shop")["champion", "r-1"].failed == MOST_VERSIONS
    assert not old.exists()


def test_a_quantile_is_the_end_of_the_bucket_it_lies_in(layout: Layout) -> None:
    counter = HealthCounter(layout)
    assert Health().quantile(0.99) is None
    for seconds in [0.002] * 99 + [0.5]:
        counter.decided(CANARY, seconds, degraded=False)
    counter.publish()
    found = read_health(layout, "shop")["canary", "r-2"]
    median, tail, most = found.quantile(0.5), found.quantile(0.99), found.quantile(1.0)
    assert median == tail == pytest.approx(0.002)
    assert most is not None and 0.5 <= most < 0.5 * 1.2
    counter.decided(CANARY, 10.0 * EDGES_S[-1], degraded=False)
    counter.publish(at_once=True)
    assert read_health(layout, "shop")["canary", "r-2"].quantile(1.0) == float("inf")
