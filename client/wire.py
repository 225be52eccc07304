"""What both clients share: requests as bytes, answers read, and when to ask again."""

import base64
import binascii
import hashlib
import hmac
import random
import secrets
import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from client.messages import Answer, Ask, HookReceipt, Receipt
from contracts.errors import InvalidInput, RequestFailed

T = TypeVar("T")

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that asking again may mend. Every request may be repeated: decisions, events and outcomes carry their ids."""

RETRY_AFTER = "retry-after"
FIRST_DELAY_S = 0.05
LONGEST_DELAY_S = 2.0
LONGEST_ASKED_S = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request, ready to be sent as often as need be."""

    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class Patience:
    """How long to wait before asking again: exponential back-off with full jitter, until `seconds` have passed since the start.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._tries = 0

    def delay(self, retry_after: str | None = None) -> float | None:
        """Seconds to wait before the next try, or None when patience has run out. What `Retry-After` says is the least."""
        ceiling = min(FIRST_DELAY_S * 2.0 ** min(self._tries, 10), LONGEST_DELAY_S)
        self._tries += 1
        wait = random.uniform(0.0, ceiling) + min(asked_to_wait_s(retry_after), LONGEST_ASKED_S)
        return wait if time.monotonic() + wait < self._until else None


def asked_to_wait_s(retry_after: str | None) -> float:
    """Seconds that a `Retry-After` asks for, as a number or as a date (RFC 9110, section 10.2.3); 0 for none that can be read.

    Example:
        >>> asked_to_wait_s("3"), asked_to_wait_s("soon"), asked_to_wait_s("Thu, 01 Jan 1970 00:00:00 GMT")
        (3.0, 0.0, 0.0)
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def tls(ca_file: str) -> ssl.SSLContext:
    """How servers prove who they are: by the machine's certificate authorities, or by those of a PEM file alone.

    Raises:
        InvalidInput: the file is not readable.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise InvalidInput("ca_file", f"is {ca_file!r}, which is not readable ({error})", "certificates in PEM") from error


def decide(use_case: str, ask: Ask) -> Request:
    """A request for one decision."""
    return Request("POST", f"/v1/{quote(use_case, safe='')}/decisions", msgspec.json.encode(_named(ask)))


def decide_many(use_case: str, asks: Iterable[Ask]) -> Request:
    """A request for many decisions."""
    return Request(
        "POST", f"/v1/{quote(use_case, safe='')}/decisions:batch", msgspec.json.encode({"requests": [_named(ask) for ask in asks]})
    )


def records(use_case: str, kind: str, sent: Sequence[Any]) -> Request:
    """A request that sends events or outcomes."""
    return Request("POST", f"/v1/{quote(use_case, safe='')}/{kind}", msgspec.json.encode({kind: sent}))


def decision(use_case: str, decision_id: str) -> Request:
    """A request for a decision's row of the log."""
    return Request("GET", f"/v1/{quote(use_case, safe='')}/decisions/{quote(decision_id, safe='')}")


def hook(name: str, payload: Any, secret: str, hook_id: str | None = None) -> Request:
    """A signed webhook. The same `hook_id` starts nothing twice.

    Source: standard-webhooks specification, symmetric signatures: HMAC-SHA256 over `id.timestamp.body`.

    Raises:
        InvalidInput: the secret is not `whsec_` and Base64.
    """
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("secret", "is not readable", "`whsec_` and Base64") from error
    hook_id = hook_id or f"msg_{secrets.token_hex(12)}"
    timestamp = str(int(time.time()))
    body = msgspec.json.encode(payload)
    signature = base64.b64encode(hmac.new(key, f"{hook_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()).decode()
    headers = (("webhook-id", hook_id), ("webhook-timestamp", timestamp), ("webhook-signature", f"v1,{signature}"))
    return Request("POST", f"/v1/hooks/{quote(name, safe='')}", body, headers)


class _Answers(msgspec.Struct, frozen=True):
    decisions: list[Answer]


class _Problem(msgspec.Struct, frozen=True):
    detail: str = ""
    field: str | None = None
    type: str = ""
    request_id: str = ""


_ANSWER = msgspec.json.Decoder(Answer)
_ANSWERS = msgspec.json.Decoder(_Answers)
_RECEIPT = msgspec.json.Decoder(Receipt)
_HOOK = msgspec.json.Decoder(HookReceipt)
_PROBLEM = msgspec.json.Decoder(_Problem)


def read_answer(body: bytes) -> Answer:
    """A decision from a response."""
    return _read(_ANSWER, body)


def read_answers(body: bytes) -> list[Answer]:
    """Decisions from a response, in the order of their requests."""
    return _read(_ANSWERS, body).decisions


def read_receipt(body: bytes) -> Receipt:
    """A receipt from a response."""
    return _read(_RECEIPT, body)


def read_hook(body: bytes) -> HookReceipt:
    """A webhook's receipt from a response."""
    return _read(_HOOK, body)


def failure(request: Request, status: int, body: bytes) -> RequestFailed:
    """The error that a response tells of."""
    what = f"{request.method} {request.path}"
    try:
        problem = _PROBLEM.decode(body)
    except msgspec.DecodeError:
        return RequestFailed(what, status, body[:200].decode(errors="replace"))
    return RequestFailed(what, status, problem.detail, problem.field, problem.type.rpartition(":")[2], problem.request_id)


def parts(sent: Iterable[T], size: int) -> Iterator[list[T]]:
    """Records in parts of at most `size`."""
    rest = iter(sent)
    while part := list(islice(rest, size)):
        yield part


def joined(receipts: Sequence[Receipt], size: int) -> Receipt:
    """One receipt of the parts' receipts, places counted over all of them."""
    refused = tuple(
        msgspec.structs.replace(refusal, index=refusal.index + number * size)
        for number, receipt in enumerate(receipts)
        for refusal in receipt.quarantined
    )
    return Receipt(sum(receipt.accepted for receipt in receipts), sum(receipt.duplicates for receipt in receipts), refused)


def new_decision_id() -> str:
    """A decision's id that nobody else makes. It begins with the time, so that the service's index grows at its end and not all over."""
    return f"d-{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


def _named(ask: Ask) -> Ask:
    return ask if ask.decision_id else msgspec.structs.replace(ask, decision_id=new_decision_id())


def _read(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise RequestFailed("answer", 200, f"is not what was expected: {error}") from error
