"""Policies that explore by what scores say: softmax, inverse-gap weighting, and a share for candidates that no training has seen.

They use additions, multiplications, divisions and running sums alone, in one fixed order: so a decision, a matrix of many and every
machine give the same bits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import factorial, log
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from decisions.matrix import Floats, Positions

Bools: TypeAlias = NDArray[np.bool_]

_LEAST_EXPONENT = -600.0


class _Policy(Protocol):
    def probabilities(self, scores: Floats, positions: Positions) -> Floats: ...


def first_best(scores: Floats) -> int:
    """The place of the best of a few scores, the first of equals. NumPy would give up Python's lock for it, to wait until it has it again.

    Example:
        >>> first_best(np.array([1.0, 3.0, 3.0]))
        1
    """
    listed: list[float] = scores.tolist()
    return listed.index(max(listed))


@dataclass(frozen=True, slots=True)
class Softmax:
    """`exp(score / temperature)` over its sum for all eligible candidates: Boltzmann exploration (Sutton and Barto 2018, section 2.8).

    No candidate gets less than e⁻⁶⁰⁰ times what the best gets, so none gets nothing.

    Attributes:
        temperature: in the scores' unit.
        epsilon: share spread evenly over all eligible candidates, so that each gets at least `epsilon / k` of k.

    Example:
        >>> Softmax(1.0).probabilities(np.array([0.0, np.log(3.0)]), np.array([0, 1])).round(12).tolist()
        [0.25, 0.75]
    """

    temperature: float
    epsilon: float = 0.0

    def probabilities(self, scores: Floats, positions: Positions) -> Floats:
        """See `Policy.probabilities`."""
        weights = _exponential((scores - scores.max()) / self.temperature)
        shares: Floats = weights / weights.cumsum()[-1]
        return _spread(shares, len(positions), self.epsilon)

    def matrix(self, scores: Floats, eligible: Bools) -> Floats:
        """See `policies.probability_matrix`."""
        top = np.where(eligible, scores, -np.inf).max(axis=1, keepdims=True)
        weights = np.where(eligible, _exponential((np.where(eligible, scores, top) - top) / self.temperature), 0.0)
        shares = weights / weights.cumsum(axis=1)[:, -1:]
        return np.where(eligible, _spread(shares, eligible.sum(axis=1, keepdims=True), self.epsilon), 0.0)


@dataclass(frozen=True, slots=True)
class InverseGap:
    """Inverse-gap weighting: `1 / (k + gamma · (best score − score))` for each of k eligible candidates, and the rest for the best one.

    Foster and Rakhlin 2020, "Beyond UCB: Optimal and Efficient Contextual Bandits with Regression Oracles", algorithm 1 (SquareCB), of
    rewards instead of losses. What costs much to try is tried rarely, what may be as good is tried nearly as often as the best. Ties go to
    the earlier candidate.

    Attributes:
        gamma: per unit of score; 0 is uniform, a large one nearly greedy.
        epsilon: as for `Softmax`.

    Example:
        >>> InverseGap(2.0).probabilities(np.array([1.0, 4.0]), np.array([0, 1])).tolist()
        [0.125, 0.875]
    """

    gamma: float
    epsilon: float = 0.0

    def probabilities(self, scores: Floats, positions: Positions) -> Floats:
        """See `Policy.probabilities`."""
        count = len(positions)
        best = first_best(scores)
        shares: Floats = 1.0 / (count + self.gamma * (scores[best] - scores))
        shares[best] = 0.0
        shares[best] = 1.0 - shares.cumsum()[-1]
        return _spread(shares, count, self.epsilon)

    def matrix(self, scores: Floats, eligible: Bools) -> Floats:
        """See `policies.probability_matrix`."""
        each, counts = np.arange(len(scores)), eligible.sum(axis=1, keepdims=True)
        best = np.where(eligible, scores, -np.inf).argmax(axis=1)
        top = scores[each, best][:, None]
        shares = np.where(eligible, 1.0 / (counts + self.gamma * (top - np.where(eligible, scores, top))), 0.0)
        shares[each, best] = 0.0
        shares[each, best] = 1.0 - shares.cumsum(axis=1)[:, -1]
        return np.where(eligible, _spread(shares, counts, self.epsilon), 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class NewExplored:
    """Another policy for candidates that training has seen; each new one gets `share / k` of k eligible candidates, whatever its score.

    What a model says of a candidate that it has no rows of is a guess, so that a new one is never the best by it. Where all eligible
    candidates are new they are alike.

    Attributes:
        known: the policy of what the new ones leave.
        new: (candidates,) which of the catalogue's are new.
        share: of an even share, in (0, 1].
    """

    known: _Policy
    new: Bools
    share: float

    def probabilities(self, scores: Floats, positions: Positions) -> Floats:
        """See `Policy.probabilities`."""
        new = self.new[positions]
        count, fresh = len(positions), int(np.count_nonzero(new))
        if not fresh:
            return self.known.probabilities(scores, positions)
        if fresh == count:
            return np.full(count, 1.0 / count)
        shares = np.full(count, self.share / count)
        known = ~new
        shares[known] = self.known.probabilities(scores[known], positions[known]) * (1.0 - self.share * fresh / count)
        return shares

    def matrix(self, scores: Floats, eligible: Bools, inner: Callable[[_Policy, Floats, Bools], Floats]) -> Floats:
        """See `policies.probability_matrix`, which is `inner`."""
        counts, known = eligible.sum(axis=1, keepdims=True), eligible & ~self.new
        fresh = counts - known.sum(axis=1, keepdims=True)
        mixed = known.any(axis=1)
        shares = np.where(eligible, np.where(fresh == counts, 1.0, self.share) / counts, 0.0)
        old = inner(self.known, scores[mixed], known[mixed]) * (1.0 - self.share * fresh[mixed] / counts[mixed])
        shares[mixed] = np.where(known[mixed], old, shares[mixed])
        return shares


def _spread(shares: Floats, counts: "int | NDArray[np.int64]", epsilon: float) -> Floats:
    return shares * (1.0 - epsilon) + epsilon / counts if epsilon else shares


def _exponential(exponents: Floats) -> Floats:
    """eˣ for x ≤ 0, to 2 units in the last place: a power of two and Taylor's series, since libraries differ in the last bit of theirs."""
    bounded = np.maximum(exponents, _LEAST_EXPONENT)
    powers = np.rint(bounded * _PER_DOUBLING)
    rest = (bounded - powers * _DOUBLING_HIGH) - powers * _DOUBLING_LOW
    series = np.full(rest.shape, _SERIES[0])
    for coefficient in _SERIES[1:]:
        series *= rest
        series += coefficient
    return np.asarray(np.ldexp(series, powers.astype(np.int32)))


_PER_DOUBLING = 1.0 / log(2.0)
# why: ln 2 in two parts, the first of so few digits that its product with a power is exact
_DOUBLING_HIGH = float.fromhex("0x1.62e42feep-1")
_DOUBLING_LOW = 1.9082149292705877e-10
_SERIES = tuple(1.0 / factorial(power) for power in range(13, -1, -1))
