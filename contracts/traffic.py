"""The traffic plan: which release answers whom. The one thing that changes when a release goes live."""

import re
from itertools import pairwise
from typing import Literal, TypeAlias

import msgspec

from contracts.errors import DefinitionError

CONTROL = "control"
CHAMPION = "champion"
CHALLENGER = "challenger"
CANARY = "canary"

Stage = Literal["candidate", "shadow", "canary", "challenger", "champion", "retired", "refused"]


Range: TypeAlias = tuple[float, float]
"""A part [start, end) of the unit interval on which the plan's salt places entities."""

_LEAST = 1e-12
"""Shares that differ by less are the same."""


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An arm of the experiment. `share` is of the entities outside control; control's is of all.

    Attributes:
        name: `champion`, `canary`, `challenger`, or `challenger_` and a name of one's own where several are compared.
        ranges: where its entities lie, oldest first, as long together as its share; the champion has what no other arm has.
    """

    name: str
    release_id: str
    share: float
    ranges: tuple[Range, ...] = ()


class TrafficPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What serves now, for one use case.

    Attributes:
        version: grows by one with each change; `ledger_id` names the row that made it.
        control_share: of all entities; control gets the use case's baseline, from the same release as the champion.
        arms: the arms outside control, their shares summing to one; the first is the champion. Where the others are given no ranges they
            are laid side by side: the canary from the low end up, the rest from the high end down, in order.
        shadow: a release that scores beside, unseen; or none.
        withheld: candidates that nobody is shown now, whatever the release: sold out, or stopped by hand.
        salt: of the sticky draw by entity. The control draw has a salt of its own that never changes.

    Raises:
        DefinitionError: shares do not sum to one, a name stands twice, or ranges overlap or are not as long as the share.
    """

    use_case: str
    version: int
    control_share: float
    arms: tuple[Arm, ...]
    salt: str
    control_salt: str
    shadow: str | None = None
    withheld: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"traffic plan of {self.use_case}"
        if not self.arms or abs(sum(arm.share for arm in self.arms) - 1.0) > 1e-9 or not 0.0 <= self.control_share < 1.0:
            what = f"control {self.control_share}, arms {[(arm.name, arm.share) for arm in self.arms]}"
            raise DefinitionError(where, what, "Shares of the arms must sum to 1 and control lie in [0, 1).")
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names) or CONTROL in names:
            raise DefinitionError(where, f"its arms are called {names}", "Give each a name of its own, and none control's.")
        msgspec.structs.force_setattr(self, "arms", _laid_out(self.arms))
        taken = sorted(part for arm in self.arms for part in arm.ranges)
        ends = [0.0, *(end for part in taken for end in part), 1.0]
        overlap = any(later < earlier - _LEAST for earlier, later in pairwise(ends))
        short = [arm.name for arm in self.arms[1:] if abs(_length(arm.ranges) - arm.share) > 1e-9]
        if short or overlap:
            raise DefinitionError(
                where, f"ranges {taken} overlap, or are not as long as the share of {short}", "Let the steps lay them out."
            )

    def with_arm(self, name: str, release_id: str, share: float) -> tuple[Arm, ...]:
        """The arms once this one has that share; entities move between it and the champion alone.

        A new arm and a growing one take from the champion: the canary from the low end up, others from the high end down. A shrinking one
        gives back what it took last. A release that changes the name of its arm, as from canary to challenger, keeps its entities.

        Raises:
            DefinitionError: that would leave the champion less than nothing.
        """
        own = next((arm.ranges for arm in self.arms[1:] if arm.release_id == release_id), ())
        others = tuple(arm for arm in self.arms[1:] if arm.release_id != release_id and arm.name != name)
        rest = 1.0 - share - sum(arm.share for arm in others)
        if rest < -_LEAST:
            raise DefinitionError(f"traffic plan of {self.use_case}", f"{name} cannot have {share}", f"There is {rest + share:g} to give.")
        free = _free([part for arm in others for part in arm.ranges] + list(own))
        if name != CANARY:
            free.reverse()
        ranges = _resized(own, share, free, upward=name == CANARY)
        return (Arm(CHAMPION, self.champion.release_id, max(0.0, rest)), *others, Arm(name, release_id, share, ranges))

    def without_arm(self, release_id: str) -> tuple[Arm, ...]:
        """The arms once this release has none: its entities go to the champion, and nobody else moves."""
        others = tuple(arm for arm in self.arms[1:] if arm.release_id != release_id)
        return (Arm(CHAMPION, self.champion.release_id, 1.0 - sum(arm.share for arm in others)), *others)

    @property
    def champion(self) -> Arm:
        """The arm that everybody outside an experiment gets."""
        return self.arms[0]

    @property
    def releases(self) -> tuple[str, ...]:
        """Every release a replica must hold to answer under this plan, each once."""
        named = [arm.release_id for arm in self.arms] + ([self.shadow] if self.shadow else [])
        return tuple(dict.fromkeys(named))


def stage_of(arm: str) -> Literal["canary", "challenger", "champion"]:
    """The stage of a release in an arm: any arm but the champion and the canary is a challenger.

    Raises:
        DefinitionError: no name of an arm that a release may be given.

    Example:
        >>> stage_of("canary"), stage_of("challenger_b")
        ('canary', 'challenger')
    """
    if arm == CANARY:
        return "canary"
    if arm == CHAMPION:
        return "champion"
    if not re.fullmatch(rf"{CHALLENGER}(_[a-z0-9_]{{1,40}})?", arm, re.ASCII):
        raise DefinitionError("arm", f"`{arm}` is no name of one", "Take canary, challenger, or challenger_ and small letters.")
    return "challenger"


def _laid_out(arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    if all(arm.ranges or not arm.share for arm in arms[1:]):
        return arms
    laid, end = [arms[0]], 1.0
    for arm in arms[1:]:
        start = 0.0 if arm.name == CANARY else end - arm.share
        laid.append(Arm(arm.name, arm.release_id, arm.share, ((start, start + arm.share if arm.name == CANARY else end),)))
        end = end if arm.name == CANARY else start
    return tuple(laid)


def _resized(own: tuple[Range, ...], share: float, free: list[Range], *, upward: bool) -> tuple[Range, ...]:
    ranges, missing = list(own), share - _length(own)
    while missing < -_LEAST:
        start, end = ranges.pop()
        kept = max(0.0, end - start + missing)
        missing += end - start - kept
        if kept > _LEAST:
            ranges.append((start, start + kept) if upward else (end - kept, end))
    for start, end in free:
        if missing <= _LEAST:
            break
        part = (start, min(end, start + missing)) if upward else (max(start, end - missing), end)
        missing -= part[1] - part[0]
        if ranges and ranges[-1][1 if upward else 0] == part[0 if upward else 1]:
            part = (ranges[-1][0], part[1]) if upward else (part[0], ranges[-1][1])
            ranges.pop()
        ranges.append(part)
    return tuple(ranges)


def _free(taken: list[Range]) -> list[Range]:
    ends = [0.0, *(end for part in sorted(taken) for end in part), 1.0]
    return [(start, end) for start, end in zip(ends[::2], ends[1::2], strict=True) if end > start]


def _length(ranges: tuple[Range, ...]) -> float:
    return sum(end - start for start, end in ranges)
