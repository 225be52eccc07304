"""Guard rails: what must not become worse while money is compared, each with its direction and how much worse is tolerated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from contracts.catalogue import NO_ACTION
from contracts.errors import DefinitionError
from decisions.gain import Entities, gain

State: TypeAlias = Literal["held", "open", "breached"]

OUTCOME = "outcome:"
"""A metric `outcome:complaint` is the number of outcomes of the kind `complaint` a decision."""


@dataclass(frozen=True, slots=True)
class GuardRail:
    """What must not become worse than under the champion.

    Attributes:
        metric: `degraded`: share of degraded answers; `none`: share of decisions that show nothing; `refunds`: what was paid back of
            each unit that was earned; `decisions`: decisions an entity, which is how often it came back; `outcome:KIND`: outcomes of a
            kind a decision.
        worse: the direction that is worse.
        tolerance: how much worse it may be; of the champion's figure where `relative`.
    """

    metric: str
    worse: Literal["higher", "lower"]
    tolerance: float
    relative: bool = False

    def __post_init__(self) -> None:
        if self.metric not in METRICS and not self.metric.startswith(OUTCOME):
            known = ", ".join((*METRICS, f"{OUTCOME}KIND"))
            raise DefinitionError("guard rail", f"`{self.metric}` is no metric", f"Choose one of {known}.")
        if self.tolerance < 0.0:
            raise DefinitionError("guard rail", f"a tolerance of {self.tolerance} for `{self.metric}`", "Say 0 or more.")


METRICS = ("degraded", "none", "refunds", "decisions")

DEFAULTS = (
    GuardRail("degraded", "higher", 0.02),
    GuardRail("refunds", "higher", 0.05),
    GuardRail("decisions", "lower", 0.05, relative=True),
    GuardRail("none", "higher", 0.5),
)
"""What every use case watches unless it says otherwise."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A guard rail in an experiment.

    Attributes:
        ours: the figure in the arm; `theirs` in the champion's.
        worse_by: how much worse the arm is, beyond 0; `low` and `high` its bounds at all looks at once; `tolerated` how much it may be.
        state: `breached`: worse than tolerated, for sure; `held`: no worse than tolerated, for sure; `open` else.
    """

    rail: GuardRail
    ours: float
    theirs: float
    worse_by: float
    low: float
    high: float
    tolerated: float
    state: State


def watch(rail: GuardRail, ours: Entities, theirs: Entities, confidence: float) -> Watched:
    """A guard rail at a look: non-inferiority by bounds that hold at any look.

    Args:
        rail: what is watched.
        ours, theirs: the metric's sums and sizes of the arm's and the champion's entities.
        confidence: of each side of the bounds.
    """
    sign = 1.0 if rail.worse == "higher" else -1.0
    factor = 1.0 + sign * rail.tolerance if rail.relative else 1.0
    # why: the tolerated figure is itself uncertain where it is relative, so it is the champion's that is scaled
    difference = gain(ours, theirs.times(factor))
    tolerated = rail.tolerance * abs(theirs.mean) if rail.relative else rail.tolerance
    beyond = sign * difference.plain.value - (0.0 if rail.relative else tolerated)
    error = difference.error(confidence)
    state: State = "breached" if beyond - error > 0.0 else "held" if beyond + error < 0.0 else "open"
    worse = sign * (ours.mean - theirs.mean)
    return Watched(rail, ours.mean, theirs.mean, worse, worse - error, worse + error, tolerated, state)


def measurable(rail: GuardRail, rewards: pl.DataFrame, outcomes: pl.DataFrame) -> bool:
    """Whether the tables have what the metric of a guard rail is made of for each decision; `decisions` is made of entities instead."""
    if rail.metric == "decisions":
        return False
    if rail.metric == "refunds":
        return True
    if rail.metric.startswith(OUTCOME):
        return "kind" in outcomes.columns
    return ("degraded" if rail.metric == "degraded" else "action") in rewards.columns


def measured(rewards: pl.DataFrame, outcomes: pl.DataFrame, rails: Sequence[GuardRail]) -> pl.DataFrame:
    """The decisions with a column for the metric of each guard rail that a decision has (all but `decisions`).

    Args:
        rewards: with `decision_id`, `action` and `degraded`.
        outcomes: with `decision_id`, `reward` and `kind`; those that count.
        rails: which.
    """
    named = [rail.metric for rail in rails]
    frame = rewards
    if "degraded" in named:
        frame = frame.with_columns(degraded=(pl.col("degraded").list.len() > 0).cast(pl.Float64))
    if "none" in named:
        frame = frame.with_columns(none=(pl.col("action") == NO_ACTION).cast(pl.Float64))
    for name in named:
        if name == "refunds":
            counted = (
                outcomes.filter(pl.col("reward") < 0).group_by("decision_id").agg((-pl.col("reward").sum()).cast(pl.Float64).alias(name))
            )
        elif name.startswith(OUTCOME):
            kind = name.removeprefix(OUTCOME)
            counted = outcomes.filter(pl.col("kind") == kind).group_by("decision_id").agg(pl.len().cast(pl.Float64).alias(name))
        else:
            continue
        frame = frame.join(counted, on="decision_id", how="left", maintain_order="left").with_columns(pl.col(name).fill_null(0.0))
    return frame


def refunds(entities: Entities, paid_back: Entities) -> Entities | None:
    """What entities were paid back of what they had paid, as something to compare; None where nobody paid."""
    gross = entities.sums + paid_back.sums
    return Entities(paid_back.sums, gross) if gross.sum() > 0.0 else None


def engagement(entities: Entities) -> Entities:
    """Decisions an entity, as something to compare."""
    return Entities(entities.sizes, np.ones(len(entities)), entities.sizes**2)
