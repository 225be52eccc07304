"""Random feature sets: anything that the vocabulary allows, over events of a schema that has a bit of everything."""

import math
from collections.abc import Sequence
from random import Random
from typing import get_args

from contracts.clock import DAY_US, HOUR_US, MINUTE_US
from contracts.events import INT64_MAX, EventSchema, EventType, FieldType
from features.definitions import Aggregate, AggregateKind, Attribute, Derived, Fallback, Feature, FeatureSet, Request, Where, WhereOp
from features.expressions import Arithmetic, ArithmeticOp, Bucket, Case, Coalesce, Column, Compare, CompareOp, Expression, Number

SCHEMA = EventSchema.build(
    "bazaar",
    [
        EventType("purchase", {"amount": FieldType.INT, "product": FieldType.STR, "gift": FieldType.BOOL, "order": FieldType.INT}),
        EventType("session", {"length_ms": FieldType.INT, "product": FieldType.STR, "größe": FieldType.INT}),
        EventType("profile", {"country": FieldType.STR, "level": FieldType.INT, "vip": FieldType.BOOL}),
        EventType("visit", {}),
    ],
)
TEXTS = ("a", "b", "A", "a ", "", "é", "e\u0301", "it's", 'a\\"b', "日本", "null", "0", "NaN", "😀")
NUMBERS = (0, 1, -1, 2, 7, 500, -500, 2**53, 2**53 + 1, -(2**53) - 3, 10**18 + 1, INT64_MAX, -INT64_MAX, INT64_MAX - 1)
REQUESTED = ("hour", "screen", "Größe", "a.b")

_DEFAULTS = (0.0, -0.0, math.nan, -1.0, 42.0, 0.1, 1e308, 5e-324)
_CONSTANTS = (0.0, -0.0, 1.0, -1.0, 0.1, 3.0, 1e300, -1e300, 5e-324, float(2**53))
_WINDOWS = (1, 5 * MINUTE_US, HOUR_US, 12 * HOUR_US, 12 * HOUR_US + 1, DAY_US, 12 * DAY_US, 12 * DAY_US + 1, 30 * DAY_US, 400 * DAY_US)
_ORDERED: tuple[WhereOp, ...] = ("<", "<=", ">=", ">")
_EQUAL: tuple[WhereOp, ...] = ("==", "!=", "in", "not in")


def draw_set(chance: Random) -> FeatureSet:
    """A feature set; its windows are few, so that features share them, and its features read each other."""
    windows = [_window(chance) for _ in range(chance.randint(1, 4))]
    features: list[Feature] = []
    for number in range(chance.randint(5, 14)):
        kind = chance.choices(("aggregate", "attribute", "request", "derived"), (60, 15, 8, 17))[0]
        name = f"f{number}"
        if kind == "derived" and features:
            features.append(Derived(name=name, expression=_expression(chance, features, 3), default=chance.choice(_DEFAULTS)))
        elif kind == "attribute":
            features.append(_attribute(chance, name))
        elif kind == "request":
            features.append(Request(name=name, field=chance.choice(REQUESTED), default=chance.choice(_DEFAULTS), categories=_some(chance)))
        else:
            features.append(_aggregate(chance, name, chance.choice(windows)))
    return FeatureSet("random", tuple(features))


def _window(chance: Random) -> int:
    if chance.random() < 0.5:
        return chance.choice(_WINDOWS)
    return int(5 * MINUTE_US * (400 * DAY_US / (5 * MINUTE_US)) ** chance.random())


def _aggregate(chance: Random, name: str, window_us: int) -> Aggregate:
    source = chance.choice([name for name in SCHEMA.types for _ in range(8 if name == "purchase" else 1)])
    fields = SCHEMA.types[source].fields
    kinds: list[AggregateKind] = list(get_args(AggregateKind)) if fields else ["count", "seconds_since_last"]
    kind = chance.choice(kinds)
    field: str | None = None
    categories: tuple[str, ...] = ()
    if kind not in ("count", "seconds_since_last"):
        fitting = [one for one in fields if fields[one] is not FieldType.STR or kind in ("first", "last", "distinct")]
        if not fitting:
            return _aggregate(chance, name, window_us)
        field = chance.choice(fitting)
        if fields[field] is FieldType.STR and kind != "distinct":
            categories = _some(chance) or ("a",)
    conditions = [_where(chance, one, fields[one]) for one in fields if chance.random() < 0.12]
    max_age_us, fallback = _freshness(chance, window_us)
    return Aggregate(
        name=name,
        source=source,
        aggregate=kind,
        window_us=window_us,
        field=field,
        where=tuple(conditions),
        default=chance.choice(_DEFAULTS),
        max_age_us=max_age_us,
        fallback=fallback,
        categories=categories,
    )


def _attribute(chance: Random, name: str) -> Attribute:
    source = chance.choice([name for name, event_type in SCHEMA.types.items() if event_type.fields])
    field, kind = chance.choice(list(SCHEMA.types[source].fields.items()))
    max_age_us, fallback = _freshness(chance, 30 * DAY_US)
    return Attribute(
        name=name,
        source=source,
        field=field,
        default=chance.choice(_DEFAULTS),
        categories=(_some(chance) or ("b",)) if kind is FieldType.STR else (),
        max_age_us=max_age_us,
        fallback=fallback,
    )


def _freshness(chance: Random, around_us: int) -> tuple[int | None, Fallback]:
    if chance.random() < 0.6:
        return None, "default"
    fallback: Fallback = chance.choice(list(get_args(Fallback)))
    return chance.choice((1, MINUTE_US, HOUR_US, DAY_US, max(around_us // 2, 1))), fallback


def _where(chance: Random, field: str, kind: FieldType) -> Where:
    if kind is FieldType.BOOL:
        return Where(field, chance.choice(_EQUAL[:2]), chance.random() < 0.5)
    pool: Sequence[int | str] = NUMBERS if kind is FieldType.INT else TEXTS
    op = chance.choice(_EQUAL + (_ORDERED if kind is FieldType.INT else ()))
    return Where(field, op, tuple(chance.choices(pool, k=chance.randint(1, 3))) if op in ("in", "not in") else chance.choice(pool))


def _some(chance: Random) -> tuple[str, ...]:
    named = [text for text in TEXTS if text.strip()]
    return tuple(chance.sample(named, chance.randint(0, 4)))


def _expression(chance: Random, known: Sequence[Feature], depth: int) -> Expression:
    if depth == 0 or chance.random() < 0.15:
        return Column(chance.choice(known).name) if chance.random() < 0.75 else Number(chance.choice(_CONSTANTS))
    kind = chance.choices(("arithmetic", "case", "coalesce", "bucket"), (60, 15, 15, 10))[0]
    inner = [_expression(chance, known, depth - 1) for _ in range(chance.randint(2, 3) if kind == "coalesce" else 4)]
    if kind == "arithmetic":
        ops: list[ArithmeticOp] = list(get_args(ArithmeticOp))
        return Arithmetic(chance.choice(ops), inner[0], inner[1])
    if kind == "case":
        compares: list[CompareOp] = list(get_args(CompareOp))
        return Case(Compare(chance.choice(compares), inner[0], inner[1]), inner[2], inner[3])
    if kind == "coalesce":
        return Coalesce(tuple(inner))
    return Bucket(inner[0], tuple(sorted(set(chance.sample([*map(float, NUMBERS), 0.5, -1e300, 1e300], chance.randint(1, 4))))))
