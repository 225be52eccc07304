"""Who plays, what they do, what they buy."""

from dataclasses import replace

import numpy as np

from contracts.clock import DAY_US, HOUR_US, MINUTE_US
from simulator.play import (
    LONGEST_DELAY_MINUTES,
    SESSION_MINUTES,
    history,
    match_events,
    open_sessions,
    play_matches,
    purchase_events,
    session_events,
    session_id,
    settle,
)
from simulator.world import NOT_DUE_US, World
from tests.simulator.conftest import SMALL, START_US
from use_cases.game_promotion import USE_CASE

NOON = START_US + DAY_US // 2


def test_who_is_due_plays_once(world: World) -> None:
    due = int((world.next_us <= NOON).sum())
    sessions = open_sessions(world, NOON)
    assert len(sessions) == due > 20
    assert len(open_sessions(world, NOON)) == 0
    assert (world.next_us[sessions.players] == NOT_DUE_US).all()


def test_a_limit_takes_those_who_have_waited_longest(world: World) -> None:
    waiting = np.sort(world.next_us)[:5]
    sessions = open_sessions(world, NOON, limit=5)
    assert len(sessions) == 5
    assert waiting[-1] < world.next_us.min()


def test_settling_moves_players_on(world: World) -> None:
    sessions = open_sessions(world, NOON)
    offered = np.full(len(sessions), 3)
    bought = settle(world, sessions, offered, sessions.moment_us)
    assert (world.next_us[sessions.players] >= NOON + HOUR_US).all()
    assert (world.last_shown_us[sessions.players, 3] == NOON).all()
    assert (world.remembered(sessions.players, sessions.moment_us) == 1).all()
    assert (bought.at_us > NOON).all()
    assert (bought.at_us <= NOON + LONGEST_DELAY_MINUTES * MINUTE_US + 1).all()
    assert USE_CASE.outcome_window_us >= LONGEST_DELAY_MINUTES * MINUTE_US * 2


def test_showing_nothing_tires_nobody(world: World) -> None:
    sessions = open_sessions(world, NOON)
    settle(world, sessions, np.full(len(sessions), world.nothing), sessions.moment_us)
    assert (world.shown == 0).all()


def test_what_is_bought_comes_as_often_and_as_dear_as_the_truth_says() -> None:
    world = World(USE_CASE.catalogue, 3, START_US, replace(SMALL, players=60_000, organic=0.05, uplift=0.2))
    sessions = open_sessions(world, START_US + 3 * DAY_US)
    chances, offer = sessions.chances, USE_CASE.catalogue.index["hint_bundle:discount"]
    bought = settle(world, sessions, np.full(len(sessions), offer), sessions.moment_us)
    row = np.arange(len(sessions))
    chance = (chances.organic + chances.added)[row, offer]
    spent = np.zeros(len(sessions))
    spent[bought.rows] = bought.micros / 1e6
    assert abs(len(bought.rows) - chance.sum()) < 4 * np.sqrt((chance * (1 - chance)).sum())
    assert abs(spent.mean() - chances.expected[row, offer].mean()) < 4 * spent.std() / np.sqrt(len(spent))
    assert bought.promoted.any()
    assert not bought.promoted.all()


def test_the_same_luck_buys_what_the_better_promotion_adds() -> None:
    worlds = [World(USE_CASE.catalogue, 4, START_US, replace(SMALL, players=5_000)) for _ in range(2)]
    opened = [open_sessions(world, NOON) for world in worlds]
    nothing = settle(worlds[0], opened[0], np.full(len(opened[0]), worlds[0].nothing), opened[0].moment_us)
    best = settle(worlds[1], opened[1], opened[1].chances.expected.argmax(axis=1), opened[1].moment_us)
    np.testing.assert_array_equal(opened[0].luck, opened[1].luck)
    assert len(best.rows) > len(nothing.rows)


def test_players_leave_and_change_their_taste() -> None:
    world = World(USE_CASE.catalogue, 5, START_US, replace(SMALL, players=3_000, churn=0.5, migration=0.5))
    sessions = open_sessions(world, START_US + 3 * DAY_US)
    settle(world, sessions, np.full(len(sessions), world.nothing), sessions.moment_us)
    assert 0.1 < world.gone[sessions.players].mean() < 0.6
    assert (world.segment != world.people.segment).any()
    assert not set(open_sessions(world, START_US + 30 * DAY_US).players) & set(np.flatnonzero(world.gone))


def test_events_are_as_the_use_case_declares_them(world: World) -> None:
    sessions = open_sessions(world, NOON + 2 * DAY_US)
    matches = play_matches(world, sessions)
    actions = np.full(len(sessions), 0)
    bought = settle(world, sessions, actions, sessions.moment_us)
    events = [
        *session_events(world, sessions, "t"),
        *match_events(world, sessions, matches, "t"),
        *purchase_events(world, sessions, bought, actions, "t"),
    ]
    assert len({event.event_id for event in events}) == len(events) == len(sessions) + len(matches.rows) + len(bought.rows)
    for event in events:
        USE_CASE.schema.check(event.type, event.fields)
    assert (matches.at_us - sessions.moment_us[matches.rows] <= SESSION_MINUTES * MINUTE_US).all()


def test_a_decision_is_named_alike_in_every_retry(world: World) -> None:
    sessions = open_sessions(world, NOON)
    assert session_id(world, sessions, 0, "g") == f"g-7-{sessions.players[0]}-{NOON}"


def test_history_is_of_the_past_and_in_order(world: World) -> None:
    events = list(history(world, 2.0))
    times = [int(event.event_time) for event in events]
    assert times == sorted(times)
    assert times[0] >= START_US - 2 * DAY_US
    assert times[-1] < START_US
    assert {event.type for event in events} == {"session", "match", "purchase"}
    assert (world.next_us[~world.gone] >= START_US).all()
    assert (world.shown == 0).all()


def test_the_same_seed_has_the_same_history() -> None:
    first, second = (list(history(World(USE_CASE.catalogue, 7, START_US, SMALL), 1.0)) for _ in range(2))
    assert first == second
