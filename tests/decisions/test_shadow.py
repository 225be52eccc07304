import numpy as np
import polars as pl
import pytest

from decisions.shadow import shadow_value

NAMES = ["a", "b", "none"]


def logged(count: int, probabilities: list[float], seed: int = 4) -> pl.DataFrame:
    """Decisions of the champion; `a` earns 1 on average, `b` 3, `none` nothing."""
    rng = np.random.default_rng(seed)
    action = rng.choice(3, size=count, p=probabilities)
    return pl.DataFrame(
        {
            "decision_id": [f"d{n:06}" for n in range(count)],
            "entity_id": [f"e{n // 2}" for n in range(count)],
            "action": [NAMES[place] for place in action],
            "propensity": np.array(probabilities)[action],
            "candidate_ids": [NAMES] * count,
            "p_in_arm": [probabilities] * count,
            "reward": rng.exponential(1.0, count) * np.array([1.0, 3.0, 0.0])[action],
        }
    )


def scored(rows: pl.DataFrame, names: list[str], probabilities: list[float]) -> pl.DataFrame:
    count = rows.height
    return rows.select("decision_id", candidate_ids=pl.Series([names] * count), p_in_arm=pl.Series([probabilities] * count))


def test_its_value_and_its_gain_over_the_champion_are_found_in_the_champions_log() -> None:
    rows = logged(20_000, [0.5, 0.25, 0.25])
    found = shadow_value(rows, scored(rows, ["b", "a", "none"], [0.8, 0.1, 0.1]))
    assert found is not None and found.snips is not None
    assert (found.decisions, found.dr.clusters, found.covered) == (20_000, 10_000, 1.0)
    truth = 0.8 * 3.0 + 0.1
    assert found.dr.low < truth < found.dr.high and found.snips.low < truth < found.snips.high
    assert found.gain.low < truth - (0.5 + 0.75) < found.gain.high
    assert found.largest_weight == pytest.approx(0.8 / 0.25)
    assert found.dr.standard_error < 1.02 * found.snips.standard_error


def test_the_champion_in_its_own_shadow_gains_nothing() -> None:
    rows = logged(2_000, [0.5, 0.25, 0.25])
    found = shadow_value(rows, scored(rows, NAMES, [0.5, 0.25, 0.25]))
    assert found is not None
    assert (found.gain.value, found.gain.standard_error, found.largest_weight) == (0.0, 0.0, 1.0)


def test_what_the_champion_never_shows_is_said_to_be_missing() -> None:
    rows = logged(2_000, [0.5, 0.0, 0.5])
    found = shadow_value(rows, scored(rows, NAMES, [0.2, 0.7, 0.1]))
    assert found is not None and found.covered == pytest.approx(0.3)
    nothing = shadow_value(rows, scored(rows, NAMES, [0.0, 1.0, 0.0]))
    assert nothing is not None and nothing.snips is None and nothing.covered == 0.0


def test_of_few_decisions_nothing_is_said() -> None:
    rows = logged(99, [0.5, 0.25, 0.25])
    assert shadow_value(rows, scored(rows, NAMES, [0.5, 0.25, 0.25])) is None
