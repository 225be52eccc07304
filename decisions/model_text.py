"""LightGBM's model text, looked at before the library reads it: what is laid out wrongly there ends the process, not the reading."""

import re

from contracts.errors import InvalidInput

_END = b"end of trees"


def check_model_text(model: bytes, name: str) -> None:
    """Check that trees lie where the text says, that their arrays are as long as they have to be, and that every way down them ends.

    Args:
        model: the text, as `Booster.model_to_string` gives it.
        name: of the file, for the words of a refusal.

    Raises:
        InvalidInput: it is laid out otherwise, and where.
    """
    try:
        _check(model)
    except (ValueError, IndexError, KeyError) as error:
        raise InvalidInput(name, f"is no LightGBM model ({error})", "the text that Booster.model_to_string gives") from error


def _check(model: bytes) -> None:
    begin = model.find(b"\nTree=0\n") + 1
    if not begin:
        begin = model.index(_END)
    head = fields(model[:begin])
    at, columns = begin, int(head["max_feature_idx"]) + 1
    for number, size in enumerate(integers(head.get("tree_sizes", ""))):
        tree = model[at : at + size]
        if size <= 0 or not tree.startswith(f"Tree={number}\n".encode()):
            raise ValueError(f"tree {number} does not begin where the text says")
        _check_tree(fields(tree), number, columns)
        at += size
    if not model.startswith(_END, at):
        raise ValueError("its trees do not end where the text says")


def _check_tree(tree: dict[str, str], number: int, columns: int) -> None:
    leaves, categorical = int(tree["num_leaves"]), int(tree["num_cat"])
    if leaves < 1 or categorical < 0 or len(tree["leaf_value"].split()) != leaves:
        raise ValueError(f"tree {number} has not as many values as leaves")
    nodes = leaves - 1
    if not nodes:
        return
    features, kinds, left, right = (integers(tree[key]) for key in ("split_feature", "decision_type", "left_child", "right_child"))
    thresholds = tree["threshold"].split()
    if {len(features), len(kinds), len(left), len(right), len(thresholds)} != {nodes}:
        raise ValueError(f"tree {number} has not as many splits as nodes")
    if not all(0 <= feature < columns for feature in features):
        raise ValueError(f"tree {number} splits by a column that there is not")
    # why: a node is always split after its parent, so a way that goes up again would never end
    if not all(-leaves <= child < nodes and (child < 0 or child > node) for side in (left, right) for node, child in enumerate(side)):
        raise ValueError(f"tree {number} has a way that does not end in a leaf")
    if categorical:
        bounds, words = integers(tree["cat_boundaries"]), tree["cat_threshold"].split()
        if len(bounds) != categorical + 1 or bounds != sorted(bounds) or bounds[0] != 0 or bounds[-1] != len(words):
            raise ValueError(f"tree {number} has not as many sets of categories as it says")
    sets = [float(threshold) for threshold, kind in zip(thresholds, kinds, strict=True) if kind & 1]
    if not all(0 <= place < categorical for place in sets):
        raise ValueError(f"tree {number} splits by a set of categories that there is not")


def leaf_count(model: bytes) -> int:
    """How many leaves all trees of a model have, which is how large it is."""
    return sum(int(count) for count in re.findall(rb"^num_leaves=(\d+)$", model, re.MULTILINE))


def fields(text: bytes) -> dict[str, str]:
    """The lines `key=value` of a part of the text.

    Raises:
        ValueError: a key stands twice.
    """
    found = re.findall(r"^([a-z_]+)=(.*)$", text.decode(), re.MULTILINE)
    if len(fields := dict(found)) < len(found):
        raise ValueError("a key stands twice")
    return fields


def integers(text: str) -> list[int]:
    """The integers of a line."""
    return [int(word) for word in text.split()]
