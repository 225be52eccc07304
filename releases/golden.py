"""Golden decisions: what training computed for some rows, which every engine that serves the release must reproduce."""

import io
from collections.abc import Mapping

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.catalogue import Catalogue
from contracts.errors import InvalidInput

GOLDEN_SCHEMA: Mapping[str, pl.DataType] = {
    "features": pl.List(pl.Float64),
    "candidate_ids": pl.List(pl.String),
    "scores": pl.List(pl.Float64),
    "p_in_arm": pl.List(pl.Float64),
}
"""One row a decision: the features in the set's order; the eligible candidates in catalogue order, with score and probability."""

MOST_BYTES = 64 * 2**20
"""What golden decisions may take once they are unpacked."""

# why: Polars panics on some Parquet that is not what it says
_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError, ValueError)


def write_golden(golden: pl.DataFrame) -> bytes:
    """Golden decisions as Parquet."""
    buffer = io.BytesIO()
    golden.write_parquet(buffer, compression="zstd", statistics=False)
    return buffer.getvalue()


def read_golden(content: bytes) -> pl.DataFrame:
    """What `write_golden` wrote; still to be checked.

    Raises:
        InvalidInput: it is no Parquet, or would take too much once it is unpacked.
    """
    try:
        described = pq.read_metadata(io.BytesIO(content))
        groups = [described.row_group(number) for number in range(described.num_row_groups)]
        if (size := sum(group.total_byte_size for group in groups)) > MOST_BYTES or described.num_rows > MOST_BYTES // 8:
            raise InvalidInput("golden", f"has {described.num_rows} rows of {size} bytes", f"at most {MOST_BYTES} bytes")
        return pl.read_parquet(io.BytesIO(content))
    except _ERRORS as error:
        raise InvalidInput("golden", f"cannot be read ({error})", "Parquet") from error


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
