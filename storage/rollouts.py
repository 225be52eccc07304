"""How far roll-outs are, as the guard last saw them: kept for the exporter and for pages, in `monitor/rollouts.json`."""

from collections.abc import Mapping

import msgspec

from storage.files import write_bytes
from storage.layout import Layout


class LimitMeasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A limit of a canary; see `decisions.canary.Limit`, whose fields these are. `ours` and `theirs` are None before there is a figure."""

    name: str
    ours: float | None
    theirs: float | None
    surely: float
    most: float
    broken: bool
    words: str


class CanaryMeasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The canary of a use case.

    Attributes:
        share: of the entities outside control. `step` of `steps`: which that is, from 1; 0 for a share that no step has.
        began_us: logical time at which the step began; it lasts until `until_us` at least.
        decisions: that it was asked for since; `needed` are, before it goes on.
        failed, degraded: how many of them.
        limits: its guard-rails.
    """

    release_id: str
    share: float
    step: int
    steps: int
    began_us: int
    until_us: int
    decisions: int
    needed: int
    failed: int
    degraded: int
    limits: tuple[LimitMeasure, ...]


class RolloutMeasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A use case's roll-out. `waiting`: releases in the shadow that may go on as soon as somebody signs them off."""

    canary: CanaryMeasure | None
    waiting: tuple[str, ...]


def write_rollouts(layout: Layout, rollouts: Mapping[str, RolloutMeasure]) -> None:
    """Put what the guard sees, by use case, in place of what it saw before."""
    write_bytes(layout.monitor / "rollouts.json", msgspec.json.encode(rollouts))


def read_rollouts(layout: Layout) -> Mapping[str, RolloutMeasure]:
    """What the guard last saw, by use case; nothing before it looked."""
    try:
        content = (layout.monitor / "rollouts.json").read_bytes()
    except FileNotFoundError:
        return {}
    return msgspec.json.decode(content, type=dict[str, RolloutMeasure])
