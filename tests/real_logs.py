"""Real logs as arrays, with a model and a policy that favours some actions: for what is to agree on real data."""

import zipfile
from pathlib import Path

import numpy as np
import polars as pl

from bench.peers.valuation import Arrays
from use_cases.email_promotion import hillstrom

DATA = Path(__file__).parents[2] / "shared" / "data"
"""Beside the repository, where it is there at all."""

HILLSTROM = DATA / "hillstrom.csv"
OPEN_BANDIT = DATA / "open_bandit_small.zip"


def hillstrom_arrays() -> Arrays:
    """All customers, their spend, and a policy that sends what they bought before."""
    customers = hillstrom.read(HILLSTROM)
    action = customers["action"].replace_strict({"mens": 0, "womens": 1, "none": 2}, return_dtype=pl.Int64).to_numpy()
    mens = customers["bought_mens"].to_numpy()
    probabilities = np.where(mens[:, None], [[0.8, 0.1, 0.1]], [[0.1, 0.8, 0.1]])
    q = np.where(mens[:, None], [[1.4, 0.9, 0.6]], [[1.2, 1.1, 0.7]])
    rewards = customers["spend_micros"].to_numpy() / 1e6
    return Arrays(rewards, np.full(len(rewards), hillstrom.PROPENSITY), action, probabilities, q)


def open_bandit_arrays(campaign: str) -> Arrays:
    """A campaign's log of `bts`, and the policy that shows every item alike; as a model, each item's smoothed rate of clicks."""
    with zipfile.ZipFile(OPEN_BANDIT) as archive, archive.open(f"bts/{campaign}/{campaign}.csv") as file:
        rows = pl.read_csv(file.read(), columns=["item_id", "click", "propensity_score"])
    items = {"men": 34, "women": 46, "all": 80}[campaign]
    action, clicks = rows["item_id"].to_numpy(), rows["click"].to_numpy().astype(np.float64)
    rate = (np.bincount(action, clicks, items) + 0.5) / (np.bincount(action, minlength=items) + 100.0)
    shape = (len(action), items)
    return Arrays(clicks, rows["propensity_score"].to_numpy(), action, np.full(shape, 1.0 / items), np.broadcast_to(rate, shape).copy())
