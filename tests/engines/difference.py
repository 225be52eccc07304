"""Where an engine differs from the definitions, in as few events as show it."""

from collections.abc import Mapping, Sequence

import msgspec

from contracts.events import EventSchema
from contracts.records import Event
from features.definitions import Derived, FeatureSet
from features.expressions import columns
from tests.engines.engines import Engine
from tests.engines.reference import reference
from tests.engines.rows import Found, Row

MOST_TRIES = 60
"""Runs of the engine at most, to leave events out."""


def explained(engine: Engine, feature_set: FeatureSet, schema: EventSchema, events: Sequence[Event], rows: Sequence[Row]) -> str:
    """The first row that differs, without the events that do not matter and the features that agree; empty where none differs."""
    expected, found = reference(feature_set, schema, events, rows), engine(feature_set, schema, events, rows)
    differing = [row for row in rows if _names(expected[row.row_id], found.get(row.row_id))]
    if not differing:
        return ""
    row = differing[0]
    own = [event for event in events if event.entity_id == row.entity_id]
    lines = [f"{len(differing)} of {len(rows)} rows differ; first {row}"]

    def differs(fewer: Sequence[Event]) -> set[str]:
        return _names(reference(feature_set, schema, fewer, [row])[row.row_id], engine(feature_set, schema, fewer, [row]).get(row.row_id))

    if not differs(own):
        return "\n".join([*lines, "alone it agrees: it differs only beside the others", *_told(feature_set, expected, found, row)])
    for event in own[:MOST_TRIES]:
        if differs(fewer := [other for other in own if other is not event]):
            own = fewer
    told = _told(feature_set, reference(feature_set, schema, own, [row]), engine(feature_set, schema, own, [row]), row)
    return "\n".join([*lines, *told, *(f"  {event}" for event in own)])


def _names(expected: Found, found: Found | None) -> set[str]:
    if found is None:
        return {"the row itself"}
    differing = {name for name, value in expected.values.items() if value != found.values.get(name)}
    differing |= set(expected.missing) ^ set(found.missing)
    if found.ages_us is not None and expected.ages_us is not None and expected.stale is not None and found.stale is not None:
        differing |= {name for name, age in expected.ages_us.items() if age != found.ages_us.get(name)} | (expected.stale ^ found.stale)
    return differing or (set() if expected.missing == found.missing else {"the order of missing"})


def _told(feature_set: FeatureSet, expected: Mapping[str, Found], found: Mapping[str, Found], row: Row) -> list[str]:
    right, wrong = expected[row.row_id], found.get(row.row_id)
    names = _names(right, wrong)
    lines = []
    for feature in feature_set.features:
        if feature.name in names and wrong is not None:
            for title, one in (("expected", right), ("found", wrong)):
                age = "" if one.ages_us is None or one.stale is None else f", {one.ages_us[feature.name]} µs old"
                stale = ", stale" if one.stale and feature.name in one.stale else ""
                lines.append(
                    f"{title} {feature.name} = {one.values[feature.name]}{', missing' * (feature.name in one.missing)}{age}{stale}"
                )
            lines.append(f"  {msgspec.json.encode(feature).decode()}")
            if isinstance(feature, Derived):
                inputs = columns(feature.expression)
                lines.append(f"  of { ({name: float.fromhex(right.values[name]) for name in inputs}) }")
    return lines or [f"differing: {sorted(names)}"]
