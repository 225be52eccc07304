"""The game played against a real decision service."""

import asyncio
from pathlib import Path

import polars as pl
import pytest

from contracts.errors import NotFound
from contracts.settings import ClockSettings, Settings, Store
from contracts.tables import DECISIONS, EVENTS, OUTCOMES, QUARANTINE
from services.bootstrap import start_releases
from serving.service import DecisionService
from simulator.drive import Game
from simulator.inside import Inside
from simulator.world import World
from tests.simulator.conftest import DECISIONS_PLAYED, SMALL, Played
from use_cases.game_promotion import USE_CASE
from use_cases.game_promotion.catalogue import COOLDOWN_US


def test_everything_said_is_in_the_installation(played: Played) -> None:
    own = played.tables[EVENTS].filter(~pl.col("type").is_in(["decision", "outcome", "profile"]))
    assert played.tables[QUARANTINE].is_empty()
    assert sum(phase.events for phase in played.phases) == own.height
    assert sum(phase.outcomes for phase in played.phases) == played.tables[OUTCOMES].height
    assert sum(phase.refused for phase in played.phases) == 0


def test_truth_and_log_are_of_the_same_decisions(played: Played) -> None:
    truth = played.game.truth.frame()
    assert played.seen[-1].decisions == len(played.game.truth) == DECISIONS_PLAYED
    assert set(truth["decision_id"]) == set(played.tables[DECISIONS]["decision_id"])
    assert played.tables[OUTCOMES]["reward"].sum() == truth["spent_micros"].sum() == played.phases[1].spent_micros


def test_outcomes_fall_into_the_window_of_their_decision(played: Played) -> None:
    credited = played.tables[OUTCOMES].join(played.tables[DECISIONS], on="decision_id")
    after = credited["event_time"] - credited["decided_at"]
    assert credited.height > 0
    assert after.is_between(0, USE_CASE.outcome_window_us, closed="left").all()


def test_a_decision_has_seen_the_session_that_asked_for_it(played: Played) -> None:
    sessions = USE_CASE.feature_set.names.index("sessions_7d")
    assert (played.tables[DECISIONS]["features"].list.get(sessions) >= 1).all()


def test_rules_and_truth_agree_on_who_may_be_shown_what(played: Played) -> None:
    truth = played.game.truth.frame().filter(pl.col("arm") != "control").sort("decided_at")
    # why: the clock runs on between a session, at which the truth is told, and its decision: a cool-down may end in between, nothing else
    opened = pl.col("decision_id").str.extract(r"(\d+)$").cast(pl.Int64)
    rested = truth.with_columns(opened=opened, last=pl.col("decided_at").shift(1).over("entity_id", "action"))
    cooled = (pl.col("decided_at") - pl.col("last") >= COOLDOWN_US) & (pl.col("opened") - pl.col("last") < COOLDOWN_US)
    assert rested.filter(~pl.col("agreed") & ~cooled.fill_null(False)).is_empty()


def test_control_is_shown_nothing(played: Played) -> None:
    truth = played.game.truth.frame()
    assert set(truth.filter(pl.col("arm") == "control")["action"]) == {"none"}
    assert (truth["expected_best"] >= truth["expected_action"]).all()


def test_what_the_installation_refuses_ends_the_game(tmp_path: Path) -> None:
    clock = ClockSettings(scale=20_000, origin="2030-01-01T00:00:00Z")
    settings = Settings(state=str(tmp_path / "state"), use_cases=(USE_CASE.name,), clock=clock, store=Store(map_size_bytes=2**26))
    settings.folder.mkdir()
    start_releases(settings)
    with DecisionService(settings) as service:
        game = Game(World(USE_CASE.catalogue, 7, service.clock.now_us(), SMALL), Inside(service), "no_such_case", service.clock)
        with pytest.raises(NotFound, match="no_such_case"):
            asyncio.run(game.play(10))
        assert len(game.truth) == 0
