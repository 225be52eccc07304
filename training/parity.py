"""Proof that what was served is what the tables say: features of logged decisions, recomputed point in time, compared by their bits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from contracts.errors import DataRefused
from contracts.tables import DECISIONS, EVENTS
from features.jobs import Compute
from features.skew import SkewReport, compare, decision_spine, logged_features
from storage.tables import Tables
from use_cases.definition import UseCase


@dataclass(frozen=True, slots=True)
class ParityReport(SkewReport):
    """What a check found; see `SkewReport` for what is said of values.

    Attributes:
        missing: decisions that name other features as missing than their recomputation does, with both lists.
        other_sets: decisions of other feature sets, by the digest of the set: they are counted, not recomputed.
    """

    missing: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    other_sets: Mapping[str, int]

    @property
    def equal(self) -> bool:
        """Whether everything that was compared is the same, to the bit."""
        return not self.differing_rows and not self.missing


def check(
    tables: Tables,
    use_case: UseCase,
    *,
    compute: Compute,
    folder: Path,
    memory: str = "2GB",
    since_us: int | None = None,
    examples: int = 20,
) -> ParityReport:
    """Recompute the features of the served decisions that used the use case's feature set, from what each had seen.

    Imported decisions logged no features and are left out.

    Args:
        tables: drained tables.
        use_case: whose.
        compute: the engine.
        folder: for files in between.
        memory: what the engine may use before it spills.
        since_us: only decisions from this moment on.
        examples: how many differing values to name.

    Raises:
        DataRefused: a decision stands twice, or logged another number of features than its set has.
    """
    feature_set = use_case.feature_set
    served = tables.frame(use_case.schema, DECISIONS).filter(pl.col("source") == "served")
    if since_us is not None:
        served = served.filter(pl.col("decided_at") >= since_us)
    own = served.filter(pl.col("feature_set") == feature_set.digest)
    if odd := own.filter(pl.col("features").list.len() != len(feature_set.names))["decision_id"].to_list():
        expected = f"{len(feature_set.names)} features are expected by the set that they name"
        raise DataRefused("logged decisions", [f"{len(odd)} have another number of features ({', '.join(odd[:3])}); {expected}"])
    others = served.filter(pl.col("feature_set") != feature_set.digest).group_by("feature_set").len().sort("feature_set")
    recomputed = _recompute(own, tables, use_case, compute, folder, memory)
    skew = compare(logged_features(own, feature_set), recomputed, feature_set, examples)
    return ParityReport(
        rows=skew.rows,
        differing_rows=skew.differing_rows,
        features=skew.features,
        examples=skew.examples,
        missing=_missing(own, recomputed),
        other_sets=dict(others.iter_rows()),
    )


def _recompute(decisions: pl.DataFrame, tables: Tables, use_case: UseCase, compute: Compute, folder: Path, memory: str) -> pl.DataFrame:
    folder.mkdir(parents=True, exist_ok=True)
    spine, out = folder / "parity-spine.parquet", folder / "parity-features.parquet"
    try:
        decision_spine(decisions).write_parquet(spine)
        compute(tables.files(use_case.name, EVENTS), spine, use_case.feature_set, use_case.schema, out, memory)
        return pl.read_parquet(out)
    finally:
        spine.unlink(missing_ok=True)
        out.unlink(missing_ok=True)


def _missing(decisions: pl.DataFrame, recomputed: pl.DataFrame) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    pairs = decisions.select(row_id="decision_id", logged="missing").join(
        recomputed.select("row_id", pl.col("missing").alias("recomputed")), on="row_id"
    )
    both = {name: (tuple(logged), tuple(found)) for name, logged, found in pairs.sort("row_id").iter_rows()}
    return {name: pair for name, pair in both.items() if set(pair[0]) != set(pair[1])}
