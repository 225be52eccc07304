"""A window's head is exact and its tail moves in hops: when an event begins to count, and when it no longer does, on every engine."""

from itertools import product

import pytest

from contracts.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from contracts.records import Event
from features.definitions import Aggregate, FeatureSet
from tests.engines.engines import EACH_ENGINE, engine_named
from tests.engines.rows import Found, Row
from tests.engines.world import KINDS, NOON, SCHEMA

HOPS = {
    "5m": (5 * MINUTE_US, 5 * MINUTE_US),
    "7m13s": (7 * MINUTE_US + 13 * SECOND_US, 5 * MINUTE_US),
    "12h": (12 * HOUR_US, 5 * MINUTE_US),
    "12h1us": (12 * HOUR_US + 1, HOUR_US),
    "12d": (12 * DAY_US, HOUR_US),
    "12d1us": (12 * DAY_US + 1, DAY_US),
    "400d": (400 * DAY_US, DAY_US),
}
"""Windows, and the hop in which the tail of each moves."""

TIMES = {"today": NOON, "a microsecond after noon": NOON + 1, "a microsecond before noon": NOON - 1, "midnight": NOON + 12 * HOUR_US}
TIMES |= {"the epoch": 0, "before the epoch": -1, "a day before the epoch": -DAY_US, "in 1904": -24_000 * DAY_US + 17}

FEATURES = FeatureSet(
    "edges",
    tuple(
        Aggregate(
            name=f"{kind}_{window}",
            source="purchase",
            aggregate=kind,
            field=None if kind in ("count", "seconds_since_last") else "amount",
            window_us=HOPS[window][0],
            default=-3.0,
        )
        for window in HOPS
        for kind in KINDS
    ),
)


@pytest.fixture(scope="module", params=EACH_ENGINE)
def found(request: pytest.FixtureRequest) -> dict[str, Found]:
    """What an engine says just before and at each edge of each window, of an event at each of the times."""
    events, rows = [], []
    for (name, at), (window, (length, hop)) in product(TIMES.items(), HOPS.items()):
        entity = f"{name}/{window}"
        events.append(Event("e", entity, "purchase", at, at, 1, {"amount": 7, "product": "a", "gift": False}))
        end = (at // hop + 1) * hop + length
        moments = {"at the event": at, "behind it": at + 1, "the last": end - 1, "too late": end}
        rows += [Row(f"{entity}/{when}", entity, moment) for when, moment in moments.items()]
    return engine_named(request.param, request)(FEATURES, SCHEMA, events, rows)


@pytest.mark.parametrize("window", HOPS)
@pytest.mark.parametrize("name", TIMES)
def test_an_event_counts_from_behind_it_until_the_tail_hops_over_it(found: dict[str, Found], name: str, window: str) -> None:
    of_window = {f"{kind}_{window}" for kind in KINDS}
    for when, counts in (("at the event", False), ("behind it", True), ("the last", True), ("too late", False)):
        row = found[f"{name}/{window}/{when}"]
        assert of_window & set(row.missing) == (set() if counts else of_window), when
        values = [row.values[f"{kind}_{window}"] for kind in KINDS[:-1]]
        assert values == [value.hex() for value in ([1.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0, 1.0] if counts else [-3.0] * 8)], when


@pytest.mark.parametrize("window", HOPS)
def test_the_time_since_it_is_exact(found: dict[str, Found], window: str) -> None:
    length, hop = HOPS[window]
    seconds = {when: found[f"the epoch/{window}/{when}"].values[f"seconds_since_last_{window}"] for when in ("behind it", "the last")}
    assert seconds == {"behind it": (1e-6).hex(), "the last": ((length + hop - 1) / 1e6).hex()}
