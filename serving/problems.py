"""Errors as HTTP tells them (RFC 9457): one table from class to status."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from contracts.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    NotReady,
    StaleFeatures,
    StoreUnavailable,
    TooLarge,
    Unauthorized,
)
from serving.messages import Problem

STATUSES: Mapping[type, int] = {
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    InvalidInput: 422,
    NotReady: 503,
    StaleFeatures: 503,
    StoreUnavailable: 503,
}
"""The only such table. A class that is not here, and has no base here, is a fault of ours: 500."""

TITLES: Mapping[int, str] = {
    401: "No valid key",
    403: "The key may not do this",
    404: "Not found",
    405: "Method not allowed",
    408: "The request did not arrive in time",
    409: "The id was used before",
    413: "Too large",
    415: "Not JSON",
    422: "Not as declared",
    500: "A fault of ours",
    503: "Not now",
}

RETRY_AFTER_S = 1

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]


class Refusal(Exception):
    """A request that HTTP itself refuses, before the service is asked."""

    def __init__(self, status: int, detail: str, headers: Headers = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: status, body, its type, and further headers."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: Headers = ()


def problem_of(error: Exception, request_id: str) -> Answer:
    """The response that tells of an error; of one that is not ours it says only where to look."""
    if isinstance(error, Refusal):
        return problem(error.status, error.detail, request_id, headers=error.headers)
    status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)
    detail = str(error) if status != 500 else "This should not have happened. The log of the service has it under the request id."
    return problem(status, detail, request_id, error.field if isinstance(error, InvalidInput) else None)


def problem(status: int, detail: str, request_id: str, field: str | None = None, headers: Headers = ()) -> Answer:
    """A response that tells of a problem."""
    if status == 401:
        headers = (*headers, (b"www-authenticate", b'Bearer, Basic realm="offerloop"'))
    if status == 503:
        headers = (*headers, (b"retry-after", str(RETRY_AFTER_S).encode()))
    body = Problem(f"urn:offerloop:problem:{status}", TITLES[status], status, detail, request_id, field)
    return Answer(status, msgspec.json.encode(body), b"application/problem+json", headers)
