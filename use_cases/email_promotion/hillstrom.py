"""The real randomised e-mail promotion that Kevin Hillstrom published (MineThatData E-Mail Analytics and Data Mining Challenge, 2008).

64,000 customers of a shop got an e-mail about men's goods, about women's goods or none, a third each, at random; what they spent in the two
weeks after is known. The file has no ids and no times: a customer's id is his line, what is known of him is put two weeks before
publication, and the log of who got what is imported as data without time.
"""

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b, file_digest
from pathlib import Path

import httpx
import polars as pl

from contracts.catalogue import NO_ACTION
from contracts.clock import to_us
from contracts.errors import DataRefused, ToolMissing
from storage.files import write_atomically, write_bytes
from use_cases.email_promotion.features import CUSTOMER

ADDRESS = "http://www.minethatdata.com/Kevin_Hillstrom_MineThatData_E-MailAnalytics_DataMiningChallenge_2008.03.20.csv"
SHA256 = "0e5893329d8b93cefecc571777672028290ab69865718020c78c7284f291aece"

RECORDED_AT = to_us(datetime(2008, 3, 6, tzinfo=UTC))
"""Nominal moment from which the customers' attributes hold, in microseconds: the file does not say it."""

PROPENSITY = 1.0 / 3.0

_ACTIONS: Mapping[str, str] = {"Mens E-Mail": "mens", "Womens E-Mail": "womens", "No E-Mail": NO_ACTION}


def fetch(path: Path | None, cache: Path, address: str = ADDRESS) -> Path:
    """The published file: the one at `path`, else the one in `cache`, else downloaded into it.

    Raises:
        DataRefused: a file has not the published digest.
        ToolMissing: there is no file, and the address cannot be reached.
    """
    if path is not None:
        check(path)
        return path
    target = cache / "hillstrom.csv"
    if not target.exists():
        try:
            answer = httpx.get(address, timeout=30.0, follow_redirects=True)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise ToolMissing(
                f"Hillstrom's data ({address} cannot be fetched: {type(error).__name__})",
                f"get that file where you are online (SHA-256 {SHA256}), and give its path with --path FILE.",
            ) from error
        write_bytes(target, answer.content)
    try:
        check(target)
    except DataRefused:
        target.unlink()
        raise
    return target


def check(path: Path) -> None:
    """Check that a file is the published one, byte for byte.

    Raises:
        DataRefused: it is not, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataRefused(str(path), [f"it cannot be read ({error.strerror})"]) from error
    if found != SHA256:
        raise DataRefused(str(path), [f"its SHA-256 is {found}, that of the published file {SHA256}"])


def read(path: Path) -> pl.DataFrame:
    """The customers, a row each, in the file's order.

    Returns:
        `entity_id`; the fields of the event type `customer`; `action`; `visit` (bool); `spend_micros` (micro-dollars, exact).
    """
    raw = pl.read_csv(path, infer_schema=False)
    flag = {name: pl.col(name) == "1" for name in ("mens", "womens", "newbie", "visit")}
    return raw.with_row_index("line", offset=1).select(
        entity_id=pl.format("customer-{}", pl.col("line").cast(pl.String).str.zfill(5)),
        recency_months=pl.col("recency").cast(pl.Int64),
        history_cents=_units("history", 2),
        bought_mens=flag["mens"],
        bought_womens=flag["womens"],
        zip_code=pl.col("zip_code"),
        newbie=flag["newbie"],
        channel=pl.col("channel"),
        action=pl.col("segment").replace_strict(_ACTIONS),
        visit=flag["visit"],
        spend_micros=_units("spend", 6),
    )


def halves(customers: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split customers at random, each by a hash of seed and id: about half to each side, for ever the same."""
    first = pl.Series(
        [blake2b(f"{seed}:{entity}".encode(), digest_size=1).digest()[0] < 128 for entity in customers["entity_id"]], dtype=pl.Boolean
    )
    return customers.filter(first), customers.filter(~first)


def write_customers(customers: pl.DataFrame, path: Path) -> None:
    """Write the table `customers`, as the shop's own database has it, into a SQLite file: the attribute source `customer`."""
    fields = list(CUSTOMER.fields)
    rows = customers.select("entity_id", pl.lit(RECORDED_AT).alias("valid_from"), pl.lit(RECORDED_AT).alias("recorded_at"), *fields)

    def fill(temporary: Path) -> None:
        with sqlite3.connect(temporary) as database:
            database.execute(f"CREATE TABLE customers ({', '.join(rows.columns)}, PRIMARY KEY (entity_id, valid_from))")
            database.executemany(f"INSERT INTO customers VALUES ({', '.join('?' * rows.width)})", rows.iter_rows())
        database.close()

    write_atomically(path, fill)


def write_events(customers: pl.DataFrame, path: Path) -> None:
    """Write what is known of customers as events for the bulk import, into a Parquet file: the same as the table says."""
    known = customers.select(
        event_id=pl.format("hillstrom-known-{}", "entity_id"),
        entity_id="entity_id",
        type=pl.lit(CUSTOMER.name),
        event_time=pl.lit(RECORDED_AT),
        ingested_time=pl.lit(RECORDED_AT),
        **{field: pl.col(field) for field in CUSTOMER.fields},
    )
    write_atomically(path, known.write_parquet)


def write_log(customers: pl.DataFrame, path: Path) -> None:
    """Write what was sent to customers and what they spent, as a logged experiment for the bulk import, into a Parquet file.

    It has no times, so the customers' attributes must be taken in before it: a decision knows what is known when it is imported.
    """
    log = customers.select(
        decision_id=pl.format("hillstrom-{}", "entity_id"),
        entity_id="entity_id",
        action="action",
        propensity=pl.lit(PROPENSITY),
        reward="spend_micros",
    )
    write_atomically(path, log.write_parquet)


def _units(column: str, digits: int) -> pl.Expr:
    exact: pl.Expr = pl.col(column).str.to_decimal(scale=digits) * 10**digits
    return exact.cast(pl.Int64)
