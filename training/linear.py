"""The simple baseline: ridge regression of rewards on features, candidates, and what of the features matches the candidate."""

import numpy as np

from decisions.linear import LinearScorer, LinearTerm, standardised
from decisions.matrix import Floats, ModelColumns
from training.dataset import Ints, TrainingSet

RIDGE = 30.0
"""Rows' worth of evidence that a standard score has no weight."""

RIDGE_OWN = 100.0
"""The same for a candidate's own weight beyond that of all."""

MOST_OWN = 8
"""Catalogues of at most so many candidates give each its own weights."""

_CHUNK = 2**15


def fit_linear(training_set: TrainingSet, rows: Ints, labels: Floats, weights: Floats) -> LinearScorer:
    """Fit it to some rows (Hoerl and Kennard 1970, "Ridge regression").

    Args:
        training_set: the data.
        rows: (m,) positions of rows whose action the catalogue has.
        labels: (m,) what to fit, in the unit of the scores. `weights`: (m,) of the rows.
        weights: see there.
    """
    feature_set, catalogue = training_set.use_case.feature_set, training_set.use_case.catalogue
    terms = _terms(training_set, rows)
    columns = np.array([feature_set.names.index(term.feature) for term in terms], dtype=np.int64)
    matched = _matched(training_set, columns, terms)
    count, width = len(catalogue.candidates), len(terms)
    own = count if count <= MOST_OWN else 0
    size = width + count + matched.shape[1] + own * width
    gram, moments = np.zeros((size, size)), np.zeros(size)
    centre = float(np.average(labels, weights=weights))
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        scores = standardised(training_set.features[rows[part]], columns, terms).T
        action = training_set.action[rows[part]]
        shown = np.zeros((len(scores), count))
        shown[np.arange(len(scores)), action] = 1.0
        places = matched[action]
        common = np.where(places >= 0, np.take_along_axis(scores, np.maximum(places, 0), axis=1), 0.0)
        design = [scores, shown, common, *((scores[:, None, :] * shown[:, :, None]).reshape(len(scores), -1) for _ in range(min(own, 1)))]
        matrix = np.hstack(design)
        weighted = matrix * weights[part, None]
        gram += weighted.T @ matrix
        moments += weighted.T @ (labels[part] - centre)
    ridge = np.full(size, RIDGE)
    ridge[width + count + matched.shape[1] :] = RIDGE_OWN
    solved = np.linalg.solve(gram + np.diag(ridge * float(weights.mean())), moments)
    table = np.repeat(solved[:width, None], count, axis=1)
    for place, weight in enumerate(solved[width + count : width + count + matched.shape[1]]):
        for candidate in np.flatnonzero(matched[:, place] >= 0):
            table[matched[candidate, place], candidate] += weight
    if own:
        table += solved[width + count + matched.shape[1] :].reshape(count, width).T
    return LinearScorer(columns, terms, centre + solved[width : width + count], table)


def _terms(training_set: TrainingSet, rows: Ints) -> tuple[LinearTerm, ...]:
    feature_set = training_set.use_case.feature_set
    terms: list[LinearTerm] = []
    for place, name in enumerate(feature_set.names):
        if name in feature_set.categorical:
            terms += [LinearTerm(name, equals=float(code)) for code in range(len(feature_set.categories[name]))]
            continue
        column = training_set.features[rows, place]
        there = column[np.isfinite(column)]
        spread = float(there.std()) if len(there) else 0.0
        if spread > 0.0:
            terms.append(LinearTerm(name, float(there.mean()), spread))
    return tuple(terms)


def _matched(training_set: TrainingSet, columns: Ints, terms: tuple[LinearTerm, ...]) -> Ints:
    """(K, m) the term of the feature that each matched column of a candidate takes its value from; −1 where there is none."""
    features = ModelColumns.of(training_set.use_case.feature_set.names, training_set.use_case.catalogue).matched
    of_feature = {int(column): place for place, (column, term) in enumerate(zip(columns, terms, strict=True)) if term.equals is None}
    return np.array([[of_feature.get(int(feature), -1) for feature in row] for row in features], dtype=np.int64).reshape(features.shape)
