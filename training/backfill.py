"""Features of logged decisions computed again from the events, and how they compare with what was served."""

from pathlib import Path

import polars as pl

from contracts.tables import EVENTS
from features import point_in_time
from features.backfill import backfill, read_backfilled
from features.definitions import FeatureSet
from features.skew import SkewReport, compare, decision_spine, logged_features
from storage.tables import Tables
from use_cases.definition import UseCase


def recompute(decisions: pl.DataFrame, tables: Tables, use_case: UseCase, folder: Path, memory: str) -> pl.DataFrame:
    """The use case's features at each decision, from what it had seen.

    A served decision saw the events up to its `seen_seq`; an imported one, which has none, those ingested by its moment.

    Args:
        decisions: of the table `decisions`.
        tables: where the events are.
        use_case: whose feature set is computed.
        folder: for files in between.
        memory: what the engine may use before it spills.

    Returns:
        `row_id` (the decision's), a Float64 column a feature, `missing`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spine, out = folder / "spine.parquet", folder / "features.parquet"
    try:
        decision_spine(decisions).write_parquet(spine)
        events = tables.files(use_case.name, EVENTS)
        point_in_time.compute(events, spine, use_case.feature_set, use_case.schema, out, memory)
        return pl.read_parquet(out)
    finally:
        spine.unlink(missing_ok=True)
        out.unlink(missing_ok=True)


def backfilled(decisions: pl.DataFrame, tables: Tables, use_case: UseCase, store: Path, memory: str) -> pl.DataFrame:
    """The use case's features at each decision, of which only those are computed that no earlier backfill did.

    Args:
        decisions: of the table `decisions`.
        tables: where events and decisions are.
        use_case: whose feature set is wanted.
        store: folder in which what was backfilled is kept.
        memory: what the engine may use before it spills.

    Returns:
        As `recompute`, in the order of the decisions.
    """
    backfill(tables, use_case.schema, use_case.feature_set, store, memory)
    found = read_backfilled(store, use_case.feature_set)
    return decisions.select(row_id="decision_id").join(found, on="row_id", how="left", maintain_order="left")


def skew(decisions: pl.DataFrame, recomputed: pl.DataFrame, feature_set: FeatureSet) -> SkewReport:
    """How the features that decisions logged differ from the recomputed ones; decisions of other feature sets do not count."""
    return compare(logged_features(decisions, feature_set), recomputed, feature_set)
