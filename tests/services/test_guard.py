"""The guard over a small application, and over the metrics as a process of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from contracts.metrics import METRICS, Source
from services.guard import Guard, Guarded
from serving.keys import Scope, drop_key, keys_path, make_key, metrics_key, rotate_key
from storage.layout import Layout
from tests.installation import wait_until

GUARDED = Guarded("", (Scope.READ, Scope.OPERATE), (Scope.OPERATE,), ("/health",))
HEARD: list[str] = []
EXPORTED = {metric.name for metric in METRICS if metric.source is Source.EXPORTER}


async def _said(request: Any) -> PlainTextResponse:
    return PlainTextResponse("inside")


async def _talk(socket: WebSocket) -> None:
    await socket.accept(subprotocol="prefect" if "prefect" in socket.scope["subprotocols"] else None)
    try:
        HEARD.append((await socket.receive_json())["type"])
        await socket.send_text("inside")
    except WebSocketDisconnect:
        HEARD.append("gone")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    HEARD.clear()
    return Layout(tmp_path)


@pytest.fixture
def client(layout: Layout) -> TestClient:
    routes = [Route("/{path:path}", _said, methods=["GET", "POST", "DELETE", "OPTIONS"]), WebSocketRoute("/{path:path}", _talk)]
    return TestClient(Guard(Starlette(routes=routes), layout, GUARDED), base_url="http://here:1")


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("path", ["/", "/health/", "/health/../x", "/x/health", "/HEALTH", "//health", "/static/a.js"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_nothing_gets_in_without_a_key(client: TestClient, layout: Layout, method: str, path: str) -> None:
    make_key(layout, "ada", [Scope.OPERATE])
    for headers in ({}, bearer("olk_wrong"), {"authorization": "Basic eDp5"}):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Basic") and "inside" not in answer.text


def test_health_tells_anybody_and_takes_nothing(client: TestClient) -> None:
    assert client.get("/health").text == "inside"
    assert client.post("/health").status_code == 401


def test_one_looks_with_one_scope_and_acts_with_another(client: TestClient, layout: Layout) -> None:
    reads, acts, decides = (make_key(layout, scope, [scope]) for scope in (Scope.READ, Scope.OPERATE, Scope.DECIDE))
    assert [client.get("/", headers=bearer(key)).status_code for key in (reads, acts, decides)] == [200, 200, 403]
    assert [client.post("/", headers=bearer(key)).status_code for key in (reads, acts, decides)] == [403, 200, 403]


def test_a_browser_sends_the_key_as_password(client: TestClient, layout: Layout) -> None:
    assert client.get("/", auth=("ada", make_key(layout, "ada", [Scope.READ]))).text == "inside"


def test_dropped_and_replaced_keys_are_refused_at_once(client: TestClient, layout: Layout) -> None:
    first, other = make_key(layout, "ada", [Scope.READ]), make_key(layout, "eve", [Scope.READ])
    assert client.get("/", headers=bearer(first)).status_code == 200
    second = rotate_key(layout, "ada")
    assert [client.get("/", headers=bearer(key)).status_code for key in (first, second, other)] == [401, 200, 200]
    drop_key(layout, "eve")
    assert client.get("/", headers=bearer(other)).status_code == 401


def test_when_keys_cannot_be_read_nothing_gets_in(client: TestClient, layout: Layout) -> None:
    key = make_key(layout, "ada", [Scope.READ])
    keys_path(layout).write_text("{")
    assert client.get("/", headers=bearer(key)).status_code == 503
    keys_path(layout).unlink()
    assert client.get("/", headers=bearer(key)).status_code == 401


def test_another_sites_page_cannot_act_with_what_the_browser_keeps(client: TestClient, layout: Layout) -> None:
    headers = bearer(make_key(layout, "ada", [Scope.OPERATE]))
    for origin, status in (("http://here:1", 200), ("http://here:2", 403), ("https://elsewhere.example", 403), ("null", 403)):
        assert client.post("/", headers=headers | {"origin": origin}).status_code == status


def test_every_answer_has_the_headers_that_browsers_heed(client: TestClient, layout: Layout) -> None:
    key = make_key(layout, "ada", [Scope.READ])
    for answer in (client.get("/"), client.get("/", headers=bearer(key)), client.get("/health"), client.post("/", headers=bearer(key))):
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["x-frame-options"] == "SAMEORIGIN"
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]


def test_a_socket_needs_a_key_too(client: TestClient, layout: Layout) -> None:
    acts, reads = make_key(layout, "ada", [Scope.OPERATE]), make_key(layout, "eve", [Scope.READ])
    with client.websocket_connect("/in", headers=bearer(acts)) as socket:
        socket.send_json({"type": "hello"})
        assert socket.receive_text() == "inside"
    for headers in ({}, bearer(reads), bearer("olk_wrong"), bearer(acts) | {"origin": "http://elsewhere"}):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/in", headers=headers):
            pass
    assert HEARD == ["hello"]


def test_a_socket_of_prefect_may_show_the_key_as_its_first_message(client: TestClient, layout: Layout) -> None:
    key = make_key(layout, "services", [Scope.OPERATE])
    with client.websocket_connect("/in", subprotocols=["prefect"]) as socket:
        socket.send_json({"type": "auth", "token": f"services:{key}"})
        assert socket.receive_text() == "inside"
    for said in ({"type": "auth", "token": "services:olk_wrong"}, {"type": "auth", "token": None}, {"type": "subscribe", "token": key}, {}):
        with client.websocket_connect("/in", subprotocols=["prefect"]) as socket:
            socket.send_json(said)
            with pytest.raises(WebSocketDisconnect):
                socket.receive_text()
    assert HEARD == ["auth", "gone", "gone", "gone", "gone"]


def test_a_message_that_is_no_json_gets_nowhere(client: TestClient, layout: Layout) -> None:
    make_key(layout, "services", [Scope.OPERATE])
    with client.websocket_connect("/in", subprotocols=["prefect"]) as socket:
        socket.send_bytes(b"\xff\x00")
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()


def test_the_metrics_are_served_on_loopback_to_who_has_a_key(
    repository: Path, environment: dict[str, str], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port, key = free_port(), metrics_key(Layout(Path(environment["OFFERLOOP_STATE"])))
    own = environment | {"OFFERLOOP_PORTS__METRICS": str(port), "OFFERLOOP_USE_CASES": "shop", "PYTHONPATH": str(repository)}
    with subprocess.Popen([sys.executable, "-m", "services.guard", "metrics"], cwd=tmp_path, env=os.environ | own) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                wait_until(lambda: _answers(client), 30.0)
                assert client.get("/metrics").status_code == 401
                text = client.get("/metrics", headers=bearer(key)).text
                assert client.post("/metrics", headers=bearer(key)).status_code == 403
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
    assert {family.name for family in text_string_to_metric_families(text)} == EXPORTED


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_an_origin_that_is_none_is_another_site(client: TestClient, layout: Layout) -> None:
    headers = bearer(make_key(layout, "ada", [Scope.OPERATE]))
    assert client.post("/", headers=headers | {"origin": "http://["}).status_code == 403
