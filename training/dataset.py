"""The training set: matured decisions with the features they used, the probabilities they were drawn with, and their rewards."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contracts.catalogue import Catalogue
from contracts.tables import DECISIONS, OUTCOMES
from contracts.traffic import CONTROL
from decisions.matrix import Floats
from features.skew import SkewReport
from storage.tables import Tables
from training.backfill import backfilled, recompute, skew
from training.schema import check_rows, check_set
from training.snapshot import Partition, snapshot
from use_cases.definition import UseCase

Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

MOST_ROWS = 400_000
"""Decisions in a training set at most: the newest."""

MOST_SKEW_ROWS = 5_000
"""Served decisions whose features are recomputed at most: a sample spread evenly over their ids."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Matured decisions in order of `(decided_at, decision_id)`; n of them, K candidates in the catalogue, F features.

    Attributes:
        rows: `decision_id, entity_id, decided_at, arm, release_id, propensity, reward` and the like; see `training.schema`.
        features: (n, F), in the feature set's order.
        action: (n,) catalogue position of what was shown; −1 where the catalogue no longer has it.
        eligible: (n, K) which of the catalogue's candidates could have been shown.
        p_in_arm: (n, K) with what probability; 0 where not eligible.
        entity: (n,) a small number for each entity.
        backfilled: how many rows have features computed from events, since another feature set was logged, or none.
        skew: of served rows, logged features against recomputed ones.
        snapshot: the partitions of the tables that it was read from; none where it was not.
    """

    use_case: UseCase
    rows: pl.DataFrame
    features: Floats
    action: Ints
    eligible: Bools
    p_in_arm: Floats
    entity: Ints
    backfilled: int
    skew: SkewReport
    snapshot: tuple[Partition, ...] = ()

    def __len__(self) -> int:
        return self.rows.height

    def only(self, rows: Bools) -> "TrainingSet":
        """The set of some of its rows; (n,) which."""
        return replace(
            self,
            rows=self.rows.filter(pl.Series(rows)),
            features=self.features[rows],
            action=self.action[rows],
            eligible=self.eligible[rows],
            p_in_arm=self.p_in_arm[rows],
            entity=self.entity[rows],
        )

    @property
    def reward(self) -> Floats:
        """(n,) rewards in the unit that people read, such as dollars."""
        return self.rows["reward"].to_numpy() / float(self.use_case.reward_scale)

    @property
    def propensity(self) -> Floats:
        """(n,) probability, in its arm, of what was shown."""
        return np.asarray(self.rows["propensity"].to_numpy(), dtype=np.float64)

    @property
    def control(self) -> Bools:
        """(n,) decisions of the control group."""
        return np.asarray((self.rows["arm"] == CONTROL).to_numpy(), dtype=np.bool_)

    @property
    def randomised(self) -> Bools:
        """(n,) decisions whose log can value other policies: not control, and every eligible candidate had a chance."""
        support = ((self.p_in_arm > 0.0) | ~self.eligible).all(axis=1)
        return np.asarray(support & ~self.control, dtype=np.bool_)

    @property
    def digest(self) -> str:
        """SHA-256 over what is trained on: ids, times, arms, rewards, probabilities, features."""
        digest = hashlib.sha256()
        for column in self.rows.get_columns():
            digest.update(
                "\0".join(column.cast(pl.String).to_list()).encode() if column.dtype == pl.String else column.to_numpy().tobytes()
            )
        for array in (self.features, self.action, self.eligible, self.p_in_arm):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def build(
    tables: Tables,
    use_case: UseCase,
    *,
    now_us: int,
    folder: Path,
    store: Path | None = None,
    memory: str = "2GB",
    most: int = MOST_ROWS,
) -> TrainingSet:
    """The training set of a use case as of now.

    Logged features are used where they are of the use case's feature set; the rest is computed from events, as it was known then.

    Args:
        tables: drained tables.
        use_case: whose.
        now_us: outcome windows must have closed by then.
        folder: for files in between.
        store: folder in which features computed from events are kept for the next time; by default they are not.
        memory: what the feature engine may use before it spills.
        most: newest decisions to take at most.

    Raises:
        DataRefused: rows break the schema or a sanity check; all reasons are named.
    """
    logged = tables.frame(use_case.schema, DECISIONS)
    outcomes = tables.frame(use_case.schema, OUTCOMES)
    closed = use_case.rewards(logged, outcomes, now_us=now_us)
    newest = closed.sort("decided_at", "decision_id").tail(most)
    check_rows(newest, use_case, now_us)
    features, computed, difference = _features(newest, tables, use_case, folder, store or folder / "backfill", memory)
    action, eligible, p_in_arm = candidates(newest, use_case.catalogue)
    training_set = TrainingSet(
        use_case=use_case,
        rows=newest.select("decision_id", "entity_id", "decided_at", "arm", "release_id", "source", "propensity", "reward"),
        features=features,
        action=action,
        eligible=eligible,
        p_in_arm=p_in_arm,
        entity=newest["entity_id"].rank("dense").cast(pl.Int64).to_numpy() - 1,
        backfilled=computed,
        skew=difference,
        snapshot=snapshot(tables, use_case, newest.drop("reward"), outcomes),
    )
    check_set(features, use_case, training_set.randomised, newest["reward"])
    return training_set


def candidates(decisions: pl.DataFrame, catalogue: Catalogue) -> tuple[Ints, Bools, Floats]:
    """Position of the action, eligible candidates and their probabilities, over a catalogue's positions; see `TrainingSet`."""
    count, width = decisions.height, len(catalogue.candidates)
    index = dict(catalogue.index)
    action = decisions["action"].replace_strict(index, default=-1, return_dtype=pl.Int64).to_numpy()
    listed = (
        decisions.select("candidate_ids", "p_in_arm")
        .with_row_index("row")
        .explode("candidate_ids", "p_in_arm")
        .with_columns(place=pl.col("candidate_ids").replace_strict(index, default=-1, return_dtype=pl.Int64))
        .filter(pl.col("place") >= 0)
    )
    row, place = listed["row"].to_numpy().astype(np.int64), listed["place"].to_numpy()
    eligible = np.zeros((count, width), dtype=np.bool_)
    eligible[row, place] = True
    p_in_arm = np.zeros((count, width))
    p_in_arm[row, place] = listed["p_in_arm"].to_numpy()
    return action, eligible, p_in_arm


def _features(
    decisions: pl.DataFrame, tables: Tables, use_case: UseCase, folder: Path, store: Path, memory: str
) -> tuple[Floats, int, SkewReport]:
    names = use_case.feature_set.names
    own = (decisions["feature_set"] == use_case.feature_set.digest) & (decisions["features"].list.len() == len(names))
    served = decisions.filter(own & (decisions["source"] == "served"))
    sample = served.sort("decision_id").gather_every(max(1, -(-served.height // MOST_SKEW_ROWS)))
    other = decisions.filter(~own)
    features = np.full((decisions.height, len(names)), np.nan)
    mine = own.to_numpy()
    if mine.any():
        features[mine] = decisions.filter(own)["features"].explode().to_numpy().reshape(-1, len(names))
    if other.height:
        features[~mine] = backfilled(other, tables, use_case, store, memory).select(names).to_numpy()
    again = recompute(sample, tables, use_case, folder, memory)
    return np.ascontiguousarray(features), other.height, skew(sample, again, use_case.feature_set)
