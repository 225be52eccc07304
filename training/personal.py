"""Whether different people want different things: the learned policy against the best single candidate."""

from dataclasses import dataclass

import numpy as np

from decisions.matrix import Floats
from decisions.value import Estimate, estimate, ratio
from training.cross_fit import CrossFit
from training.dataset import Bools, Ints, TrainingSet
from training.terms import Terms, paired

NOT_AGAINST = 0.2
"""Least confidence in the paired gain with which the calibrated one is believed."""


@dataclass(frozen=True, slots=True)
class Personal:
    """Whether different people want different things: the learned policy against the best single candidate.

    Attributes:
        paired: doubly robust gain, from what was shown to whom the two policies would treat differently.
        calibrated: gain that the model expects, times how much of its differences between people proved true; see `_calibrated`.
        slope: that share: 1 if the model's differences are as large as they say, 0 if they are noise.
    """

    paired: Estimate
    calibrated: Estimate
    slope: Estimate

    def confidence(self) -> float:
        """That personalising earns more, by the calibrated gain; 0 where the paired gain speaks clearly against it."""
        return self.calibrated.confidence_above(0.0) if self.paired.confidence_above(0.0) >= NOT_AGAINST else 0.0


def compare(training_set: TrainingSet, fitted: CrossFit, learned: Terms, single: Terms, difference: Floats) -> Personal:
    """Compare the two policies.

    Args:
        training_set: the data.
        fitted: what models say of entities that they have not seen.
        learned: the learned policy on the randomised rows; `single` the best single candidate.
        single: see there.
        difference: (n, K) of all rows, by how much more probable the learned policy makes each candidate.
    """
    use = training_set.randomised
    gain = paired(training_set, learned, single, difference, use)
    slope, common, personal = _calibrated(training_set, fitted, difference[use], use)
    expected = estimate(
        common + slope.value * personal,
        abs(personal) * slope.standard_error,
        n=slope.n,
        clusters=slope.clusters,
        effective_n=slope.effective_n,
        confidence=0.95,
    )
    return Personal(gain, expected, slope)


def _calibrated(training_set: TrainingSet, fitted: CrossFit, difference: Floats, use: Bools) -> tuple[Estimate, float, float]:
    """How much of the model's differences between people is true, and the two parts of the gain that it expects of personalising.

    The model's scores are split into what a candidate adds for everybody and what it adds for this entity beyond that. The latter, centred
    under the logging probabilities, is regressed on rewards: the best linear predictor of Chernozhukov, Demirer, Duflo and Fernández-Val
    (2018, section 2), for many treatments. Every row speaks, not only those where a policy's choice happened to be shown.
    """
    eligible, shares, action = training_set.eligible[use], training_set.p_in_arm[use], training_set.action[use]
    q = np.where(eligible, fitted.q[use], 0.0)
    usual = (shares * q).sum(axis=1, keepdims=True)
    weight = 1.0 / np.maximum(usual[:, 0], 0.1 * float(np.abs(usual).mean()) + 1e-300)
    above = np.where(eligible, q - usual, 0.0)
    common = _common(above, eligible, fitted.fold[use])
    own = np.where(eligible, above - common, 0.0)
    own -= np.where(eligible, (shares * own).sum(axis=1, keepdims=True), 0.0)
    common -= (shares * common).sum(axis=1, keepdims=True)
    row = np.arange(len(action))
    known = action >= 0
    x = np.where(known, own[row, action], 0.0)
    rest = training_set.reward[use] - usual[:, 0] - np.where(known, common[row, action], 0.0)
    scale = float((weight * x * x).sum())
    entity = training_set.entity[use]
    if scale <= 0.0:
        flat = estimate(0.0, 0.0, n=len(x), clusters=len(np.unique(entity)), effective_n=float(len(x)), confidence=0.95)
        return flat, 0.0, 0.0
    slope = ratio(weight * x * rest, weight * x * x, entity)
    return slope, float((difference * common).sum(axis=1).mean()), float((difference * own).sum(axis=1).mean())


def _common(above: Floats, eligible: Bools, fold: Ints) -> Floats:
    result = np.zeros_like(above)
    for number in np.unique(fold):
        rows = fold == number
        count = np.maximum(eligible[rows].sum(axis=0), 1)
        result[rows] = np.where(eligible[rows], above[rows].sum(axis=0) / count, 0.0)
    return result
