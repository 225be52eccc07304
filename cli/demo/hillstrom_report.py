"""The report on the real promotion: what the released policy would have earned, beside each e-mail and none."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from cli.demo.game_report import took
from cli.demo.hillstrom import Replayed
from cli.demo.stage import Timed
from cli.plots import Interval, intervals
from cli.report import Report, Section, Table
from contracts.traffic import CONTROL
from decisions.value import Estimate, mean
from use_cases.email_promotion.hillstrom import PROPENSITY

_OUTCOMES = (pl.col("spend_micros") / 1e6, pl.col("spend_micros") > 0, pl.col("visit"))

NAMES = {"mens": "men's e-mail to all", "womens": "women's e-mail to all", "none": "no e-mail"}


def report(replayed: Replayed, steps: Sequence[Timed]) -> Report:
    """Make the report."""
    later = replayed.later.filter(pl.col("arm") != CONTROL)
    came = _spend(later.filter(pl.col("answer") == pl.col("action")))
    gain = _above_random(later)
    chosen = later["answer"].value_counts(sort=True).row(0)
    what = f"mostly {NAMES[chosen[0]]} ({chosen[1] / later.height:.0%})" if replayed.released else "nothing learned"
    verdict = (
        f"The released policy ({what}) brought ${came.value:.3f} a customer on the half it never saw "
        f"(95 % interval ${came.low:.3f} to ${came.high:.3f}), ${gain.value:+.3f} "
        f"[{gain.low:+.3f}, {gain.high:+.3f}] against sending at random."
    )
    sections = [_published(replayed.customers), _why(replayed), _replay(later, came), took(steps)]
    return Report(f"Offerloop: a real e-mail promotion (Hillstrom 2008), seed {replayed.seed}", verdict, replayed.released, sections)


def _published(customers: pl.DataFrame) -> Section:
    rows = []
    for action, name in NAMES.items():
        part = customers.filter(pl.col("action") == action)
        spend, bought, visited = (part.select(column).to_series().to_numpy().mean() for column in _OUTCOMES)
        rows.append([name, f"{part.height:,}", f"{spend:.4f}", f"{bought:.4%}", f"{visited:.2%}"])
    text = "All 64,000 customers as published: a third got each e-mail, or none, at random."
    return Section("The data", text, Table(["what was sent", "customers", "$ a customer", "bought", "visited"], rows))


def _why(replayed: Replayed) -> Section:
    text = f"Release {replayed.release_id} answers. The gate saw one half of the log; there is next to nothing to personalise in it."
    rows = [[str(number), reason] for number, reason in enumerate(replayed.reasons, start=1)]
    return Section("What was released, and why", text, Table(["", "what the gate found"], rows))


def _replay(later: pl.DataFrame, came: Estimate) -> Section:
    found = [("released policy", came, "learned")]
    found += [
        (name, _spend(later.filter(pl.col("action") == action)), "control" if action == "none" else "other")
        for action, name in NAMES.items()
    ]
    rows = [
        [name, f"{value.n:,}", f"{value.value:.4f}", f"[{value.low:.4f}, {value.high:.4f}]", *_against(later, name)]
        for name, value, _ in found
    ]
    text = (
        "The other half, put to the live system one by one over HTTP. Where its answer is what was really sent, what was really spent "
        "counts (replay); what was sent was random, so these customers are a fair sample. The last columns compare by the same customers."
    )
    shown = [Interval(name, value.value, value.low, value.high, kind) for name, value, kind in found]
    figure = intervals(
        shown, "dollars a customer", "Spend a customer of the released policy, of each e-mail and of none, with 95 % intervals"
    )
    columns = ["policy", "customers", "$ a customer", "95 %", "released minus this, $", "95 %"]
    return Section("What it earned on customers it never saw", text, Table(columns, rows), figure)


def _against(later: pl.DataFrame, name: str) -> tuple[str, str]:
    action = next((action for action, called in NAMES.items() if called == name), None)
    if action is None:
        return "", ""
    difference = _estimate(
        later, (pl.col("answer") == pl.col("action")).cast(pl.Int64) - (pl.col("action") == action).cast(pl.Int64), PROPENSITY
    )
    return f"{difference.value:+.4f}", f"[{difference.low:+.4f}, {difference.high:+.4f}]"


def _above_random(later: pl.DataFrame) -> Estimate:
    return _estimate(later, (pl.col("answer") == pl.col("action")).cast(pl.Float64) - PROPENSITY, PROPENSITY)


def _estimate(rows: pl.DataFrame, weight: pl.Expr, propensity: float) -> Estimate:
    terms = rows.select(weight * pl.col("spend_micros") / 1e6 / propensity).to_series().to_numpy()
    return mean(terms, np.arange(len(terms)))


def _spend(rows: pl.DataFrame) -> Estimate:
    return mean(rows["spend_micros"].to_numpy() / 1e6, np.arange(rows.height), corrected=True)
