"""Campaigns rehearsed in memory: the same rules as against an installation, and the same answers every time."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from contracts.clock import DAY_US
from simulator.campaign import START, begin, campaign
from simulator.rehearsal import Played, Rehearsal
from simulator.settings import WorldSettings
from use_cases.definition import Learner
from use_cases.game_promotion import USE_CASE

SMALL = WorldSettings(players=250, horizon_days=20)
QUICK = replace(USE_CASE, learner=Learner(rounds=10), gate=replace(USE_CASE.gate, min_rows=300))


def rehearse(seed: int) -> Rehearsal:
    game = begin(USE_CASE, seed, SMALL)
    game.play(900)
    return game


@pytest.fixture(scope="module")
def game() -> Rehearsal:
    return rehearse(5)


@pytest.fixture(scope="module")
def played(game: Rehearsal) -> Played:
    return game.played()


def test_a_seed_tells_the_whole_campaign(played: Played) -> None:
    again, other = rehearse(5).played(), rehearse(6).played()
    assert again.rows.equals(played.rows)
    assert again.features.tobytes() == played.features.tobytes()
    assert not other.rows["reward"].equals(played.rows["reward"])


def test_what_is_logged_is_what_was_drawn_from(played: Played) -> None:
    row = np.arange(len(played))
    assert np.allclose(played.p_in_arm.sum(axis=1), 1.0)
    assert (played.p_in_arm[row, played.action] == played.rows["propensity"].to_numpy()).all()
    assert not played.p_in_arm[~played.eligible].any()
    control = (played.rows["arm"] == "control").to_numpy()
    assert 0.05 < control.mean() < 0.25
    assert (played.action[control] == USE_CASE.catalogue.index["none"]).all()


def test_nobody_is_shown_what_has_to_cool_down(played: Played) -> None:
    shown = played.rows.with_columns(action=pl.Series(played.action)).filter(pl.col("action") != USE_CASE.catalogue.index["none"])
    apart = shown.sort("decided_at").select(pl.col("decided_at").diff().over("entity_id", "action")).drop_nulls()["decided_at"]
    assert len(apart) > 20
    assert apart.min() >= 20 * DAY_US // 24  # type: ignore[operator]


def test_features_see_what_was_done_before(played: Played) -> None:
    column = played.features[:, USE_CASE.feature_set.names.index("offers_3d")]
    made = played.rows.with_columns(offers=pl.Series(column), shown=pl.Series(played.action != USE_CASE.catalogue.index["none"]))
    within = made.filter(pl.col("decided_at") < made["decided_at"].min() + 2 * DAY_US)  # type: ignore[operator]
    before = within.select(pl.col("shown").cast(pl.Int64).cum_sum().shift(1, fill_value=0).over("entity_id"))
    assert before["shown"].to_list() == within["offers"].to_list()


def test_the_tables_of_a_rehearsal_give_its_rewards(game: Rehearsal, played: Played) -> None:
    decisions, outcomes = game.tables()
    rewards = USE_CASE.rewards(decisions, outcomes.with_columns(corrects=pl.lit(None, pl.String)), now_us=game.now_us + DAY_US)
    assert rewards["reward"].to_list() == played.rows["reward"].to_list()


def test_a_campaign_trains_between_its_phases_and_judges_what_it_released() -> None:
    played, (first, second) = campaign(QUICK, 3, (1_500, 600), settings=SMALL)
    assert (first.candidate, first.arm) == (None, "champion")
    assert second.candidate is not None
    assert second.arm == ("" if second.candidate.verdict.step == "refused" else second.candidate.verdict.step)
    assert not (first.rows & second.rows).any()
    assert (played.rows.filter(pl.Series(first.rows))["release_id"] == START).all()
    assert second.seen.value == pytest.approx(played.rows.filter(pl.Series(second.rows))["reward"].mean() / 1e6)  # type: ignore[operator]
    assert 0.0 < first.way < 0.6
