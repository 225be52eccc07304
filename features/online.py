"""Features of one entity, now: from the bytes of its state to a row, exactly what the engines compute from tables."""

import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b

import msgspec

from contracts.catalogue import Catalogue
from contracts.clock import DAY_US
from contracts.errors import NotFound
from contracts.events import EventSchema
from contracts.records import DECISION_EVENT, Event, FieldValue
from features import ready
from features import state as states
from features.definitions import Aggregate, FeatureRow, FeatureSet
from features.many import FeatureRows
from features.plan import Plan, prepare

GRACE_US = DAY_US
"""How far before the newest ingestion of an entity's events a moment may lie and still be read exactly."""


def retention(feature_sets: Iterable[FeatureSet], catalogues: Iterable[Catalogue] = ()) -> dict[str, int]:
    """How long events of each type must be kept, in microseconds: the longest window of any set, and of any limit for decisions."""
    longest: dict[str, int] = {}
    for feature_set in feature_sets:
        for feature in feature_set.features:
            if isinstance(feature, Aggregate):
                longest[feature.source] = max(longest.get(feature.source, 0), feature.window_us)
    for catalogue in catalogues:
        longest[DECISION_EVENT] = max(longest.get(DECISION_EVENT, 0), catalogue.looks_back_us)
    return longest


class OnlineFeatures:
    """Reads and advances the feature state of entities. It holds no state itself, only feature sets prepared for reading.

    Reads are exact at every moment from `grace_us` before the newest ingestion on, for feature sets whose windows are not longer than
    what is kept. Of every type the latest event is kept without end, since it may be an attribute's row.

    Args:
        schema: the use case's events. All declared fields are kept, so that a new feature set finds them.
        retention_us: how long events are kept, for each type (those not named: only what attributes need), or for all.
        grace_us: see above.
        ready: feature sets whose rows are kept ready, so that most reads only look them up; any other set is computed at the read.
    """

    def __init__(
        self, schema: EventSchema, retention_us: Mapping[str, int] | int, grace_us: int = GRACE_US, ready: Iterable[FeatureSet] = ()
    ) -> None:
        self._fields = {name: event_type.fields for name, event_type in schema.types.items()}
        self._retention = {name: retention_us if isinstance(retention_us, int) else retention_us.get(name, 0) for name in self._fields}
        self._grace_us = grace_us
        self._plans: dict[str, Plan] = {}
        self._ready = {plan.key: plan for plan in map(self._plan, ready)}
        self._opened: tuple[bytes | None, states.EntityState] = (None, states.EMPTY)

    def apply(self, state: bytes | None, event: Event, *, in_bulk: bool = False) -> tuple[bytes, int]:
        """The state after an event, and the `seq` the event was given. Whether it came before is for the caller to know.

        Args:
            state: before; none for an unknown entity.
            event: its `seq` is not looked at.
            in_bulk: leave what the event changed of the rows kept ready to whoever reads them next, which makes this twice as fast.

        Raises:
            NotFound: the event's type is not declared.
            DataRefused: the state's bytes are damaged.
        """
        fields = self._fields.get(event.type)
        if fields is None:
            raise NotFound("event type", event.type, tuple(self._fields))
        after = states.insert(self._open(state), event, fields, self._retention[event.type], self._grace_us)
        at_us = max(after.ingested_us, event.event_time) + 1
        before = ready.split(state) if state is not None and self._ready else {}
        if in_bulk:
            rows = tuple([ready.expire(plan, before[key], event) for key, plan in self._ready.items() if key in before])
        else:
            rows = tuple([self._row(plan, after, at_us, before.get(key), event) for key, plan in self._ready.items()])
        return states.encode(states.EntityState(after.seq, after.ingested_us, after.types, rows)), after.seq

    def read(
        self,
        state: bytes | None,
        feature_set: FeatureSet,
        at_us: int,
        context: Mapping[str, FieldValue],
        whole: Callable[[], bytes | None] | None = None,
    ) -> FeatureRow:
        """The features of an entity at a moment, from everything its state has seen.

        Args:
            state: as `apply` gave it; none for an unknown entity.
            feature_set: whose features.
            at_us: the moment, in microseconds.
            context: the request's, for features of the request.
            whole: gives the whole state, where `state` is its head alone.

        Raises:
            DataRefused: the bytes that were looked at are damaged.
        """
        plan = self._plans.get(feature_set.digest) or self._plan(feature_set)
        if state is None:
            return ready.finish(plan, ready.make(plan, states.EMPTY, at_us), 0, at_us, context, 0)
        if len(state) >= _FIRST.size:
            # why: the common case without a call, since calls are most of what such a read costs
            checksum, version, _, length, _, seq, _, key, since_us, until_us, _, _, _ = _unpack_first(state)
            if key == plan.key and since_us <= at_us < until_us and _checksum(state[4:length]) == checksum and version == _FORMAT:
                return ready.finish(plan, state, _ROWS, at_us, context, seq)
        row, seq = self._row_at(plan, state if whole is None else whole(), at_us)
        return ready.finish(plan, row, 0, at_us, context, seq)

    def read_many(
        self,
        found: Sequence[bytes | None],
        feature_set: FeatureSet,
        at_us: int,
        contexts: Sequence[Mapping[str, FieldValue]] | None = None,
        whole: Callable[[int], bytes | None] | None = None,
    ) -> FeatureRows:
        """The features of many entities at one moment, as `read` gives them for each.

        Args:
            found: their states, or heads of states.
            feature_set: whose features.
            at_us: the moment, in microseconds.
            contexts: of the requests, one each.
            whole: gives the whole state of one of them by its place, where `found` are heads alone.

        Raises:
            DataRefused: the bytes that were looked at are damaged.
        """
        plan = self._plans.get(feature_set.digest) or self._plan(feature_set)
        own, nothing = plan.key, b""
        rows: list[bytes] = []
        seqs: list[int] = []
        for index, state in enumerate(found):
            if state is not None and len(state) >= _FIRST.size:
                checksum, version, _, length, _, seq, _, key, since_us, until_us, _, _, size = _unpack_first(state)
                if key == own and since_us <= at_us < until_us and _checksum(state[4:length]) == checksum and version == _FORMAT:
                    rows.append(state[_ROWS : _ROWS + size])
                    seqs.append(seq)
                    continue
            if state is None:
                row, seq = nothing or ready.make(plan, states.EMPTY, at_us), 0
                nothing = row
            else:
                row, seq = self._row_at(plan, state if whole is None else whole(index), at_us)
            rows.append(row)
            seqs.append(seq)
        return FeatureRows.of(plan, rows, seqs, at_us, contexts)

    def times_of(self, state: bytes | None, type_name: str, field: str, at_us: int) -> Mapping[str, Sequence[int]]:
        """For each text of a field, the times in microseconds of the events with `event_time ≤ at_us` that have it, ascending: for limits.

        Only kept events count, so the type's retention must be as long as the longest limit's window; see `retention`.
        """
        rows = self._open(state).types.get(type_name)
        return {} if rows is None else states.times_of(rows, field, at_us)

    def build(self, events: Iterable[Event]) -> bytes | None:
        """The state of an entity from all its events, each with its `seq`: equal in content to what `apply`, one by one, comes to.

        Events of types that are no longer declared only count for `seq`. None without events.
        """
        whole = states.build(events, self._fields)
        if whole.ingested_us == states.NEVER:
            return None
        return self._encoded(states.prune(whole, self._retention, whole.ingested_us - self._grace_us), whole.ingested_us + 1)

    def compact(self, state: bytes, now_us: int) -> bytes:
        """The state without events that no moment from `now_us − grace` on can need, its rows as of now.

        Raises:
            DataRefused: the state's bytes are damaged.
        """
        before = states.decode(state)
        kept = states.prune(before, self._retention, max(now_us, before.ingested_us) - self._grace_us)
        return self._encoded(kept, max(now_us, before.ingested_us + 1))

    def digest(self, state: bytes | None) -> str:
        """Digest of what a state says, however it came to it and however its bytes lie: what every later read and `seq` follow from.

        Raises:
            DataRefused: the state's bytes are damaged.
        """
        whole = states.decode(state)
        kept = states.prune(whole, self._retention, whole.ingested_us - self._grace_us)
        return blake2b(_encode((whole.seq, whole.ingested_us, states.content(kept))), digest_size=16).hexdigest()

    def _open(self, state: bytes | None) -> states.EntityState:
        """As `states.decode`; who decides looks at a state's events and then lets it see one more, so the last one is kept open."""
        last, opened = self._opened
        if last is not state:
            opened = states.decode(state)
            self._opened = (state, opened)
        return opened

    def _encoded(self, state: states.EntityState, at_us: int) -> bytes:
        rows = tuple([ready.make(plan, state, at_us) for plan in self._ready.values()])
        return states.encode(states.EntityState(state.seq, state.ingested_us, state.types, rows))

    def _row_at(self, plan: Plan, state: bytes | None, at_us: int) -> tuple[bytes, int]:
        """The row of a state that holds at a moment, and its `seq`: what is kept ready, as far as it holds, the rest made anew."""
        if state is None:
            return ready.make(plan, states.EMPTY, at_us), 0
        _, length, seq, ingested_us = states.head(state)
        before = ready.split(state).get(plan.key)
        if before is not None:
            _, since_us, until_us, *_ = ready.ROW.unpack_from(before)
            if since_us > at_us:
                before = None
            elif at_us < until_us:
                return bytes(before), seq
        entity = states.EntityState(seq, ingested_us, states.events(state, length))
        return ready.make(plan, entity, at_us, before), seq

    def _row(self, plan: Plan, state: states.EntityState, at_us: int, before: memoryview | None, event: Event) -> bytes:
        if before is not None:
            at_us = max(at_us, ready.ROW.unpack_from(before)[1])
        return ready.make(plan, state, at_us, before, event)

    def _plan(self, feature_set: FeatureSet) -> Plan:
        plan = self._plans.get(feature_set.digest)
        if plan is None:
            plan = self._plans[feature_set.digest] = prepare(feature_set)
        return plan


_FIRST = struct.Struct(states.HEAD.format + ready.ROW.format.removeprefix("<"))
_ROWS = states.HEAD.size
_FORMAT = states.STATE_FORMAT
_unpack_first = _FIRST.unpack_from
_checksum = zlib.crc32
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
