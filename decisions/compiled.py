"""A compiled scorer: a model's trees laid out for `trees.c`, over the columns of a feature set and a catalogue."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import InvalidInput, NotCompiled
from decisions.kernel import Kernel
from decisions.matrix import Floats, ModelColumns, Positions
from decisions.trees import Missing, Tree, Trees

MOST_BYTES = 2**26
"""More memory than this is not spent on what candidates' own columns keep."""

QUICK = 25_000
"""Up to so many steps, a call keeps the interpreter: some thirty microseconds. A step is a candidate's leaf of a tree, or a split
that is asked, of which half are as a rule."""

_EVERYTHING = 2**64 - 1
_FLOAT64, _INT64 = np.dtype(np.float64), np.dtype(np.int64)


class CompiledScorer:
    """Scores as `LightGBMScorer`, to the bit; see `decisions.proof`. Any thread may use it: a call allocates what it writes to.

    Args:
        kernel: of this machine.
        layout: the model's trees.
        columns: what the model's columns are.

    Raises:
        NotCompiled: it would take too much memory.
    """

    def __init__(self, kernel: Kernel, layout: "Layout", columns: ModelColumns) -> None:
        candidates, own = columns.values.shape
        matched = columns.matched.shape[1]
        self._kernel, self._layout = kernel, layout
        self._features = len(columns.names) - own - matched
        if candidates * layout.words * 8 > MOST_BYTES:
            mebibytes = candidates * layout.words * 8 / 2**20
            raise NotCompiled(f"what candidates keep would take {mebibytes:.0f} MiB; at most {MOST_BYTES / 2**20:.0f}")
        # why: the kernel holds bare addresses into them
        self._arrays = {
            **layout.arrays,
            "matched_features": np.ascontiguousarray(columns.matched, dtype=np.int64),
            "own_keeps": np.empty((candidates, layout.words), dtype=np.uint64),
        }
        self._model = _Model(
            features=self._features,
            own=own,
            matched=matched,
            candidates=candidates,
            trees=layout.trees,
            words=layout.words,
            link=layout.link,
            scale=layout.scale,
            **{name: array.ctypes.data for name, array in self._arrays.items()},
        )
        self._address = ctypes.addressof(self._model)
        values = np.ascontiguousarray(columns.values, dtype=np.float64)
        kernel.own_keeps(self._address, values.ctypes.data, self._arrays["own_keeps"].ctypes.data)
        once = layout.splits(0, self._features) // 2
        each = layout.trees + layout.splits(self._features + own, len(columns.names)) // 2
        self._quick = (QUICK - once) // max(1, each)
        self._rooms: dict[int, type[ctypes.Array[ctypes.c_double]]] = {}
        self._score, self._score_quickly = kernel.score, kernel.score_quickly

    def over(self, columns: ModelColumns) -> "CompiledScorer":
        """The same model over other columns."""
        return CompiledScorer(self._kernel, self._layout, columns)

    def scores(self, features: Floats, positions: Positions) -> Floats:
        """See `decisions.scorer.Scorer`.

        Raises:
            InvalidInput: there are not as many features as the model has columns for.
        """
        if features.shape != (self._features,):
            raise InvalidInput("features", f"cannot be scored (their shape is {features.shape})", f"{self._features} of them")
        if features.dtype is not _FLOAT64 or positions.dtype is not _INT64:
            features, positions = features.astype(_FLOAT64), positions.astype(_INT64)
        count = len(positions)
        scores = self._room(count)
        call = self._score_quickly if count <= self._quick else self._score
        # why: bytes and arrays of ctypes are handed over in a tenth of the time that the address of a NumPy array takes to be asked for
        status = call(self._address, features.tobytes(), positions.tobytes(), count, scores)
        if status:
            raise MemoryError if status == 1 else IndexError(f"one of the positions {positions} is none of the catalogue")
        given: Floats = np.frombuffer(scores)
        return given

    def tree_scores(self, tree: int, matrix: Floats) -> Floats:
        """(k,) what one tree alone adds to the scores of (k, features) rows, for a model without columns of candidates."""
        given = np.ascontiguousarray(matrix, dtype=np.float64)
        values: Floats = np.empty(len(given))
        if self._kernel.tree(self._address, tree, given.ctypes.data, len(given), values.ctypes.data):
            raise MemoryError
        return values

    def _room(self, count: int) -> Any:
        if count not in self._rooms:
            self._rooms[count] = ctypes.c_double * count
        return self._rooms[count]()


class _Group(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("kind", "begin", "end", "default_begin", "default_end")]


_POINTERS = (
    "groups_of", "groups", "thresholds", "split_words", "split_keeps", "default_words", "default_keeps", "set_begins", "set_bits",
    "first_words", "first_leaves", "leaves", "matched_features", "own_keeps",
)  # fmt: skip


class _Model(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("features", "own", "matched", "candidates", "trees", "words", "link")),
        ("scale", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in _POINTERS),
    ]


@dataclass(frozen=True, slots=True)
class Layout:
    """A model's trees as `struct model` of `trees.c` has them.

    Attributes:
        arrays: its pointers that come from the trees, by name.
        words: of all trees together. `trees`, `link`, `scale`: see there.
    """

    arrays: Mapping[str, NDArray[Any]]
    words: int
    trees: int
    link: int
    scale: float

    def splits(self, begin: int, end: int) -> int:
        """How many splits ask for the columns from `begin` until `end`."""
        groups_of, groups = self.arrays["groups_of"], self.arrays["groups"]
        own = groups[groups_of[begin] : groups_of[end]]
        return int((own[:, 2] - own[:, 1]).sum())

    @classmethod
    def of(cls, trees: Trees) -> "Layout":
        """Lay trees out."""
        first_words = np.cumsum([0, *(-(-len(tree.leaves) // 64) for tree in trees.trees)], dtype=np.int32)
        first_leaves = np.cumsum([0, *(len(tree.leaves) for tree in trees.trees)], dtype=np.int32)[:-1]
        leaves: list[float] = []
        below: list[tuple[int, int]] = []
        for tree in trees.trees:
            order, own = _left_to_right(tree)
            leaves += [tree.leaves[leaf] for leaf in order]
            below += own
        splits = [split for tree in trees.trees for split in tree.splits]
        columns, kinds = (np.array(values, dtype=np.int64) for values in ([s.column for s in splits], [s.kind for s in splits]))
        thresholds = np.array([split.threshold for split in splits], dtype=np.float64)
        by_set = kinds == Missing.CATEGORIES
        thresholds[by_set] = np.arange(by_set.sum())
        sets = [_bits(split.codes) for split in splits if split.kind is Missing.CATEGORIES]
        # why: of one column and kind by ascending threshold, so that those which a value makes false are a run
        order_of = np.lexsort((thresholds, kinds, columns))
        first = np.repeat(first_words[:-1], [len(tree.splits) for tree in trees.trees])
        ranges = np.array(below, dtype=np.int64).reshape(-1, 2)
        place, words, keeps = _keeps(first[order_of], ranges[order_of])
        split = order_of[place]
        missing_right = ~np.array([each.default_left for each in splits], dtype=np.bool_)[split]
        keys, begins = np.unique(len(Missing) * columns[split] + kinds[split], return_index=True)
        bounds = np.append(begins, len(split))
        default_bounds = np.append(0, np.cumsum(missing_right))[bounds]
        groups = np.column_stack([keys % len(Missing), bounds[:-1], bounds[1:], default_bounds[:-1], default_bounds[1:]])
        return cls(
            {
                "groups_of": np.searchsorted(keys // len(Missing), np.arange(trees.columns + 1)).astype(np.int64),
                "groups": np.ascontiguousarray(groups, dtype=np.int64),
                "thresholds": thresholds[split],
                "split_words": words,
                "split_keeps": keeps,
                "default_words": words[missing_right],
                "default_keeps": keeps[missing_right],
                "set_begins": np.cumsum([0, *map(len, sets)], dtype=np.int64),
                "set_bits": np.array([word for own in sets for word in own], dtype=np.uint32),
                "first_words": first_words,
                "first_leaves": first_leaves,
                "leaves": np.array(leaves, dtype=np.float64),
            },
            words=int(first_words[-1]),
            trees=len(trees.trees),
            link=trees.link,
            scale=trees.scale,
        )


def _left_to_right(tree: Tree) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
    """A tree's leaves from left to right, and of each split the places of those below its left side."""
    sizes = [0] * len(tree.splits)
    for node in reversed(range(len(tree.splits))):
        sizes[node] = sum(sizes[child] if child >= 0 else 1 for child in (tree.splits[node].left, tree.splits[node].right))
    order = [0] * len(tree.leaves)
    below = [(0, 0)] * len(tree.splits)
    starts = [0] * len(tree.splits)
    for node, split in enumerate(tree.splits):
        middle = starts[node] + (sizes[split.left] if split.left >= 0 else 1)
        below[node] = starts[node], middle
        for child, start in ((split.left, starts[node]), (split.right, middle)):
            if child >= 0:
                starts[child] = start
            else:
                order[-1 - child] = start
    return sorted(range(len(order)), key=order.__getitem__), below


def _keeps(first: NDArray[Any], ranges: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """What splits clear: of each word that one does, whose it is, which it is, and what is left of it.

    Args:
        first: (s,) the first word of each split's tree.
        ranges: (s, 2) the leaves that it clears, from and until.
    """
    begin, end = ranges[:, 0] // 64, -(-ranges[:, 1] // 64)
    place = np.repeat(np.arange(len(first)), end - begin)
    word = np.arange(len(place)) - np.repeat(np.cumsum(end - begin) - end, end - begin)
    low, high = (_ones(np.clip(ranges[place, side] - 64 * word, 0, 64)) for side in (0, 1))
    return place, (first[place] + word).astype(np.int32), ~(low ^ high)


def _ones(count: NDArray[Any]) -> NDArray[Any]:
    """Words of so many low bits, of 0 to 64."""
    return np.where(count < 64, (np.uint64(1) << np.minimum(count, 63).astype(np.uint64)) - np.uint64(1), np.uint64(_EVERYTHING))


def _bits(codes: frozenset[int]) -> list[int]:
    words = [0] * (max(codes, default=-1) // 32 + 1)
    for code in codes:
        words[code // 32] |= 1 << code % 32
    return words
