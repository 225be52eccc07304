"""What the client sends and gets. Answers may grow new fields: unknown ones are passed over."""

from collections.abc import Mapping

import msgspec

from contracts.records import FieldValue


class Ask(msgspec.Struct, frozen=True, omit_defaults=True):
    """One decision to ask for. Without `decision_id` the client makes one, so that a repeated request gets the same answer."""

    entity_id: str
    context: Mapping[str, FieldValue] = {}
    decision_id: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """A decision. Times are microseconds UTC of the installation's clock; `content` is what to show."""

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


class Event(msgspec.Struct, frozen=True):
    """Something that happened to an entity; `event_time` as RFC 3339 with a zone or microseconds UTC."""

    event_id: str
    entity_id: str
    type: str
    event_time: str | int
    fields: Mapping[str, FieldValue] = {}


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What followed a decision, in the use case's integer unit; without `event_time`, now.

    Attributes:
        decision_id: None where only the entity is known: then `entity_id` is needed.
        corrects: the outcome, sent before, that this one replaces.
    """

    outcome_id: str
    decision_id: str | None
    reward: int
    event_time: str | int | None = None
    kind: str = ""
    entity_id: str | None = None
    corrects: str | None = None


class Refused(msgspec.Struct, frozen=True):
    """A record that went to quarantine: its place among those sent, its id where it could be read, and why."""

    index: int
    id: str | None
    reason: str


class Receipt(msgspec.Struct, frozen=True):
    """What became of the records sent. All of it is durable."""

    accepted: int
    duplicates: int
    quarantined: tuple[Refused, ...]


class HookReceipt(msgspec.Struct, frozen=True):
    """The inbox's row of a webhook, and how it stands."""

    inbox_id: int
    status: str
