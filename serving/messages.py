"""What is said over HTTP: requests, answers and problems, strict, with unknown fields forbidden."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from contracts.clock import to_us
from contracts.errors import InvalidInput
from contracts.events import INT64_MAX
from contracts.records import FieldValue

T = TypeVar("T")

ID_PATTERN = r"^[A-Za-z0-9._:-]+\Z"

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128, pattern=ID_PATTERN, examples=["player-4711"])]
Text: TypeAlias = Annotated[str, Meta(max_length=256)]
Integer: TypeAlias = Annotated[int, Meta(ge=-INT64_MAX, le=INT64_MAX)]
Reward: TypeAlias = Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1, description="In the use case's integer unit; refunds are negative.")]
EventTime: TypeAlias = Annotated[
    str | int, Meta(description="RFC 3339 with a zone, such as 2026-01-31T12:00:00Z, or integer microseconds since 1970 (UTC).")
]
Value: TypeAlias = bool | Integer | float | Text | None
CONTEXT_NAMES = 64
NAME_LENGTH = 64

Name: TypeAlias = Annotated[str, Meta(max_length=NAME_LENGTH)]
Context: TypeAlias = Annotated[
    Mapping[Name, Value], Meta(max_length=CONTEXT_NAMES, description="What features of the request are made of: at most 64 names.")
]


class DecisionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask what to show an entity now. The same `decision_id` always gets the same answer."""

    entity_id: Id
    decision_id: Id | None = None
    context: Context = {}


class DecisionsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask for many decisions at once."""

    requests: Annotated[list[DecisionRequest], Meta(min_length=1)]


class DecisionAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The decision, durable in the log.

    Attributes:
        propensity: the probability, within its arm, of the action.
        degraded: what was not as declared, such as `stale:country`; empty when all was well.
    """

    decision_id: str
    entity_id: str
    action: str
    content: Mapping[str, str | int]
    propensity: float
    release_id: str
    arm: str
    arm_probability: float
    degraded: tuple[str, ...]
    decided_at: int
    expires_at: int


class DecisionsAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Decisions in the order of their requests."""

    decisions: list[DecisionAnswer]


class EventMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happened to an entity."""

    event_id: Id
    entity_id: Id
    type: Text
    event_time: EventTime
    fields: Mapping[str, Value] = {}


class OutcomeMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What followed a decision; without `event_time`, now.

    Attributes:
        decision_id: null where the sender knows the entity alone: then `entity_id` is needed, and the use case says whose reward it is.
        corrects: the outcome, sent before, that this one replaces.
    """

    outcome_id: Id
    decision_id: Id | None
    reward: Reward
    event_time: EventTime | None = None
    kind: Text = ""
    entity_id: Id | None = None
    corrects: Id | None = None


class EventsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events, in any order. One that breaks its schema goes to quarantine and does not hold up the others."""

    events: Annotated[list[EventMessage], Meta(min_length=1)]


class OutcomesRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Outcomes, in any order. One that cannot be credited goes to quarantine and does not hold up the others."""

    outcomes: Annotated[list[OutcomeMessage], Meta(min_length=1)]


class RawEvents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The envelope of events, each still to be read."""

    events: Annotated[list[msgspec.Raw], Meta(min_length=1)]


class RawOutcomes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The envelope of outcomes, each still to be read."""

    outcomes: Annotated[list[msgspec.Raw], Meta(min_length=1)]


class Refused(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record that went to quarantine: its place in the request, its id if it could be read, and why."""

    index: int
    id: str | None
    reason: str


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of the records of a request. All of it is durable; a duplicate was accepted before with the same content."""

    accepted: int
    duplicates: int
    quarantined: list[Refused]


class HookAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a webhook went: its row of the inbox, and how that row stands."""

    inbox_id: int
    status: str


class ReleaseStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One arm of the traffic plan, as this replica serves it; and what scores: `compiled`, or by which call, and why."""

    arm: str
    release_id: str
    share: float
    scorer: str


class UseCaseStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What serves a use case now, on the replica that answers."""

    use_case: str
    ready: bool
    plan_version: int
    control_share: float
    arms: list[ReleaseStatus]
    shadow: str | None
    refused: Mapping[str, str]


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The installation as the answering replica sees it."""

    installation_id: str
    simulated: bool
    now: int
    use_cases: list[UseCaseStatus]


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the process lives, or is ready for decisions."""

    status: str


class Problem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What went wrong (RFC 9457), with the field that is to blame where one is."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    field: str | None = None


_ID = re.compile(ID_PATTERN)


def is_id(text: str) -> bool:
    """Whether a text may be an id.

    Example:
        >>> is_id("player-1"), is_id("../x")
        (True, False)
    """
    return 1 <= len(text) <= 128 and _ID.match(text) is not None


def read(decoder: msgspec.json.Decoder[T], body: bytes | memoryview | msgspec.Raw) -> T:
    """Decode a message.

    Raises:
        InvalidInput: names the field that is not as declared; `body` when it is no JSON at all.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `")
        where = where.strip("`").removeprefix("key` in `").removeprefix("$").removeprefix(".")
        raise InvalidInput(where or "body", f"is not as declared: {what}", "what /docs says") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("body", f"is not readable: {error}", "JSON in UTF-8") from error


def time_us(value: str | int, field: str = "event_time") -> int:
    """A moment of a message in microseconds since 1970 (UTC).

    Raises:
        InvalidInput: no RFC 3339 moment with a zone, or out of range.

    Example:
        >>> time_us("1970-01-01T00:00:01Z"), time_us(5)
        (1000000, 5)
    """
    if isinstance(value, int):
        if not 0 <= value < 2**53:
            raise InvalidInput(field, f"is {value}", "microseconds since 1970, from 0 to 2^53 − 1")
        return value
    try:
        moment = to_us(datetime.fromisoformat(value))
    except (ValueError, OverflowError) as error:
        raise InvalidInput(field, f"is {value[:40]!r}", "RFC 3339 with a zone, such as 2026-01-31T12:00:00Z") from error
    if moment < 0:
        raise InvalidInput(field, f"is {value[:40]!r}", "a moment since 1970")
    return moment


def check_context(context: Mapping[str, FieldValue]) -> None:
    """Check what a type cannot say of a context.

    Raises:
        InvalidInput: too many names, or one that is too long.
    """
    if len(context) > CONTEXT_NAMES:
        raise InvalidInput("context", f"has {len(context)} names", f"at most {CONTEXT_NAMES}")
    for name in context:
        if len(name) > NAME_LENGTH:
            raise InvalidInput("context", f"has a name of {len(name)} characters", f"names of at most {NAME_LENGTH}")
