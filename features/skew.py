"""Skew between what was served and what is recomputed, as a number: values that differ by a single bit differ."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from contracts.errors import DataRefused
from features.definitions import FeatureSet


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs."""

    row_id: str
    feature: str
    logged: float
    recomputed: float


@dataclass(frozen=True, slots=True)
class SkewReport:
    """What a comparison found.

    Attributes:
        rows: that were logged.
        differing_rows: of those, with at least one value that differs, or that were not recomputed at all.
        features: for each feature, how many of its values differ.
        examples: the first differing values.
    """

    rows: int
    differing_rows: int
    features: Mapping[str, int]
    examples: tuple[Difference, ...]

    @property
    def share(self) -> float:
        """Share of the rows that differ; 0 without rows."""
        return self.differing_rows / self.rows if self.rows else 0.0


def compare(logged: pl.DataFrame, recomputed: pl.DataFrame, feature_set: FeatureSet, examples: int = 10) -> SkewReport:
    """Compare features row by row, by the bits of their values; NaN equals NaN.

    Args:
        logged: `row_id` and one Float64 column a feature, as `logged_features` gives them.
        recomputed: the same, as `point_in_time.compute` writes them; rows that were not logged do not count.
        feature_set: which columns are compared.
        examples: how many differing values to name.

    Raises:
        DataRefused: a row id stands twice.
    """
    for name, frame in (("logged features", logged), ("recomputed features", recomputed)):
        if frame["row_id"].n_unique() != frame.height:
            raise DataRefused(name, ["a row_id stands twice"])
    pairs = logged.select("row_id", *feature_set.names).join(
        recomputed.select("row_id", *feature_set.names, pl.lit(True).alias("found")), on="row_id", how="left", suffix=":recomputed"
    )
    pairs = pairs.sort("row_id")
    absent = pairs["found"].is_null().to_numpy()
    differing = absent.copy()
    counts: dict[str, int] = {}
    found: list[Difference] = []
    for name in feature_set.names:
        left, right = (_values(pairs[column]) for column in (name, f"{name}:recomputed"))
        unequal = (left.view(np.int64) != right.view(np.int64)) & ~(np.isnan(left) & np.isnan(right)) & ~absent
        counts[name] = int(unequal.sum())
        differing |= unequal
        rows = np.flatnonzero(unequal)[: max(0, examples - len(found))]
        found += [Difference(pairs["row_id"][int(row)], name, float(left[row]), float(right[row])) for row in rows]
    return SkewReport(pairs.height, int(differing.sum()), counts, tuple(found))


def logged_features(decisions: pl.DataFrame, feature_set: FeatureSet) -> pl.DataFrame:
    """The features that decisions logged, one column each, of those decisions that used this feature set.

    Args:
        decisions: the table of decisions, with `decision_id`, `feature_set` (a digest) and `features`.
        feature_set: whose digest is looked for.
    """
    own = decisions.filter(pl.col("feature_set") == feature_set.digest)
    columns = [pl.col("features").list.get(position, null_on_oob=True).alias(name) for position, name in enumerate(feature_set.names)]
    return own.select(pl.col("decision_id").alias("row_id"), *columns)


def decision_spine(decisions: pl.DataFrame) -> pl.DataFrame:
    """The spine that recomputes the features of decisions from what each had seen.

    A served decision saw events up to its `seen_seq`; an imported one, which has none, those ingested by its moment.

    Args:
        decisions: with `decision_id, entity_id, decided_at, seen_seq, context`, and `source` unless all were served.
    """
    seen = pl.col("seen_seq")
    if "source" in decisions.columns:
        seen = pl.when((pl.col("source") == "imported") & (seen <= 0)).then(None).otherwise(seen)
    return decisions.select(row_id="decision_id", entity_id="entity_id", moment="decided_at", seen_seq=seen, context="context")


def _values(column: pl.Series) -> np.ndarray:
    return np.ascontiguousarray(column.cast(pl.Float64).fill_null(float("nan")).to_numpy())
