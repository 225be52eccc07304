"""Releases that are made, not learned: real boosted trees over random rows, each with features and a catalogue of its own."""

from dataclasses import replace

import lightgbm
import msgspec
import numpy as np

from contracts.catalogue import Catalogue
from contracts.errors import OfferloopError
from decisions.matrix import ModelColumns, paired_rows
from features.definitions import FeatureSet
from releases.bundle import BundleParts
from training.fit import Boosted, predict
from training.golden import golden_decisions
from training.train import runtime_of, start_parts
from use_cases.definition import UseCase

ROWS, GOLDEN = 4_000, 16
EDITION = "edition"
"""The key of a candidate's content by which an answer shows whose catalogue it comes from."""


def made(use_case: UseCase, number: int, *, trees: int = 200, leaves: int = 31) -> BundleParts:
    """A release that scores by trees; odd ones have a feature less, and each has a catalogue of its own.

    Args:
        use_case: whose.
        number: makes it another one, and stands in the content of each of its candidates.
        trees: of the model, with so many leaves each at most.
    """
    catalogue = Catalogue(
        tuple(msgspec.structs.replace(one, content={**one.content, EDITION: number}) for one in use_case.catalogue.candidates)
    )
    own = replace(use_case, catalogue=catalogue, scenarios=())
    if number % 2:
        own = _with_fewer_features(own)
    random = np.random.default_rng(number)
    features = random.normal(5.0, 3.0, (ROWS, len(own.feature_set.names)))
    places = random.integers(len(catalogue.candidates), size=ROWS)
    columns = ModelColumns.of(own.feature_set.names, catalogue)
    data = lightgbm.Dataset(paired_rows(features, columns, places), random.exponential(1.0, ROWS), feature_name=list(columns.names))
    booster = lightgbm.train({"num_leaves": leaves, "verbosity": -1, "num_threads": 1, "seed": number}, data, trees)
    policy = own.learned_policy.trained(rows=ROWS, candidates=len(catalogue.candidates), scale=1.0)
    model = Boosted(booster, columns)
    able = np.ones((GOLDEN, len(catalogue.candidates)), dtype=np.bool_)
    scores = predict(model, features[:GOLDEN], able)
    return replace(
        start_parts(own, {"revision": f"made {number}"}),
        scorer_kind=model.kind,
        scorer_files=model.files,
        policy=msgspec.to_builtins(policy),
        golden=golden_decisions(catalogue, policy, features[:GOLDEN], able, scores),
    )


def _with_fewer_features(use_case: UseCase) -> UseCase:
    """Without the last feature that nothing else is made from."""
    features = use_case.feature_set.features
    for place in reversed(range(len(features))):
        try:
            fewer = FeatureSet(use_case.feature_set.name, features[:place] + features[place + 1 :])
            changed = replace(use_case, feature_set=fewer)
            fewer.check(changed.schema)
            runtime_of(changed, "constant", {}, changed.start_policy)
        except OfferloopError:
            continue
        return changed
    return use_case
