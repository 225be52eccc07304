"""The file of a logged experiment: what it must hold, and every check before a row of it is taken.

One row a decision that was made elsewhere, in Parquet, or in CSV (UTF-8, comma, header, a line feed at the end):

| column | type | meaning |
|---|---|---|
| `decision_id` | text | identifies the row for ever; imported again, it changes nothing |
| `entity_id` | text | whom the decision was about |
| `decided_at` | integer microseconds, or a time with zone (RFC 3339 in CSV) | when; absent as a whole for data without time |
| `action` | text | the candidate that was shown, by its id in the catalogue |
| `propensity` | number in (0, 1] | the probability with which it was chosen, known from how the experiment was made |
| `reward` | integer | what followed, in the KPI unit (micro-dollars for money), complete for the outcome window |
| `rewarded_at` | as `decided_at` | optional: when it followed; without it, at the end of the outcome window |
| `candidate_ids`, `p_in_arm` | lists (JSON arrays in CSV) | optional, both or none: what could have been shown, and with what probability |
| `context_…` | number, text, truth value | optional: fields of the request's context |
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from contracts.errors import DataRefused
from features.definitions import Request
from training import columns
from training.log_checks import KINDS, broken, of_decisions, typed
from use_cases.definition import UseCase

CONTEXT = "context_"

_NEEDED = ("decision_id", "entity_id", "action", "propensity", "reward")
_OPTIONAL = ("decided_at", "rewarded_at", "candidate_ids", "p_in_arm")


@dataclass(frozen=True, slots=True)
class LogRules:
    """What a log may hold.

    Attributes:
        now_us: nothing may be later.
        negative: whether a reward may be below 0, as where refunds outweigh purchases.
    """

    use_case: UseCase
    now_us: int
    negative: bool = False


def read_log(path: Path, rules: LogRules) -> pl.DataFrame:
    """Read and check a log as a whole.

    Returns:
        `decision_id, entity_id, decided_at, rewarded_at` (null where not given), `action, propensity, reward, candidate_ids, p_in_arm`
        (null where not given), and the `context_…` columns; in the file's order.

    Raises:
        DataRefused: the file is unreadable or half-written, or rows are wrong: every reason, with a count and the first rows.
    """
    raw = columns.read(path)
    _check_columns(path, raw)
    kinds = {**KINDS, "reward": (columns.integer, "an integer of the KPI unit", pl.Int64())}
    rows, unreadable = typed(raw, kinds, optional=("rewarded_at",))
    context, unfit = _context(raw, rules.use_case)
    reasons = [*unreadable, *broken(rows, _checks(rules)), *unfit]
    if not rows.height:
        reasons.append("it has no rows")
    if reasons:
        raise DataRefused(path.name, reasons)
    return pl.DataFrame([*rows.drop("row"), *context])


def _context(raw: pl.DataFrame, use_case: UseCase) -> tuple[list[pl.Series], list[str]]:
    """Fields of the request's context, those that features take as numbers read as such; and what is wrong with them."""
    requests = [feature for feature in use_case.feature_set.features if isinstance(feature, Request)]
    numbers = {feature.field for feature in requests if not feature.categories}
    made, reasons = [], []
    for name in (name for name in raw.columns if name.startswith(CONTEXT)):
        column = raw[name]
        if column.dtype == pl.String and name.removeprefix(CONTEXT) in numbers:
            column = _number(column)
        elif column.dtype in (pl.Categorical, pl.Enum):
            column = column.cast(pl.String)
        if not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Boolean, pl.Null)):
            reasons.append(f"column {name} is of type {column.dtype}; expected numbers, texts or truth values")
        wrong = column.is_null() & raw[name].is_not_null()
        if column.dtype.is_float():
            wrong = wrong | (~column.is_finite()).fill_null(False)
        if wrong.any():
            told = raw.with_row_index("row", offset=1).filter(wrong)
            reasons.append(f"{wrong.sum()} rows: values of {name} are no finite numbers{columns.first(told, name)}")
        made.append(column)
    return made, reasons


def _number(column: pl.Series) -> pl.Series:
    """A column of texts, as of CSV, as numbers or truth values; null where one is neither."""
    if column.drop_nulls().is_in(["true", "false"]).all():
        return column == "true"
    whole = column.cast(pl.Int64, strict=False)
    return whole if whole.null_count() == column.null_count() else column.cast(pl.Float64, strict=False)


def _check_columns(path: Path, raw: pl.DataFrame) -> None:
    known = {*_NEEDED, *_OPTIONAL}
    missing = [name for name in _NEEDED if name not in raw.columns]
    unknown = [name for name in raw.columns if name not in known and not name.startswith(CONTEXT)]
    reasons = []
    if missing:
        reasons.append(f"columns are missing: {', '.join(missing)}")
    if unknown:
        reasons.append(f"columns are not known: {', '.join(unknown)} (fields of the request's context are called {CONTEXT}…)")
    if ("candidate_ids" in raw.columns) != ("p_in_arm" in raw.columns):
        reasons.append("candidate_ids and p_in_arm belong together, and one is missing")
    if reasons:
        raise DataRefused(path.name, reasons)


def _checks(rules: LogRules) -> dict[str, tuple[str, pl.Expr]]:
    window_us = rules.use_case.outcome_window_us
    drawn = pl.col("decided_at") + window_us
    checks = of_decisions(list(rules.use_case.catalogue.index)) | {
        "lie in the future": ("decided_at", pl.col("decided_at") > rules.now_us),
        "are not after 1970": ("decided_at", pl.col("decided_at") <= 0),
        "have no reward yet: their outcome window has not closed": ("decided_at", drawn > rules.now_us),
        "lie before the decision, behind its outcome window, or in the future": (
            "rewarded_at",
            (pl.col("rewarded_at") < pl.col("decided_at")) | (pl.col("rewarded_at") >= drawn) | (pl.col("rewarded_at") > rules.now_us),
        ),
    }
    if not rules.negative:
        checks["are negative (say so if refunds may outweigh what was earned)"] = ("reward", pl.col("reward") < 0)
    return checks
