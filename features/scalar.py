"""Derived features of one row: the grammar compiled to Python functions over the row's values. Absent is NaN."""

import math
import operator
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from features.expressions import Arithmetic, Bucket, Case, Coalesce, Column, Compare, Expression, Number

Function: TypeAlias = Callable[[Sequence[float]], float]

_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}


def build(expression: Expression, positions: Mapping[str, int]) -> Function:
    """A function from the row's values to the expression's, NaN where it is absent.

    Example:
        >>> from features.expressions import col
        >>> build(col("a") / col("b"), {"a": 0, "b": 1})([1.0, 4.0])
        0.25
    """
    match expression:
        case Number(value=constant):
            return lambda row: constant
        case Column(name=name):
            return operator.itemgetter(positions[name])
        case Arithmetic(op="/", left=left, right=right):
            return _quotient(build(left, positions), build(right, positions))
        case Arithmetic(op=op, left=left, right=right):
            return _binary(_ARITHMETIC[op], build(left, positions), build(right, positions))
        case Case(condition=condition, then=then, otherwise=otherwise):
            return _case(_condition(condition, positions), build(then, positions), build(otherwise, positions))
        case Coalesce(operands=operands):
            return _coalesce([build(operand, positions) for operand in operands])
        case Bucket(value=value, edges=edges):
            return _bucket(build(value, positions), edges)


def _condition(condition: Compare, positions: Mapping[str, int]) -> Callable[[Sequence[float]], bool]:
    left, right = build(condition.left, positions), build(condition.right, positions)
    if condition.op == "!=":
        return lambda row: (a := left(row)) == a and (b := right(row)) == b and a != b
    compare = _COMPARE[condition.op]
    return lambda row: compare(left(row), right(row))


def _binary(apply: Callable[[float, float], float], left: Function, right: Function) -> Function:
    return lambda row: apply(left(row), right(row))


def _quotient(left: Function, right: Function) -> Function:
    def divide(row: Sequence[float]) -> float:
        divisor = right(row)
        return left(row) / divisor if divisor != 0.0 else math.nan

    return divide


def _case(condition: Callable[[Sequence[float]], bool], then: Function, otherwise: Function) -> Function:
    return lambda row: then(row) if condition(row) else otherwise(row)


def _coalesce(operands: Sequence[Function]) -> Function:
    def first_present(row: Sequence[float]) -> float:
        for operand in operands:
            if not math.isnan(value := operand(row)):
                return value
        return math.nan

    return first_present


def _bucket(value: Function, edges: Sequence[float]) -> Function:
    def count_edges(row: Sequence[float]) -> float:
        found = value(row)
        return found if math.isnan(found) else float(bisect_right(edges, found))

    return count_edges
