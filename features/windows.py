"""Windows over events in memory: the one kernel by which DuckDB's and Spark's jobs compute features, with NumPy.

Events of one type lie in order of `(entity, event_time, event_id)`. A window is then a range of events, found by bisection; counts and
sums are differences of prefix sums, so a row costs the same however many events it covers.

A row that some event of its past was hidden from, since it came late, is disturbed: the events it did see are laid out for it alone, as if
it were an entity of its own, and computed in the same way.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from contracts.events import INT64_MAX
from features.columns import Events, Field, Floats, Ints, Keys, Mask, Rows, Values, put
from features.definitions import UNKNOWN_CATEGORY, Aggregate, Attribute, Where, hop_us

_UNFOLDED = 4_000_000
"""Events laid out for disturbed rows at once."""


def evaluate(events: Events, rows: Rows, features: Sequence[Aggregate | Attribute]) -> dict[str, Values]:
    """Features that read one type of events, for all rows, each from what it had seen.

    Args:
        events: of the type.
        rows: entities' codes are those of the events.
        features: all of that one source.
    """
    past = _Past(events)
    disturbed = _disturbed(past, rows, features)
    if not disturbed.any():
        return _evaluate(past, rows, features)
    found = _evaluate(past, rows.take(np.flatnonzero(~disturbed)), features)
    whole = {name: Values.blank(len(disturbed)) for name in found}
    put(whole, np.flatnonzero(~disturbed), found)
    for at in _chunks(past, rows, np.flatnonzero(disturbed), features):
        own, alone = _unfold(past, rows.take(at), features)
        put(whole, at, _evaluate(_Past(own), alone, features))
    return whole


class _Past:
    """Events made ready to find what lies before a moment."""

    def __init__(self, events: Events) -> None:
        self.events = events
        self._times = Keys(events.entity, events.time)

    def before(self, rows: Rows, moment: Ints) -> Ints:
        """For each row, the position behind its entity's last event with a time below a moment."""
        found = np.empty(len(moment), np.int64)
        found[rows.order] = np.searchsorted(self._times.keys, self._times.pack(rows.entity[rows.order], moment[rows.order]))
        return found

    def first(self, rows: Rows) -> Ints:
        """For each row, the position of its entity's first event."""
        return self.before(rows, np.full(len(rows.moment), np.iinfo(np.int64).min))


@dataclass(frozen=True, slots=True)
class _Ranges:
    """What a window covers of the chosen events: in the rows `at`, positions from `first` up to `last`."""

    present: Mask
    at: Ints
    first: Ints
    last: Ints


class _Chosen:
    """The events that pass a filter and have a value of a field, which they count among each other."""

    def __init__(self, events: Events, mask: Mask | None) -> None:
        self._events = events
        self.mask = mask

    def ranges(self, start: Ints, end: Ints) -> _Ranges:
        """What ranges of all events are of these."""
        first, last = (start, end) if self.mask is None else (self._counts[start], self._counts[end])
        present = last > first
        at = np.flatnonzero(present)
        return _Ranges(present, at, first[at], last[at])

    @cached_property
    def times(self) -> Ints:
        """Their times."""
        return self._events.time if self.mask is None else self._events.time[self.mask]

    @cached_property
    def _counts(self) -> Ints:
        return _prefix(np.asarray(self.mask, dtype=np.int64))


class _Numbers:
    """Values of one field of chosen events."""

    def __init__(self, field: Field, mask: Mask | None) -> None:
        self.values = field.values if mask is None else field.values[mask]
        self.texts = field.texts

    def total(self, start: Ints, end: Ints) -> Ints:
        """Exact sums of ranges, saturating at ±(2⁶³ − 1)."""
        if self._halves is None:
            return self._sums[end] - self._sums[start]
        upper, lower = (sums[end] - sums[start] for sums in self._halves)
        upper, lower = upper + (lower >> 32), lower & 0xFFFFFFFF
        whole = (np.clip(upper, -(2**31), 2**31 - 1) << 32) + lower
        whole = np.where(upper > 2**31 - 1, INT64_MAX, np.where(upper < -(2**31), -INT64_MAX, whole))
        return np.maximum(whole, -INT64_MAX)

    def distinct(self, start: Ints, end: Ints) -> Ints:
        """How many different values ranges hold: those that have no equal one before them in the range."""
        found = np.zeros(len(start), np.int64)
        for at in _batches(end - start):
            positions, owner = _spread(start[at], end[at])
            found[at] = np.bincount(owner, self._previous[positions] < start[at][owner], minlength=len(at)).astype(np.int64)
        return found

    @cached_property
    def _sums(self) -> Ints:
        return _prefix(self.values)

    @cached_property
    def _halves(self) -> tuple[Ints, Ints] | None:
        """Prefix sums of the upper and the lower halves of the values, where whole sums might not fit 64 bits."""
        largest = max(int(self.values.max()), -int(self.values.min())) if len(self.values) else 0
        return None if largest * len(self.values) <= INT64_MAX else (_prefix(self.values >> 32), _prefix(self.values & 0xFFFFFFFF))

    @cached_property
    def _previous(self) -> Ints:
        """For each value the position of the one before it that is equal, of whatever entity; −1 for the first."""
        order = np.argsort(self.values, kind="stable")
        in_order = self.values[order]
        previous = np.full(len(order), -1, np.int64)
        previous[order[1:]] = np.where(in_order[1:] == in_order[:-1], order[:-1], -1)
        return previous


class _Evaluation:
    """The features of rows that saw all of their entities' past; what features share is computed once."""

    def __init__(self, past: _Past, rows: Rows) -> None:
        self._past = past
        self._rows = rows
        self._chosen: dict[tuple[tuple[Where, ...], str | None], _Chosen] = {}
        self._numbers: dict[tuple[tuple[Where, ...], str], _Numbers] = {}
        self._starts: dict[int, Ints] = {}
        self._end = past.before(rows, rows.moment)
        self._covered: dict[tuple[_Chosen, int], _Ranges] = {}

    def latest(self, feature: Attribute) -> Values:
        """An attribute."""
        events = self._past.events
        field = events.fields[feature.field]
        first, end = self._past.first(self._rows), self._past.before(self._rows, self._rows.moment + 1)
        there = np.flatnonzero(end > first)
        at = end[there] - 1
        found = Values.blank(len(end))
        found.numbers[there] = _coded(field.values[at], field.texts, feature.categories)
        found.present[there] = True if field.present is None else field.present[at]
        found.newest[there] = events.time[at]
        return found

    def aggregate(self, feature: Aggregate) -> Values:
        """An aggregate."""
        chosen = self._choose(feature.where, feature.field)
        covered = self._cover(chosen, feature.window_us)
        found = Values(np.zeros(len(covered.present)), covered.present, np.zeros(len(covered.present), np.int64))
        if feature.max_age_us is not None or feature.aggregate == "seconds_since_last":
            found.newest[covered.at] = chosen.times[covered.last - 1]
        match feature.aggregate:
            case "count":
                found.numbers[covered.at] = covered.last - covered.first
            case "seconds_since_last":
                found.numbers[covered.at] = (self._rows.moment - found.newest)[covered.at] / 1e6
            case _:
                assert feature.field is not None
                found.numbers[covered.at] = _reduce(self._numbers_of(feature.where, feature.field, chosen), feature, covered)
        return found

    def _cover(self, chosen: _Chosen, window_us: int) -> _Ranges:
        if window_us not in self._starts:
            self._starts[window_us] = self._past.before(self._rows, _window_starts(self._rows.moment, window_us))
        if (chosen, window_us) not in self._covered:
            self._covered[chosen, window_us] = chosen.ranges(self._starts[window_us], self._end)
        return self._covered[chosen, window_us]

    def _choose(self, where: tuple[Where, ...], name: str | None) -> _Chosen:
        fields = self._past.events.fields
        there = None if name is None else fields[name].present
        key = (where, None if there is None else name)
        if key not in self._chosen:
            mask = there
            for condition in where:
                passes = _passes(fields[condition.field], condition)
                mask = passes if mask is None else mask & passes
            self._chosen[key] = _Chosen(self._past.events, mask)
        return self._chosen[key]

    def _numbers_of(self, where: tuple[Where, ...], name: str, chosen: _Chosen) -> _Numbers:
        if (where, name) not in self._numbers:
            self._numbers[where, name] = _Numbers(self._past.events.fields[name], chosen.mask)
        return self._numbers[where, name]


def _reduce(numbers: _Numbers, feature: Aggregate, covered: _Ranges) -> Floats:
    first, last = covered.first, covered.last
    match feature.aggregate:
        case "sum":
            return numbers.total(first, last).astype(np.float64)
        case "mean":
            return numbers.total(first, last).astype(np.float64) / (last - first).astype(np.float64)
        case "min":
            return _extreme(numbers.values, first, last, np.minimum).astype(np.float64)
        case "max":
            return _extreme(numbers.values, first, last, np.maximum).astype(np.float64)
        case "first":
            return _coded(numbers.values[first], numbers.texts, feature.categories)
        case "last":
            return _coded(numbers.values[last - 1], numbers.texts, feature.categories)
        case _:
            return numbers.distinct(first, last).astype(np.float64)


def _evaluate(past: _Past, rows: Rows, features: Sequence[Aggregate | Attribute]) -> dict[str, Values]:
    whole = _Evaluation(past, rows)
    return {one.name: whole.aggregate(one) if isinstance(one, Aggregate) else whole.latest(one) for one in features}


def _window_starts(moment: Ints, window_us: int) -> Ints:
    hop = hop_us(window_us)
    starts: Ints = (moment - window_us) // hop * hop
    return starts


def _extreme(values: Ints, first: Ints, last: Ints, pick: "np.ufunc") -> Ints:
    """Least or greatest of each range, which two overlapping stretches of the same power of two cover."""
    found = np.zeros(len(first), np.int64)
    level = np.frexp((last - first).astype(np.float64))[1] - 1
    stretch = values
    for power in range(int(level.max(initial=-1)) + 1):
        at = np.flatnonzero(level == power)
        found[at] = pick(stretch[first[at]], stretch[last[at] - (1 << power)])
        stretch = pick(stretch[: -(1 << power)], stretch[1 << power :])
    return found


def _coded(values: Ints, texts: Sequence[str] | None, categories: Sequence[str]) -> Floats:
    if texts is None:
        return values.astype(np.float64)
    code = {category: float(number) for number, category in enumerate(categories)}
    # why: a place of its own for the position of absent values, where there are no texts at all
    return np.array([code.get(text, UNKNOWN_CATEGORY) for text in texts] or [UNKNOWN_CATEGORY])[values]


_COMPARE: Mapping[str, Callable[[Ints, int], Mask]] = {
    "<": np.less,
    "<=": np.less_equal,
    "==": np.equal,
    "!=": np.not_equal,
    ">=": np.greater_equal,
    ">": np.greater,
}


def _passes(field: Field, condition: Where) -> Mask:
    given = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    if field.texts is None:
        wanted = [int(value) for value in given]
    else:
        place = {text: number for number, text in enumerate(field.texts)}
        wanted = [place.get(str(value), -1) for value in given]
    if isinstance(condition.value, tuple):
        passes: Mask = np.isin(field.values, np.array(wanted, np.int64), invert=condition.op == "not in")
    else:
        passes = _COMPARE[condition.op](field.values, wanted[0])
    return passes if field.present is None else passes & field.present


def _prefix(values: Ints) -> Ints:
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def _disturbed(past: _Past, rows: Rows, features: Sequence[Aggregate | Attribute]) -> Mask:
    """Which rows was some event of their entity's past hidden from."""
    hidden = np.zeros(len(rows.moment), bool)
    end = _end(past, rows, features)
    for stamps, rows_of, limit in _judged(past.events, rows):
        if stamps is past.events.ingested and not (stamps > past.events.time).any():
            continue
        keys = Keys(past.events.entity, stamps)
        newest = np.maximum.accumulate(keys.keys)
        at = np.flatnonzero(rows_of & (end > 0))
        hidden[at] = newest[end[at] - 1] >= keys.pack(rows.entity[at], limit[at] + 1)
    return hidden


def _unfold(past: _Past, rows: Rows, features: Sequence[Aggregate | Attribute]) -> tuple[Events, Rows]:
    """The events that each row saw, and the rows as entities of their own."""
    positions, owner = _spread(_start(past, rows, features), _end(past, rows, features))
    visible = np.zeros(len(owner), bool)
    for stamps, rows_of, limit in _judged(past.events, rows):
        mine = np.flatnonzero(rows_of[owner])
        visible[mine] = stamps[positions[mine]] <= limit[owner[mine]]
    events = past.events.take(positions[visible])
    alone = Events(owner[visible], events.time, events.fields, events.ingested, events.seq)
    own = np.arange(len(rows.moment))
    return alone, Rows(own, rows.moment, rows.seen, own)


def _judged(events: Events, rows: Rows) -> Iterator[tuple[Ints, Mask, Ints]]:
    """The stamps by which rows see events: the stamps, which rows, and the greatest stamp that each sees."""
    for stamps, rows_of, limit in ((events.ingested, rows.seen < 0, rows.moment), (events.seq, rows.seen >= 0, rows.seen)):
        if rows_of.any():
            assert stamps is not None
            yield stamps, rows_of, limit


def _start(past: _Past, rows: Rows, features: Sequence[Aggregate | Attribute]) -> Ints:
    """Position of the first event that any of the features may look at, for each row."""
    if _reads_latest(features):
        return past.first(rows)
    windows = {feature.window_us for feature in features if isinstance(feature, Aggregate)}
    return past.before(rows, np.min([_window_starts(rows.moment, window_us) for window_us in windows], axis=0))


def _end(past: _Past, rows: Rows, features: Sequence[Aggregate | Attribute]) -> Ints:
    """Position behind the last event that any of the features may look at, for each row."""
    return past.before(rows, rows.moment + 1 if _reads_latest(features) else rows.moment)


def _reads_latest(features: Sequence[Aggregate | Attribute]) -> bool:
    return any(isinstance(feature, Attribute) for feature in features)


def _chunks(past: _Past, rows: Rows, at: Ints, features: Sequence[Aggregate | Attribute]) -> Iterator[Ints]:
    asked = rows.take(at)
    for batch in _batches(_end(past, asked, features) - _start(past, asked, features)):
        yield at[batch]


def _batches(lengths: Ints) -> Iterator[Ints]:
    """Positions in order, in groups whose lengths together stay bounded."""
    if len(lengths):
        group = np.cumsum(lengths) // _UNFOLDED
        yield from np.split(np.arange(len(lengths)), np.flatnonzero(np.diff(group)) + 1)


def _spread(start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """All positions of ranges one after the other, and which range each is of."""
    lengths = end - start
    owner = np.repeat(np.arange(len(start)), lengths)
    return np.arange(len(owner)) - np.repeat(_prefix(lengths)[:-1] - start, lengths), owner
