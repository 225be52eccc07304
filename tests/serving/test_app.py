import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

import httpx
import msgspec
import pytest

from contracts.errors import NotReady
from contracts.metrics import REQUEST_SECONDS, REQUESTS
from contracts.records import Decision
from serving.admission import Admission
from serving.app import App
from serving.keys import Scope, make_key
from serving.messages import DecisionAnswer, DecisionsAnswer, Problem, Receipt, Status
from serving.service import DecisionService

from .conftest import Shop

Http = Callable[..., httpx.AsyncClient]
ASK = {"entity_id": "p-1"}


@pytest.fixture
def client(http: Http, key: str) -> httpx.AsyncClient:
    return http(authorization=f"Bearer {key}")


def run(work: Coroutine[Any, Any, httpx.Response]) -> httpx.Response:
    return asyncio.run(work)


def problem(response: httpx.Response) -> Problem:
    assert response.headers["content-type"] == "application/problem+json"
    found = msgspec.json.decode(response.content, type=Problem)
    assert found.status == response.status_code
    assert found.request_id == response.headers["x-request-id"]
    return found


def test_a_decision_over_http(client: httpx.AsyncClient, service: DecisionService) -> None:
    response = run(client.post("/v1/shop/decisions", json=ASK | {"decision_id": "d-1", "context": {"cart": 2}}))
    answer = msgspec.json.decode(response.content, type=DecisionAnswer)
    assert (response.status_code, answer.decision_id, answer.entity_id) == (200, "d-1", "p-1")
    stored = msgspec.json.decode(run(client.get("/v1/shop/decisions/d-1")).content, type=Decision)
    assert stored == service.decision("shop", "d-1")
    assert service.metrics.totals(REQUESTS) == {("decisions", "200"): 1, ("decision", "200"): 1}
    assert service.metrics.totals(REQUEST_SECONDS)["decisions",] == 1


def test_many_decisions_come_in_the_order_asked(client: httpx.AsyncClient) -> None:
    asks = [{"entity_id": f"p-{number}", "decision_id": f"d-{number}"} for number in range(30)]
    response = run(client.post("/v1/shop/decisions:batch", json={"requests": asks}))
    answers = msgspec.json.decode(response.content, type=DecisionsAnswer).decisions
    assert [answer.decision_id for answer in answers] == [f"d-{number}" for number in range(30)]


def test_events_and_outcomes_over_http(client: httpx.AsyncClient) -> None:
    run(client.post("/v1/shop/decisions", json=ASK | {"decision_id": "d-1"}))
    event = {"event_id": "e-1", "entity_id": "p-1", "type": "profile", "event_time": "2026-01-01T00:00:00Z", "fields": {"country": "DE"}}
    sent = run(client.post("/v1/shop/events", json={"events": [event, event | {"event_id": "e-2", "type": "unheard"}]}))
    receipt = msgspec.json.decode(sent.content, type=Receipt)
    assert (receipt.accepted, receipt.quarantined[0].index) == (1, 1)
    outcome = {"outcome_id": "o-1", "decision_id": "d-1", "reward": 7}
    assert run(client.post("/v1/shop/outcomes", json={"outcomes": [outcome]})).json()["accepted"] == 1
    assert problem(run(client.post("/v1/shop/outcomes", json={"outcomes": [outcome | {"reward": 8}]}))).status == 409


@pytest.mark.parametrize(
    "method, path, body, status, field",
    [
        ("POST", "/v1/shop/decisions", b"{", 422, "body"),
        ("POST", "/v1/shop/decisions", b'{"entity_id":"a b"}', 422, "entity_id"),
        ("POST", "/v1/shop/decisions:batch", b'{"requests":[]}', 422, "requests"),
        ("POST", "/v1/shop/events", b'{"events":5}', 422, "events"),
        ("POST", "/v1/nothing/decisions", b'{"entity_id":"a"}', 404, None),
        ("POST", "/v1/nothing/events", b'{"events":[1]}', 404, None),
        ("GET", "/v1/shop/decisions/unknown", b"", 404, None),
        ("GET", "/v1/shop/decisions/a%20b", b"", 422, "decision_id"),
        ("GET", "/v1/shop/decisions/..%2f..%2fetc", b"", 404, None),
        ("GET", "/nowhere", b"", 404, None),
        ("DELETE", "/v1/shop/decisions", b"", 405, None),
        ("POST", "/v1/shop/decisions", b" " * 200_001, 413, None),
        ("POST", "/v1/shop/events", b'{"events":[' + b"1," * 300 + b"1]}", 413, None),
        ("POST", "/v1/hooks/nothing", b"{}", 404, None),
    ],
)
def test_a_refused_request_says_why(client: httpx.AsyncClient, method: str, path: str, body: bytes, status: int, field: str | None) -> None:
    response = run(client.request(method, path, content=body))
    assert (response.status_code, problem(response).field) == (status, field)


def test_a_batch_that_is_too_long_is_refused(client: httpx.AsyncClient) -> None:
    assert problem(run(client.post("/v1/shop/decisions:batch", json={"requests": [ASK] * 301}))).status == 413


def test_only_json_is_taken(client: httpx.AsyncClient) -> None:
    response = run(
        client.post("/v1/shop/decisions", content=b"entity_id=p-1", headers={"content-type": "application/x-www-form-urlencoded"})
    )
    assert problem(response).status == 415


def test_another_method_says_which_there_are(client: httpx.AsyncClient) -> None:
    response = run(client.put("/v1/shop/decisions"))
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "method, path", [("POST", "/v1/shop/decisions"), ("POST", "/v1/shop/events"), ("GET", "/v1/status"), ("GET", "/docs"), ("GET", "/")]
)
@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic d3Jvbmc="}])
def test_without_a_key_nothing_is_told(http: Http, method: str, path: str, header: dict[str, str]) -> None:
    response = run(http(**header).request(method, path, content=b"{}"))
    assert problem(response).status == 401
    assert "Bearer" in response.headers["www-authenticate"]


def test_a_key_without_the_scope_is_forbidden(http: Http, shop: Shop, service: DecisionService) -> None:
    narrow = http(authorization=f"Bearer {make_key(shop.layout, 'narrow', [Scope.INGEST])}")
    service.look()
    assert problem(run(narrow.post("/v1/shop/decisions", json=ASK))).status == 403
    assert run(narrow.post("/v1/shop/events", content=b'{"events":[1]}')).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_needs_no_key(http: Http, path: str) -> None:
    assert run(http().get(path)).status_code == 200
    assert run(http().head(path)).status_code == 200


def test_who_has_lost_its_writer_is_not_ready_and_is_to_be_replaced(app: App, http: Http, service: DecisionService) -> None:
    app.check_health()
    service.journal._waiting.put(None)
    service.journal._thread.join()
    with pytest.raises(NotReady, match="its writer has ended"):
        app.check_health()
    answer = run(http().get("/readyz"))
    assert problem(answer).type.endswith("not-ready")
    assert answer.headers["retry-after"] == "1"


def test_pages_load_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    for path in ("/", "/docs"):
        response = run(client.get(path))
        assert response.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "<script" not in response.text
        assert "http" not in response.text.replace("http-", "")
    assert run(client.get("/openapi.json")).json()["openapi"] == "3.1.0"
    assert msgspec.json.decode(run(client.get("/v1/status")).content, type=Status).use_cases[0].use_case == "shop"


def test_a_request_id_is_taken_over_if_it_is_plain(http: Http) -> None:
    assert run(http().get("/healthz", headers={"x-request-id": "r-1"})).headers["x-request-id"] == "r-1"
    assert run(http().get("/healthz", headers={"x-request-id": "<script>"})).headers["x-request-id"] != "<script>"


def test_a_store_that_is_gone_is_503_with_retry_after(client: httpx.AsyncClient, service: DecisionService) -> None:
    service.journal.close()
    for path, body in (
        ("/v1/shop/decisions", ASK),
        ("/v1/shop/events", {"events": [{}]}),
        ("/v1/shop/outcomes", {"outcomes": [{}]}),
        ("/v1/shop/decisions:batch", {"requests": [ASK]}),
    ):
        response = run(client.post(path, json=body))
        assert (problem(response).status, response.headers["retry-after"]) == (503, "1")
    assert run(client.get("/v1/shop/decisions/d-1")).status_code == 503
    assert run(client.get("/healthz")).status_code == 200


def test_a_fault_of_ours_is_told_without_its_trace(app: App, client: httpx.AsyncClient) -> None:
    app._handlers.clear()
    response = run(client.post("/v1/shop/decisions", json=ASK))
    assert problem(response).status == 500
    assert "KeyError" not in response.text


def test_what_is_not_let_in_says_why_and_when_to_come_again(client: httpx.AsyncClient, app: App) -> None:
    app.admission = Admission(1, 2.0)
    app.admission.enter("somebody")
    response = run(client.post("/v1/shop/decisions", json=ASK))
    assert (problem(response).type, response.headers["retry-after"]) == ("urn:offerloop:problem:overloaded", "1")
    app.admission.leave("somebody")
    late = run(client.post("/v1/shop/decisions", json=ASK, headers={"x-request-start": str(time.time_ns() // 1_000 - 3_000_000)}))
    assert (problem(late).type, late.headers["retry-after"]) == ("urn:offerloop:problem:deadline", "1")
    assert run(client.post("/v1/shop/decisions", json=ASK)).status_code == 200
    assert run(client.post("/v1/shop/decisions", content=b"{")).status_code == 422
    assert app.admission.under_way == 0


@pytest.mark.parametrize("site, status", [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)])
def test_pages_of_other_sites_cannot_ask(client: httpx.AsyncClient, site: str, status: int) -> None:
    assert run(client.post("/v1/shop/decisions", json=ASK, headers={"sec-fetch-site": site})).status_code == status


def test_a_keys_own_quota_holds(http: Http, shop: Shop, service: DecisionService) -> None:
    own = http(authorization=f"Bearer {make_key(shop.layout, 'own', requests_per_s=2)}")
    service.look()
    assert run(own.post("/v1/shop/decisions", json=ASK)).headers["ratelimit-policy"] == '"rate";q=2;w=1'


def test_a_quota_is_said_with_every_answer_and_refused_with_429(client: httpx.AsyncClient, app: App) -> None:
    app.admission = Admission(8, 2.0, lambda key: 1.0)
    answered = run(client.post("/v1/shop/decisions", json=ASK))
    assert (answered.status_code, answered.headers["ratelimit"]) == (200, '"rate";r=0;t=1')
    refused = run(client.get("/v1/status"))
    assert (problem(refused).type, refused.headers["retry-after"]) == ("urn:offerloop:problem:too-many", "1")
    assert refused.headers["ratelimit-policy"] == '"rate";q=1;w=1'
    assert run(client.get("/healthz")).status_code == 200


Message = MutableMapping[str, Any]


def exchange(app: App, scope: dict[str, Any], receive: Callable[[], Awaitable[Message]]) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def incoming(*messages: Message) -> Callable[[], Awaitable[Message]]:
    left = list(messages)

    async def receive() -> Message:
        if not left:
            await asyncio.sleep(60)
        return left.pop(0)

    return receive


def post(app: App, key: str, *messages: Message) -> list[Message]:
    headers = [(b"authorization", f"Bearer {key}".encode())]
    return exchange(app, {"type": "http", "method": "POST", "path": "/v1/shop/decisions", "headers": headers}, incoming(*messages))


def test_a_body_in_pieces_is_put_together(app: App, key: str) -> None:
    sent = post(
        app,
        key,
        {"type": "http.request", "body": b'{"entity', "more_body": True},
        {"type": "http.request", "body": b'_id":"p-1"}', "more_body": False},
    )
    assert sent[0]["status"] == 200


def test_a_body_in_pieces_may_not_be_larger_either(app: App, key: str) -> None:
    assert post(app, key, *[{"type": "http.request", "body": b" " * 100_000, "more_body": True}] * 3)[0]["status"] == 413


def test_a_client_that_leaves_gets_nothing(app: App, key: str) -> None:
    assert post(app, key, {"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}) == []


def test_a_body_that_does_not_arrive_is_given_up(app: App, key: str, service: DecisionService) -> None:
    app._settings = msgspec.structs.replace(service.settings.serving, request_timeout_s=0.05)
    assert post(app, key, {"type": "http.request", "body": b"{", "more_body": True})[0]["status"] == 408


def test_the_server_may_end_it_and_websockets_are_closed(service: DecisionService, app: App) -> None:
    ended: list[bool] = []
    app._on_shutdown = lambda: ended.append(True)
    sent = exchange(app, {"type": "lifespan"}, incoming({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert ended == [True]
    assert exchange(app, {"type": "websocket"}, incoming())[0]["type"] == "websocket.close"
