"""How much more one arm earned than another, by bounds that hold at any look, with less noise where earlier features foretell rewards.

The adjustment is CUPED (Deng, Xu, Kohavi and Walker 2013, "Improving the sensitivity of online controlled experiments by utilizing
pre-experiment data"): what features of entities, known before their first decision in the experiment, foretell of their rewards is taken
off both arms. It changes what is expected of neither, since an arm is drawn without looking at features.
"""

import math
from dataclasses import dataclass

import numpy as np

from decisions.sequential import Bounds, bounds, width
from decisions.value import Estimate, Floats, from_influence

RIDGE = 1e-3
"""Added to the diagonal of the covariates' correlations, so that equal features do no harm."""

ENTITIES_A_COVARIATE = 20
"""Entities an arm must have for each covariate that is adjusted for."""


@dataclass(frozen=True, eq=False)
class Entities:
    """What the entities of one arm got by now; one row an entity.

    Attributes:
        sums: (n,) their rewards, or of whatever else is compared.
        sizes: (n,) their decisions, which the sums are a mean over.
        squares: (n,) sums of the squares of single decisions' rewards; None where sizes are no decisions: information is entities then.
        covariates: (n, k) what was known of them before the arm could have had an effect; None where nothing is known.
    """

    sums: Floats
    sizes: Floats
    squares: Floats | None = None
    covariates: Floats | None = None

    def __len__(self) -> int:
        return self.sums.size

    @property
    def mean(self) -> float:
        """Reward a decision."""
        return float(self.sums.sum() / self.sizes.sum())

    @property
    def rewarded(self) -> int:
        """Entities with any reward."""
        return int(np.count_nonzero(self.sums))

    def times(self, factor: float) -> "Entities":
        """The same with every reward multiplied."""
        return Entities(self.sums * factor, self.sizes, None if self.squares is None else self.squares * factor**2, self.covariates)

    @property
    def influence(self) -> Floats:
        """(n,) what each entity adds to the error of `mean` (the linearised ratio: Deng, Knoblich and Lu 2018, section 3)."""
        total = self.sizes.sum()
        return np.asarray((self.sums - self.sums.sum() / total * self.sizes) / total)

    @property
    def independent_variance(self) -> float:
        """Variance of `mean`, were all decisions independent; NaN without squares."""
        if self.squares is None:
            return math.nan
        total = float(self.sizes.sum())
        return max(float(self.squares.sum()) / total - self.mean**2, 0.0) / total


@dataclass(frozen=True, slots=True)
class Gain:
    """What one arm earned more than another, a decision.

    Attributes:
        plain: as it came, with the interval of a single look.
        adjusted: with covariates' part taken off; None where there are none, or where it does not help.
        information: independent decisions that would say as much as `best`.
    """

    plain: Estimate
    adjusted: Estimate | None
    information: float

    @property
    def best(self) -> Estimate:
        """The estimate with the lower error."""
        return self.plain if self.adjusted is None else self.adjusted

    @property
    def reduction(self) -> float:
        """The share of the variance that the adjustment took away."""
        if self.adjusted is None or self.plain.standard_error == 0.0:
            return 0.0
        return 1.0 - (self.adjusted.standard_error / self.plain.standard_error) ** 2

    def bounds(self, confidence: float) -> Bounds:
        """Two-sided bounds that hold at all looks at once."""
        return bounds(self.best.value, self.best.standard_error, self.information, confidence)

    def error(self, confidence: float) -> float:
        """How far the truth may be away on one side, at all looks at once."""
        if not math.isfinite(self.best.standard_error):
            return math.inf
        return self.best.standard_error * width(self.information, confidence)


def gain(ours: Entities, theirs: Entities, *, confidence: float = 0.95) -> Gain:
    """One arm's earnings a decision minus another's, of disjoint entities.

    Covariates are adjusted for when both arms have them, for enough entities. Their weights θ are least squares of the linearised rewards
    within arms, over both arms together.

    Args:
        ours: the one; at least one entity.
        theirs: the other.
        confidence: of the two-sided intervals of a single look.
    """
    value = ours.mean - theirs.mean
    count = len(ours) + len(theirs)
    decisions = int(ours.sizes.sum()), int(theirs.sizes.sum())
    independent = ours.independent_variance + theirs.independent_variance
    clusters = count if min(len(ours), len(theirs)) > 1 else 1

    def estimated(value: float, first: Floats, second: Floats, inflation: float = 1.0) -> Estimate:
        parts = np.concatenate([first, -second]) * math.sqrt(inflation)
        return from_influence(value, parts, n=sum(decisions), clusters=clusters, effective_n=float(min(decisions)), confidence=confidence)

    first, second = ours.influence, theirs.influence
    plain = estimated(value, first, second)
    adjusted = None
    if (found := _standardised(ours, theirs)) is not None:
        mine, other, shift = found
        covariates = mine.shape[1]
        rewards = np.concatenate([first * len(ours), second * len(theirs)])
        together = np.concatenate([mine, other])
        weights = np.linalg.solve(together.T @ together + RIDGE * count * np.eye(covariates), together.T @ rewards)
        inflation = (count - 2) / (count - 2 - covariates)
        trial = estimated(
            value - float(weights @ shift), first - mine @ weights / len(ours), second - other @ weights / len(theirs), inflation
        )
        adjusted = trial if trial.standard_error < plain.standard_error else None
    best = (adjusted or plain).standard_error
    return Gain(plain, adjusted, _information(sum(decisions), independent, best, count))


def mean_bounds(entities: Entities, *, confidence: float = 0.95) -> Bounds:
    """Bounds of an arm's mean reward a decision that hold at all looks at once."""
    estimate = from_influence(
        entities.mean, entities.influence, n=int(entities.sizes.sum()), clusters=len(entities), effective_n=float(entities.sizes.sum())
    )
    information = _information(estimate.n, entities.independent_variance, estimate.standard_error, len(entities))
    return bounds(estimate.value, estimate.standard_error, information, confidence)


def information_of(entities: Entities) -> float:
    """Independent decisions that would say as much of the mean reward as these entities' decisions do, unadjusted."""
    parts = entities.influence
    count = len(entities)
    error = math.sqrt(float(parts @ parts) * count / (count - 1)) if count > 1 else math.inf
    return _information(int(entities.sizes.sum()), entities.independent_variance, error, count)


def foretold(entities: Entities) -> float:
    """The share of the variance that an adjustment for covariates would take off a gain; from one arm, its entities split in two."""
    if entities.covariates is None:
        return 0.0
    halves = [
        Entities(
            entities.sums[start::2],
            entities.sizes[start::2],
            None if entities.squares is None else entities.squares[start::2],
            entities.covariates[start::2],
        )
        for start in (0, 1)
    ]
    return gain(*halves).reduction if min(len(half) for half in halves) > 1 else 0.0


def _information(decisions: int, independent: float, error: float, entities: int) -> float:
    if not math.isfinite(error):
        return 0.0
    if math.isnan(independent):
        return float(entities)
    # why: where nothing varies, rounding is no variance
    return decisions * independent / error**2 if error > 0.0 and independent > 0.0 else float(decisions)


def _standardised(ours: Entities, theirs: Entities) -> tuple[Floats, Floats, Floats] | None:
    """Covariates of both arms, each centred on its arm and of deviation one, and how far the arms' means lie apart."""
    if ours.covariates is None or theirs.covariates is None:
        return None
    together = np.concatenate([ours.covariates, theirs.covariates])
    deviation = together.std(axis=0)
    use = deviation > 1e-12 * (1.0 + np.abs(together).max(axis=0, initial=0.0))
    if not use.any() or min(len(ours), len(theirs)) < ENTITIES_A_COVARIATE * int(use.sum()):
        return None
    mine, other = (part.covariates[:, use] / deviation[use] for part in (ours, theirs) if part.covariates is not None)
    return mine - mine.mean(axis=0), other - other.mean(axis=0), mine.mean(axis=0) - other.mean(axis=0)
