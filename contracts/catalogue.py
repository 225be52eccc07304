"""The versioned list of candidates, with their eligibility rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import msgspec

from contracts.digests import digest_of
from contracts.errors import DefinitionError

NO_ACTION = "none"
"""The candidate that shows nothing: always eligible, and the control's default baseline."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A condition on a named feature or context value; a candidate is eligible when all its rules hold.

    A rule over a missing value uses the feature's default. `in` takes a list of category names.

    Example:
        >>> Rule("level", ">=", 5).op
        '>='
    """

    feature: str
    op: Literal["<", "<=", "==", "!=", ">=", ">", "in", "not in"]
    value: int | float | str | tuple[str, ...]


ANY = "*"
"""The group of all candidates but no action."""


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often an entity may be shown something: a frequency cap; with `most` 1 a cool-down.

    A candidate with this limit is not eligible while `most` decisions within the last `window_us` before this one showed the entity one of
    the group. What counts are decisions, as the entity's events tell them; whether the answer was displayed nobody knows then.

    Attributes:
        group: a group that candidates name; `*`, all but no action; empty, the candidate itself.

    Raises:
        DefinitionError: it would never allow anything, or has no window.
    """

    most: int
    window_us: int
    group: str = ""

    def __post_init__(self) -> None:
        if self.most < 1 or self.window_us < 1:
            raise DefinitionError("limit", f"allows {self.most} in {self.window_us} µs", "Give at least one, in a window above 0.")


class Candidate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing that could be shown.

    Attributes:
        attributes: columns that the model sees beside the features: categories (text) or numbers.
        matched: further columns, each by the name of the feature of the entity that goes with this candidate, such as
            `{"share": "share_calm"}` for an offer of the calm kind; `""` where none does. What one model learns of them holds for all.
        rules: all must hold for the candidate to be eligible.
        content: what the client shows (texts, products); the system does not look inside.
        cooldown_us: for how long after it was last shown to an entity the candidate is not eligible for it; 0 for none.
        groups: names of the groups it belongs to, which limits count together.
        limits: all must leave room.
        valid_from_us: the first moment at which it is eligible, in microseconds (UTC); None for always.
        valid_until_us: the first moment at which it no longer is.

    Raises:
        DefinitionError: it ends before it begins.
    """

    candidate_id: str
    attributes: Mapping[str, str | int | float]
    rules: tuple[Rule, ...] = ()
    content: Mapping[str, str | int] = {}
    cooldown_us: int = 0
    valid_from_us: int | None = None
    valid_until_us: int | None = None
    matched: Mapping[str, str] = {}
    groups: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        if self.valid_until_us is not None and self.valid_until_us <= (self.valid_from_us or 0):
            dates = f"is valid from {self.valid_from_us} until {self.valid_until_us}"
            raise DefinitionError(f"candidate {self.candidate_id}", dates, "Let it end after it begins.")


@dataclass(frozen=True)
class Catalogue:
    """Candidates in their fixed order. Its digest is its version.

    Raises:
        DefinitionError: an id stands twice, or candidates have different attributes.
    """

    candidates: tuple[Candidate, ...]
    index: Mapping[str, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        index = {candidate.candidate_id: position for position, candidate in enumerate(self.candidates)}
        if len(index) != len(self.candidates) or not self.candidates:
            raise DefinitionError("catalogue", "is empty or names a candidate twice", "Give every candidate an id of its own.")
        columns = {(tuple(candidate.attributes), tuple(candidate.matched)) for candidate in self.candidates}
        if len(columns) != 1:
            raise DefinitionError("catalogue", f"candidates have different attributes: {sorted(columns)}", "Give all the same.")
        groups = {"", ANY, *(group for candidate in self.candidates for group in candidate.groups)}
        unknown = sorted({limit.group for candidate in self.candidates for limit in candidate.limits} - groups)
        if unknown:
            what = f"limits count groups that no candidate belongs to: {unknown}"
            raise DefinitionError("catalogue", what, f"Name a group of a candidate, or {ANY} for all.")
        object.__setattr__(self, "index", index)

    def members(self, group: str) -> tuple[str, ...]:
        """Ids of a group's candidates, in order.

        Example:
            >>> Catalogue((Candidate("none", {}), Candidate("a", {}, groups=("gems",)), Candidate("b", {}))).members("*")
            ('a', 'b')
        """
        return tuple(
            candidate.candidate_id
            for candidate in self.candidates
            if (candidate.candidate_id != NO_ACTION if group == ANY else group in candidate.groups)
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the attributes, in order."""
        return tuple(self.candidates[0].attributes)

    @property
    def cooldowns_us(self) -> tuple[int, ...]:
        """Each candidate's cool-down, 0 for none."""
        return tuple(candidate.cooldown_us for candidate in self.candidates)

    @property
    def matched(self) -> tuple[str, ...]:
        """Names of the columns that candidates are matched by, in order."""
        return tuple(self.candidates[0].matched)

    @cached_property
    def looks_back_us(self) -> int:
        """How long what an entity was shown matters: the longest cool-down or window of a limit, 0 where there is none."""
        windows = [limit.window_us for candidate in self.candidates for limit in candidate.limits]
        return max((*self.cooldowns_us, *windows))

    @cached_property
    def digest(self) -> str:
        """Digest over everything the catalogue says."""
        return digest_of([_said(candidate) for candidate in self.candidates])


def _said(candidate: Candidate) -> dict[str, object]:
    # why: what candidates can say since then is left out where it is not said, so that catalogues of older logs keep their digests
    said = {name: msgspec.to_builtins(getattr(candidate, name)) for name in candidate.__struct_fields__}
    return {name: value for name, value in said.items() if name not in _SINCE or value != _SINCE[name]}


_SINCE: Mapping[str, object] = {"valid_from_us": None, "valid_until_us": None, "matched": {}, "groups": (), "limits": ()}
