"""What features are, by the words of their definitions alone: each value from the whole history, one at a time, without any cleverness.

It shares the definitions with the engines and nothing else, so that an engine that agrees with it agrees with what was written down.
"""

import math
from collections.abc import Mapping, Sequence

from contracts.events import INT64_MAX, EventSchema
from contracts.records import Event, FieldValue
from features.definitions import Aggregate, Attribute, Derived, FeatureSet, Request, Where, hop_us
from features.expressions import Arithmetic, Bucket, Case, Coalesce, Column, Compare, Expression, Number
from tests.engines.rows import Found, Row

Value = tuple[float | None, int]
"""A number, if there is one, and the age of the newest event or row it is made of; −1 without one."""


def reference(feature_set: FeatureSet, schema: EventSchema, events: Sequence[Event], rows: Sequence[Row]) -> dict[str, Found]:
    """What every engine should find."""
    histories: dict[str, list[Event]] = {}
    for event in events:
        histories.setdefault(event.entity_id, []).append(event)
    return {row.row_id: _row(feature_set, histories.get(row.entity_id, []), row) for row in rows}


def _row(feature_set: FeatureSet, history: Sequence[Event], row: Row) -> Found:
    known = [event for event in history if is_known(event, row)]
    values: dict[str, float] = {}
    ages: dict[str, int] = {}
    missing, stale = [], []
    for feature in feature_set.features:
        match feature:
            case Aggregate():
                value, age = _aggregate(feature, known, row.moment)
            case Attribute():
                value, age = _attribute(feature, known, row.moment)
            case Request():
                value = _request(feature, row.context)
                age = -1 if value is None else 0
            case Derived():
                value = _finite(_evaluate(feature.expression, values))
                age = max([ages[name] for name in _inputs(feature.expression)], default=-1)
        if value is None:
            missing.append(feature.name)
        elif isinstance(feature, (Aggregate, Attribute)) and feature.max_age_us is not None and age > feature.max_age_us:
            stale.append(feature.name)
            if feature.fallback == "default":
                value = None
        # A zero has no sign.
        values[feature.name] = (float(feature.default) if value is None else value) + 0.0
        ages[feature.name] = age
    return Found({name: value.hex() for name, value in values.items()}, tuple(missing), ages, frozenset(stale))


def is_known(event: Event, row: Row) -> bool:
    """Whether a row may see an event."""
    return event.ingested_time <= row.moment if row.seen_seq is None else event.seq <= row.seen_seq


def _aggregate(feature: Aggregate, known: Sequence[Event], moment: int) -> Value:
    begin = moment - feature.window_us
    begin -= begin % hop_us(feature.window_us)
    taken = [
        event
        for event in known
        if event.type == feature.source
        and begin <= event.event_time < moment
        and all(_passes(condition, event.fields.get(condition.field)) for condition in feature.where)
        and (feature.field is None or event.fields.get(feature.field) is not None)
    ]
    if not taken:
        return None, -1
    taken.sort(key=lambda event: (event.event_time, event.event_id))
    age = moment - taken[-1].event_time
    found = [event.fields[feature.field] for event in taken] if feature.field is not None else []
    match feature.aggregate:
        case "count":
            value: FieldValue = len(taken)
        case "sum":
            value = _total(found)
        case "mean":
            value = float(_total(found)) / float(len(found))
        case "min":
            value = sorted(map(_whole, found))[0]
        case "max":
            value = sorted(map(_whole, found))[-1]
        case "first":
            value = found[0]
        case "last":
            value = found[-1]
        case "distinct":
            value = len({repr(item) for item in found})
        case "seconds_since_last":
            value = float(age) / 1e6
    return _number(value, feature.categories), age


def _attribute(feature: Attribute, known: Sequence[Event], moment: int) -> Value:
    rows = [event for event in known if event.type == feature.source and event.event_time <= moment]
    if not rows:
        return None, -1
    latest = max(rows, key=lambda event: (event.event_time, event.event_id))
    value = latest.fields.get(feature.field)
    return (None, -1) if value is None else (_number(value, feature.categories), moment - latest.event_time)


def _request(feature: Request, context: Mapping[str, FieldValue]) -> float | None:
    value = context.get(feature.field)
    if feature.categories:
        return _number(value, feature.categories) if isinstance(value, str) else None
    return _finite(float(value)) if isinstance(value, (bool, int, float)) else None


def _passes(condition: Where, value: FieldValue) -> bool:
    if value is None:
        return False
    match condition.op:
        case "==":
            return value == condition.value
        case "!=":
            return value != condition.value
        case "in":
            return any(value == one for one in _several(condition))
        case "not in":
            return all(value != one for one in _several(condition))
    difference = _whole(value) - _whole(condition.value)
    return {"<": difference < 0, "<=": difference <= 0, ">=": difference >= 0, ">": difference > 0}[condition.op]


def _several(condition: Where) -> tuple[int | str, ...]:
    assert isinstance(condition.value, tuple)
    return condition.value


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return int(value)


def _total(values: Sequence[FieldValue]) -> int:
    total = 0
    for value in values:
        total += _whole(value)
    return min(max(total, -INT64_MAX), INT64_MAX)


def _number(value: FieldValue, categories: Sequence[str]) -> float:
    if categories:
        codes = [float(code) for code, text in enumerate(categories) if text == value]
        return codes[0] if codes else -1.0
    assert value is not None and not isinstance(value, str)
    return float(value)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _present(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _evaluate(expression: Expression, values: Mapping[str, float]) -> float | None:
    match expression:
        case Number(value=constant):
            return constant
        case Column(name=name):
            return _present(values[name])
        case Arithmetic(op=op, left=left, right=right):
            return _present(_arithmetic(op, _evaluate(left, values), _evaluate(right, values)))
        case Case(condition=condition, then=then, otherwise=otherwise):
            return _evaluate(then if _holds(condition, values) else otherwise, values)
        case Coalesce(operands=operands):
            return next((found for operand in operands if (found := _evaluate(operand, values)) is not None), None)
        case Bucket(value=inner, edges=edges):
            found = _evaluate(inner, values)
            return None if found is None else float(sum(edge <= found for edge in edges))


def _arithmetic(op: str, left: float | None, right: float | None) -> float | None:
    if left is None or right is None:
        return None
    match op:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    return None if right == 0.0 else left / right


def _holds(condition: Compare, values: Mapping[str, float]) -> bool:
    left, right = _evaluate(condition.left, values), _evaluate(condition.right, values)
    if left is None or right is None:
        return False
    order = (left > right) - (left < right)
    return {"<": order < 0, "<=": order <= 0, "==": order == 0, "!=": order != 0, ">=": order >= 0, ">": order > 0}[condition.op]


def _inputs(expression: Expression | Compare) -> list[str]:
    match expression:
        case Number():
            return []
        case Column(name=name):
            return [name]
        case Arithmetic(left=left, right=right) | Compare(left=left, right=right):
            return _inputs(left) + _inputs(right)
        case Case(condition=condition, then=then, otherwise=otherwise):
            return _inputs(condition) + _inputs(then) + _inputs(otherwise)
        case Coalesce(operands=operands):
            return [name for operand in operands for name in _inputs(operand)]
        case Bucket(value=inner):
            return _inputs(inner)
