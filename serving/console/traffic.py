"""Who answered whom, and when: the ledger's traffic plans as a time line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.clock import to_datetime
from contracts.traffic import CONTROL, TrafficPlan
from releases.ledger import LedgerRow
from serving.console import charts

BASELINE = -1
"""The colour of control, which is no release's."""

MOST = 400
"""Plans that are drawn: the newest so many."""


@dataclass(frozen=True, slots=True)
class Held:
    """A part of the traffic: of all entities, control included."""

    arm: str
    release_id: str
    share: float


@dataclass(frozen=True, slots=True)
class Period:
    """A time in which the traffic was shared in one way. `to_us` is None for the present one."""

    row: LedgerRow
    from_us: int
    to_us: int | None
    held: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class TimeLine:
    """The periods, newest first, and their drawing.

    Attributes:
        colours: of each release in the drawing.
        rollbacks: how many of them are drawn.
    """

    periods: tuple[Period, ...]
    colours: Mapping[str, int]
    drawing: str
    from_us: int
    now_us: int
    rollbacks: int


def time_line(rows: Sequence[LedgerRow], now_us: int) -> TimeLine | None:
    """The time line of a use case; None before its first release.

    Args:
        rows: of the use case's ledger, newest first.
        now_us: the installation's logical time.
    """
    newest = [row for row in rows if row.plan is not None][:MOST]
    if not newest:
        return None
    periods = []
    until: int | None = None
    for row in newest:
        assert row.plan is not None
        periods.append(Period(row, row.at, until, shares(row.plan)))
        until = row.at
    order = list(dict.fromkeys(held.release_id for period in reversed(periods) for held in period.held))
    colours = {release_id: charts.colour_of(place) for place, release_id in enumerate(order)}
    start = periods[-1].from_us
    stretches = [_stretch(period, colours, now_us) for period in reversed(periods)]
    marks = [float(period.from_us) for period in periods if period.row.action == "rollback"]
    title = _words(periods, len(order), len(marks))
    drawing = charts.courses(stretches, charts.Scale(start, max(now_us, start + 1)), marks, title)
    return TimeLine(tuple(periods), colours, drawing, start, now_us, len(marks))


def shares(plan: TrafficPlan) -> tuple[Held, ...]:
    """The shares of all entities: control first, then the arms.

    Example:
        >>> from contracts.traffic import Arm
        >>> [held.share for held in shares(TrafficPlan("shop", 1, 0.2, (Arm("champion", "r-1", 1.0),), "s", "c"))]
        [0.2, 0.8]
    """
    rest = 1.0 - plan.control_share
    control = [Held(CONTROL, plan.champion.release_id, plan.control_share)] if plan.control_share else []
    return (*control, *(Held(arm.name, arm.release_id, rest * arm.share) for arm in plan.arms))


def _stretch(period: Period, colours: Mapping[str, int], now_us: int) -> charts.Stretch:
    parts = [charts.Part(held.share, BASELINE if held.arm == CONTROL else colours[held.release_id]) for held in period.held]
    return charts.Stretch(float(period.from_us), float(now_us if period.to_us is None else period.to_us), tuple(parts))


def _words(periods: Sequence[Period], releases: int, rollbacks: int) -> str:
    now = "; ".join(f"{held.arm} {held.share:.0%}" for held in periods[0].held)
    back = f", {rollbacks} rollback{'s' if rollbacks != 1 else ''} among them" if rollbacks else ""
    return (
        f"Share of the traffic by release from {to_datetime(periods[-1].from_us):%Y-%m-%d} until now: {releases} releases, {len(periods)} "
        f"traffic plans{back}. Now: {now}. The table below has all of it."
    )
