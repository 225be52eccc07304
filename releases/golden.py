"""Golden decisions: what training computed for some rows, which every engine that serves the release must reproduce."""

from collections.abc import Mapping

import polars as pl

from contracts.catalogue import Catalogue
from contracts.errors import InvalidInput

GOLDEN_SCHEMA: Mapping[str, pl.DataType] = {
    "features": pl.List(pl.Float64),
    "candidate_ids": pl.List(pl.String),
    "scores": pl.List(pl.Float64),
    "p_in_arm": pl.List(pl.Float64),
}
"""One row a decision: the features in the set's order; the eligible candidates in catalogue order, with score and probability."""


def check_golden(golden: pl.DataFrame, catalogue: Catalogue) -> None:
    """Check golden decisions against their schema and the catalogue.

    Raises:
        InvalidInput: there are none; a column is missing or of another type; lists of a row differ in length, name an unknown candidate or
            one twice, or their probabilities do not sum to one; rows differ in their number of features.
    """
    if dict(golden.schema) != dict(GOLDEN_SCHEMA):
        raise InvalidInput("golden", f"has the columns {dict(golden.schema)}", f"{dict(GOLDEN_SCHEMA)}")
    if golden.height == 0:
        raise InvalidInput("golden", "has no rows", "at least one golden decision")
    if golden.null_count().row(0) != (0,) * golden.width or golden["features"].list.len().n_unique() != 1:
        raise InvalidInput("golden", "has an empty cell, or rows of different length", "the same features in every row")
    for number, (ids, scores, p_in_arm) in enumerate(golden.select("candidate_ids", "scores", "p_in_arm").iter_rows()):
        positions = [catalogue.index.get(candidate, -1) for candidate in ids]
        if -1 in positions or positions != sorted(set(positions)) or not positions:
            raise InvalidInput("golden.candidate_ids", f"of row {number} are {ids}", "candidates of the catalogue, in its order")
        if len(scores) != len(ids) or len(p_in_arm) != len(ids) or None in scores or None in p_in_arm:
            raise InvalidInput("golden", f"has lists of different length in row {number}", "one score and one probability a candidate")
        if not abs(sum(p_in_arm) - 1.0) <= 1e-9 or min(p_in_arm) < 0.0:
            raise InvalidInput("golden.p_in_arm", f"of row {number} sums to {sum(p_in_arm)}", "probabilities that sum to 1")
