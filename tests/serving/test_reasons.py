"""Why a candidate has its score: columns by names that people know, and how to read what they add."""

import math

import lightgbm
import numpy as np
import pytest

from bench.made_releases import made
from contracts.catalogue import NO_ACTION
from decisions.matrix import ModelColumns, paired_rows
from decisions.policies import PolicySpec
from releases.bundle import write_bundle
from serving.live import Release, load_release
from serving.reasons import why_scored
from tests.serving.conftest import CATALOGUE, FEATURES, SHOP, Shop, parts_of
from use_cases.definition import load


@pytest.fixture
def spenders(shop: Shop) -> Release:
    """A release whose model sums logarithms, of purchases that grow with what was spent and with the price."""
    generator = np.random.default_rng(7)
    features = np.column_stack([generator.integers(0, 5, 2_000) for _ in FEATURES.names]).astype(np.float64)
    places = generator.integers(0, len(CATALOGUE.candidates), 2_000)
    columns = ModelColumns.of(FEATURES.names, CATALOGUE)
    matrix = paired_rows(features, columns, places)
    bought = generator.poisson(0.1 + 0.1 * features[:, 1] + 0.1 * columns.values[places, 1])
    settings = {"objective": "poisson", "num_leaves": 7, "num_threads": 1, "verbose": -1, "deterministic": True, "seed": 7}
    booster = lightgbm.train(settings, lightgbm.Dataset(matrix, bought, feature_name=list(columns.names)), 20)
    files = {"model.txt": booster.model_to_string().encode()}
    return load_release(shop.layout, SHOP, shop.write(parts_of(PolicySpec("greedy"), "lightgbm", files)))


def test_what_multiplies_is_said_as_factors_of_the_reward(spenders: Release) -> None:
    values = np.array([1.0, 4.0, 0.0, 1.0, 3.0])
    why = why_scored(spenders, values, "rare")
    assert why is not None and why.link == "log" and "multiplies" in why.words
    assert why.score == spenders.runtime.scorer.scores(values, np.array([CATALOGUE.index["rare"]]))[0]
    strongest, second = why.reasons[:2]
    assert {strongest.name, second.name} == {"spend_7d", "the candidate's price"}
    assert {strongest.text, second.text} == {"4", "9"}
    factors = [reason.factor for reason in why.reasons if reason.factor is not None]
    assert len(factors) == len(why.reasons)
    assert math.exp(why.base) * math.prod(factors) * math.exp(why.rest) == pytest.approx(why.score, rel=1e-9)


def test_so_many_reasons_as_asked_for_and_the_rest_summed(spenders: Release) -> None:
    values = np.array([1.0, 4.0, 0.0, 1.0, 3.0])
    whole, short = (why_scored(spenders, values, "rare", most) for most in (99, 1))
    assert whole is not None and short is not None
    assert (whole.others, whole.rest) == (0, 0) and short.reasons == whole.reasons[:1]
    assert short.others == len(whole.reasons) - 1
    assert short.rest == pytest.approx(sum(reason.amount for reason in whole.reasons[1:]), abs=1e-12)


def test_what_of_the_person_goes_with_a_candidate_is_named(shop: Shop) -> None:
    game = load("game_promotion")
    release = load_release(shop.layout, game, write_bundle(shop.layout.bundles, made(game, 2, trees=30), shop.layout.secrets))
    values = np.linspace(1.0, 20.0, len(release.feature_set.names))
    values[release.feature_set.names.index("country")] = 1.0
    told = {
        name: {reason.name: reason.text for reason in why.reasons}
        for name in ("arena_pass:loyal", NO_ACTION)
        if (why := why_scored(release, values, name, 99)) is not None
    }
    share = release.feature_set.names.index("share_rivalry")
    assert told["arena_pass:loyal"]["the candidate's own share: share_rivalry"] == f"{values[share]:.4g}"
    assert told["arena_pass:loyal"]["the candidate's message"] == "loyal"
    assert told["arena_pass:loyal"]["country"] == "DE"
    assert told[NO_ACTION]["the candidate's own share"] == "absent"
