"""The game played against a real decision service."""

import polars as pl

from contracts.tables import DECISIONS, EVENTS, OUTCOMES, QUARANTINE
from tests.simulator.conftest import DECISIONS_PLAYED, Played
from use_cases.game_promotion import USE_CASE


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
    assert played.game.truth.frame().filter(pl.col("arm") != "control")["agreed"].all()


def test_control_is_shown_nothing(played: Played) -> None:
    truth = played.game.truth.frame()
    assert set(truth.filter(pl.col("arm") == "control")["action"]) == {"none"}
    assert (truth["expected_best"] >= truth["expected_action"]).all()
