"""What the entities of an arm got by now, summed up from matured decisions."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from decisions.gain import Entities
from decisions.value import Floats


def entities_of(rewards: pl.DataFrame, scale: int, covariates: tuple[pl.DataFrame, Floats] | None = None) -> Entities:
    """The entities of matured decisions of one arm, in the unit that people read.

    Args:
        rewards: with `entity_id` and `reward`.
        scale: rewards that make one of what people read.
        covariates: see `decisions.covariates`; of all entities, or None.

    Example:
        >>> rewards = pl.DataFrame({"entity_id": ["a", "b", "a"], "reward": [200, 0, 400]})
        >>> entities_of(rewards, 100).sums
        array([6., 0.])
    """
    return entities_in(totals_of(rewards.with_columns(arm=pl.lit(""))), "reward", scale, covariates)


def totals_of(rewards: pl.DataFrame, metrics: Sequence[str] = ()) -> pl.DataFrame:
    """By arm and entity, in the order of entities: `decisions`; of `reward` and each metric its sum, and `…_squares`, that of squares."""
    numbers = [pl.col(name).cast(pl.Float64) for name in ("reward", *metrics)]
    sums = [number.sum() for number in numbers]
    squares = [(number**2).sum().alias(f"{name}_squares") for number, name in zip(numbers, ("reward", *metrics), strict=True)]
    return rewards.group_by("arm", "entity_id").agg(pl.len().alias("decisions"), *sums, *squares).sort("entity_id")


def entities_in(totals: pl.DataFrame, metric: str, scale: int, covariates: tuple[pl.DataFrame, Floats] | None = None) -> Entities:
    """The entities in one arm's totals: the reward's, or another metric's.

    Args:
        totals: see `totals_of`.
        metric: a column of it.
        scale: of the metric, that make one of what people read.
        covariates: see `decisions.covariates`; they must know every entity.
    """
    known = None
    if covariates is not None:
        names, matrix = covariates
        places = totals.select("entity_id").join(names.with_row_index("place"), on="entity_id", how="left", maintain_order="left")["place"]
        known = matrix[places.to_numpy()]
    return Entities(
        sums=totals[metric].to_numpy() / scale,
        sizes=totals["decisions"].to_numpy().astype(np.float64),
        squares=totals[f"{metric}_squares"].to_numpy() / float(scale) ** 2,
        covariates=known,
    )
