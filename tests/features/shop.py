"""A shop's events in a journal and its tables, for what makes, compacts and reads feature states."""

from collections.abc import Sequence
from pathlib import Path

from contracts.clock import DAY_US, HOUR_US
from contracts.events import EventSchema, EventType, FieldType
from contracts.records import Event
from decisions.record import record_event
from features.definitions import Aggregate, Attribute, FeatureSet, Window
from features.online import OnlineFeatures, retention
from storage.drain import drain
from storage.journal import Journal
from storage.tables import Tables

NOON = 20_000 * DAY_US + 12 * HOUR_US
SCHEMA = EventSchema.build(
    "shop",
    [EventType("purchase", {"amount": FieldType.INT, "product": FieldType.STR}), EventType("profile", {"country": FieldType.STR})],
)
FEATURES = FeatureSet(
    "shop",
    (
        Aggregate(name="purchases", source="purchase", aggregate="count", window_us=Window.days(2)),
        Aggregate(name="spent", source="purchase", aggregate="sum", field="amount", window_us=Window.days(2)),
        Attribute(name="country", source="profile", field="country", categories=("de", "us"), default=-1),
    ),
)
ONLINE = OnlineFeatures(SCHEMA, retention([FEATURES]), ready=[FEATURES])


def purchase(number: int, entity: str, at: int) -> Event:
    return Event(f"e{number:04d}", entity, "purchase", at, at, 0, {"amount": number, "product": "a"})


def profile(number: int, entity: str, at: int) -> Event:
    return Event(f"e{number:04d}", entity, "profile", at, at, 0, {"country": "us"})


class Stores:
    """A journal and tables in a folder."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal(folder / "journal", 2**26)
        self.tables = Tables(folder / "tables")

    def take(self, events: Sequence[Event]) -> None:
        """Take events in."""
        self.journal.write(lambda write: [record_event(write, "shop", event, ONLINE.apply) for event in events])

    def drain(self) -> None:
        """Move everything into the tables."""
        drain(self.journal, self.tables, {"shop": SCHEMA})

    def digests(self) -> dict[str, str]:
        """What the states say, by entity."""
        with self.journal.read() as read:
            return {name: ONLINE.digest(state) for name, state in read.states("shop")}

    def spoil(self, entity: str) -> None:
        """Damage a state."""
        self.journal.write(lambda write: write.put_state("shop", entity, b"\xffno state"))
