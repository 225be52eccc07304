import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from contracts.metrics import METRICS, MetricType, Source
from monitoring.dashboard import CHANGED, dashboard, expressions


@pytest.fixture
def check(shared: Callable[[str], Path]) -> Callable[[Any, str, str], None]:
    """Checks a piece of JSON against a definition of one of Grafana's schemas."""

    def against(piece: Any, schema: str, definition: str) -> None:
        document = json.loads((shared("grafana/jsonschema") / f"{schema}.jsonschema.json").read_text())
        jsonschema.validate(piece, {**document, "$ref": f"#/definitions/{definition}"})

    return against


def test_the_dashboard_keeps_its_schema(check: Callable[[Any, str, str], None]) -> None:
    check(dashboard(), "dashboard", "Dashboard")


def test_every_panel_keeps_the_schema_of_its_kind(check: Callable[[Any, str, str], None]) -> None:
    for panel in dashboard()["panels"]:
        if panel["type"] == "row":
            continue
        check(panel["options"], panel["type"], "Options")
        if panel["type"] == "timeseries":
            check(panel["fieldConfig"]["defaults"]["custom"], "timeseries", "FieldConfig")
        for target in panel["targets"]:
            check(target, "prometheus", "Dataquery")


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    board = dashboard()
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in board["panels"]]
    assert ids == list(range(1, len(ids) + 1))


def test_every_panel_says_what_it_shows() -> None:
    for panel in dashboard()["panels"]:
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"].endswith(".")


def test_queries_name_declared_metrics_alone_and_leave_few_unseen() -> None:
    series = {metric.series for metric in METRICS}
    series |= {f"{metric.series}_bucket" for metric in METRICS if metric.type is MetricType.HISTOGRAM}
    asked = {name for _, text in expressions(dashboard()) for name in re.findall(r"\b(?:ray_)?offerloop_\w+", text)}
    assert asked <= series
    unseen = {metric.name for metric in METRICS if not asked & {metric.series, f"{metric.series}_bucket"}}
    assert unseen == {"offerloop_ledger_newest_id"}
    assert {metric.source for metric in METRICS} == set(Source)


def test_releases_stand_on_the_time_line() -> None:
    (line,) = dashboard()["annotations"]["list"]
    assert (line["name"], line["expr"]) == ("Releases", CHANGED)
