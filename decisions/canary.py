"""The limits of a canary: whether it fails, is degraded or is slow beyond doubt, beside the champion in the same time.

A canary is looked at several times a second, and small shares are noisy. So each limit is judged by bounds that hold at all looks at
once (`decisions.sequential.share_bounds`): a release that keeps a limit is stopped by it with a chance of at most one in a hundred, however
often one looks, and one that breaks it is stopped as soon as that is clear.
"""

from dataclasses import dataclass
from math import inf
from typing import Literal, TypeAlias

from decisions.sequential import Bounds, share_bounds
from storage.health import EDGES_S, Health

Name: TypeAlias = Literal["failed", "degraded", "latency"]

CONFIDENCE = 0.99
"""One-sided, of each bound."""

TAIL = 0.01
"""The slowest share of the answers, whose time counts as latency."""

LEAST_S = 0.005
"""A champion that is faster than this counts as so fast: what is a few milliseconds slower than almost nothing is not slow."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a canary at a look.

    Attributes:
        ours, theirs: the figure of the canary, and of the champion in the same time: a share, or seconds; None before there is one.
        surely: what the canary's figure, or its excess over the champion's, or their ratio, is at least, beyond doubt.
        most: what that may be.
        broken: `surely` is above `most`.
    """

    name: Name
    ours: float | None
    theirs: float | None
    surely: float
    most: float
    broken: bool

    @property
    def words(self) -> str:
        """The limit's figures in words.

        Example:
            >>> Limit("failed", 0.2, 0.0, 0.11, 0.005, True).words
            'failed 20% of its decisions (at least 11% beyond doubt, at most 0.5% may; the champion 0%)'
        """
        if self.name == "latency":
            return (
                f"took {_time(self.ours)} for the slowest hundredth of its decisions, the champion {_time(self.theirs)} "
                f"(at least {self.surely:.2g} times as long beyond doubt, at most {self.most:.2g} times may be)"
            )
        theirs = f"the champion {_percent(self.theirs)}"
        if self.name == "failed":
            least = f"at least {_percent(self.surely)} beyond doubt, at most {_percent(self.most)} may"
            return f"failed {_percent(self.ours)} of its decisions ({least}; {theirs})"
        least = f"at least {_percent(self.surely)} more beyond doubt, at most {_percent(self.most)} more may"
        return f"degraded {_percent(self.ours)} of its decisions, {theirs} ({least})"


def limits(
    ours: Health, theirs: Health, *, max_failed: float, max_degraded: float, max_latency: float, judged_from: int
) -> tuple[Limit, ...]:
    """The limits of a canary, as of one look.

    Failed is judged alone, but for this: where the champion fails as often, it is not the release. Degraded and latency are judged beside
    the champion, which takes some hundreds of its decisions.

    Args:
        ours: of the canary, since its step began.
        theirs: of the champion, since then.
        max_failed, max_degraded, max_latency, judged_from: see `use_cases.definition.Rollout`.
    """
    judged = ours.asked >= judged_from
    found = (_failed(ours, theirs, max_failed), _degraded(ours, theirs, max_degraded), _latency(ours, theirs, max_latency))
    return tuple(Limit(name, own, other, surely, most, judged and broken) for name, own, other, surely, most, broken in found)


_Found: TypeAlias = tuple[Name, float | None, float | None, float, float, bool]


def _failed(ours: Health, theirs: Health, most: float) -> _Found:
    own, other = _share(ours.failed, ours.asked), _share(theirs.failed, theirs.asked)
    surely = share_bounds(ours.failed, ours.asked, CONFIDENCE).low
    return "failed", own, other, surely, most, surely > max(most, other or 0.0)


def _degraded(ours: Health, theirs: Health, most: float) -> _Found:
    own, other = _share(ours.degraded, ours.decided), _share(theirs.degraded, theirs.decided)
    low = share_bounds(ours.degraded, ours.decided, CONFIDENCE).low
    surely = max(0.0, low - share_bounds(theirs.degraded, theirs.decided, CONFIDENCE).high)
    return "degraded", own, other, surely, most, surely > most


def _latency(ours: Health, theirs: Health, most: float) -> _Found:
    own, other = ours.quantile(1.0 - TAIL), theirs.quantile(1.0 - TAIL)
    at_least = max((end for end, bounds in _slower(ours) if bounds.low > TAIL), default=0.0)
    at_most = min((end for end, bounds in _slower(theirs) if bounds.high < TAIL), default=inf)
    surely = at_least / max(at_most, LEAST_S)
    return "latency", own, other, surely, most, surely > most


def _slower(health: Health) -> list[tuple[float, Bounds]]:
    """The end of each bucket, and the bounds of the share that takes longer."""
    counts = [health.slower_than(bucket) for bucket in range(len(EDGES_S))]
    found = {count: share_bounds(count, health.decided, CONFIDENCE) for count in set(counts)}
    return [(end, found[count]) for end, count in zip(EDGES_S, counts, strict=True)]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(share: float | None) -> str:
    return "none yet" if share is None else f"{100.0 * share:.2g}%"


def _time(seconds: float | None) -> str:
    return "nothing yet" if seconds is None else f"{1e3 * seconds:.3g} ms"
