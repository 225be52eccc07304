import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.errors import PeerFailed
from monitoring.dashboard import dashboard
from monitoring.grafana import apply
from tests.monitoring.contract_server import TOKEN, ContractServer, serve

PROMETHEUS = "http://prometheus:9090"


@pytest.fixture
def grafana(shared: Callable[[str], Path]) -> Iterator[ContractServer]:
    with serve(shared("grafana/openapi3-patched-subset.json")) as server:
        yield server
        assert server.complaints == []


def kinds(url: str, prometheus: str = PROMETHEUS) -> list[tuple[str, str]]:
    return [(applied.kind, applied.what) for applied in apply(url, TOKEN, prometheus)]


def test_everything_is_put_in_place_once(grafana: ContractServer) -> None:
    assert kinds(grafana.url) == [("data source", "created"), ("folder", "created"), ("dashboard", "created")]
    assert grafana.writes == ["POST /api/datasources", "POST /api/folders", "POST /api/dashboards/db"]
    assert grafana.things["dashboard", "offerloop"]["meta"]["folderUid"] == "offerloop"
    assert kinds(grafana.url) == [("data source", "unchanged"), ("folder", "unchanged"), ("dashboard", "unchanged")]
    assert len(grafana.writes) == 3


def test_what_someone_changed_is_put_right(grafana: ContractServer) -> None:
    apply(grafana.url, TOKEN, PROMETHEUS)
    grafana.things["folder", "offerloop"]["title"] = "Mine"
    grafana.things["dashboard", "offerloop"]["dashboard"]["panels"].pop()
    moved = "http://elsewhere:9090"
    assert kinds(grafana.url, moved) == [("data source", "updated"), ("folder", "updated"), ("dashboard", "updated")]
    assert grafana.things["dashboard", "offerloop"]["dashboard"]["panels"] == dashboard()["panels"]
    assert grafana.things["data source", "offerloop-prometheus"]["url"] == moved


def test_a_dashboard_that_was_moved_comes_back_to_its_folder(grafana: ContractServer) -> None:
    apply(grafana.url, TOKEN, PROMETHEUS)
    grafana.things["dashboard", "offerloop"]["meta"]["folderUid"] = "general"
    assert kinds(grafana.url)[2] == ("dashboard", "updated")


def test_a_wrong_key_is_said_without_telling_it(grafana: ContractServer) -> None:
    with pytest.raises(PeerFailed, match="Unauthorized") as refused:
        apply(grafana.url.replace("//", "//name:secret@"), "a-wrong-token", PROMETHEUS)
    assert "secret" not in str(refused.value)
    assert "a-wrong-token" not in str(refused.value)


def test_nobody_there_is_said(free_port: Callable[[], int]) -> None:
    with pytest.raises(PeerFailed, match="Grafana at http://127.0.0.1"):
        apply(f"http://127.0.0.1:{free_port()}", TOKEN, PROMETHEUS)


@pytest.mark.skipif("GRAFANA_URL" not in os.environ, reason="GRAFANA_URL (and GRAFANA_TOKEN) name no real Grafana")
def test_a_real_grafana_takes_it() -> None:
    url, token = os.environ["GRAFANA_URL"], os.environ["GRAFANA_TOKEN"]
    apply(url, token, PROMETHEUS)
    assert {applied.what for applied in apply(url, token, PROMETHEUS)} == {"unchanged"}
