"""Which interval a value gets, and why: the analytic one, the bootstrap's, or one that holds for any bounded rewards."""

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from decisions.bootstrap import bootstrap
from decisions.estimators import Terms
from decisions.value import Clusters, Estimate, Floats, cluster_sums

Method: TypeAlias = Literal["analytic", "bootstrap", "bernstein"]

MOST_OF_ONE = 0.9
"""Share of a value's squared error that one entity may have before the analytic interval is not believed: from one, nothing can be told of
how large others may be."""

FEWEST = 20
"""Entities below which the analytic interval is not believed either."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the interval that was chosen for it.

    Attributes:
        estimate: with the ends by that method.
        method: see the functions of this module.
        reason: why that one, in words and numbers.
    """

    estimate: Estimate
    method: Method
    reason: str


def interval(
    terms: Terms,
    clusters: Clusters | None,
    *,
    confidence: float = 0.95,
    method: Method | None = None,
    bounds: tuple[float, float] | None = None,
    seed: int = 0,
) -> Interval:
    """The interval of an estimator on a log.

    Analytic where the error is made of several entities' parts: Student's by entity, corrected for skewness and for how few make the error;
    it held its level in simulations down to a few hundred entities with rare purchases. Empirical Bernstein where one entity has more than
    `MOST_OF_ONE` of the squared error, or there are fewer than `FEWEST`. The bootstrap only if it is asked for: its percentiles are not
    corrected for either.

    Args:
        terms: of an estimator.
        clusters: (n,) the entities; None where each row is one of its own.
        confidence: of the two-sided interval.
        method: this one, whatever the data are like.
        bounds: between which a row's term must lie, for Bernstein; by default the least and the greatest seen.
        seed: of the bootstrap.

    Raises:
        DataRefused: see `decisions.value.ips`.
    """
    made = terms.estimate(clusters, confidence=confidence)
    largest = largest_share(terms, clusters)
    chosen: Method = method or ("bernstein" if largest > MOST_OF_ONE or made.clusters < FEWEST else "analytic")
    told = f"{made.clusters} entities, the largest with {largest:.1%} of the squared error"
    match chosen:
        case "analytic":
            return Interval(made, chosen, f"analytic, clustered by entity, corrected for skewness ({told})")
        case "bootstrap":
            drawn = bootstrap(terms.terms, terms.sizes, clusters, seed=seed, confidence=confidence)
            kind = "exact" if drawn.exact else f"{drawn.groups} groups"
            ends = replace(made, low=drawn.low, high=drawn.high, standard_error=drawn.standard_error)
            return Interval(ends, chosen, f"percentiles of {drawn.resamples:,} resamples of entities ({kind}; {told})")
        case "bernstein":
            half = bernstein_half(terms, clusters, confidence=confidence, bounds=bounds)
            ends = replace(made, low=made.value - half, high=made.value + half)
            bounded = "bounds that were given" if bounds else "the range seen, so it is a rule of thumb and no guarantee"
            return Interval(ends, chosen, f"empirical Bernstein with {bounded}, since few entities make the error ({told})")


def largest_share(terms: Terms, clusters: Clusters | None) -> float:
    """Share of the squared error that is due to one entity: 1 / entities at least, 1 at most."""
    pull = _pull(terms, clusters)[0]
    squares = pull * pull
    total = float(squares.sum())
    return float(squares.max()) / total if total > 0.0 else 1.0 / len(squares)


def bernstein_half(
    terms: Terms, clusters: Clusters | None, *, confidence: float = 0.95, bounds: tuple[float, float] | None = None
) -> float:
    """Half the width of the empirical Bernstein interval, `√(2·V·ln(4/δ)/G) + 7·R·ln(4/δ) / (3·(G−1))` (Maurer and Pontil 2009, theorem 4).

    G entities with variance V and range R of what each adds to the value, δ the error on both sides together. Of rows that each are an
    entity of their own it holds for any rewards within the bounds, at any n. Where entities have several rows, or for a ratio, what an
    entity adds is that of the linearised value, and R the range of a row times the most rows of an entity over their mean number.
    """
    pull, weights = _pull(terms, clusters)
    count = len(pull)
    if count < 2:
        return math.inf
    mean_size = float(weights.mean())
    parts = pull / mean_size
    if bounds is None:
        width = float(parts.max() - parts.min())
    else:
        width = (bounds[1] - bounds[0]) * float(weights.max() if terms.sizes is None else 1.0) / mean_size
    spread = math.log(4.0 / (1.0 - confidence))
    return math.sqrt(2.0 * float(parts.var(ddof=1)) * spread / count) + 7.0 * width * spread / (3.0 * (count - 1))


def _pull(terms: Terms, clusters: Clusters | None) -> tuple[Floats, Floats]:
    sums, weights = cluster_sums(terms.terms, terms.sizes, clusters)
    total = float(weights.sum())
    centre = float(sums.sum()) / total if total > 0.0 else 0.0
    return sums - centre * weights, weights
