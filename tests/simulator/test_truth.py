"""Values of policies by the truth, on a table small enough for the eye."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from simulator.truth import best_single, standing
from tests.simulator.conftest import Played

EXPECTED = np.array([[4.0, 2.0, 1.0], [1.0, 3.0, 1.0], [2.0, 5.0, 1.0], [9.0, 2.0, 1.0]])
ELIGIBLE = np.array([[True, True, True], [True, True, True], [True, False, True], [False, False, True]])
NOTHING = 2


def test_standing_of_four_decisions() -> None:
    at = standing(EXPECTED, ELIGIBLE, np.array([1, 1, 2, 2]), NOTHING)
    assert at.decisions == 4
    assert at.control == 1.0
    assert at.logged == (2 + 3 + 1 + 1) / 4
    assert at.uniform == pytest.approx((7 / 3 + 5 / 3 + 3 / 2 + 1) / 4)
    assert at.oracle == (4 + 3 + 2 + 1) / 4
    assert at.eligible == 1.25
    assert at.share(at.logged) == pytest.approx(0.5)
    assert (at.share(at.control), at.share(at.oracle)) == (0.0, 1.0)


def test_best_single_takes_the_next_best_where_the_best_is_not_eligible() -> None:
    # first column: 3, 0, 1 above nothing where eligible; second: 1, 2. Over everybody: 3 against 2 on average.
    assert best_single(EXPECTED, ELIGIBLE, NOTHING) == max((2 + 3 + 2 + 1) / 4, (4 + 1 + 2 + 1) / 4)


def test_standing_of_an_arm(played: Played) -> None:
    truth = played.game.truth.frame()
    control = (truth["arm"] == "control").to_numpy()
    at = played.game.truth.standing(control)
    assert at.decisions == control.sum() > 0
    assert at.logged == pytest.approx(at.control)
    assert played.game.truth.standing().oracle > played.game.truth.standing().best_single > at.control


def test_what_is_saved_is_the_frame(played: Played, tmp_path: Path) -> None:
    played.game.truth.save(tmp_path / "truth.parquet")
    assert pl.read_parquet(tmp_path / "truth.parquet").equals(played.game.truth.frame())
