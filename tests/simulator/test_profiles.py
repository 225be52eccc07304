"""The game's own table of profiles."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

from contracts.clock import DAY_US
from simulator.profiles import write_profiles
from simulator.world import World
from tests.simulator.conftest import START_US, Played
from use_cases.game_promotion import USE_CASE
from use_cases.game_promotion.events import COUNTRIES


def test_profiles_are_written_as_players_join(world: World, tmp_path: Path) -> None:
    path = tmp_path / "profiles.sqlite"
    later = START_US + 5 * DAY_US
    assert write_profiles(path, world.people, START_US) == 150
    assert write_profiles(path, world.people, START_US) == 0
    assert (
        write_profiles(path, world.people, later)
        == int(((world.people.joined_us > START_US) & (world.people.joined_us <= later)).sum())
        > 0
    )
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(USE_CASE.attribute_sources[0].query).fetchall()
    named = {row[0]: row for row in rows}
    entity_id, valid_from, recorded_at, country, _, _ = named[world.people.names[3]]
    assert (entity_id, valid_from, recorded_at, country) == (
        "p-000003",
        int(world.people.joined_us[3]),
        START_US,
        COUNTRIES[world.people.country[3]],
    )
    assert all(row[1] <= row[2] for row in rows)


def test_decisions_know_the_profile(played: Played) -> None:
    place = USE_CASE.feature_set.names.index("country")
    world = played.game.world
    logged = played.tables["decisions"]
    known = logged.filter(pl_known(logged["entity_id"].to_list(), world))
    expected = [world.people.country[world.position(name)] for name in known["entity_id"]]
    np.testing.assert_array_equal(known["features"].list.get(place).to_numpy(), expected)


def pl_known(names: list[str], world: World) -> list[bool]:
    return [bool(world.people.joined_us[world.position(name)] <= world.start_us) for name in names]
