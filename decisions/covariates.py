"""What was known of entities before an experiment could have had an effect on them: the features of their first decision in it."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from decisions.value import Floats


def first_features(decisions: pl.DataFrame, names: Mapping[str, Sequence[str]]) -> tuple[pl.DataFrame, Floats] | None:
    """Each entity's features at its first decision among these.

    A feature of the first decision saw only what came before it, so it is the same whatever arm the entity fell into, as long as these are
    all its decisions since the arms were drawn. Later features are not: they see what the arm has done. Amounts and counts are taken as
    `sign(x)·ln(1 + |x|)`, since a few large ones would rule the rest; what is absent is the mean of what is there.

    Args:
        decisions: all decisions since the arms were drawn, with `entity_id`, `decided_at`, `decision_id`, `feature_set` and `features`.
        names: of the features of each feature set, by its digest, in order.

    Returns:
        The entities (`entity_id`, in their order) and (n, k) their features, of those that all their feature sets share; None where there
        are none, or where a feature set is not known: a feature that only one arm's release has would be mistaken for what the arm does.
    """
    if decisions.is_empty():
        return None
    first = decisions.select("entity_id", "decided_at", "decision_id", "feature_set", "features").sort("decided_at", "decision_id")
    first = first.unique("entity_id", keep="first", maintain_order=True).sort("entity_id")
    digests = first["feature_set"].unique().sort().to_list()
    if any(digest not in names for digest in digests):
        return None
    common = [name for name in names[digests[0]] if all(name in names[digest] for digest in digests)]
    matrix = np.full((first.height, len(common)), np.nan)
    for digest in digests:
        own = (first["feature_set"] == digest).to_numpy()
        listed = first.filter(pl.Series(own))["features"]
        width = len(names[digest])
        if not (listed.list.len() == width).all():
            return None
        places = [list(names[digest]).index(name) for name in common]
        matrix[own] = listed.explode().to_numpy().reshape(-1, width)[:, places]
    matrix = np.sign(matrix) * np.log1p(np.abs(matrix))
    there = np.isfinite(matrix)
    count = there.sum(axis=0)
    means = np.divide(np.where(there, matrix, 0.0).sum(axis=0), count, out=np.zeros(len(common)), where=count > 0)
    return (first.select("entity_id"), np.where(there, matrix, means)) if common else None
