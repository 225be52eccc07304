"""The columns a model sees: an entity's features, then the attributes of a candidate. Training and serving both build rows here."""

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


@dataclass(frozen=True, slots=True)
class CandidateColumns:
    """A catalogue's attributes as numbers.

    Attributes:
        names: column names, each with the prefix `candidate_`.
        values: (candidates, columns); a text attribute is coded by the order in which its values first stand in the catalogue.
        categorical: names of the columns that are such codes.
    """

    names: tuple[str, ...]
    values: Floats
    categorical: tuple[str, ...]

    @classmethod
    def of(cls, catalogue: Catalogue) -> "CandidateColumns":
        """The columns of a catalogue.

        Raises:
            DefinitionError: an attribute is text for one candidate and a number for another.
        """
        columns = [[candidate.attributes[name] for candidate in catalogue.candidates] for name in catalogue.columns]
        coded = [_coded(name, column) for name, column in zip(catalogue.columns, columns, strict=True)]
        values = np.array(coded, dtype=np.float64).reshape(len(coded), len(catalogue.candidates)).T.copy()
        names = tuple(CANDIDATE_PREFIX + name for name in catalogue.columns)
        categorical = tuple(name for name, column in zip(names, columns, strict=True) if isinstance(column[0], str))
        return cls(names, values, categorical)


def column_names(feature_names: Sequence[str], candidates: CandidateColumns) -> tuple[str, ...]:
    """Names of a model's columns, in order.

    Raises:
        DefinitionError: a feature is called like a candidate's column.
    """
    twice = sorted(set(feature_names) & set(candidates.names))
    if twice:
        raise DefinitionError(
            "feature set", f"features {twice} are called like candidates' columns", f"Do not begin their names with {CANDIDATE_PREFIX}."
        )
    return (*feature_names, *candidates.names)


def rows(features: Floats, candidates: CandidateColumns, positions: Positions) -> Floats:
    """The matrix of one decision, (k, columns), row-major: the same features before each candidate's attributes.

    Args:
        features: (n,) of the entity.
        candidates: of the whole catalogue.
        positions: (k,) in the catalogue.
    """
    count = features.shape[0]
    matrix = np.empty((len(positions), count + candidates.values.shape[1]))
    matrix[:, :count] = features
    matrix[:, count:] = candidates.values[positions]
    return matrix


def paired_rows(features: Floats, candidates: CandidateColumns, positions: Positions) -> Floats:
    """The matrix of many decisions, a row each: (m, n) features beside the attributes of the candidate at each of (m,) positions."""
    return np.ascontiguousarray(np.hstack((features, candidates.values[positions])))


def _coded(name: str, column: Sequence[str | int | float]) -> list[float]:
    texts = [value for value in column if isinstance(value, str)]
    if not texts:
        return [float(value) for value in column]
    if len(texts) != len(column):
        raise DefinitionError("catalogue", f"attribute `{name}` is text for some candidates and a number for others", "Write one kind.")
    codes = {value: float(code) for code, value in enumerate(dict.fromkeys(texts))}
    return [codes[value] for value in texts]
