"""What the guide to features tells people to write and to type does what it says."""

import re
import shlex
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contracts.events import EventSchema, EventType, FieldType
from contracts.settings import Settings
from features.definitions import FeatureSet
from services.bootstrap import start_releases
from services.credentials import make_credentials
from serving.messages import EventMessage
from serving.service import DecisionService
from storage.layout import Layout
from tests.cli.conftest import Run

GAME = "game_promotion"
SCHEMA = EventSchema.build(
    "shop",
    [
        EventType("purchase", {"amount_micros": FieldType.INT, "product": FieldType.STR}),
        EventType("session", {"level": FieldType.INT}),
        EventType("profile", {"country": FieldType.STR, "age": FieldType.INT}, optional=("age",)),
    ],
)


@pytest.fixture
def guide(repository: Path) -> str:
    return (repository / "docs/features.md").read_text()


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Layout:
    """An installation of the game with a decision, an event, one in quarantine, and a file of events beside it."""
    monkeypatch.setenv("OFFERLOOP_USE_CASES", GAME)
    settings = Settings(state=str(tmp_path / "state"), use_cases=(GAME,))
    make_credentials(settings)
    start_releases(settings)
    with DecisionService(settings) as service:
        now_us = service.clock.now_us()
        session = EventMessage("e-1", "player-1", "session", now_us - 1, {"level": 3})
        service.accept_events(GAME, [session, EventMessage("e-2", "player-1", "session", now_us - 1, {"level": 3, "world": 2})])
        service.decide(GAME, "player-1")
    rows = {"event_id": ["f-1"], "entity_id": ["player-1"], "type": ["session"], "event_time": [now_us - 10**9], "level": [2]}
    pl.DataFrame(rows).write_parquet(tmp_path / "events.parquet")
    return Layout(settings.folder)


def typed(guide: str) -> list[str]:
    lines = [line for block in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL) for line in block.splitlines()]
    return lines


def test_every_line_that_is_shown_runs(run: Run, game: Layout, guide: str, tmp_path: Path) -> None:
    lines = typed(guide)
    assert len(lines) >= 13
    for line in lines:
        program, *words = shlex.split(line)
        ran = run(*words)
        assert program == "offerloop" and ran.code == 0, f"{line}: {ran.err}"
        assert ran.out, line
    assert (tmp_path / "profile.html").exists() and (tmp_path / "game_promotion.md").exists()


def test_every_command_of_features_and_quarantine_is_shown(guide: str) -> None:
    from cli.features import COMMANDS
    from cli.quarantine import quarantine

    shown = {tuple(shlex.split(line)[1:3]) for line in typed(guide)}
    assert {("features", name) for name in COMMANDS} | {("quarantine", name) for name in quarantine.commands} <= shown


def test_the_features_that_are_shown_are_features(guide: str) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    features = found["FEATURES"]
    assert isinstance(features, FeatureSet)
    features.check(SCHEMA)
    assert {"purchase_amount_micros_sum_7d", "purchases_7d", "big_purchase_count_12h", "age", "tier"} <= set(features.names)
    assert FeatureSet.from_json(features.to_json()).digest == features.digest


def test_pages_that_the_guide_names_are_there(guide: str, repository: Path) -> None:
    for name in re.findall(r"\]\(([^)]+\.md)\)", guide):
        assert (repository / "docs" / name).is_file(), name
