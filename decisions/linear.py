"""A linear scorer: for each candidate a weighted sum of the entity's features, each brought to one scale. Small enough to read."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from contracts.catalogue import Catalogue
from contracts.errors import InvalidInput
from decisions.matrix import Floats, Positions

LINEAR_FILE = "linear.json"
FURTHEST = 4.0
"""A feature counts at most so many standard scores."""


class LinearTerm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A term of the sum: a feature's standard score, or, with `equals`, whether the feature is that number (a category's code)."""

    feature: str
    centre: float = 0.0
    spread: float = 1.0
    equals: float | None = None


class LinearWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `linear.json`: terms, and for each candidate an intercept and a weight a term."""

    terms: tuple[LinearTerm, ...]
    intercepts: Mapping[str, float]
    weights: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, eq=False)
class LinearScorer:
    """Sums in the order of the terms, entity by entity or many at once, to the same bits.

    Attributes:
        columns: (t,) of which feature each term is. `terms`: see there.
        intercepts: (K,). `weights`: (t, K).
    """

    columns: Positions
    terms: tuple[LinearTerm, ...]
    intercepts: Floats
    weights: Floats

    def scores(self, features: Floats, positions: Positions) -> Floats:
        """See `decisions.scorer.Scorer`."""
        if len(features) <= self.columns.max(initial=-1):
            raise InvalidInput("features", "cannot be scored", "one value for each of the bundle's features")
        total: Floats = self.intercepts[positions].copy()
        for values, weights in zip(standardised(features[None, :], self.columns, self.terms), self.weights, strict=True):
            total += values[0] * weights[positions]
        return total

    def matrix(self, features: Floats) -> Floats:
        """(n, K) scores of (n, F) features."""
        total = np.tile(self.intercepts, (len(features), 1))
        for values, weights in zip(standardised(features, self.columns, self.terms), self.weights, strict=True):
            total += values[:, None] * weights
        return total


def standardised(features: Floats, columns: Positions, terms: tuple[LinearTerm, ...]) -> Floats:
    """(t, n) what each term makes of (n, F) features; what is absent counts as usual."""
    made = np.empty((len(terms), len(features)))
    for place, (column, term) in enumerate(zip(columns, terms, strict=True)):
        values = features[:, column]
        if term.equals is not None:
            made[place] = values == term.equals
        else:
            score = np.where(np.isnan(values), 0.0, (values - term.centre) / term.spread)
            made[place] = np.minimum(np.maximum(score, -FURTHEST), FURTHEST)
    return made


def build_linear(content: bytes, feature_names: tuple[str, ...], catalogue: Catalogue) -> LinearScorer:
    """The scorer of the content of `linear.json`.

    Raises:
        InvalidInput: it is malformed, or does not fit features and catalogue.
    """
    try:
        found = msgspec.json.decode(content, type=LinearWeights)
    except msgspec.DecodeError as error:
        raise InvalidInput(LINEAR_FILE, f"is malformed ({error})", "terms, intercepts and weights") from error
    unknown = sorted({term.feature for term in found.terms} - set(feature_names))
    if unknown or any(term.spread <= 0.0 for term in found.terms):
        raise InvalidInput(
            LINEAR_FILE, f"has terms of {unknown or 'no spread'}", f"terms of {', '.join(feature_names)}, of a spread above 0"
        )
    widths = {len(weights) for weights in found.weights.values()}
    if found.intercepts.keys() != catalogue.index.keys() or found.weights.keys() != catalogue.index.keys() or widths != {len(found.terms)}:
        raise InvalidInput(LINEAR_FILE, "does not weigh every term for every candidate", f"weights for {sorted(catalogue.index)}")
    names = list(catalogue.index)
    return LinearScorer(
        np.array([feature_names.index(term.feature) for term in found.terms], dtype=np.int64),
        found.terms,
        np.array([found.intercepts[name] for name in names]),
        np.array([found.weights[name] for name in names]).reshape(len(names), len(found.terms)).T.copy(),
    )


def encode_linear(scorer: LinearScorer, catalogue: Catalogue) -> bytes:
    """The content of `linear.json`."""
    names = list(catalogue.index)
    weights = LinearWeights(
        scorer.terms,
        dict(zip(names, scorer.intercepts.tolist(), strict=True)),
        {name: tuple(column) for name, column in zip(names, scorer.weights.T.tolist(), strict=True)},
    )
    return msgspec.json.encode(weights, order="deterministic")
