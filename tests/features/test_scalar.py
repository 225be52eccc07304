import math

import pytest

from contracts.errors import DefinitionError
from features.expressions import Expression, bucket, case, coalesce, col, columns, number
from features.scalar import build

A, B, GONE = col("a"), col("b"), col("gone")
ROW = {"a": 6.0, "b": 4.0, "gone": math.nan, "zero": 0.0}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (A + B, 10.0),
        (A - B, 2.0),
        (A * B, 24.0),
        (A / B, 1.5),
        (1 + A, 7.0),
        (1 - A, -5.0),
        (2 * A, 12.0),
        (3 / A, 0.5),
        (A / col("zero"), math.nan),
        (A + GONE, math.nan),
        (coalesce(GONE, A / col("zero"), B, A), 4.0),
        (coalesce(GONE, GONE), math.nan),
        (case(A > B, 1, 2), 1.0),
        (case(A < B, 1, 2), 2.0),
        (case(A >= 6, 1, 2), 1.0),
        (case(A <= 5, 1, 2), 2.0),
        (case(A.equals(6), 1, 2), 1.0),
        (case(A.differs(6), 1, 2), 2.0),
        (case(GONE.equals(GONE), 1, 2), 2.0),
        (case(A.differs(GONE), 1, 2), 2.0),
        (case(GONE > 0, 1, 2), 2.0),
        (bucket(A, (1, 6, 7)), 2.0),
        (bucket(A, (7.5,)), 0.0),
        (bucket(GONE, (1,)), math.nan),
        (number(3), 3.0),
    ],
)
def test_grammar(expression: Expression, value: float) -> None:
    found = build(expression, {name: position for position, name in enumerate(ROW)})(list(ROW.values()))
    assert found == value or (math.isnan(found) and math.isnan(value))


def test_columns_are_named_once_in_order() -> None:
    assert columns(case(B > A, bucket(A, (1,)), coalesce(GONE, B) * 2)) == ("b", "a", "gone")


@pytest.mark.parametrize("edges", [(), (2, 1), (1, 1), (math.nan,), (1, math.inf)])
def test_edges_must_ascend(edges: tuple[float, ...]) -> None:
    with pytest.raises(DefinitionError, match="ascend"):
        bucket(A, edges)


@pytest.mark.parametrize("operand", [math.nan, math.inf, True, "a", None])
def test_other_operands_are_refused(operand: object) -> None:
    with pytest.raises(DefinitionError, match="no operand"):
        number(operand)
