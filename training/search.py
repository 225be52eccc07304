"""Which learner foretells rewards best: the one that was declared, the linear one, and so many more with parameters drawn at random."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from decisions.matrix import Floats
from decisions.value import Estimate, ratio
from training.dataset import Bools, Ints, TrainingSet
from training.fit import fit, predict
from training.split import folds
from use_cases.definition import Learner

HELD_OUT = 4
"""One entity in so many is held out to judge by."""

CLEARLY = 1.0
"""Standard errors by which another learner must foretell better than the declared one to be taken instead."""

_LEAST = 0.01

_LEAVES = (4, 7, 15, 31)
_RATES = ((0.03, 1.5), (0.05, 1.0), (0.1, 0.5))
_HESSIANS = (10.0, 30.0, 100.0, 300.0)
_FRACTIONS = (0.3, 0.5, 0.8)


@dataclass(frozen=True, slots=True)
class Trial:
    """A learner, and how well it foretold the rewards of entities it had not seen.

    Attributes:
        loss: deviance a decision, over that of the mean: below 1 it knows something.
        better: by how much less it is than the declared learner's, with its interval.
        taken: whether this is the one.
    """

    learner: Learner
    loss: float
    better: Estimate
    taken: bool = False


def search(training_set: TrainingSet, *, seed: int, threads: int) -> tuple[Learner, tuple[Trial, ...]]:
    """Try learners on one split by entity, and take the best; the declared one unless another is clearly better.

    That is the rule of one standard error (Breiman, Friedman, Olshen and Stone 1984, section 3.4.3), the declared learner being the simple
    one. The search is random (Bergstra and Bengio 2012, "Random search for hyper-parameter optimization").

    Args:
        training_set: the data.
        seed: of the split and of what is tried.
        threads: learners tried side by side.

    Returns:
        The learner, and all trials, the declared one first.
    """
    declared = training_set.use_case.learner
    learners = [declared, replace(declared, kind="linear")] if declared.kind == "boosted" else [declared]
    learners += _drawn(declared, np.random.default_rng(seed))
    held_out = folds(training_set.rows["entity_id"], HELD_OUT, seed) == 0
    known = training_set.action >= 0
    judged = np.flatnonzero(held_out & known)
    if not (len(judged) and (known & ~held_out).any()):
        return declared, ()

    def judge(learner: Learner) -> Floats:
        return _losses(training_set, learner, ~held_out, judged, seed)

    with ThreadPoolExecutor(threads) as workers:
        losses = list(workers.map(judge, learners))
    usual = float(_deviance(training_set.reward[judged], np.full(len(judged), training_set.reward[~held_out & known].mean())).mean())
    entity = training_set.entity[judged]
    trials = [
        Trial(learner, float(loss.mean()) / usual if usual > 0.0 else 1.0, ratio(losses[0] - loss, None, entity))
        for learner, loss in zip(learners, losses, strict=True)
    ]
    best = min(range(len(trials)), key=lambda number: trials[number].loss)
    if not trials[best].better.value > CLEARLY * trials[best].better.standard_error:
        best = 0
    trials[best] = replace(trials[best], taken=True)
    return learners[best], tuple(trials)


def best_words(trials: tuple[Trial, ...]) -> str:
    """What was tried and taken, in words."""
    if not trials:
        return "too few entities to compare learners; the declared one is taken"
    taken = next(trial for trial in trials if trial.taken)
    lowest = min(trials, key=lambda trial: trial.loss)
    told = f"{len(trials)} learners tried; {taken.learner.kind} taken, which leaves {taken.loss:.1%} of the deviance"
    return told if lowest is taken else f"{told} ({lowest.learner.kind} left {lowest.loss:.1%}, which is not clearly less)"


def _drawn(declared: Learner, chance: np.random.Generator) -> list[Learner]:
    found = []
    for _ in range(declared.trials):
        rate, rounds = _RATES[chance.integers(len(_RATES))][0], _RATES[chance.integers(len(_RATES))][1]
        params = {
            **declared.params,
            "num_leaves": int(chance.choice(_LEAVES)),
            "learning_rate": rate,
            "min_sum_hessian_in_leaf": float(chance.choice(_HESSIANS)),
            "feature_fraction_bynode": float(chance.choice(_FRACTIONS)),
        }
        found.append(replace(declared, kind="boosted", rounds=max(10, round(declared.rounds * rounds)), params=params))
    return found


def _losses(training_set: TrainingSet, learner: Learner, rows: Bools, judged: Ints, seed: int) -> Floats:
    model = fit(training_set, rows, learner, seed=seed)
    shown = np.zeros((len(judged), training_set.eligible.shape[1]), dtype=np.bool_)
    action = training_set.action[judged]
    shown[np.arange(len(judged)), action] = True
    scores = predict(model, training_set.features[judged], shown)[np.arange(len(judged)), action]
    return _deviance(training_set.reward[judged], scores)


def _deviance(rewards: Floats, scores: Floats) -> Floats:
    """(n,) Poisson deviance `2·(r·ln(r/s) − r + s)`, or the squared error where refunds weigh.

    Both are least at the mean, whatever rewards are distributed like (Gneiting 2011, "Making and evaluating point forecasts").
    """
    if rewards.min(initial=0.0) < 0.0:
        return np.asarray((rewards - scores) ** 2)
    least = _LEAST * max(float(rewards.mean()), 1e-12)
    bounded = np.maximum(scores, least)
    part = np.where(rewards > 0.0, rewards * np.log(np.maximum(rewards, 1e-300) / bounded), 0.0)
    return np.asarray(2.0 * (part - rewards + bounded))
