"""The use case of the e-mails, and the loader of the real data."""

import sqlite3
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import polars as pl
import pytest

from contracts.errors import DataRefused, ToolMissing
from contracts.events import FieldType
from decisions.eligibility import Eligibility
from training.event_file import EventRules, read_events
from use_cases.definition import load
from use_cases.email_promotion import USE_CASE, hillstrom
from use_cases.email_promotion.features import CHANNELS, CUSTOMER, CUSTOMERS, ZIP_CODES

Shared = Callable[[str], Path]

HEADER = "recency,history_segment,history,mens,womens,zip_code,newbie,channel,segment,visit,conversion,spend\n"
SAMPLE = (
    HEADER
    + "10,2) $100 - $200,142.44,1,0,Surburban,0,Phone,Womens E-Mail,0,0,0\n"
    + "6,3) $200 - $350,329.08,1,1,Rural,1,Web,No E-Mail,1,1,29.99\n"
    + "1,1) $0 - $100,45.3,0,1,Urban,0,Multichannel,Mens E-Mail,1,1,499\n"
)


@pytest.fixture
def sample(tmp_path: Path) -> pl.DataFrame:
    path = tmp_path / "sample.csv"
    path.write_text(SAMPLE)
    return hillstrom.read(path)


def test_the_use_case_is_whole() -> None:
    assert load("email_promotion") is USE_CASE
    USE_CASE.feature_set.check(USE_CASE.schema)
    Eligibility(USE_CASE.catalogue, USE_CASE.feature_set, USE_CASE.baseline)
    assert list(USE_CASE.catalogue.index) == ["mens", "womens", "none"] and USE_CASE.baseline == "none"


def test_amounts_are_exact_integers(sample: pl.DataFrame) -> None:
    assert sample["history_cents"].to_list() == [14_244, 32_908, 4_530]
    assert sample["spend_micros"].to_list() == [0, 29_990_000, 499_000_000]


def test_customers_are_named_by_their_line_and_actions_by_the_catalogue(sample: pl.DataFrame) -> None:
    assert sample.select("entity_id", "action", "bought_mens", "newbie").rows() == [
        ("customer-00001", "womens", True, False),
        ("customer-00002", "none", True, True),
        ("customer-00003", "mens", False, False),
    ]


def test_the_shop_s_table_answers_the_attribute_source_s_query(sample: pl.DataFrame, tmp_path: Path) -> None:
    hillstrom.write_customers(sample, tmp_path / "shop.sqlite")
    with sqlite3.connect(tmp_path / "shop.sqlite") as database:
        cursor = database.execute(CUSTOMERS.query)
        columns = [name for name, *_ in cursor.description]
        rows = cursor.fetchall()
    database.close()
    assert columns == ["entity_id", "valid_from", "recorded_at", *CUSTOMER.fields]
    at = hillstrom.RECORDED_AT
    assert rows[1] == ("customer-00002", at, at, 6, 32_908, 1, 1, "Rural", 1, "Web")


def test_the_log_is_one_that_the_bulk_import_takes(sample: pl.DataFrame, tmp_path: Path) -> None:
    hillstrom.write_log(sample, tmp_path / "log.parquet")
    assert pl.read_parquet(tmp_path / "log.parquet").rows() == [
        ("hillstrom-customer-00001", "customer-00001", "womens", 1 / 3, 0),
        ("hillstrom-customer-00002", "customer-00002", "none", 1 / 3, 29_990_000),
        ("hillstrom-customer-00003", "customer-00003", "mens", 1 / 3, 499_000_000),
    ]


def test_what_is_known_comes_in_as_events_too(sample: pl.DataFrame, tmp_path: Path) -> None:
    hillstrom.write_events(sample, tmp_path / "customers.parquet")
    known = read_events(tmp_path / "customers.parquet", EventRules(USE_CASE.schema, hillstrom.RECORDED_AT))
    assert known.select("event_id", "entity_id", "type", "recency_months", "channel").rows()[1] == (
        "hillstrom-known-customer-00002", "customer-00002", "customer", 6, "Web",
    )  # fmt: skip


def test_halves_share_nobody_and_change_with_the_seed(sample: pl.DataFrame) -> None:
    many = pl.DataFrame({"entity_id": [f"c-{number}" for number in range(2_000)]})
    first, second = hillstrom.halves(many, 1)
    assert set(first["entity_id"]).isdisjoint(second["entity_id"]) and first.height + second.height == 2_000
    assert abs(first.height - 1_000) < 120
    assert hillstrom.halves(many, 1)[0].equals(first) and not hillstrom.halves(many, 2)[0].equals(first)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    path.write_text(SAMPLE)
    with pytest.raises(DataRefused, match="its SHA-256 is .*, that of the published file 0e589332"):
        hillstrom.fetch(path, tmp_path)
    with pytest.raises(DataRefused, match="cannot be read"):
        hillstrom.fetch(tmp_path / "gone.csv", tmp_path)


def test_offline_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match=r"cannot be fetched: \w+.*give its path with --path FILE"):
        hillstrom.fetch(None, tmp_path, address="http://127.0.0.1:9/hillstrom.csv")
    assert not list(tmp_path.iterdir())


def test_it_is_fetched_once_and_checked(shared: Shared, tmp_path: Path) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(shared("data")))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/hillstrom.csv"
        fetched = hillstrom.fetch(None, tmp_path, address)
        server.shutdown()
    assert hillstrom.fetch(None, tmp_path, address) == fetched == tmp_path / "hillstrom.csv"


def test_a_wrong_file_in_the_cache_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "hillstrom.csv").write_text(SAMPLE)
    with pytest.raises(DataRefused):
        hillstrom.fetch(None, tmp_path)
    assert not (tmp_path / "hillstrom.csv").exists()


def test_the_published_facts_hold(shared: Shared, tmp_path: Path) -> None:
    customers = hillstrom.read(hillstrom.fetch(shared("data/hillstrom.csv"), tmp_path))
    facts = customers.group_by("action").agg(
        customers=pl.len(),
        spend=(pl.col("spend_micros").mean() / 1e6).round(4),
        conversion=((pl.col("spend_micros") > 0).mean() * 100).round(4),
        visits=(pl.col("visit").mean() * 100).round(2),
    )
    assert sorted(facts.rows()) == [
        ("mens", 21_307, 1.4226, 1.2531, 18.28),
        ("none", 21_306, 0.6528, 0.5726, 10.62),
        ("womens", 21_387, 1.0772, 0.8837, 15.14),
    ]
    assert set(customers["zip_code"]) == set(ZIP_CODES) and set(customers["channel"]) == set(CHANNELS)
    assert customers.null_count().row(0) == (0,) * customers.width
    assert [kind for kind in CUSTOMER.fields.values() if kind is FieldType.STR] == [FieldType.STR] * 2
