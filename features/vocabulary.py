"""The short way to write features: a source once, then a line for each thing that is counted of it, over one window or several.

    purchases = events("purchase")
    purchases.sum("amount_micros", days=(1, 7, 28), unit="micro-dollars")

gives `purchase_amount_micros_sum_1d`, `…_7d` and `…_28d`. A name is made of source, field, aggregate and window (`d`, `h`, `min`);
`name=` says another, in which `{source}`, `{field}`, `{aggregate}` and `{window}` stand for these: `name="spend_{window}"`. What is built
are the definitions of `features.definitions`, nothing else.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypedDict, TypeVar, Unpack

from contracts.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from contracts.errors import DefinitionError
from contracts.spelling import meant
from features.definitions import (
    UNKNOWN_CATEGORY,
    Aggregate,
    AggregateKind,
    Attribute,
    Derived,
    Entity,
    Fallback,
    Feature,
    FeatureSet,
    Request,
    Where,
    WhereOp,
)
from features.expressions import Expression
from features.origin import here

Counts: TypeAlias = int | Sequence[int]
"""How many days, hours or minutes; several make a feature each."""

T = TypeVar("T", Aggregate, Attribute, Request, Derived)

_PLACES = ("source", "field", "aggregate", "window")
_UNITS = (("days", DAY_US, "d"), ("hours", HOUR_US, "h"), ("minutes", MINUTE_US, "min"))


class OfAll(TypedDict, total=False):
    """What every feature may say."""

    default: float
    description: str
    owner: str
    unit: str
    tags: Sequence[str]


class OfRequest(OfAll, total=False):
    """What a feature of the request may say."""

    categories: Sequence[str]


class OfSource(OfAll, total=False):
    """What a feature of events or attributes may say: how old it may be, and what then."""

    max_age_us: int | None
    fallback: Fallback


class OfEvents(OfSource, total=False):
    """What a feature of events may say: its windows, a pattern of its name, and for first and last of a text its categories."""

    days: Counts
    hours: Counts
    minutes: Counts
    name: str
    categories: Sequence[str]


@dataclass(frozen=True, slots=True)
class Events:
    """Events of one type, of which features are made. Each method gives one feature a window; what they take besides: `OfEvents`."""

    source: str
    name: str
    conditions: tuple[Where, ...] = ()

    def where(self, field: str, op: WhereOp, value: int | str | bool | tuple[int | str, ...], *, name: str | None = None) -> "Events":
        """Only those whose field compares so; `name` stands for `{source}` in names from here on.

        Example:
            >>> [one.name for one in events("purchase").where("amount", ">", 100, name="big").count(days=7)]
            ['big_count_7d']
        """
        return replace(self, name=name or self.name, conditions=(*self.conditions, Where(field, op, value)))

    def count(self, **said: Unpack[OfEvents]) -> tuple[Aggregate, ...]:
        """How many there were."""
        return self._build("count", None, dict(said))

    def sum(self, field: str, **said: Unpack[OfEvents]) -> tuple[Aggregate, ...]:
        """The exact sum of a field."""
        return self._build("sum", field, dict(said))

    def mean(self, field: str, **said: Unpack[OfEvents]) -> tuple[Aggregate, ...]:
        """The mean of a field."""
        return self._build("mean", field, dict(said))

    def min(self, field: str, **said: Unpack[OfEvents]) -> tuple[Aggregate, ...]:
        """The least value of a field."""
        return self._build("min", field, dict(said))

    def max(self, field: str, **said: Unpack[OfEvents]) -> tuple[Aggregate, ...]:
        """The greatest value of a field."""
        return self._build("max", field, dict(said))

    def first(self, field: str, **said: Unpack[OfEvents]) -> tuple[Aggregate, ...]:
        """The value of a field in the oldest event; a text needs `categories`, whose default is then that of an unknown one, −1."""
        return self._build("first", field, dict(said))

    def last(self, field: str, **said: Unpack[OfEvents]) -> tuple[Aggregate, ...]:
        """The value of a field in the newest event; a text needs `categories`, whose default is then that of an unknown one, −1."""
        return self._build("last", field, dict(said))

    def distinct(self, field: str, **said: Unpack[OfEvents]) -> tuple[Aggregate, ...]:
        """How many different values of a field there were."""
        return self._build("distinct", field, dict(said))

    def seconds_since_last(self, **said: Unpack[OfEvents]) -> tuple[Aggregate, ...]:
        """Seconds since the newest; by default, when there was none, the length of the window."""
        return self._build("seconds_since_last", None, dict(said))

    def _build(self, aggregate: AggregateKind, field: str | None, said: dict[str, Any]) -> tuple[Aggregate, ...]:
        windows = _windows(said)
        pattern = said.pop("name", None) or "_".join(f"{{{place}}}" for place in _PLACES if place != "field" or field is not None)
        if len(windows) > 1 and "{window}" not in pattern:
            raise DefinitionError(here(), f"{len(windows)} windows cannot all be called {pattern!r}", "Put {window} into the name.")
        names = [
            _filled(pattern, {"source": self.name, "field": field or "", "aggregate": aggregate, "window": window}) for _, window in windows
        ]
        return tuple(
            _checked(
                Aggregate,
                _default(aggregate, length, said) | said,
                name=name,
                source=self.source,
                aggregate=aggregate,
                field=field,
                window_us=length,
                where=self.conditions,
            )
            for name, (length, _) in zip(names, windows, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Attributes:
    """The latest row of a slowly changing table, whose rows are events of the type `source`."""

    source: str

    def number(self, field: str, *, name: str | None = None, **said: Unpack[OfSource]) -> Attribute:
        """A field that is a number or a truth value."""
        return _checked(Attribute, dict(said), name=name or field, source=self.source, field=field)

    def text(self, field: str, categories: Sequence[str], *, name: str | None = None, **said: Unpack[OfSource]) -> Attribute:
        """A field that is a text: its value is the position among the categories, −1 for any other, and by default where it is missing."""
        plain = {"default": UNKNOWN_CATEGORY, **said}
        return _checked(Attribute, plain, name=name or field, source=self.source, field=field, categories=tuple(categories))


def events(source: str, *, name: str | None = None) -> Events:
    """Events of a type; `name` stands for `{source}` in names.

    Example:
        >>> [one.name for one in events("purchase").sum("amount_micros", days=(1, 7), unit="micro-dollars")]
        ['purchase_amount_micros_sum_1d', 'purchase_amount_micros_sum_7d']
        >>> [one.name for one in events("session", name="visits").count(hours=36, name="{source}_{window}")]
        ['visits_36h']
    """
    return Events(source, name or source)


def attributes(source: str) -> Attributes:
    """A table of attributes.

    Example:
        >>> attributes("profile").text("country", ("US", "DE")).default
        -1.0
    """
    return Attributes(source)


def request(field: str, *, name: str | None = None, **said: Unpack[OfRequest]) -> Request:
    """A value that the caller sends along."""
    return _checked(Request, dict(said), name=name or field, field=field)


def derived(name: str, expression: Expression, **said: Unpack[OfAll]) -> Derived:
    """A number computed from features that stand before it."""
    return _checked(Derived, dict(said), name=name, expression=expression)


def feature_set(name: str, *features: Feature | Iterable[Feature], entity: Entity | None = None) -> FeatureSet:
    """The features a model uses, in this order; what gives several may stand as it is.

    Example:
        >>> feature_set("shop", events("visit").count(days=(1, 7)), request("hour")).names
        ('visit_count_1d', 'visit_count_7d', 'hour')
    """
    flat: list[Feature] = []
    for one in features:
        flat.extend(one if isinstance(one, Iterable) and not isinstance(one, str) else [one])
    return FeatureSet(name, tuple(flat), entity or Entity())


def _windows(said: dict[str, Any]) -> list[tuple[int, str]]:
    """Length in microseconds and name of each window asked for, which are taken out of what was said."""
    found: list[tuple[int, str]] = []
    for word, unit_us, short in _UNITS:
        counts = said.pop(word, ())
        for count in [counts] if isinstance(counts, int) else counts:
            if not isinstance(count, int) or isinstance(count, bool) or count <= 0:
                raise DefinitionError(here(), f"{word}={count!r} is no length of a window", "Use a whole number above 0, or several.")
            found.append((count * unit_us, f"{count}{short}"))
    if not found:
        raise DefinitionError(here(), "no window", "Say days=, hours= or minutes=, a whole number or several: days=(1, 7, 28).")
    return found


def _filled(pattern: str, parts: dict[str, str]) -> str:
    try:
        return pattern.format(**parts)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        allowed = ", ".join(f"{{{place}}}" for place in _PLACES)
        raise DefinitionError(here(), f"name {pattern!r}", f"Only {allowed} can stand in it.") from error


def _default(aggregate: AggregateKind, window_us: int, said: dict[str, Any]) -> dict[str, float]:
    if aggregate == "seconds_since_last":
        return {"default": window_us / SECOND_US}
    return {"default": UNKNOWN_CATEGORY} if said.get("categories") else {}


def _checked(kind: type[T], said: dict[str, Any], **own: Any) -> T:
    allowed = [name for name in kind.__struct_fields__ if name not in own]
    if unknown := [name for name in said if name not in allowed]:
        raise DefinitionError(here(), f"`{unknown[0]}` of feature `{own['name']}`", meant(unknown[0], allowed))
    build: Callable[..., T] = kind
    return build(**own, **{name: tuple(value) if isinstance(value, list) else value for name, value in said.items()})
