"""The closed grammar of derived features: + − × ÷, comparison, case, coalesce, bucket, over the row's other features.

A value may be absent: a feature whose default is NaN and that has no value, or a quotient by zero. Arithmetic with an absent operand is
absent; a comparison with one is false. Everything else is IEEE 754 double arithmetic in the order written, so every engine gives the same
bits.
"""

import math
from itertools import pairwise
from typing import Literal, TypeAlias

import msgspec

from contracts.errors import DefinitionError
from features.origin import here

ArithmeticOp: TypeAlias = Literal["+", "-", "*", "/"]
CompareOp: TypeAlias = Literal["<", "<=", "==", "!=", ">=", ">"]


class Number(msgspec.Struct, frozen=True, tag="number", forbid_unknown_fields=True):
    """A finite constant."""

    value: float


class Operators:
    """Python's operators on numbers of the grammar; equality is spelt `equals` so that `==` keeps comparing definitions."""

    __slots__ = ()

    def __add__(self, other: "Operand") -> "Arithmetic":
        return Arithmetic("+", number(self), number(other))

    def __radd__(self, other: float) -> "Arithmetic":
        return Arithmetic("+", number(other), number(self))

    def __sub__(self, other: "Operand") -> "Arithmetic":
        return Arithmetic("-", number(self), number(other))

    def __rsub__(self, other: float) -> "Arithmetic":
        return Arithmetic("-", number(other), number(self))

    def __mul__(self, other: "Operand") -> "Arithmetic":
        return Arithmetic("*", number(self), number(other))

    def __rmul__(self, other: float) -> "Arithmetic":
        return Arithmetic("*", number(other), number(self))

    def __truediv__(self, other: "Operand") -> "Arithmetic":
        return Arithmetic("/", number(self), number(other))

    def __rtruediv__(self, other: float) -> "Arithmetic":
        return Arithmetic("/", number(other), number(self))

    def __lt__(self, other: "Operand") -> "Compare":
        return Compare("<", number(self), number(other))

    def __le__(self, other: "Operand") -> "Compare":
        return Compare("<=", number(self), number(other))

    def __gt__(self, other: "Operand") -> "Compare":
        return Compare(">", number(self), number(other))

    def __ge__(self, other: "Operand") -> "Compare":
        return Compare(">=", number(self), number(other))

    def equals(self, other: "Operand") -> "Compare":
        """True where both are present and equal."""
        return Compare("==", number(self), number(other))

    def differs(self, other: "Operand") -> "Compare":
        """True where both are present and not equal."""
        return Compare("!=", number(self), number(other))


class Column(Operators, msgspec.Struct, frozen=True, tag="column", forbid_unknown_fields=True):
    """The value of an earlier feature of the set, after its default."""

    name: str


class Arithmetic(Operators, msgspec.Struct, frozen=True, tag="arithmetic", forbid_unknown_fields=True):
    """`left op right`; a quotient by zero is absent."""

    op: ArithmeticOp
    left: "Expression"
    right: "Expression"


class Compare(msgspec.Struct, frozen=True, tag="compare", forbid_unknown_fields=True):
    """`left op right`, true or false; false where a side is absent. The condition of a `case`."""

    op: CompareOp
    left: "Expression"
    right: "Expression"


class Case(Operators, msgspec.Struct, frozen=True, tag="case", forbid_unknown_fields=True):
    """`then` where the condition is true, else `otherwise`."""

    condition: Compare
    then: "Expression"
    otherwise: "Expression"


class Coalesce(Operators, msgspec.Struct, frozen=True, tag="coalesce", forbid_unknown_fields=True):
    """The first operand that is present."""

    operands: tuple["Expression", ...]


class Bucket(Operators, msgspec.Struct, frozen=True, tag="bucket", forbid_unknown_fields=True):
    """How many of the ascending edges are ≤ the value; absent where the value is."""

    value: "Expression"
    edges: tuple[float, ...]


Expression: TypeAlias = Number | Column | Arithmetic | Case | Coalesce | Bucket
Operand: TypeAlias = Expression | float | int


def col(name: str) -> Column:
    """The feature of this name.

    Example:
        >>> ratio = col("spend_7d") / col("spend_28d")
        >>> ratio.op, columns(ratio)
        ('/', ('spend_7d', 'spend_28d'))
    """
    return Column(name)


def case(condition: Compare, then: Operand, otherwise: Operand) -> Case:
    """`then` where the condition holds, else `otherwise`.

    Example:
        >>> case(col("sessions_7d") > 3, 1.0, 0.0).condition.op
        '>'
    """
    return Case(condition, number(then), number(otherwise))


def coalesce(*operands: Operand) -> Coalesce:
    """The first operand that is present."""
    return Coalesce(tuple(number(operand) for operand in operands))


def bucket(value: Operand, edges: tuple[float, ...]) -> Bucket:
    """The number of edges that are ≤ the value: 0 below the first, len(edges) from the last on.

    Raises:
        DefinitionError: the edges are empty or do not ascend.
    """
    exact = tuple(float(edge) for edge in edges)
    if not exact or not all(map(math.isfinite, exact)) or any(a >= b for a, b in pairwise(exact)):
        raise DefinitionError(_where("bucket"), f"edges {edges} do not ascend", "Give finite numbers, each greater than the one before.")
    return Bucket(number(value), exact)


def number(operand: object) -> Expression:
    """An expression of an operand; a Python number becomes a constant.

    Raises:
        DefinitionError: it is not of the grammar, or is a constant that is not finite.
    """
    if isinstance(operand, (Number, Column, Arithmetic, Case, Coalesce, Bucket)):
        return operand
    if isinstance(operand, (int, float)) and not isinstance(operand, bool) and math.isfinite(operand):
        return Number(float(operand))
    raise DefinitionError(
        _where("derived feature"), f"{operand!r} is no operand", 'Use col("name"), finite numbers, case, coalesce and bucket.'
    )


def columns(expression: Expression | Compare) -> tuple[str, ...]:
    """Names of the features that an expression reads, each once, in the order of first use."""
    match expression:
        case Column(name=name):
            found: tuple[str, ...] = (name,)
        case Number():
            found = ()
        case Arithmetic(left=left, right=right) | Compare(left=left, right=right):
            found = (*columns(left), *columns(right))
        case Case(condition=condition, then=then, otherwise=otherwise):
            found = (*columns(condition), *columns(then), *columns(otherwise))
        case Coalesce(operands=operands):
            found = tuple(name for operand in operands for name in columns(operand))
        case Bucket(value=value):
            found = columns(value)
    return tuple(dict.fromkeys(found))


def _where(what: str) -> str:
    line = here()
    return f"{line}: {what}" if line else what
