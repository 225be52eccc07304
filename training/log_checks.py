"""What every log of decisions must hold, wherever it is read: checks that the bulk import and the evaluation of a foreign log share."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import polars as pl

from training import columns

TOLERANCE = 1e-6
"""By how much probabilities may miss their sum, and the propensity the probability of its action."""

Convert: TypeAlias = Callable[[pl.Series], pl.Series]
Kinds: TypeAlias = Mapping[str, tuple[Convert, str, pl.DataType]]
"""Of each column: how it is read, what is expected, in words and as a type."""

Checks: TypeAlias = Mapping[str, tuple[str, pl.Expr]]
"""Of each reason (how wrong values are said to be): the column that holds them, and where it is wrong."""

TIME_WORDS = "integer microseconds, or a time with its zone"

KINDS: Kinds = {
    "decision_id": (columns.text, "a text", pl.String()),
    "entity_id": (columns.text, "a text", pl.String()),
    "decided_at": (columns.time, TIME_WORDS, pl.Int64()),
    "rewarded_at": (columns.time, TIME_WORDS, pl.Int64()),
    "action": (columns.text, "a text", pl.String()),
    "propensity": (columns.number, "a number", pl.Float64()),
    "candidate_ids": (columns.list_of(pl.String()), "a list of texts", pl.List(pl.String())),
    "p_in_arm": (columns.list_of(pl.Float64()), "a list of numbers", pl.List(pl.Float64())),
}


def typed(raw: pl.DataFrame, kinds: Kinds, *, optional: Sequence[str] = ()) -> tuple[pl.DataFrame, list[str]]:
    """The columns in their types, with `row` from 1; null where not given; and what could not be read, in words.

    Args:
        raw: the file.
        kinds: of the columns.
        optional: columns in which single values may be missing.
    """
    made, reasons = [raw.with_row_index("row", offset=1)["row"]], []
    for name, (convert, expected, kind) in kinds.items():
        nothing = pl.Series(name, [None] * raw.height, dtype=kind)
        if name not in raw.columns:
            made.append(nothing)
            continue
        try:
            column = convert(raw[name]).alias(name)
        except pl.exceptions.PolarsError:
            reasons.append(f"column {name} is of type {raw[name].dtype}; expected {expected}")
            made.append(nothing)
            continue
        wrong = column.is_null() & (raw[name].is_not_null() if name in optional else True)
        if wrong.any():
            told = raw.with_row_index("row", offset=1).filter(wrong)
            reasons.append(f"{wrong.sum()} rows have no {name} that is {expected}{columns.first(told, name)}")
        made.append(column)
    return pl.DataFrame(made), reasons


def of_decisions(candidates: Sequence[str] | None) -> dict[str, tuple[str, pl.Expr]]:
    """Checks of ids, actions and probabilities.

    Args:
        candidates: that there are; None where the log alone says it.
    """
    ids, shares = pl.col("candidate_ids"), pl.col("p_in_arm")
    twice = (ids.list.n_unique() != ids.list.len()) | ~ids.list.contains(pl.col("action"))
    checks = {
        "stand more than once": ("decision_id", pl.col("decision_id").is_duplicated()),
        f"are longer than {columns.LONGEST_ID} bytes, empty, or hold a NUL": ("decision_id", columns.unfit_id("decision_id")),
        f"of entities are longer than {columns.LONGEST_ID} bytes, empty, or hold a NUL": ("entity_id", columns.unfit_id("entity_id")),
        "lie outside (0, 1]": ("propensity", ~((pl.col("propensity") > 0.0) & (pl.col("propensity") <= 1.0))),
        "are not one number in [0, 1] for each candidate that sum to 1": (
            "p_in_arm",
            (ids.list.len() != shares.list.len()) | ~(shares.list.min() >= 0.0) | ~((shares.list.sum() - 1.0).abs() <= TOLERANCE),
        ),
    }
    if candidates is None:
        return checks | {"name a candidate twice, or not the action": ("candidate_ids", twice)}
    some = f"{', '.join(candidates[:8])}{', …' if len(candidates) > 8 else ''}"
    return checks | {
        f"are not in the catalogue ({some})": ("action", ~pl.col("action").is_in(candidates)),
        "name an unknown candidate, one twice, or not the action": (
            "candidate_ids",
            ids.list.eval(~pl.element().is_in(candidates)).list.any() | twice,
        ),
    }


def broken(rows: pl.DataFrame, checks: Checks) -> list[str]:
    """What is wrong, with a count and the first rows; whether propensities are their actions' only where all else is right."""
    reasons = []
    for text, (name, condition) in checks.items():
        wrong = rows.filter(condition.fill_null(False))
        if wrong.height:
            reasons.append(f"{wrong.height} rows: values of {name} {text}{columns.first(wrong, name)}")
    return reasons or _other_propensity(rows)


def _other_propensity(rows: pl.DataFrame) -> list[str]:
    listed = rows.drop_nulls("candidate_ids").explode("candidate_ids", "p_in_arm").filter(pl.col("candidate_ids") == pl.col("action"))
    wrong = listed.filter((pl.col("p_in_arm") - pl.col("propensity")).abs() > TOLERANCE)
    return (
        [f"{wrong.height} rows: propensity is not the p_in_arm of the action{columns.first(wrong, 'propensity')}"] if wrong.height else []
    )
