"""The jobs as `spark-submit` runs them."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import polars as pl
import pytest

from contracts.records import Event, FieldValue, StoredEvent
from contracts.tables import EVENTS
from storage.drain import drain
from storage.journal import Journal
from storage.layout import Layout
from storage.tables import Tables
from tests.spark_jobs.test_point_in_time import spine
from use_cases.definition import load

pytestmark = pytest.mark.engines

SUBMIT = Path(sys.executable).with_name("spark-submit")
USE_CASE = "email_promotion"


def submit(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    own = os.environ | {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    command = [str(SUBMIT), "--master", "local[2]", "--conf", "spark.ui.enabled=false", str(repository / "spark_jobs" / "submit.py")]
    return subprocess.run([*command, *arguments], env=own, capture_output=True, text=True, check=False)


def test_materialize_and_point_in_time(tmp_path: Path, repository: Path) -> None:
    layout, use_case = Layout(tmp_path / "state"), load(USE_CASE)
    source = use_case.attribute_sources[0].name
    values: dict[str, FieldValue] = {"int": 3, "str": "x", "bool": True}
    fields = {name: values[kind] for name, kind in use_case.schema.types[source].fields.items()}
    journal = Journal(layout.journal, 2**26)
    event = Event("e", "p", source, 5, 5, 1, fields)
    journal.write(lambda write: write.append(EVENTS, msgspec.msgpack.encode(StoredEvent(USE_CASE, event))))
    drain(journal, Tables(layout.tables), {USE_CASE: use_case.schema})
    journal.close()
    common = ("--state", str(layout.root), "--use-case", USE_CASE)
    done = submit(repository, "materialize", *common)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "1 days laid out, in 1 spans", done.stderr[-2_000:]
    asked = spine(tmp_path, ("a", "p", 9), ("b", "q", 9))
    done = submit(repository, "point-in-time", *common, "--spine", str(asked), "--out", str(tmp_path / "out.parquet"))
    assert done.returncode == 0, done.stderr[-2_000:]
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert sorted(found["row_id"]) == ["a", "b"]
    assert found.columns == ["row_id", *use_case.feature_set.names, "missing"]
