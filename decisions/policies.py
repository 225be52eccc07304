"""Policies: from candidates' scores to the exact probability of each, without any randomness of their own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.catalogue import Catalogue
from contracts.errors import DefinitionError
from decisions.exploration import InverseGap, NewExplored, Softmax, first_best
from decisions.matrix import Floats, Positions


class PolicySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A policy as it is written down: in a use case, and in a bundle's `policy.json`.

    What depends on the data (`gamma`, `scale`, `seen`) is written by training, see `trained`; a release's spec says all that its policy is.

    Attributes:
        kind: `uniform` over the eligible; `greedy`, the best score; `epsilon_greedy`, the best score but for a share `epsilon` spread
            evenly over all eligible; `ranked`, a rule of the business: the first eligible candidate of `order`, whatever the scores;
            `softmax`, see `exploration.Softmax`; `inverse_gap`, see `exploration.InverseGap`.
        epsilon: for `epsilon_greedy`, and for every other kind that shall give each of k eligible candidates at least `epsilon / k`.
        order: candidate ids for `ranked`, best first; the rest follow in catalogue order.
        temperature: for `softmax`, in units of `scale`.
        gamma: for `inverse_gap`, per unit of `scale`; 0 until training writes the schedule's.
        gamma_scale: of the schedule `gamma = gamma_scale · (candidates · rows) ^ gamma_exponent`. With the exponent ½ that is the theorem's
            (Foster and Rakhlin 2020, theorem 1), `gamma_scale` being one over the root of the model's summed squared error in units of
            `scale`; both names are Vowpal Wabbit's, whose schedule leaves the number of candidates out.
        gamma_exponent: see there; nearer to 0 for slower commitment.
        scale: one unit of score, the typical score: so that temperature and gamma mean the same whatever the currency.
        explore_new: share that new candidates get, see `exploration.NewExplored`; 0 treats them by their scores like all others.
        new_below: a candidate is new until training has seen so many decisions that showed it.
        seen: how many it has; written by training. Nothing is new where it is empty.

    Raises:
        DefinitionError: a number lies outside its range, or is given to a kind that has no use for it.

    Example:
        >>> PolicySpec("epsilon_greedy", 0.1).epsilon
        0.1
    """

    kind: Literal["uniform", "greedy", "epsilon_greedy", "ranked", "softmax", "inverse_gap"]
    epsilon: float = 0.0
    order: tuple[str, ...] = ()
    temperature: float = 0.0
    gamma: float = 0.0
    gamma_scale: float = 1.0
    gamma_exponent: float = 0.5
    scale: float = 1.0
    explore_new: float = 0.0
    new_below: int = 1
    seen: Mapping[str, int] = {}

    def __post_init__(self) -> None:
        self._between("epsilon", self.epsilon, 0.0, 1.0, self.kind not in ("uniform", "greedy"))
        self._between("temperature", self.temperature, 0.0, math.inf, self.kind == "softmax")
        self._between("gamma", self.gamma, 0.0, math.inf, self.kind == "inverse_gap")
        self._between("gamma_exponent", self.gamma_exponent, 0.0, 1.0, self.kind == "inverse_gap", unused=0.5)
        self._between("explore_new", self.explore_new, 0.0, 1.0, self.kind != "uniform")
        for name, value in (("gamma_scale", self.gamma_scale), ("scale", self.scale), ("new_below", self.new_below)):
            if not 0.0 < value < math.inf:
                raise DefinitionError(f"policy {self.kind}", f"{name} is {value}", "Give a number above 0.")
        if self.kind == "softmax" and not self.temperature:
            raise DefinitionError("policy softmax", "temperature is 0.0", "Give a number above 0, or take the kind greedy.")
        if bool(self.order) != (self.kind == "ranked"):
            raise DefinitionError(f"policy {self.kind}", f"order is {self.order}", "Give the kind ranked an order, and no other kind.")

    @property
    def randomised(self) -> bool:
        """Whether every eligible candidate has a positive probability, so that its log can value other policies."""
        return self.kind in ("uniform", "softmax", "inverse_gap") or self.epsilon > 0.0

    def least_propensity(self, eligible: int) -> float:
        """A probability that each of so many eligible candidates gets at least.

        Example:
            >>> PolicySpec("epsilon_greedy", 0.1).least_propensity(20)
            0.005
        """
        if eligible == 1 or self.kind == "uniform":
            return 1.0 / eligible
        return (min(self.epsilon, self.explore_new) if self.seen and self.explore_new else self.epsilon) / eligible

    def trained(self, *, rows: int, candidates: int, scale: float, seen: Mapping[str, int] = MappingProxyType({})) -> "PolicySpec":
        """The spec to release: with what depends on the data.

        Args:
            rows: decisions that the model was fitted to.
            candidates: of the catalogue, for the schedule of `gamma`; one that the spec gives already stays.
            scale: the typical score, such as the mean over all rows and eligible candidates; where it is not positive, 1 is taken.
            seen: decisions that showed each candidate, by id.

        Example:
            >>> PolicySpec("inverse_gap", gamma_scale=0.5).trained(rows=1_000, candidates=10, scale=2.0).gamma
            50.0
        """
        changed: dict[str, object] = {"seen": dict(seen)} if self.explore_new else {}
        if self.kind in ("softmax", "inverse_gap"):
            changed["scale"] = scale if 0.0 < scale < math.inf else 1.0
        if self.kind == "inverse_gap" and not self.gamma:
            changed["gamma"] = self.gamma_scale * float(candidates * max(1, rows)) ** self.gamma_exponent
        return msgspec.structs.replace(self, **changed)

    def _between(self, name: str, value: float, low: float, high: float, used: bool, unused: float = 0.0) -> None:
        where = f"policy {self.kind}"
        if not low <= value <= high or math.isinf(value):
            raise DefinitionError(
                where, f"{name} is {value}", f"Give a number from {low:g}{f' to {high:g}' if high < math.inf else ' on'}."
            )
        if not used and value != unused:
            raise DefinitionError(where, f"{name} is {value}", "Leave it out, or take a kind that has one.")


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
        return _spread(first_best(scores), len(positions), self.epsilon)


@dataclass(frozen=True, slots=True)
class Greedy:
    """The best score, always. Ties go to the earlier candidate."""

    def probabilities(self, scores: Floats, positions: Positions) -> Floats:
        """See `Policy.probabilities`."""
        return _spread(first_best(scores), len(positions), 0.0)


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
        DefinitionError: the order of `ranked` names a candidate twice, or one that the catalogue lacks; `inverse_gap` has no `gamma` yet.
    """
    policy = _policy(spec, catalogue)
    new = [spec.seen.get(candidate.candidate_id, 0) < spec.new_below for candidate in catalogue.candidates]
    return NewExplored(policy, np.array(new), spec.explore_new) if spec.explore_new and spec.seen and any(new) else policy


def _policy(spec: PolicySpec, catalogue: Catalogue) -> Policy:
    match spec.kind:
        case "uniform":
            return Uniform()
        case "greedy":
            return Greedy()
        case "epsilon_greedy":
            return EpsilonGreedy(spec.epsilon)
        case "ranked":
            return Ranked(_ranks(spec.order, catalogue), spec.epsilon)
        case "softmax":
            return Softmax(spec.temperature * spec.scale, spec.epsilon)
        case "inverse_gap":
            if not spec.gamma:
                what = "has no gamma, which training writes from its schedule"
                raise DefinitionError("policy inverse_gap", what, "Take it as learned_policy, or give gamma.")
            return InverseGap(spec.gamma / spec.scale, spec.epsilon)


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
        case Softmax() | InverseGap():
            return policy.matrix(scores, eligible)
        case NewExplored():
            return policy.matrix(scores, eligible, probability_matrix)
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
