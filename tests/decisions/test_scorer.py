from concurrent.futures import ThreadPoolExecutor

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalogue import Catalogue
from contracts.errors import InvalidInput
from decisions.matrix import ModelColumns, rows
from decisions.scorer import LightGBMScorer, build_scorer, encode_table
from features.definitions import FeatureSet

TABLE = encode_table({"none": 0.0, "gems": 1.5, "gems_dear": 0.25, "coins": 3.0})


def test_constant_and_table(catalogue: Catalogue, features: FeatureSet) -> None:
    some = np.array([1, 3])
    entity = np.array([5.0, 0.0, 9.0])

    assert build_scorer("constant", {}, features.names, catalogue).scores(entity, some).tolist() == [0.0, 0.0]
    assert build_scorer("table", {"table.json": TABLE}, features.names, catalogue).scores(entity, some).tolist() == [1.5, 3.0]


numbers = st.floats(allow_nan=True, allow_infinity=False)


@given(entity=st.tuples(numbers, st.integers(-1, 3).map(float), numbers), some=st.sets(st.integers(0, 3), min_size=1).map(sorted))
def test_a_model_gives_the_bits_of_booster_predict(
    catalogue: Catalogue, features: FeatureSet, model_text: str, entity: tuple[float, float, float], some: list[int]
) -> None:
    scorer = build_scorer("lightgbm", {"model.txt": model_text.encode()}, features.names, catalogue)
    assert isinstance(scorer, LightGBMScorer)
    assert scorer.direct
    booster = lightgbm.Booster(model_str=model_text)
    expected = booster.predict(rows(np.array(entity), ModelColumns.of(features.names, catalogue), np.array(some)), num_threads=1)

    assert scorer.scores(np.array(entity), np.array(some)).tobytes() == np.asarray(expected).tobytes()
    scorer.direct = False
    assert scorer.scores(np.array(entity), np.array(some)).tobytes() == np.asarray(expected).tobytes()


def test_threads_do_not_disturb_each_other(catalogue: Catalogue, features: FeatureSet, model_text: str) -> None:
    scorer = build_scorer("lightgbm", {"model.txt": model_text.encode()}, features.names, catalogue)
    entities = [np.array([float(number % 9), float(number % 4 - 1), number / 7]) for number in range(400)]
    everyone = np.arange(4)
    alone = [scorer.scores(entity, everyone).tobytes() for entity in entities]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda entity: scorer.scores(entity, everyone).tobytes(), entities))

    assert together == alone


def test_features_of_another_width_are_refused(catalogue: Catalogue, features: FeatureSet, model_text: str) -> None:
    scorer = build_scorer("lightgbm", {"model.txt": model_text.encode()}, features.names, catalogue)

    with pytest.raises(InvalidInput, match="cannot be scored"):
        scorer.scores(np.array([1.0, 2.0]), np.array([0]))


@pytest.mark.parametrize(
    "kind, files, reason",
    [
        ("oracle", {}, "one of constant, table, linear, lightgbm"),
        ("table", {}, "`table.json` is missing"),
        ("table", {"table.json": b'{"none": 1'}, "is malformed"),
        ("table", {"table.json": b'{"none": "much"}'}, "is malformed"),
        ("table", {"table.json": b'{"none": 1e999}'}, "is malformed"),
        ("table", {"table.json": b'{"none": 1}'}, "expected the candidates"),
        ("lightgbm", {}, "`model.txt` is missing"),
        ("lightgbm", {"model.txt": b"\xff\xfe"}, "is no text"),
        ("lightgbm", {"model.txt": b"tree\nversion=v4\n"}, "is no LightGBM model"),
        ("lightgbm", {"model.txt": b""}, "is no LightGBM model"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    catalogue: Catalogue, features: FeatureSet, kind: str, files: dict[str, bytes], reason: str
) -> None:
    with pytest.raises(InvalidInput, match=reason):
        build_scorer(kind, files, features.names, catalogue)


def test_a_model_of_other_columns_is_refused(catalogue: Catalogue, model_text: str) -> None:
    with pytest.raises(InvalidInput, match=r"has the columns .*level.*expected the columns .*age"):
        build_scorer("lightgbm", {"model.txt": model_text.encode()}, ("age", "country", "spend_7d"), catalogue)
