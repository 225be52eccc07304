"""Q5: what a random policy earns, told from the logs of another one, beside what it really earned (Open Bandit Dataset)."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from bench.rows import Figure, Measurement
from decisions.estimators import EstimatorName, logged, terms_of
from decisions.interval import Interval, interval
from decisions.overlap import Overlap, overlap
from decisions.value import Estimate, Floats, ratio
from use_cases.product_recommendation.open_bandit import CAMPAIGNS, ITEMS, Campaign, read

ESTIMATORS: tuple[EstimatorName, ...] = ("ips", "snips", "dr", "switch_dr")
PRODUCT: EstimatorName = "switch_dr"
FOLDS = 4
PRIOR = 200.0
"""Decisions that an item's rate is drawn towards the log's rate with."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the log of `bts` says of `random` in a campaign, beside what it earned."""

    campaign: Campaign
    real: Estimate
    values: dict[EstimatorName, Interval]
    overlap: Overlap

    @property
    def holds(self) -> bool:
        """Whether the interval covers what was really earned: the mean of the random log."""
        made = self.values[PRODUCT].estimate
        return made.low <= self.real.value <= made.high


def measure(options: Sequence[str]) -> Measurement:
    """Value `random` from the logs of `bts`, in every campaign."""
    parser = argparse.ArgumentParser(prog="make target ROW=Q5 ARGS=…")
    parser.add_argument("--path", type=Path, default=Path("../shared/data/open_bandit_small.zip"), help="the published folder, or its zip")
    parser.add_argument("--by", choices=["row", "profile"], default="row", help="what is independent; the data knows no visitor's id")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    found = [tell(chosen.path, campaign, chosen.by, chosen.seed) for campaign in CAMPAIGNS]
    covered = sum(told.holds for told in found)
    touching = sum(
        told.values[PRODUCT].estimate.low <= told.real.high and told.real.low <= told.values[PRODUCT].estimate.high for told in found
    )
    notes = [
        f"{PRODUCT} with a model of each item's rate from other folds; 95 % intervals; every {chosen.by} is taken to be independent",
        "widths, clicks in 1,000: "
        + ", ".join(
            f"{told.campaign} {1e3 * (told.values[PRODUCT].estimate.high - told.values[PRODUCT].estimate.low):.1f}"
            f"{'' if told.overlap.enough else ' (and refused, for want of overlap)'}"
            for told in found
        ),
        "clicks in 1,000 decisions; what random really earned has an error of its own, and its interval is put beside",
    ]
    for told in found:
        notes.append(f"{told.campaign}: random really earned {_say(told.real)}; " + "; ".join(_told(told, name) for name in ESTIMATORS))
        known = told.overlap
        notes.append(
            f"{told.campaign}: {known.n:,} decisions say as much as {known.effective_n:.0f}, largest weight {known.largest_weight:.0f},"
            f" mean {known.mean_weight.value:.3f}; {'; '.join(known.refusals) or 'overlap enough'}"
        )
    return Measurement(
        "Q5",
        (
            Figure("campaigns whose interval covers what random really earned, of 3", covered, 3, "", at_most=False),
            Figure("campaigns whose interval touches that of what it really earned, of 3", touching, 3, "", at_most=False),
        ),
        tuple(notes),
    )


def tell(path: Path, campaign: Campaign, by: str, seed: int) -> Told:
    """Value `random` in a campaign: every item alike, at each place."""
    random, rows = read(path, "random", campaign), read(path, "bts", campaign)
    items = ITEMS[campaign]
    action, clicks = rows["item_id"].to_numpy(), rows["click"].to_numpy().astype(np.float64)
    target = np.full((rows.height, items), 1.0 / items)
    log = logged(clicks, rows["propensity"].to_numpy(), action, target, rates(action, clicks, items, _clusters(rows, "profile"), seed))
    clusters = None if by == "row" else _clusters(rows, by)
    real = ratio(random["click"].to_numpy().astype(np.float64), None, None if by == "row" else _clusters(random, by), corrected=True)
    values = {name: interval(terms_of(name, log), clusters) for name in ESTIMATORS}
    return Told(campaign, real, values, overlap(log.weights, clusters))


def rates(action: np.ndarray, clicks: Floats, items: int, clusters: np.ndarray, seed: int) -> Floats:
    """(n, items) rate of clicks of each item among the profiles of other folds, drawn towards the rate of all."""
    fold = np.random.default_rng(seed).integers(0, FOLDS, int(clusters.max()) + 1)[clusters]
    made = np.empty((len(action), items))
    for number in range(FOLDS):
        known = fold != number
        rate = float(clicks[known].mean())
        shown = np.bincount(action[known], minlength=items)
        clicked = np.bincount(action[known], clicks[known], items)
        made[~known] = (clicked + PRIOR * rate) / (shown + PRIOR)
    return made


def _clusters(rows: pl.DataFrame, column: str) -> np.ndarray:
    return rows[column].rank("dense").cast(pl.Int64).to_numpy() - 1


def _told(told: Told, name: EstimatorName) -> str:
    return f"{name} {_say(told.values[name].estimate)} {told.values[name].method}"


def _say(estimate: Estimate) -> str:
    return f"{1e3 * estimate.value:.2f} [{1e3 * estimate.low:.2f}, {1e3 * estimate.high:.2f}]"
