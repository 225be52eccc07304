from pathlib import Path

import numpy as np
import pytest

from contracts.catalogue import Catalogue
from contracts.errors import NotCompiled
from decisions import proven
from decisions.compiled import Layout
from decisions.kernel import load_kernel
from decisions.matrix import ModelColumns
from decisions.proven import keep, recalled
from decisions.scorer import LightGBMScorer
from decisions.trees import Link, Tree, Trees
from features.definitions import FeatureSet

LAYOUT = Layout.of(Trees((Tree((1.5,), ()),), 2, Link.LOGISTIC, 0.5))


def test_what_was_kept_is_recalled(tmp_path: Path) -> None:
    keep(tmp_path, "one", LAYOUT)

    found = recalled(tmp_path, "one")

    assert found is not None and recalled(tmp_path, "another") is None
    assert (found.words, found.trees, found.link, found.scale) == (1, 1, Link.LOGISTIC, 0.5)
    assert {name: array.tolist() for name, array in found.arrays.items()} == {name: each.tolist() for name, each in LAYOUT.arrays.items()}
    assert [array.dtype for array in found.arrays.values()] == [array.dtype for array in LAYOUT.arrays.values()]


def test_what_others_could_have_written_is_not_recalled(tmp_path: Path) -> None:
    keep(tmp_path, "one", LAYOUT)
    next(tmp_path.iterdir()).chmod(0o777)
    with pytest.raises(NotCompiled, match="not ours alone"):
        recalled(tmp_path, "one")


def test_what_was_changed_is_not_recalled(tmp_path: Path) -> None:
    keep(tmp_path, "one", LAYOUT)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])
    assert recalled(tmp_path, "one") is None


def test_the_oldest_of_many_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proven, "MOST_KEPT", 2)
    for name in ("one", "two", "three"):
        keep(tmp_path, name, LAYOUT)
    assert [recalled(tmp_path, name) is None for name in ("one", "two", "three")] == [True, False, False]


def test_a_scorer_recalls_its_own_model_over_its_own_columns_alone(
    kernel_folder: Path, tmp_path: Path, catalogue: Catalogue, features: FeatureSet, model_text: str
) -> None:
    columns = ModelColumns.of(features.names, catalogue)
    first, second = (LightGBMScorer(model_text, columns) for _ in range(2))
    assert not second.recall(tmp_path / "nothing")
    load_kernel(tmp_path / "compiled")
    assert not second.recall(tmp_path / "compiled")
    first.compile(tmp_path / "compiled")

    assert second.recall(tmp_path / "compiled")

    entity, everyone = np.array([5.0, 1.0, 9.0]), np.arange(4)
    assert second.scores(entity, everyone).tobytes() == first.scores(entity, everyone).tobytes()
    dearer = ModelColumns(columns.names, columns.categorical, columns.values + 1.0, columns.matched)
    assert not LightGBMScorer(model_text, dearer).recall(tmp_path / "compiled")
