"""The value of a registered release on its use case's own log."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contracts.clock import DAY_US
from contracts.errors import StepRefused
from tests.training.conftest import NOW, SHOP, Installed, Made
from tests.training.test_log_file import AT, written
from training.import_log import import_log
from training.log_value import Wanted
from training.release_value import subset, value_on, value_release
from training.train import start_parts, train_on

WANTED = Wanted("release")


def test_a_learned_release_is_valued_on_what_came_after_it(made: Made) -> None:
    whole = made(9_000)
    half = np.arange(9_000) < 4_500
    candidate = train_on(subset(whole, half))
    registered_at = int(whole.rows["decided_at"][4_499]) + SHOP.outcome_window_us
    found = value_on(whole, "r-1", candidate.parts, WANTED, registered_at=registered_at)
    value = found.values["dr"].estimate
    assert candidate.verdict.choice == "learned" and not found.refused
    # 4,500 later decisions, without those of the control group
    assert found.n == int(subset(whole, ~half).randomised.sum())
    assert found.gain is not None and found.gain.low > 0.0
    assert abs(value.value - candidate.verdict.forecast.value) < 4 * value.standard_error


def test_a_release_that_learned_nothing_is_valued_on_all(made: Made) -> None:
    whole = made(3_000)
    found = value_on(whole, "r-start", start_parts(SHOP), replace(WANTED, estimator="ips"), registered_at=NOW + DAY_US)
    assert found.n == int(whole.randomised.sum())
    assert found.gain is not None and found.gain.value == pytest.approx(0.0, abs=1e-12)


def test_by_a_feature_each_slice_has_its_value(made: Made) -> None:
    found = value_on(made(3_000), "r-start", start_parts(SHOP), replace(WANTED, by="kind"), registered_at=0)
    assert [part.name for part in found.slices] == ["b", "r"]


def test_what_it_was_trained_on_does_not_count(made: Made) -> None:
    whole = made(3_000)
    with pytest.raises(StepRefused, match="no randomised decision after its training data has matured yet"):
        value_on(whole, "r-1", train_on(whole).parts, WANTED, registered_at=NOW)


def test_a_release_of_other_features_or_candidates_is_refused(made: Made) -> None:
    whole, parts = made(600), start_parts(SHOP)
    fewer = replace(parts, catalogue=replace(SHOP.catalogue, candidates=SHOP.catalogue.candidates[:-1]))
    with pytest.raises(StepRefused, match="candidates are not those of the use case today"):
        value_on(whole, "r-1", fewer, WANTED, registered_at=0)
    with pytest.raises(StepRefused, match="features are not those of the use case today"):
        value_on(whole, "r-1", replace(parts, features={}), WANTED, registered_at=0)


def test_the_log_is_the_installation_s_tables(installed: Installed, tmp_path: Path) -> None:
    rows = [
        {
            "decision_id": f"d{row}",
            "entity_id": f"e{row % 300}",
            "decided_at": AT + row,
            "action": ("red", "blue", "none")[row % 3],
            "propensity": 1 / 3,
            "reward": 1_000_000 * (row % 7 == 0),
        }
        for row in range(900)
    ]
    import_log(installed.journal, SHOP, written(tmp_path, rows), installed.online.apply, now_us=NOW)
    installed.drain()
    found = value_release(
        installed.tables, SHOP, "r-start", start_parts(SHOP), WANTED, registered_at=NOW, now_us=NOW, folder=tmp_path / "work"
    )
    assert found.n == 900 and found.values["ips"].estimate.value == pytest.approx(129 / 900)
