"""What the online measurements are about: a game's events, twenty features of them, and a release that reads these."""

from dataclasses import replace
from typing import Literal

import numpy as np

from contracts.catalogue import NO_ACTION, Candidate, Catalogue
from contracts.clock import HOUR_US
from contracts.events import EventType, FieldType
from contracts.records import Event, FieldValue
from decisions.policies import PolicySpec
from features.definitions import Aggregate, AggregateKind, Feature, FeatureSet, Where, Window
from releases.bundle import BundleParts
from serving.messages import EventMessage
from training.train import start_parts
from use_cases.definition import UseCase

MODES = ("puzzle", "race", "duel", "quest", "arena", "farm")
EVENT_TYPES = (
    EventType("match", {"mode": FieldType.STR, "level": FieldType.INT, "won": FieldType.BOOL}),
    EventType("purchase", {"amount_micros": FieldType.INT, "product": FieldType.STR}),
)


def _of_matches() -> tuple[Feature, ...]:
    counts = [
        Aggregate(name=f"matches_{name}", source="match", aggregate="count", window_us=length)
        for name, length in (("1h", Window.hours(1)), ("1d", Window.days(1)), ("7d", Window.days(7)), ("28d", Window.days(28)))
    ]
    return (
        *counts,
        Aggregate(name="duels_7d", source="match", aggregate="count", window_us=Window.days(7), where=(Where("mode", "==", "duel"),)),
        Aggregate(name="won_7d", source="match", aggregate="sum", field="won", window_us=Window.days(7)),
        Aggregate(name="modes_28d", source="match", aggregate="distinct", field="mode", window_us=Window.days(28)),
        Aggregate(name="level", source="match", aggregate="last", field="level", window_us=Window.days(28)),
        Aggregate(name="mean_level_7d", source="match", aggregate="mean", field="level", window_us=Window.days(7)),
        Aggregate(name="seconds_since_match", source="match", aggregate="seconds_since_last", window_us=Window.days(14)),
    )


def _of_purchases() -> tuple[Feature, ...]:
    kinds: tuple[AggregateKind, ...] = ("sum", "max", "mean")
    return (
        *(
            Aggregate(name=f"{kind}_{days}d", source="purchase", aggregate=kind, field="amount_micros", window_us=Window.days(days))
            for kind in kinds
            for days in (1, 7, 28)
        ),
        Aggregate(name="purchases_28d", source="purchase", aggregate="count", window_us=Window.days(28)),
    )


CHAMPION_SET = FeatureSet("bench", (*_of_matches(), *_of_purchases()))
"""Twenty windowed features."""

CATALOGUE = Catalogue((Candidate(NO_ACTION, {"kind": "none"}), Candidate("gems", {"kind": "gems"})))
USE_CASE = UseCase(
    name="bench",
    title="What the online measurements decide",
    event_types=EVENT_TYPES,
    feature_set=CHAMPION_SET,
    catalogue=CATALOGUE,
    start_policy=PolicySpec("uniform"),
    learned_policy=PolicySpec("uniform"),
    outcome_window_us=Window.days(1),
    ttl_us=HOUR_US,
)


def bundle_of(feature_set: FeatureSet) -> BundleParts:
    """A release that reads a feature set and draws at random."""
    return start_parts(replace(USE_CASE, feature_set=feature_set))


def fields(random: np.random.Generator, kind: str) -> dict[str, FieldValue]:
    """The fields of a random event."""
    if kind == "match":
        return {"mode": MODES[int(random.integers(len(MODES)))], "level": int(random.integers(1, 90)), "won": bool(random.integers(2))}
    return {"amount_micros": int(random.integers(1, 100)) * 990_000, "product": f"pack-{int(random.integers(12))}"}


def message(
    random: np.random.Generator, number: int, entity: int, event_time: int, kind: Literal["match", "purchase", ""] = ""
) -> EventMessage:
    """A random event as a client sends it; three of four are matches."""
    kind = kind or ("match" if random.random() < 0.75 else "purchase")
    return EventMessage(f"event-{number:012d}", f"player-{entity}", kind, event_time, fields(random, kind))


def event(random: np.random.Generator, number: int, entity_id: str, event_time: int) -> Event:
    """The same, as it was accepted at its own time."""
    kind = "match" if random.random() < 0.75 else "purchase"
    return Event(f"event-{number:012d}", entity_id, kind, event_time, event_time, 0, fields(random, kind))
