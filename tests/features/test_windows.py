"""The kernel of windows: what the engines' own tests cannot see."""

from collections.abc import Sequence

import numpy as np
import pytest

from contracts.events import INT64_MAX
from features import windows
from features.columns import Events, Field, Ints, Rows, Values
from features.definitions import Aggregate, AggregateKind, Window
from features.windows import evaluate

MINUTE = Window.minutes(1)
DAY = Window.days(1)
KINDS: Sequence[AggregateKind] = ("count", "sum", "mean", "min", "max", "first", "last", "distinct", "seconds_since_last")


def feature(kind: AggregateKind) -> Aggregate:
    field = None if kind in ("count", "seconds_since_last") else "amount"
    return Aggregate(name=kind, source="purchase", aggregate=kind, field=field, window_us=DAY)


FEATURES = tuple(map(feature, KINDS))


def ints(*numbers: int) -> Ints:
    return np.array(numbers, np.int64)


def events(entity: Ints, time: Ints, amount: Ints, ingested: Ints | None = None) -> Events:
    seq = np.concatenate([np.arange(1, count + 1) for count in np.unique(entity, return_counts=True)[1]] or [ints()])
    return Events(entity, time, {"amount": Field(amount)}, time if ingested is None else ingested, seq)


def rows(entity: Ints, moment: Ints, seen: int = -1) -> Rows:
    return Rows.build(entity, moment, np.full(len(entity), seen))


def numbers(found: dict[str, Values]) -> dict[str, list[float | None]]:
    return {
        name: [float(number) if there else None for number, there in zip(values.numbers, values.present, strict=True)]
        for name, values in found.items()
    }


@pytest.mark.parametrize("moment", [10 * DAY, 10_000_000 * DAY, -10_000_000 * DAY])
def test_a_row_covers_its_own_entity_alone(moment: int) -> None:
    held = events(ints(0, 0, 1, 1, 2), ints(-2, -1, -3, -1, 0) * MINUTE + moment, ints(5, 7, 1, 2, 9))
    found = numbers(evaluate(held, rows(ints(0, 1, 2), ints(moment, moment, moment)), FEATURES))
    assert found["sum"] == [12, 3, None]
    assert found["first"] == [5, 1, None]
    assert found["seconds_since_last"] == [60, 60, None]


def test_times_that_do_not_fit_a_key_beside_their_entity_are_ranked() -> None:
    many = np.arange(100_000)
    time = np.where(many % 2, -(2**61), 2**61)
    found = numbers(evaluate(events(many, time, many), rows(many, time + 1), FEATURES[:2]))
    assert found["sum"] == many.tolist()
    assert set(found["count"]) == {1}


def test_sums_saturate_and_are_exact_before() -> None:
    amounts = ints(INT64_MAX, -INT64_MAX, 3, INT64_MAX, 1)
    held = events(ints(0, 0, 0, 1, 1), ints(1, 2, 3, 1, 2), amounts)
    found = numbers(evaluate(held, rows(ints(0, 1), ints(9, 9)), FEATURES))
    assert found["sum"] == [3, float(INT64_MAX)]
    assert found["min"] == [-float(INT64_MAX), 1]


def test_rows_that_late_events_were_hidden_from_are_computed_from_what_they_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    entity = np.sort(rng.integers(0, 40, 3_000))
    time = np.concatenate([np.sort(rng.integers(0, 3 * DAY, count)) for count in np.unique(entity, return_counts=True)[1]])
    held = events(entity, time, rng.integers(-9, 9, 3_000), time + rng.integers(0, 3, 3_000) * DAY // 4)
    asked_of = np.repeat(np.arange(40), 9)
    asked = rows(asked_of, np.tile(np.arange(9) * DAY // 2, 40))
    whole = evaluate(held, asked, FEATURES)
    for row in range(len(asked_of)):
        visible = (held.ingested is not None) & (held.entity == asked.entity[row]) & (held.ingested <= asked.moment[row])
        alone = evaluate(held.take(np.flatnonzero(visible)), asked.take(np.array([row])), FEATURES)
        for name in whole:
            assert whole[name].present[row] == alone[name].present[0]
            assert not alone[name].present[0] or whole[name].numbers[row] == alone[name].numbers[0]
    monkeypatch.setattr(windows, "_UNFOLDED", 50)
    assert numbers(evaluate(held, asked, FEATURES)) == numbers(whole)


def test_no_events_and_no_rows() -> None:
    none = events(ints(), ints(), ints())
    assert numbers(evaluate(none, rows(ints(0), ints(5)), FEATURES))["count"] == [None]
    assert numbers(evaluate(none, rows(ints(), ints()), FEATURES))["count"] == []
