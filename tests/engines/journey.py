"""What is sent goes the whole way: accepted by the real journal, read from it online, drained to the tables that the jobs read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import polars as pl

from contracts.events import EventSchema
from contracts.records import Event
from contracts.tables import EVENTS
from decisions.record import record_event
from features.definitions import FeatureSet
from features.online import OnlineFeatures, retention
from storage.drain import drain
from storage.journal import Journal
from storage.tables import Tables
from tests.engines.engines import told
from tests.engines.random_histories import Step
from tests.engines.rows import GRACE_US, Found, Row


@dataclass(frozen=True)
class Arrived:
    """What became of what was sent.

    Attributes:
        kept: how many events were new; `dropped`: how many were there already.
        found: what the online state said at each row that asks with everything before it in view.
        table: the event table. `files`: its files.
    """

    kept: int
    dropped: int
    found: Mapping[str, Found]
    table: pl.DataFrame
    files: Sequence[Path]


def travel(folder: Path, feature_set: FeatureSet, schema: EventSchema, steps: Iterable[Step]) -> Arrived:
    """Send events and ask what the rows ask, in order; then drain."""
    online = OnlineFeatures(schema, retention([feature_set]), grace_us=GRACE_US, ready=[feature_set])
    journal = Journal(folder / "journal", 2**28)
    new: list[bool] = []
    found: dict[str, Found] = {}
    try:
        for is_row, some in groupby(steps, key=lambda step: isinstance(step, Row)):
            group = list(some)
            if is_row:
                found |= {row.row_id: _asked(journal, online, feature_set, schema.use_case, row) for row in group if isinstance(row, Row)}
            else:
                events = [event for event in group if isinstance(event, Event)]
                new += journal.write(
                    lambda write, events=events: [record_event(write, schema.use_case, event, online.apply) for event in events]  # type: ignore[misc]
                )
        tables = Tables(folder / "tables")
        drain(journal, tables, {schema.use_case: schema})
    finally:
        journal.close()
    return Arrived(sum(new), len(new) - sum(new), found, tables.frame(schema, EVENTS), tables.files(schema.use_case, EVENTS))


def _asked(journal: Journal, online: OnlineFeatures, feature_set: FeatureSet, use_case: str, row: Row) -> Found:
    with journal.read() as read:
        state = read.get_state(use_case, row.entity_id)
    answer = online.read(state, feature_set, row.moment, row.context)
    assert answer.seen_seq == row.seen_seq
    return told(feature_set, answer)
