"""Policies: from candidates' scores to the exact probability of each, without any randomness of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.catalogue import Catalogue
from contracts.errors import DefinitionError
from decisions.matrix import Floats, Positions


class PolicySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A policy as it is written down: in a use case, and in a bundle's `policy.json`.

    Attributes:
        kind: `uniform` over the eligible; `greedy`, the best score; `epsilon_greedy`, the best score but for a share `epsilon` spread
            evenly over all eligible; `ranked`, a rule of the business: the first eligible candidate of `order`, whatever the scores.
        epsilon: for `epsilon_greedy`, and for `ranked` where the rule shall explore.
        order: candidate ids for `ranked`, best first; the rest follow in catalogue order.

    Raises:
        DefinitionError: `epsilon` lies outside [0, 1], or is given to a kind that does not explore, or `order` to one that has none.

    Example:
        >>> PolicySpec("epsilon_greedy", 0.1).epsilon
        0.1
    """

    kind: Literal["uniform", "greedy", "epsilon_greedy", "ranked"]
    epsilon: float = 0.0
    order: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"policy {self.kind}"
        if not 0.0 <= self.epsilon <= 1.0:
            raise DefinitionError(where, f"epsilon is {self.epsilon}", "Give a number from 0 to 1.")
        if self.epsilon and self.kind not in ("epsilon_greedy", "ranked"):
            raise DefinitionError(where, f"epsilon is {self.epsilon}", "Leave it out, or take the kind epsilon_greedy.")
        if bool(self.order) != (self.kind == "ranked"):
            raise DefinitionError(where, f"order is {self.order}", "Give the kind ranked an order, and no other kind.")

    @property
    def randomised(self) -> bool:
        """Whether every eligible candidate has a positive probability, so that its log can value other policies."""
        return self.kind == "uniform" or self.epsilon > 0.0

    def least_propensity(self, eligible: int) -> float:
        """The smallest probability that any of so many eligible candidates can get.

        Example:
            >>> PolicySpec("epsilon_greedy", 0.1).least_propensity(20)
            0.005
        """
        if eligible == 1 or self.kind == "uniform":
            return 1.0 / eligible
        return self.epsilon / eligible


class Policy(Protocol):
    """Maps scores to probabilities. Deterministic: the same scores give the same bits."""

    def probabilities(self, scores: Floats, positions: Positions) -> Floats:
        """The probability of each eligible candidate.

        Args:
            scores: (k,) of the eligible candidates, in catalogue order, k ≥ 1.
            positions: (k,) their positions in the catalogue, ascending.

        Returns:
            (k,) numbers ≥ 0 that sum to one within 1e-12.
        """
        ...


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every eligible candidate alike."""

    def probabilities(self, scores: Floats, positions: Positions) -> Floats:
        """See `Policy.probabilities`."""
        count = len(positions)
        return np.full(count, 1.0 / count)


@dataclass(frozen=True, slots=True)
class EpsilonGreedy:
    """The best score with probability 1 − ε; with ε, one of all eligible candidates, the best included. Ties go to the earlier candidate.

    Example:
        >>> EpsilonGreedy(0.5).probabilities(np.array([1.0, 3.0]), np.array([0, 1])).tolist()
        [0.25, 0.75]
    """

    epsilon: float

    def probabilities(self, scores: Floats, positions: Positions) -> Floats:
        """See `Policy.probabilities`."""
        return _spread(int(scores.argmax()), len(positions), self.epsilon)


@dataclass(frozen=True, slots=True)
class Greedy:
    """The best score, always. Ties go to the earlier candidate."""

    def probabilities(self, scores: Floats, positions: Positions) -> Floats:
        """See `Policy.probabilities`."""
        return _spread(int(scores.argmax()), len(positions), 0.0)


@dataclass(frozen=True, slots=True)
class Ranked:
    """The first eligible candidate of a fixed order, such as most bought first.

    Attributes:
        ranks: rank of every candidate of the catalogue, 0 the best.
        epsilon: share spread evenly over all eligible candidates.
    """

    ranks: tuple[int, ...]
    epsilon: float = 0.0

    def probabilities(self, scores: Floats, positions: Positions) -> Floats:
        """See `Policy.probabilities`."""
        ranks = self.ranks
        eligible = positions.tolist()
        best = min(range(len(eligible)), key=lambda place: ranks[eligible[place]])
        return _spread(best, len(eligible), self.epsilon)


def build_policy(spec: PolicySpec, catalogue: Catalogue) -> Policy:
    """The policy that a spec describes, over a catalogue.

    Raises:
        DefinitionError: the order of `ranked` names a candidate twice, or one that the catalogue lacks.
    """
    match spec.kind:
        case "uniform":
            return Uniform()
        case "greedy":
            return Greedy()
        case "epsilon_greedy":
            return EpsilonGreedy(spec.epsilon)
        case "ranked":
            return Ranked(_ranks(spec.order, catalogue), spec.epsilon)


def probability_matrix(policy: Policy, scores: Floats, eligible: NDArray[np.bool_]) -> Floats:
    """`Policy.probabilities` of many decisions at once, to the same bits: for estimates over a log.

    Args:
        policy: any; those that `build_policy` gives are fast.
        scores: (n, K) of all candidates in catalogue order; what stands where one is not eligible does not matter.
        eligible: (n, K), at least one a row.

    Returns:
        (n, K) probabilities, 0 where not eligible.

    Example:
        >>> scores, eligible = np.array([[1.0, 3.0], [1.0, 3.0]]), np.array([[True, True], [True, False]])
        >>> probability_matrix(EpsilonGreedy(0.5), scores, eligible).tolist()
        [[0.25, 0.75], [1.0, 0.0]]
    """
    match policy:
        case Uniform():
            epsilon, keys = 1.0, scores
        case EpsilonGreedy(epsilon=share):
            epsilon, keys = share, scores
        case Ranked(ranks=ranks, epsilon=share):
            epsilon, keys = share, np.broadcast_to(-np.array(ranks, dtype=np.float64), scores.shape)
        case Greedy():
            epsilon, keys = 0.0, scores
        case _:
            probabilities = np.zeros(scores.shape)
            for row, own in enumerate(eligible):
                probabilities[row, own] = policy.probabilities(scores[row, own], np.flatnonzero(own))
            return probabilities
    probabilities = np.where(eligible, epsilon / eligible.sum(axis=1, keepdims=True), 0.0)
    best = np.where(eligible, keys, -np.inf).argmax(axis=1)
    probabilities[np.arange(len(best)), best] += 1.0 - epsilon
    return probabilities


def choose(probabilities: Sequence[float], draw: float) -> int:
    """The place that a uniform draw in [0, 1) falls on when the probabilities are laid end to end.

    A place of probability 0 is never chosen; rounding at the far end falls to the last place that can be.

    Example:
        >>> [choose((0.25, 0.0, 0.75), draw) for draw in (0.0, 0.2499, 0.25, 0.9999)]
        [0, 0, 2, 2]
    """
    reached = 0.0
    chosen = 0
    for place, probability in enumerate(probabilities):
        if probability > 0.0:
            chosen = place
            reached += probability
            if draw < reached:
                break
    return chosen


def _spread(best: int, count: int, epsilon: float) -> Floats:
    probabilities = np.full(count, epsilon / count)
    probabilities[best] += 1.0 - epsilon
    return probabilities


def _ranks(order: Sequence[str], catalogue: Catalogue) -> tuple[int, ...]:
    unknown = [name for name in order if name not in catalogue.index]
    if unknown or len(set(order)) != len(order):
        raise DefinitionError(
            "policy ranked", f"order names {unknown or 'a candidate twice'}", "Name candidates of the catalogue, each once."
        )
    placed = {name: rank for rank, name in enumerate(order)}
    return tuple(placed.get(candidate.candidate_id, len(order) + position) for position, candidate in enumerate(catalogue.candidates))
