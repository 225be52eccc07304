"""Which candidates may be shown to an entity now: rules compiled once a release, checked by bit masks."""

import operator
from bisect import bisect_right
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from contracts.catalogue import NO_ACTION, Catalogue, Limit, Rule
from contracts.clock import HOUR_US, to_datetime
from contracts.errors import DefinitionError
from decisions.matrix import FeatureColumns, Floats, Positions

Shown: TypeAlias = Mapping[str, Sequence[int]]
"""When an entity was shown each candidate: ids to ascending moments."""

_MOST_CACHED = 4_096
_FOREVER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class EligibleSet:
    """Eligible candidates in catalogue order: at least one, their ids and positions. Shared between decisions: not to be written to."""

    ids: tuple[str, ...]
    positions: Positions


@dataclass(frozen=True, slots=True)
class _Condition:
    rule: Rule
    column: int
    holds: Callable[[Any, Any], bool]
    value: Any
    keeps: int


@dataclass(frozen=True, slots=True)
class _Limited:
    limit: Limit
    counts: tuple[str, ...]
    keeps: int


@dataclass(frozen=True, slots=True)
class _Dates:
    valid_from_us: int
    valid_until_us: int
    keeps: int


class Eligibility:
    """The compiled rules of a catalogue over a feature set.

    A candidate is eligible when all its rules hold, its dates cover the moment, its cool-down is over, its limits leave room, and it is not
    withheld. The fallback always is, whatever its rules: "no action" where the catalogue has it, else the baseline.

    Attributes:
        looks_back_us: how far back what the entity was shown matters; 0 where it need not be known at all.

    Raises:
        DefinitionError: a rule names an unknown feature or category, or compares a category by size, or a number with text.
    """

    def __init__(self, catalogue: Catalogue, features: FeatureColumns, baseline: str) -> None:
        self._ids = tuple(candidate.candidate_id for candidate in catalogue.candidates)
        self._all = (1 << len(self._ids)) - 1
        self._fallback = 1 << catalogue.index[NO_ACTION if NO_ACTION in catalogue.index else baseline]
        self._conditions = _compile(catalogue, features, self._all)
        self._dates = _dates(catalogue, self._all)
        self._limits = _limits(catalogue, self._all)
        # why: there are many limits of one candidate each, and an entity was shown few of them
        own = [limited for limited in self._limits if not limited.limit.group]
        self._own = {name: tuple(limited for limited in own if name in limited.counts) for name in self._ids}
        self._shared = tuple(limited for limited in self._limits if limited.limit.group)
        self._index = catalogue.index
        self._sets: dict[int, EligibleSet] = {}
        self.looks_back_us = catalogue.looks_back_us

    def eligible(self, values: Sequence[float], shown: Shown, now_us: int, withheld: Sequence[str] = ()) -> EligibleSet:
        """The eligible candidates.

        Args:
            values: of all features, in the feature set's order.
            shown: when each candidate was shown to the entity within the last `looks_back_us`, ascending; none later than `now_us`.
            now_us: the moment of the decision.
            withheld: candidates that the traffic plan says nobody is shown.
        """
        alive = self._all
        for condition in self._conditions:
            if not condition.holds(values[condition.column], condition.value):
                alive &= condition.keeps
        for dates in self._dates:
            if not dates.valid_from_us <= now_us < dates.valid_until_us:
                alive &= dates.keeps
        if shown:
            for candidate_id, times in shown.items():
                for limited in self._own.get(candidate_id, ()):
                    if len(times) - bisect_right(times, now_us - limited.limit.window_us) >= limited.limit.most:
                        alive &= limited.keeps
            for limited in self._shared:
                if _used_up(limited, shown, now_us):
                    alive &= limited.keeps
        for candidate_id in withheld:
            if candidate_id in self._index:
                alive &= ~(1 << self._index[candidate_id])
        alive |= self._fallback
        return self._sets.get(alive) or self._expand(alive)

    def reasons(self, values: Sequence[float], shown: Shown, now_us: int, withheld: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
        """Why each candidate that is not eligible is not, in words, all reasons; arguments as for `eligible`."""
        found: dict[str, list[str]] = {}

        def say(keeps: int, reason: str) -> None:
            for position, candidate_id in enumerate(self._ids):
                if not (keeps | self._fallback) >> position & 1:
                    found.setdefault(candidate_id, []).append(reason)

        for condition in self._conditions:
            if not condition.holds(values[condition.column], condition.value):
                say(condition.keeps, f"rule {_words(condition.rule)} does not hold")
        for dates in self._dates:
            if now_us < dates.valid_from_us:
                say(dates.keeps, f"valid only from {to_datetime(dates.valid_from_us).isoformat()}")
            elif now_us >= dates.valid_until_us:
                say(dates.keeps, f"valid only until {to_datetime(dates.valid_until_us).isoformat()}")
        for limited in self._limits:
            if _used_up(limited, shown, now_us):
                hours = limited.limit.window_us / HOUR_US
                of = f"of `{limited.limit.group}`" if limited.limit.group else "of itself"
                say(limited.keeps, f"limit {limited.limit.most} {of} in {hours:g} h is used up")
        for candidate_id in withheld:
            if candidate_id in self._index:
                say(self._all ^ (1 << self._index[candidate_id]), "withheld by the traffic plan")
        return {candidate_id: tuple(found[candidate_id]) for candidate_id in self._ids if candidate_id in found}

    def by_rules(self, features: Floats, at_us: NDArray[np.int64]) -> NDArray[np.bool_]:
        """What the rules and dates allow many entities at once, cool-downs and caps left out: (n, K), as `eligible` gives one by one.

        Args:
            features: (n, F), in the feature set's order.
            at_us: (n,) moments.
        """
        allowed = np.ones((len(features), len(self._ids)), dtype=np.bool_)
        for condition in self._conditions:
            fails = ~_holds(condition, features[:, condition.column])
            allowed[np.ix_(fails, self._bits(self._all ^ condition.keeps))] = False
        for dates in self._dates:
            over = (at_us < dates.valid_from_us) | (at_us >= dates.valid_until_us)
            allowed[np.ix_(over, self._bits(self._all ^ dates.keeps))] = False
        allowed[:, self._bits(self._fallback)] = True
        return allowed

    def _bits(self, mask: int) -> NDArray[np.bool_]:
        return np.array([bool(mask >> position & 1) for position in range(len(self._ids))])

    def _expand(self, alive: int) -> EligibleSet:
        positions = [position for position in range(len(self._ids)) if alive >> position & 1]
        expanded = EligibleSet(tuple(self._ids[position] for position in positions), np.array(positions, dtype=np.int64))
        if len(self._sets) >= _MOST_CACHED:
            self._sets.clear()
        self._sets[alive] = expanded
        return expanded


def _compile(catalogue: Catalogue, features: FeatureColumns, everyone: int) -> tuple[_Condition, ...]:
    asking: dict[Rule, int] = {}
    for position, candidate in enumerate(catalogue.candidates):
        for rule in candidate.rules:
            asking[rule] = asking.get(rule, 0) | 1 << position
    return tuple(_condition(rule, features, everyone ^ asked) for rule, asked in asking.items())


def _limits(catalogue: Catalogue, everyone: int) -> tuple[_Limited, ...]:
    asking: dict[tuple[Limit, tuple[str, ...]], int] = {}
    for position, candidate in enumerate(catalogue.candidates):
        cooldown = (Limit(1, candidate.cooldown_us),) if candidate.cooldown_us else ()
        for limit in (*cooldown, *candidate.limits):
            counts = catalogue.members(limit.group) if limit.group else (candidate.candidate_id,)
            asking[limit, counts] = asking.get((limit, counts), 0) | 1 << position
    return tuple(_Limited(limit, counts, everyone ^ asked) for (limit, counts), asked in asking.items())


def _used_up(limited: _Limited, shown: Shown, now_us: int) -> bool:
    left = limited.limit.most
    for candidate_id in limited.counts:
        if candidate_id in shown:
            times = shown[candidate_id]
            left -= len(times) - bisect_right(times, now_us - limited.limit.window_us)
    return left <= 0


def _words(rule: Rule) -> str:
    value = " or ".join(rule.value) if isinstance(rule.value, tuple) else rule.value
    return f"{rule.feature} {rule.op} {value}"


def _dates(catalogue: Catalogue, everyone: int) -> tuple[_Dates, ...]:
    asking: dict[tuple[int, int], int] = {}
    for position, candidate in enumerate(catalogue.candidates):
        dates = (candidate.valid_from_us or 0, candidate.valid_until_us or _FOREVER)
        if dates != (0, _FOREVER):
            asking[dates] = asking.get(dates, 0) | 1 << position
    return tuple(_Dates(start, end, everyone ^ asked) for (start, end), asked in asking.items())


def _condition(rule: Rule, features: FeatureColumns, keeps: int) -> _Condition:
    where = f"rule {rule.feature} {rule.op} {rule.value!r}"
    if rule.feature not in features.names:
        raise DefinitionError(where, "names no feature of the feature set", f"Known: {', '.join(features.names)}.")
    categories = features.categories.get(rule.feature) or None
    if isinstance(rule.value, tuple) != (rule.op in ("in", "not in")):
        raise DefinitionError(where, "is malformed", "`in` and `not in` take a list, the others one value.")
    if categories is None and (isinstance(rule.value, str | tuple)):
        raise DefinitionError(where, f"compares the number `{rule.feature}` with text", "Compare it with a number.")
    if categories is not None and rule.op in ("<", "<=", ">=", ">"):
        raise DefinitionError(where, f"compares the category `{rule.feature}` by size", "Use ==, !=, in or not in.")
    value = rule.value if categories is None else _codes(where, rule.value, categories)
    return _Condition(rule, features.names.index(rule.feature), _OPERATORS[rule.op], value, keeps)


def _codes(where: str, value: object, categories: Sequence[str]) -> float | frozenset[float]:
    names = value if isinstance(value, tuple) else (value,)
    unknown = [name for name in names if name not in categories]
    if unknown:
        raise DefinitionError(where, f"names the unknown category {unknown}", f"Known: {', '.join(categories)}.")
    codes = frozenset(float(categories.index(str(name))) for name in names)
    return codes if isinstance(value, tuple) else next(iter(codes))


def _in(value: float, values: Container[float]) -> bool:
    return value in values


def _holds(condition: _Condition, column: Floats) -> NDArray[np.bool_]:
    if condition.rule.op in ("in", "not in"):
        found = np.isin(column, np.array(sorted(condition.value)))
        return found if condition.rule.op == "in" else ~found
    return np.asarray(condition.holds(column, condition.value))


def _not_in(value: float, values: Container[float]) -> bool:
    return value not in values


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
    "in": _in,
    "not in": _not_in,
}
