"""`offerloop features preview`."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import msgspec
import polars as pl

from cli.here import clock_of, settings_of
from cli.output import json_option, moment, print_json, print_table
from cli.stores import drained, journal_of
from contracts.errors import InvalidInput
from contracts.records import FieldValue
from contracts.settings import Settings
from contracts.tables import EVENTS
from features.coverage import read_coverage
from features.definitions import FeatureSet
from features.documentation import default_of
from features.online import OnlineFeatures, retention
from features.point_in_time import compute
from features.reading import age, value
from serving.messages import time_us
from use_cases.definition import UseCase, load


class Value(msgspec.Struct, frozen=True):
    """A feature of the entity; its age is none where there is nothing that could have one, or it was not asked of a store that knows."""

    feature: str
    value: float | None
    missing: bool
    stale: bool = False
    age_us: int | None = None


@click.command("preview")
@click.argument("use_case")
@click.option("--entity", "entity_id", required=True, help="Whose features.")
@click.option(
    "--at", help="A moment such as 2026-01-31T12:00:00Z: what was known then, from the tables; without it, now, as a decision would see it."
)
@click.option("--context", "sent", default="{}", help="The request's context, as JSON.")
@json_option
@click.pass_context
def command(context: click.Context, use_case: str, entity_id: str, at: str | None, sent: str, as_json: bool) -> int:
    """Show the features of one entity: values, ages, what is missing and what is stale."""
    settings = settings_of(context)
    chosen = load(use_case)
    now_us = clock_of(settings).now_us()
    request = _context(sent)
    at_us = now_us if at is None else time_us(int(at) if at.isdecimal() else at, "--at")
    found = _online(settings, chosen, entity_id, now_us, request) if at is None else _then(settings, chosen, entity_id, at_us, request)
    if as_json:
        print_json({"use_case": use_case, "entity_id": entity_id, "at": at_us, "features": found})
    else:
        title = f"{entity_id} of {use_case}, {moment(at_us)} UTC, {'online' if at is None else 'from the tables'}"
        print_table(title, ("feature", "value#", "age#", ""), _rows(chosen.feature_set, found))
    return 0


def _online(settings: Settings, use_case: UseCase, entity_id: str, now_us: int, context: dict[str, FieldValue]) -> list[Value]:
    needed = retention([use_case.feature_set], [use_case.catalogue])
    with journal_of(settings) as journal, journal.read() as read:
        state = read.get_state(use_case.name, entity_id)
        if state is not None and not read_coverage(read, use_case.name).covers(needed):
            click.secho(
                f"States do not reach back far enough for these windows yet: `offerloop features rebuild {use_case.name}`.",
                fg="yellow",
                err=True,
            )
    online = OnlineFeatures(use_case.schema, needed)
    row = online.read(state, use_case.feature_set, now_us, context)
    return [
        Value(name, float(number), name in row.missing, name in row.stale, int(age_us) if age_us >= 0 else None)
        for name, number, age_us in zip(use_case.feature_set.names, row.values, row.ages_us, strict=True)
    ]


def _then(settings: Settings, use_case: UseCase, entity_id: str, at_us: int, context: dict[str, FieldValue]) -> list[Value]:
    tables = drained(settings)
    with TemporaryDirectory(prefix="offerloop-preview-") as folder:
        spine, out = Path(folder) / "spine.parquet", Path(folder) / "features.parquet"
        asked: dict[str, Sequence[Any]] = {
            "row_id": [entity_id],
            "entity_id": [entity_id],
            "moment": [at_us],
            "seen_seq": [None],
            "context": [msgspec.json.encode(context).decode()],
        }
        types = {"row_id": pl.String, "entity_id": pl.String, "moment": pl.Int64, "seen_seq": pl.Int64, "context": pl.String}
        pl.DataFrame(asked, schema=types).write_parquet(spine)
        files = tables.files(use_case.name, EVENTS)
        compute(files, spine, use_case.feature_set, use_case.schema, out, settings.store.duckdb_memory)
        (row,) = pl.read_parquet(out).to_dicts()
    return [Value(name, row[name], name in row["missing"]) for name in use_case.feature_set.names]


def _rows(feature_set: FeatureSet, found: list[Value]) -> list[tuple[str, str, str, str]]:
    return [
        (
            one.feature,
            value(feature_set, one.feature, one.value),
            age(one.age_us),
            f"missing: its default, {default_of(feature)}" if one.missing else "stale" if one.stale else "",
        )
        for one, feature in zip(found, feature_set.features, strict=True)
    ]


def _context(text: str) -> dict[str, FieldValue]:
    try:
        return msgspec.json.decode(text, type=dict[str, FieldValue])
    except msgspec.DecodeError as error:
        raise InvalidInput("--context", f"is {text!r} ({error})", 'a JSON object such as {"hour": 12}') from error
