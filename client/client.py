"""The client for anyone: one call, one answer, asked again until it came or patience ran out."""

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

import httpx
import msgspec

from client import wire
from client.messages import Answer, Ask, Event, HookReceipt, Outcome, Receipt
from contracts.errors import RequestFailed
from contracts.records import Decision, FieldValue

PART = 500
"""Most records in one request."""


class Client:
    """A client of the HTTP API. Safe for several threads; close it, or use it in a `with` block.

    Everything is asked again after a failure that may pass, with the same ids, so nothing is decided or counted twice.

    Args:
        base_url: such as `http://127.0.0.1:8000`.
        api_key: the installation's key.
        timeout_s: of one try.
        patience_s: for how long to go on trying.
        ca_file: certificate authorities in PEM that the server's certificate must be from; empty for the machine's own.

    Raises:
        InvalidInput: `ca_file` is not readable.
    """

    def __init__(self, base_url: str, api_key: str = "", timeout_s: float = 10.0, patience_s: float = 30.0, *, ca_file: str = "") -> None:
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {api_key}"} if api_key else {})
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=timeout_s, verify=wire.tls(ca_file), trust_env=False)
        self._patience_s = patience_s

    def decide(
        self, use_case: str, entity_id: str, context: Mapping[str, FieldValue] | None = None, decision_id: str | None = None
    ) -> Answer:
        """What to show an entity now.

        Raises:
            RequestFailed: refused, or no answer within the client's patience.
        """
        return wire.read_answer(self._send(wire.decide(use_case, Ask(entity_id, context or {}, decision_id))))

    def decide_many(self, use_case: str, asks: Iterable[Ask]) -> list[Answer]:
        """Answers to many, in their order.

        Raises:
            RequestFailed: as `decide`.
        """
        return [answer for part in wire.parts(asks, PART) for answer in wire.read_answers(self._send(wire.decide_many(use_case, part)))]

    def send_events(self, use_case: str, events: Iterable[Event]) -> Receipt:
        """Send events; those that break their schema are in the receipt.

        Raises:
            RequestFailed: as `decide`.
        """
        return self._send_records(use_case, "events", events)

    def send_outcomes(self, use_case: str, outcomes: Iterable[Outcome]) -> Receipt:
        """Send outcomes; those that cannot be credited are in the receipt.

        Raises:
            RequestFailed: as `decide`.
        """
        return self._send_records(use_case, "outcomes", outcomes)

    def decision(self, use_case: str, decision_id: str) -> Decision:
        """A decision's row of the log.

        Raises:
            RequestFailed: as `decide`; with status 404 when it is not there.
        """
        return msgspec.json.decode(self._send(wire.decision(use_case, decision_id)), type=Decision)

    def trigger(self, name: str, payload: Mapping[str, Any], secret: str, hook_id: str | None = None) -> HookReceipt:
        """Start a flow by its signed webhook.

        Raises:
            RequestFailed: as `decide`.
        """
        return wire.read_hook(self._send(wire.hook(name, payload, secret, hook_id)))

    def status(self) -> dict[str, Any]:
        """What serves now, as the replica that answers sees it.

        Raises:
            RequestFailed: as `decide`.
        """
        found: dict[str, Any] = msgspec.json.decode(self._send(wire.Request("GET", "/v1/status")), type=dict[str, Any])
        return found

    def ready(self) -> bool:
        """Whether decisions are answered now; asks once."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _send_records(self, use_case: str, kind: str, sent: Iterable[Event] | Iterable[Outcome]) -> Receipt:
        receipts = [wire.read_receipt(self._send(wire.records(use_case, kind, part))) for part in wire.parts(sent, PART)]
        return wire.joined(receipts, PART)

    def _send(self, request: wire.Request) -> bytes:
        patience = wire.Patience(self._patience_s)
        while True:
            try:
                response = self._http.request(request.method, request.path, content=request.body, headers=list(request.headers))
            except httpx.TransportError as error:
                failed = RequestFailed(f"{request.method} {request.path}", 0, f"no answer ({error!r})")
                retry_after = None
            else:
                if response.is_success:
                    return response.content
                failed = wire.failure(request, response.status_code, response.content)
                failed.retry_after = retry_after = response.headers.get(wire.RETRY_AFTER)
                if response.status_code not in wire.RETRIED:
                    raise failed
            delay = patience.delay(retry_after)
            if delay is None:
                raise failed
            time.sleep(delay)
