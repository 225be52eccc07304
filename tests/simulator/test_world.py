"""The truth about players: what candidates would earn, and which may be shown."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.catalogue import NO_ACTION, Catalogue, Rule
from contracts.clock import DAY_US, HOUR_US
from contracts.errors import DefinitionError
from simulator.world import World
from tests.simulator.conftest import SMALL, START_US
from use_cases.game_promotion import USE_CASE
from use_cases.game_promotion.events import COUNTRIES, PLATFORMS

PLAYERS = np.arange(100)
NOW = np.full(100, START_US + HOUR_US)
INDEX = USE_CASE.catalogue.index


def columns(part: str) -> NDArray[np.bool_]:
    return np.array([part in name.split(":") for name in INDEX])


def test_the_same_seed_is_the_same_world() -> None:
    first, second, other = (World(USE_CASE.catalogue, seed, START_US, SMALL).expected(PLAYERS, NOW) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_the_best_candidate_differs_between_players(world: World) -> None:
    best = world.expected(PLAYERS, NOW).argmax(axis=1)
    assert len(set(best)) > 8
    assert np.bincount(best).max() < 50


def test_showing_nothing_adds_nothing_and_irritates_nobody(world: World) -> None:
    chances = world.chances(PLAYERS, NOW)
    assert (chances.added[:, world.nothing] == 0).all()
    assert (chances.organic.max(axis=1) == chances.organic[:, world.nothing]).all()
    assert (chances.organic + chances.added < 1).all()


def test_repeated_promotions_tire_and_rest_refreshes(world: World) -> None:
    fresh = world.expected(PLAYERS, NOW)
    world.shown[PLAYERS], world.shown_us[PLAYERS] = 5.0, NOW
    tired = world.expected(PLAYERS, NOW)
    rested = world.expected(PLAYERS, NOW + 10 * DAY_US)
    assert (tired < fresh).all()
    assert rested[:, :-1].mean() > tired[:, :-1].mean()
    np.testing.assert_allclose(world.remembered(PLAYERS, NOW + DAY_US), 2.5)


def test_rules_hold(world: World) -> None:
    eligible = world.eligible(PLAYERS, NOW)
    country, platform = (
        np.array(names)[at[PLAYERS]] for names, at in ((COUNTRIES, world.people.country), (PLATFORMS, world.people.platform))
    )
    assert eligible[:, world.nothing].all()
    assert not eligible[np.ix_(platform == "web", columns("countdown"))].any()
    assert not eligible[np.ix_(country == "JP", columns("harvest_crate"))].any()
    assert not eligible[np.ix_(world.level(PLAYERS) < 6, columns("guild_banner"))].any()
    assert not eligible[:, columns("loyal")].any()
    assert eligible[platform == "ios", INDEX["hint_bundle:countdown"]].all()


def test_who_bought_is_welcomed_no_more(world: World) -> None:
    world.bought_us[PLAYERS] = NOW - DAY_US
    assert not world.eligible(PLAYERS, NOW)[:, columns("welcome")].any()
    assert world.eligible(PLAYERS, NOW)[:, INDEX["hint_bundle:loyal"]].all()
    assert world.eligible(PLAYERS, NOW + 29 * DAY_US)[:, INDEX["hint_bundle:welcome"]].all()


def test_a_candidate_rests_after_it_was_shown(world: World) -> None:
    shown = INDEX["hint_bundle:welcome"]
    world.last_shown_us[PLAYERS, shown] = NOW
    assert not world.eligible(PLAYERS, NOW + 19 * HOUR_US)[:, shown].any()
    assert world.eligible(PLAYERS, NOW + 20 * HOUR_US)[:, shown].all()


def test_resuming_spreads_those_who_were_due(world: World) -> None:
    later = START_US + 9 * DAY_US
    due = world.next_us <= later
    kept = world.next_us[~due].copy()
    world.resume(later)
    assert (world.next_us[due] >= later).all()
    assert world.next_us[due].std() > HOUR_US
    np.testing.assert_array_equal(world.next_us[~due], kept)


def test_every_kind_of_rule_can_be_judged(world: World) -> None:
    level = world.level(PLAYERS)
    held = {"<": level < 5, "<=": level <= 5, "==": level == 5, "!=": level != 5, ">=": level >= 5, ">": level > 5}
    ruled = [replaced(USE_CASE.catalogue, Rule("level", op, 5)) for op in ("<", "<=", "==", "!=", ">=", ">")]
    for op, catalogue in zip(held, ruled, strict=True):
        np.testing.assert_array_equal(World(catalogue, 7, START_US, SMALL).eligible(PLAYERS, NOW)[:, 0], held[op])
    outside = World(replaced(USE_CASE.catalogue, Rule("country", "not in", ("US",))), 7, START_US, SMALL)
    np.testing.assert_array_equal(outside.eligible(PLAYERS, NOW)[:, 0], world.people.country[PLAYERS] != COUNTRIES.index("US"))


def test_a_rule_that_the_world_cannot_judge_is_named() -> None:
    with pytest.raises(DefinitionError, match="moon"):
        World(replaced(USE_CASE.catalogue, Rule("moon", "==", 1)), 7, START_US, SMALL).eligible(PLAYERS, NOW)


def replaced(catalogue: Catalogue, rule: Rule) -> Catalogue:
    first, *others = catalogue.candidates
    assert first.candidate_id != NO_ACTION
    return Catalogue((msgspec.structs.replace(first, rules=(rule,)), *others))


def test_settings_are_the_only_difference_of_an_easier_world() -> None:
    easy = World(USE_CASE.catalogue, 7, START_US, replace(SMALL, uplift=0.2))
    hard = World(USE_CASE.catalogue, 7, START_US, SMALL)
    assert easy.expected(PLAYERS, NOW)[:, 0].mean() > hard.expected(PLAYERS, NOW)[:, 0].mean()
    np.testing.assert_array_equal(easy.people.segment, hard.people.segment)
