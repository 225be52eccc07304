"""Random histories of one entity: late, twice, out of order, at equal times, at the edges of windows, in any year."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import TypeAlias

from contracts.clock import DAY_US, HOUR_US, MINUTE_US, to_us
from contracts.events import FieldType
from contracts.records import Event, FieldValue
from decisions.record import make_event
from features.definitions import Aggregate, Attribute, FeatureSet, Request, hop_us, window_start
from tests.engines.random_sets import NUMBERS, REQUESTED, SCHEMA, TEXTS
from tests.engines.rows import GRACE_US, Row

Step: TypeAlias = Event | Row
"""An event that is sent, or a question of what is known by now."""

_DAYS = "2024-02-29 2024-03-01 2025-03-01 1970-01-01 1970-01-02 1969-12-31 1904-02-29 1900-03-01 2000-01-01 2099-12-31"
_MOMENTS = tuple(to_us(datetime.fromisoformat(f"{day}T00:00Z")) for day in _DAYS.split())
_FLOATS = (0.5, -0.0, 1e22, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, -3.75e-7)


@dataclass(frozen=True)
class History:
    """What was sent for one entity, and asked about it, in order; what is accepted of it, by our own counting.

    Attributes:
        steps: events may come twice; a row with a `seen_seq` asks with everything before it in view, one without asks by its moment.
        events: each id once, as it came first, with its `seq`. `rows`: all rows.
    """

    steps: tuple[Step, ...]
    events: tuple[Event, ...]
    rows: tuple[Row, ...]


def draw_moment(chance: Random) -> int:
    """A moment at which rows may begin to ask."""
    moment = chance.choice(_MOMENTS) if chance.random() < 0.4 else to_us(datetime.fromisoformat("2026-05-05T00:00Z"))
    return moment + chance.choice((0, 0, -1, 1, 7 * HOUR_US + 123_456, chance.randrange(400 * DAY_US)))


def draw_history(chance: Random, entity: str, feature_set: FeatureSet, moment: int | None = None) -> History:
    """A history that is awkward for the windows and ages of a feature set, asked about from a moment on, which is drawn if not given."""
    moment = draw_moment(chance) if moment is None else moment
    imported, complete, most = chance.random() < 0.15, chance.random() < 0.7, 60 if chance.random() < 0.02 else 10
    identifiers = [f"{entity}-{number}" for number in range(4 * most)]
    chance.shuffle(identifiers)
    steps: list[Step] = []
    sent: list[Event] = []
    for number in range(chance.randint(1, 3)):
        moment += chance.choice((0, 1, 5 * MINUTE_US, HOUR_US, DAY_US, 11 * DAY_US, chance.choice(_lengths(feature_set)))) if number else 0
        for _ in range(chance.randint(0, most)):
            happened = _time(chance, moment, feature_set, sent)
            came = min(happened + chance.choice((0, 0, 1, 10 * MINUTE_US, HOUR_US, 3 * DAY_US)), moment + GRACE_US * imported)
            if sent and not imported:
                came = max(came, sent[-1].ingested_time)
            if sent and chance.random() < 0.1:
                again = chance.choice(sent)
                original = again.event_time if again.original_time is None else again.original_time
                made = make_event(
                    again.event_id, entity, again.type, original, dict(again.fields), ingested_time=max(came, sent[-1].ingested_time)
                )
            else:
                early = chance.choice((0, 0, 0, 0, 0, HOUR_US))
                kind = chance.choice(feature_set.sources or ("visit",)) if chance.random() < 0.95 else chance.choice(list(SCHEMA.types))
                made = make_event(identifiers.pop(), entity, kind, happened + early, _fields(chance, kind, complete), ingested_time=came)
                sent.append(made)
            steps.append(made)
        context = _context(chance, feature_set)
        steps.append(Row(f"{entity}:seen{number}", entity, moment, len(sent), context))
        steps.append(Row(f"{entity}:known{number}", entity, moment, None, context))
        steps.append(
            Row(
                f"{entity}:then{number}",
                entity,
                _turn(chance, moment - chance.choice(_lengths(feature_set)), feature_set, sent),
                None,
                context,
            )
        )
        for later in range(2):
            steps.append(Row(f"{entity}:later{number}.{later}", entity, _turn(chance, moment, feature_set, sent), len(sent), context))
    events = [
        Event(e.event_id, entity, e.type, e.event_time, e.ingested_time, seq, e.fields, e.original_time)
        for seq, e in enumerate(sent, start=1)
    ]
    return History(tuple(steps), tuple(events), tuple(step for step in steps if isinstance(step, Row)))


def _lengths(feature_set: FeatureSet) -> list[int]:
    return [feature.window_us for feature in feature_set.features if isinstance(feature, Aggregate)] or [HOUR_US]


def _time(chance: Random, moment: int, feature_set: FeatureSet, sent: Sequence[Event]) -> int:
    length = chance.choice(_lengths(feature_set))
    ages = [feature.max_age_us for feature in feature_set.features if isinstance(feature, (Aggregate, Attribute)) and feature.max_age_us]
    nudge = chance.choice((-1, 0, 0, 1))
    match chance.randrange(16):
        case 0:
            return min(moment, moment + nudge)
        case 1 | 2 | 3:
            return min(moment, window_start(moment, length) + nudge)
        case 4 | 5 if sent:
            return min(moment, chance.choice(sent).event_time + chance.choice((0, 0, 0, 1)))
        case 6 if ages:
            return min(moment, moment - chance.choice(ages) + nudge)
        case 7:
            return moment - chance.randrange(1, 50) * 365 * DAY_US
        case 8 | 9:
            return moment - chance.randrange(30) * chance.choice((MINUTE_US, 5 * MINUTE_US, HOUR_US, DAY_US))
        case 10 | 11:
            return moment - chance.randrange(2 * length)
    return moment - chance.randrange(length)


def _turn(chance: Random, moment: int, feature_set: FeatureSet, sent: Sequence[Event]) -> int:
    """A moment from this one on at which what one event does to one feature changes, or the one before or behind it."""
    if not sent:
        return moment
    at = chance.choice(sent).event_time
    turns = [at]
    for feature in feature_set.features:
        if isinstance(feature, Aggregate):
            hop = hop_us(feature.window_us)
            turns.append((at // hop + 1) * hop + feature.window_us)
        if isinstance(feature, (Aggregate, Attribute)) and feature.max_age_us is not None:
            turns.append(at + feature.max_age_us)
    return max(moment, chance.choice(turns) + chance.choice((-1, 0, 1)))


def _fields(chance: Random, kind: str, complete: bool) -> dict[str, FieldValue]:
    return {field: _value(chance, type_) for field, type_ in SCHEMA.types[kind].fields.items() if complete or chance.random() < 0.6}


def _value(chance: Random, kind: FieldType) -> FieldValue:
    match kind:
        case FieldType.INT:
            return chance.choice(NUMBERS) if chance.random() < 0.4 else chance.randint(-1_000, 1_000)
        case FieldType.STR:
            return chance.choice(TEXTS)
        case FieldType.BOOL:
            return chance.random() < 0.5


def _context(chance: Random, feature_set: FeatureSet) -> dict[str, FieldValue]:
    asked = {feature.field for feature in feature_set.features if isinstance(feature, Request)} or set(REQUESTED[:1])
    pool: tuple[FieldValue, ...] = (*NUMBERS, *_FLOATS, *TEXTS, True, False, None, "12")
    return {field: chance.choice(pool) for field in sorted(asked) if chance.random() < 0.8}
