"""Taking in events and outcomes: each is accepted, known already, or put into quarantine with the reason; all of it durable."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import msgspec

from contracts.clock import DAY_US, Clock
from contracts.errors import Conflict, DataRefused, InvalidInput, TooLarge
from contracts.metrics import ACCEPTED, DUPLICATES, QUARANTINED
from contracts.records import Event, Quarantined
from decisions.record import ApplyEvent, SentOutcome, make_event, record_event, record_outcome, record_quarantined
from features.definitions import Attribute
from serving.messages import (
    EventMessage,
    EventsRequest,
    OutcomeMessage,
    OutcomesRequest,
    RawEvents,
    RawOutcomes,
    Receipt,
    Refused,
    read,
    time_us,
)
from serving.metrics import Metrics
from storage.journal import Journal
from storage.transaction import FOR_GOOD, Write
from use_cases.definition import UseCase

T = TypeVar("T")

PART = 100
"""Most records in one work of the journal: a large request must not hold up the decisions behind it."""

EVENT = "event"
OUTCOME = "outcome"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unfit:
    """A record that cannot be taken: why, its id if it could be read, what was sent, and whether only for its id being taken."""

    reason: str
    id: str | None
    payload: str
    conflict: bool = False


SentEvents: TypeAlias = Sequence[EventMessage | Unfit]
SentOutcomes: TypeAlias = Sequence[OutcomeMessage | Unfit]


def read_events(body: bytes, most: int) -> SentEvents:
    """Events of a request's body; one that is not as declared becomes `Unfit`, and the others are read all the same.

    Raises:
        InvalidInput: the body is no list of events at all.
        TooLarge: it holds more than `most`.
    """
    try:
        return _at_most(read(_EVENTS, body).events, most, "events")
    except InvalidInput:
        return _read_each(_EVENT, _at_most(read(_RAW_EVENTS, body).events, most, "events"), "event_id")


def read_outcomes(body: bytes, most: int) -> SentOutcomes:
    """Outcomes of a request's body, as `read_events`.

    Raises:
        InvalidInput: the body is no list of outcomes at all.
        TooLarge: it holds more than `most`.
    """
    try:
        return _at_most(read(_OUTCOMES, body).outcomes, most, "outcomes")
    except InvalidInput:
        return _read_each(_OUTCOME, _at_most(read(_RAW_OUTCOMES, body).outcomes, most, "outcomes"), "outcome_id")


class Intake:
    """Takes in what was sent to one use case.

    Args:
        horizon_us: events older than this are not taken, since their ids may be forgotten; rows of attributes are, at any age.
        online: gives what applies events to feature state within a transaction, as it is at the moment; one by one, or in bulk.
    """

    def __init__(
        self,
        use_case: UseCase,
        journal: Journal,
        clock: Clock,
        simulated: bool,
        metrics: Metrics,
        horizon_us: int,
        online: Callable[[Write, bool], ApplyEvent],
    ) -> None:
        self._use_case = use_case
        self._journal = journal
        self._clock = clock
        self._simulated = simulated
        self._metrics = metrics
        self._horizon_us = horizon_us
        self._online = online
        self._ageless = attribute_types(use_case)

    def submit_events(self, sent: SentEvents) -> "list[Future[Part]]":
        """Queue events, in parts; each future resolves when its part is durable. See `receipt`."""
        now_us = self._clock.now_us()
        events = [self._event(message, now_us) for message in sent]
        return [
            self._submit(EVENT, events[start : start + PART], start, now_us, self._record_event, in_bulk=len(events) > PART)
            for start in range(0, len(events), PART)
        ]

    def submit_outcomes(self, sent: SentOutcomes) -> "list[Future[Part]]":
        """Queue outcomes, as `submit_events`."""
        now_us = self._clock.now_us()
        outcomes = [self._outcome(message, now_us) for message in sent]
        return [
            self._submit(OUTCOME, outcomes[start : start + PART], start, now_us, self._record_outcome)
            for start in range(0, len(outcomes), PART)
        ]

    def _event(self, message: EventMessage | Unfit, now_us: int) -> Event | Unfit:
        if isinstance(message, Unfit):
            return message
        try:
            self._use_case.schema.check(message.type, message.fields)
            event_time = time_us(message.event_time)
            if event_time < now_us - self._horizon_us and message.type not in self._ageless:
                raise InvalidInput("event_time", f"is {message.event_time}", f"a time within {self._horizon_us // DAY_US} days")
        except InvalidInput as error:
            return Unfit(str(error), message.event_id, _payload(message))
        return make_event(
            message.event_id,
            message.entity_id,
            message.type,
            event_time,
            dict(message.fields),
            ingested_time=now_us,
            simulated=self._simulated,
        )

    def _outcome(self, message: OutcomeMessage | Unfit, now_us: int) -> SentOutcome | Unfit:
        if isinstance(message, Unfit):
            return message
        try:
            event_time = None if message.event_time is None else time_us(message.event_time)
            if message.decision_id is None and event_time is not None and event_time < now_us - self._horizon_us:
                # why: its id may be forgotten; one that names a decision is refused when that is
                raise InvalidInput("event_time", f"is {message.event_time}", f"a time within {self._horizon_us // DAY_US} days")
        except InvalidInput as error:
            return Unfit(str(error), message.outcome_id, _payload(message))
        return sent_outcome(message, event_time)

    def _submit(
        self,
        kind: str,
        records: Sequence[T | Unfit],
        start: int,
        now_us: int,
        keep: "Callable[[Write, T, int, ApplyEvent], bool]",
        *,
        in_bulk: bool = False,
    ) -> "Future[Part]":
        def work(write: Write) -> Part:
            part = Part(kind)
            apply_event = self._online(write, in_bulk)
            for index, record in enumerate(records, start):
                unfit = record if isinstance(record, Unfit) else None
                if not isinstance(record, Unfit):
                    try:
                        part.count(keep(write, record, now_us, apply_event))
                    except (Conflict, InvalidInput) as error:
                        unfit = Unfit(str(error), _id_of(record), _payload(record), isinstance(error, Conflict))
                if unfit is not None:
                    record_quarantined(write, Quarantined(self._use_case.name, kind, unfit.reason, unfit.payload, now_us))
                    part.refuse(index, unfit)
            return part

        future = self._journal.submit(work)
        future.add_done_callback(self._count)
        return future

    def _record_event(self, write: Write, event: Event, now_us: int, apply_event: ApplyEvent) -> bool:
        sent_time = event.event_time if event.original_time is None else event.original_time
        id_time = FOR_GOOD if event.type in self._ageless else sent_time
        return record_event(write, self._use_case.name, event, apply_event, id_time=id_time, sources=self._use_case.outcomes.sources)

    def _record_outcome(self, write: Write, sent: SentOutcome, now_us: int, apply_event: ApplyEvent) -> bool:
        return record_outcome(write, self._use_case.name, sent, apply_event, ingested_time=now_us, simulated=self._simulated)

    def _count(self, future: "Future[Part]") -> None:
        if future.exception() is None:
            part = future.result()
            for metric, count in ((ACCEPTED, part.accepted), (DUPLICATES, part.duplicates), (QUARANTINED, len(part.refused))):
                if count:
                    self._metrics.add(metric, self._use_case.name, part.kind, value=count)


class Part:
    """What became of one part of a request."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.accepted = 0
        self.duplicates = 0
        self.refused: list[Refused] = []
        self.conflicts: list[str] = []

    def count(self, is_new: bool) -> None:
        """Note a record that was kept, now or before."""
        self.accepted += is_new
        self.duplicates += not is_new

    def refuse(self, index: int, unfit: Unfit) -> None:
        """Note a record that went to quarantine."""
        self.refused.append(Refused(index, unfit.id, unfit.reason))
        if unfit.conflict:
            self.conflicts.append(unfit.id or "")


def attribute_types(use_case: UseCase) -> frozenset[str]:
    """Event types whose rows are attributes: what they say holds until the next one, however old they are."""
    read_as = {feature.source for feature in use_case.feature_set.features if isinstance(feature, Attribute)}
    return frozenset({source.name for source in use_case.attribute_sources} | read_as)


def receipt(parts: "Sequence[Part]") -> Receipt:
    """The receipt of all parts of a request.

    Raises:
        Conflict: every record's id was accepted before with other content.
    """
    refused = [refusal for part in parts for refusal in part.refused]
    conflicts = [name for part in parts for name in part.conflicts]
    accepted, duplicates = sum(part.accepted for part in parts), sum(part.duplicates for part in parts)
    if conflicts and len(conflicts) == len(refused) and not accepted and not duplicates:
        raise Conflict(parts[0].kind, conflicts[0])
    return Receipt(accepted, duplicates, refused)


def mending(apply_event: ApplyEvent, restore: Callable[[str], bytes | None]) -> ApplyEvent:
    """Applies events as `apply_event` does; where the state of an entity is damaged, to what `restore` makes of its id."""

    def apply(state: bytes | None, event: Event) -> tuple[bytes, int]:
        try:
            return apply_event(state, event)
        except DataRefused:
            _LOG.exception("the state of entity %s is damaged and is made anew from the tables", event.entity_id)
            return apply_event(restore(event.entity_id), event)

    return apply


def sent_outcome(message: OutcomeMessage, event_time: int | None) -> SentOutcome:
    """What is recorded of a message, its time having been read."""
    whose, corrects = message.entity_id or "", message.corrects or ""
    return SentOutcome(message.outcome_id, message.decision_id, message.reward, event_time, message.kind, whose, corrects)


def _read_each(decoder: msgspec.json.Decoder[T], raws: Sequence[msgspec.Raw], id_field: str) -> list[T | Unfit]:
    each: list[T | Unfit] = []
    for raw in raws:
        try:
            each.append(read(decoder, raw))
        except InvalidInput as error:
            payload = bytes(raw)
            each.append(Unfit(str(error), _id_in(payload, id_field), payload.decode(errors="backslashreplace")))
    return each


def _id_in(payload: bytes, field: str) -> str | None:
    try:
        found = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    value = found.get(field) if isinstance(found, dict) else None
    return value[:128] if isinstance(value, str) else None


def _id_of(record: object) -> str | None:
    found = getattr(record, "event_id", None) or getattr(record, "outcome_id", None)
    return found if isinstance(found, str) else None


def _payload(record: object) -> str:
    return msgspec.json.encode(record).decode()


def _at_most(sent: list[T], most: int, what: str) -> list[T]:
    if len(sent) > most:
        raise TooLarge(f"a request of {len(sent)} {what}", most, what)
    return sent


_EVENTS = msgspec.json.Decoder(EventsRequest)
_OUTCOMES = msgspec.json.Decoder(OutcomesRequest)
_RAW_EVENTS = msgspec.json.Decoder(RawEvents)
_RAW_OUTCOMES = msgspec.json.Decoder(RawOutcomes)
_EVENT = msgspec.json.Decoder(EventMessage)
_OUTCOME = msgspec.json.Decoder(OutcomeMessage)
