"""Declared event types: what a use case may be sent, and the columns its events are stored in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from contracts.errors import DefinitionError, InvalidInput
from contracts.records import DECISION_EVENT, OUTCOME_EVENT, Event, FieldValue
from contracts.spelling import meant

INT64_MAX = 2**63 - 1


class FieldType(StrEnum):
    """Type of an event's field. There is no float: what is summed is an integer with a declared scale."""

    INT = "int"
    STR = "str"
    BOOL = "bool"


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of event and its own fields, all required but for those named `optional`, which may be null or left out.

    Example:
        >>> EventType("purchase", {"amount_micros": FieldType.INT, "product": FieldType.STR}).name
        'purchase'
    """

    name: str
    fields: Mapping[str, FieldType]
    optional: tuple[str, ...] = ()


BUILT_IN_TYPES = (
    EventType(DECISION_EVENT, {"candidate_id": FieldType.STR, "arm": FieldType.STR}),
    EventType(OUTCOME_EVENT, {"reward": FieldType.INT}),
)
"""Decisions and outcomes are events too: fatigue, caps and cool-down are features of them."""


COMMON_COLUMNS = frozenset(name for name in Event.__struct_fields__ if name != "fields")
"""What every event has, so that no type can have a field of that name."""

JOB_COLUMNS = frozenset({"entity", "row_id", "moment", "context", "seen_seq"})
"""What feature jobs put beside the fields of events, in tiles and on the way to Spark's workers: no names of fields either."""

_RENAME = "Give one of them another name."


@dataclass(frozen=True, slots=True)
class EventSchema:
    """All event types of a use case.

    Raises:
        DefinitionError: two types share a name, one field name has two types, or names differ by case alone, which not every engine
            can tell apart.
    """

    use_case: str
    types: Mapping[str, EventType]
    columns: Mapping[str, FieldType]

    @classmethod
    def build(cls, use_case: str, types: Sequence[EventType]) -> "EventSchema":
        """The schema of a use case's own types and the built-in ones, its columns in name order."""
        where = f"use_cases/{use_case}"
        named: dict[str, EventType] = {}
        columns: dict[str, FieldType] = {}
        for event_type in (*types, *BUILT_IN_TYPES):
            if event_type.name in named:
                raise DefinitionError(where, f"event type `{event_type.name}` is defined twice", "Give it another name.")
            _check_case(where, "event type", event_type.name, named)
            if unknown := [name for name in event_type.optional if name not in event_type.fields]:
                what = f"optional field `{unknown[0]}` of event type `{event_type.name}` is not declared"
                raise DefinitionError(where, what, meant(unknown[0], event_type.fields))
            named[event_type.name] = event_type
            for field, kind in event_type.fields.items():
                if field.casefold() in COMMON_COLUMNS:
                    raise DefinitionError(where, f"field `{field}` of event type `{event_type.name}` is what every event has", _RENAME)
                if field.casefold() in JOB_COLUMNS:
                    raise DefinitionError(
                        where, f"field `{field}` of event type `{event_type.name}` is what feature jobs name theirs", _RENAME
                    )
                _check_case(where, "field", field, columns)
                if columns.setdefault(field, kind) is not kind:
                    raise DefinitionError(
                        where, f"field `{field}` of event type `{event_type.name}` is {kind} here and {columns[field]} elsewhere", _RENAME
                    )
        return cls(use_case, MappingProxyType(named), MappingProxyType(dict(sorted(columns.items()))))

    def check(self, type_name: str, fields: Mapping[str, FieldValue], *, own: bool = False) -> None:
        """Check the fields of one event sent from outside; `own` admits the built-in types.

        Raises:
            InvalidInput: names the field and what was expected.
        """
        known = [name for name in self.types if own or name not in (DECISION_EVENT, OUTCOME_EVENT)]
        if type_name not in known:
            raise InvalidInput("type", f"is {type_name!r}", f"one of {', '.join(known)}")
        declared, optional = self.types[type_name].fields, self.types[type_name].optional
        for name in sorted(declared.keys() - fields.keys() - set(optional)):
            raise InvalidInput(f"fields.{name}", "is missing", f"{declared[name]} for an event of type {type_name}")
        for name, value in fields.items():
            if name not in declared:
                raise InvalidInput(f"fields.{name}", "is not declared", f"only {', '.join(declared) or 'no fields'} for type {type_name}")
            if value is not None or name not in optional:
                check_value(f"fields.{name}", declared[name], value)


def _check_case(where: str, what: str, name: str, known: Iterable[str]) -> None:
    twins = [other for other in known if other != name and other.casefold() == name.casefold()]
    if not name.strip() or twins:
        said = f"{what} `{name}` differs from `{twins[0]}` by case alone" if twins else f"{what} {name!r} is blank"
        raise DefinitionError(where, said, _RENAME)


def check_value(where: str, kind: FieldType, value: FieldValue) -> None:
    """Check one value against its declared type.

    Raises:
        InvalidInput: the type differs, an integer does not fit 64 bits, a text is longer than 256 characters or holds a NUL.
    """
    match kind:
        case FieldType.INT:
            if isinstance(value, bool) or not isinstance(value, int) or not -INT64_MAX <= value <= INT64_MAX:
                raise InvalidInput(where, f"is {value!r}", "an integer of 64 bits")
        case FieldType.STR:
            if not isinstance(value, str) or len(value) > 256 or "\0" in value:
                raise InvalidInput(where, f"is {_short(value)}", "a text of at most 256 characters without NUL")
        case FieldType.BOOL:
            if not isinstance(value, bool):
                raise InvalidInput(where, f"is {value!r}", "true or false")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
