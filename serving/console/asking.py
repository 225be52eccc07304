"""What a page is asked, and what it answers: plain data between the web and the functions that make pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.errors import (
    BundleRefused,
    Conflict,
    DataRefused,
    Forbidden,
    InvalidInput,
    NotFound,
    OfferloopError,
    StepRefused,
    StoreUnavailable,
    TooLarge,
    Unauthorized,
)
from serving.console.desk import Office
from serving.console.sessions import Person, TokenRefused
from serving.keys import Scope

STATUSES: Mapping[type[Exception], int] = {
    Unauthorized: 401,
    Forbidden: 403,
    TokenRefused: 403,
    NotFound: 404,
    StepRefused: 409,
    BundleRefused: 409,
    Conflict: 409,
    DataRefused: 409,
    TooLarge: 413,
    InvalidInput: 422,
    StoreUnavailable: 503,
}
"""The statuses of the pages that tell of an error."""

MOST_TEXT = 2_000
"""Characters of a comment or reason."""


@dataclass(frozen=True)
class Asked:
    """A request of somebody who is signed in.

    Attributes:
        path: values of the path's braces. `query`, `form`: each name's last value.
        refusal: an act that was refused just now, told on the page from which it was asked.
    """

    office: Office
    person: Person
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    refusal: OfferloopError | None = None

    def text(self, name: str, *, needed: bool = False) -> str:
        """What was written into a field of the form, without spaces around it.

        Raises:
            InvalidInput: nothing where something is needed, or too much.
        """
        written = self.form.get(name, "").replace("\r\n", "\n").strip()
        if needed and not written:
            raise InvalidInput(name, "is empty", "a few words that will stand in the ledger")
        if len(written) > MOST_TEXT:
            raise InvalidInput(name, f"has {len(written)} characters", f"at most {MOST_TEXT}")
        if not all(sign.isprintable() or sign in "\n\t" for sign in written):
            raise InvalidInput(name, "holds signs that cannot be read", "plain text")
        return written

    def number(self, name: str) -> int | None:
        """A whole number from the form, or None where there is none.

        Raises:
            InvalidInput: it is something else.
        """
        return _number(name, self.form.get(name, ""))

    def asked_number(self, name: str) -> int | None:
        """A whole number from the query, or None where there is none; raises as `number`."""
        return _number(name, self.query.get(name, ""))

    def must_operate(self) -> None:
        """Check that the person may act.

        Raises:
            Forbidden: they may only look.
        """
        if not self.person.operates:
            raise Forbidden(self.person.name, Scope.OPERATE)


@dataclass(frozen=True)
class Page:
    """A page to be rendered: its template, and what that is told."""

    template: str
    content: Mapping[str, Any]
    status: int = 200


@dataclass(frozen=True)
class Done:
    """An act that was done: where to go on, and what to say there."""

    to: str
    notice: str


def status_of(error: Exception) -> int:
    """The status of the page that tells of an error; 500 for what is not ours.

    Example:
        >>> status_of(NotFound("release", "r-1"))
        404
    """
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)


def _number(name: str, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 18):
        raise InvalidInput(name, f"is {text[:20]!r}", "a whole number")
    return int(text)
