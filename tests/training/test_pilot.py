"""What a log says of an experiment to come."""

from pathlib import Path

import pytest

from contracts.clock import DAY_US
from contracts.errors import DataRefused
from releases.ledger import Ledger
from storage.tables import Tables
from tests.experiment_log import fill, releases
from training.experiment import Sources
from training.pilot import pilot
from use_cases.definition import load

BEGAN = 10 * DAY_US


def test_the_champions_arm_says_what_is_to_be_expected(tmp_path: Path) -> None:
    use_case, ledger = load("email_promotion"), Ledger(tmp_path / "ledger.sqlite")
    # the last matured day is that of the last decision: ten days after the first
    place = Sources(use_case, Tables(tmp_path / "tables"), tmp_path / "bundles", ledger, BEGAN + 10 * DAY_US + use_case.outcome_window_us)
    ids = releases(use_case, ledger, tmp_path / "bundles", BEGAN)
    with pytest.raises(DataRefused, match="0 entities .* --players-per-day"):
        pilot(place)
    fill(place, ids[2], BEGAN)
    found = pilot(place)
    # 300 decisions a day, a fifth of them control's; exponential rewards of mean 2, 2 and 4: mean 8/3, variance 16 − 64/9
    assert found.days == pytest.approx(10.0, abs=0.1)
    assert found.decisions_a_day == pytest.approx(240, rel=0.1) == pytest.approx(found.entities_a_day, rel=0.1)
    assert found.traffic.mean == pytest.approx(8 / 3, rel=0.1)
    assert found.traffic.deviation == pytest.approx((16 - 64 / 9) ** 0.5, rel=0.1)
    assert found.traffic.information(10.0) == pytest.approx(2_400, rel=0.15)
    # the champion is as random as can be
    assert found.random_costs == pytest.approx(0.0, abs=1e-9)
    assert pilot(place, days=5.0).days == pytest.approx(5.0, abs=0.1)
    ledger.close()
