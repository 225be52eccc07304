"""The game's own table of player profiles: a real SQLite file, which the installation reads as an attribute source."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

from simulator.people import People
from use_cases.game_promotion.events import CHANNELS, COUNTRIES, PLATFORMS

_TABLE = """
CREATE TABLE IF NOT EXISTS players (
    entity_id TEXT NOT NULL, valid_from INTEGER NOT NULL, recorded_at INTEGER NOT NULL,
    country TEXT NOT NULL, platform TEXT NOT NULL, channel TEXT NOT NULL,
    PRIMARY KEY (entity_id, valid_from)
)
"""


def write_profiles(path: Path, people: People, now_us: int) -> int:
    """Add the profiles of everybody who joined by `now_us` and is not there yet; how many were added.

    Those who joined before the table existed are recorded now, but valid from the day they joined.
    """
    joined = np.flatnonzero(people.joined_us <= now_us)
    rows = [(people.names[player], int(people.joined_us[player]), now_us, *_profile(people, player)) for player in joined.tolist()]
    with closing(sqlite3.connect(path, timeout=30.0)) as connection, connection:
        connection.execute(_TABLE)
        before = connection.total_changes
        connection.executemany("INSERT OR IGNORE INTO players VALUES (?, ?, ?, ?, ?, ?)", rows)
        return connection.total_changes - before


def _profile(people: People, player: int) -> tuple[str, str, str]:
    return COUNTRIES[people.country[player]], PLATFORMS[people.platform[player]], CHANNELS[people.channel[player]]
