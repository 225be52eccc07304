"""A feature that is added to one file, in a line, is backfilled, trained on, released and served, with nothing else to do."""

import time
from collections.abc import Mapping
from difflib import unified_diff
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from contracts.records import Decision, FieldValue
from contracts.settings import ClockSettings, Settings, Store
from contracts.tables import DECISIONS, EVENTS
from features.definitions import FeatureSet, Window, window_start
from releases.bundle import BundleParts, read_bundle, write_bundle
from releases.ledger import Act, Ledger
from releases.stages import register, to_champion, to_shadow
from services.bootstrap import start_releases
from serving.messages import EventMessage, OutcomeMessage
from serving.service import DecisionService
from storage.drain import drain
from storage.tables import Tables
from tests.use_cases.conftest import COPY, Copy, load_copy
from training.dataset import build
from training.train import train_on
from use_cases.definition import UseCase

BEFORE = '        _purchases.max("amount_micros", days=28, name="dearest_28d", unit="micro-dollars"),\n'
ADDED = '        _purchases.sum("amount_micros", days=(1, 7), name="spend_{window}", unit="micro-dollars"),\n'

PLAYERS, ROUNDS = 150, 16


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    # why: the four hours of the outcome window are a second and a half
    return Settings(state=str(tmp_path / "state"), use_cases=(COPY,), clock=ClockSettings(scale=10_000), store=Store(map_size_bytes=2**28))


def play(service: DecisionService) -> None:
    """Every player buys something in some rounds, is decided for in all, and pays for what he was offered now and then."""
    draw = np.random.default_rng(7)
    for turn in range(ROUNDS):
        buyers = draw.permutation(PLAYERS)[: PLAYERS // 2]
        now_us = service.clock.now_us()
        service.accept_events(
            COPY,
            [
                EventMessage(
                    f"p-{turn}-{player}",
                    f"player-{player}",
                    "purchase",
                    now_us - int(draw.integers(0, Window.days(2))),
                    {"amount_micros": int(draw.integers(1, 50)) * 100_000, "product_set": "starter"},
                )
                for player in buyers
            ],
        )
        futures = [service.submit(COPY, f"player-{player}", {}) for player in range(PLAYERS)]
        decided = [future.result() for future in futures]
        paying = [decision for decision in decided if draw.random() < 0.2]
        service.accept_outcomes(
            COPY, [OutcomeMessage(f"o-{one.decision_id}", one.decision_id, 990_000, one.decided_at + 1) for one in paying]
        )


def drained(service: DecisionService, use_case: UseCase) -> Tables:
    tables = Tables(service.layout.tables)
    drain(service.journal, tables, {COPY: use_case.schema})
    return tables


def spent(events: pl.DataFrame, decision: Mapping[str, Any], days: int) -> float:
    """What the player of a decision had spent, of what the decision had seen, by the words of the definition."""
    moment = decision["decided_at"]
    seen = events.filter(
        (pl.col("entity_id") == decision["entity_id"])
        & (pl.col("seq") <= decision["seen_seq"])
        & (pl.col("event_time") < moment)
        & (pl.col("event_time") >= window_start(moment, Window.days(days)))
    )
    return float(seen["amount_micros"].sum())


@pytest.fixture
def played(copy: Copy, settings: Settings) -> tuple[Path, UseCase]:
    """The features.py of a use case whose installation has decisions in its log."""
    file = copy("game_promotion")
    init = file.with_name("__init__.py")
    # why: what is learned does not matter here, and learning takes time
    init.write_text(init.read_text().replace("rounds=120, ", "rounds=5, "))
    use_case = load_copy()
    assert use_case.learner.rounds == 5
    start_releases(settings)
    with DecisionService(settings) as service:
        play(service)
        drained(service, use_case)
        closed_us = service.clock.now_us() + use_case.outcome_window_us
        while service.clock.now_us() <= closed_us:
            time.sleep(0.05)
    return file, use_case


def release(service: DecisionService, parts: BundleParts) -> str:
    release_id = write_bundle(service.layout.bundles, parts, service.layout.secrets)
    ledger, act = Ledger(service.layout.ledger), Act("someone", service.clock.now_us(), "it knows what was spent")
    try:
        register(ledger, COPY, release_id, read_bundle(service.layout.bundles, release_id).digest, act)
        to_shadow(ledger, COPY, release_id, act)
        to_champion(ledger, COPY, release_id, act)
    finally:
        ledger.close()
    return release_id


def test_a_line_is_all_it_takes(played: tuple[Path, UseCase], settings: Settings, tmp_path: Path) -> None:
    file, before = played
    old = file.read_text()
    file.write_text(old.replace(BEFORE, BEFORE + ADDED))
    changes = [
        line
        for line in unified_diff(old.splitlines(), file.read_text().splitlines(), n=0)
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    assert 1 <= len(changes) <= 5

    use_case = load_copy()
    names = use_case.feature_set.names
    assert set(names) - set(before.feature_set.names) == {"spend_1d", "spend_7d"}

    with DecisionService(settings, {COPY: use_case}) as service:
        tables = drained(service, use_case)
        training_set = build(tables, use_case, now_us=service.clock.now_us(), folder=tmp_path / "training")
        check_backfilled(training_set.rows["decision_id"].to_list(), training_set.features, use_case, tables)
        assert training_set.backfilled == len(training_set) == PLAYERS * ROUNDS

        candidate = train_on(training_set, champion=training_set.rows["release_id"][0])
        stored = FeatureSet.from_json(msgspec.json.encode(candidate.parts.features))
        assert stored.digest == use_case.feature_set.digest and {"spend_1d", "spend_7d"} <= set(stored.names)
        release_id = release(service, candidate.parts)
        decision = served(service, release_id)

        events = drained(service, use_case).frame(use_case.schema, EVENTS)
    assert decision.feature_set == use_case.feature_set.digest
    logged = dict(zip(names, decision.features, strict=True))
    asked = {"entity_id": decision.entity_id, "decided_at": decision.decided_at, "seen_seq": decision.seen_seq}
    assert [logged["spend_1d"], logged["spend_7d"]] == [spent(events, asked, 1), spent(events, asked, 7)]
    assert logged["spend_7d"] >= 7_000_000.0


def check_backfilled(decision_ids: list[str], features: np.ndarray, use_case: UseCase, tables: Tables) -> None:
    events, decisions = tables.frame(use_case.schema, EVENTS), tables.frame(use_case.schema, DECISIONS)
    of_id = {row["decision_id"]: row for row in decisions.iter_rows(named=True)}
    places = {days: use_case.feature_set.names.index(f"spend_{days}d") for days in (1, 7)}
    some = range(0, len(decision_ids), 23)
    for days, place in places.items():
        found = [float(features[row, place]) for row in some]
        assert found == [spent(events, of_id[decision_ids[row]], days) for row in some]
        assert len(set(found)) > 10


def served(service: DecisionService, release_id: str) -> Decision:
    """A decision of a player outside control who has just bought something, once the release answers."""
    service.look()
    bought: dict[str, FieldValue] = {"amount_micros": 7_000_000, "product_set": "starter"}
    for number in range(200):
        entity_id = f"player-{number}"
        service.accept_events(COPY, [EventMessage(f"p-last-{number}", entity_id, "purchase", service.clock.now_us() - 1, bought)])
        decision = service.decide(COPY, entity_id)
        if decision.release_id == release_id and decision.arm != "control":
            return decision
    raise AssertionError("the new release answered nobody")
