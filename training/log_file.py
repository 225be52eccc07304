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
| `context_…` | integer, text, truth value | optional: fields of the request's context |
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from contracts.errors import DataRefused
from training import columns
from use_cases.definition import UseCase

CONTEXT = "context_"

_NEEDED = ("decision_id", "entity_id", "action", "propensity", "reward")
_OPTIONAL = ("decided_at", "rewarded_at", "candidate_ids", "p_in_arm")
_TIMES = ("decided_at", "rewarded_at")
_TOLERANCE = 1e-6


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
    typed, unreadable = _typed(raw)
    reasons = [*unreadable, *_broken_rows(typed, rules)]
    if not typed.height:
        reasons.append("it has no rows")
    if reasons:
        raise DataRefused(path.name, reasons)
    return typed.drop("row")


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


def _typed(raw: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    rows = raw.with_row_index("row", offset=1)
    kinds: Mapping[str, tuple[Callable[[pl.Series], pl.Series], str]] = {
        "decision_id": (columns.text, "a text"),
        "entity_id": (columns.text, "a text"),
        "decided_at": (columns.time, "integer microseconds, or a time with its zone"),
        "rewarded_at": (columns.time, "integer microseconds, or a time with its zone"),
        "action": (columns.text, "a text"),
        "propensity": (columns.number, "a number"),
        "reward": (columns.integer, "an integer of the KPI unit"),
        "candidate_ids": (columns.list_of(pl.String()), "a list of texts"),
        "p_in_arm": (columns.list_of(pl.Float64()), "a list of numbers"),
    }
    made, reasons = [rows["row"]], []
    for name, (convert, expected) in kinds.items():
        if name not in raw.columns:
            made.append(pl.Series(name, [None] * rows.height, dtype=_EMPTY.get(name, pl.Int64())))
            continue
        try:
            column = convert(raw[name]).alias(name)
        except pl.exceptions.PolarsError:
            reasons.append(f"column {name} is of type {raw[name].dtype}; expected {expected}")
            column = pl.Series(name, [None] * rows.height, dtype=_EMPTY.get(name, pl.Int64()))
        else:
            wrong = column.is_null() & (raw[name].is_not_null() if name == "rewarded_at" else True)
            if wrong.any():
                reasons.append(f"{wrong.sum()} rows have no {name} that is {expected}{columns.first(rows.filter(wrong), name)}")
        made.append(column)
    context = [raw[name] for name in raw.columns if name.startswith(CONTEXT)]
    return pl.DataFrame([*made, *context]), reasons


def _broken_rows(rows: pl.DataFrame, rules: LogRules) -> list[str]:
    catalogue = list(rules.use_case.catalogue.index)
    window_us = rules.use_case.outcome_window_us
    ids, shares = pl.col("candidate_ids"), pl.col("p_in_arm")
    drawn = pl.col("decided_at") + window_us
    broken: dict[str, tuple[str, pl.Expr]] = {
        "stand more than once": ("decision_id", pl.col("decision_id").is_duplicated()),
        f"are longer than {columns.LONGEST_ID} bytes, empty, or hold a NUL": ("decision_id", columns.unfit_id("decision_id")),
        f"of entities are longer than {columns.LONGEST_ID} bytes, empty, or hold a NUL": ("entity_id", columns.unfit_id("entity_id")),
        f"are not in the catalogue ({', '.join(catalogue[:8])}{', …' if len(catalogue) > 8 else ''})": (
            "action",
            ~pl.col("action").is_in(catalogue),
        ),
        "lie outside (0, 1]": ("propensity", ~((pl.col("propensity") > 0.0) & (pl.col("propensity") <= 1.0))),
        "lie in the future": ("decided_at", pl.col("decided_at") > rules.now_us),
        "are not after 1970": ("decided_at", pl.col("decided_at") <= 0),
        "have no reward yet: their outcome window has not closed": ("decided_at", drawn > rules.now_us),
        "lie before the decision, behind its outcome window, or in the future": (
            "rewarded_at",
            (pl.col("rewarded_at") < pl.col("decided_at")) | (pl.col("rewarded_at") >= drawn) | (pl.col("rewarded_at") > rules.now_us),
        ),
        "name an unknown candidate, one twice, or not the action": (
            "candidate_ids",
            ids.list.eval(~pl.element().is_in(catalogue)).list.any()
            | (ids.list.n_unique() != ids.list.len())
            | ~ids.list.contains(pl.col("action")),
        ),
        "are not one number in [0, 1] for each candidate that sum to 1": (
            "p_in_arm",
            (ids.list.len() != shares.list.len()) | ~(shares.list.min() >= 0.0) | ~((shares.list.sum() - 1.0).abs() <= _TOLERANCE),
        ),
    }
    if not rules.negative:
        broken["are negative (say so if refunds may outweigh what was earned)"] = ("reward", pl.col("reward") < 0)
    reasons = []
    for text, (name, condition) in broken.items():
        wrong = rows.filter(condition.fill_null(False))
        if wrong.height:
            reasons.append(f"{wrong.height} rows: values of {name} {text}{columns.first(wrong, name)}")
    return reasons or _other_propensity(rows)


def _other_propensity(rows: pl.DataFrame) -> list[str]:
    listed = rows.drop_nulls("candidate_ids").explode("candidate_ids", "p_in_arm").filter(pl.col("candidate_ids") == pl.col("action"))
    wrong = listed.filter((pl.col("p_in_arm") - pl.col("propensity")).abs() > _TOLERANCE)
    return (
        [f"{wrong.height} rows: propensity is not the p_in_arm of the action{columns.first(wrong, 'propensity')}"] if wrong.height else []
    )


_EMPTY: Mapping[str, pl.DataType] = {
    "decision_id": pl.String(),
    "entity_id": pl.String(),
    "action": pl.String(),
    "propensity": pl.Float64(),
    "candidate_ids": pl.List(pl.String()),
    "p_in_arm": pl.List(pl.Float64()),
}
