import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions.canary import limits
from storage.health import EDGES_S, Health


def health(decided: int, failed: int = 0, degraded: int = 0, slow: int = 0, slow_ms: float = 100.0, usual_ms: float = 2.0) -> Health:
    """So many decisions, of which some took longer than the others."""
    seconds = [0] * (len(EDGES_S) + 1)
    seconds[bisect_left(EDGES_S, usual_ms / 1e3)] += decided - slow
    seconds[bisect_left(EDGES_S, slow_ms / 1e3)] += slow
    return Health(decided, failed, degraded, tuple(seconds))


def broken(ours: Health, theirs: Health) -> set[str]:
    found = limits(ours, theirs, max_failed=0.005, max_degraded=0.05, max_latency=3.0, judged_from=50)
    assert [limit.name for limit in found] == ["failed", "degraded", "latency"]
    return {limit.name for limit in found if limit.broken}


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (health(100), health(1_000), set()),
        # failed: clearly more than half a percent; one or two of few are noise, and of fewer than fifty nothing is said
        (health(40, failed=10), health(1_000), {"failed"}),
        (health(95, failed=5), health(1_000), {"failed"}),
        (health(98, failed=2), health(1_000), set()),
        (health(30, failed=19), health(1_000), set()),
        (health(40, failed=10), health(0), {"failed"}),
        # a source that is down makes both fail: it is not the release
        (health(60, failed=40), health(1_200, failed=800), set()),
        # degraded: beside the champion
        (health(60, degraded=20), health(1_000, degraded=10), {"degraded"}),
        (health(60, degraded=20), health(1_000, degraded=300), set()),
        (health(60, degraded=20), health(5), set()),
        # latency: the slowest hundredth beside the champion's
        (health(100, slow=10), health(1_000), {"latency"}),
        (health(100, slow=1), health(1_000), set()),
        (health(100, usual_ms=5.0), health(1_000), set()),
        (health(100, slow=10), health(1_000, slow=100), set()),
        (health(100, slow=10), health(50), set()),
        # a few milliseconds more than almost nothing
        (health(500, usual_ms=9.0), health(1_000, usual_ms=0.5), set()),
        (health(60, failed=40, degraded=60, slow=60), health(1_000), {"failed", "degraded", "latency"}),
    ],
)
def test_limits_are_broken_beyond_doubt_or_not(ours: Health, theirs: Health, said: set[str]) -> None:
    assert broken(ours, theirs) == said


def test_a_limit_says_its_figures() -> None:
    failed, degraded, latency = limits(
        health(80, failed=20, degraded=40, slow=20),
        health(1_000, degraded=10),
        max_failed=0.005,
        max_degraded=0.05,
        max_latency=3.0,
        judged_from=50,
    )
    assert (failed.ours, failed.theirs, failed.most) == (0.2, 0.0, 0.005) and 0.05 < failed.surely < 0.2
    assert failed.words.startswith("failed 20% of its decisions (at least ")
    assert (degraded.ours, degraded.theirs) == (0.5, 0.01) and 0.2 < degraded.surely < 0.5
    assert "the champion 1%" in degraded.words
    assert latency.ours == pytest.approx(0.1, rel=0.2) and latency.surely > 10.0
    assert "times as long beyond doubt" in latency.words


def test_before_the_first_decision_there_is_nothing_to_say() -> None:
    failed, degraded, latency = limits(Health(), Health(), max_failed=0.0, max_degraded=0.0, max_latency=1.0, judged_from=0)
    assert (failed.ours, degraded.theirs, latency.ours) == (None, None, None)
    assert not (failed.broken or degraded.broken or latency.broken)
    assert "none yet" in failed.words and "nothing yet" in latency.words


@st.composite
def any_health(draw: st.DrawFn) -> Health:
    """None, one, few or many decisions; none, some or all of them failed, degraded, slow."""
    failed = draw(st.sampled_from([0, 1, 7, 5_000]))
    buckets = [0] * (len(EDGES_S) + 1)
    for position in draw(st.lists(st.sampled_from([0, 1, 20, 40, 71, 72]), max_size=3)):
        buckets[position] += draw(st.sampled_from([1, 2, 60, 10_000, 10**7]))
    decided = sum(buckets)
    return Health(decided, failed, draw(st.integers(0, decided)), tuple(buckets))


@given(any_health(), any_health(), st.sampled_from([0.0, 0.005, 0.5]), st.sampled_from([1.0, 3.0]))
def test_whatever_was_counted_limits_are_judged(ours: Health, theirs: Health, share: float, times: float) -> None:
    found = limits(ours, theirs, max_failed=share, max_degraded=share, max_latency=times, judged_from=50)
    for limit in found:
        assert math.isfinite(limit.surely) and limit.surely >= 0.0 and limit.words
        assert not limit.broken or (limit.surely > limit.most and ours.asked >= 50)
    assert not any(limit.broken for limit in limits(ours, ours, max_failed=1.0, max_degraded=share, max_latency=times, judged_from=0))
