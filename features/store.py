"""What keeps feature states, as far as features need to know: a store that reads one, reads many at one moment, writes in transactions.

`storage.journal.Journal` is the embedded one. Another (such as Redis, following the log by `seq`) has to keep three promises: a snapshot
does not change while it is read; what a work puts is visible to all together or not at all; works of one entity come one after another.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from contracts.records import FieldValue
from features.definitions import FeatureRow, FeatureSet
from features.many import FeatureRows
from features.online import OnlineFeatures

T = TypeVar("T")


class StateReader(Protocol):
    """A snapshot of feature states."""

    def get_state(self, use_case: str, entity_id: str) -> bytes | None:
        """The state of an entity, or None."""
        ...

    def get_states(self, use_case: str, entity_ids: Sequence[str]) -> list[bytes | None]:
        """The states of entities, each or None, all as of one moment."""
        ...

    def get_heads(self, use_case: str, entity_ids: Sequence[str]) -> list[bytes | None]:
        """The heads of these states (see `features.state`), which a store may keep apart; the whole states will do."""
        ...


class StateWriter(StateReader, Protocol):
    """A transaction: it reads its own writes."""

    def put_state(self, use_case: str, entity_id: str, value: bytes) -> None:
        """Replace the state of an entity."""
        ...


class StateStore(Protocol):
    """A store of feature states."""

    def get_state(self, use_case: str, entity_id: str) -> bytes | None:
        """The state of an entity as of now, or None."""
        ...

    def get_head(self, use_case: str, entity_id: str) -> bytes | None:
        """The head of that state, or the whole, or None."""
        ...

    def read(self) -> AbstractContextManager[StateReader]:
        """A snapshot as of now."""
        ...

    def write(self, work: Callable[[Any], T]) -> T:
        """Run work on a `StateWriter` of its own, and wait until what it put is durable."""
        ...


def read_entity(
    store: StateStore,
    online: OnlineFeatures,
    use_case: str,
    feature_set: FeatureSet,
    entity_id: str,
    at_us: int,
    context: Mapping[str, FieldValue],
) -> FeatureRow:
    """The features of one entity at a moment; see `OnlineFeatures.read`."""
    head = store.get_head(use_case, entity_id)
    return online.read(head, feature_set, at_us, context, lambda: store.get_state(use_case, entity_id))


def read_entities(
    store: StateStore, online: OnlineFeatures, use_case: str, feature_set: FeatureSet, entity_ids: Sequence[str], at_us: int
) -> FeatureRows:
    """The features of many entities at one moment, from one snapshot; see `OnlineFeatures.read_many`."""
    with store.read() as snapshot:
        heads = snapshot.get_heads(use_case, entity_ids)
        return online.read_many(heads, feature_set, at_us, whole=lambda index: snapshot.get_state(use_case, entity_ids[index]))
