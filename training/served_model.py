"""A bundle as others may use it: MLflow's `pyfunc` loads it through this module, for the scores and probabilities that serving gives.

Nothing is unpickled. What depends on more than the features is left out: dates, cool-downs, limits and what is withheld.
"""

from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from msgspec import structs

from contracts.catalogue import Catalogue
from contracts.errors import BundleRefused, DefinitionError, InvalidInput
from decisions.decide import ReleaseRuntime, build_runtime
from decisions.eligibility import Eligibility
from decisions.matrix import Floats
from decisions.policies import PolicySpec
from features.definitions import FeatureSet
from releases.bundle import Bundle, read_bundle


class ServedModel:
    """What scores each candidate for rows of features.

    Args:
        bundle: as read and verified.

    Raises:
        BundleRefused: its parts do not fit each other.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.features, self.runtime = runtime_of_bundle(bundle)
        undated = [structs.replace(one, valid_from_us=None, valid_until_us=None) for one in self.runtime.catalogue.candidates]
        self._rules = Eligibility(Catalogue(tuple(undated)), self.features, self.runtime.baseline)

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The score of each candidate and, by the release's policy, its probability.

        Args:
            rows: a column a feature; an absent value takes the feature's default.

        Returns:
            Columns `score:CANDIDATE` and `probability:CANDIDATE`; of a candidate whose rules forbid it NaN and 0.
        """
        values = self._values(rows)
        candidates = self.runtime.catalogue.candidates
        scores, probabilities = np.full((len(values), len(candidates)), np.nan), np.zeros((len(values), len(candidates)))
        allowed = self._rules.by_rules(values, np.zeros(len(values), dtype=np.int64))
        for row, own in enumerate(values):
            places = np.flatnonzero(allowed[row]).astype(np.int64)
            scores[row, places] = self.runtime.scorer.scores(own, places)
            probabilities[row, places] = self.runtime.policy.probabilities(scores[row, places], places)
        names = [candidate.candidate_id for candidate in candidates]
        columns = {f"score:{name}": scores[:, place] for place, name in enumerate(names)}
        columns |= {f"probability:{name}": probabilities[:, place] for place, name in enumerate(names)}
        return pd.DataFrame(columns, index=rows.index)

    def _values(self, rows: pd.DataFrame) -> Floats:
        defaults = np.array([feature.default for feature in self.features.features])
        values = rows[list(self.features.names)].to_numpy(dtype=np.float64)
        return np.ascontiguousarray(np.where(np.isnan(values), defaults, values))


def runtime_of_bundle(bundle: Bundle) -> tuple[FeatureSet, ReleaseRuntime]:
    """The feature set and the compiled release that a bundle holds.

    Raises:
        BundleRefused: its parts do not fit each other.
    """
    parts = bundle.parts
    try:
        feature_set = FeatureSet.from_json(msgspec.json.encode(parts.features))
        return feature_set, build_runtime(
            bundle.release_id,
            catalogue=parts.catalogue,
            features=feature_set,
            policy=msgspec.convert(parts.policy, PolicySpec),
            scorer_kind=parts.scorer_kind,
            files=parts.scorer_files,
            baseline=parts.settings["baseline"],
            ttl_us=parts.settings["ttl_us"],
        )
    except (DefinitionError, InvalidInput, msgspec.ValidationError, KeyError, TypeError) as error:
        raise BundleRefused(bundle.release_id, f"its parts do not fit each other: {error}") from error


def _load_pyfunc(path: str) -> ServedModel:
    """What MLflow calls, with the folder of the bundle."""
    folder = Path(path)
    return ServedModel(read_bundle(folder.parent, folder.name))
