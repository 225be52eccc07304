"""Golden decisions of a candidate: what its scorer and policy make of real rows, for every replica to reproduce."""

import numpy as np
import polars as pl

from decisions.decide import ReleaseRuntime
from decisions.matrix import Floats
from releases.golden import GOLDEN_SCHEMA
from training.dataset import Bools

COUNT = 64


def golden_decisions(runtime: ReleaseRuntime, features: Floats, eligible: Bools, count: int = COUNT) -> pl.DataFrame:
    """Decide some rows, spread evenly over those given.

    Args:
        runtime: the candidate, made ready to decide as a replica would.
        features: (n, F), n ≥ 1.
        eligible: (n, K) candidates that could be shown, at least one a row.
        count: rows to take at most.
    """
    rows = []
    for row in np.unique(np.linspace(0, len(features) - 1, min(count, len(features))).astype(np.int64)):
        positions = np.flatnonzero(eligible[row]).astype(np.int64)
        values = np.ascontiguousarray(features[row])
        scores = runtime.scorer.scores(values, positions)
        rows.append(
            {
                "features": values.tolist(),
                "candidate_ids": [runtime.catalogue.candidates[position].candidate_id for position in positions],
                "scores": scores.tolist(),
                "p_in_arm": runtime.policy.probabilities(scores, positions).tolist(),
            }
        )
    return pl.DataFrame(rows, schema=dict(GOLDEN_SCHEMA))
