"""A feature set prepared for reading online: what shares a filter or a window is looked up once."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.events import INT64_MAX
from contracts.records import Event, FieldValue
from features.definitions import UNKNOWN_CATEGORY, Aggregate, Attribute, Derived, FeatureSet, Request, Where, hop_us
from features.expressions import columns
from features.scalar import Function, build

LONG = 256
"""From so many values on, NumPy is faster than Python."""

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class Output:
    """Where a feature goes in the row, and how a value becomes its number; `replaced` when stale by its default."""

    position: int
    field: str
    codes: Mapping[str, float]
    max_age_us: int | None
    replaced: bool


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """The aggregates over one window of one filter: those of values, by field, and those that need the times alone.

    Attributes:
        number: among the parts of the plan, each of which holds until a moment of its own.
        positions: of its features.
    """

    number: int
    positions: Sequence[int]
    window_us: int
    hop_us: int
    values: Mapping[str, Sequence[tuple[Output, Callable[[Sequence[Any]], Any]]]]
    counts: Sequence[Output]
    recencies: Sequence[Output]


@dataclass(frozen=True, slots=True)
class LatestPlan:
    """The attributes that are read from the latest event of a type; `number` and `positions` as in `WindowPlan`."""

    number: int
    positions: Sequence[int]
    outputs: Sequence[Output]


@dataclass(frozen=True, slots=True)
class Condition:
    """A field and a test of its values: of one, and of many whole numbers at once."""

    field: str
    test: Callable[[FieldValue], bool]
    passing: Callable[[NDArray[np.int64]], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """All that is read from the events of one type that pass all conditions."""

    type: str
    conditions: Sequence[Condition]
    windows: Sequence[WindowPlan]
    latest: LatestPlan | None

    @property
    def numbers(self) -> Sequence[int]:
        """Numbers of its windows and of its row of attributes, among the parts of the whole plan."""
        return [window.number for window in self.windows] + ([] if self.latest is None else [self.latest.number])

    def passes(self, event: Event) -> bool:
        """Whether an event can change what is read."""
        return event.type == self.type and all(condition.test(event.fields.get(condition.field)) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class DerivedPlan:
    """A derived feature: its place, its function, its inputs' places, the parts of the plan that it follows from, by number."""

    position: int
    function: Function
    inputs: Sequence[int]
    parts: frozenset[int]


@dataclass(frozen=True, slots=True)
class Plan:
    """A feature set prepared for reading.

    Attributes:
        key: eight bytes of the set's digest.
        names, defaults: in the set's order.
        parts: how many windows and attribute rows `sources` have in all; `by_type` are the same sources by the type of their events.
        recencies: places of `seconds_since_last`, which change with the moment alone.
        settled: derived features that follow from stored values; `live` ones follow from a request or a recency, too.
        patterns: what flags of a row mean, as they were seen; see `features.ready`.
    """

    key: bytes
    names: tuple[str, ...]
    defaults: Sequence[float]
    parts: int
    sources: Sequence[SourcePlan]
    by_type: Mapping[str, Sequence[SourcePlan]]
    recencies: Sequence[int]
    requests: Sequence[tuple[int, Request]]
    settled: Sequence[DerivedPlan]
    live: Sequence[DerivedPlan]
    patterns: dict[bytes, "Pattern"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pattern:
    """What the flags of a row mean: places without an age, recencies to be filled in, names of what is missing and of what is stale."""

    ageless: NDArray[np.intp] | None
    recencies: Sequence[int]
    missing: tuple[str, ...]
    stale: tuple[str, ...]


def prepare(feature_set: FeatureSet) -> Plan:
    """The plan of a feature set."""
    positions = {name: position for position, name in enumerate(feature_set.names)}
    requests: list[tuple[int, Request]] = []
    recencies: list[int] = []
    for position, feature in enumerate(feature_set.features):
        if isinstance(feature, Request):
            requests.append((position, feature))
        if isinstance(feature, Aggregate) and feature.aggregate == "seconds_since_last":
            recencies.append(position)
    sources = _sources(feature_set, positions)
    parts: list[WindowPlan | LatestPlan] = [part for source in sources for part in source.windows]
    parts += [source.latest for source in sources if source.latest is not None]
    behind = {position: frozenset((part.number,)) for part in parts for position in part.positions}
    settled, live = _derived(feature_set, behind, {*recencies, *(position for position, _ in requests)})
    return Plan(
        key=bytes.fromhex(feature_set.digest[:16]),
        names=feature_set.names,
        defaults=[float(feature.default) + 0.0 for feature in feature_set.features],
        parts=len(parts),
        sources=sources,
        by_type={source.type: [other for other in sources if other.type == source.type] for source in sources},
        recencies=recencies,
        requests=requests,
        settled=settled,
        live=live,
    )


def request_value(feature: Request, value: object) -> float | None:
    """The number of a value of the request's context; none where it is missing or of the wrong kind."""
    if feature.categories:
        return _code(feature.categories, value) if isinstance(value, str) else None
    if not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number + 0.0 if math.isfinite(number) else None


def _code(categories: Sequence[str], value: str) -> float:
    return float(categories.index(value)) if value in categories else UNKNOWN_CATEGORY


def _derived(feature_set: FeatureSet, behind: dict[int, frozenset[int]], moving: set[int]) -> tuple[list[DerivedPlan], list[DerivedPlan]]:
    positions = {name: position for position, name in enumerate(feature_set.names)}
    settled: list[DerivedPlan] = []
    live: list[DerivedPlan] = []
    for position, feature in enumerate(feature_set.features):
        if isinstance(feature, Derived):
            inputs = [positions[name] for name in columns(feature.expression)]
            behind[position] = frozenset[int]().union(*(behind.get(place, frozenset()) for place in inputs))
            plan = DerivedPlan(position, build(feature.expression, positions), inputs, behind[position])
            if moving.isdisjoint(inputs):
                settled.append(plan)
            else:
                moving.add(position)
                live.append(plan)
    return settled, live


def _sources(feature_set: FeatureSet, positions: Mapping[str, int]) -> list[SourcePlan]:
    filters: dict[tuple[str, tuple[Where, ...]], dict[int, list[Aggregate]]] = {}
    attributes: dict[str, list[Attribute]] = {}
    for feature in feature_set.features:
        if isinstance(feature, Attribute):
            attributes.setdefault(feature.source, []).append(feature)
        if isinstance(feature, Aggregate):
            filters.setdefault((feature.source, feature.where), {}).setdefault(feature.window_us, []).append(feature)
    numbers = count()
    counted = [
        SourcePlan(
            name,
            [Condition(condition.field, _test(condition), _passing(condition)) for condition in where],
            [_window(next(numbers), window_us, members, positions) for window_us, members in windows.items()],
            None,
        )
        for (name, where), windows in filters.items()
    ]
    latest = []
    for name, members in attributes.items():
        outputs = [_output(feature, positions) for feature in members]
        latest.append(SourcePlan(name, (), (), LatestPlan(next(numbers), [output.position for output in outputs], outputs)))
    return [*counted, *latest]


def _window(number: int, window_us: int, features: Sequence[Aggregate], positions: Mapping[str, int]) -> WindowPlan:
    outputs = {
        kind: [_output(feature, positions) for feature in features if feature.aggregate == kind] for kind in ("count", "seconds_since_last")
    }
    values: dict[str, list[tuple[Output, Callable[[Sequence[Any]], Any]]]] = {}
    for feature in features:
        if feature.aggregate in _REDUCE:
            values.setdefault(feature.field or "", []).append((_output(feature, positions), _REDUCE[feature.aggregate]))
    own = [positions[feature.name] for feature in features]
    return WindowPlan(number, own, window_us, hop_us(window_us), values, outputs["count"], outputs["seconds_since_last"])


def _output(feature: Aggregate | Attribute, positions: Mapping[str, int]) -> Output:
    codes = {text: float(code) for code, text in enumerate(feature.categories)}
    return Output(positions[feature.name], feature.field or "", codes, feature.max_age_us, feature.fallback == "default")


def _test(condition: Where) -> Callable[[FieldValue], bool]:
    value = condition.value
    if isinstance(value, tuple):
        members = frozenset(value)
        if condition.op == "in":
            return lambda found: found in members
        return lambda found: found is not None and found not in members
    compare = _COMPARE[condition.op]
    return lambda found: found is not None and compare(found, value)


def _passing(condition: Where) -> Callable[[NDArray[np.int64]], NDArray[np.bool_]]:
    value = condition.value
    if isinstance(value, tuple):
        members = [member for member in value if isinstance(member, int)]
        return lambda found: np.isin(found, members, invert=condition.op == "not in")
    compare = _COMPARE[condition.op]
    return lambda found: np.asarray(compare(found, value))


def _least(values: Sequence[int]) -> int:
    return min(values) if len(values) < LONG else int(np.asarray(values).min())


def _most(values: Sequence[int]) -> int:
    return max(values) if len(values) < LONG else int(np.asarray(values).max())


def _sum(values: Sequence[int]) -> float:
    if len(values) < LONG:
        total = sum(values)
    else:
        # The halves of up to 2**31 values cannot overflow 64 bits, their sum can.
        whole = np.asarray(values, dtype=np.int64)
        total = (int((whole >> 32).sum()) << 32) + int((whole & 0xFFFFFFFF).sum())
    return float(max(-INT64_MAX, min(INT64_MAX, total)))


def _mean(values: Sequence[int]) -> float:
    return _sum(values) / float(len(values))


def _distinct(values: Sequence[FieldValue]) -> int:
    return len(set(values))


_REDUCE: Mapping[str, Callable[[Sequence[Any]], Any]] = {
    "sum": _sum,
    "mean": _mean,
    "min": _least,
    "max": _most,
    "first": operator.itemgetter(0),
    "last": operator.itemgetter(-1),
    "distinct": _distinct,
}
