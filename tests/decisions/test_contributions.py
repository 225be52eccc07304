"""A score is what its columns add up to, by LightGBM's own figures and by the linear model's weights."""

import math

import lightgbm
import numpy as np
import pytest

from contracts.catalogue import NO_ACTION, Candidate, Catalogue
from contracts.clock import HOUR_US
from decisions.contributions import contributions
from decisions.decide import ReleaseRuntime, build_runtime
from decisions.linear import LINEAR_FILE
from decisions.matrix import ModelColumns, paired_rows, rows
from decisions.policies import PolicySpec
from features.definitions import Attribute, FeatureSet

FEATURES = FeatureSet("shop", tuple(Attribute(name=name, source="profile", field=name) for name in ("level", "likes_gems", "likes_coins")))
CATALOGUE = Catalogue(
    (
        Candidate("gems", {"set": "gems", "price": 199}, matched={"likes": "likes_gems"}),
        Candidate("coins", {"set": "coins", "price": 99}, matched={"likes": "likes_coins"}),
        Candidate(NO_ACTION, {"set": NO_ACTION, "price": 0}, matched={"likes": ""}),
    )
)


def release(kind: str, **files: bytes) -> ReleaseRuntime:
    return build_runtime(
        "r-1",
        catalogue=CATALOGUE,
        features=FEATURES,
        policy=PolicySpec("greedy"),
        scorer_kind=kind,
        files={name.replace("_", "."): content for name, content in files.items()},
        baseline=NO_ACTION,
        ttl_us=HOUR_US,
    )


def fitted(objective: str) -> lightgbm.Booster:
    """A model of what level, price and liking are worth."""
    generator = np.random.default_rng(3)
    features = np.column_stack([generator.integers(1, 9, 3_000), generator.random((3_000, 2))])
    positions = generator.integers(0, 3, 3_000)
    columns = ModelColumns.of(FEATURES.names, CATALOGUE)
    matrix = paired_rows(features, columns, positions)
    target = np.nan_to_num(matrix[:, -1]) * matrix[:, 0] * (generator.random(3_000) < 0.5)
    settings = {"objective": objective, "num_leaves": 7, "num_threads": 1, "verbose": -1, "seed": 3, "deterministic": True}
    data = lightgbm.Dataset(matrix, target > 1 if objective == "binary" else target, feature_name=list(columns.names))
    return lightgbm.train(settings, data, 20)


@pytest.mark.parametrize(("objective", "link"), [("tweedie", "log"), ("poisson", "log"), ("regression", "identity")])
def test_what_columns_add_is_what_lightgbm_says_and_sums_to_the_score(objective: str, link: str) -> None:
    booster = fitted(objective)
    runtime = release("lightgbm", model_txt=booster.model_to_string().encode())
    columns = ModelColumns.of(FEATURES.names, CATALOGUE)
    for position, values in ((0, [7.0, 0.9, 0.1]), (1, [2.0, 0.3, math.nan]), (2, [1.0, 0.0, 0.0])):
        features = np.array(values)
        found = contributions(runtime, features, position)
        assert found is not None
        assert [one.column for one in found.columns] == [*FEATURES.names, "candidate_set", "candidate_price", "matched_likes"]
        row = rows(features, columns, np.array([position]))
        said = np.asarray(booster.predict(row, pred_contrib=True))[0]
        assert np.allclose([*(one.amount for one in found.columns), found.base], said, rtol=0, atol=1e-9)
        assert found.base + sum(one.amount for one in found.columns) == pytest.approx(found.raw, abs=1e-9)
        served = runtime.scorer.scores(features, np.array([position]))[0]
        assert (found.score, found.link) == (served, link)
        assert (math.exp(found.raw) if link == "log" else found.raw) == pytest.approx(served, rel=1e-12)


def test_columns_have_the_values_that_the_model_sees() -> None:
    runtime = release("lightgbm", model_txt=fitted("tweedie").model_to_string().encode())
    found = contributions(runtime, np.array([7.0, 0.9, 0.1]), 1)
    assert found is not None
    assert [one.value for one in found.columns] == [7.0, 0.9, 0.1, 1.0, 99.0, 0.1]
    amounts = [abs(one.amount) for one in found.strongest]
    assert amounts == sorted(amounts, reverse=True) and 0.0 not in amounts


def test_a_score_that_follows_otherwise_is_not_said_to_be_the_sum() -> None:
    runtime = release("lightgbm", model_txt=fitted("binary").model_to_string().encode())
    found = contributions(runtime, np.array([7.0, 0.9, 0.1]), 0)
    assert found is not None and found.link == "other"
    assert found.score == pytest.approx(1.0 / (1.0 + math.exp(-found.raw)))


LINEAR = b"""{
  "terms": [{"feature": "level", "centre": 5.0, "spread": 2.0}, {"feature": "likes_gems", "equals": 1.0}, {"feature": "likes_gems"}],
  "intercepts": {"gems": 0.5, "coins": 0.25, "none": 0.0},
  "weights": {"gems": [0.1, 0.2, 0.3], "coins": [1.0, 0.0, 0.0], "none": [0.0, 0.0, 0.0]}
}"""


def test_a_linear_score_is_weights_times_values_each_feature_once() -> None:
    runtime = release("linear", **{LINEAR_FILE.replace(".", "_"): LINEAR})
    found = contributions(runtime, np.array([7.0, 1.0, 0.0]), 0)
    assert found is not None
    # level is one spread above its centre; likes_gems has two terms, 0.2 · 1 and 0.3 · 1
    assert [(one.column, one.value, one.amount) for one in found.columns] == [("level", 7.0, 0.1), ("likes_gems", 1.0, 0.5)]
    assert (found.base, found.link) == (0.5, "identity")
    assert found.raw == found.score == pytest.approx(1.1)


@pytest.mark.parametrize(("kind", "files"), [("constant", {}), ("table", {"table_json": b'{"gems": 1, "coins": 2, "none": 0}'})])
def test_scores_that_do_not_follow_from_features_have_no_contributions(kind: str, files: dict[str, bytes]) -> None:
    assert contributions(release(kind, **files), np.array([7.0, 1.0, 0.0]), 0) is None
