"""Golden decisions of a candidate: what training made of real rows, for every replica to reproduce."""

import numpy as np
import polars as pl

from contracts.catalogue import Catalogue
from decisions.matrix import Floats
from decisions.policies import PolicySpec, build_policy
from releases.golden import GOLDEN_SCHEMA
from training.dataset import Bools, Ints

COUNT = 64


def spread(rows: int, count: int = COUNT) -> Ints:
    """Positions of at most `count` rows, spread evenly.

    Example:
        >>> spread(10, 4).tolist()
        [0, 3, 6, 9]
    """
    return np.unique(np.linspace(0, rows - 1, min(count, rows)).astype(np.int64))


def golden_decisions(catalogue: Catalogue, policy: PolicySpec, features: Floats, eligible: Bools, scores: Floats) -> pl.DataFrame:
    """Rows with the scores that training's own model gives them: a proof of the scorer that serves, which had no part in it.

    Args:
        catalogue: of the candidate.
        policy: the spec over its scores.
        features: (n, F), n ≥ 1.
        eligible: (n, K) candidates that could be shown, at least one a row.
        scores: (n, K) of those; of the others anything.
    """
    built = build_policy(policy, catalogue)
    rows = []
    for values, able, own in zip(features, eligible, scores, strict=True):
        positions = np.flatnonzero(able).astype(np.int64)
        rows.append(
            {
                "features": values.tolist(),
                "candidate_ids": [catalogue.candidates[position].candidate_id for position in positions],
                "scores": own[positions].tolist(),
                "p_in_arm": built.probabilities(own[positions], positions).tolist(),
            }
        )
    return pl.DataFrame(rows, schema=dict(GOLDEN_SCHEMA))
