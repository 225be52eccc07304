"""Value by slice: for whom a policy earns what, with intervals that hold for all slices at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from decisions.estimators import Terms
from decisions.interval import bernstein_half
from decisions.value import Clusters, Estimate, Floats, from_influence, ratio, sums_by

MOST = 20
"""Categories that are slices of their own at most; the rarer ones are taken together."""

OTHER = "other"

FEWEST = 20
"""Entities below which a slice tells nothing."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The value among some decisions.

    Attributes:
        name: of the slice. `n`: decisions.
        estimate: with its interval at Šidák's level, so that all slices' intervals hold at once with the confidence asked for; None where
            there are fewer than `FEWEST` entities, or the policy would have shown nothing of what was shown. Where nothing differs within
            the slice, as without any reward, it is the empirical Bernstein interval with the range of the whole log.
        apart: p-value, by Holm's method over all slices, of the value being the same in the slice as in the rest; 1 without an estimate.
    """

    name: str
    n: int
    estimate: Estimate | None
    apart: float


def by_slice(
    terms: Terms, clusters: Clusters | None, labels: Sequence[str] | NDArray[np.str_], *, confidence: float = 0.95
) -> tuple[Slice, ...]:
    """The value in each slice.

    Each interval has the confidence `confidence^(1/m)` of m slices (Šidák 1967), which is right for independent slices and on the safe side
    for dependent ones. Whether a slice differs from the rest is told apart by Holm (1979), which is right whatever they have in common.

    Args:
        terms: of an estimator on the whole log.
        clusters: (n,) the entities; None where each row is one of its own. An entity may have rows in several slices.
        labels: (n,) names of the slices, see `categories` and `quantile_bins`.
        confidence: of all intervals together.
    """
    names, place = np.unique(np.asarray(labels), return_inverse=True)
    each = confidence ** (1.0 / len(names))
    codes = np.arange(len(place)) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    sizes = np.ones(len(place)) if terms.sizes is None else terms.sizes
    found: list[tuple[str, int, Estimate | None, float]] = []
    for number, name in enumerate(names):
        within = place == number
        own = _estimate(terms, codes, within, each)
        told = own is not None and own.standard_error > 0.0
        found.append((str(name), int(within.sum()), own, _apart(terms.terms, sizes, codes, within) if told else 1.0))
    return tuple(Slice(name, n, own, apart) for (name, n, own, _), apart in zip(found, holm([p for *_, p in found]), strict=True))


def categories(values: Sequence[object]) -> list[str]:
    """Values as names of slices: the `MOST` most frequent, the rest as `other`; missing ones as `missing`.

    Example:
        >>> categories(["a", None, "b", "a"])
        ['a', 'missing', 'b', 'a']
    """
    names = ["missing" if value is None else str(value) for value in values]
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    kept = set(sorted(counts, key=lambda name: (-counts[name], name))[:MOST])
    return [name if name in kept else OTHER for name in names]


def quantile_bins(values: Floats, count: int = 5) -> list[str]:
    """Numbers as names of slices of about equally many each, in order; equal numbers are never parted, missing ones are `missing`.

    Example:
        >>> quantile_bins(np.array([1.0, 2.0, 3.0, 4.0]), 2)
        ['1 of 2: 1 to 2', '1 of 2: 1 to 2', '2 of 2: 3 to 4', '2 of 2: 3 to 4']
    """
    there = np.isfinite(values)
    edges = np.unique(np.quantile(values[there], np.linspace(0.0, 1.0, count + 1)[1:-1])) if there.any() else np.zeros(0)
    raw = np.searchsorted(edges, values, side="left")
    used, place = np.unique(raw[there], return_inverse=True)
    names = [
        f"{number + 1} of {len(used)}: {values[there][place == number].min():.4g} to {values[there][place == number].max():.4g}"
        for number in range(len(used))
    ]
    labels = np.full(len(values), "missing", dtype=object)
    labels[there] = [names[number] for number in place]
    return [str(label) for label in labels]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm 1979, "A simple sequentially rejective multiple test procedure").

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted = [1.0] * len(p_values)
    reached = 0.0
    for rank, place in enumerate(order):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = reached
    return adjusted


def _estimate(terms: Terms, codes: NDArray[np.int64], within: NDArray[np.bool_], confidence: float) -> Estimate | None:
    sizes = None if terms.sizes is None else terms.sizes[within]
    if sizes is not None and sizes.sum() <= 0.0:
        return None
    weights = None if terms.weights is None else terms.weights[within]
    own = np.unique(codes[within], return_inverse=True)[1]
    if int(own.max()) + 1 < FEWEST:
        return None
    made = ratio(terms.terms[within], sizes, own, confidence=confidence, weights=weights, corrected=True)
    if made.standard_error > 0.0:
        return made
    part = replace(terms, terms=terms.terms[within], sizes=sizes, weights=weights)
    half = bernstein_half(part, own, confidence=confidence, bounds=(float(terms.terms.min()), float(terms.terms.max())))
    return replace(made, low=made.value - half, high=made.value + half)


def _apart(terms: Floats, sizes: Floats, codes: NDArray[np.int64], within: NDArray[np.bool_]) -> float:
    """Two-sided p-value of the slice's value being that of the rest, both linearised over the same entities."""
    influence = np.zeros(len(terms))
    values = []
    for part in (within, ~within):
        total = float(sizes[part].sum())
        if total <= 0.0:
            return 1.0
        value = float(terms[part].sum()) / total
        values.append(value)
        influence[part] = (terms[part] - value * sizes[part]) / (total if part is within else -total)
    by_entity = sums_by(codes, influence)
    difference = from_influence(
        values[0] - values[1], by_entity, n=len(terms), clusters=int(np.count_nonzero(np.bincount(codes))), effective_n=float(len(terms))
    )
    if not 0.0 < difference.standard_error < np.inf:
        return 1.0
    return 2.0 * NormalDist().cdf(-abs(difference.value) / difference.standard_error)
