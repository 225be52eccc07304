"""Rewards: what followed each decision, by the rule that the use case declares, once its outcome window has closed.

Rewards are computed anew from all outcomes each time, never kept: what comes late, a refund or a correction, changes them the next time.
"""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from contracts.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class RewardSource:
    """Events that are outcomes as well: accepted ones of a type become outcomes of their entity from the declaration on.

    Attributes:
        type: the event type; its `field` is an integer, and `factor` times it the reward: −1 for a type of refunds.
    """

    type: str
    field: str
    factor: int = 1


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How outcomes become rewards. The plain one: what names a decision counts for it, within the outcome window.

    Attributes:
        refund_window_us: negative outcomes count so long after the decision, where that is longer than the outcome window. Nobody waits
            for them: a decision is matured when its outcome window has closed.
        late_us: how long after that outcomes may still come in before the decision counts as matured. What comes in later counts from
            then on.
        default_reward: of a decision that nothing is credited to.
        activation: kind of the outcome that says that an answer was displayed. Where it is given, decisions without one in the outcome
            window count nowhere: no reward, no training, no value. It must be sent whatever the action, no action included, or arms are
            not comparable. Its own reward does not count.
        credit: which decisions an outcome that names none is credited to, of those of its entity in whose window it happened: the `last`,
            the `first`, or all, in equal parts of whole units (`split`). Whatever they showed: a rule that asks for it would favour arms.
        sources: events that are outcomes as well.

    Raises:
        DefinitionError: a time is negative.
    """

    refund_window_us: int = 0
    late_us: int = 0
    default_reward: int = 0
    activation: str = ""
    credit: Literal["last", "first", "split"] = "last"
    sources: tuple[RewardSource, ...] = ()

    def __post_init__(self) -> None:
        if min(self.refund_window_us, self.late_us) < 0:
            raise DefinitionError("outcomes", f"wait {self.refund_window_us} and {self.late_us} µs", "Give times from 0 on.")


PLAIN = Outcomes()


def matured(decisions: pl.DataFrame, outcomes: pl.DataFrame, *, window_us: int, now_us: int) -> pl.DataFrame:
    """Matured decisions with their rewards by the plain rule; see `rewards`.

    Example:
        >>> decisions = pl.DataFrame({"decision_id": ["a", "b"], "decided_at": [0, 5]})
        >>> outcomes = pl.DataFrame({"decision_id": ["a", "a"], "event_time": [3, 10], "ingested_time": [3, 12], "reward": [7, 100]})
        >>> matured(decisions, outcomes, window_us=10, now_us=12).rows()
        [('a', 0, 7)]
    """
    return rewards(PLAIN, decisions, outcomes, window_us=window_us, now_us=now_us)


def rewards(rule: Outcomes, decisions: pl.DataFrame, outcomes: pl.DataFrame, *, window_us: int, now_us: int) -> pl.DataFrame:
    """The decisions whose outcome window has closed, and that were activated where the rule asks for it, with their rewards.

    An outcome is credited to the decision it names, or to those that the rule says, when `decided_at ≤ event_time < decided_at + window`,
    its event time clamped to its ingestion like that of any event. A correction takes the place and the time of what it corrects, if that
    is of the same decision; of all corrections of one outcome, and of its corrections, the last that came in counts.

    Args:
        rule: of the use case.
        decisions: of the table `decisions`; needs `decision_id` and `decided_at`, and `entity_id` where outcomes may name none: then all
            decisions of an entity, or an outcome goes to the wrong one.
        outcomes: of the table `outcomes`; needs `decision_id`, `event_time`, `ingested_time` and `reward`, for corrections `outcome_id`
            and `corrects`, for activation `kind`, for outcomes without a decision `entity_id`.
        window_us: the outcome window.
        now_us: the moment by which it must have closed, and as of which outcomes are known.

    Returns:
        The decisions' columns in their order, and `reward` (Int64, the use case's KPI unit): the integer sum.
    """
    known = outcomes.filter(pl.col("ingested_time") <= now_us).with_columns(pl.col("decision_id").fill_null(""))
    happened = _corrected(known).with_columns(
        until=pl.when(pl.col("reward") < 0).then(max(window_us, rule.refund_window_us)).otherwise(window_us),
    )
    active = decisions
    if rule.activation:
        seen = happened.filter(pl.col("kind") == rule.activation).select("decision_id", "happened")
        starts = decisions.select("decision_id", "decided_at")
        seen = seen.join(starts, on="decision_id").filter(_within(pl.lit(window_us)))
        active = decisions.join(seen.select("decision_id").unique(), on="decision_id", how="semi", maintain_order="left")
        happened = happened.filter(pl.col("kind") != rule.activation)
    named = happened.filter(pl.col("decision_id") != "").join(active.select("decision_id", "decided_at"), on="decision_id")
    credited = [named.filter(_within(pl.col("until"))).select("decision_id", pl.col("reward").cast(pl.Int64))]
    if (nameless := happened.filter(pl.col("decision_id") == "")).height:
        credited.append(_shared_out(nameless, active, rule.credit))
    sums = pl.concat(credited).group_by("decision_id").agg(pl.col("reward").sum())
    closed = active.filter(pl.col("decided_at") + window_us + rule.late_us <= now_us)
    return closed.join(sums, on="decision_id", how="left", maintain_order="left").with_columns(
        pl.col("reward").fill_null(rule.default_reward)
    )


def _within(length: pl.Expr) -> pl.Expr:
    return pl.col("happened").is_between(pl.col("decided_at"), pl.col("decided_at") + length, closed="left")


def _corrected(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Outcomes that count, with the time at which each happened, or what it corrects did."""
    timed = outcomes.with_columns(happened=pl.min_horizontal("event_time", "ingested_time"))
    if "corrects" not in timed.columns or not (corrections := timed.filter(pl.col("corrects").fill_null("") != "")).height:
        return timed
    known = timed.select(corrects="outcome_id", decision_id="decision_id")
    valid = corrections.join(known, on=["corrects", "decision_id"], how="semi").sort("ingested_time", "outcome_id")
    corrects = dict(valid.select("outcome_id", "corrects").iter_rows())
    first = {name: _first(name, corrects) for name in corrects}
    last = {first[name]: name for name in corrects}
    superseded = [*last, *set(corrects).difference(last.values())]
    times = timed.filter(pl.col("outcome_id").is_in(list(last))).select(_first="outcome_id", _at="happened")
    return (
        timed.filter(~pl.col("outcome_id").is_in(superseded))
        .with_columns(_first=pl.col("outcome_id").replace(first))
        .join(times, on="_first", how="left", maintain_order="left")
        .with_columns(happened=pl.coalesce("_at", "happened"))
        .drop("_first", "_at")
    )


def _first(name: str, corrects: dict[str, str]) -> str:
    passed = {name}
    while name in corrects and corrects[name] not in passed:
        name = corrects[name]
        passed.add(name)
    return name


def _shared_out(outcomes: pl.DataFrame, decisions: pl.DataFrame, credit: str) -> pl.DataFrame:
    pairs = (
        outcomes.with_row_index("_outcome")
        .select("_outcome", "entity_id", "happened", "until", pl.col("reward").cast(pl.Int64))
        .join(decisions.select("decision_id", "entity_id", "decided_at"), on="entity_id")
        .filter(_within(pl.col("until")))
        .sort("_outcome", "decided_at", "decision_id")
    )
    if credit != "split":
        return pairs.unique("_outcome", keep="last" if credit == "last" else "first", maintain_order=True).select("decision_id", "reward")
    shares, place = pl.len().over("_outcome").cast(pl.Int64), pl.int_range(pl.len()).over("_outcome")
    return pairs.select("decision_id", reward=pl.col("reward") // shares + (place < pl.col("reward") % shares).cast(pl.Int64))
