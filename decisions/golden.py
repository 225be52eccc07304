"""Golden decisions held against a release that was made ready: what it scores or shows otherwise than training did."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from decisions.decide import ReleaseRuntime


def differences(golden: pl.DataFrame, runtime: ReleaseRuntime) -> Iterator[str]:
    """Each golden decision that a release does not give to the last bit, in words with the first value that differs.

    Args:
        golden: `features`, `candidate_ids` of the runtime's catalogue, and the `scores` and `p_in_arm` that training gave them, a row each.
        runtime: the release, as a replica would serve it.
    """
    for number, row in enumerate(golden.iter_rows(named=True)):
        if len(row["features"]) != runtime.feature_count:
            yield f"golden decision {number} has {len(row['features'])} features, not {runtime.feature_count}"
            continue
        positions = np.array([runtime.catalogue.index[name] for name in row["candidate_ids"]], dtype=np.int64)
        trained = np.array(row["scores"], dtype=np.float64)
        scores = runtime.scorer.scores(np.array(row["features"], dtype=np.float64), positions)
        if scores.tobytes() != trained.tobytes():
            place = int(np.flatnonzero(scores.view(np.int64) != trained.view(np.int64))[0])
            served, known = scores.tolist()[place], row["scores"][place]
            yield f"golden decision {number}: {row['candidate_ids'][place]} is scored {served!r}, in training {known!r}"
        elif runtime.policy.probabilities(scores, positions).tobytes() != np.array(row["p_in_arm"], dtype=np.float64).tobytes():
            yield f"golden decision {number} gets other probabilities than in training"
