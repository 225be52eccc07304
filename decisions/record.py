"""Record: what was decided, what happened and what followed, once each, in the transaction that makes it visible.

An id that comes again with the same content changes nothing; with other content it is a conflict.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

import msgspec

from contracts.errors import Conflict, InvalidInput
from contracts.records import (
    Decision,
    Event,
    FieldValue,
    Outcome,
    Quarantined,
    ShadowScore,
    StoredEvent,
    event_of_decision,
    event_of_outcome,
)
from contracts.tables import DECISIONS, EVENTS, OUTCOMES, QUARANTINE, SHADOW
from decisions.decide import DecisionRequest
from decisions.rewards import RewardSource
from storage.transaction import FOR_GOOD, Read, Write

ApplyEvent: TypeAlias = Callable[[bytes | None, Event], tuple[bytes, int]]
"""Lets an entity's online state see an event: (state, event without `seq`) to (new state, the event's `seq`)."""

DECISION = "decision"
EVENT = "event"
OUTCOME = "outcome"


class SentOutcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An outcome as it is sent. Without `event_time` it happened when it came in.

    Attributes:
        decision_id: whose it is; None where the sender knows the entity alone.
        entity_id: needed without a decision; else it must be the decision's, where given.
        corrects: the outcome that this one replaces, sent before; or empty.
    """

    outcome_id: str
    decision_id: str | None
    reward: int
    event_time: int | None = None
    kind: str = ""
    entity_id: str = ""
    corrects: str = ""


def stored_decision(read: Read, use_case: str, decision_id: str) -> Decision | None:
    """The decision that was given under an id, or None."""
    found = read.get_id(DECISION, use_case, decision_id)
    return None if found is None else _DECISIONS.decode(found)


def answered(read: Read, request: DecisionRequest) -> Decision | None:
    """The decision that a request was answered with before, or None.

    Raises:
        Conflict: its id was answered for another question.
    """
    found = stored_decision(read, request.use_case, request.decision_id)
    if found is not None and found.request_digest != request.digest():
        raise Conflict(DECISION, request.decision_id)
    return found


class Foreseen(NamedTuple):
    """What a decision will be kept as, if its entity's state is still the one `before` then.

    Attributes:
        before: the state, or None.
        after: the state that has seen the decision.
        kept: the decision with its `seq`, and its bytes, `content`.
    """

    before: bytes | None
    after: bytes
    kept: Decision
    content: bytes


def foresee(decision: Decision, state: bytes | None, apply_event: ApplyEvent) -> Foreseen:
    """What is to be written for a decision, worked out before it is one's turn to write.

    Raises:
        DataRefused: the state is damaged.
    """
    after, seq = apply_event(state, event_of_decision(decision))
    kept = msgspec.structs.replace(decision, seq=seq)
    return Foreseen(state, after, kept, _ENCODER.encode(kept))


def record_decision(write: Write, decision: Decision, apply_event: ApplyEvent, foreseen: Foreseen | None = None) -> Decision:
    """Keep a decision, and let the entity's features see it.

    Args:
        write: the transaction.
        decision: with any `seq`.
        apply_event: see there.
        foreseen: of this decision, if it was worked out; it counts if the state has not changed since.

    Returns:
        The decision with its `seq`; or the one that was kept first under this id for the same question.

    Raises:
        Conflict: the id was answered for another question.
        InvalidInput: the id is too long.
    """
    use_case, entity_id = decision.use_case, decision.entity_id
    found = stored_decision(write, use_case, decision.decision_id)
    if found is not None:
        if found.request_digest != decision.request_digest:
            raise Conflict(DECISION, decision.decision_id)
        return found
    # why: this raises, if at all, before anything is written, so that a caller may go on with other records in the same transaction
    state = write.get_state(use_case, entity_id)
    if foreseen is None or foreseen.before != state:
        foreseen = foresee(decision, state, apply_event)
    write.put_state(use_case, entity_id, foreseen.after)
    write.put_id(DECISION, use_case, decision.decision_id, foreseen.content, _forgotten_by(decision))
    write.append(DECISIONS, foreseen.content)
    return foreseen.kept


def make_event(
    event_id: str,
    entity_id: str,
    type_name: str,
    event_time: int,
    fields: dict[str, FieldValue],
    *,
    ingested_time: int,
    loaded_at: int | None = None,
    simulated: bool = False,
) -> Event:
    """An event as accepted: its time clamped to its ingestion, the original kept; `seq` 0, which the store replaces.

    Example:
        >>> late = make_event("e-1", "p-1", "login", 12, {}, ingested_time=10)
        >>> late.event_time, late.original_time
        (10, 12)
    """
    return Event(
        event_id=event_id,
        entity_id=entity_id,
        type=type_name,
        event_time=min(event_time, ingested_time),
        ingested_time=ingested_time,
        seq=0,
        fields=fields,
        original_time=event_time if event_time > ingested_time else None,
        loaded_at=loaded_at,
        simulated=simulated,
    )


def record_event(
    write: Write, use_case: str, event: Event, apply_event: ApplyEvent, *, id_time: int = FOR_GOOD, sources: Sequence[RewardSource] = ()
) -> bool:
    """Keep an event, and let the entity's features see it; where it is an outcome too, keep that as well.

    Args:
        write: the transaction.
        use_case: whose event it is.
        event: without its `seq`.
        apply_event: see there.
        id_time: the time by which its id may be forgotten: once events as old as that are no longer taken.
        sources: of the use case: which events are outcomes, of what reward.

    Returns:
        Whether it is new; False for one that was kept before.

    Raises:
        Conflict: its id was accepted with other content.
        InvalidInput: its id is too long.
    """
    sent_time = event.event_time if event.original_time is None else event.original_time
    digest = _new_digest(write, EVENT, use_case, event.event_id, (event.entity_id, event.type, sent_time, event.fields))
    if digest is None:
        return False
    paid = _paid(event, sources)
    for sent in paid:
        # why: what is wrong with them must be known before anything is written
        _new_digest(write, OUTCOME, use_case, sent.outcome_id, _said(sent, event.entity_id))
    seq = _apply(write, use_case, event, apply_event)
    write.put_id(EVENT, use_case, event.event_id, digest, id_time)
    write.append(EVENTS, _ENCODER.encode(StoredEvent(use_case, msgspec.structs.replace(event, seq=seq))))
    for sent in paid:
        record_outcome(write, use_case, sent, apply_event, ingested_time=event.ingested_time, simulated=event.simulated)
    return True


def record_outcome(
    write: Write, use_case: str, sent: SentOutcome, apply_event: ApplyEvent, *, ingested_time: int, simulated: bool = False
) -> bool:
    """Keep an outcome, and let the features of its entity, or of its decision's, see it.

    Returns:
        Whether it is new; False for one that was kept before.

    Raises:
        Conflict: its id was accepted with other content.
        InvalidInput: its decision is not known, later than it, or another entity's; it names neither decision nor entity; what it corrects
            is not known; its id is too long.
    """
    event_time = ingested_time if sent.event_time is None else sent.event_time
    entity_id, forgotten_by = _whose(write, use_case, sent, event_time)
    digest = _new_digest(write, OUTCOME, use_case, sent.outcome_id, _said(sent, entity_id))
    if digest is None:
        return False
    if sent.corrects and write.get_id(OUTCOME, use_case, sent.corrects) is None:
        raise InvalidInput("corrects", f"is {sent.corrects!r}, which was never sent", "the id of an outcome that was sent before")
    outcome = Outcome(
        outcome_id=sent.outcome_id,
        decision_id=sent.decision_id or "",
        entity_id=entity_id,
        use_case=use_case,
        reward=sent.reward,
        event_time=event_time,
        ingested_time=ingested_time,
        seq=0,
        kind=sent.kind,
        simulated=simulated,
        corrects=sent.corrects,
    )
    seq = _apply(write, use_case, event_of_outcome(outcome), apply_event)
    write.put_id(OUTCOME, use_case, sent.outcome_id, digest, forgotten_by)
    write.append(OUTCOMES, _ENCODER.encode(msgspec.structs.replace(outcome, seq=seq)))
    return True


def _paid(event: Event, sources: Sequence[RewardSource]) -> list[SentOutcome]:
    """The outcomes that an event is."""
    amounts = [(source, event.fields.get(source.field)) for source in sources if source.type == event.type]
    return [
        SentOutcome(f"{event.event_id}:{source.field}", None, source.factor * amount, event.event_time, event.type, event.entity_id)
        for source, amount in amounts
        if isinstance(amount, int)
    ]


def _said(sent: SentOutcome, entity_id: str) -> tuple[object, ...]:
    """What makes an outcome the same one when its id comes again."""
    said = (sent.decision_id, sent.reward, sent.event_time, sent.kind)
    return (*said, entity_id, sent.corrects) if sent.corrects or sent.decision_id is None else said


def _whose(read: Read, use_case: str, sent: SentOutcome, event_time: int) -> tuple[str, int]:
    """The entity of an outcome, and the time by which its id may be forgotten."""
    if sent.decision_id is None:
        if not sent.entity_id:
            raise InvalidInput("decision_id", "is not given, and no entity_id either", "one of them")
        return sent.entity_id, event_time
    decision = stored_decision(read, use_case, sent.decision_id)
    if decision is None:
        raise InvalidInput(
            "decision_id",
            f"is {sent.decision_id!r}, which was never answered, or so long ago that it is forgotten",
            "the id of a decision of this use case",
        )
    if event_time < decision.decided_at:
        raise InvalidInput("event_time", f"is {event_time}", f"a time not before the decision's, {decision.decided_at}")
    if sent.entity_id not in ("", decision.entity_id):
        raise InvalidInput("entity_id", f"is {sent.entity_id!r}", f"the decision's, {decision.entity_id!r}, or none")
    return decision.entity_id, _forgotten_by(decision)


def record_shadow(write: Write, score: ShadowScore) -> None:
    """Keep what a release in the shadow would have done."""
    write.append(SHADOW, _ENCODER.encode(score))


def record_quarantined(write: Write, entry: Quarantined) -> None:
    """Keep what was not taken, with the reason, so that nothing is dropped silently."""
    write.append(QUARANTINE, _ENCODER.encode(entry))


def _forgotten_by(decision: Decision) -> int:
    # why: a log that was imported may be imported again at any time, and must change nothing then
    return FOR_GOOD if decision.source == "imported" else decision.decided_at


def _apply(write: Write, use_case: str, event: Event, apply_event: ApplyEvent) -> int:
    # why: this raises, if at all, before anything is written, so that a caller may go on with other records in the same transaction
    state, seq = apply_event(write.get_state(use_case, event.entity_id), event)
    write.put_state(use_case, event.entity_id, state)
    return seq


def _new_digest(write: Write, kind: str, use_case: str, identifier: str, content: object) -> bytes | None:
    digest = blake2b(_ENCODER.encode(content), digest_size=16).digest()
    found = write.get_id(kind, use_case, identifier)
    if found is not None and found != digest:
        raise Conflict(kind, identifier)
    return digest if found is None else None


_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_DECISIONS = msgspec.msgpack.Decoder(Decision)
