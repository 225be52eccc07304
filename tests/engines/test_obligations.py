"""What every aggregate owes on every engine, written once: pairs of rows that must agree, and rows that must hold the default."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pytest

from contracts.clock import HOUR_US, to_datetime, to_us
from contracts.records import Event
from features.definitions import FeatureSet, window_start
from tests.engines.engines import EACH_ENGINE, Engine, engine_named
from tests.engines.rows import Found, Row
from tests.engines.world import KINDS, NOON, SCHEMA, WINDOWS, aggregate, event

WINDOW = "2d"
DEFAULT = -1.5
AGGREGATES = tuple(aggregate(kind, WINDOW, suffix, DEFAULT) for kind in KINDS for suffix in ("", "_big"))
FEATURES = FeatureSet("owing", AGGREGATES)
START = window_start(NOON, WINDOWS[WINDOW])


@dataclass(frozen=True)
class Obligation:
    """A history, and another that must give the same; without another, the default is owed.

    `seen_seq` is of the first history's row; without it the row sees what was ingested by its moment. The other's moment is noon.
    """

    name: str
    history: Sequence[Event]
    same_as: Sequence[Event] | None
    seen_seq: int | None = None
    moment: int = NOON


def purchase(number: int, at: int, amount: int, ingested: int | None = None, product: str = "a") -> Event:
    return event(number, "purchase", at, at if ingested is None else ingested, {"amount": amount, "product": product, "gift": False})


BASE = [purchase(1, NOON - 30 * HOUR_US, 7), purchase(2, NOON - 20 * HOUR_US, 40), purchase(3, NOON - HOUR_US, -2)]
OLD = purchase(9, START - 1, 99)


TIMES = (
    "2024-02-29T00:00", "2024-02-29T12:00", "2024-03-01T00:00", "2024-03-01T23:00", "2024-03-02T12:00", "2025-03-01T00:00",
    "1970-01-01T00:00", "1970-01-01T01:00", "1970-01-02T23:00", "1970-01-03T00:00", "1969-12-31T23:00", "1904-02-29T12:00",
    "1900-03-01T00:00", "0001-01-05T00:00", "2000-03-01T00:00", "2100-03-01T00:00", "9999-12-31T23:00",
)  # fmt: skip
"""Leap days, years that have none though four divides them, the epoch, the first and last years that have a date."""


def arriving(events: Sequence[Event], at: int) -> list[Event]:
    """Events that become visible in this order, from a moment on."""
    return [Event(e.event_id, e.entity_id, e.type, e.event_time, at + seq, seq, e.fields) for seq, e in enumerate(events, start=1)]


def at_once(events: Sequence[Event]) -> list[Event]:
    """Events that all happened at one time."""
    return [Event(e.event_id, e.entity_id, e.type, NOON - 9, NOON - 9, e.seq, e.fields) for e in events]


def moved(moment: int) -> Obligation:
    """The same history around another moment, whole hours away, by the wall clock of its time."""
    history = [
        Event(e.event_id, e.entity_id, e.type, e.event_time + moment - NOON, e.ingested_time + moment - NOON, e.seq, e.fields)
        for e in [purchase(0, START - 1, 99), purchase(9, START, 5), *BASE]
    ]
    return Obligation(f"the same at {to_datetime(moment):%Y-%m-%d %H:%M}", history, [purchase(9, START, 5), *BASE], moment=moment)


OBLIGATIONS = (
    Obligation("default for an unknown entity", [], None),
    Obligation("default when all lies before the window", [purchase(1, START - 1, 7)], None),
    Obligation("default when all lies after the moment", [purchase(1, NOON, 7), purchase(2, NOON + 1, 7)], None, seen_seq=2),
    Obligation("default when nothing passes the type", [event(1, "session", NOON - 5, NOON - 5, {"length_ms": 9})], None),
    Obligation("no event at the moment itself", [*BASE, purchase(4, NOON, 99)], BASE, seen_seq=4),
    Obligation("no event after the moment", [*BASE, purchase(4, NOON + 1, 99)], BASE, seen_seq=4),
    Obligation("no event ingested after the moment", [*BASE, purchase(4, NOON - 5, 99, ingested=NOON + 1)], BASE),
    Obligation("no event beyond seen_seq", [*BASE, purchase(4, NOON - 5, 99)], BASE, seen_seq=3),
    Obligation("an event ingested at the moment is known", [*BASE[:2], purchase(3, NOON - HOUR_US, -2, ingested=NOON)], BASE),
    Obligation("seen_seq decides, not clocks", [*BASE[:2], purchase(3, NOON - HOUR_US, -2, ingested=NOON + 9)], BASE, seen_seq=3),
    Obligation("nothing before the window", arriving([OLD, *BASE], NOON - 9), BASE),
    Obligation("the window's first moment belongs to it", [purchase(1, START, 3), *BASE[1:]], [purchase(1, START + 1, 3), *BASE[1:]]),
    Obligation("late arrival does not matter", arriving(BASE, NOON - 9), BASE),
    Obligation("another order of arrival does not matter", arriving(BASE[::-1], NOON - 9), BASE),
    Obligation("arrival does not order equal times", arriving(at_once(BASE)[::-1], NOON - 9), at_once(BASE)),
    *(moved(to_us(datetime.fromisoformat(f"{text}Z"))) for text in TIMES),
    Obligation("other types do not matter", [*BASE, event(4, "session", NOON - 7, NOON - 7, {"length_ms": 9})], BASE),
)


def together(engine: Engine) -> dict[str, Found]:
    """All histories as entities of their own, with a bystander, in one run of an engine."""
    events = [Event("x", "bystander", "purchase", NOON - 3, NOON - 3, 1, {"amount": 5, "product": "a", "gift": False})]
    rows = []
    for index, owed in enumerate(OBLIGATIONS):
        for side, history, seen, moment in (
            ("left", owed.history, owed.seen_seq, owed.moment),
            ("right", owed.same_as or (), None, NOON),
        ):
            name = f"{side}{index}"
            events += [Event(e.event_id, name, e.type, e.event_time, e.ingested_time, e.seq, e.fields) for e in history]
            rows.append(Row(name, name, moment, seen))
    return engine(FEATURES, SCHEMA, events, rows)


@pytest.fixture(scope="module", params=EACH_ENGINE)
def found(request: pytest.FixtureRequest) -> dict[str, Found]:
    """What an engine says of all histories."""
    return together(engine_named(request.param, request))


@pytest.mark.parametrize("index", range(len(OBLIGATIONS)), ids=lambda index: OBLIGATIONS[index].name)
def test_all_aggregates_owe(found: dict[str, Found], index: int) -> None:
    left, right = found[f"left{index}"], found[f"right{index}"]
    if OBLIGATIONS[index].same_as is None:
        assert set(left.values.values()) == {DEFAULT.hex()}
        assert left.missing == FEATURES.names
    else:
        assert left == right
        assert not set(left.missing) & {feature.name for feature in AGGREGATES if not feature.where}


def test_histories_are_told_apart(found: dict[str, Found]) -> None:
    base = found[f"right{[owed.name for owed in OBLIGATIONS].index('no event at the moment itself')}"]
    values = {name: float.fromhex(value) for name, value in base.values.items()}
    assert [values[f"{kind}_{WINDOW}"] for kind in KINDS] == [3, 45, 15, -2, 40, 7, -2, 3, 3600]
    assert [values[f"{kind}_{WINDOW}_big"] for kind in KINDS] == [2, 47, 23.5, 7, 40, 7, 40, 2, 20 * 3600]
