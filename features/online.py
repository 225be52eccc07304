"""Features of one entity, now: from the bytes of its state to a row, exactly what the engines compute from tables."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from contracts.catalogue import Catalogue
from contracts.clock import DAY_US
from contracts.errors import NotFound
from contracts.events import EventSchema
from contracts.records import DECISION_EVENT, Event, FieldValue
from features import state as states
from features.definitions import UNKNOWN_CATEGORY, Aggregate, FeatureRow, FeatureSet
from features.plan import FilterPlan, Output, Plan, SourcePlan, prepare, request_value

GRACE_US = DAY_US
"""How far before the newest ingestion of an entity's events a moment may lie and still be read exactly."""


def retention(feature_sets: Iterable[FeatureSet], catalogues: Iterable[Catalogue] = ()) -> dict[str, int]:
    """How long events of each type must be kept, in microseconds: the longest window of any set, the longest cool-down for decisions."""
    longest: dict[str, int] = {}
    for feature_set in feature_sets:
        for feature in feature_set.features:
            if isinstance(feature, Aggregate):
                longest[feature.source] = max(longest.get(feature.source, 0), feature.window_us)
    for catalogue in catalogues:
        for candidate in catalogue.candidates:
            longest[DECISION_EVENT] = max(longest.get(DECISION_EVENT, 0), candidate.cooldown_us)
    return longest


class OnlineFeatures:
    """Reads and advances the feature state of entities. It holds no state itself, only feature sets prepared for reading.

    Reads are exact at every moment from `grace_us` before the newest ingestion on, for feature sets whose windows are not longer than
    what is kept. Of every type the latest event is kept without end, since it may be an attribute's row.

    Args:
        schema: the use case's events. All declared fields are kept, so that a new feature set finds them.
        retention_us: how long events are kept, for each type (those not named: only what attributes need), or for all.
        grace_us: see above.
    """

    def __init__(self, schema: EventSchema, retention_us: Mapping[str, int] | int, grace_us: int = GRACE_US) -> None:
        self._fields = {name: tuple(event_type.fields) for name, event_type in schema.types.items()}
        self._retention = {name: retention_us if isinstance(retention_us, int) else retention_us.get(name, 0) for name in self._fields}
        self._grace_us = grace_us
        self._plans: dict[str, Plan] = {}

    def apply(self, state: bytes | None, event: Event) -> tuple[bytes, int]:
        """The state after an event, and the `seq` the event was given. Whether it came before is for the caller to know.

        Raises:
            NotFound: the event's type is not declared.
            DataRefused: the state's bytes are damaged.
        """
        fields = self._fields.get(event.type)
        if fields is None:
            raise NotFound("event type", event.type, tuple(self._fields))
        settled_us = event.ingested_time - self._grace_us
        after = states.insert(states.decode(state), event, fields, self._retention[event.type], settled_us)
        return states.encode(after), after.seq

    def read(self, state: bytes | None, feature_set: FeatureSet, at_us: int, context: Mapping[str, FieldValue]) -> FeatureRow:
        """The features of an entity at a moment, from everything its state has seen.

        Args:
            state: as `apply` gave it; none for an unknown entity.
            feature_set: whose features.
            at_us: the moment, in microseconds.
            context: the request's, for features of the request.

        Raises:
            DataRefused: the state's bytes are damaged.
        """
        plan = self._plans.get(feature_set.digest)
        if plan is None:
            plan = self._plans[feature_set.digest] = prepare(feature_set)
        entity = states.decode(state)
        row = _Row(plan)
        for source in plan.sources:
            rows = entity.types.get(source.type)
            if rows is not None:
                _read_source(row, source, rows, at_us)
        for position, request in plan.requests:
            value = request_value(request, context.get(request.field))
            if value is not None:
                row.put(position, value, 0)
        for derived in plan.derived:
            value = derived.function(row.values)
            if math.isfinite(value):
                row.put(derived.position, value + 0.0, -1)
            row.ages[derived.position] = max((row.ages[position] for position in derived.inputs), default=-1)
        return FeatureRow(
            np.array(row.values),
            tuple([name for name, missing in zip(plan.names, row.missing, strict=True) if missing]),
            np.array(row.ages),
            tuple([plan.names[position] for position in row.stale]),
            entity.seq,
        )

    def last_times(self, state: bytes | None, type_name: str, field: str, at_us: int) -> Mapping[str, int]:
        """For each text of a field, the time in microseconds of the latest event with `event_time ≤ at_us` that has it: for cool-downs.

        Only kept events count, so the type's retention must be as long as the longest cool-down.
        """
        rows = states.decode(state).types.get(type_name)
        return {} if rows is None else states.last_times(rows, field, at_us)


class _Row:
    """A row while it is read."""

    __slots__ = ("ages", "missing", "stale", "values")

    def __init__(self, plan: Plan) -> None:
        self.values = list(plan.defaults)
        self.ages = [-1] * len(plan.defaults)
        self.missing = [True] * len(plan.defaults)
        self.stale: list[int] = []

    def put(self, position: int, value: float, age_us: int) -> None:
        self.ages[position] = age_us
        self.missing[position] = False
        self.values[position] = value

    def put_number(self, output: Output, value: float, age_us: int) -> None:
        default = self.values[output.position]
        self.put(output.position, value, age_us)
        if output.max_age_us is not None and age_us > output.max_age_us:
            self.stale.append(output.position)
            if output.replaced:
                self.values[output.position] = default

    def put_value(self, output: Output, value: Any, age_us: int) -> None:
        self.put_number(output, output.codes.get(value, UNKNOWN_CATEGORY) if output.codes else float(value), age_us)


def _read_source(row: _Row, source: SourcePlan, rows: states.Rows, at_us: int) -> None:
    times: Sequence[int] = rows.event_times()
    columns: dict[str, states.Column | None] = {}
    if source.attributes and (latest := bisect_right(times, at_us) - 1) >= 0:
        for output in source.attributes:
            column = _column(columns, rows, output.field)
            if column is not None and (value := column[latest]) is not None:
                row.put_value(output, value, at_us - times[latest])
    end = bisect_left(times, at_us)
    if end:
        for part in source.filters:
            _read_filter(row, part, rows, columns, times, end, at_us)


def _read_filter(
    row: _Row, part: FilterPlan, rows: states.Rows, columns: dict[str, states.Column | None], times: Sequence[int], end: int, at_us: int
) -> None:
    chosen: Sequence[int] | None = None
    if part.conditions:
        chosen = range(bisect_left(times, at_us - part.longest_us - DAY_US), end)
        for field, test in part.conditions:
            column = _column(columns, rows, field)
            chosen = [] if column is None else [index for index in chosen if test(column[index])]
        times = [times[index] for index in chosen]
        end = len(times)
    for window in part.windows:
        start = bisect_left(times, (at_us - window.window_us) // window.hop_us * window.hop_us, 0, end)
        if start == end:
            continue
        age_us = at_us - times[end - 1]
        for output in window.counts:
            row.put_number(output, float(end - start), age_us)
        for output in window.recencies:
            row.put_number(output, age_us / 1e6, age_us)
        for output, reduce in window.values:
            column = _column(columns, rows, output.field)
            if column is None:
                continue
            found: Any = column[start:end] if chosen is None else [column[index] for index in chosen[start:]]
            if isinstance(column, memoryview):
                row.put_value(output, reduce(found), age_us)
            elif present := [value for value in found if value is not None]:
                newest = max(index for index in range(start, end) if found[index - start] is not None)
                row.put_value(output, reduce(present), at_us - times[newest])


def _column(columns: dict[str, states.Column | None], rows: states.Rows, field: str) -> states.Column | None:
    if field not in columns:
        columns[field] = rows.column(field)
    return columns[field]
