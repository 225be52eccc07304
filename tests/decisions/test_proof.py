from dataclasses import replace
from itertools import product
from math import inf, nan, nextafter
from pathlib import Path

import numpy as np
import pytest

from contracts.catalogue import Catalogue
from contracts.errors import NotCompiled
from decisions import proof
from decisions.compiled import CompiledScorer, Layout
from decisions.kernel import load_kernel
from decisions.matrix import Floats, ModelColumns
from decisions.proof import critical_rows, prove, row_count
from decisions.scorer import LightGBMScorer, LightGBMTrees
from decisions.trees import Link, Missing, Split, Tree, Trees, read_trees
from features.definitions import FeatureSet

LEVEL = Split(0, Missing.NONE, False, 5.0, frozenset(), left=1, right=2)
BELOW = Split(0, Missing.NONE, False, 2.0, frozenset(), left=-1, right=-2)
COUNTRY = Split(1, Missing.CATEGORIES, False, 0.0, frozenset({3, 4}), left=-3, right=-4)
TREES = Trees((Tree((1.0, 2.0, 3.0, 4.0), (LEVEL, BELOW, COUNTRY)),), 2, Link.IDENTITY)


def test_every_split_is_reached_and_decided_at_its_edge() -> None:
    found = [(level, country) for level, country in critical_rows(TREES.trees[0], 2).tolist()]

    for at in (5.0, 2.0):
        assert {at, nextafter(at, inf)} <= {level for level, _ in found}
    assert {(nextafter(5.0, inf), country) for country in (3.0, 4.0, 4.5, 5.0, 2.0, 2.5, -1.0)} <= set(found)


def test_no_split_can_be_another_without_a_critical_row_that_shows_it(kernel_folder: Path) -> None:
    kernel = load_kernel(kernel_folder)
    found, columns = 0, ModelColumns(("x0", "x1"), (), np.zeros((1, 0)), np.zeros((1, 0), dtype=np.int64))
    zero = 1.0000000180025095e-35
    for kind, default_left, thresholds in (
        (Missing.NONE, False, (1.0, -2.0, 3.0)),
        (Missing.NAN, True, (1.0, 0.5, 7.0)),
        (Missing.NAN, False, (-zero, -3.0, zero)),
        (Missing.ZERO, True, (2.0, -zero, zero)),
        (Missing.NAN, True, (inf, 0.5, inf)),
    ):
        first, left, right = (Split(number % 2, kind, default_left, at, frozenset(), 0, 0) for number, at in enumerate(thresholds))
        whole = (replace(first, left=1, right=2), replace(left, left=-1, right=-2), replace(right, column=0, left=-3, right=-4))
        tree = Tree((1.0, 2.0, 3.0, 4.0), whole)

        def values(splits: tuple[Split, ...], rows: Floats) -> bytes:
            trees = Trees((Tree((1.0, 2.0, 3.0, 4.0), splits),), 2, Link.IDENTITY)
            return CompiledScorer(kernel, Layout.of(trees), columns).tree_scores(0, rows).tobytes()

        values_there = [value for at in (*thresholds, 0.0) for value in (at, nextafter(at, inf), nextafter(at, -inf))]
        everything = np.array(list(product((*values_there, nan, inf, -inf), repeat=2)))
        rows = critical_rows(tree, 2)
        for node, split in enumerate(whole):
            for other in (
                replace(split, threshold=nextafter(split.threshold, inf)),
                replace(split, threshold=nextafter(split.threshold, -inf)),
                replace(split, left=split.right, right=split.left),
                replace(split, default_left=not split.default_left),
                replace(split, kind=Missing((kind + 1) % 3)),
            ):
                changed = (*whole[:node], other, *whole[node + 1 :])
                differs = values(changed, everything) != values(whole, everything)
                assert (values(changed, rows) != values(whole, rows)) == differs, (whole, other)
                found += differs
    assert found > 40


def test_of_a_model_with_very_many_rows_some_are_held_against_lightgbm(
    scorer: LightGBMScorer, kernel_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees, seen = read_trees(scorer.booster.model_to_string()), []

    class Counted(LightGBMTrees):
        def tree_scores(self, tree: int, matrix: Floats) -> Floats:
            seen.append(len(matrix))
            return super().tree_scores(tree, matrix)

    monkeypatch.setattr(proof, "MOST_ROWS", row_count(trees) // 4)
    made = CompiledScorer(load_kernel(kernel_folder), Layout.of(trees), scorer.columns)
    prove(made, trees, scorer.columns, Counted(scorer.booster))
    assert len(seen) == len(trees.trees) and sum(seen) < row_count(trees) // 3


@pytest.fixture(scope="module")
def scorer(catalogue: Catalogue, features: FeatureSet, model_text: str) -> LightGBMScorer:
    return LightGBMScorer(model_text, ModelColumns.of(features.names, catalogue))


def changed(trees: Trees, number: int, node: int, change: str) -> Trees:
    tree = trees.trees[number]
    split = tree.splits[node]
    leaves = list(tree.leaves)
    match change:
        case "threshold up":
            split = replace(split, threshold=nextafter(split.threshold, inf))
        case "threshold down":
            split = replace(split, threshold=nextafter(split.threshold, -inf))
        case "codes":
            split = replace(split, codes=split.codes ^ {max(split.codes)})
        case "sides":
            split = replace(split, left=split.right, right=split.left)
        case "leaf":
            leaves[-1] = nextafter(leaves[-1], inf)
        case "order":
            return replace(trees, trees=trees.trees[::-1])
    other = Tree(tuple(leaves), (*tree.splits[:node], split, *tree.splits[node + 1 :]))
    return replace(trees, trees=(*trees.trees[:number], other, *trees.trees[number + 1 :]))


@pytest.mark.parametrize("change", ["threshold up", "threshold down", "codes", "sides", "order", "link"])
def test_a_scorer_of_another_model_is_found_out(scorer: LightGBMScorer, kernel_folder: Path, change: str) -> None:
    trees = read_trees(scorer.booster.model_to_string())
    kind = Missing.CATEGORIES if change == "codes" else Missing.NONE
    places = [(number, node) for number, tree in enumerate(trees.trees) for node, split in enumerate(tree.splits) if split.kind is kind]
    other = replace(trees, link=Link.SQUARE) if change == "link" else changed(trees, *places[len(places) // 2], change)
    made = CompiledScorer(load_kernel(kernel_folder), Layout.of(other), scorer.columns)

    with pytest.raises(NotCompiled, match=r"is scored .* by LightGBM"):
        prove(made, trees, scorer.columns, LightGBMTrees(scorer.booster))


def test_a_last_bit_of_a_leaf_that_vanishes_in_the_sum_is_found_out(scorer: LightGBMScorer, kernel_folder: Path) -> None:
    trees = read_trees(scorer.booster.model_to_string())
    other = changed(trees, 10, 0, "leaf")
    made = CompiledScorer(load_kernel(kernel_folder), Layout.of(other), scorer.columns)

    with pytest.raises(NotCompiled, match="tree 10 was read with other leaves"):
        prove(made, other, scorer.columns, LightGBMTrees(scorer.booster))


def test_a_scorer_that_is_no_faster_is_refused(scorer: LightGBMScorer, kernel_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter((2e-5, 1e-5))
    monkeypatch.setattr(proof, "_seconds", lambda call, entities: next(seconds))
    with pytest.raises(NotCompiled, match="compiled it takes 20 µs, by LightGBM's call 10 µs"):
        scorer.compile(kernel_folder)
    assert scorer.compiled is None


class Half:
    """One tree: 1 up to one half, else 2."""

    def scores(self, matrix: Floats) -> Floats:
        return np.where(matrix[:, 0] > 0.5, 2.0, 1.0)

    def tree_scores(self, tree: int, matrix: Floats) -> Floats:
        return self.scores(matrix)

    def leaf_value(self, tree: int, leaf: int) -> float:
        return leaf + 1.0


def test_a_model_of_a_single_candidate_without_features_is_proven(kernel_folder: Path) -> None:
    columns = ModelColumns(("candidate_a",), (), np.array([[1.0]]), np.zeros((1, 0), dtype=np.int64))
    trees = Trees((Tree((1.0, 2.0), (Split(0, Missing.NONE, False, 0.5, frozenset(), -1, -2),)),), 1, Link.IDENTITY)
    made = CompiledScorer(load_kernel(kernel_folder), Layout.of(trees), columns)
    slow = iter((1e-5, 2e-5))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "_seconds", lambda call, entities: next(slow))
        prove(made, trees, columns, Half())
