"""Whether a compiled scorer is the model: the bits of LightGBM's own call wherever trees can be told apart."""

import math
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Protocol

import numpy as np

from contracts.errors import NotCompiled
from decisions.compiled import CompiledScorer
from decisions.matrix import Floats, ModelColumns, rows
from decisions.trees import Missing, Split, Tree, Trees

MOST_ROWS = 200_000
ENTITIES = 4, 64
"""At least and at most so many entities are scored with all candidates; between, as many as make `ENTITY_ROWS`."""

ENTITY_ROWS = 1_536
WHOLE = 400
TIMED_ROWS = 360
SPECIAL = (math.nan, 0.0, -0.0, math.inf, -math.inf, 1e-35, -1e-35, 1.1e-35, 5e-324, 1e300, -1e300, -1.0, 0.5, 2.0**31, -(2.0**31), 2.0**63)
"""What a column may hold that is treated apart by somebody: missing, zeros, what counts as zero, what no integer holds."""

ZERO_THRESHOLD = float(np.float32(1e-35))
"""LightGBM takes numbers up to this for zero."""

_LOW, _HIGH, _MISSING, _ZERO = range(4)


class Reference(Protocol):
    """LightGBM's own trees."""

    def scores(self, matrix: Floats) -> Floats:
        """(k,) scores of (k, columns) rows."""
        ...

    def tree_scores(self, tree: int, matrix: Floats) -> Floats:
        """(k,) what one tree alone adds to the scores of (k, columns) rows, before the link."""
        ...

    def leaf_value(self, tree: int, leaf: int) -> float:
        """The value of a leaf."""
        ...


def prove(scorer: CompiledScorer, trees: Trees, columns: ModelColumns, reference: Reference) -> None:
    """Hold a compiled scorer against LightGBM, bit for bit, and look whether it is worth it.

    Every leaf has LightGBM's value, since a last bit of it may vanish in a sum. Then each tree by itself, so that no other can hide what it
    does: `critical_rows` reach each of its splits with the value that decides it. Then the sums: rows of all trees, evenly picked, and
    entities whose features hold such values, with all candidates of the catalogue. One tree a row, and not all of them, is what makes this
    quick: LightGBM walks down a tree two hundred times less often.

    Args:
        scorer: over `columns`.
        trees: that it was made from.
        columns: of the model.
        reference: what it has to be.

    Raises:
        NotCompiled: a bit differs, and where; or it is no faster.
    """
    alone = scorer.over(_features_only(columns))
    picked = []
    step = -(-row_count(trees) // MOST_ROWS) or 1
    for number, tree in enumerate(trees.trees):
        values = np.array([reference.leaf_value(number, leaf) for leaf in range(len(tree.leaves))])
        if values.tobytes() != np.array(tree.leaves).tobytes():
            raise NotCompiled(f"tree {number} was read with other leaves than LightGBM has")
        found = critical_rows(tree, trees.columns)[::step]
        _check(alone.tree_scores(number, found), reference.tree_scores(number, found), found, f" by tree {number}")
        picked.append(found[:: -(-len(found) * len(trees.trees) // WHOLE)])
    if picked:
        found, position = np.concatenate(picked), np.zeros(1, dtype=np.int64)
        _check(np.concatenate([alone.scores(row, position) for row in found]), reference.scores(found), found)
    entities, everyone = _entities(trees, columns), np.arange(len(columns.values))
    found = np.concatenate([rows(entity, columns, everyone) for entity in entities])
    _check(np.concatenate([scorer.scores(entity, everyone) for entity in entities]), reference.scores(found), found)
    some = entities[: max(1, TIMED_ROWS // len(everyone))]
    compiled, own = (_seconds(call, some) for call in (
        lambda entity: scorer.scores(entity, everyone),
        lambda entity: reference.scores(rows(entity, columns, everyone)),
    ))  # fmt: skip
    if compiled >= own:
        raise NotCompiled(f"compiled it takes {compiled * 1e6:.0f} µs, by LightGBM's call {own * 1e6:.0f} µs")


def row_count(trees: Trees) -> int:
    """How many critical rows a model has: how much there is to prove."""
    return sum(4 * len(tree.leaves) + sum(2 * len(split.codes) + 4 for split in tree.splits if split.codes) for tree in trees.trees)


def critical_rows(tree: Tree, columns: int) -> Floats:
    """(m, columns) rows that reach each split of a tree and hold there what decides it.

    Of each leaf there are four: its columns hold the greatest values that lead there, each of which is the threshold of a split where it
    goes left; the least, each the next number above a threshold, where it goes right; and what is missing, then zero, in all columns
    in which that leads there.

    That is enough for a split by a threshold. Some leaf below its left side is reached by way of right sides alone, as far as later splits
    ask for the same column; the greatest value that leads there is the split's own threshold. Mirrored, so is the number above it.
    Whoever goes left at a number and right at the next one has this threshold and no other, since both ask only whether a value is greater.
    Nor can what is missing decide more than the third row shows: from whichever split it reaches, it goes on to a leaf, in whose row it
    stands in that column. So it is with zero.

    A split by categories is reached with each of its codes, with the integers next to them, with what is none, and where it is missing.
    """
    inner = len(tree.splits)
    # why: of nodes, then leaves, by column: above what and up to what (NaN: no bound), whether missing and zero lead there
    reach = np.empty((inner + len(tree.leaves), 4, columns))
    reach[0] = np.array([math.nan, math.nan, 1.0, 1.0])[:, None]
    known = _known_codes(tree)
    alive: dict[int, dict[int, frozenset[int]]] = {0: known}
    deciding = []
    for node, split in enumerate(tree.splits):
        column = split.column
        codes = alive.pop(node)
        if split.kind is Missing.CATEGORIES:
            deciding.append(_by_codes(reach[node], codes, split))
        for child, left in ((split.left, True), (split.right, False)):
            place = child if child >= 0 else inner - 1 - child
            reach[place] = reach[node]
            ranges = reach[place, :, column]
            if split.kind is Missing.CATEGORIES:
                own = codes[column] & split.codes if left else codes[column] - split.codes
                alive[place] = {**codes, column: own}
                ranges[_MISSING] *= not left
                ranges[_ZERO] *= (0 in split.codes) is left
                continue
            alive[place] = codes
            missing_left, zero_left = _sides(split)
            ranges[_MISSING] *= missing_left is left
            ranges[_ZERO] *= zero_left is left
            if left:
                ranges[_HIGH] = min(split.threshold, ranges[_HIGH])
            else:
                ranges[_LOW] = max(split.threshold, ranges[_LOW])
    found = reach[inner:]
    ends = _ends(found)
    if known:
        for leaf in range(len(tree.leaves)):
            for column, own in alive.get(inner + leaf, known).items():
                for end, one in zip(ends, (max, min), strict=True):
                    end[leaf, column] = one(own, default=-1)
    high, low = ends
    asked = high != -math.inf
    missing = np.where(asked & (found[:, _MISSING] > 0), math.nan, high)
    zero = np.where(asked & (found[:, _ZERO] > 0), 0.0, high)
    return np.concatenate([high, low, missing, zero, *deciding])


def _ends(reach: Floats) -> tuple[Floats, Floats]:
    """The greatest and the least value of each column that lead somewhere; missing or zero where only that does.

    −∞ where every value does, since no split of another tree is false there, which saves time.
    """
    low, high = reach[..., _LOW, :], reach[..., _HIGH, :]
    zero, missing = reach[..., _ZERO, :] > 0, reach[..., _MISSING, :] > 0
    # why: what is next to zero is taken for zero, and may then lead elsewhere than the numbers around it
    below = np.where((abs(high) <= ZERO_THRESHOLD) & ~zero, np.nextafter(-ZERO_THRESHOLD, -math.inf), high)
    above = np.nextafter(low, math.inf)
    above = np.where((abs(above) <= ZERO_THRESHOLD) & ~zero, np.nextafter(ZERO_THRESHOLD, math.inf), above)
    greatest, least = np.where(np.isnan(high), above, below), np.where(np.isnan(low), below, above)
    asked = ~(np.isnan(low) & np.isnan(high))
    for end in (greatest, least):
        within = ~(end <= low) & ~(end > high)
        end[~within & zero], end[~within & missing] = 0.0, math.nan
        end[~asked] = -math.inf
    return greatest, least


def _sides(split: Split) -> tuple[bool, bool]:
    """Whether a missing value goes left at a split by a threshold, and whether zero does."""
    zero = split.default_left if split.kind is Missing.ZERO else split.threshold >= 0.0
    return (split.default_left if split.kind is Missing.NAN else zero), zero


def _known_codes(tree: Tree) -> dict[int, frozenset[int]]:
    """By column, the codes that any split of a tree asks for, and one that none does."""
    known: dict[int, frozenset[int]] = {}
    for split in tree.splits:
        if split.kind is Missing.CATEGORIES:
            known[split.column] = known.get(split.column, frozenset({-1})) | split.codes | {max(split.codes, default=0) + 1}
    return known


def _by_codes(reach: Floats, alive: Mapping[int, frozenset[int]], split: Split) -> Floats:
    held = _ends(reach)[0]
    for column, codes in alive.items():
        held[column] = max(codes, default=-1)
    next_to = {code + side for code in split.codes for side in (-1, 1)} - split.codes
    values = (*sorted(split.codes | next_to), max(split.codes, default=0) + 0.5, min(split.codes, default=0) - 0.5, -1.0, math.nan)
    found = np.repeat(held[None], len(values), axis=0)
    found[:, split.column] = values
    return found


def _deciding(split: Split) -> Sequence[float]:
    if split.kind is Missing.CATEGORIES:
        least, most = min(split.codes, default=0), max(split.codes, default=0)
        return (float(least), float(most), most + 0.5, most + 1.0, least - 0.5, -1.0, math.nan)
    at = split.threshold
    return (at, math.nextafter(at, math.inf), math.nextafter(at, -math.inf), math.nan, 0.0)


def _features_only(columns: ModelColumns) -> ModelColumns:
    """One candidate without columns of its own, so that any row can be scored."""
    return ModelColumns(columns.names, (), np.zeros((1, 0)), np.zeros((1, 0), dtype=np.int64))


def _check(scores: Floats, expected: Floats, found: Floats, by: str = "") -> None:
    if scores.tobytes() != expected.tobytes():
        place = int((scores.view(np.int64) != expected.view(np.int64)).argmax())
        raise NotCompiled(f"{found[place].tolist()} is scored {scores[place]}{by}, by LightGBM {expected[place]}")


def _entities(trees: Trees, columns: ModelColumns) -> Floats:
    """Entities whose features each hold a threshold of that column, or of a matched one, a number next to one, or what is special."""
    generator = np.random.default_rng(0)
    entities = int(np.clip(ENTITY_ROWS // len(columns.values), *ENTITIES))
    count = len(columns.names) - columns.values.shape[1] - columns.matched.shape[1]
    known: list[list[float]] = [list(SPECIAL) for _ in range(trees.columns)]
    for tree in trees.trees:
        for split in tree.splits:
            known[split.column] += _deciding(split)
    first = trees.columns - columns.matched.shape[1]
    for column, sources in enumerate(columns.matched.T):
        for feature in set(sources.tolist()) - {count}:
            known[feature] += known[first + column]
    return np.column_stack([generator.choice(known[feature], entities) for feature in range(count)]) if count else np.zeros((1, 0))


def _seconds(call: Callable[[Floats], object], entities: Floats) -> float:
    """The least that a round over entities took, a call."""
    took = []
    for _ in range(3):
        began = perf_counter()
        for entity in entities:
            call(entity)
        took.append(perf_counter() - began)
    return min(took) / len(entities)
