"""What decisions must be like to be trained on: a Pandera schema for each column, and checks of the whole."""

import numpy as np
import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from contracts.errors import DataRefused
from decisions.matrix import Floats
from features.definitions import FeatureSet
from use_cases.definition import UseCase

WHAT = "training set"

_TOLERANCE = 1e-9

DECISION_SCHEMA = pa.DataFrameSchema(
    {
        "decision_id": pa.Column(pl.String, pa.Check.str_length(min_value=1), nullable=False, unique=True),
        "entity_id": pa.Column(pl.String, pa.Check.str_length(min_value=1), nullable=False),
        "decided_at": pa.Column(pl.Int64, pa.Check.gt(0), nullable=False),
        "release_id": pa.Column(pl.String, nullable=False),
        "arm": pa.Column(pl.String, pa.Check.str_length(min_value=1), nullable=False),
        "action": pa.Column(pl.String, pa.Check.str_length(min_value=1), nullable=False),
        "propensity": pa.Column(pl.Float64, [pa.Check.gt(0.0), pa.Check.le(1.0 + _TOLERANCE)], nullable=False),
        "candidate_ids": pa.Column(pl.List(pl.String), nullable=False),
        "p_in_arm": pa.Column(pl.List(pl.Float64), nullable=False),
        "reward": pa.Column(pl.Int64, nullable=False),
        "source": pa.Column(pl.String, pa.Check.isin(["served", "imported"]), nullable=False),
    }
)


def check_rows(decisions: pl.DataFrame, use_case: UseCase, now_us: int) -> None:
    """Check matured decisions before anything is computed from them.

    Raises:
        DataRefused: all reasons, with counts.
    """
    reasons: list[str] = []
    if not decisions.height:
        raise DataRefused(WHAT, ["there is no decision whose outcome window has closed"])
    try:
        DECISION_SCHEMA.validate(decisions, lazy=True)
    except SchemaErrors as error:
        failed = error.failure_cases.group_by("column", "check", maintain_order=True).agg(pl.len().alias("rows"))
        reasons += [_column_reason(row) for row in failed.iter_rows(named=True)]
    ids, shares = pl.col("candidate_ids"), pl.col("p_in_arm")
    listed = ids.list.len()
    broken = {
        "lie in the future": pl.col("decided_at") > now_us,
        "list candidates and probabilities of different length, or none": (listed != shares.list.len()) | (listed == 0),
        "list a candidate twice": ids.list.n_unique() != listed,
        "have probabilities that do not sum to 1": ~((shares.list.sum() - 1.0).abs() <= _TOLERANCE * 10),
        "have a probability below 0 or none at all": ~shares.list.min().ge(0.0) | shares.list.contains(None),
        "show an action that was not eligible": ~ids.list.contains(pl.col("action")),
    }
    counts = decisions.select(**{text: condition.fill_null(True).sum() for text, condition in broken.items()}).row(0)
    reasons += [f"{count} rows {text}" for text, count in zip(broken, counts, strict=True) if count]
    if not reasons:
        reasons += _drawn_otherwise(decisions)
    if reasons:
        raise DataRefused(WHAT, reasons)


def check_set(features: Floats, use_case: UseCase, randomised: np.ndarray, rewards: pl.Series) -> None:
    """Check the assembled set: enough rows that can value a policy, features finite, rewards that say something.

    Raises:
        DataRefused: all reasons, with counts.
    """
    reasons = list(_unfit_features(features, use_case.feature_set))
    if int(randomised.sum()) < use_case.gate.min_rows:
        reasons.append(f"{int(randomised.sum())} matured decisions of randomised arms, {use_case.gate.min_rows} are needed")
    if rewards.n_unique() <= 1:
        reasons.append(f"every reward is {rewards.first()!r}, so nothing can be learned from them")
    if reasons:
        raise DataRefused(WHAT, reasons)


def _column_reason(row: dict[str, object]) -> str:
    return f"{row['rows']} rows: column {row['column']} fails {row['check']}"


def _drawn_otherwise(decisions: pl.DataFrame) -> list[str]:
    listed = decisions.select("decision_id", "action", "propensity", "candidate_ids", "p_in_arm").explode("candidate_ids", "p_in_arm")
    shown = listed.filter(pl.col("candidate_ids") == pl.col("action"))
    differs = shown.filter(~((pl.col("p_in_arm") - pl.col("propensity")).abs() <= _TOLERANCE)).height
    return [f"{differs} rows have a propensity that is not the probability of their action"] if differs else []


def _unfit_features(features: Floats, feature_set: FeatureSet) -> list[str]:
    reasons = []
    for position, feature in enumerate(feature_set.features):
        column = features[:, position]
        unfit = np.isinf(column) if np.isnan(feature.default) else ~np.isfinite(column)
        if unfit.any():
            reasons.append(f"{int(unfit.sum())} rows: feature {feature.name} is not finite")
    return reasons
