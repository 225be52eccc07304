"""Why a score is what it is: how much each column of the model adds to it."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from decisions.decide import ReleaseRuntime
from decisions.linear import LinearScorer, standardised
from decisions.matrix import Floats, rows
from decisions.scorer import LightGBMScorer

Link: TypeAlias = Literal["identity", "log", "other"]
"""From the sum to the score: the score is the sum; `exp` of it, so that what a column adds multiplies the score; or follows otherwise."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one column adds.

    Attributes:
        column: a feature's name; with the prefix `candidate_` a candidate's attribute, with `matched_` what of the features goes with it.
        value: that the column has here; NaN where it is absent.
        amount: that it adds to the sum.
    """

    column: str
    value: float
    amount: float


@dataclass(frozen=True, slots=True)
class Contributions:
    """A score taken apart: `base` and all amounts sum to `raw`, from which `link` makes the score.

    Attributes:
        base: the sum without knowing anything: a model's mean over what it was fitted to, a linear model's intercept for the candidate.
        columns: all of the model's, in its order.
    """

    base: float
    columns: tuple[Contribution, ...]
    raw: float
    score: float
    link: Link

    @property
    def strongest(self) -> tuple[Contribution, ...]:
        """Those that add or take anything, the strongest first; equals in the model's order."""
        return tuple(sorted((one for one in self.columns if one.amount), key=lambda one: -abs(one.amount)))


def contributions(runtime: ReleaseRuntime, features: Floats, position: int) -> Contributions | None:
    """Take the score of one candidate apart, exactly. Not for the path of a decision: it takes milliseconds.

    Of a LightGBM model these are the Shapley values of its trees (Lundberg et al. 2020, "From local explanations to global understanding
    with explainable AI for trees", algorithm 2), which what the model was fitted to weighs; of a linear one weight times standard score.

    Args:
        runtime: the release.
        features: (n,) of the entity, as the release reads them.
        position: of the candidate in the catalogue.

    Returns:
        None for a release whose scores do not follow from features: a table, or none learned yet.
    """
    match runtime.scorer:
        case LightGBMScorer() as scorer:
            return _of_trees(scorer, features, position)
        case LinearScorer() as scorer:
            return _of_terms(scorer, features, position)
        case _:
            return None


def _of_trees(scorer: LightGBMScorer, features: Floats, position: int) -> Contributions:
    row = rows(features, scorer.columns, np.array([position], dtype=np.int64))
    *amounts, base = np.asarray(scorer.booster.predict(row, pred_contrib=True, num_threads=1), dtype=np.float64)[0].tolist()
    raw = float(np.asarray(scorer.booster.predict(row, raw_score=True, num_threads=1))[0])
    score = float(np.asarray(scorer.booster.predict(row, num_threads=1))[0])
    columns = map(Contribution, scorer.columns.names, row[0].tolist(), amounts)
    return Contributions(base, tuple(columns), raw, score, _link(raw, score))


def _of_terms(scorer: LinearScorer, features: Floats, position: int) -> Contributions:
    added: dict[int, float] = {}
    made = standardised(features[None, :], scorer.columns, scorer.terms)[:, 0] * scorer.weights[:, position]
    for column, amount in zip(scorer.columns.tolist(), made.tolist(), strict=True):
        added[column] = added.get(column, 0.0) + amount
    names = {column: term.feature for column, term in zip(scorer.columns.tolist(), scorer.terms, strict=True)}
    columns = tuple(Contribution(names[column], float(features[column]), amount) for column, amount in sorted(added.items()))
    raw = float(scorer.scores(features, np.array([position], dtype=np.int64))[0])
    return Contributions(float(scorer.intercepts[position]), columns, raw, raw, "identity")


def _link(raw: float, score: float) -> Link:
    # why: no number is its own exponential, so that the two cannot be taken for each other
    if score == raw:
        return "identity"
    return "log" if score > 0.0 and math.isclose(math.log(score), raw, rel_tol=1e-9, abs_tol=1e-9) else "other"
