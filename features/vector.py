"""Derived features over whole columns, with NumPy; absent is NaN. The twin of `features.scalar`, operation by operation."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from features.expressions import Arithmetic, Bucket, Case, Coalesce, Column, Compare, Expression, Number

Floats: TypeAlias = NDArray[np.float64]

_ARITHMETIC: Mapping[str, Callable[[Floats, Floats], Floats]] = {"+": np.add, "-": np.subtract, "*": np.multiply}
_COMPARE: Mapping[str, Callable[[Floats, Floats], NDArray[np.bool_]]] = {
    "<": np.less,
    "<=": np.less_equal,
    "==": np.equal,
    ">=": np.greater_equal,
    ">": np.greater,
}


def evaluate(expression: Expression, columns: Mapping[str, Floats], rows: int) -> Floats:
    """The value of an expression in each row, NaN where it is absent.

    Args:
        expression: of the closed grammar.
        columns: (rows,) values of the features it reads, by name.
        rows: how many there are.

    Example:
        >>> from features.expressions import col
        >>> evaluate(col("a") / col("b"), {"a": np.array([1.0, 1.0]), "b": np.array([4.0, 0.0])}, 2).tolist()
        [0.25, nan]
    """
    with np.errstate(all="ignore"):
        return _evaluate(expression, columns, rows)


def _evaluate(expression: Expression, columns: Mapping[str, Floats], rows: int) -> Floats:
    match expression:
        case Number(value=constant):
            return np.full(rows, constant)
        case Column(name=name):
            return columns[name]
        case Arithmetic(op=op, left=left, right=right):
            one, other = _evaluate(left, columns, rows), _evaluate(right, columns, rows)
            if op == "/":
                return np.where(other != 0.0, one / other, np.nan)
            return _ARITHMETIC[op](one, other)
        case Case(condition=condition, then=then, otherwise=otherwise):
            return np.where(_holds(condition, columns, rows), _evaluate(then, columns, rows), _evaluate(otherwise, columns, rows))
        case Coalesce(operands=operands):
            found = np.full(rows, np.nan)
            for operand in operands:
                found = np.where(np.isnan(found), _evaluate(operand, columns, rows), found)
            return found
        case Bucket(value=inner, edges=edges):
            value = _evaluate(inner, columns, rows)
            return np.where(np.isnan(value), np.nan, np.searchsorted(np.array(edges), value, side="right").astype(np.float64))


def _holds(condition: Compare, columns: Mapping[str, Floats], rows: int) -> NDArray[np.bool_]:
    left, right = _evaluate(condition.left, columns, rows), _evaluate(condition.right, columns, rows)
    if condition.op == "!=":
        both: NDArray[np.bool_] = ~np.isnan(left) & ~np.isnan(right) & (left != right)
        return both
    return _COMPARE[condition.op](left, right)
