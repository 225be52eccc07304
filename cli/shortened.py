"""Names of releases as people type them: whole, or as much of the beginning as is enough to know which is meant."""

from collections.abc import Sequence

from contracts.errors import InvalidInput
from releases.ledger import Ledger

_PREFIX = "r-"
_LEAST = 4
"""Digits that a shortened name has at least, so that it stays one release's for a while."""


def whole_id(ledger: Ledger, text: str, use_cases: Sequence[str]) -> str:
    """The id of the release that a text means: an id, or the beginning of one, with or without its `r-`.

    A text that means none is given back as it is, for whoever looks for it to say so.

    Args:
        ledger: which knows the releases.
        text: as typed.
        use_cases: whose releases.

    Raises:
        InvalidInput: it is the beginning of several.
    """
    digits = text.removeprefix(_PREFIX)
    known = [row for use_case in use_cases for row in ledger.releases(use_case)]
    found = [row.release_id for row in known if row.release_id.startswith(_PREFIX + digits)]
    if len(digits) < _LEAST or not found:
        return text
    if len(found) > 1:
        raise InvalidInput("release", f"{text!r} is the beginning of {', '.join(found)}", "enough digits to know which")
    return found[0]
