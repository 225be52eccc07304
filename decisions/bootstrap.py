"""The bootstrap from sufficient statistics: thousands of resamples of a million decisions in a fraction of a second.

A resample draws as many entities as there are, with replacement. What a resample's value needs of them is two sums, of terms and of sizes.
Entities are put in order of how far they pull the value, and grouped: those that pull most alone, the others with their neighbours. How
many are drawn of each group is multinomial, exactly; given that, the sums over a group have a known mean and covariance, and since groups
are independent, the covariances add up. So one product of the matrix of counts with five numbers a group gives all resamples.
"""

from dataclasses import dataclass

import numpy as np

from contracts.errors import DataRefused
from decisions.value import Clusters, Floats, cluster_sums

GROUPS = 128
"""Groups of entities at most."""

_ALONE = 24


@dataclass(frozen=True, slots=True)
class Resampled:
    """What resamples say of a value.

    Attributes:
        low: lower end of the two-sided percentile interval; `high` the upper.
        standard_error: standard deviation of the resamples' values.
        resamples: how many.
        groups: groups that entities were put into.
        exact: whether each group is of like entities, so that resamples have exactly the bootstrap's distribution. Else what a group adds
            is normal given how many were drawn of it: mean and variance of the sums are the bootstrap's, exactly, and so is the third
            moment but for the share `third_lost`.
        third_lost: share of the entities' third absolute moment that lies within groups, which the normal does not see.
    """

    low: float
    high: float
    standard_error: float
    resamples: int
    groups: int
    exact: bool
    third_lost: float


def bootstrap(
    terms: Floats,
    sizes: Floats | None,
    clusters: Clusters | None,
    *,
    seed: int,
    confidence: float = 0.95,
    resamples: int = 10_000,
    groups: int = GROUPS,
) -> Resampled:
    """Percentile interval of `Σ terms / Σ sizes` by resampling whole entities (Efron 1979; Davison and Hinkley 1997, section 3.8).

    Args:
        terms: (n,).
        sizes: (n,), None for ones.
        clusters: (n,) the entities; None where each row is one of its own.
        seed: of the resamples: the same seed gives the same interval.
        confidence: of the interval.
        resamples: how many.
        groups: groups of entities at most; of as many entities or fewer, each is alone and the result exact.

    Raises:
        DataRefused: there are fewer than two entities, or sizes are not positive in sum.
    """
    sums, weights = cluster_sums(terms, sizes, clusters)
    if len(sums) < 2 or weights.sum() <= 0.0:
        raise DataRefused("decisions for off-policy value", [f"{len(sums)} entities with a weight; two are needed to resample them"])
    centre = float(sums.sum()) / float(weights.sum())
    pull = sums - centre * weights
    order = np.argsort(pull)
    sums, weights, pull = sums[order], weights[order], pull[order]
    starts = _starts(sums, weights, groups)
    counts = np.diff(np.append(starts, len(order)))
    means = np.stack([np.add.reduceat(column, starts) / counts for column in (sums, weights)], axis=1)
    group = np.repeat(np.arange(len(starts)), counts)
    off_sum, off_weight = sums - means[group, 0], weights - means[group, 1]
    spread = np.stack(
        [np.add.reduceat(column, starts) / counts for column in (off_sum * off_sum, off_sum * off_weight, off_weight * off_weight)], axis=1
    )
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(order), counts / len(order), size=resamples).astype(np.float64)
    totals = drawn @ np.hstack((means, spread))
    noise_sum, noise_weight = _noise(totals[:, 2], totals[:, 3], totals[:, 4], generator)
    values = (totals[:, 0] + noise_sum) / np.maximum(totals[:, 1] + noise_weight, 1e-300)
    low, high = np.quantile(values, [0.5 - confidence / 2.0, 0.5 + confidence / 2.0])
    within = off_sum - centre * off_weight
    scale = float(np.abs(pull).max())
    lost = float((np.abs(within) ** 3).sum() / (np.abs(pull) ** 3).sum()) if scale > 0.0 else 0.0
    return Resampled(
        float(low),
        float(high),
        float(values.std(ddof=1)),
        resamples,
        len(starts),
        exact=bool(np.abs(within).max() <= 1e-12 * scale),
        third_lost=lost,
    )


def _starts(sums: Floats, weights: Floats, groups: int) -> np.ndarray:
    """Where groups start among ordered entities: each kind by itself if there are few, else growing from the ends to the middle."""
    count = len(sums)
    kinds = np.flatnonzero((np.diff(sums) != 0.0) | (np.diff(weights) != 0.0)) + 1
    if len(kinds) < groups:
        return np.append(0, kinds)
    alone = min(_ALONE, groups // 4)
    half = groups // 2
    inner = np.unique(np.round(np.geomspace(alone, count / 2.0, half - alone + 1)).astype(np.int64))
    left = np.concatenate((np.arange(alone), inner[:-1]))
    right = count - np.concatenate((np.arange(1, alone + 1), inner[1:]))
    return np.unique(np.concatenate((left, right)))


def _noise(sums: Floats, both: Floats, weights: Floats, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Normal pairs with these variances and covariances."""
    first = generator.standard_normal(len(sums))
    second = generator.standard_normal(len(sums))
    error = np.sqrt(np.maximum(sums, 0.0))
    slope = np.divide(both, error, out=np.zeros_like(both), where=error > 0.0)
    return error * first, slope * first + np.sqrt(np.maximum(weights - slope * slope, 0.0)) * second
