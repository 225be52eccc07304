import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalogue import Candidate, Catalogue
from contracts.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from contracts.errors import DataRefused, NotFound
from contracts.events import INT64_MAX, EventSchema, EventType, FieldType
from contracts.records import Event, FieldValue
from features.definitions import Aggregate, Attribute, Derived, FeatureSet, Request, Window
from features.expressions import col
from features.online import OnlineFeatures, retention
from features.state import STATE_FORMAT, decode, encode

NOON = 20_000 * DAY_US + 12 * HOUR_US
SCHEMA = EventSchema.build(
    "shop",
    [
        EventType("purchase", {"amount": FieldType.INT, "product": FieldType.STR}),
        EventType("profile", {"country": FieldType.STR, "level": FieldType.INT}),
    ],
)
FEATURES = FeatureSet(
    "shop",
    (
        Aggregate(name="purchases", source="purchase", aggregate="count", window_us=Window.hours(2)),
        Aggregate(name="spent", source="purchase", aggregate="sum", field="amount", window_us=Window.days(2)),
        Aggregate(
            name="fresh", source="purchase", aggregate="max", field="amount", window_us=Window.days(2), max_age_us=HOUR_US, default=-5
        ),
        Attribute(name="country", source="profile", field="country", categories=("de", "us"), default=-2),
        Attribute(name="level", source="profile", field="level", default=math.nan),
        Request(name="hour", field="hour", default=-1),
        Derived(name="each", expression=col("spent") / col("purchases"), default=9),
    ),
)
ONLINE = OnlineFeatures(SCHEMA, retention([FEATURES]))


def purchase(number: int, at: int, amount: int, late: int = 0) -> Event:
    return Event(f"e{number:04d}", "p", "purchase", at, at + late, 0, {"amount": amount, "product": "a"})


def profile(number: int, at: int, country: FieldValue, level: FieldValue, late: int = 0) -> Event:
    return Event(f"e{number:04d}", "p", "profile", at, at + late, 0, {"country": country, "level": level})


def after(events: list[Event], online: OnlineFeatures = ONLINE) -> bytes | None:
    state = None
    for event in events:
        state, _ = online.apply(state, event)
    return state


def test_unknown_entity_has_defaults() -> None:
    row = ONLINE.read(None, FEATURES, NOON, {})
    assert row.values.tolist()[:4] == [0, 0, -5, -2]
    assert math.isnan(row.values[4])
    assert row.values.tolist()[5:] == [-1, 9]
    assert row.missing == FEATURES.names
    assert row.ages_us.tolist() == [-1] * 7
    assert (row.stale, row.seen_seq) == ((), 0)


def test_row_says_values_ages_and_what_is_stale() -> None:
    state = after(
        [profile(1, NOON - 3 * HOUR_US, "us", 4), purchase(2, NOON - 90 * MINUTE_US, 30), purchase(3, NOON - 5 * HOUR_US, 7, 5 * HOUR_US)]
    )
    row = ONLINE.read(state, FEATURES, NOON, {"hour": 12.5})
    assert dict(zip(FEATURES.names, row.values.tolist(), strict=True)) == {
        "purchases": 1, "spent": 37, "fresh": -5, "country": 1, "level": 4, "hour": 12.5, "each": 37,
    }  # fmt: skip
    assert row.missing == ()
    assert row.stale == ("fresh",)
    assert row.seen_seq == 3
    minutes = [age // MINUTE_US for age in row.ages_us.tolist()]
    assert minutes == [90, 90, 90, 180, 180, 0, 90]


def test_each_event_gets_the_next_seq() -> None:
    state, first = ONLINE.apply(None, purchase(1, NOON, 1))
    _, second = ONLINE.apply(state, profile(2, NOON, "de", 1))
    assert (first, second) == (1, 2)


def test_attribute_is_valid_from_its_own_time_on() -> None:
    state = after([profile(1, NOON - 5, "de", 1), profile(2, NOON, "us", None)])
    assert ONLINE.read(state, FEATURES, NOON - 1, {}).values[3:5].tolist() == [0, 1]
    row = ONLINE.read(state, FEATURES, NOON, {})
    assert row.values[3] == 1
    assert row.missing == ("purchases", "spent", "fresh", "level", "hour", "each")


def test_attribute_outlives_every_window() -> None:
    state = after([profile(1, NOON - 900 * DAY_US, "us", 7), purchase(2, NOON, 1)])
    assert ONLINE.read(state, FEATURES, NOON, {}).values[3:5].tolist() == [1, 7]


def test_unknown_text_is_minus_one() -> None:
    assert ONLINE.read(after([profile(1, NOON, "xx", 1)]), FEATURES, NOON, {}).values[3] == -1


@pytest.mark.parametrize("sent", ["12", None, [1], math.inf, 10**400])
def test_request_value_of_another_kind_is_missing(sent: FieldValue) -> None:
    row = ONLINE.read(None, FEATURES, NOON, {"hour": sent})
    assert row.values[5] == -1
    assert "hour" in row.missing


@pytest.mark.parametrize("count", [3, 300])
def test_sums_are_exact_and_saturate(count: int) -> None:
    large = after([purchase(number, NOON - HOUR_US + number, INT64_MAX) for number in range(count)])
    assert ONLINE.read(large, FEATURES, NOON, {}).values[1] == float(INT64_MAX)
    even = after([purchase(number, NOON - HOUR_US + number, (-1) ** number * INT64_MAX) for number in range(count * 2)])
    assert ONLINE.read(even, FEATURES, NOON, {}).values[1] == 0.0


def test_last_times_are_of_each_text() -> None:
    shown = [("a", NOON - 9), ("b", NOON - 7), ("a", NOON - 5), ("b", NOON + 1)]
    fields = [{"candidate_id": candidate, "arm": "champion"} for candidate, _ in shown]
    events = [Event(f"d{i}", "p", "decision", at, at, 0, fields[i]) for i, (_, at) in enumerate(shown)]
    online = OnlineFeatures(SCHEMA, DAY_US)
    assert online.last_times(after(events, online), "decision", "candidate_id", NOON - 5) == {"a": NOON - 5, "b": NOON - 7}
    assert online.last_times(None, "decision", "candidate_id", NOON) == {}
    assert online.last_times(after([purchase(1, NOON, 1)]), "decision", "candidate_id", NOON) == {}


def test_retention_is_the_longest_need() -> None:
    catalogue = Catalogue((Candidate("none", {}), Candidate("a", {}, cooldown_us=3 * DAY_US)))
    assert retention([FEATURES], [catalogue]) == {"purchase": 2 * DAY_US, "decision": 3 * DAY_US}


def test_fields_declared_later_are_absent_before() -> None:
    old = OnlineFeatures(EventSchema.build("shop", [EventType("profile", {"country": FieldType.STR})]), DAY_US)
    state, _ = old.apply(None, profile(1, NOON - 9, "de", 4))
    assert math.isnan(ONLINE.read(state, FEATURES, NOON, {}).values[4])
    state, _ = ONLINE.apply(state, profile(2, NOON - 5, "de", 6))
    assert ONLINE.read(state, FEATURES, NOON, {}).values[4] == 6
    assert math.isnan(ONLINE.read(state, FEATURES, NOON - 6, {}).values[4])


def test_undeclared_type_is_refused() -> None:
    with pytest.raises(NotFound, match="event type `gift`"):
        ONLINE.apply(None, Event("e", "p", "gift", NOON, NOON, 0, {}))


def test_every_damaged_byte_is_noticed() -> None:
    state, _ = ONLINE.apply(None, purchase(1, NOON, 1))
    for position in range(len(state)):
        with pytest.raises(DataRefused, match="feature state"):
            ONLINE.read(state[:position] + bytes([state[position] ^ 1]) + state[position + 1 :], FEATURES, NOON, {})
    for length in range(len(state)):
        with pytest.raises(DataRefused, match="feature state"):
            ONLINE.apply(state[:length], purchase(2, NOON, 1))


def test_another_format_is_refused() -> None:
    entity = decode(None)
    with pytest.raises(DataRefused, match="format"):
        decode(encode(type(entity)(STATE_FORMAT + 1, 0, {})))


@given(
    st.lists(st.tuples(st.integers(0, 4 * 24), st.integers(0, 3 * 24), st.sampled_from(["purchase", "profile"])), max_size=25),
    st.integers(0, 2**32),
)
def test_pruning_changes_no_later_row(drawn: list[tuple[int, int, str]], seed: int) -> None:
    """A state that forgets and one that keeps everything read alike at every moment that may still come."""
    source = random.Random(seed)
    forgets, keeps = OnlineFeatures(SCHEMA, retention([FEATURES]), grace_us=HOUR_US), OnlineFeatures(SCHEMA, 9_000 * DAY_US)
    short: bytes | None = None
    long: bytes | None = None
    for number, (hour, late, kind) in enumerate(sorted(drawn, key=lambda item: item[0] + item[1])):
        at, visible = NOON + hour * HOUR_US, NOON + (hour + late) * HOUR_US
        make = purchase(number, at, number, late * HOUR_US) if kind == "purchase" else profile(number, at, "de", number, late * HOUR_US)
        short, _ = forgets.apply(short, make)
        long, _ = keeps.apply(long, make)
        for ahead in (-HOUR_US, 0, source.randrange(SECOND_US), source.randrange(5 * DAY_US)):
            left, right = (online.read(state, FEATURES, visible + ahead, {}) for online, state in ((forgets, short), (keeps, long)))
            assert left.values.tobytes() == right.values.tobytes()
            assert (left.missing, left.stale, left.seen_seq) == (right.missing, right.stale, right.seen_seq)
            assert left.ages_us.tolist() == right.ages_us.tolist()


def test_pruning_keeps_state_small() -> None:
    state = after([purchase(number, NOON + number * HOUR_US, 1) for number in range(24 * 60)])
    assert state is not None
    assert len(decode(state).types["purchase"].event_times()) <= 24 * 4
