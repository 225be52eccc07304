"""Rewards: what followed each decision, once its outcome window has closed."""

import polars as pl


def matured(decisions: pl.DataFrame, outcomes: pl.DataFrame, *, window_us: int, now_us: int) -> pl.DataFrame:
    """The decisions whose outcome window has closed, with their rewards.

    An outcome is credited to the decision it names when `decided_at ≤ event_time < decided_at + window`, its event time clamped to its
    ingestion like that of any event. A decision without one has the reward 0.

    Args:
        decisions: of the table `decisions`; needs `decision_id` and `decided_at`.
        outcomes: of the table `outcomes`; needs `decision_id`, `event_time`, `ingested_time` and `reward`.
        window_us: the outcome window.
        now_us: the moment at which it must have closed.

    Returns:
        The decisions' columns in their order, and `reward` (Int64, the use case's KPI unit): the integer sum.

    Example:
        >>> decisions = pl.DataFrame({"decision_id": ["a", "b"], "decided_at": [0, 5]})
        >>> outcomes = pl.DataFrame({"decision_id": ["a", "a"], "event_time": [3, 10], "ingested_time": [3, 12], "reward": [7, 100]})
        >>> matured(decisions, outcomes, window_us=10, now_us=12).rows()
        [('a', 0, 7)]
    """
    closed = decisions.filter(pl.col("decided_at") + window_us <= now_us)
    happened = pl.min_horizontal("event_time", "ingested_time")
    credited = (
        outcomes.select("decision_id", "reward", _happened=happened)
        .join(closed.select("decision_id", _from="decided_at"), on="decision_id")
        .filter(pl.col("_happened").is_between(pl.col("_from"), pl.col("_from") + window_us, closed="left"))
        .group_by("decision_id")
        .agg(pl.col("reward").cast(pl.Int64).sum())
    )
    return closed.join(credited, on="decision_id", how="left", maintain_order="left").with_columns(pl.col("reward").fill_null(0))
