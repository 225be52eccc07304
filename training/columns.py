"""Columns of files that other systems wrote: read strictly, with what is wrong told by its first rows."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from contracts.errors import DataRefused

EXAMPLES = 3
LONGEST_ID = 128


def read(path: Path) -> pl.DataFrame:
    """The file as it is: Parquet if its name ends so, else CSV with every column a text.

    Raises:
        DataRefused: it is unreadable or half-written.
    """
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path, hive_partitioning=False)
        with path.open("rb") as file:
            file.seek(0, 2)
            if file.tell():
                file.seek(-1, 2)
                if file.read(1) != b"\n":
                    raise DataRefused(path.name, ["its last line does not end in a line feed: it seems to be half-written. Write it anew"])
        return pl.read_csv(path, infer_schema=False)
    except OSError as error:
        raise DataRefused(path.name, [f"it cannot be opened ({error.strerror or error})"]) from error
    except pl.exceptions.PolarsError as error:
        kind = "Parquet" if path.suffix == ".parquet" else "CSV"
        what = str(error).splitlines()[0]
        raise DataRefused(path.name, [f"it cannot be read as {kind} ({what}); it may be half-written. Write it anew"]) from error


def first(rows: pl.DataFrame, name: str) -> str:
    """The first wrong rows of a column, in words; `row` numbers them."""
    shown = rows.head(EXAMPLES)
    told = ", ".join(f"row {row}: {_short(value)}" for row, value in zip(shown["row"], shown[name], strict=True))
    return f" (first: {told})"


def _short(value: object) -> str:
    text = repr(value.to_list() if isinstance(value, pl.Series) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def unfit_id(name: str) -> pl.Expr:
    """Whether a column's text cannot be an id."""
    column = pl.col(name)
    return (column.str.len_bytes() > LONGEST_ID) | (column.str.len_bytes() == 0) | column.str.contains("\0", literal=True)


def text(column: pl.Series) -> pl.Series:
    """A column of texts; whole numbers are taken as texts."""
    if column.dtype.is_integer():
        return column.cast(pl.String)
    if column.dtype not in (pl.String, pl.Categorical, pl.Enum):
        raise pl.exceptions.InvalidOperationError("no text")
    return column.cast(pl.String)


def number(column: pl.Series) -> pl.Series:
    """A column of finite numbers, null where one is not."""
    if not (column.dtype.is_numeric() or column.dtype == pl.String):
        raise pl.exceptions.InvalidOperationError("no number")
    cast = column.cast(pl.Float64, strict=False)
    return cast.set(~cast.is_finite().fill_null(True), None)


def integer(column: pl.Series) -> pl.Series:
    """A column of 64-bit integers, null where a text is none."""
    if not (column.dtype.is_integer() or column.dtype == pl.String):
        raise pl.exceptions.InvalidOperationError("no integer")
    return column.cast(pl.Int64, strict=False)


def time(column: pl.Series) -> pl.Series:
    """A column of times in microseconds (UTC): whole numbers, or moments with a zone; null where one has none."""
    if isinstance(column.dtype, pl.Datetime):
        if column.dtype.time_zone is None:
            raise pl.exceptions.InvalidOperationError("no zone")
        return column.dt.cast_time_unit("us").dt.epoch("us")
    if column.dtype == pl.String:
        numbers = column.cast(pl.Int64, strict=False)
        if numbers.null_count() == column.null_count():
            return numbers
        zoned = column.str.contains(r"(Z|[+-]\d{2}:?\d{2})$").fill_null(False)
        return column.set(~zoned, None).str.to_datetime(time_unit="us", time_zone="UTC", strict=False).dt.epoch("us")
    return integer(column)


def list_of(inner: pl.DataType) -> Callable[[pl.Series], pl.Series]:
    """Makes a column of lists, from lists or JSON arrays."""

    def convert(column: pl.Series) -> pl.Series:
        if column.dtype == pl.String:
            return column.str.json_decode(pl.List(inner))
        return column.cast(pl.List(inner), strict=True)

    return convert
