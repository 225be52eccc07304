"""The columns a model sees: an entity's features, a candidate's attributes, and what of the features matches the candidate.

Training and serving both build rows here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from contracts.catalogue import Catalogue
from contracts.errors import DefinitionError

Floats: TypeAlias = NDArray[np.float64]
Positions: TypeAlias = NDArray[np.int64]

CANDIDATE_PREFIX = "candidate_"
MATCHED_PREFIX = "matched_"


class FeatureColumns(Protocol):
    """What decisions use of a feature set, which knows all of it."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        ...

    @property
    def digest(self) -> str:
        """Digest of what the features mean."""
        ...

    @property
    def categories(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the codes 0, 1, … of each feature that is a category; nothing or empty for numbers."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ModelColumns:
    """The columns of a model over a feature set and a catalogue: n features, then c attributes of a candidate, then m matched features.

    Attributes:
        names: of all columns, in order; those of a candidate with the prefix `candidate_`, matched ones with `matched_`.
        categorical: names of the candidates' columns that are codes.
        values: (candidates, c) attributes; a text is coded by the order in which its values first stand in the catalogue.
        matched: (candidates, m) which feature a matched column takes its value from; n where from none, so that it is absent (NaN).
    """

    names: tuple[str, ...]
    categorical: tuple[str, ...]
    values: Floats
    matched: Positions

    @classmethod
    def of(cls, feature_names: Sequence[str], catalogue: Catalogue) -> "ModelColumns":
        """The columns of a model.

        Raises:
            DefinitionError: an attribute is text for one candidate and a number for another; a candidate is matched with a feature that is
                none of these; a feature is called like a candidate's column.
        """
        columns = [[candidate.attributes[name] for candidate in catalogue.candidates] for name in catalogue.columns]
        coded = [_coded(name, column) for name, column in zip(catalogue.columns, columns, strict=True)]
        values = np.array(coded, dtype=np.float64).reshape(len(coded), len(catalogue.candidates)).T.copy()
        names = tuple(CANDIDATE_PREFIX + name for name in catalogue.columns)
        categorical = tuple(name for name, column in zip(names, columns, strict=True) if isinstance(column[0], str))
        own = (*names, *(MATCHED_PREFIX + name for name in catalogue.matched))
        twice = sorted(set(feature_names) & set(own))
        if twice:
            mend = f"Do not begin their names with {CANDIDATE_PREFIX} or {MATCHED_PREFIX}."
            raise DefinitionError("feature set", f"features {twice} are called like candidates' columns", mend)
        return cls((*feature_names, *own), categorical, values, _matched(feature_names, catalogue))


def rows(features: Floats, columns: ModelColumns, positions: Positions) -> Floats:
    """The matrix of one decision, (k, columns), row-major: the same features before each candidate's own columns.

    Args:
        features: (n,) of the entity.
        columns: of the whole catalogue.
        positions: (k,) in the catalogue.
    """
    count, width, matched = features.shape[0], columns.values.shape[1], columns.matched.shape[1]
    matrix = np.empty((len(positions), count + width + matched))
    matrix[:, :count] = features
    matrix[:, count : count + width] = columns.values[positions]
    if matched:
        known = np.empty(count + 1)
        known[:count] = features
        known[count] = np.nan
        matrix[:, count + width :] = known[columns.matched[positions]]
    return matrix


def paired_rows(features: Floats, columns: ModelColumns, positions: Positions) -> Floats:
    """The matrix of many decisions, a row each: (m, n) features beside the columns of the candidate at each of (m,) positions."""
    known = np.hstack((features, np.full((len(features), 1), np.nan)))
    matched = np.take_along_axis(known, columns.matched[positions], axis=1)
    return np.ascontiguousarray(np.hstack((features, columns.values[positions], matched)))


def _matched(feature_names: Sequence[str], catalogue: Catalogue) -> Positions:
    places = {name: place for place, name in enumerate(feature_names)} | {"": len(feature_names)}
    positions = np.zeros((len(catalogue.candidates), len(catalogue.matched)), dtype=np.int64)
    for row, candidate in enumerate(catalogue.candidates):
        for column, name in enumerate(catalogue.matched):
            feature = candidate.matched[name]
            if feature not in places:
                what = f"`{candidate.candidate_id}` is matched with `{feature}`, which is no feature"
                raise DefinitionError("catalogue", what, f"Known: {', '.join(feature_names)}; or nothing at all.")
            positions[row, column] = places[feature]
    return positions


def _coded(name: str, column: Sequence[str | int | float]) -> list[float]:
    texts = [value for value in column if isinstance(value, str)]
    if not texts:
        return [float(value) for value in column]
    if len(texts) != len(column):
        raise DefinitionError("catalogue", f"attribute `{name}` is text for some candidates and a number for others", "Write one kind.")
    codes = {value: float(code) for code, value in enumerate(dict.fromkeys(texts))}
    return [codes[value] for value in texts]
