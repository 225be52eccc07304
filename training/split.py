"""Splits of a training set: folds by entity, and the later part by time."""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import polars as pl

from training.dataset import Bools, Ints, TrainingSet


def folds(entity_ids: Iterable[str], count: int, seed: int) -> Ints:
    """The fold of each row, 0 to count − 1: a hash of seed and entity, so that an entity's rows stay together.

    Example:
        >>> folds(["a", "b", "a"], 2, seed=5).tolist()
        [1, 0, 1]
    """
    names = pl.Series(list(entity_ids), dtype=pl.String)
    drawn = {name: int.from_bytes(blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()) % count for name in names.unique()}
    return np.asarray(names.replace_strict(drawn, return_dtype=pl.Int64).to_numpy(), dtype=np.int64)


def later(training_set: TrainingSet, share: float) -> Bools:
    """(n,) the later rows by time, about that share of all; rows of one moment stay together."""
    decided_at = training_set.rows["decided_at"].to_numpy()
    return np.asarray(decided_at >= np.quantile(decided_at, 1.0 - share), dtype=np.bool_)
