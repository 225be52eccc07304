import math
import random
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.catalogue import Candidate, Catalogue, Limit
from contracts.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from contracts.errors import DataRefused, NotFound
from contracts.events import INT64_MAX, EventSchema, EventType, FieldType
from contracts.records import Event, FieldValue
from features.definitions import Aggregate, AggregateKind, Attribute, Derived, FeatureRow, FeatureSet, Request, Window, window_start
from features.expressions import col
from features.online import OnlineFeatures, retention
from features.state import HEAD, STATE_FORMAT, decode, head
from tests.engines.rows import Row
from tests.engines.world import FEATURES as ALL
from tests.engines.world import SCHEMA as WORLD
from tests.engines.world import aggregate, histories

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
LEVELS = FeatureSet("levels", (Attribute(name="level", source="profile", field="level", default=math.nan),))
ONLINE = OnlineFeatures(SCHEMA, retention([FEATURES]))
READY = OnlineFeatures(SCHEMA, retention([FEATURES]), ready=[FEATURES])
FIRST = FeatureSet("first", ALL.features[:20])


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


def test_times_are_of_each_text() -> None:
    shown = [("a", NOON - 9), ("b", NOON - 7), ("a", NOON - 5), ("b", NOON + 1)]
    fields = [{"candidate_id": candidate, "arm": "champion"} for candidate, _ in shown]
    events = [Event(f"d{i}", "p", "decision", at, at, 0, fields[i]) for i, (_, at) in enumerate(shown)]
    online = OnlineFeatures(SCHEMA, DAY_US)
    assert online.times_of(after(events, online), "decision", "candidate_id", NOON - 5) == {"a": [NOON - 9, NOON - 5], "b": [NOON - 7]}
    assert online.times_of(None, "decision", "candidate_id", NOON) == {}
    assert online.times_of(after([purchase(1, NOON, 1)]), "decision", "candidate_id", NOON) == {}


def test_retention_is_the_longest_need() -> None:
    catalogue = Catalogue((Candidate("none", {}), Candidate("a", {}, cooldown_us=3 * DAY_US)))
    assert retention([FEATURES], [catalogue]) == {"purchase": 2 * DAY_US, "decision": 3 * DAY_US}
    capped = Catalogue((Candidate("none", {}), Candidate("a", {}, cooldown_us=1, limits=(Limit(2, 9 * DAY_US),))))
    assert retention([], [capped, catalogue]) == {"decision": 9 * DAY_US}


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
    state, _ = READY.apply(None, purchase(1, NOON, 1))
    count, length, seq, _ = head(state)
    assert (count, seq) == (1, 1)
    for position in range(len(state)):
        broken = state[:position] + bytes([state[position] ^ 1]) + state[position + 1 :]
        with pytest.raises(DataRefused, match="feature state"):
            READY.apply(broken, purchase(2, NOON, 1))
        moment = NOON + 9 if position < length else NOON - DAY_US
        with pytest.raises(DataRefused, match="feature state"):
            ONLINE.read(broken, FEATURES, moment, {})
    for size in range(len(state)):
        with pytest.raises(DataRefused, match="feature state"):
            READY.apply(state[:size], purchase(2, NOON, 1))


def test_a_read_while_nothing_has_moved_does_not_look_at_events() -> None:
    """What would be computed from damaged events cannot be read; what stands ready can, until the first window's tail moves."""
    at = NOON + 7 * MINUTE_US
    state, _ = READY.apply(None, purchase(1, at, 30))
    broken = state[:-1] + bytes([state[-1] ^ 1])
    leaves = NOON + 10 * MINUTE_US + Window.hours(2)
    stales = at + HOUR_US
    for moment in (at + 1, stales):
        found = READY.read(broken, FEATURES, moment, {"hour": 3})
        assert found.values.tolist()[:3] == [1, 30, 30]
        assert found.values.tolist()[5:] == [3, 30]
        assert found.ages_us.tolist()[0] == moment - at
    for moment in (at, stales + 1, leaves):
        with pytest.raises(DataRefused, match="feature state"):
            READY.read(broken, FEATURES, moment, {})
    row = READY.read(state, FEATURES, leaves, {})
    assert (row.values.tolist()[:3], row.missing[0], row.stale) == ([0, 30, -5], "purchases", ("fresh",))
    assert READY.read(state, FEATURES, leaves - 1, {}).values.tolist()[0] == 1


def test_an_event_that_touches_no_feature_leaves_the_row_as_it_is() -> None:
    few = OnlineFeatures(SCHEMA, retention([FEATURES]), ready=[LEVELS])
    at = NOON + MINUTE_US
    before = after([profile(1, at, "de", 3)], few) or b""
    state, seq = few.apply(before, purchase(2, at + SECOND_US, 30))
    length = head(state)[1]
    assert (seq, state[HEAD.size : length]) == (2, before[HEAD.size : length])
    assert few.read(state, LEVELS, at + MINUTE_US, {}).values.tolist() == [3]
    assert few.read(few.apply(state, profile(3, at + MINUTE_US, "de", 4))[0], LEVELS, at + 2 * MINUTE_US, {}).values.tolist() == [4]


def test_another_format_is_refused() -> None:
    state, _ = ONLINE.apply(None, purchase(1, NOON, 1))
    _, length, *_ = head(state)
    other = bytearray(state)
    other[4:6] = (STATE_FORMAT + 1).to_bytes(2, "little")
    other[:4] = zlib.crc32(other[4:length]).to_bytes(4, "little")
    with pytest.raises(DataRefused, match=f"format {STATE_FORMAT + 1}; expected {STATE_FORMAT}"):
        ONLINE.read(bytes(other), FEATURES, NOON, {})
    with pytest.raises(DataRefused, match="feature state"):
        ONLINE.read(b"", FEATURES, NOON, {})


def same(left: FeatureRow, right: FeatureRow) -> bool:
    return (left.values.tobytes(), left.missing, left.ages_us.tolist(), left.stale, left.seen_seq) == (
        right.values.tobytes(), right.missing, right.ages_us.tolist(), right.stale, right.seen_seq,
    )  # fmt: skip


@settings(max_examples=60)
@given(histories(), st.lists(st.integers(0, 15 * DAY_US), max_size=4), st.booleans())
def test_a_row_kept_ready_says_what_is_computed(drawn: tuple[list[Event], list[Row]], later: list[int], compacts: bool) -> None:
    """At every moment from the newest ingestion on, alone and among many, through pruning and compaction."""
    events, rows = drawn
    ready = OnlineFeatures(WORLD, retention([ALL]), grace_us=0, ready=[FIRST, ALL])
    plain = OnlineFeatures(WORLD, 9_000 * DAY_US)
    left: bytes | None = None
    right: bytes | None = None
    for event in events:
        left, _ = ready.apply(left, event)
        right, _ = plain.apply(right, event)
        if compacts:
            left = ready.compact(left, event.ingested_time)
        now = event.ingested_time
        moments = [now, now + 1, now + 2, *(now + ahead for ahead in later)]
        for moment in moments:
            for feature_set in (ALL, FIRST):
                expected = plain.read(right, feature_set, moment, rows[0].context)
                assert same(ready.read(left, feature_set, moment, rows[0].context), expected)
                many = ready.read_many([left, None, left], feature_set, moment, [rows[0].context, {}, rows[-1].context])
                assert same(many.row(0), expected)
                assert same(many.row(1), plain.read(None, feature_set, moment, {}))
                assert same(many.row(2), plain.read(right, feature_set, moment, rows[-1].context))
    assert len(ready.read_many([], ALL, NOON)) == 0


@settings(max_examples=100)
@given(histories())
def test_a_state_that_is_built_equals_one_that_grew(drawn: tuple[list[Event], list[Row]]) -> None:
    events, rows = drawn
    online = OnlineFeatures(WORLD, retention([ALL]), grace_us=HOUR_US, ready=[ALL])
    grown = None
    for event in events:
        grown, _ = online.apply(grown, event)
    built = online.build(events)
    assert online.digest(built) == online.digest(grown)
    if built is not None and grown is not None:
        assert online.digest(built) != online.digest(online.apply(built, events[-1])[0])
        moment = max(rows[-1].moment, events[-1].ingested_time)
        assert same(online.read(built, ALL, moment, {}), online.read(grown, ALL, moment, {}))
        assert same(online.read(built, ALL, moment + 3, {}), online.read(grown, ALL, moment + 3, {}))


def test_compaction_drops_what_no_window_needs_and_keeps_attributes() -> None:
    state = after([profile(1, NOON, "us", 7), *(purchase(number, NOON + number * HOUR_US, 1) for number in range(2, 60))], READY)
    assert state is not None
    later = NOON + 30 * DAY_US
    small = READY.compact(state, later)
    assert len(small) < len(state) / 2
    assert {name: len(rows.event_times()) for name, rows in decode(small).types.items()} == {"profile": 1, "purchase": 1}
    assert same(READY.read(small, FEATURES, later, {}), READY.read(state, FEATURES, later, {}))
    assert READY.compact(small, later) == small


def test_long_histories_are_read_as_short_ones_are() -> None:
    """From a length on NumPy computes what Python does below it."""
    asked = [(kind, window, suffix) for kind in EXACT for window, suffix in (("1h", ""), ("1h", "_of_a"), ("2d", "_big"))]
    feature_set = FeatureSet("long", tuple(aggregate(kind, window, suffix) for kind, window, suffix in asked))
    bought = [(NOON + n * 9 * SECOND_US, (-3) ** (n % 27) * n, "abcdé"[n % 5], n % 7 == 0) for n in range(1, 2_000)]
    state = OnlineFeatures(WORLD, 9_000 * DAY_US, ready=[feature_set]).build(
        Event(f"e{n:04d}", "p", "purchase", at, at, n, {"amount": amount, "product": product, "gift": gift})
        for n, (at, amount, product, gift) in enumerate(bought, start=1)
    )
    moment = NOON + 2_000 * 9 * SECOND_US
    hour = [row for row in bought if row[0] >= window_start(moment, HOUR_US)]
    passing = {
        "": [amount for _, amount, _, _ in hour],
        "_of_a": [amount for _, amount, product, _ in hour if product == "a"],
        "_big": [amount for _, amount, product, gift in bought if amount >= 0 and product not in "cd" and not gift],
    }
    assert all(len(amounts) > 70 for amounts in passing.values()) and len(passing["_big"]) > 256
    found = OnlineFeatures(WORLD, 9_000 * DAY_US).read(state, feature_set, moment, {}).values.tolist()
    assert found == [EXACT[kind](passing[suffix]) for kind, _, suffix in asked]


EXACT: dict[AggregateKind, Callable[[list[int]], float]] = {
    "count": len,
    "sum": lambda amounts: float(sum(amounts)),
    "mean": lambda amounts: float(sum(amounts)) / len(amounts),
    "min": lambda amounts: float(min(amounts)),
    "max": lambda amounts: float(max(amounts)),
    "first": lambda amounts: float(amounts[0]),
    "last": lambda amounts: float(amounts[-1]),
    "distinct": lambda amounts: float(len(set(amounts))),
}


def test_a_text_column_holds_any_number_of_words() -> None:
    events = [
        Event(f"e{n:04d}", "p", "purchase", NOON + n, NOON + n, n, {"amount": n, "product": f"product {n % 300}"}) for n in range(600)
    ]
    distinct = FeatureSet(
        "d", (Aggregate(name="products", source="purchase", aggregate="distinct", field="product", window_us=Window.days(2)),)
    )
    online = OnlineFeatures(SCHEMA, DAY_US * 3, ready=[distinct])
    state = after(events, online)
    assert online.read(state, distinct, NOON + 700, {}).values.tolist() == [300]
    assert online.digest(state) == online.digest(
        online.build([Event(e.event_id, e.entity_id, e.type, e.event_time, e.ingested_time, i, e.fields) for i, e in enumerate(events, 1)])
    )


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
