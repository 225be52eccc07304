import doctest
import math

import numpy as np
import pytest

from decisions import planning
from decisions.gain import Entities, gain
from decisions.planning import MOST, Traffic, information_needed, plan, shipped_by, traffic_of, visible_gain
from decisions.sequential import width

SHOP = Traffic(mean=1.0, deviation=3.0, a_day=2_000)


def test_examples() -> None:
    assert doctest.testmod(planning).failed == 0


@pytest.mark.parametrize("effect", [0.0, 0.008, 0.02])
def test_the_chance_to_ship_is_that_of_simulated_experiments(effect: float) -> None:
    rng = np.random.default_rng(6)
    runs, looks, information = 20_000, 20, 60_000.0
    known = information * np.arange(1, looks + 1) / looks
    estimates = np.cumsum(rng.normal(effect * information / looks, math.sqrt(information / looks), (runs, looks)), axis=1)
    limit = np.array([width(each, 0.95) for each in known]) * np.sqrt(known)
    above, below = estimates > limit, estimates < -limit
    ended = above | below
    first = np.where(ended.any(axis=1), ended.argmax(axis=1), looks - 1)
    shipped = above[np.arange(runs), first].mean()
    chance, expected = shipped_by(effect, information, 0.95, looks)
    assert chance == pytest.approx(shipped, abs=4 * math.sqrt(0.25 / runs))
    assert expected == pytest.approx(known[first].mean(), rel=0.02)


def test_experiments_as_long_as_planned_ship_as_often_as_planned() -> None:
    """600 experiments with skewed spend and a real gain, judged by the product's own bounds at 20 looks."""
    rng = np.random.default_rng(12)
    wanted = 0.3
    planned = plan(Traffic(mean=1.0, deviation=math.sqrt(0.5 * 2.0 * 2.0**2 - 1.0), a_day=500), wanted, power=0.8)
    count = int(planned.information)
    shipped = 0
    for _ in range(600):
        bought = rng.random(count) < 0.5
        spend = np.where(bought, rng.exponential(2.0, count), 0.0)
        ours = np.arange(count) % 2 == 0
        spend[ours] *= 1.0 + wanted
        for look in range(1, 21):
            end = count * look // 20
            seen, mine = spend[:end], ours[:end]
            one, two = seen[mine], seen[~mine]
            found = gain(Entities(one, np.ones(one.size), one**2), Entities(two, np.ones(two.size), two**2))
            if found.best.value > found.error(0.95):
                shipped += 1
                break
    assert shipped / 600 == pytest.approx(0.8, abs=0.06)


def test_a_smaller_gain_takes_longer_and_known_features_make_it_shorter() -> None:
    wide, narrow = plan(SHOP, 0.2), plan(SHOP, 0.1)
    assert narrow.days > 3 * wide.days
    assert plan(Traffic(1.0, 3.0, 2_000, reduction=0.5), 0.1).days == pytest.approx(narrow.days / 2)
    assert plan(SHOP, 0.1, share=0.1).days > 2.5 * narrow.days
    assert plan(SHOP, 0.1, power=0.9).days > narrow.days
    assert 1.5 < narrow.information / narrow.fixed < 2.5


def test_where_the_same_people_come_back_it_takes_longer_and_may_never_end() -> None:
    again = Traffic(1.0, 3.0, 2_000, correlation=0.25, repeats=2.0, growth=1.0)
    # 4 days: 8,000 decisions, 8 of each player's
    assert again.information(4.0) == 8_000 / (1 + 0.25 * 7)
    assert again.days(again.information(4.0)) == pytest.approx(4.0)
    assert plan(again, 0.2).days > 1.3 * plan(SHOP, 0.2).days
    # a thousand players, however often they come, say no more than four thousand decisions
    assert again.information(30_000.0) < 4_000 and plan(again, 0.1).days == math.inf


def test_a_log_tells_how_information_comes_in() -> None:
    """A thousand players, each with a level of their own, decide twice a day for eight days."""
    rng = np.random.default_rng(5)
    level = rng.normal(3.0, 1.0, 1_000)

    def log(days: int) -> Entities:
        each = level[:, None] + rng.normal(0.0, 2.0, (1_000, 2 * days))
        return Entities(each.sum(axis=1), np.full(1_000, 2.0 * days), (each**2).sum(axis=1))

    found = traffic_of(log(8), log(4), 8.0, share=0.5)
    assert found.a_day == 4_000 and found.mean == pytest.approx(3.0, abs=0.1) and found.deviation == pytest.approx(5**0.5, abs=0.1)
    assert found.correlation == pytest.approx(0.2, abs=0.03) and found.growth == 1.0 and found.repeats == 2.0
    assert found.information(8.0) == pytest.approx(32_000 / (1 + 0.2 * 15), rel=0.1)
    same = log(8)
    assert traffic_of(same, same, 8.0).growth == 0.0


def test_the_gain_that_some_days_show_takes_these_days() -> None:
    visible = visible_gain(SHOP, 30.0)
    assert plan(SHOP, visible).days == pytest.approx(30.0, rel=0.02)


def test_no_gain_is_never_seen() -> None:
    assert information_needed(0.0) == MOST
