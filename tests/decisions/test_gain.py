import math

import numpy as np
import pytest

from decisions.arms import arm_difference
from decisions.gain import Entities, gain, mean_bounds
from decisions.value import Floats


def entities(rows: list[tuple[list[float], list[float]]]) -> Entities:
    """Each entity's rewards, and its covariates."""
    sums = np.array([sum(rewards) for rewards, _ in rows])
    sizes = np.array([float(len(rewards)) for rewards, _ in rows])
    squares = np.array([sum(reward**2 for reward in rewards) for rewards, _ in rows])
    known = np.array([covariates for _, covariates in rows])
    return Entities(sums, sizes, squares, known if known.size else None)


def drawn(rng: np.random.Generator, count: int, lift: float = 0.0, noise: float = 1.0) -> Entities:
    """Entities whose spend their covariate foretells, but for noise; some come twice."""
    known = rng.exponential(2.0, count)
    sizes = rng.integers(1, 3, count).astype(np.float64)
    each = known + lift + noise * rng.standard_normal(count)
    return Entities(each * sizes, sizes, each**2 * sizes, np.column_stack([known, rng.standard_normal(count)]))


OURS = entities([([6.0], []), ([0.0, 12.0], []), ([2.0], [])])
THEIRS = entities([([0.0, 2.0], []), ([4.0], [])])


def test_a_gain_is_the_difference_of_means_a_decision_with_an_error_that_clusters_by_entity() -> None:
    found = gain(OURS, THEIRS)
    assert found.plain.value == 5.0 - 2.0
    # deviations 1, 2, −3 over 4 decisions and −2, 2 over 3
    assert found.plain.standard_error == pytest.approx(math.sqrt(5 / 4 * (14 / 16 + 8 / 9)))
    assert (found.adjusted, found.best, found.reduction) == (None, found.plain, 0.0)


def test_it_agrees_with_the_difference_of_arms() -> None:
    import polars as pl

    rows = [("b", "c", 6), ("b", "d", 0), ("b", "d", 12), ("b", "e", 2), ("a", "x", 0), ("a", "x", 2), ("a", "y", 4)]
    other = arm_difference(pl.DataFrame(rows, schema=["arm", "entity_id", "reward"], orient="row"), "b", "a")
    assert other is not None
    assert gain(OURS, THEIRS).plain == other.per_decision


def test_information_is_the_decisions_where_all_are_independent_and_less_where_entities_repeat_themselves() -> None:
    rng = np.random.default_rng(4)

    def arm(count: int, times: int) -> Entities:
        each = rng.standard_normal(count)
        return Entities(each * times, np.full(count, float(times)), each**2 * times)

    assert gain(arm(2_000, 1), arm(2_000, 1)).information == pytest.approx(4_000, rel=0.01)
    assert gain(arm(2_000, 3), arm(2_000, 3)).information == pytest.approx(4_000, rel=0.01)


def test_what_features_foretell_is_taken_off_and_the_gain_stays() -> None:
    rng = np.random.default_rng(3)
    found = [gain(drawn(rng, 600, lift=0.3), drawn(rng, 600)) for _ in range(200)]
    plain, adjusted = (np.array(list(values)) for values in zip(*[(g.plain.value, g.best.value) for g in found], strict=True))
    assert adjusted.mean() == pytest.approx(0.3, abs=4 * adjusted.std() / math.sqrt(200))
    assert adjusted.std() < 0.6 * plain.std()
    # what is reported as reduced is what is reduced, and the reported errors are the real ones
    assert np.mean([g.reduction for g in found]) == pytest.approx(1 - (adjusted.std() / plain.std()) ** 2, abs=0.1)
    assert np.mean([g.best.standard_error for g in found]) == pytest.approx(adjusted.std(), rel=0.15)
    assert np.mean([abs(g.best.value - 0.3) < 1.96 * g.best.standard_error for g in found]) > 0.9


def test_features_that_foretell_nothing_do_no_harm() -> None:
    rng = np.random.default_rng(8)
    one, two = drawn(rng, 500), drawn(rng, 500)
    noise: Floats = rng.standard_normal((500, 3))
    found = gain(Entities(one.sums, one.sizes, one.squares, noise), Entities(two.sums, two.sizes, two.squares, noise[::-1]))
    assert found.reduction < 0.03 and found.best.standard_error <= found.plain.standard_error


def test_of_few_entities_or_features_that_never_differ_nothing_is_adjusted() -> None:
    rng = np.random.default_rng(8)
    assert gain(drawn(rng, 30), drawn(rng, 30)).adjusted is None
    same = [Entities(part.sums, part.sizes, part.squares, np.ones((500, 2))) for part in (drawn(rng, 500), drawn(rng, 500))]
    assert gain(*same).adjusted is None


def test_equal_features_share_the_weight() -> None:
    rng = np.random.default_rng(8)
    one, two = drawn(rng, 500), drawn(rng, 500)

    def twice(part: Entities) -> Entities:
        assert part.covariates is not None
        return Entities(part.sums, part.sizes, part.squares, np.column_stack([part.covariates, part.covariates]))

    assert gain(twice(one), twice(two)).best.value == pytest.approx(gain(one, two).best.value, abs=0.01)


def test_of_one_entity_an_arm_nothing_is_known() -> None:
    alone = entities([([3.0], [])])
    found = gain(alone, alone)
    assert found.bounds(0.95).high == math.inf and found.error(0.95) == math.inf


def test_bounds_of_a_mean() -> None:
    found = mean_bounds(OURS)
    assert found.low < 5.0 < found.high
    rng = np.random.default_rng(1)
    many = mean_bounds(drawn(rng, 5_000))
    assert many.high - many.low < 0.5
