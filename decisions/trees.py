"""A LightGBM model as plain trees: what the compiled scorer is made from, and what it cannot be made from."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from contracts.errors import NotCompiled
from decisions.model_text import fields, integers

MOST_LEAVES = 1_024


class Link(IntEnum):
    """What makes a score of a sum of leaves; numbered as in `trees.c`."""

    IDENTITY = 0
    EXPONENTIAL = 1
    LOGISTIC = 2
    SQUARE = 3
    LOG_ONE_PLUS_EXP = 4


class Missing(IntEnum):
    """What a split takes for missing, or that it is one by categories; numbered as in `trees.c`, the first three as LightGBM does."""

    NONE = 0
    ZERO = 1
    NAN = 2
    CATEGORIES = 3


@dataclass(frozen=True, slots=True)
class Split:
    """An inner node. The children are nodes, or leaves as −1 − leaf.

    Attributes:
        column: that it looks at.
        kind: what is missing to it, and goes where `default_left` says; or that it splits by categories.
        threshold: goes left when the value is at most this.
        codes: goes left when the value, cut to an integer, is one of these.
    """

    column: int
    kind: Missing
    default_left: bool
    threshold: float
    codes: frozenset[int]
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Tree:
    """A regression tree: its leaves' values, and its splits, each after the one above it."""

    leaves: tuple[float, ...]
    splits: tuple[Split, ...]


@dataclass(frozen=True, slots=True)
class Trees:
    """A sum of trees, in order, and what makes a score of it.

    Attributes:
        scale: by which the logistic link multiplies the sum.
    """

    trees: tuple[Tree, ...]
    columns: int
    link: Link
    scale: float = 1.0


def read_trees(model: str) -> Trees:
    """The trees of a model's text, as `Booster.model_to_string` gives it and `check_model_text` lets through.

    Raises:
        NotCompiled: it has what is only LightGBM's to score: several classes, linear leaves, averaged trees, an unknown objective.
    """
    head, *parts = model.partition("\nend of trees")[0].split("\nTree=")
    about = fields(head.encode())
    for name in ("num_class", "num_tree_per_iteration"):
        if int(about.get(name, "1")) != 1:
            raise NotCompiled("the model has several classes")
    if "average_output" in head.split("\n"):
        raise NotCompiled("the model is a mean of trees, not a sum")
    link, scale = _link(about.get("objective", ""))
    return Trees(tuple(_tree(fields(part.encode())) for part in parts), int(about["max_feature_idx"]) + 1, link, scale)


def _link(objective: str) -> tuple[Link, float]:
    name, *params = objective.split() or [""]
    if name == "regression" and "sqrt" in params:
        return Link.SQUARE, 1.0
    if name not in _LINKS:
        raise NotCompiled(f"the model's objective is `{objective}`")
    scale = next((float(param.removeprefix("sigmoid:")) for param in params if param.startswith("sigmoid:")), 1.0)
    # why: LightGBM does not round to the nearest what it reads here; of these numbers there is nothing to round
    if not (scale * 1024.0).is_integer():
        raise NotCompiled(f"the model's objective is `{objective}`, of which LightGBM may have read another number")
    return _LINKS[name], scale


def _tree(tree: Mapping[str, str]) -> Tree:
    if int(tree.get("is_linear", "0")):
        raise NotCompiled("the model has linear leaves")
    leaves = _floats(tree["leaf_value"])
    if len(leaves) > MOST_LEAVES:
        raise NotCompiled(f"a tree has {len(leaves)} leaves; at most {MOST_LEAVES}")
    splits = tuple(_splits(tree)) if len(leaves) > 1 else ()
    children = sorted(child for split in splits for child in (split.left, split.right))
    if splits and children != [*range(-len(leaves), 0), *range(1, len(splits))]:
        raise NotCompiled("a tree has a leaf that two ways lead to")
    return Tree(leaves, splits)


def _splits(tree: Mapping[str, str]) -> Iterator[Split]:
    columns, kinds, left, right = (integers(tree[key]) for key in ("split_feature", "decision_type", "left_child", "right_child"))
    thresholds = _floats(tree["threshold"])
    bounds, words = (integers(tree.get(key, "")) for key in ("cat_boundaries", "cat_threshold"))
    for column, kind, threshold, *children in zip(columns, kinds, thresholds, left, right, strict=True):
        codes: frozenset[int] = frozenset()
        if kind & 1:
            own = words[bounds[int(threshold)] : bounds[int(threshold) + 1]]
            codes = frozenset(32 * place + bit for place, word in enumerate(own) for bit in range(32) if word >> bit & 1)
        elif kind >> 2 > Missing.NAN or math.isnan(threshold):
            raise NotCompiled(f"a split is of the kind {kind} at {threshold}")
        yield Split(column, Missing.CATEGORIES if kind & 1 else _MISSING[kind >> 2], bool(kind & 2), threshold, codes, *children)


def _floats(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split()))


_MISSING = tuple(Missing)
_IDENTITIES: Sequence[str] = (
    "", "custom", "regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg",
)  # fmt: skip
_LINKS: Mapping[str, Link] = {
    **dict.fromkeys(_IDENTITIES, Link.IDENTITY),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), Link.EXPONENTIAL),
    **dict.fromkeys(("binary", "cross_entropy"), Link.LOGISTIC),
    "cross_entropy_lambda": Link.LOG_ONE_PLUS_EXP,
}
