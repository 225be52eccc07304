"""Measurements of an installation: the shape they are kept in between the flow that makes them and the exporter that shows them."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from storage.files import write_bytes
from storage.layout import Layout


class Interval(msgspec.Struct, frozen=True):
    """A figure with the ends of its 95 % interval or bounds; None where it has no end yet. In the use case's unit, such as dollars."""

    value: float
    low: float | None
    high: float | None


class ArmMeasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an arm earned with one release, from matured decisions.

    Attributes:
        reward: a decision. `gain`: above control's in the same time; None for control, and where control has none.
    """

    arm: str
    release_id: str
    decisions: int
    entities: int
    reward: Interval
    gain: Interval | None


class Forecast(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The value a decision that the gate foresaw for a release."""

    release_id: str
    value: Interval


class SkewMeasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of the newest decisions: how many were recomputed, and how many of those had other features than logged; by feature, too."""

    checked: int
    differing: int
    features: dict[str, int]


class TableMeasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows of a table, and the time of its newest one (µs, logical); None without rows."""

    rows: int
    newest_us: int | None


class ExperimentMeasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An arm that is compared with the champion.

    Attributes:
        gain: over the champion a decision, with bounds that hold at any look; None before there is one.
        verdict: one of `contracts.metrics.VERDICTS`; `reason` in words.
        sample_ratio: see `decisions.sample_ratio`.
        progress: share of the planned information; None before that can be said.
        guard_rails: `held`, `open` or `breached`, by metric.
    """

    arm: str
    release_id: str
    gain: Interval | None
    verdict: str
    reason: str
    sample_ratio: float
    progress: float | None
    guard_rails: dict[str, str]


class ShadowMeasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the release in the shadow would earn a decision above the champion, and the share of its choices that the log can value."""

    release_id: str
    gain: Interval
    covered: float


class UseCaseMeasures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All measurements of a use case. `unmatured` decisions still wait for their outcome window to close.

    Attributes:
        control_ratio: bound on the chance that control is filled so unevenly; None where that cannot be said.
    """

    unit: str
    arms: tuple[ArmMeasure, ...]
    forecasts: tuple[Forecast, ...]
    skew: SkewMeasure
    tables: dict[str, TableMeasure]
    unmatured: int
    experiments: tuple[ExperimentMeasure, ...] = ()
    shadow: ShadowMeasure | None = None
    control_ratio: float | None = None


class StateMeasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Feature states of a use case: how many, and bytes of all, of the middle one, of one in a hundred, of the largest."""

    entities: int
    total: int
    median: int
    p99: int
    largest: int


class Measures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Measurements of one moment: `at_us` on the installation's clock, `made_s` in real seconds since 1970."""

    at_us: int
    made_s: float
    use_cases: dict[str, UseCaseMeasures]


def path(layout: Layout) -> Path:
    """Where the newest measurements are."""
    return layout.monitor / "latest.json"


def write(layout: Layout, measures: Measures) -> None:
    """Put measurements in place of the older ones, whole or not at all."""
    write_bytes(path(layout), msgspec.json.encode(measures))


def read(layout: Layout) -> Measures | None:
    """The newest measurements; None before the first."""
    try:
        content = path(layout).read_bytes()
    except FileNotFoundError:
        return None
    return msgspec.json.decode(content, type=Measures)


def write_states(layout: Layout, states: Mapping[str, StateMeasure]) -> None:
    """Put what was found of the feature states of each use case in place of what was found before."""
    write_bytes(_states_path(layout), msgspec.json.encode(states))


def read_states(layout: Layout) -> Mapping[str, StateMeasure]:
    """What was last found of feature states, by use case; nothing before the first time."""
    try:
        content = _states_path(layout).read_bytes()
    except FileNotFoundError:
        return {}
    return msgspec.json.decode(content, type=dict[str, StateMeasure])


def _states_path(layout: Layout) -> Path:
    return layout.monitor / "states.json"
