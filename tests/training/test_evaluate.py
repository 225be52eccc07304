"""Cross-fitted off-policy evaluation, on worlds whose truth is known."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from decisions.value import mean
from tests.training.conftest import SHOP, Made, changed
from training.cross_fit import cross_fit
from training.evaluate import BASELINE, LEARNED, SINGLE, evaluate
from training.terms import contrast

MEAN_PURCHASE = float(np.exp(2.0 + 0.125))


def test_no_row_is_judged_by_a_model_that_saw_its_entity(made: Made) -> None:
    training_set = made(1_200)
    fitted = cross_fit(training_set, training_set.eligible, seed=1, threads=2)
    folds_of_entity = pl.DataFrame({"entity": training_set.entity, "fold": fitted.fold}).group_by("entity").agg(pl.col("fold").n_unique())
    assert folds_of_entity["fold"].max() == 1
    assert np.isfinite(fitted.q).all()


def test_side_by_side_or_one_by_one_gives_the_same(made: Made) -> None:
    training_set = made(1_200)
    one, two = (cross_fit(training_set, training_set.eligible, seed=1, threads=threads) for threads in (1, 2))
    assert (one.q == two.q).all() and (one.table == two.table).all()


def test_values_cover_the_truth_and_personalising_is_seen(made: Made) -> None:
    found = evaluate(made(9_000), champion="r-start", seed=1, threads=2)
    truth = {LEARNED: 0.05 + 0.2 * (0.9 + 0.1 / 3), BASELINE: 0.05}
    for policy, rate in truth.items():
        value = found.values[policy].dr
        assert abs(value.value - rate * MEAN_PURCHASE) < 4 * value.standard_error
    assert found.personal.confidence() > 0.99
    assert found.gain_over_control[LEARNED].low > 0 and found.gain_over_champion[LEARNED].low > 0
    assert found.forward is not None and found.forward.low > 0
    assert found.control is not None and abs(found.control.value - 0.05 * MEAN_PURCHASE) < 4 * found.control.standard_error
    assert "control group" in found.compared_with["control"] and "r-start" in found.compared_with["champion"]


def test_where_all_like_the_same_nothing_speaks_for_personalising(made: Made) -> None:
    found = evaluate(made(personal=False), champion=None, seed=1, threads=2)
    assert found.personal.confidence() < 0.9
    assert found.gain_over_control[SINGLE].low > 0
    assert "as they were logged" in found.compared_with["champion"]


def test_without_a_control_group_the_baseline_is_valued_off_policy(made: Made) -> None:
    found = evaluate(made(control=0.0), champion=None, seed=1, threads=2)
    assert found.control is None and "off-policy" in found.compared_with["control"]
    assert found.gain_over_control[LEARNED].low > 0


def test_data_without_time_has_no_forward_part(made: Made) -> None:
    found = evaluate(made(1_500, use_case=replace(SHOP, split="entity")), champion=None, seed=1, threads=2)
    assert found.forward is None


def test_what_control_earned_at_another_time_does_not_count(made: Made) -> None:
    """Everybody spends ten times as much in the later half, in which control has no decision."""
    training_set = made(6_000, lift=0.0)
    late = np.arange(6_000) >= 2_842
    reward = np.where(late, training_set.rows["reward"].to_numpy() * 10, training_set.rows["reward"].to_numpy())
    kept = ~(late & training_set.control)
    moved = changed(training_set, reward=reward)
    cut = replace(
        moved,
        rows=moved.rows.filter(pl.Series(kept)),
        **{name: getattr(moved, name)[kept] for name in ("features", "action", "eligible", "p_in_arm", "entity")},
    )
    gain = evaluate(cut, champion=None, seed=1, threads=2).gain_over_control[SINGLE]
    assert abs(gain.value) < 3 * gain.standard_error


def test_noisy_arms_weigh_less(made: Made) -> None:
    """Half of the decisions come from a policy that showed one candidate 98 times in a hundred."""
    training_set = made(6_000, control=0.0)
    greedy = training_set.entity % 2 == 1
    shares = np.where(greedy[:, None], [[0.98, 0.01, 0.01]], 1 / 3)
    rng = np.random.default_rng(2)
    action = np.where(greedy, rng.choice(3, 6_000, p=[0.98, 0.01, 0.01]), training_set.action)
    mixed = replace(
        changed(training_set, propensity=shares[np.arange(6_000), action], release_id=np.where(greedy, "r-greedy", "r-start")),
        action=action,
        p_in_arm=shares,
    )
    found = evaluate(mixed, champion=None, seed=1, threads=2).values[LEARNED]
    assert found.dr.standard_error < 0.8 * found.ips.standard_error


def test_contrast_of_disjoint_entities_is_the_difference_of_means() -> None:
    values = np.array([1.0, 3.0, 2.0, 0.0])
    first, second = np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0, 1.0])
    found = contrast(values, first, values, second, np.arange(4))
    assert found.value == 1.0
    assert found.standard_error == pytest.approx(np.sqrt((1 / 2 + 1 / 2) * 4 / 3))


def test_contrast_of_the_same_rows_is_paired() -> None:
    rng = np.random.default_rng(3)
    base, gain = rng.normal(0, 10, 500), rng.normal(1, 0.1, 500)
    ones, clusters = np.ones(500), np.arange(500) // 5
    found = contrast(base + gain, ones, base, ones, clusters)
    expected = mean(gain, clusters)
    assert found.value == pytest.approx(expected.value)
    assert found.standard_error == pytest.approx(expected.standard_error, rel=1e-9)


def test_contrast_with_nothing_to_compare_knows_nothing() -> None:
    found = contrast(np.ones(2), np.zeros(2), np.ones(2), np.ones(2), np.arange(2))
    assert found.low == -np.inf and found.lower(0.95) == -np.inf
