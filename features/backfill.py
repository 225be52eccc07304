"""Backfill: features of all logged decisions, whatever each logged, computed point in time and kept by feature and day.

A feature is known by the digest of its meaning, so a new or changed one is computed alone and the others stay. What a day's file says
holds until the day gains decisions, or events that imported decisions of it would have seen; then that day is made again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl

from contracts.errors import DataRefused, StateRefused
from contracts.events import EventSchema
from contracts.tables import DECISIONS, EVENTS
from features.definitions import Derived, Feature, FeatureSet
from features.expressions import columns
from features.jobs import DUCKDB, Jobs
from features.skew import decision_spine
from features.tiles import Tiles
from storage.files import retire, sweep, write_atomically, write_bytes
from storage.tables import Part, Tables

FORMAT = 1


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a day: the features in it, by the digests of their meanings."""

    name: str
    features: tuple[str, ...]


class Day(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a day's files were made of: how many decisions, and how many events that they may have seen."""

    decisions: int
    events: int
    files: tuple[File, ...] = ()


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What counts."""

    format: int = FORMAT
    days: Mapping[str, Day] = {}


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What a backfill did: days worked on, features that it computed in any of them, rows written."""

    days: int
    features: tuple[str, ...]
    rows: int


def backfill(
    tables: Tables,
    schema: EventSchema,
    feature_set: FeatureSet,
    root: Path,
    memory: str = "2GB",
    *,
    tiles: Tiles | None = None,
    jobs: Jobs = DUCKDB,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Backfilled:
    """Compute what is not there yet, a day of decisions at a time. Killed at any point, it goes on from the last day that was done.

    Args:
        tables: of the installation.
        schema: of the events.
        feature_set: what is wanted of every decision.
        root: folder of what was backfilled for the use case.
        memory: to work in.
        tiles: of the same events, to be read in their stead.
        jobs: the engine's.
        progress: told after each day how many days of how many are done.

    Raises:
        StateRefused: the folder was written by other code.
    """
    digests = meanings(feature_set)
    parts, events = _days(tables, schema)
    done: list[str] = []
    rows = 0
    for number, (day, own) in enumerate(sorted(parts.items()), start=1):
        manifest = read_manifest(root)
        seen = sum(count for ingested, count in events.items() if ingested <= day)
        now = Day(sum(part.rows for part in own), seen)
        known = manifest.days.get(day)
        kept = known if known is not None and _holds(known, now, tables, own) else now
        there = {digest for file in kept.files for digest in file.features}
        lacking = [name for name in feature_set.names if digests[name] not in there]
        if lacking:
            made = _compute_day(tables, schema, _closure(feature_set, lacking), own, root / day, jobs, tiles, memory)
            name = f"{day}/{now.decisions}-{now.events}-{len(kept.files)}.parquet"
            wanted = [
                column
                for feature in lacking
                for column in (
                    pl.col(feature).alias(digests[feature]),
                    pl.col("missing").list.contains(feature).alias(f"{digests[feature]}?"),
                )
            ]
            write_atomically(root / name, made.select("row_id", *wanted).write_parquet)
            files = (*kept.files, File(name, tuple(digests[feature] for feature in lacking)))
            _commit(root, manifest, day, msgspec.structs.replace(kept, files=files))
            retire(root / file.name for file in (known.files if known is not None and kept is now else ()))
            done += lacking
            rows += made.height
        progress(number, len(parts))
    sweep(root, {file.name for day in read_manifest(root).days.values() for file in day.files}, ".parquet")
    return Backfilled(len(parts), tuple(name for name in feature_set.names if name in set(done)), rows)


def read_backfilled(root: Path, feature_set: FeatureSet) -> pl.DataFrame:
    """The features of all decisions whose day was backfilled for the whole set.

    Args:
        root: folder of what was backfilled for the use case.
        feature_set: which features.

    Returns:
        `row_id` (the decision's), a Float64 column a feature, `missing` (names of features without a value), as a point-in-time job writes.
    """
    digests = meanings(feature_set)
    frames = []
    for day in read_manifest(root).days.values():
        if set(digests.values()) <= {digest for file in day.files for digest in file.features}:
            frames.append(_read_day(root, day, digests))
    if not frames:
        return pl.DataFrame(
            schema=pl.Schema({"row_id": pl.String(), **dict.fromkeys(digests, pl.Float64()), "missing": pl.List(pl.String())})
        )
    return pl.concat(frames)


def read_manifest(root: Path) -> Manifest:
    """What counts now.

    Raises:
        StateRefused: the folder was written by other code.
    """
    path = root / "manifest.json"
    if not path.exists():
        return Manifest()
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.DecodeError as error:
        raise StateRefused(str(root), f"its manifest is not readable ({error})", "Delete the folder; it is made again.") from error
    if manifest.format != FORMAT:
        raise StateRefused(str(root), f"has format {manifest.format}, this code reads {FORMAT}", "Delete it; it is made again.")
    return manifest


def meanings(feature_set: FeatureSet) -> dict[str, str]:
    """For each feature the digest of what its value means, its inputs included."""
    return {name: FeatureSet("meaning", _closure(feature_set, [name]).features).digest[:32] for name in feature_set.names}


def _closure(feature_set: FeatureSet, names: Sequence[str]) -> FeatureSet:
    """The features of these names and all that they are derived from, in the set's order."""
    wanted = set(names)
    for feature in reversed(feature_set.features):
        if feature.name in wanted and isinstance(feature, Derived):
            wanted |= set(columns(feature.expression))
    features: tuple[Feature, ...] = tuple(feature for feature in feature_set.features if feature.name in wanted)
    return FeatureSet(feature_set.name, features)


def _days(tables: Tables, schema: EventSchema) -> tuple[dict[str, list[Part]], dict[str, int]]:
    """Parts of the decisions by their day, and how many events were ingested on each day."""
    parts: dict[str, list[Part]] = {}
    events: dict[str, int] = {}
    for part in tables.manifest().parts:
        if part.use_case == schema.use_case and part.table == DECISIONS:
            parts.setdefault(part.day, []).append(part)
        elif part.use_case == schema.use_case and part.table == EVENTS:
            events[part.day] = events.get(part.day, 0) + part.rows
    return parts, events


def _holds(known: Day, now: Day, tables: Tables, own: Sequence[Part]) -> bool:
    """Whether what was computed of a day is still true; decisions that saw events by their `seq` saw no later ones."""
    if known.decisions != now.decisions:
        return False
    if known.events == now.events:
        return True
    imported = pl.scan_parquet([tables.path(part) for part in own]).filter(pl.col("source") == "imported")
    return imported.head(1).collect().is_empty()


def _compute_day(
    tables: Tables,
    schema: EventSchema,
    feature_set: FeatureSet,
    own: Sequence[Part],
    folder: Path,
    jobs: Jobs,
    tiles: Tiles | None,
    memory: str,
) -> pl.DataFrame:
    folder.mkdir(parents=True, exist_ok=True)
    spine, out = folder / "spine.parquet", folder / "features.parquet"
    try:
        columns_needed = ["decision_id", "entity_id", "decided_at", "seen_seq", "context", "source"]
        decisions = pl.read_parquet([tables.path(part) for part in own], columns=columns_needed)
        decision_spine(decisions).write_parquet(spine)
        jobs.compute(tables.files(schema.use_case, EVENTS), spine, feature_set, schema, out, memory, tiles=tiles)
        found = pl.read_parquet(out)
        if found.height != decisions.height:
            raise DataRefused(f"backfill of {folder.name}", [f"{decisions.height} decisions gave {found.height} rows"])
        return found
    finally:
        spine.unlink(missing_ok=True)
        out.unlink(missing_ok=True)


def _commit(root: Path, manifest: Manifest, day: str, made: Day) -> None:
    days = dict(sorted({**manifest.days, day: made}.items()))
    write_bytes(root / "manifest.json", msgspec.json.encode(Manifest(FORMAT, days)))


def _read_day(root: Path, day: Day, digests: Mapping[str, str]) -> pl.DataFrame:
    whole: pl.DataFrame | None = None
    for file in day.files:
        own = [digest for digest in file.features if digest in digests.values()]
        frame = pl.read_parquet(root / file.name, columns=["row_id", *own, *(f"{digest}?" for digest in own)])
        whole = frame if whole is None else whole.join(frame, on="row_id", how="left", validate="1:1")
    assert whole is not None
    absent = [pl.when(pl.col(f"{digest}?")).then(pl.lit(name)) for name, digest in digests.items()]
    values = [pl.col(digest).alias(name) for name, digest in digests.items()]
    return whole.select("row_id", *values, missing=pl.concat_list(absent).list.drop_nulls())
