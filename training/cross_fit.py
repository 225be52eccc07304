"""Cross-fitting: every row judged by models that have not seen its entity."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from decisions.matrix import Floats
from training.dataset import Bools, Ints, TrainingSet
from training.fit import best_single, fit, predict
from training.split import folds

FOLDS = 4


@dataclass(frozen=True, eq=False)
class CrossFit:
    """What models say of entities that they have not seen; n rows, K candidates.

    Attributes:
        q: (n, K) estimated reward of each candidate that rules allow, eligible or not, −inf for the others.
        table: (n, K) the same of the best-single table: equal within a fold.
        fold: (n,) whose model judged each row.
    """

    q: Floats
    table: Floats
    fold: Ints


def cross_fit(training_set: TrainingSet, allowed: Bools, *, seed: int, threads: int, count: int = FOLDS) -> CrossFit:
    """Fit models on all folds of entities but one, and let them judge that one; for each, so many at a time.

    Args:
        training_set: the data.
        allowed: (n, K) candidates to judge.
        seed: of folds and models.
        threads: folds at a time.
        count: of folds.
    """
    learner = training_set.use_case.learner
    fold = folds(training_set.rows["entity_id"], count, seed)
    q = np.full(training_set.eligible.shape, -np.inf)
    table = np.zeros(training_set.eligible.shape)

    def judge_fold(number: int) -> None:
        out = fold == number
        model = fit(training_set, ~out, learner, seed=seed)
        q[out] = predict(model, training_set.features[out], allowed[out])
        table[out] = best_single(training_set, ~out, learner, seed=seed)

    with ThreadPoolExecutor(threads) as workers:
        list(workers.map(judge_fold, np.unique(fold)))
    return CrossFit(q, table, fold)
