import random

import lightgbm
import numpy as np
import pytest

from contracts.errors import InvalidInput
from decisions.model_text import check_model_text


@pytest.fixture(scope="module")
def model() -> bytes:
    """Five trees over a number and a category."""
    chance = np.random.default_rng(1)
    matrix = np.column_stack([chance.normal(size=500), chance.integers(0, 40, 500)]).astype(np.float64)
    data = lightgbm.Dataset(matrix, matrix[:, 0] + matrix[:, 1] % 7, categorical_feature=[1])
    booster = lightgbm.train({"verbosity": -1, "num_leaves": 7, "min_data_per_group": 1, "num_threads": 1}, data, 5)
    return str(booster.model_to_string()).encode()


def test_what_lightgbm_writes_is_as_it_should_be(model: bytes) -> None:
    check_model_text(model, "model.txt")
    constant = lightgbm.train({"verbosity": -1}, lightgbm.Dataset(np.zeros((50, 1)), np.zeros(50)), 2).model_to_string()
    check_model_text(constant.encode(), "model.txt")


def line(model: bytes, key: bytes) -> bytes:
    start = model.index(b"\n" + key + b"=") + 1
    return model[start : model.index(b"\n", start)]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (b"tree_sizes", b"7 7", "num_leaves"),
        (b"tree_sizes", b"714 9", "does not begin where"),
        (b"num_cat", b"1\nnum_cat=1", "stands twice"),
        (b"tree_sizes", b"", "do not end where"),
        (b"tree_sizes", b"-1", "does not begin where"),
        (b"num_leaves", b"9", "as many values as leaves"),
        (b"num_leaves", b"0", "as many values as leaves"),
        (b"leaf_value", b"1 2", "as many values as leaves"),
        (b"threshold", b"1", "as many splits as nodes"),
        (b"split_feature", b"0 1 2 0 0 0", "a column that there is not"),
        (b"left_child", b"0 0 0 0 0 0", "does not end in a leaf"),
        (b"right_child", b"9 9 9 9 9 9", "does not end in a leaf"),
        (b"cat_boundaries", b"0", "sets of categories"),
        (b"num_cat", b"0", "a set of categories"),
        (b"num_leaves", b"many", "invalid literal"),
        (b"left_child", b"-99 -99 -99 -99 -99 -99", "does not end in a leaf"),
    ],
)
def test_what_would_end_the_process_is_refused(model: bytes, key: bytes, value: bytes, said: str) -> None:
    old = line(model, key)
    changed = model.replace(old, key + b"=" + value, 1)
    sizes = line(changed, b"tree_sizes")
    if key != b"tree_sizes":
        first, _, rest = sizes.partition(b"=")[2].partition(b" ")
        grown = int(first) + len(changed) - len(model)
        changed = changed.replace(sizes, b"tree_sizes=%d %s" % (grown, rest), 1)
    with pytest.raises(InvalidInput, match=said):
        check_model_text(changed, "model.txt")


@pytest.mark.parametrize("text", [b"", b"tree", b"tree\nend of trees", b"max_feature_idx=1\ntree_sizes=5\nTree=0\n"])
def test_what_is_no_model_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidInput, match="is no LightGBM model"):
        check_model_text(text, "model.txt")


def test_every_truncation_is_refused(model: bytes) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(200):
        with pytest.raises(InvalidInput):
            check_model_text(model[: chance.randrange(model.index(b"end of trees") + 11)], "model.txt")
