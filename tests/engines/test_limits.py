"""Large numbers, many events, absent values and texts that look alike, on every engine."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from contracts.clock import DAY_US
from contracts.events import INT64_MAX
from contracts.records import Event, FieldValue
from features.definitions import Aggregate, FeatureSet, Where, Window
from tests.engines.engines import EACH_ENGINE, engine_named
from tests.engines.rows import Found, Row
from tests.engines.world import KINDS, NOON, SCHEMA

WINDOW = Window.days(400)
FEATURES = FeatureSet(
    "limits",
    (
        *(
            Aggregate(
                name=kind,
                source="purchase",
                aggregate=kind,
                field=None if kind in ("count", "seconds_since_last") else "amount",
                window_us=WINDOW,
                default=math.nan,
            )
            for kind in KINDS
        ),
        Aggregate(name="products", source="purchase", aggregate="distinct", field="product", window_us=WINDOW),
        Aggregate(name="kinds_of_gift", source="purchase", aggregate="distinct", field="gift", window_us=WINDOW),
        Aggregate(name="gifts", source="purchase", aggregate="sum", field="gift", window_us=WINDOW),
        Aggregate(name="most_gift", source="purchase", aggregate="max", field="gift", window_us=WINDOW, default=-1.0),
        Aggregate(name="not_a", source="purchase", aggregate="count", window_us=WINDOW, where=(Where("product", "not in", ("a", "b")),)),
        Aggregate(name="unequal", source="purchase", aggregate="count", window_us=WINDOW, where=(Where("product", "!=", "a"),)),
        Aggregate(
            name="last_product",
            source="purchase",
            aggregate="last",
            field="product",
            window_us=WINDOW,
            categories=("z", "a", "A", "a ", "é"),
        ),
    ),
)
AMOUNTS = random.Random(5)
MANY = [AMOUNTS.randint(-(10**6), 10**6) for _ in range(5_000)]
EVEN = 2**53


@dataclass(frozen=True)
class Case:
    """Purchases, each a microsecond behind the one before, the last a microsecond before noon; what some features are then."""

    name: str
    purchases: Sequence[Mapping[str, FieldValue]]
    expected: Mapping[str, float]


def amounts(*values: int) -> list[Mapping[str, FieldValue]]:
    return [{"amount": value} for value in values]


def products(*values: str | None) -> list[Mapping[str, FieldValue]]:
    return [{"product": value} for value in values]


CASES = (
    Case(
        "five thousand events",
        amounts(*MANY),
        {
            "count": 5_000.0,
            "sum": float(sum(MANY)),
            "mean": sum(MANY) / 5_000,
            "min": float(min(MANY)),
            "max": float(max(MANY)),
            "first": float(MANY[0]),
            "last": float(MANY[-1]),
            "distinct": float(len(set(MANY))),
        },
    ),
    Case("a sum stops at the greatest integer", amounts(INT64_MAX, 1), {"sum": float(INT64_MAX), "mean": float(INT64_MAX) / 2}),
    Case("and at the least", amounts(-INT64_MAX, -1, -INT64_MAX), {"sum": -float(INT64_MAX), "mean": -float(INT64_MAX) / 3}),
    Case("it stops at its end only, not on the way", amounts(INT64_MAX, INT64_MAX, -INT64_MAX, -INT64_MAX, 7), {"sum": 7.0, "mean": 1.4}),
    Case("many greatest integers", amounts(*[INT64_MAX, -INT64_MAX] * 1_000, INT64_MAX, 5), {"sum": float(INT64_MAX), "count": 2_002.0}),
    Case("a sum is rounded once", amounts(EVEN, 1, 1), {"sum": float(EVEN + 2), "mean": float(EVEN + 2) / 3}),
    Case("a sum of odd parts is exact", amounts(EVEN + 1, EVEN + 1), {"sum": float(2 * EVEN + 2), "distinct": 1.0}),
    Case("neighbours beyond 2^53 are two values", amounts(EVEN, EVEN + 1), {"distinct": 2.0, "min": float(EVEN), "max": float(EVEN)}),
    Case("refunds", amounts(500, -500), {"sum": 0.0, "mean": 0.0, "min": -500.0, "max": 500.0, "count": 2.0}),
    Case("more is refunded than was paid", amounts(100, -700), {"sum": -600.0, "mean": -300.0, "last": -700.0}),
    Case("a sum of nothing but absent values is missing", [{}, {"gift": True}], {"count": 2.0, "sum": math.nan, "distinct": math.nan}),
    Case("absent values are passed over", [{"amount": 4}, {}], {"count": 2.0, "mean": 4.0, "last": 4.0, "distinct": 1.0}),
    Case("texts differ by every sign", products("a", "A", "a ", "", "é", "e\u0301", "a"), {"products": 6.0, "last_product": 1.0}),
    Case("an empty text is a value", products("a", ""), {"products": 2.0, "last_product": -1.0}),
    Case("a text that no category names", products("a", "zz"), {"last_product": -1.0, "unequal": 1.0, "not_a": 1.0}),
    Case("an absent text passes no filter", products(None, "c"), {"unequal": 1.0, "not_a": 1.0, "count": 2.0}),
    Case(
        "truth values are 0 and 1",
        [{"gift": True}, {"gift": False}, {"gift": True}],
        {"gifts": 2.0, "kinds_of_gift": 2.0, "most_gift": 1.0},
    ),
)


@pytest.fixture(scope="module", params=EACH_ENGINE)
def found(request: pytest.FixtureRequest) -> dict[str, Found]:
    events = []
    for case in CASES:
        for number, fields in enumerate(case.purchases, start=1):
            at = NOON - len(case.purchases) + number - 1
            events.append(Event(f"e{number:06d}", case.name, "purchase", at, at, number, dict(fields)))
    rows = [Row(case.name, case.name, NOON) for case in CASES]
    return engine_named(request.param, request)(FEATURES, SCHEMA, events, rows)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_values(found: dict[str, Found], case: Case) -> None:
    row = found[case.name]
    assert {name: row.values[name] for name in case.expected} == {name: value.hex() for name, value in case.expected.items()}
    assert {name for name in case.expected if name in row.missing} == {name for name, value in case.expected.items() if math.isnan(value)}


@pytest.mark.parametrize("name", EACH_ENGINE)
def test_equal_times_are_ordered_by_the_text_of_the_id(name: str, request: pytest.FixtureRequest) -> None:
    ids = ["e9", "e10", "E9", "e-9", "e", "e90"]
    at = NOON - DAY_US
    events = [Event(own, "p", "purchase", at, at, number, {"amount": number}) for number, own in enumerate(ids, start=1)]
    values = engine_named(name, request)(FEATURES, SCHEMA, events, [Row("r", "p", NOON)])["r"].values
    assert (values["first"], values["last"]) == ((3.0).hex(), (6.0).hex())
