"""A made-up history of purchases, rows that ask for features of it, and the twenty features that all peers compute."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from contracts.clock import DAY_US
from contracts.events import EventSchema, EventType, FieldType
from features.definitions import Aggregate, FeatureSet, Where, Window
from storage.tables import Tables, polars_schema

START = 20_000 * DAY_US
DAYS = 60
DEAR = 2_000_000
"""From this amount on a purchase is dear."""

WINDOWS = {"1h": Window.hours(1), "12h": Window.hours(12), "7d": Window.days(7), "12d": Window.days(12), "28d": Window.days(28)}
SCHEMA = EventSchema.build("history", [EventType("purchase", {"amount": FieldType.INT, "product": FieldType.STR})])


def features() -> FeatureSet:
    """Of each window the number, sum and mean of the amounts, and the sum of the dear ones."""
    found = []
    for name, window_us in WINDOWS.items():
        found += [
            Aggregate(name=f"n_{name}", source="purchase", aggregate="count", window_us=window_us),
            Aggregate(name=f"sum_{name}", source="purchase", aggregate="sum", field="amount", window_us=window_us),
            Aggregate(name=f"mean_{name}", source="purchase", aggregate="mean", field="amount", window_us=window_us),
            Aggregate(
                name=f"dear_{name}",
                source="purchase",
                aggregate="sum",
                field="amount",
                window_us=window_us,
                where=(Where("amount", ">=", DEAR),),
            ),
        ]
    return FeatureSet("history", tuple(found))


def parser_of(row: str, *events: int) -> argparse.ArgumentParser:
    """The options of a row that is measured on a history; of one that takes several sizes, those it takes by default."""
    parser = argparse.ArgumentParser(prog=f"make target ROW={row} ARGS=…")
    if events:
        parser.add_argument("--events", type=int, nargs="+", default=list(events), help="ascending")
    else:
        parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--players", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    return parser


@dataclass(frozen=True, slots=True)
class History:
    """Where a history lies: the event table's folder, and the spine."""

    tables: Path
    spine: Path

    @property
    def events(self) -> list[Path]:
        """Files of the event table, one a day."""
        return Tables(self.tables).files(SCHEMA.use_case, "events")


def write(folder: Path, events: int, players: int, rows: int, seed: int) -> History:
    """Make up a history: some players buy often, amounts are log-normal; rows ask at any moment of its second half."""
    rng = np.random.default_rng(seed)
    often = rng.gamma(0.7, 1.0, players)
    who = rng.choice(players, events, p=often / often.sum())
    when = np.sort(START + rng.integers(0, DAYS * DAY_US, events))
    columns = polars_schema("events", SCHEMA)
    table = pl.DataFrame(
        {
            "event_id": pl.int_range(events, eager=True).cast(pl.String).str.zfill(10),
            "entity_id": "player-" + pl.Series(who).cast(pl.String).str.zfill(7),
            "type": pl.repeat("purchase", events, eager=True),
            "event_time": when,
            "ingested_time": when,
            "amount": np.exp(rng.normal(14.0, 1.0, events)).astype(np.int64),
            "product": np.array(["gems", "pass", "skin", "booster"])[rng.integers(0, 4, events)],
            "simulated": pl.repeat(True, events, eager=True),
        }
    )
    table = table.with_columns(seq=pl.int_range(1, pl.len() + 1).over("entity_id"))
    whole = table.select(
        [pl.col(name).cast(kind) if name in table.columns else pl.lit(None, kind).alias(name) for name, kind in columns.items()]
    )
    tables = Tables(folder / "tables")
    tables.commit(tables.write_parts(SCHEMA, "events", whole, "made-up"), events)
    spine = pl.DataFrame(
        {
            "row_id": pl.int_range(rows, eager=True).cast(pl.String),
            "entity_id": "player-" + pl.Series(rng.integers(0, players, rows)).cast(pl.String).str.zfill(7),
            "moment": START + DAYS * DAY_US // 2 + rng.integers(0, DAYS * DAY_US // 2, rows),
        }
    )
    spine.write_parquet(folder / "spine.parquet")
    return History(folder / "tables", folder / "spine.parquet")
