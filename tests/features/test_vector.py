"""Derived features over columns equal the same over single rows."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.expressions import Arithmetic, Case, Compare, Expression, Number, bucket, coalesce, col
from features.scalar import build
from features.vector import evaluate

NAMES = ("a", "b", "c")
numbers = st.one_of(st.floats(allow_infinity=False), st.sampled_from([0.0, -0.0, 1.0, math.nan, 1e308]))


def _grow(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    compare = st.builds(Compare, st.sampled_from(["<", "<=", "==", "!=", ">=", ">"]), inner, inner)
    return st.one_of(
        st.builds(Arithmetic, st.sampled_from(["+", "-", "*", "/"]), inner, inner),
        st.builds(Case, compare, inner, inner),
        st.builds(coalesce, inner, inner),
        inner.map(lambda value: bucket(value, (-1.0, 0.0, 2.5))),
    )


expressions = st.recursive(
    st.one_of(st.sampled_from(NAMES).map(col), st.floats(allow_nan=False, allow_infinity=False).map(Number)), _grow, max_leaves=8
)


@given(expressions, st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=5))
def test_columns_equal_rows(expression: Expression, rows: list[tuple[float, float, float]]) -> None:
    columns = {name: np.array([row[position] for row in rows]) for position, name in enumerate(NAMES)}
    function = build(expression, {name: position for position, name in enumerate(NAMES)})
    expected = np.array([function(row) for row in rows])
    found = evaluate(expression, columns, len(rows))
    assert (found.view(np.int64) == expected.view(np.int64))[~np.isnan(expected)].all()
    assert np.isnan(found).tolist() == np.isnan(expected).tolist()
