"""Whether a compiled scorer is the model: the bits of LightGBM's own call wherever trees can be told apart."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TypeAlias

import numpy as np

from contracts.errors import NotCompiled
from decisions.compiled import CompiledScorer
from decisions.matrix import Floats, ModelColumns, Positions, rows
from decisions.trees import Missing, Split, Tree, Trees

MOST_ROWS = 20_000
ENTITIES = 64
TIMED = 15
SPECIAL = (math.nan, 0.0, -0.0, math.inf, -math.inf, 1e-35, -1e-35, 1.1e-35, 5e-324, 1e300, -1e300, -1.0, 0.5, 2.0**31, -(2.0**31), 2.0**63)
"""What a column may hold that is treated apart by somebody: missing, zeros, what counts as zero, what no integer holds."""

Reference: TypeAlias = Callable[[Floats], Floats]
"""Scores of rows of all columns, by LightGBM's own call."""

LeafValue: TypeAlias = Callable[[int, int], float]
"""The value of a tree's leaf, as LightGBM has it."""


def prove(scorer: CompiledScorer, trees: Trees, columns: ModelColumns, reference: Reference, leaf_value: LeafValue) -> None:
    """Hold a compiled scorer against LightGBM, bit for bit, and look whether it is worth it.

    Every leaf has LightGBM's value, since a last bit of it may vanish in a sum. Every split is reached and decided at its threshold, at
    the numbers next to it and where its value is missing (`critical_rows`; of a model with very many, evenly picked ones). Then entities
    with such values are scored with all candidates of the catalogue.

    Args:
        scorer: over `columns`.
        trees: that it was made from.
        columns: of the model.
        reference: LightGBM's own call.
        leaf_value: of LightGBM's own trees.

    Raises:
        NotCompiled: a bit differs, and where; or it is no faster.
    """
    for number, tree in enumerate(trees.trees):
        values = np.array([leaf_value(number, leaf) for leaf in range(len(tree.leaves))])
        if values.tobytes() != np.array(tree.leaves).tobytes():
            raise NotCompiled(f"tree {number} was read with other leaves than LightGBM has")
    _check_rows(scorer.over(_features_only(columns)), critical_rows(trees), reference)
    entities = _entities(trees, columns)
    everyone = np.arange(len(columns.values))
    for entity in entities:
        _check(scorer.scores(entity, everyone), reference(rows(entity, columns, everyone)), entity)
    compiled, own = (_seconds(call, entities) for call in (
        lambda entity: scorer.scores(entity, everyone),
        lambda entity: reference(rows(entity, columns, everyone)),
    ))  # fmt: skip
    if compiled >= own:
        raise NotCompiled(f"compiled it takes {compiled * 1e6:.0f} µs, by LightGBM's call {own * 1e6:.0f} µs")


def critical_rows(trees: Trees, most: int = MOST_ROWS) -> Floats:
    """(m, columns) rows that reach each split and hold there what decides it: its threshold or a category, and what lies next to it.

    Args:
        trees: the model.
        most: more rows than these are thinned out evenly.
    """
    found = [row for tree in trees.trees for row in _rows_of(tree)]
    step = -(-len(found) // most) or 1
    made = np.zeros((len(found[::step]), trees.columns))
    for number, row in enumerate(found[::step]):
        made[number, list(row)] = list(row.values())
    return made


@dataclass(frozen=True, slots=True)
class _Reach:
    """The values of a column that lead down to a split: above `low`, up to `high`; of `codes` (any, when None), but not of `without`."""

    low: float = -math.inf
    high: float = math.inf
    codes: frozenset[int] | None = None
    without: frozenset[int] = frozenset()

    def value(self) -> float:
        if self.codes is not None:
            return float(min(self.codes - self.without, default=-1))
        if self.without:
            return math.nan
        if self.high < math.inf:
            return self.high
        return math.nextafter(self.low, math.inf) if self.low > -math.inf else 0.0

    def narrowed(self, split: Split, *, left: bool) -> "_Reach":
        if split.kind is Missing.CATEGORIES:
            if not left:
                return _Reach(self.low, self.high, self.codes, self.without | split.codes)
            return _Reach(self.low, self.high, split.codes if self.codes is None else self.codes & split.codes, self.without)
        if left:
            return _Reach(self.low, min(self.high, split.threshold), self.codes, self.without)
        return _Reach(max(self.low, split.threshold), self.high, self.codes, self.without)


def _rows_of(tree: Tree) -> Iterator[Mapping[int, float]]:
    ways: dict[int, Mapping[int, _Reach]] = {0: {}}
    for node, split in enumerate(tree.splits):
        way = ways.pop(node)
        held = {column: reach.value() for column, reach in way.items()}
        yield from ({**held, split.column: value} for value in _deciding(split))
        here = way.get(split.column, _Reach())
        for child, left in ((split.left, True), (split.right, False)):
            if child >= 0:
                ways[child] = {**way, split.column: here.narrowed(split, left=left)}


def _deciding(split: Split) -> Sequence[float]:
    if split.kind is Missing.CATEGORIES:
        least, most = min(split.codes, default=0), max(split.codes, default=0)
        return (float(least), float(most), most + 0.5, most + 1.0, least - 0.5, -1.0, math.nan)
    at = split.threshold
    return (at, math.nextafter(at, math.inf), math.nextafter(at, -math.inf), math.nan, 0.0)


def _features_only(columns: ModelColumns) -> ModelColumns:
    """One candidate without columns of its own, so that any row can be scored."""
    return ModelColumns(columns.names, (), np.zeros((1, 0)), np.zeros((1, 0), dtype=np.int64))


def _check_rows(scorer: CompiledScorer, found: Floats, reference: Reference) -> None:
    alone: Positions = np.zeros(1, dtype=np.int64)
    if len(found):
        for row, expected in zip(found, reference(found), strict=True):
            _check(scorer.scores(row, alone), expected, row)


def _check(scores: Floats, expected: Floats, values: Floats) -> None:
    if scores.tobytes() != expected.tobytes():
        raise NotCompiled(f"{values.tolist()} is scored {scores.tolist()}, by LightGBM {expected.tolist()}")


def _entities(trees: Trees, columns: ModelColumns) -> Floats:
    """Entities whose features each hold a threshold of that column, or of a matched one, a number next to one, or what is special."""
    generator = np.random.default_rng(0)
    count = len(columns.names) - columns.values.shape[1] - columns.matched.shape[1]
    known: list[list[float]] = [list(SPECIAL) for _ in range(trees.columns)]
    for tree in trees.trees:
        for split in tree.splits:
            known[split.column] += _deciding(split)
    first = trees.columns - columns.matched.shape[1]
    for column, sources in enumerate(columns.matched.T):
        for feature in set(sources.tolist()) - {count}:
            known[feature] += known[first + column]
    return np.column_stack([generator.choice(known[feature], ENTITIES) for feature in range(count)]) if count else np.zeros((1, 0))


def _seconds(call: Callable[[Floats], object], entities: Floats) -> float:
    """The least that a round over some entities took, a call."""
    some = entities[:TIMED]
    took = []
    for _ in range(3):
        began = perf_counter()
        for entity in some:
            call(entity)
        took.append(perf_counter() - began)
    return min(took) / len(some)
