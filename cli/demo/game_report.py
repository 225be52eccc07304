"""The report on the simulated game: who earned what, how far from the best possible, and whether the forecasts came true."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from cli.demo.game import Played
from cli.demo.stage import Timed
from cli.plots import Interval, bars, course, intervals
from cli.report import Figure, Report, Section, Table
from contracts.clock import DAY_US, to_datetime
from contracts.traffic import CONTROL
from decisions.arms import arm_difference, arm_values
from decisions.value import Estimate
from simulator import Standing

PHASES = ("1 explore", "1 to 2 roll-out", "2 learned", "3 challenger")
LEARNED = "learned"


def report(played: Played, steps: Sequence[Timed], forecasts: dict[str, Estimate]) -> Report:
    """Make the report; `forecasts` are the values a decision that the gate foresaw, by release."""
    rewards = _phased(played)
    late = _learned(rewards, forecasts)
    difference = arm_difference(late, LEARNED) if late.height else None
    standing = played.truth.standing(_learned_truth(played, forecasts))
    if difference is None:
        verdict, holds = "No release passed its gate, so nothing learned ever served. The log is kept; more decisions would decide.", False
    else:
        gain, share = difference.per_entity, standing.share(standing.logged)
        holds = gain.low > 0.0
        verdict = (
            f"The learned policy earned ${gain.value:.2f} more a player than control (95 % interval ${gain.low:.2f} to ${gain.high:.2f}), "
            f"{share:.0%} of the way from control to the best possible."
        )
    return Report(
        f"Offerloop: a simulated game, seed {played.seed}",
        verdict,
        holds,
        [
            _earned(rewards, late),
            _distance(played, forecasts),
            _foreseen(rewards, forecasts),
            _time_line(played),
            took(steps),
        ],
    )


def took(steps: Sequence[Timed]) -> Section:
    """How long each step of a demo took."""
    total = sum(step.seconds for step in steps)
    table = Table(["step", "seconds"], [*([step.name, f"{step.seconds:.1f}"] for step in steps), ["all", f"{total:.1f}"]])
    figure = bars([(step.name, step.seconds, "other") for step in steps], "seconds", "Bars of the seconds that each step took")
    return Section("How long it took", f"{total:.0f} seconds from nothing to here.", table, figure)


def _phased(played: Played) -> pl.DataFrame:
    phase = np.searchsorted(np.array(played.began_us[1:]), played.rewards["decided_at"].to_numpy(), side="right")
    return played.rewards.with_columns(
        phase=pl.Series([PHASES[min(number, len(PHASES) - 1)] for number in phase], dtype=pl.String), reward=pl.col("reward") / 1e6
    )


def _learned(rewards: pl.DataFrame, forecasts: dict[str, Estimate]) -> pl.DataFrame:
    """Decisions since the first trained release answered all, its roll-out behind it: control, and everything else as one arm."""
    rewards = rewards.filter(pl.col("phase").is_in(PHASES[2:]))
    trained = rewards.filter(pl.col("release_id").is_in(list(forecasts)) & (pl.col("arm") != CONTROL))
    if not trained.height:
        return trained
    since = trained["decided_at"].min()
    late = rewards.filter(pl.col("decided_at") >= since)
    return late.with_columns(arm=pl.when(pl.col("arm") == CONTROL).then(pl.lit(CONTROL)).otherwise(pl.lit(LEARNED)))


def _learned_truth(played: Played, forecasts: dict[str, Estimate]) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    frame = played.truth.frame()
    picked = frame.select(pl.col("release_id").is_in(list(forecasts)) & (pl.col("arm") != CONTROL)).to_series().to_numpy()
    return picked if picked.any() else np.ones(frame.height, dtype=np.bool_)


def _earned(rewards: pl.DataFrame, late: pl.DataFrame) -> Section:
    rows: list[list[str]] = []
    shown: list[Interval] = []
    parts = [(phase, rewards.filter(pl.col("phase") == phase)) for phase in PHASES] + ([("2 and 3 together", late)] if late.height else [])
    for phase, part in parts:
        for arm in arm_values(part):
            gain = None if arm.arm == CONTROL else arm_difference(part, arm.arm)
            kind = "control" if arm.arm == CONTROL else "learned" if arm.arm == LEARNED or phase in PHASES[2:] else "other"
            shown.append(Interval(f"{phase}: {arm.arm}", arm.per_entity.value, arm.per_entity.low, arm.per_entity.high, kind))
            rows.append(
                [
                    f"{phase}: {arm.arm}",
                    f"{arm.entities:,}",
                    f"{arm.decisions:,}",
                    _dollars(arm.per_entity),
                    _dollars(arm.per_decision, 4),
                    _dollars(gain.per_entity) if gain else "",
                ]
            )
    columns = ["phase and arm", "players", "decisions", "$ a player [95 %]", "$ a decision [95 %]", "above control, $ a player [95 %]"]
    text = "Revenue of matured decisions in their outcome window. Intervals cluster by player, since one player's decisions are alike."
    figure = intervals(shown, "dollars a player in the phase", "Revenue a player of each arm in each phase, with 95 % intervals")
    return Section("Who earned what", text, Table(columns, rows), figure)


def _distance(played: Played, forecasts: dict[str, Estimate]) -> Section:
    frame = played.truth.frame()
    at, arm = frame["decided_at"].to_numpy(), frame["arm"].to_numpy()
    rows: list[list[str]] = []
    for number, phase in enumerate(PHASES):
        inside = (at >= played.began_us[number]) & (at < played.began_us[number + 1]) & (arm != CONTROL)
        if inside.any():
            standing = played.truth.standing(inside)
            rows.append([phase, *(f"{value:.4f}" for value in _values(standing)), *_shares(standing)])
    columns = ["phase", "control", "random", "best single", "what was shown", "best possible", "single: of the way", "shown: of the way"]
    text = (
        "Truly expected dollars a decision, known to the simulator alone: of showing nothing, of drawing at random, of always the one "
        "candidate that is best on average, of what was shown outside control, and of the best candidate for every player and moment."
    )
    return Section("How far from the best possible", text, Table(columns, rows), _course(played))


def _values(standing: Standing) -> tuple[float, ...]:
    return standing.control, standing.uniform, standing.best_single, standing.logged, standing.oracle


def _shares(standing: Standing) -> tuple[str, str]:
    return f"{standing.share(standing.best_single):.0%}", f"{standing.share(standing.logged):.0%}"


def _course(played: Played) -> Figure:
    frame = played.truth.frame().filter(pl.col("arm") != CONTROL).sort("decided_at")
    start = played.began_us[0]
    binned = (
        frame.with_columns(bin=((pl.col("decided_at") - start) // (DAY_US // 4)))
        .group_by("bin")
        .agg(pl.col("expected_none", "expected_action", "expected_best").mean(), pl.len())
        .filter(pl.col("len") >= 50)
        .sort("bin")
    )
    lines = {
        "best possible": ("best", binned["expected_best"].to_list()),
        "what was shown": ("learned", binned["expected_action"].to_list()),
        "control": ("control", binned["expected_none"].to_list()),
    }
    return course(
        ((binned["bin"] + 0.5) / 4).to_list(),
        lines,
        [
            ((row.at - start) / DAY_US, f"{row.release_id} {row.action}")
            for row in played.ledger
            if row.plan is not None and row.at > start and row.action != "shadow"
        ],
        ("days of the game", "expected dollars a decision"),
        "Expected dollars a decision over the days of the game: control, what was shown, and the best possible, with releases marked",
    )


def _foreseen(rewards: pl.DataFrame, forecasts: dict[str, Estimate]) -> Section:
    rows: list[list[str]] = []
    shown: list[Interval] = []
    for release_id, foreseen in forecasts.items():
        came = rewards.filter((pl.col("release_id") == release_id) & (pl.col("arm") != CONTROL))
        shown.append(Interval(f"{release_id}: foreseen", foreseen.value, foreseen.low, foreseen.high, "other"))
        if not came.height:
            rows.append([release_id, _dollars(foreseen, 4), "never served", ""])
            continue
        seen = arm_values(came.with_columns(arm=pl.lit(LEARNED)))[0].per_decision
        shown.append(Interval(f"{release_id}: came", seen.value, seen.low, seen.high, "learned"))
        agree = seen.low <= foreseen.high and foreseen.low <= seen.high
        rows.append([release_id, _dollars(foreseen, 4), _dollars(seen, 4), "yes" if agree else "no"])
    text = "The value a decision that the gate foresaw from the log of other policies, and what it then earned. Tastes drift."
    figure = intervals(shown, "dollars a decision", "Forecast and realised value of each release, with 95 % intervals") if shown else None
    return Section(
        "Did the forecasts come true", text, Table(["release", "foreseen [95 %]", "came [95 %]", "intervals meet"], rows), figure
    )


def _time_line(played: Played) -> Section:
    rows = [
        [f"{to_datetime(row.at):%a %d %b %H:%M}", row.release_id or "", row.action, row.actor, _short(row.reason)] for row in played.ledger
    ]
    text = "Every step of every release, from the ledger, in the game's own time. `offerloop why` prints the whole of it."
    return Section("Releases on a time line", text, Table(["when", "release", "step", "by", "why"], rows))


def _dollars(estimate: Estimate, digits: int = 2) -> str:
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def _short(text: str) -> str:
    return text if len(text) <= 160 else f"{text[:157]}…"
