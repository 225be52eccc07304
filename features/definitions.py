"""The vocabulary: what a feature is, said once, and computed from that by every engine.

At a moment `t` an aggregate covers the events of its window, `trunc(t − w, hop(w)) ≤ event_time < t`; an attribute is that of the latest
row with `event_time ≤ t`, since a row is valid from its own time on. Of those, only what was known: `seq ≤ seen_seq` where it is given,
else `ingested_time ≤ t`. Ties are ordered by `(event_time, event_id)`.
"""

import math
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.clock import DAY_US, HOUR_US, MINUTE_US
from contracts.digests import digest_of
from contracts.errors import DefinitionError
from contracts.events import INT64_MAX, EventSchema, FieldType
from contracts.spelling import meant
from features.expressions import Expression, columns
from features.origin import Written

AggregateKind: TypeAlias = Literal["count", "sum", "mean", "min", "max", "first", "last", "distinct", "seconds_since_last"]
WhereOp: TypeAlias = Literal["<", "<=", "==", "!=", ">=", ">", "in", "not in"]
Fallback: TypeAlias = Literal["default", "last", "refuse"]

UNKNOWN_CATEGORY = -1.0
"""The code of a text that is not among a feature's categories."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TAKEN = frozenset({"row_id", "missing"})
_LONGEST_US = 100 * 366 * DAY_US
_DOCUMENTATION = frozenset({"description", "owner", "unit", "tags"})


class Window:
    """Lengths of windows, in microseconds.

    Example:
        >>> Window.days(1) == Window.hours(24) == Window.minutes(1440)
        True
    """

    @staticmethod
    def days(count: int) -> int:
        """So many days, in microseconds."""
        return count * DAY_US

    @staticmethod
    def hours(count: int) -> int:
        """So many hours, in microseconds."""
        return count * HOUR_US

    @staticmethod
    def minutes(count: int) -> int:
        """So many minutes, in microseconds."""
        return count * MINUTE_US


def hop_us(window_us: int) -> int:
    """The step in which a window's tail moves: 5 minutes up to 12 h, 1 h up to 12 days, 1 day above.

    Example:
        >>> hop_us(Window.hours(12)) == Window.minutes(5), hop_us(Window.days(12)) == Window.hours(1)
        (True, True)
    """
    if window_us <= 12 * HOUR_US:
        return 5 * MINUTE_US
    return HOUR_US if window_us <= 12 * DAY_US else DAY_US


def window_start(moment_us: int, window_us: int) -> int:
    """First event time that a window covers at a moment: `trunc(moment − window, hop)`, in microseconds.

    Example:
        >>> window_start(Window.hours(3) + 7, Window.hours(1)) == Window.hours(2)
        True
    """
    hop = hop_us(window_us)
    return (moment_us - window_us) // hop * hop


class Where(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Only events whose field compares so are aggregated; an event without a value of the field never is.

    Order is compared on integers only.
    """

    field: str
    op: WhereOp
    value: int | str | bool | tuple[int | str, ...]


class _Definition(Written, msgspec.Struct, frozen=True, dict=True, tag_field="kind", forbid_unknown_fields=True):
    pass


class Aggregate(_Definition, frozen=True, kw_only=True, tag="aggregate"):
    """A number over the events of one type in a window.

    `sum` is exact and saturates at ±(2⁶³ − 1); `mean` is that sum divided once by the number of values; `distinct` counts different values;
    `first` and `last` are by `(event_time, event_id)`; `seconds_since_last` has microsecond resolution. An empty window is missing,
    for `count` and `distinct` too, and takes the default.

    Attributes:
        source: the event type.
        field: whose values are aggregated; none for `count` and `seconds_since_last`.
        where: all must hold.
        default: the value when missing; NaN leaves it absent.
        max_age_us: when the newest event aggregated is older, the value is stale.
        fallback: of a stale value: its default, the last good value as it is, or to refuse to decide at all.
        categories: for `first` and `last` of a text: its code is the position here, −1 if it is none of them.
    """

    name: str
    source: str
    aggregate: AggregateKind
    window_us: int
    field: str | None = None
    where: tuple[Where, ...] = ()
    default: float = 0.0
    max_age_us: int | None = None
    fallback: Fallback = "default"
    categories: tuple[str, ...] = ()
    description: str = ""
    owner: str = ""
    unit: str = ""
    tags: tuple[str, ...] = ()


class Attribute(_Definition, frozen=True, kw_only=True, tag="attribute"):
    """A field of the latest row of an attribute source, whose rows are events of the type `source`.

    The row is the unit: where the latest has no value of the field, the feature is missing, whatever older rows say.

    Attributes:
        categories: for a text: its code is the position here, −1 if it is none of them.
        max_age_us: when the row is older than this at the moment, it is stale.
        fallback: of a stale value: its default, the last good value as it is, or to refuse to decide at all.
    """

    name: str
    source: str
    field: str
    default: float = 0.0
    categories: tuple[str, ...] = ()
    max_age_us: int | None = None
    fallback: Fallback = "default"
    description: str = ""
    owner: str = ""
    unit: str = ""
    tags: tuple[str, ...] = ()


class Request(_Definition, frozen=True, kw_only=True, tag="request"):
    """A value that the caller sends in the request's context.

    Without categories a number or a truth value is taken, with them a text; anything else is missing.
    """

    name: str
    field: str
    default: float = 0.0
    categories: tuple[str, ...] = ()
    description: str = ""
    owner: str = ""
    unit: str = ""
    tags: tuple[str, ...] = ()


class Derived(_Definition, frozen=True, kw_only=True, tag="derived"):
    """A number computed from earlier features of the row, after their defaults; where it is absent or not finite, the default."""

    name: str
    expression: Expression
    default: float = 0.0
    description: str = ""
    owner: str = ""
    unit: str = ""
    tags: tuple[str, ...] = ()


Feature: TypeAlias = Aggregate | Attribute | Request | Derived


class Entity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom decisions are about, in words."""

    name: str = "entity"
    description: str = ""


class FeatureRow(msgspec.Struct, frozen=True, eq=False):
    """The features of one entity at one moment, in the order of the set.

    Attributes:
        values: float64; a missing feature holds its default, as does a stale one whose fallback is `default`.
        missing: names of features that had no value.
        ages_us: int64; moment − time of the newest event or row used; 0 for the request's own; of a derived feature that of its
            oldest input; −1 where there is none.
        stale: names of features that were older than their `max_age_us`.
        seen_seq: the newest `seq` of the entity that was seen; 0 for an unknown entity.
    """

    values: NDArray[np.float64]
    missing: tuple[str, ...]
    ages_us: NDArray[np.int64]
    stale: tuple[str, ...]
    seen_seq: int


class FeatureSet(msgspec.Struct, frozen=True, dict=True, forbid_unknown_fields=True):
    """The list of features that a model uses, in its order.

    Raises:
        DefinitionError: a name stands twice or is no lower-case identifier; a feature is incomplete or contradicts itself. It says in which
            line the feature was written, and what to write instead.
    """

    name: str
    features: tuple[Feature, ...]
    entity: Entity = Entity()

    def __post_init__(self) -> None:
        if not self.features:
            raise DefinitionError(f"feature set {self.name}", "has no features", "Name at least one.")
        known: dict[str, Feature] = {}
        for feature in self.features:
            if not isinstance(feature, (Aggregate, Attribute, Request, Derived)):
                said = f"holds {feature!r:.60}, which is no feature"
                raise DefinitionError(f"feature set {self.name}", said, "Put a star before what gives several.")
            where = self._where(feature)
            _check_types(where, feature)
            if feature.name in known and (first := known[feature.name].written_at):
                raise DefinitionError(where, f"has no name of its own: it is that of {first}", "Give one of them another name.")
            if not _NAME.fullmatch(feature.name) or feature.name in known or feature.name in _TAKEN:
                raise DefinitionError(where, "has no name of its own", f"Use a lower-case identifier, once; not {sorted(_TAKEN)}.")
            _check_feature(where, feature, known)
            known[feature.name] = feature

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names, in order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def categorical(self) -> tuple[str, ...]:
        """Names of the features whose values are codes of categories, in order."""
        return tuple(name for name, categories in self.categories.items() if categories)

    @cached_property
    def categories(self) -> Mapping[str, tuple[str, ...]]:
        """Categories of each feature by its name; empty for numbers."""
        return {feature.name: () if isinstance(feature, Derived) else feature.categories for feature in self.features}

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Event types that the features read, each once."""
        return tuple(dict.fromkeys(feature.source for feature in self.features if isinstance(feature, (Aggregate, Attribute))))

    @cached_property
    def digest(self) -> str:
        """Digest of what the values mean: everything but the name of the set, its entity, and the words for people."""
        return digest_of(self._meanings())

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """Digest of what each feature means by its name, as far as it says so itself: not of what it is derived from."""
        return {meaning["name"]: digest_of(meaning) for meaning in self._meanings()}

    def to_json(self) -> bytes:
        """The set as JSON, from which `from_json` builds an equal one without the code that defined it; NaN is null."""
        return msgspec.json.format(msgspec.json.encode(self._plain()), indent=2)

    @classmethod
    def from_json(cls, content: bytes) -> "FeatureSet":
        """The set that `to_json` wrote.

        Raises:
            DefinitionError: the content is of another shape.
        """
        try:
            plain = msgspec.json.decode(content)
            for feature in plain["features"]:
                if feature.get("default", 0.0) is None:
                    feature["default"] = math.nan
            return msgspec.convert(plain, cls)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
            raise DefinitionError("feature set", f"cannot be read ({error})", "Give JSON as FeatureSet.to_json writes it.") from error

    def check(self, schema: EventSchema) -> None:
        """Check that the events which the features read exist with fitting fields.

        Raises:
            DefinitionError: a source or field is not declared, or has a type that the feature cannot use.
        """
        for feature in self.features:
            if isinstance(feature, (Aggregate, Attribute)):
                _check_source(self._where(feature), feature, schema)

    def _where(self, feature: Feature) -> str:
        line = f"{feature.written_at}: " if feature.written_at else ""
        return f"{line}feature `{feature.name}` of {self.name}"

    def _meanings(self) -> list[dict[str, Any]]:
        return [{key: value for key, value in feature.items() if key not in _DOCUMENTATION} for feature in self._plain()["features"]]

    def _plain(self) -> Any:
        plain = msgspec.to_builtins(self)
        for feature in plain["features"]:
            default = float(feature["default"])
            feature["default"] = None if math.isnan(default) else default
        return plain


def _check_types(where: str, feature: Feature) -> None:
    try:
        msgspec.convert(msgspec.to_builtins(feature), type(feature))
    except (msgspec.ValidationError, TypeError, RecursionError) as error:
        what, _, field = str(error).partition(" - at `$.")
        said = f"{field.rstrip('`') or 'it'} is of the wrong kind: {what}"
        raise DefinitionError(where, said, "docs/features.md says what it may be.") from error


def _check_feature(where: str, feature: Feature, known: Mapping[str, Feature]) -> None:
    if bad := [tag for tag in feature.tags if not _NAME.fullmatch(tag)]:
        raise DefinitionError(where, f"has a tag {bad[0]!r}", 'Use lower-case identifiers, such as tags=("pii",).')
    if isinstance(feature, (Aggregate, Attribute)):
        if feature.max_age_us is not None and feature.max_age_us <= 0:
            raise DefinitionError(where, f"max_age_us of {feature.max_age_us}", "Use Window.days, Window.hours or Window.minutes.")
        if feature.fallback != "default" and feature.max_age_us is None:
            raise DefinitionError(where, f'fallback="{feature.fallback}" of a value that is never stale', "Say max_age_us too.")
    if math.isinf(feature.default):
        raise DefinitionError(where, "has an infinite default", "Use a finite number, or NaN for absent.")
    if isinstance(feature, Aggregate):
        if (feature.field is None) != (feature.aggregate in ("count", "seconds_since_last")):
            raise DefinitionError(
                where, f"`{feature.aggregate}` of field {feature.field!r}", "count and seconds_since_last take none, others one."
            )
        if not 0 < feature.window_us <= _LONGEST_US:
            raise DefinitionError(where, f"window of {feature.window_us} µs", "Use Window.days, Window.hours or Window.minutes.")
        if feature.categories and feature.aggregate not in ("first", "last"):
            raise DefinitionError(where, f"categories of a `{feature.aggregate}`", "Only first and last of a text have categories.")
    if isinstance(feature, Request) and not re.fullmatch(r"[^\"'\\]+", feature.field):
        raise DefinitionError(where, f"reads {feature.field!r} of the request", "Name a key without quotes and backslashes.")
    if not isinstance(feature, Derived):
        if len(set(feature.categories)) != len(feature.categories):
            raise DefinitionError(where, "names a category twice", "A category's code is its position, so name each once.")
        if blank := [category for category in feature.categories if not category.strip()]:
            raise DefinitionError(where, f"has a blank category {blank[0]!r}", "Leave it out: a text that is no category has the code −1.")
    elif unknown := [name for name in columns(feature.expression) if name not in known]:
        mend = f"It can read only features that stand before it. {meant(unknown[0], known)}"
        raise DefinitionError(where, f"reads {', '.join(unknown)}", mend)


def _check_source(where: str, feature: Aggregate | Attribute, schema: EventSchema) -> None:
    if feature.source not in schema.types:
        raise DefinitionError(where, f"there is no event type `{feature.source}`", meant(feature.source, schema.types))
    fields = schema.types[feature.source].fields
    conditions = feature.where if isinstance(feature, Aggregate) else ()
    for field in ([] if feature.field is None else [feature.field]) + [condition.field for condition in conditions]:
        if field not in fields:
            raise DefinitionError(where, f"event type `{feature.source}` has no field `{field}`", meant(field, fields))
    if feature.field is not None and (isinstance(feature, Attribute) or feature.aggregate != "distinct"):
        kind = fields[feature.field]
        if (kind is FieldType.STR) != bool(feature.categories):
            raise DefinitionError(
                where, f"field `{feature.field}` is {kind}", "A text needs categories (first, last, attributes), others none."
            )
    for condition in conditions:
        _check_condition(where, condition, fields[condition.field])


def _check_condition(where: str, condition: Where, kind: FieldType) -> None:
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    expected = {FieldType.INT: int, FieldType.STR: str, FieldType.BOOL: bool}[kind]
    if (
        not values
        or isinstance(condition.value, tuple) != (condition.op in ("in", "not in"))
        or any(type(value) is not expected or (isinstance(value, int) and abs(value) > INT64_MAX) for value in values)
        or (kind is not FieldType.INT and condition.op in ("<", "<=", ">=", ">"))
    ):
        raise DefinitionError(
            where, f"cannot compare {condition.field} {condition.op} {condition.value!r}", f"Its values are of type {kind}."
        )
