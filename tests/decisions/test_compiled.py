from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalogue import Candidate, Catalogue
from contracts.errors import InvalidInput, NotCompiled
from decisions import compiled
from decisions import scorer as scorer_module
from decisions.compiled import CompiledScorer, Layout
from decisions.kernel import load_kernel
from decisions.matrix import Floats, ModelColumns, paired_rows, rows
from decisions.scorer import LightGBMScorer, engine
from decisions.trees import read_trees
from features.definitions import FeatureSet

NAMES = ("clicks", "country", "spend")
CATALOGUE = Catalogue(
    tuple(
        Candidate(name, {"kind": kind, "price": price}, matched={"liked": liked, "seen": seen})
        for name, kind, price, liked, seen in (
            ("none", "none", 0, "", ""),
            ("gems", "gems", 5, "clicks", "spend"),
            ("rare", "gems", 9, "spend", "spend"),
            ("coins", "coins", 2, "clicks", ""),
            ("boost", "boost", 3, "", "clicks"),
        )
    )
)
COLUMNS = ModelColumns.of(NAMES, CATALOGUE)
EVERYONE = np.arange(5)


def model(seed: int, **settings: Any) -> str:
    """A model over rare and missing values and categories, large enough for its trees to ask everything."""
    chance = np.random.default_rng(seed)
    entities = np.column_stack([chance.integers(-2, 5, 900), chance.integers(-1, 40, 900), chance.normal(size=900)]).astype(float)
    entities[chance.random(entities.shape) < 0.15] = np.nan
    entities[chance.random(entities.shape) < 0.15] = 0.0
    matrix = paired_rows(entities, COLUMNS, chance.integers(0, 5, 900))
    target = np.abs(np.nan_to_num(matrix).sum(axis=1) + chance.normal(size=900)) + 0.1
    if settings.get("objective") in ("binary", "cross_entropy", "cross_entropy_lambda"):
        target = (target > np.median(target)).astype(float)
    defaults = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 3, "min_data_per_group": 1, "min_data_in_bin": 1, "seed": seed}
    data = lightgbm.Dataset(matrix, target, feature_name=list(COLUMNS.names), categorical_feature=["country", "candidate_kind"])
    return str(lightgbm.train(defaults | settings, data, 8).model_to_string())


def test_every_objective_and_way_of_missing_gives_the_bits_of_booster_predict(kernel_folder: Path) -> None:
    objectives = (
        "regression", "regression_l1", "huber", "fair", "quantile", "mape", "poisson", "gamma", "tweedie", "binary", "cross_entropy",
        "cross_entropy_lambda",
    )  # fmt: skip
    settings: list[dict[str, Any]] = [{"objective": objective} for objective in objectives]
    settings += [{"reg_sqrt": True}, {"zero_as_missing": True}, {"use_missing": False}, {"boosting": "dart"}]
    settings += [{"num_leaves": leaves} for leaves in (2, 64, 65, 200)] + [{"min_data_in_leaf": 900}]
    for seed, chosen in enumerate(settings):
        scorer = LightGBMScorer(model(seed, **chosen), COLUMNS)
        scorer.compile(kernel_folder)
        assert engine(scorer) == "compiled", chosen


@pytest.fixture(scope="module")
def proven(kernel_folder: Path) -> LightGBMScorer:
    scorer = LightGBMScorer(model(3, objective="poisson", num_leaves=63, zero_as_missing=True), COLUMNS)
    scorer.compile(kernel_folder)
    return scorer


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from((0.0, -0.0, 1e-35, -1e-35, 1.0, 31.0, 32.0, -0.5, 2.0**31))


@given(entity=st.tuples(numbers, numbers, numbers), some=st.lists(st.integers(0, 4), max_size=9))
def test_any_entity_and_candidates_score_the_bits_of_booster_predict(
    proven: LightGBMScorer, entity: tuple[float, float, float], some: list[int]
) -> None:
    positions = np.array(some, dtype=np.int64)
    features = np.array(entity)
    expected = proven.reference(rows(features, COLUMNS, positions)) if some else np.zeros(0)

    assert proven.scores(features, positions).tobytes() == expected.tobytes()


def test_any_form_of_array_is_taken(proven: LightGBMScorer) -> None:
    wide = np.arange(6.0)

    assert proven.scores(wide[::2], EVERYONE[::-2]).tolist() == proven.scores(np.array([0.0, 2.0, 4.0]), np.array([4, 2, 0])).tolist()
    assert proven.scores(np.array([0, 2, 4]), np.array([4], dtype=np.int32)).tolist() == proven.scores(wide[::2], np.array([4])).tolist()


def test_threads_do_not_disturb_each_other(proven: LightGBMScorer) -> None:
    entities = [np.array([float(number % 7 - 2), float(number % 41), number / 99]) for number in range(2_000)]
    alone = [proven.scores(entity, EVERYONE).tobytes() for entity in entities]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda entity: proven.scores(entity, EVERYONE).tobytes(), entities))

    assert together == alone


def test_calls_that_let_other_threads_run_give_the_same(proven: LightGBMScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert proven.compiled is not None
    entity = np.array([1.0, 2.0, 3.0])
    quickly = proven.scores(entity, EVERYONE).tobytes()
    monkeypatch.setattr(proven.compiled, "_quick", -1)

    assert proven.scores(entity, EVERYONE).tobytes() == quickly


@pytest.mark.parametrize("position", [-1, 5, 2**40])
def test_a_position_beyond_the_catalogue_is_refused(proven: LightGBMScorer, position: int) -> None:
    with pytest.raises(IndexError, match="none of the catalogue"):
        proven.scores(np.zeros(3), np.array([0, position]))


@pytest.mark.parametrize("features", [np.zeros(2), np.zeros(4), np.zeros((1, 3))])
def test_features_of_another_width_are_refused(proven: LightGBMScorer, features: Floats) -> None:
    with pytest.raises(InvalidInput, match="cannot be scored"):
        proven.scores(features, EVERYONE)


def test_too_large_a_catalogue_is_refused(kernel_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "MOST_BYTES", 8 * 8 * 5 - 1)
    with pytest.raises(NotCompiled, match="would take"):
        CompiledScorer(load_kernel(kernel_folder), Layout.of(read_trees(model(1, num_leaves=7))), COLUMNS)


def test_a_model_that_cannot_be_compiled_says_why_and_scores_on(kernel_folder: Path) -> None:
    scorer = LightGBMScorer(model(1, linear_tree=True, objective="regression"), COLUMNS)
    before = scorer.scores(np.ones(3), EVERYONE).tobytes()

    with pytest.raises(NotCompiled, match="linear leaves"):
        scorer.compile(kernel_folder)

    assert engine(scorer) == "LightGBM: the model has linear leaves"
    assert scorer.scores(np.ones(3), EVERYONE).tobytes() == before


def test_the_fixtures_of_decisions_are_scored_alike(
    kernel_folder: Path, catalogue: Catalogue, features: FeatureSet, model_text: str
) -> None:
    scorer = LightGBMScorer(model_text, ModelColumns.of(features.names, catalogue))
    entity, everyone = np.array([5.0, 1.0, 9.0]), np.arange(4)
    before = scorer.scores(entity, everyone).tobytes()

    scorer.compile(kernel_folder)

    assert scorer.scores(entity, everyone).tobytes() == before


def test_large_trees_let_other_threads_run_though_the_candidates_are_few(proven: LightGBMScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout.of(read_trees(model(1, num_leaves=63)))
    steps = layout.splits(0, len(NAMES)) // 2 + 5 * (layout.trees + layout.splits(len(COLUMNS.names) - 2, len(COLUMNS.names)) // 2)
    assert steps > 5 * layout.trees
    assert layout.splits(0, len(COLUMNS.names)) == len(layout.arrays["thresholds"])
    assert proven.compiled is not None
    for budget, quick in ((steps, 5), (steps - 1, 4)):
        monkeypatch.setattr(compiled, "QUICK", budget)
        assert CompiledScorer(proven.compiled._kernel, layout, COLUMNS)._quick == quick


def test_what_was_proven_scores_though_it_cannot_be_kept(kernel_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise NotCompiled("the disk is full")

    monkeypatch.setattr(scorer_module, "keep", fail)
    scorer = LightGBMScorer(model(5, num_leaves=7), COLUMNS)
    scorer.compile(kernel_folder)
    assert engine(scorer) == "compiled"
