"""Parity of what was served with what the tables say, over the real journal and tables."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

import features.point_in_time
import spark_jobs.point_in_time
from contracts.clock import DAY_US
from contracts.errors import DataRefused
from decisions.assignment import Assignment
from decisions.decide import DecisionRequest, decide
from decisions.record import make_event, record_decision, record_event
from features.definitions import FeatureRow
from features.jobs import Compute
from features.skew import Difference
from tests.training.conftest import FEATURES, NOW, SHOP, Installed
from tests.training.test_dataset import AT, serve
from training.import_log import import_log
from training.parity import ParityReport, check
from training.train import runtime_of
from use_cases.definition import UseCase

CHAMPION = Assignment("champion", 1.0, "r-start")


def checked(
    stores: Installed, use_case: UseCase = SHOP, since_us: int | None = None, compute: Compute = features.point_in_time.compute
) -> ParityReport:
    return check(stores.tables, use_case, compute=compute, folder=stores.folder / "work", since_us=since_us)


def read(stores: Installed, name: str, at_us: int = AT) -> FeatureRow:
    with stores.journal.read() as snapshot:
        return stores.online.read(snapshot.get_state("shop", name), FEATURES, at_us, {})


def log(stores: Installed, name: str, row: FeatureRow, at_us: int = AT, use_case: UseCase = SHOP) -> None:
    """Log a decision that says it was made from a row."""
    runtime = runtime_of(use_case, "constant", {}, use_case.start_policy)
    decision = decide(DecisionRequest(f"d-{name}", "shop", name), row, runtime, CHAMPION, draw=0.5, now_us=at_us)
    stores.journal.write(lambda write: record_decision(write, decision, stores.online.apply))
    stores.drain()


@pytest.mark.parametrize(
    "compute", [features.point_in_time.compute, pytest.param(spark_jobs.point_in_time.compute, marks=pytest.mark.engines)]
)
def test_what_was_served_is_what_the_tables_say(installed: Installed, compute: Compute, request: pytest.FixtureRequest) -> None:
    if compute is spark_jobs.point_in_time.compute:
        request.getfixturevalue("spark")
    serve(installed, 20)
    late = make_event("v-late", "s-3", "visit", AT - 5, {}, ingested_time=AT + 9)
    installed.journal.write(lambda write: record_event(write, "shop", late, installed.online.apply))
    log(installed, "new", read(installed, "new"))
    found = checked(installed, compute=compute)
    assert (found.rows, found.differing_rows, found.equal) == (21, 0, True)
    assert found.features == dict.fromkeys(FEATURES.names, 0)
    assert list((installed.folder / "work").iterdir()) == []


def test_a_single_bit_is_named_with_both_values(installed: Installed) -> None:
    serve(installed, 5)
    installed.know({"x": "b"}, AT - DAY_US)
    right = read(installed, "x")
    log(installed, "x", msgspec.structs.replace(right, values=np.array([np.nextafter(1.0, 2.0), right.values[1], right.values[2]])))
    found = checked(installed)
    assert (found.rows, found.differing_rows, found.equal) == (6, 1, False)
    assert found.examples == (Difference("d-x", "kind", float(np.nextafter(1.0, 2.0)), 1.0),)


def test_what_is_wrongly_called_missing_is_named(installed: Installed) -> None:
    installed.know({"x": "b"}, AT - DAY_US)
    log(installed, "x", msgspec.structs.replace(read(installed, "x"), missing=("visits", "hour", "kind")))
    found = checked(installed)
    assert (found.differing_rows, found.equal) == (0, False)
    assert found.missing == {"d-x": (("visits", "hour", "kind"), ("visits", "hour"))}


def test_decisions_of_other_sets_are_counted_and_imported_ones_left_out(installed: Installed, tmp_path: Path) -> None:
    other = replace(SHOP, feature_set=msgspec.structs.replace(FEATURES, features=FEATURES.features[:2]))
    serve(installed, 4)
    row = read(installed, "y")
    cut = msgspec.structs.replace(row, values=row.values[:2], ages_us=row.ages_us[:2], missing=row.missing[:2])
    log(installed, "y", cut, use_case=other)
    imported = {"decision_id": ["1"], "entity_id": ["z"], "decided_at": [AT], "action": ["red"], "propensity": [0.5], "reward": [0]}
    pl.DataFrame(imported).write_parquet(tmp_path / "log.parquet")
    import_log(installed.journal, SHOP, tmp_path / "log.parquet", installed.online.apply, now_us=NOW)
    installed.drain()
    found = checked(installed)
    assert (found.rows, found.differing_rows, found.other_sets) == (4, 0, {other.feature_set.digest: 1})
    assert checked(installed, other).other_sets == {FEATURES.digest: 4}


def test_only_decisions_since_a_moment_are_checked(installed: Installed) -> None:
    serve(installed, 4)
    serve(installed, 3, prefix="t", at_us=AT + 7)
    assert [checked(installed, since_us=since).rows for since in (AT, AT + 1, AT + 7, AT + 8)] == [7, 3, 3, 0]


def test_decisions_with_another_number_of_features_are_refused(installed: Installed) -> None:
    row = read(installed, "x")
    log(installed, "x", msgspec.structs.replace(row, values=row.values[:2]))
    with pytest.raises(DataRefused, match=r"1 have another number of features \(d-x\); 3 features are expected"):
        checked(installed)


def test_nothing_decided_is_nothing_to_differ(installed: Installed) -> None:
    found = checked(installed)
    assert (found.rows, found.differing_rows, found.share, found.equal) == (0, 0, 0.0, True)
