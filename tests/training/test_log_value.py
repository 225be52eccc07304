"""The value of a policy on a log that needs no use case."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from contracts.errors import InvalidInput
from decisions.estimators import MODELLED, NAMES
from training.log_value import LogValue, Wanted, value_log
from training.plain_log import PlainLog, read_plain

SEED = 3


def log_of(folder: Path, n: int = 3_000, **changes: Any) -> PlainLog:
    """Two actions, half and half; the old click on red, the young on blue, five to one."""
    random = np.random.default_rng(SEED)
    old = random.random(n) < 0.5
    red = random.random(n) < 0.5
    rows = {
        "decision_id": [f"d{row}" for row in range(n)],
        "entity_id": [f"e{row // 2}" for row in range(n)],
        "action": np.where(red, "red", "blue"),
        "propensity": np.full(n, 0.5),
        "reward": (random.random(n) < np.where(red == old, 0.5, 0.1)).astype(float),
        "x_age": np.where(old, 70.0, 20.0) + random.integers(0, 9, n),
        "x_town": np.where(random.random(n) < 0.3, "Bonn", "Rome"),
    }
    pl.DataFrame({**rows, **changes}).write_parquet(folder / "log.parquet")
    return read_plain(folder / "log.parquet")


def value_of(log: PlainLog, policy: str, **more: Any) -> LogValue:
    return value_log(log, Wanted(policy, **more))


def test_the_learned_policy_earns_what_it_would(tmp_path: Path) -> None:
    found = value_of(log_of(tmp_path), "learned")
    value, logged = found.values["dr"].estimate, found.logged
    assert not found.refused and found.estimator == "dr" and set(found.values) == set(NAMES)
    # why: four standard errors, since the draw of these rows is one of many
    assert abs(value.value - 0.5) < 4 * value.standard_error and abs(logged.value - 0.3) < 4 * logged.standard_error
    assert found.gain is not None and found.gain.value == pytest.approx(value.value - logged.value)
    assert found.gain.low > 0.1 and (found.n, found.entities, found.actions) == (3_000, 1_500, 2)


def test_the_logged_policy_is_worth_what_the_log_earned(tmp_path: Path) -> None:
    found = value_of(log_of(tmp_path), "logged")
    for name in ("ips", "snips", "dr", "switch_dr"):
        assert found.values[name].estimate.value == pytest.approx(found.logged.value)
    assert found.gain is not None and found.gain.value == pytest.approx(0.0, abs=1e-12)


def test_without_a_model_there_are_only_weights(tmp_path: Path) -> None:
    found = value_of(log_of(tmp_path), "always:red", model=False)
    assert set(found.values) == set(NAMES) - MODELLED and found.estimator == "snips" and found.reliability == ()
    with pytest.raises(InvalidInput, match="needs a model"):
        value_of(log_of(tmp_path), "uniform", model=False, estimator="dr")


def test_what_the_log_cannot_tell_is_refused_and_has_no_value(tmp_path: Path) -> None:
    rare = np.full(3_000, 0.5)
    rare[:2_900] = 0.999
    wrong = value_of(log_of(tmp_path, propensity=rare), "uniform")
    assert wrong.refused and wrong.values == {} and wrong.gain is None
    assert any("the propensities are not those that the log was made with" in reason for reason in wrong.overlap.refusals)
    unseen = log_of(tmp_path, target_red=np.full(3_000, 0.5), target_green=np.full(3_000, 0.5))
    assert "50.0% of what the policy would show, the log could never show" in value_of(unseen, "columns").overlap.refusals[0]


def test_slices_by_category_and_by_fifths(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    by_town = value_of(log, "always:red", by="town").slices
    assert [part.name for part in by_town] == ["Bonn", "Rome"] and all(part.apart > 0.05 for part in by_town)
    by_age = value_of(log, "always:red", by="x_age").slices
    assert sum(part.n for part in by_age) == 3_000 and min(part.apart for part in by_age) < 1e-6
    with pytest.raises(InvalidInput, match="no column of the log; expected one of x_age, x_town, action"):
        value_of(log, "uniform", by="height")


def test_the_same_seed_gives_the_same_value(tmp_path: Path) -> None:
    log = log_of(tmp_path, 1_000)
    first, again, other = (value_of(log, "learned", seed=seed).values["dr"].estimate.value for seed in (1, 1, 2))
    assert first == again != other


def test_the_model_is_as_reliable_as_it_is(tmp_path: Path) -> None:
    bins = value_of(log_of(tmp_path), "uniform").reliability
    assert sum(part.n for part in bins) == 3_000
    assert bins[0].predicted < 0.2 < 0.4 < bins[-1].predicted
    assert all(abs(part.predicted - part.seen.value) < 4 * part.seen.standard_error for part in bins)


def test_weights_are_told_by_class(tmp_path: Path) -> None:
    weights = dict(value_of(log_of(tmp_path), "always:red", model=False).weights)
    assert sum(weights.values()) == pytest.approx(1.0)
    assert weights["0"] + weights["to 2"] == pytest.approx(1.0) and weights["to 2"] == pytest.approx(0.5, abs=0.05)
