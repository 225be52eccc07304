"""`offerloop features`: what is declared, where it comes from, and what its values are."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from cli.features import COMMANDS
from contracts.records import FieldValue
from contracts.settings import Settings
from contracts.tables import DECISIONS
from features.backfill import read_backfilled
from features.definitions import FeatureSet
from features.vocabulary import events
from releases.ledger import Ledger
from serving.messages import EventMessage
from serving.service import DecisionService
from storage.journal import Journal
from storage.layout import Layout
from storage.tables import Tables
from tests.cli.conftest import USE_CASE, Run
from use_cases.definition import load

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROW: dict[str, FieldValue] = {
    "recency_months": 3,
    "history_cents": 12_345,
    "bought_mens": True,
    "bought_womens": False,
    "zip_code": "Urban",
    "newbie": False,
    "channel": "Pigeon",
}


def test_help_names_every_command(run: Run) -> None:
    said = run("features", "--help").out
    assert all(f"  {name} " in said for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(run: Run, name: str) -> None:
    ran = run("features", name, "--help")
    assert ran.code == 0 and ran.out.startswith(f"Usage: offerloop features {name}")


def test_features_are_listed_with_their_meaning(run: Run) -> None:
    said = run("features", "list", USE_CASE).out
    assert "latest customer.recency_months" in said and "unknown" in said
    assert json.loads(run("features", "list", USE_CASE, "--json").out)["features"][0]["name"] == "recency"
    assert [one["name"] for one in json.loads(run("features", "list", USE_CASE, "--tag", "pii", "--json").out)["features"]] == ["zip_code"]
    assert "is not known" in run("features", "list", "nothing").err


def test_a_feature_is_described_with_the_releases_that_use_it(run: Run, layout: Layout) -> None:
    ledger = Ledger(layout.ledger)
    (release,) = ledger.releases(USE_CASE)
    ledger.close()
    said = run("features", "describe", USE_CASE, "zip_code").out
    for expected in ("Kind of place", "0 Rural, 1 Surburban, 2 Urban", "pii", "use_cases/email_promotion/features.py:", release.release_id):
        assert expected in said
    found = json.loads(run("features", "describe", USE_CASE, "zip_code", "--json").out)
    assert found["releases"] == [{"release_id": release.release_id, "stage": "champion"}]
    assert found["reads"] == [{"source": "customer", "field": "zip_code"}]
    (layout.bundles / release.release_id / "features.json").chmod(0o644)
    (layout.bundles / release.release_id / "features.json").write_text("{}")
    assert json.loads(run("features", "describe", USE_CASE, "zip_code", "--json").out)["releases"] == []
    assert "feature `zip` is not known. Known: recency" in run("features", "describe", USE_CASE, "zip").err


def test_a_feature_is_described_without_an_installation(run: Run) -> None:
    said = run("features", "describe", "game_promotion", "share_calm").out
    assert "none yet" in said and "matches_calm_14d" in said and "favourite" in said


def test_the_lineage_goes_from_fields_to_releases(run: Run, layout: Layout) -> None:
    said = run("features", "lineage", USE_CASE).out
    assert "customer.zip_code" in said and "→ release r-" in said
    graph = json.loads(run("features", "lineage", USE_CASE, "--json").out)
    assert {"kind": "field", "name": "customer.newbie"} in graph["nodes"]
    assert [edge["end"]["kind"] for edge in graph["edges"]].count("release") == 1
    said = run("features", "lineage", "game_promotion").out
    assert "→ share_story" in said and "no release yet" in said


def test_the_page_is_printed_or_written(run: Run, tmp_path: Path) -> None:
    printed = run("features", "docs", USE_CASE).out
    assert printed.startswith("# Features of email_promotion\n")
    assert "7 features in" in run("features", "docs", USE_CASE, "--out", "pages/email.md").out
    assert (tmp_path / "pages/email.md").read_text() == printed


def accept(layout: Layout, entity_id: str, age_us: int = 0) -> int:
    """Take in a row of a customer; when it was."""
    settings = Settings(state=str(layout.root), use_cases=(USE_CASE,))
    with DecisionService(settings) as service:
        at_us = service.clock.now_us() - age_us
        receipt = service.accept_events(USE_CASE, [EventMessage(f"row-{entity_id}-{at_us}", entity_id, "customer", at_us, ROW)])
    assert receipt.accepted == 1
    return at_us


def test_an_entity_is_shown_as_a_decision_would_see_it(run: Run, layout: Layout) -> None:
    accept(layout, "e-9", age_us=3 * 3_600_000_000)
    said = run("features", "preview", USE_CASE, "--entity", "e-9").out
    assert "Urban (2)" in said and "unknown (-1)" in said and "3.0 h" in said and "missing" not in said
    found = {one["feature"]: one for one in json.loads(run("features", "preview", USE_CASE, "--entity", "e-9", "--json").out)["features"]}
    assert (found["history"]["value"], found["channel"]["value"], found["channel"]["missing"]) == (12_345.0, -1.0, False)
    assert "missing: its default, unknown" in run("features", "preview", USE_CASE, "--entity", "nobody").out


def test_an_entity_is_shown_as_it_was_known_then(run: Run, layout: Layout) -> None:
    at_us = accept(layout, "e-9")
    later, before = (
        {one["feature"]: one for one in json.loads(run(*words, "--json").out)["features"]}
        for words in [
            ("features", "preview", USE_CASE, "--entity", "e-9", "--at", str(moment)) for moment in (at_us + 10_000_000, at_us - 1)
        ]
    )
    assert (later["recency"]["value"], later["recency"]["missing"]) == (3.0, False)
    assert (before["recency"]["value"], before["recency"]["missing"]) == (0.0, True)
    said = run("features", "preview", USE_CASE, "--entity", "e-9", "--at", "2001-01-01T00:00:00Z").out
    assert "2001-01-01 00:00:00 UTC" in said and "missing: its default" in said


@pytest.mark.parametrize(
    "words, said",
    [
        (("--at", "2001-01-01T00:00:00"), "expected RFC 3339 with a zone"),
        (("--at", "yesterday"), "`--at` is 'yesterday'"),
        (("--context", "[1]"), "a JSON object such as"),
    ],
)
@pytest.mark.usefixtures("layout")
def test_what_cannot_be_asked_is_named(run: Run, words: tuple[str, ...], said: str) -> None:
    ran = run("features", "preview", USE_CASE, "--entity", "e-9", *words)
    assert ran.code == 2 and said in ran.err


def decide(layout: Layout, *entity_ids: str) -> None:
    with DecisionService(Settings(state=str(layout.root), use_cases=(USE_CASE,))) as service:
        for entity_id in entity_ids:
            service.decide(USE_CASE, entity_id)


def test_a_profile_is_of_what_decisions_logged(run: Run, layout: Layout, tmp_path: Path) -> None:
    accept(layout, "e-9")
    decide(layout, "e-9", "e-9", "nobody")
    found = {one["name"]: one for one in json.loads(run("features", "profile", USE_CASE, "--json").out)}
    assert (found["history"]["rows"], found["history"]["missing"], found["history"]["mean"]) == (4, 0.5, 12_345.0)
    assert {"name": "Urban", "rows": 2} in found["zip_code"]["classes"]
    said = run("features", "profile", USE_CASE, "--by", "week", "--html", "pages/profile.html")
    assert "50.0%" in said.out and "4 decisions" in said.out
    page = (tmp_path / "pages/profile.html").read_text()
    assert page.count("<svg") == 7 and "Distribution of zip_code" in page and "7 features of 4 decisions" in page
    assert json.loads(run("features", "profile", USE_CASE, "--since", "2999-01-01T00:00:00Z", "--json").out) == []


def test_a_profile_may_be_of_the_table_of_all_entities(run: Run, layout: Layout) -> None:
    assert "`offerloop features materialize email_promotion` writes it" in run("features", "profile", USE_CASE, "--latest").err
    accept(layout, "e-9")
    assert "features of 2 entities" in run("features", "materialize", USE_CASE).out
    found = json.loads(run("features", "profile", USE_CASE, "--latest", "--json").out)
    assert [(one["name"], one["rows"], one["missing"], one["periods"]) for one in found[:1]] == [("recency", 2, 0.5, [])]
    file = layout.latest(USE_CASE)
    pl.read_parquet(file).drop("recency").write_parquet(file)
    assert "`recency; `offerloop features materialize" in run("features", "profile", USE_CASE, "--latest").err


def test_materialized_features_are_those_of_now_and_can_be_written_again(run: Run, layout: Layout) -> None:
    accept(layout, "e-9")
    done = json.loads(run("features", "materialize", USE_CASE, "--json").out)
    assert (done["days"], done["entities"]) == (1, 2)
    row = pl.read_parquet(done["file"]).filter(pl.col("row_id") == "e-9").row(0, named=True)
    online = json.loads(run("features", "preview", USE_CASE, "--entity", "e-9", "--json").out)["features"]
    assert {one["feature"]: one["value"] for one in online} == {name: row[name] for name in load(USE_CASE).feature_set.names}
    accept(layout, "e-10")
    assert json.loads(run("features", "materialize", USE_CASE, "--json").out)["entities"] == 3


def test_what_was_not_logged_is_computed_once(run: Run, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    accept(layout, "e-9")
    decide(layout, "e-9")
    use_case = load(USE_CASE)
    done = json.loads(run("features", "backfill", USE_CASE, "--json").out)
    assert (done["days"], done["rows"], set(done["features"])) == (1, 2, set(use_case.feature_set.names))
    (rows,) = events("customer").count(days=7, name="rows")
    monkeypatch.setattr(
        "use_cases.email_promotion.USE_CASE", replace(use_case, feature_set=FeatureSet("more", (*use_case.feature_set.features, rows)))
    )
    assert "computed: rows\n" in run("features", "backfill", USE_CASE).out
    assert "nothing that was not there" in run("features", "backfill", USE_CASE).out
    found = read_backfilled(layout.backfilled(USE_CASE), load(USE_CASE).feature_set)
    assert sorted(found.select("rows", "history").rows()) == [(0.0, 0.0), (1.0, 12_345.0)]


def test_what_was_logged_is_what_the_tables_say(run: Run, layout: Layout) -> None:
    accept(layout, "e-9")
    decide(layout, "e-9", "nobody")
    ran = run("features", "parity", USE_CASE, "--engine", "duckdb")
    assert ran.code == 0 and "duckdb: 3 decisions, every feature equal to the last bit" in ran.out
    found = json.loads(run("features", "parity", USE_CASE, "--engine", "duckdb", "--json").out)
    assert found["equal"] and found["engines"]["duckdb"]["rows"] == 3
    assert json.loads(run("features", "parity", USE_CASE, "--engine", "duckdb", "--since", "2999-01-01T00:00:00Z", "--json").out)["equal"]


def test_a_log_that_says_otherwise_is_shown_with_by_how_much(run: Run, layout: Layout) -> None:
    accept(layout, "e-9")
    decide(layout, "e-9")
    run("features", "parity", USE_CASE, "--engine", "duckdb")
    schema = load(USE_CASE).schema
    (file,) = Tables(layout.tables).files(USE_CASE, DECISIONS)
    rows = pl.read_parquet(file)
    wrong = pl.when(pl.col("decision_id") == "d-1").then(pl.lit([0.0, 5.0, 0.0, 0.0, -1.0, 0.0, -1.0])).otherwise(pl.col("features"))
    rows.with_columns(wrong.alias("features")).write_parquet(file)
    assert Tables(layout.tables).frame(schema, DECISIONS).height == 2
    ran = run("features", "parity", USE_CASE, "--engine", "duckdb")
    assert ran.code == 1 and "duckdb: 1 of 2 decisions differ" in ran.out
    assert "history" in ran.out and "d-1" in ran.out and "-5" in ran.out


@pytest.mark.engines
def test_spark_says_the_same(run: Run, layout: Layout, spark: "SparkSession") -> None:
    accept(layout, "e-9")
    decide(layout, "e-9")
    assert json.loads(run("features", "backfill", USE_CASE, "--engine", "spark", "--json").out)["rows"] == 2
    ran = run("features", "parity", USE_CASE)
    assert ran.code == 0 and "spark: 2 decisions, every feature equal to the last bit" in ran.out


def test_states_are_made_anew_and_come_to_the_same(run: Run, layout: Layout) -> None:
    accept(layout, "e-9")
    before = json.loads(run("features", "preview", USE_CASE, "--entity", "e-9", "--json").out)["features"]
    journal = Journal(layout.journal, 2**26)
    journal.write(lambda write: write.put_state(USE_CASE, "e-9", b"damaged, whatever it was"))
    journal.close()
    assert "its bytes are damaged" in run("features", "preview", USE_CASE, "--entity", "e-9").err
    assert "1 states made anew" in run("features", "rebuild", USE_CASE, "--entity", "e-9").out
    after = json.loads(run("features", "preview", USE_CASE, "--entity", "e-9", "--json").out)["features"]
    assert [one["value"] for one in after] == [one["value"] for one in before]
    assert json.loads(run("features", "rebuild", USE_CASE, "--json").out)["entities"] == 2


def test_states_that_know_too_little_are_said_to(run: Run, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    accept(layout, "e-9")
    use_case = load(USE_CASE)
    (longer,) = events("customer").count(days=60)
    wider = replace(use_case, feature_set=FeatureSet("wider", (*use_case.feature_set.features, longer)))
    monkeypatch.setattr("use_cases.email_promotion.USE_CASE", wider)
    assert "offerloop features rebuild" in run("features", "preview", USE_CASE, "--entity", "e-9").err
    assert run("features", "rebuild", USE_CASE).code == 0
    ran = run("features", "preview", USE_CASE, "--entity", "e-9", "--json")
    assert ran.err == "" and json.loads(ran.out)["features"][-1]["value"] == 1.0
