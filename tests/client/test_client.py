"""Both clients pass the same list: the asyncio one is called through a loop of its own."""

import asyncio
import base64
import hashlib
import hmac
import socket
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import pytest

from client import Answer, Ask, AsyncClient, Client, Event, HookReceipt, Outcome, Receipt, Refused
from contracts.errors import InvalidInput, RequestFailed
from contracts.records import Decision

from .conftest import ANSWER, Reply, Server

T = TypeVar("T")

UNAVAILABLE: Reply = (503, {"detail": "not now"}, {"retry-after": "0"})


class Blocking:
    """The asyncio client with the calls of the other."""

    def __init__(self, base_url: str, api_key: str = "", timeout_s: float = 10.0, patience_s: float = 30.0) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(base_url, api_key, connections=4, timeout_s=timeout_s, patience_s=patience_s)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def decide(self, use_case: str, entity_id: str, context: Mapping[str, Any] | None = None, decision_id: str | None = None) -> Answer:
        return self._run(self._client.decide(use_case, entity_id, context, decision_id))

    def decide_many(self, use_case: str, asks: Iterable[Ask]) -> list[Answer]:
        return self._run(self._client.decide_many(use_case, asks))

    def send_events(self, use_case: str, events: Iterable[Event]) -> Receipt:
        return self._run(self._client.send_events(use_case, events))

    def send_outcomes(self, use_case: str, outcomes: Iterable[Outcome]) -> Receipt:
        return self._run(self._client.send_outcomes(use_case, outcomes))

    def decision(self, use_case: str, decision_id: str) -> Decision:
        return self._run(self._client.decision(use_case, decision_id))

    def trigger(self, name: str, payload: Mapping[str, Any], secret: str, hook_id: str | None = None) -> HookReceipt:
        return self._run(self._client.trigger(name, payload, secret, hook_id))

    def close(self) -> None:
        self._run(self._client.close())
        self._runner.close()


Made = Client | Blocking
Make = Callable[..., Made]


@pytest.fixture(params=[Client, Blocking], ids=["sync", "asyncio"])
def make(request: pytest.FixtureRequest, server: Server) -> Iterator[Make]:
    made: list[Made] = []

    def build(base_url: str = "", **settings: Any) -> Made:
        made.append(request.param(base_url or server.address, "key", **settings))
        return made[-1]

    yield build
    for client in made:
        client.close()


def test_it_asks_and_gets_an_answer(make: Make, server: Server) -> None:
    answer = make().decide("shop", "p-1", {"cart": 2}, "d-7")
    assert (answer.decision_id, answer.action, answer.content) == ("d-7", "gems", {"text": "Gems!"})
    method, path, body, headers = server.requests[0]
    assert (method, path, body) == ("POST", "/v1/shop/decisions", {"entity_id": "p-1", "context": {"cart": 2}, "decision_id": "d-7"})
    assert (headers["authorization"], headers["content-type"]) == ("Bearer key", "application/json")


@pytest.mark.parametrize(
    "failures", [[UNAVAILABLE], [None], [(500, {}, {}), None, (429, {}, {})], [(503, {"detail": "x"}, {"retry-after": "soon"})]]
)
def test_it_asks_again_under_the_same_id(make: Make, server: Server, failures: list[Reply | None]) -> None:
    server.replies = list(failures)
    answer = make().decide("shop", "p-1")
    ids = [body["decision_id"] for _, _, body, _ in server.requests]
    assert len(ids) == len(failures) + 1
    assert set(ids) == {answer.decision_id}


def test_it_does_not_ask_again_what_will_not_mend(make: Make, server: Server) -> None:
    server.replies = [(422, {"detail": "`entity_id` is wrong", "field": "entity_id"}, {})]
    with pytest.raises(RequestFailed, match="`entity_id` is wrong") as caught:
        make().decide("shop", "p-1")
    assert (caught.value.status, caught.value.field, len(server.requests)) == (422, "entity_id", 1)


def test_a_problem_is_told_by_its_kind(make: Make, server: Server) -> None:
    server.replies = [(409, {"detail": "taken", "type": "urn:offerloop:problem:conflict", "request_id": "r-7", "new": 1}, {})]
    with pytest.raises(RequestFailed, match="taken") as caught:
        make().decide("shop", "p-1")
    assert (caught.value.status, caught.value.kind, caught.value.request_id) == (409, "conflict", "r-7")


def test_an_answer_that_breaks_off_is_asked_for_again(make: Make, server: Server) -> None:
    server.replies = [(200, ANSWER, {"content-length": "5000", "connection": "close"})]
    assert make().decide("shop", "p-1", None, "d-9").decision_id == "d-9"
    assert len(server.requests) == 2


@pytest.mark.parametrize("date", ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_when_to_come_again_may_be_a_date(make: Make, server: Server, date: str) -> None:
    server.replies = [(503, {"detail": "then"}, {"retry-after": date})]
    if "9999" in date:
        with pytest.raises(RequestFailed, match="then"):
            make(patience_s=0.5).decide("shop", "p-1")
    else:
        assert make().decide("shop", "p-1").entity_id == "p-1"


def test_certificate_authorities_that_are_not_there_are_told() -> None:
    for build in (Client, AsyncClient):
        with pytest.raises(InvalidInput, match="ca_file"):
            build("https://somewhere", ca_file="/nowhere.pem")


def test_it_loses_patience(make: Make, server: Server) -> None:
    server.then = lambda path, body: UNAVAILABLE
    with pytest.raises(RequestFailed, match="not now"):
        make(patience_s=0.3).decide("shop", "p-1")
    assert len(server.requests) > 1


def test_nobody_there_is_said(make: Make) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(RequestFailed, match="no answer") as caught:
            make(address, patience_s=0.2).decide("shop", "p-1")
    assert caught.value.status == 0


def test_a_silent_server_is_given_up(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(RequestFailed, match="no answer"):
        make(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.1, patience_s=0.2).decide("shop", "p-1")


def test_an_answer_that_is_no_http_is_no_answer(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        import threading

        def babble() -> None:
            connection, _ = listening.accept()
            connection.recv(10_000)
            connection.sendall(b"BABBLE\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=babble)
        thread.start()
        with pytest.raises(RequestFailed, match="no answer"):
            make(f"http://127.0.0.1:{listening.getsockname()[1]}", patience_s=0.0).decide("shop", "p-1")
        thread.join()


def test_a_problem_that_is_no_problem_json_is_told_all_the_same(make: Make, server: Server) -> None:
    server.replies = [(400, ["odd"], {})]  # type: ignore[list-item]  # why: what a proxy in between may say
    with pytest.raises(RequestFailed, match="odd"):
        make().decide("shop", "p-1")


def test_an_answer_of_another_shape_is_refused(make: Make, server: Server) -> None:
    server.replies = [(200, {"decision_id": 5}, {})]
    with pytest.raises(RequestFailed, match="not what was expected"):
        make().decide("shop", "p-1")


def test_many_are_asked_in_parts_and_keep_their_order(make: Make, server: Server) -> None:
    server.then = lambda path, body: (200, {"decisions": [ANSWER | {"decision_id": one["decision_id"]} for one in body["requests"]]}, {})
    answers = make().decide_many("shop", [Ask(f"p-{number}", decision_id=f"d-{number}") for number in range(1_100)])
    assert [answer.decision_id for answer in answers] == [f"d-{number}" for number in range(1_100)]
    assert [len(body["requests"]) for _, _, body, _ in server.requests] == [500, 500, 100]


def test_receipts_of_parts_are_joined(make: Make, server: Server) -> None:
    refused = {"index": 1, "id": "x", "reason": "no"}
    server.then = lambda path, body: (200, {"accepted": len(next(iter(body.values()))) - 1, "duplicates": 0, "quarantined": [refused]}, {})
    events = [Event(f"e-{number}", "p-1", "login", 5) for number in range(600)]
    assert make().send_events("shop", events) == Receipt(598, 0, (Refused(1, "x", "no"), Refused(501, "x", "no")))
    outcomes = [
        Outcome("o-1", "d-1", 5),
        Outcome("o-2", "d-1", 6, "2026-01-01T00:00:00Z"),
        Outcome("o-3", None, 6, entity_id="p-1"),
        Outcome("o-4", "d-1", 5, corrects="o-2"),
    ]
    assert make().send_outcomes("shop", outcomes).accepted == 3
    assert server.requests[-1][2] == {
        "outcomes": [
            {"outcome_id": "o-1", "decision_id": "d-1", "reward": 5},
            {"outcome_id": "o-2", "decision_id": "d-1", "reward": 6, "event_time": "2026-01-01T00:00:00Z"},
            {"outcome_id": "o-3", "decision_id": None, "reward": 6, "entity_id": "p-1"},
            {"outcome_id": "o-4", "decision_id": "d-1", "reward": 5, "corrects": "o-2"},
        ]
    }
    assert make().send_events("shop", []) == Receipt(0, 0, ())


def test_a_webhook_is_signed(make: Make, server: Server) -> None:
    server.replies = [(202, {"inbox_id": 4, "status": "waiting"}, {})]
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert make().trigger("train", {"use_case": "shop"}, secret, "h-1") == HookReceipt(4, "waiting")
    _, path, _, headers = server.requests[0]
    signed = f"h-1.{headers['webhook-timestamp']}.".encode() + b'{"use_case":"shop"}'
    expected = base64.b64encode(hmac.digest(base64.b64decode(secret[6:]), signed, hashlib.sha256)).decode()
    assert (path, headers["webhook-id"], headers["webhook-signature"]) == ("/v1/hooks/train", "h-1", f"v1,{expected}")


def test_a_secret_of_another_shape_is_refused(make: Make) -> None:
    with pytest.raises(InvalidInput, match="secret"):
        make().trigger("train", {}, "whsec_!")


def test_names_cannot_leave_their_place_in_a_path(make: Make, server: Server) -> None:
    server.replies = [(404, {"detail": "nothing"}, {})]
    with pytest.raises(RequestFailed, match="404"):
        make().decision("shop", "../../v1/status?x")
    assert server.requests[0][1] == "/v1/shop/decisions/..%2F..%2Fv1%2Fstatus%3Fx"


def test_a_closed_connection_is_replaced(make: Make, server: Server) -> None:
    client = make()
    server.replies = [(200, ANSWER, {"connection": "close"})]
    for _ in range(3):
        client.decide("shop", "p-1")
    assert len(server.requests) == 3


def test_status_and_readiness(server: Server) -> None:
    server.replies = [(200, {"now": 5}, {}), (503, {}, {}), (200, {}, {})]
    with Client(server.address) as client:
        assert client.status() == {"now": 5}
        assert not client.ready()
        assert client.ready()
    with Client("http://127.0.0.1:1") as client:
        assert not client.ready()


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://somewhere", "http://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="base_url"):
        AsyncClient(address)


def test_many_at_once_share_the_connections(server: Server) -> None:
    async def run() -> list[Answer]:
        async with AsyncClient(server.address, connections=3) as client:
            return await asyncio.gather(*(client.decide("shop", "p-1", None, f"d-{number}") for number in range(50)))

    assert [answer.decision_id for answer in asyncio.run(run())] == [f"d-{number}" for number in range(50)]
