"""Errors as HTTP tells them (RFC 9457): one table from causes to types and statuses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from contracts.errors import (
    Conflict,
    DeadlinePassed,
    Forbidden,
    InvalidInput,
    NotFound,
    NotReady,
    Overloaded,
    SignatureRefused,
    StaleFeatures,
    StoreUnavailable,
    TooLarge,
    TooMany,
    Unauthorized,
    Unconfirmed,
)
from serving.messages import Problem

PREFIX = "urn:offerloop:problem:"
RETRY_AFTER_S = 1


@dataclass(frozen=True)
class Kind:
    """A type of problem. Its name ends the type's URI and never changes; a client may act on it.

    Attributes:
        title: what it is, in a few words.
        mend: what the client should do.
        errors: the classes of errors that it tells of; none where HTTP itself refuses.
    """

    name: str
    status: int
    title: str
    mend: str
    errors: tuple[type[Exception], ...] = ()

    @property
    def uri(self) -> str:
        """The type's URI."""
        return PREFIX + self.name


KINDS = (
    Kind("no-key", 401, "No valid key", "Send a valid key as `Authorization: Bearer KEY`.", (Unauthorized,)),
    Kind("signature", 401, "The signature does not hold", "Sign the webhook again, at once, under a new id.", (SignatureRefused,)),
    Kind("forbidden", 403, "The key may not do this", "Use a key that has the scope.", (Forbidden,)),
    Kind("foreign", 403, "Asked by another site's page", "Ask from a program or from a page of this installation."),
    Kind("no-such-path", 404, "No such path", "See /docs for what there is."),
    Kind("not-found", 404, "Not found", "Check the name or id in the path.", (NotFound,)),
    Kind("method", 405, "Method not allowed", "Use a method of the header `Allow`."),
    Kind("slow", 408, "The request did not arrive in time", "Send it again, faster or in parts."),
    Kind("conflict", 409, "The id was used before", "Send new content under a new id.", (Conflict,)),
    Kind("too-large", 413, "Too large", "Send it in parts.", (TooLarge,)),
    Kind("media-type", 415, "Not JSON", "Send the body as application/json."),
    Kind("invalid", 422, "Not as declared", "Mend what `field` names.", (InvalidInput,)),
    Kind("too-many", 429, "Too many requests of this key", "Wait for `Retry-After`, and ask less often or less at once.", (TooMany,)),
    Kind("fault", 500, "A fault of ours", "Ask again with the same id; tell the operator the request id."),
    Kind("not-ready", 503, "Not ready", "Wait for `Retry-After`, and ask again with the same id.", (NotReady,)),
    Kind("stale-features", 503, "Features are too old", "Send what they follow from, then ask again.", (StaleFeatures,)),
    Kind("log-unavailable", 503, "Not durable", "Nothing was kept: ask again with the same id.", (StoreUnavailable,)),
    Kind("unconfirmed", 503, "Perhaps durable", "It may have been kept or not: ask again with the same id.", (Unconfirmed,)),
    Kind("overloaded", 503, "Overloaded", "Nothing was done: wait for `Retry-After`, and ask again with the same id.", (Overloaded,)),
    Kind("deadline", 503, "Too late", "Wait for `Retry-After`, and ask again with the same id.", (DeadlinePassed,)),
    Kind("unavailable", 503, "No replica can answer", "Wait for `Retry-After`, and ask again with the same id."),
)
"""Every problem there is. A class that is not here, and has no base here, is a fault of ours: 500."""

BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}
OF_ERRORS: Mapping[type, Kind] = {error: kind for kind in KINDS for error in kind.errors}

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]


_NONE: Headers = ()


class Refusal(Exception):
    """A request that HTTP itself refuses, before the service is asked.

    Args:
        kind: the name of the problem's kind.
    """

    def __init__(self, kind: str, detail: str, headers: Headers = ()) -> None:
        super().__init__(detail)
        self.kind = BY_NAME[kind]
        self.detail = detail
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: status, body, its type, and further headers."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: Headers = ()


def kinds_of(status: int) -> Sequence[Kind]:
    """The kinds of problems that have a status."""
    return [kind for kind in KINDS if kind.status == status]


def problem_of(error: Exception, request_id: str) -> Answer:
    """The response that tells of an error; of one that is not ours it says only where to look."""
    if isinstance(error, Refusal):
        return problem(error.kind, error.detail, request_id, headers=error.headers)
    kind = next((OF_ERRORS[base] for base in type(error).__mro__ if base in OF_ERRORS), BY_NAME["fault"])
    if kind.name == "fault":
        return problem(kind, "This should not have happened. The log of the service has it under the request id.", request_id)
    wait_s, headers = RETRY_AFTER_S, _NONE
    if isinstance(error, TooMany):
        wait_s, headers = error.retry_after_s, limits(error.policy, 0, error.retry_after_s)
    return problem(kind, str(error), request_id, error.field if isinstance(error, InvalidInput) else None, headers, wait_s)


def problem(
    kind: Kind, detail: str, request_id: str, field: str | None = None, headers: Headers = (), retry_after_s: int = RETRY_AFTER_S
) -> Answer:
    """A response that tells of a problem."""
    if kind.status == 401:
        headers = (*headers, (b"www-authenticate", b'Bearer, Basic realm="offerloop"'))
    if kind.status in (429, 503):
        headers = (*headers, (b"retry-after", b"%d" % retry_after_s))
    body = Problem(kind.uri, kind.title, kind.status, detail, request_id, field)
    return Answer(kind.status, msgspec.json.encode(body), b"application/problem+json", headers)


def limits(policy: str, left: int, reset_s: int) -> Headers:
    """The headers that say a quota and what is left of it.

    Args:
        policy: the quota as an item of a structured field, such as `"key";q=100;w=1`.

    Source: IETF draft `draft-ietf-httpapi-ratelimit-headers`, `RateLimit-Policy` and `RateLimit`.
    """
    name = policy.partition(";")[0]
    return ((b"ratelimit-policy", policy.encode()), (b"ratelimit", f"{name};r={left};t={reset_s}".encode()))
