"""What is older than it may be: which value every engine gives, for every aggregate and for attributes, by the declared fallback."""

from dataclasses import dataclass
from typing import get_args

import pytest

from contracts.clock import HOUR_US, MINUTE_US
from contracts.records import Event, FieldValue
from features.definitions import Aggregate, AggregateKind, Attribute, Derived, Fallback, FeatureSet, Where, Window
from features.expressions import col
from tests.engines.engines import EACH_ENGINE, engine_named
from tests.engines.rows import Found, Row
from tests.engines.world import KINDS, NOON, SCHEMA

FALLBACKS: tuple[Fallback, ...] = get_args(Fallback)
MAX_AGE = 30 * MINUTE_US
DEFAULT = -5.0


def aggregate(kind: AggregateKind, fallback: Fallback) -> Aggregate:
    return Aggregate(
        name=f"{kind}_{fallback}",
        source="purchase",
        aggregate=kind,
        field=None if kind in ("count", "seconds_since_last") else "amount",
        window_us=Window.hours(3),
        where=(Where("gift", "==", False),),
        max_age_us=MAX_AGE,
        fallback=fallback,
        default=DEFAULT,
    )


def attribute(fallback: Fallback) -> Attribute:
    return Attribute(name=f"level_{fallback}", source="profile", field="level", max_age_us=MAX_AGE, fallback=fallback, default=DEFAULT)


JUDGED: tuple[Aggregate | Attribute, ...] = (
    *(aggregate(kind, fallback) for fallback in FALLBACKS for kind in KINDS),
    *(attribute(fallback) for fallback in FALLBACKS),
)
FEATURES = FeatureSet("fresh", (*JUDGED, *(Derived(name=f"of_{f.name}", expression=col(f.name) + 1.0, default=-9.0) for f in JUDGED)))
WORTH = dict(zip(KINDS, (2.0, 12.0, 6.0, 4.0, 8.0, 8.0, 4.0, 2.0), strict=False))
"""What the aggregates of 8, then 4, are worth."""


@dataclass(frozen=True)
class Case:
    """Purchases and profiles so long before the moment, newest last, with their fields; whether features are stale then."""

    name: str
    events: tuple[tuple[str, int, dict[str, FieldValue]], ...]
    stale: bool


def made(age: int, *more: tuple[str, int, dict[str, FieldValue]]) -> tuple[tuple[str, int, dict[str, FieldValue]], ...]:
    return (
        ("purchase", HOUR_US, {"amount": 8, "gift": False}),
        ("profile", HOUR_US, {"level": 2}),
        ("purchase", age, {"amount": 4, "gift": False}),
        ("profile", age, {"level": 4}),
        *more,
    )


CASES = (
    Case("young", made(1), False),
    Case("as old as it may be", made(MAX_AGE), False),
    Case("a microsecond older", made(MAX_AGE + 1), True),
    Case(
        "an event that the filter leaves out does not make it young", made(MAX_AGE + 1, ("purchase", 5, {"amount": 4, "gift": True})), True
    ),
    Case("nor one without what is filtered by", made(MAX_AGE + 1, ("purchase", 5, {"amount": 4})), True),
    Case("nor one of another type", made(MAX_AGE + 1, ("session", 5, {"length_ms": 4})), True),
)


@pytest.fixture(scope="module", params=EACH_ENGINE)
def found(request: pytest.FixtureRequest) -> dict[str, Found]:
    events = [
        Event(f"e{number}", case.name, kind, NOON - age, NOON - age, number, fields)
        for case in CASES
        for number, (kind, age, fields) in enumerate(case.events, start=1)
    ]
    rows = [Row(case.name, case.name, NOON) for case in CASES]
    # why: what has no value of the field counts for `count` alone, so it is an entity of its own
    without: list[tuple[str, int, dict[str, FieldValue]]] = [("e1", MAX_AGE + 1, {"amount": 4, "gift": False}), ("e2", 5, {"gift": False})]
    events += [Event(name, "without", "purchase", NOON - age, NOON - age, int(name[1:]), fields) for name, age, fields in without]
    rows.append(Row("without", "without", NOON))
    return engine_named(request.param, request)(FEATURES, SCHEMA, events, rows)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_stale_value_is_replaced_where_that_is_the_fallback(found: dict[str, Found], case: Case) -> None:
    row = found[case.name]
    assert row.missing == ()
    age = min(age for kind, age, fields in case.events if kind == "purchase" and fields.get("gift") is False)
    worth = WORTH | {"seconds_since_last": age / 1e6, "level": 4.0}
    for fallback in FALLBACKS:
        for name, value in worth.items():
            expected = DEFAULT if case.stale and fallback == "default" else value
            assert row.values[f"{name}_{fallback}"] == expected.hex(), (name, fallback)
            assert row.values[f"of_{name}_{fallback}"] == (expected + 1.0).hex(), (name, fallback)
    if row.stale is not None:
        assert row.stale == ({feature.name for feature in JUDGED} if case.stale else set())


def test_an_event_without_a_value_makes_only_those_young_that_need_none(found: dict[str, Found]) -> None:
    values = {name: float.fromhex(value) for name, value in found["without"].values.items()}
    assert [values[f"{kind}_default"] for kind in KINDS] == [2.0, *[DEFAULT] * 7, 5e-6]
    assert [values[f"{kind}_last"] for kind in KINDS] == [2.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 1.0, 5e-6]
    assert [name for name in found["without"].missing if name in {feature.name for feature in JUDGED}] == [
        f"level_{fallback}" for fallback in FALLBACKS
    ]
