"""The events and the feature set that all engines are asked about, and random small histories of them."""

import math
from collections.abc import Sequence

from hypothesis import strategies as st

from contracts.clock import DAY_US, HOUR_US, MINUTE_US
from contracts.events import INT64_MAX, EventSchema, EventType, FieldType
from contracts.records import Event, FieldValue
from features.definitions import Aggregate, AggregateKind, Attribute, Derived, Feature, FeatureSet, Request, Where, Window, window_start
from features.expressions import bucket, case, coalesce, col
from tests.engines.rows import Row

NOON = 20_000 * DAY_US + 12 * HOUR_US

SCHEMA = EventSchema.build(
    "shop",
    [
        EventType("purchase", {"amount": FieldType.INT, "product": FieldType.STR, "gift": FieldType.BOOL}),
        EventType("session", {"length_ms": FieldType.INT}),
        EventType("profile", {"country": FieldType.STR, "level": FieldType.INT}),
    ],
)

KINDS: tuple[AggregateKind, ...] = ("count", "sum", "mean", "min", "max", "first", "last", "distinct", "seconds_since_last")
WINDOWS = {"1h": Window.hours(1), "2d": Window.days(2), "13d": Window.days(13)}
FILTERS: dict[str, tuple[Where, ...]] = {
    "": (),
    "_of_a": (Where("product", "==", "a"),),
    "_big": (Where("amount", ">=", 0), Where("product", "not in", ("c", "d")), Where("gift", "!=", True)),
}


def aggregate(kind: AggregateKind, window: str, suffix: str, default: float = 0.0) -> Aggregate:
    """An aggregate of purchases, named for what it is."""
    return Aggregate(
        name=f"{kind}_{window}{suffix}",
        source="purchase",
        aggregate=kind,
        field=None if kind in ("count", "seconds_since_last") else "amount",
        window_us=WINDOWS[window],
        where=FILTERS[suffix],
        default=default,
    )


# why: each kind with each window and each filter, but not all their products, which take Spark minutes to plan
AGGREGATES = tuple(
    aggregate(kind, window, list(FILTERS)[(row + column) % len(FILTERS)])
    for row, kind in enumerate(KINDS)
    for column, window in enumerate(WINDOWS)
)

_OTHERS: tuple[Feature, ...] = (
    Aggregate(name="products", source="purchase", aggregate="distinct", field="product", window_us=Window.days(2)),
    Aggregate(name="gifts", source="purchase", aggregate="sum", field="gift", window_us=Window.days(2)),
    Aggregate(
        name="last_product",
        source="purchase",
        aggregate="last",
        field="product",
        window_us=Window.days(2),
        categories=("b", "a"),
        default=-2.0,
    ),
    Aggregate(
        name="fresh_mean", source="purchase", aggregate="mean", field="amount", window_us=Window.days(13), max_age_us=HOUR_US, default=-7.0
    ),
    Aggregate(name="sessions", source="session", aggregate="count", window_us=Window.hours(12)),
    Aggregate(name="length", source="session", aggregate="sum", field="length_ms", window_us=Window.days(12), default=math.nan),
    Attribute(name="country", source="profile", field="country", categories=("de", "it's", 'a\\"b'), default=-3.0),
    Attribute(name="level", source="profile", field="level", default=math.nan),
    Attribute(name="fresh_level", source="profile", field="level", max_age_us=30 * MINUTE_US, default=5.0),
    Request(name="hour", field="hour", default=-1.0),
    Request(name="screen", field="screen", categories=("shop", "map"), default=math.nan),
    Derived(name="share", expression=col("sum_1h_of_a") / col("sum_13d"), default=-9.0),
    Derived(name="mixed", expression=(1.5 - col("mean_2d") * 0.1) / (col("length") - col("level")) + col("hour"), default=math.nan),
    Derived(name="blown", expression=col("sum_13d") * 1e300 - col("sum_2d_big") * 1e300, default=-8.0),
    Derived(name="either", expression=coalesce(col("level"), col("share") / col("sessions"), 42.0)),
    Derived(name="step", expression=bucket(col("mixed"), (-1.0, 0.0, 0.5)), default=-4.0),
    Derived(name="chosen", expression=case(col("level").differs(col("sessions")), -1.0 * col("sessions"), col("blown") + col("either"))),
    Derived(name="same", expression=case(col("length").equals(col("level")), 1.0, case(col("blown") > col("level"), 2.0, 3.0))),
)

FEATURES = FeatureSet("all", (*AGGREGATES, *_OTHERS))


def event(number: int, type_name: str, event_time: int, ingested_time: int, fields: dict[str, FieldValue], entity_id: str = "p") -> Event:
    """An event as it was accepted, `number`th of its entity."""
    return Event(f"e{number}", entity_id, type_name, min(event_time, ingested_time), ingested_time, number, fields)


_amounts = st.one_of(st.integers(-50, 50), st.sampled_from([2**53 + 1, -(2**53) - 3, INT64_MAX, -INT64_MAX, 10**18 + 1]))
_nudges = st.sampled_from([-1, 0, 1, HOUR_US])
_lengths = sorted({feature.window_us for feature in FEATURES.features if isinstance(feature, Aggregate)})
_fields: dict[str, st.SearchStrategy[dict[str, FieldValue]]] = {
    "purchase": st.fixed_dictionaries(
        {}, optional={"amount": _amounts, "product": st.sampled_from(["a", "b", "c", "é"]), "gift": st.booleans()}
    ),
    "session": st.fixed_dictionaries({"length_ms": _amounts}),
    "profile": st.fixed_dictionaries({}, optional={"country": st.sampled_from(["de", "it's", 'a\\"b', "xx"]), "level": _amounts}),
}
_contexts = st.fixed_dictionaries(
    {},
    optional={
        "hour": st.one_of(st.integers(-3, 30), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none(), st.just("12")),
        "screen": st.one_of(st.sampled_from(["map", "shop", "other"]), st.integers(0, 1), st.none()),
    },
)


def _times(moment: int, before: Sequence[Event]) -> st.SearchStrategy[int]:
    """Times of events: at the edges of windows, at the moment, at another event's time, anywhere."""
    edges = [moment, moment - HOUR_US, moment - 30 * MINUTE_US, *(window_start(moment, length) for length in _lengths)]
    anywhere = st.integers(0, 14 * DAY_US).map(lambda distance: moment - distance)
    at_edges = st.builds(lambda edge, nudge: min(moment, edge + nudge), st.sampled_from(edges), _nudges)
    again = [st.sampled_from([one.event_time for one in before])] if before else []
    return st.one_of(at_edges, *again, anywhere)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Event], list[Row]]:
    """Events of one entity in the order they became visible, and rows that each ask what was known at a moment.

    Events come late, at equal times, with absent fields; moments never go back, as the clock of an installation does not.
    """
    moments = sorted(NOON + draw(st.sampled_from([0, 1, HOUR_US, DAY_US, 11 * DAY_US])) for _ in range(draw(st.integers(1, 3))))
    events: list[Event] = []
    rows = []
    identifiers = iter(draw(st.permutations(range(30))))
    for number, moment in enumerate(moments):
        for _ in range(draw(st.integers(0, 6))):
            kind = draw(st.sampled_from(["purchase", "purchase", "session", "profile"]))
            earliest = events[-1].ingested_time if events else moment - 14 * DAY_US
            happened = draw(_times(moment, events))
            visible = max(earliest, min(moment, happened + draw(st.sampled_from([0, 1, HOUR_US, 3 * DAY_US]))))
            made = event(len(events) + 1, kind, happened, visible, draw(_fields[kind]))
            events.append(Event(f"e{next(identifiers):02d}", "p", kind, made.event_time, visible, made.seq, made.fields))
        context = draw(_contexts)
        rows.append(Row(f"seen{number}", "p", moment, len(events), context))
        rows.append(Row(f"known{number}", "p", moment, None, context))
    return events, rows


def renamed(index: int, history: tuple[Sequence[Event], Sequence[Row]]) -> tuple[list[Event], list[Row]]:
    """The history of another entity, so that many can be computed in one job."""
    events, rows = history
    own = f"p{index}"
    return (
        [Event(e.event_id, own, e.type, e.event_time, e.ingested_time, e.seq, e.fields) for e in events],
        [Row(f"{own}:{row.row_id}", own, row.moment, row.seen_seq, row.context) for row in rows],
    )
