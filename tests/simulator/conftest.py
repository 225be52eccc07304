"""A small game, and one played against an installation of the use case."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from contracts.clock import DAY_US
from contracts.settings import ClockSettings, Settings, Store
from contracts.tables import DECISIONS, EVENTS, OUTCOMES, QUARANTINE
from flows.attributes import read
from flows.sources import locate
from services.bootstrap import start_releases
from serving.service import DecisionService
from simulator.drive import Game, Progress
from simulator.inside import Inside
from simulator.settings import WorldSettings
from simulator.world import World
from storage.drain import drain
from storage.tables import Tables
from use_cases.game_promotion import USE_CASE

START_US = 20_000 * DAY_US
SMALL = WorldSettings(players=150, horizon_days=20)
"""Numbers of the real world, with few players."""

SCALE = 20_000
"""Logical seconds a second: the four hours of the outcome window take 0.7 s."""

DECISIONS_PLAYED = 300


@dataclass(frozen=True, slots=True)
class Played:
    """A game played against a decision service in this process, and what the installation has of it."""

    game: Game
    phases: tuple[Progress, ...]
    seen: tuple[Progress, ...]
    tables: Mapping[str, pl.DataFrame]
    profiles: Path


@pytest.fixture
def world() -> World:
    """A small world that nobody has played in."""
    return World(USE_CASE.catalogue, 7, START_US, SMALL)


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Two days of history, then 300 decisions by the first release, and everything that came of them."""
    folder = tmp_path_factory.mktemp("game")
    settings = Settings(
        state=str(folder / "state"),
        use_cases=(USE_CASE.name,),
        clock=ClockSettings(scale=SCALE, origin="2030-01-01T00:00:00Z"),
        store=Store(map_size_bytes=2**27),
    )
    settings.folder.mkdir()
    start_releases(settings)
    with DecisionService(settings) as service:
        profiles = folder / "profiles.sqlite"
        game = Game(World(USE_CASE.catalogue, 7, service.clock.now_us(), SMALL), Inside(service), USE_CASE.name, service.clock, profiles)
        seen: list[Progress] = []

        async def run() -> tuple[Progress, ...]:
            before = await game.prepare(2.0, seen.append)
            source = USE_CASE.attribute_sources[0]
            rows = [found.message for found in read(USE_CASE, source, locate(source, {source.name: str(profiles)}), 0)]
            assert service.accept_events(USE_CASE.name, rows).accepted == len(rows)
            return before, await game.play(DECISIONS_PLAYED, seen.append), await game.settle()

        phases = asyncio.run(run())
        tables = Tables(service.layout.tables)
        drain(service.journal, tables, {USE_CASE.name: USE_CASE.schema})
        stored = {name: tables.frame(USE_CASE.schema, name) for name in (EVENTS, DECISIONS, OUTCOMES, QUARANTINE)}
    return Played(game, phases, tuple(seen), stored, profiles)
