"""A log that needs no use case: what the file must hold, every check before it is believed, and the log as arrays.

One row a decision, in Parquet, or in CSV (UTF-8, comma, header, a line feed at the end):

| column | type | meaning |
|---|---|---|
| `decision_id` | text | identifies the row; each once |
| `entity_id` | text | optional: whom the decision was about. Rows of an entity may be alike; without it, each stands for itself |
| `decided_at`, `rewarded_at` | integer microseconds, or a time with zone (RFC 3339 in CSV) | optional: no reward is before its decision |
| `action` | text | what was shown |
| `propensity` | number in (0, 1] | the probability with which it was chosen, known from how the log was made |
| `reward` | number | what followed, in any unit; 0 for nothing |
| `candidate_ids`, `p_in_arm` | lists (JSON arrays in CSV) | optional, both or none: what could have been shown, and with what probability |
| `x_…` | number, truth value, or text for categories | optional: what was known; may be missing |
| `target_…` | number in [0, 1] | optional: the probability that a policy to be valued gives the action of that name; they sum to 1 |

Without the lists, what could have been shown is every action that the log shows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contracts.catalogue import Candidate, Catalogue
from contracts.errors import DataRefused
from decisions.matrix import Floats
from decisions.policies import PolicySpec
from features.definitions import UNKNOWN_CATEGORY, Request
from features.skew import SkewReport
from features.vocabulary import feature_set, request
from training import columns
from training.dataset import Bools, Ints, TrainingSet
from training.log_checks import KINDS, TOLERANCE, broken, of_decisions, typed
from use_cases.definition import Learner, UseCase

FEATURE = "x_"
TARGET = "target_"

MOST_CATEGORIES = 200
"""Categories of a feature that are told apart at most: the most frequent."""

_NEEDED = ("decision_id", "action", "propensity", "reward")
_OPTIONAL = ("entity_id", "decided_at", "rewarded_at", "candidate_ids", "p_in_arm")


@dataclass(frozen=True, eq=False)
class PlainLog:
    """A log as arrays; n decisions, K actions, F features.

    Attributes:
        name: of the file.
        rows: its columns, checked; see the module.
        actions: all that the log shows or could have shown, in order.
        action: (n,) which was shown.
        eligible: (n, K) which could have been. `p_in_arm`: (n, K) with what probability; None where the log does not tell.
        features: (n, F), texts as codes of `categories`.
        categories: of each feature, by its column's name; empty for numbers.
        entity: (n,) a small number for each entity; None where each row stands for itself.
    """

    name: str
    rows: pl.DataFrame
    actions: tuple[str, ...]
    action: Ints
    eligible: Bools
    p_in_arm: Floats | None
    features: Floats
    categories: Mapping[str, tuple[str, ...]]
    entity: Ints | None

    def __len__(self) -> int:
        return self.rows.height

    @property
    def rewards(self) -> Floats:
        """(n,)."""
        return self.rows["reward"].to_numpy()

    @property
    def propensity(self) -> Floats:
        """(n,)."""
        return self.rows["propensity"].to_numpy()

    def training_set(self) -> TrainingSet:
        """The log as a training set of a use case that is made for it: an action is a candidate, a column `x_…` a feature."""
        use_case = UseCase(
            name="log",
            title=self.name,
            event_types=(),
            feature_set=feature_set("log", *(_feature(name, of) for name, of in self.categories.items())),
            catalogue=Catalogue(tuple(Candidate(action, {"action": action}) for action in self.actions)),
            baseline=self.actions[0],
            start_policy=PolicySpec("uniform"),
            learned_policy=PolicySpec("greedy"),
            outcome_window_us=1,
            ttl_us=1,
            learner=Learner(),
            split="entity",
            reward_unit="",
            reward_scale=1,
        )
        entity = np.arange(len(self)) if self.entity is None else self.entity
        rows = self.rows.select(
            "decision_id",
            entity_id=pl.Series(entity).cast(pl.String),
            decided_at=pl.lit(0, dtype=pl.Int64),
            arm=pl.lit("logged"),
            release_id=pl.lit("logged"),
            source=pl.lit("imported"),
            propensity="propensity",
            reward="reward",
        )
        return TrainingSet(
            use_case=use_case,
            rows=rows,
            features=self.features,
            action=self.action,
            eligible=self.eligible,
            p_in_arm=np.where(self.eligible, 1.0 / self.eligible.sum(axis=1, keepdims=True), 0.0)
            if self.p_in_arm is None
            else self.p_in_arm,
            entity=entity,
            backfilled=0,
            skew=SkewReport(0, 0, {}, ()),
        )


def read_plain(path: Path) -> PlainLog:
    """Read and check a log as a whole.

    Raises:
        DataRefused: the file is unreadable or half-written, or rows are wrong: every reason, with a count and the first rows.
    """
    raw = columns.read(path)
    _check_columns(path, raw)
    own: dict[str, tuple[Callable[[pl.Series], pl.Series], str, pl.DataType]] = {
        "reward": (columns.number, "a finite number", pl.Float64()),
        **{name: (columns.number, "a probability", pl.Float64()) for name in raw.columns if name.startswith(TARGET)},
    }
    optional = ("rewarded_at", "decided_at")
    rows, reasons = typed(raw, {**KINDS, **own}, optional=optional)
    checks = of_decisions(None) | {
        "lie before the decision": ("rewarded_at", pl.col("rewarded_at") < pl.col("decided_at")),
    }
    targets = [name for name in rows.columns if name.startswith(TARGET)]
    for name in targets:
        checks[f"lie outside [0, 1] ({name})"] = (name, ~pl.col(name).is_between(0.0, 1.0))
    if targets:
        total = pl.sum_horizontal(targets)
        checks["sum to something else than 1 with the other targets"] = (targets[0], (total - 1.0).abs() > TOLERANCE)
    reasons += broken(rows, checks)
    features, categories, unfit = _features(raw)
    reasons += unfit
    if not rows.height:
        reasons.append("it has no rows")
    if reasons:
        raise DataRefused(path.name, reasons)
    return _arrays(path.name, rows, features, categories)


def _check_columns(path: Path, raw: pl.DataFrame) -> None:
    known = {*_NEEDED, *_OPTIONAL}
    missing = [name for name in _NEEDED if name not in raw.columns]
    unknown = [name for name in raw.columns if name not in known and not name.startswith((FEATURE, TARGET))]
    reasons = []
    if missing:
        reasons.append(f"columns are missing: {', '.join(missing)}")
    if unknown:
        reasons.append(
            f"columns are not known: {', '.join(unknown)} (features are called {FEATURE}…, a policy's probabilities {TARGET}ACTION)"
        )
    if ("candidate_ids" in raw.columns) != ("p_in_arm" in raw.columns):
        reasons.append("candidate_ids and p_in_arm belong together, and one is missing")
    if reasons:
        raise DataRefused(path.name, reasons)


def _features(raw: pl.DataFrame) -> tuple[Floats, dict[str, tuple[str, ...]], list[str]]:
    """(n, F) features, their categories, and what is not finite."""
    made: list[NDArray[np.float64]] = []
    categories: dict[str, tuple[str, ...]] = {}
    reasons = []
    for name in (name for name in raw.columns if name.startswith(FEATURE)):
        column = raw[name]
        if column.dtype == pl.Boolean:
            column = column.cast(pl.Float64)
        elif column.dtype == pl.String and column.cast(pl.Float64, strict=False).null_count() == column.null_count():
            # why: of CSV every column is read as text
            column = column.cast(pl.Float64)
        if column.dtype.is_numeric():
            numbers = column.cast(pl.Float64)
            unfit = (~numbers.is_finite()).fill_null(False)
            if unfit.any():
                told = raw.with_row_index("row", offset=1).filter(unfit)
                reasons.append(f"{unfit.sum()} rows: feature {name} is not finite{columns.first(told, name)}")
            made.append(numbers.fill_null(np.nan).to_numpy())
            categories[name] = ()
        elif column.dtype in (pl.String, pl.Categorical, pl.Enum):
            texts = column.cast(pl.String)
            names = tuple(texts.drop_nulls().value_counts(sort=True)[name].head(MOST_CATEGORIES).sort().to_list())
            codes = {category: float(code) for code, category in enumerate(names)}
            coded = texts.replace_strict(codes, default=UNKNOWN_CATEGORY, return_dtype=pl.Float64)
            made.append(coded.set(texts.is_null(), np.nan).to_numpy())
            categories[name] = names
        else:
            reasons.append(f"column {name} is of type {column.dtype}; expected numbers, truth values or texts")
    features = np.ascontiguousarray(np.stack(made, axis=1)) if made else np.zeros((raw.height, 0))
    return features, categories, reasons


def _arrays(name: str, rows: pl.DataFrame, features: Floats, categories: Mapping[str, tuple[str, ...]]) -> PlainLog:
    listed = rows["candidate_ids"].null_count() < rows.height
    named = {column.removeprefix(TARGET) for column in rows.columns if column.startswith(TARGET)}
    seen = set(rows["action"].unique()) | (set(rows["candidate_ids"].explode().drop_nulls().unique()) if listed else set())
    actions = tuple(sorted(seen | named))
    index = {action: place for place, action in enumerate(actions)}
    shape = (rows.height, len(actions))
    p_in_arm: Floats | None = None
    if listed:
        flat = rows.select("candidate_ids", "p_in_arm").with_row_index("at").explode("candidate_ids", "p_in_arm")
        place = flat["candidate_ids"].replace_strict(index, return_dtype=pl.Int64).to_numpy()
        at = flat["at"].to_numpy().astype(np.int64)
        eligible, p_in_arm = np.zeros(shape, dtype=np.bool_), np.zeros(shape)
        eligible[at, place], p_in_arm[at, place] = True, flat["p_in_arm"].to_numpy()
    else:
        eligible = np.ones(shape, dtype=np.bool_)
    entity = None
    if rows["entity_id"].null_count() < rows.height:
        entity = rows["entity_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    action = rows["action"].replace_strict(index, return_dtype=pl.Int64).to_numpy()
    return PlainLog(name, rows, actions, action, eligible, p_in_arm, features, dict(categories), entity)


def _feature(name: str, categories: tuple[str, ...]) -> Request:
    return request(name, categories=categories) if categories else request(name)
