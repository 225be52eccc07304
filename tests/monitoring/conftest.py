"""A small installation with decisions of three arms, as `monitor` would find it."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from contracts.catalogue import NO_ACTION, Candidate, Catalogue
from contracts.clock import DAY_US, HOUR_US
from contracts.events import EventType, FieldType
from contracts.records import CandidateProbability, Decision, Event, Outcome, Quarantined, StoredEvent
from decisions.policies import PolicySpec
from features.definitions import Aggregate, FeatureSet, Window
from releases.ledger import Ledger
from storage.drain import drain
from storage.journal import Journal
from storage.layout import Layout
from storage.tables import Tables
from use_cases.definition import UseCase

NOON = 12 * HOUR_US


@pytest.fixture(scope="session")
def shop() -> UseCase:
    """A use case with one feature: purchases of a week."""
    return UseCase(
        name="shop",
        title="What to offer",
        event_types=[EventType("purchase", {"amount_micros": FieldType.INT})],
        feature_set=FeatureSet("shop", (Aggregate(name="purchases", source="purchase", aggregate="count", window_us=Window.days(7)),)),
        catalogue=Catalogue((Candidate(NO_ACTION, {"price": 0}), Candidate("hat", {"price": 5}))),
        start_policy=PolicySpec("uniform"),
        learned_policy=PolicySpec("epsilon_greedy", 0.1),
        outcome_window_us=DAY_US,
        ttl_us=HOUR_US,
    )


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def ledger(layout: Layout) -> Iterator[Ledger]:
    opened = Ledger(layout.ledger)
    yield opened
    opened.close()


class Shop:
    """Writes what happened into a journal, and drains it."""

    def __init__(self, layout: Layout, use_case: UseCase) -> None:
        self._layout = layout
        self._use_case = use_case
        self._ids = itertools.count()
        self._seqs: dict[str, int] = {}

    def purchase(self, journal: Journal, entity: str, at: int) -> None:
        event = Event(f"e{next(self._ids)}", entity, "purchase", at, at, self._seq(entity), {"amount_micros": 5})
        self._append(journal, "events", StoredEvent(self._use_case.name, event))

    def decision(self, journal: Journal, entity: str, at: int, arm: str, purchases: float, reward: int = 0, release: str = "r-1") -> None:
        """A decision that says it saw so many purchases, and its outcome an hour later unless the reward is 0."""
        seen, identifier = self._seqs.get(entity, 0), f"d{next(self._ids)}"
        decision = Decision(
            decision_id=identifier,
            use_case=self._use_case.name,
            entity_id=entity,
            decided_at=at,
            expires_at=at + HOUR_US,
            release_id=release,
            feature_set=self._use_case.feature_set.digest,
            catalogue="",
            arm=arm,
            arm_probability=0.5,
            action="hat",
            propensity=0.5,
            draw=0.25,
            candidates=(CandidateProbability("hat", 0.5, 1.0), CandidateProbability(NO_ACTION, 0.5, 0.0)),
            features=(purchases,),
            ages_us=(0,),
            missing=(),
            degraded=(),
            seen_seq=seen,
            seq=self._seq(entity),
            context={},
            request_digest="",
        )
        self._append(journal, "decisions", decision)
        if reward:
            later = at + HOUR_US
            outcome = Outcome(f"o-{identifier}", identifier, entity, self._use_case.name, reward, later, later, self._seq(entity))
            self._append(journal, "outcomes", outcome)

    def open(self) -> Journal:
        return Journal(self._layout.journal, 2**26)

    def drain(self, journal: Journal) -> None:
        drain(journal, Tables(self._layout.tables), {self._use_case.name: self._use_case.schema})

    def quarantine(self, journal: Journal) -> None:
        self._append(journal, "quarantine", Quarantined(self._use_case.name, "event", "no type", "{}", NOON))

    def _seq(self, entity: str) -> int:
        self._seqs[entity] = self._seqs.get(entity, 0) + 1
        return self._seqs[entity]

    def _append(self, journal: Journal, stream: str, record: msgspec.Struct) -> None:
        content = msgspec.msgpack.encode(record)
        journal.write(lambda write: write.append(stream, content))


@pytest.fixture
def shop_log(layout: Layout, shop: UseCase) -> Shop:
    return Shop(layout, shop)


@pytest.fixture
def busy(shop_log: Shop) -> Shop:
    """Control earned 1 dollar of 2 decisions, the champion 6 of 3; one decision of the champion is not matured at noon of the third day."""
    journal = shop_log.open()
    shop_log.purchase(journal, "anna", NOON - HOUR_US)
    shop_log.decision(journal, "anna", NOON, "champion", purchases=1.0, reward=4_000_000)
    shop_log.decision(journal, "bert", NOON + 1, "champion", purchases=0.0, reward=2_000_000)
    shop_log.decision(journal, "cleo", NOON + 2, "champion", purchases=0.0)
    shop_log.decision(journal, "dora", NOON + 1, "control", purchases=0.0, reward=1_000_000)
    shop_log.decision(journal, "emil", NOON + 1, "control", purchases=0.0)
    shop_log.decision(journal, "fred", NOON - DAY_US, "control", purchases=0.0, reward=900_000_000, release="r-0")
    shop_log.decision(journal, "gina", 2 * DAY_US + NOON, "champion", purchases=0.0)
    shop_log.quarantine(journal)
    shop_log.drain(journal)
    journal.close()
    return shop_log
