import lightgbm
import numpy as np
import pytest

from contracts.errors import NotCompiled
from decisions.trees import Link, Missing, Split, Tree, read_trees

MODEL = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=poisson
feature_names=level country
tree_sizes=1 1

Tree=0
num_leaves=3
num_cat=1
split_feature=0 1
threshold=5.5 0
decision_type=10 1
left_child=1 -1
right_child=-3 -2
leaf_value=0.25 -1 3
cat_boundaries=0 2
cat_threshold=6 1
is_linear=0
shrinkage=1


Tree=1
num_leaves=1
num_cat=0
leaf_value=0.5
is_linear=0
shrinkage=1


end of trees

parameters:
[num_class: 9]
end of parameters
"""


def test_a_model_is_read_as_its_text_says() -> None:
    trees = read_trees(MODEL)

    assert (trees.columns, trees.link, trees.scale) == (2, Link.EXPONENTIAL, 1.0)
    level = Split(0, Missing.NAN, True, 5.5, frozenset(), left=1, right=-3)
    country = Split(1, Missing.CATEGORIES, False, 0.0, frozenset({1, 2, 32}), left=-1, right=-2)
    assert trees.trees == (Tree((0.25, -1.0, 3.0), (level, country)), Tree((0.5,), ()))


@pytest.mark.parametrize(
    "objective, link, scale",
    [
        ("regression", Link.IDENTITY, 1.0),
        ("regression sqrt", Link.SQUARE, 1.0),
        ("tweedie tweedie_variance_power:1.5", Link.EXPONENTIAL, 1.0),
        ("binary sigmoid:1", Link.LOGISTIC, 1.0),
        ("binary sigmoid:0.5", Link.LOGISTIC, 0.5),
        ("cross_entropy_lambda", Link.LOG_ONE_PLUS_EXP, 1.0),
    ],
)
def test_the_objective_says_what_makes_a_score_of_the_sum(objective: str, link: Link, scale: float) -> None:
    trees = read_trees(MODEL.replace("objective=poisson", f"objective={objective}"))

    assert (trees.link, trees.scale) == (link, scale)


@pytest.mark.parametrize(
    "old, new, reason",
    [
        ("num_class=1", "num_class=3", "several classes"),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=3", "several classes"),
        ("label_index=0", "label_index=0\naverage_output", "mean of trees"),
        ("objective=poisson", "objective=of_the_future", "`of_the_future`"),
        ("objective=poisson", "objective=binary sigmoid:1.7", "another number"),
        ("is_linear=0\nshrinkage=1\n\n\nTree", "is_linear=1\nshrinkage=1\n\n\nTree", "linear leaves"),
        ("decision_type=10", "decision_type=14", "of the kind 14"),
        ("threshold=5.5", "threshold=nan", "at nan"),
        ("right_child=-3 -2", "right_child=-2 -2", "two ways"),
        ("leaf_value=0.5", "leaf_value=" + " ".join(["0.5"] * 1_025), "1025 leaves"),
    ],
)
def test_what_only_lightgbm_can_score_is_refused(old: str, new: str, reason: str) -> None:
    assert old in MODEL
    with pytest.raises(NotCompiled, match=reason):
        read_trees(MODEL.replace(old, new, 1))


def test_what_lightgbm_writes_has_its_leaves() -> None:
    chance = np.random.default_rng(1)
    matrix = chance.normal(size=(300, 2))
    booster = lightgbm.train({"verbosity": -1, "num_leaves": 5, "num_threads": 1}, lightgbm.Dataset(matrix, matrix[:, 0]), 3)

    trees = read_trees(booster.model_to_string()).trees

    found = [[booster.get_leaf_output(number, leaf) for leaf in range(len(tree.leaves))] for number, tree in enumerate(trees)]
    assert [list(tree.leaves) for tree in trees] == found
