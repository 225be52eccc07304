"""Where attribute tables lie, and what is said when they are not as declared."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from contracts.errors import InvalidInput, SettingsError, StoreUnavailable
from flows.sources import Row, locate, rows
from tests.flows.conftest import USE_CASE
from tests.flows.customers import COLUMNS, customer, in_parquet, in_sqlite
from use_cases.definition import AttributeSource, load

SOURCE = load(USE_CASE).attribute_sources[0]
FIELDS = load(USE_CASE).schema.types["customer"].fields

Put = Callable[..., Path]


def found(file: Path, since_us: int = 0, source: AttributeSource = SOURCE) -> list[Row]:
    return list(rows(source, FIELDS, locate(source, {"customer": str(file)}), since_us))


@pytest.mark.parametrize(
    "name, put",
    [("customers.sqlite", in_sqlite), ("customers.parquet", in_parquet), ("50% [a]?.sqlite", in_sqlite), ("50% [a]*.parquet", in_parquet)],
)
def test_rows_come_in_the_order_they_were_recorded_and_only_new_ones(tmp_path: Path, name: str, put: Put) -> None:
    file = put(tmp_path / name, customer("b", 30, 1), customer("a", 10, 2), customer("a", 20, 3), customer("c", None))
    assert {(row["entity_id"], row["recorded_at"]) for row in found(file, 15)} == {("a", 20), ("b", 30), ("c", None)}
    timed = [row["recorded_at"] for row in found(file) if row["recorded_at"] is not None]
    assert timed == [10, 20, 30]
    assert set(found(file)[0]) == set(COLUMNS)


def test_a_parquet_file_may_have_moments_with_a_zone_and_other_columns(tmp_path: Path) -> None:
    at = datetime(2026, 1, 1, 9, tzinfo=UTC)
    file = in_parquet(tmp_path / "customers.parquet", customer("a", at, note="x"))
    (row,) = found(file)
    assert row["valid_from"] == row["recorded_at"] == 1_767_258_000_000_000 and "note" not in row
    assert found(file, 1_767_258_000_000_001) == []


def test_an_empty_table_gives_nothing(tmp_path: Path) -> None:
    in_parquet(tmp_path / "customers.parquet", customer("a", 1))
    pl.read_parquet(tmp_path / "customers.parquet").clear().write_parquet(tmp_path / "none.parquet")
    assert found(tmp_path / "none.parquet") == []
    assert found(in_sqlite(tmp_path / "customers.sqlite")) == []


@pytest.mark.parametrize(
    "change, said",
    [
        (pl.DataFrame.lazy, None),
        (lambda frame: frame.drop("newbie"), "has no column `newbie`"),
        (lambda frame: frame.rename({"newbie": "newby"}), "has no column `newbie`. Did you mean `newby`?"),
        (
            lambda frame: frame.with_columns(pl.col("recency_months") * 1.5),
            "has column `recency_months` of type Float64; expected of type int",
        ),
        (lambda frame: frame.with_columns(zip_code=1), "has column `zip_code` of type Int32; expected of type str"),
        (lambda frame: frame.with_columns(valid_from=datetime(2026, 1, 1)), "has column `valid_from` of type Datetime"),
        (lambda frame: frame.with_columns(recorded_at=pl.lit("now")), "has column `recorded_at` of type String"),
    ],
)
def test_a_parquet_file_that_is_not_as_declared_is_named_with_its_column(
    tmp_path: Path, change: Callable[[pl.DataFrame], pl.DataFrame], said: str | None
) -> None:
    file = in_parquet(tmp_path / "customers.parquet", customer("a", 1))
    change(pl.read_parquet(file)).lazy().collect().write_parquet(file)
    if said is None:
        assert len(found(file)) == 1
        return
    with pytest.raises(InvalidInput) as caught:
        found(file)
    assert str(caught.value).startswith("`attribute source customer` ") and said in str(caught.value)


def test_a_half_written_file_is_said_to_be_one(tmp_path: Path) -> None:
    file = in_parquet(tmp_path / "customers.parquet", customer("a", 1))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(StoreUnavailable, match="attribute source customer.*no whole Parquet file"):
        found(file)
    (tmp_path / "broken.sqlite").write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(StoreUnavailable, match="attribute source customer"):
        found(tmp_path / "broken.sqlite")


def test_a_sqlite_table_that_lost_a_column_is_named(tmp_path: Path) -> None:
    file = in_sqlite(tmp_path / "customers.sqlite", customer("a", 1))
    narrow, lost, other, gone = (
        AttributeSource("customer", query)
        for query in (
            "SELECT entity_id, valid_from, recorded_at FROM customers",
            SOURCE.query.replace("newbie", "beginner"),
            SOURCE.query.replace("newbie", "newbie, 1 AS rank"),
            SOURCE.query.replace("FROM customers", "FROM buyers"),
        )
    )
    for source, said in (
        (narrow, "has no column `recency_months`"),
        (lost, "no such column: beginner"),
        (other, "gives a column `rank` that its event type does not declare"),
        (gone, "no such table: buyers"),
    ):
        with pytest.raises(InvalidInput, match=said):
            found(file, source=source)


@pytest.mark.parametrize(
    "named, said",
    [
        ("", "a SQLite file"),
        ("nowhere.sqlite", "that is there"),
        ("postgresql://shop:very-secret@db/shop", "no password in it"),
        ("postgresql://shop@db/shop?password=very-secret", "no password in it"),
    ],
)
def test_a_place_that_cannot_be_is_named_without_its_secret(named: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        locate(SOURCE, {"customer": named})
    assert "attribute_sources.customer" in str(caught.value) and said in str(caught.value)
    assert "very-secret" not in str(caught.value)


def test_an_address_is_shown_without_what_follows_the_question_mark() -> None:
    address = locate(SOURCE, {"customer": "postgresql://shop@db/shop?passfile=/etc/shop"})
    assert (address.kind, str(address)) == ("postgresql", "postgresql://shop@db/shop")
