"""What the simulator knows of every decision and tells nobody but the report: what each candidate would have earned."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from client.messages import Answer
from simulator.people import Bools, Floats, Ints
from simulator.play import Purchases, Sessions
from simulator.world import World


@dataclass(frozen=True, slots=True)
class Standing:
    """Truly expected revenue of the same decisions under several policies, in dollars a decision.

    Attributes:
        control: of showing nothing; `logged`: of what was shown; `uniform`: of drawing any eligible candidate alike.
        best_single: of the one candidate that is truly best over all these decisions, where it is not eligible the next best, and so on.
        oracle: of the truly best eligible candidate each time.
        eligible: candidates that could be shown beside `none`, on average.
    """

    decisions: int
    control: float
    logged: float
    uniform: float
    best_single: float
    oracle: float
    eligible: float

    def share(self, value: float) -> float:
        """How far a value is on the way from control to the oracle."""
        return (value - self.control) / (self.oracle - self.control)


def standing(expected: Floats, eligible: Bools, actions: Ints, nothing: int) -> Standing:
    """The standing of some decisions.

    Args:
        expected: (decisions, candidates) truly expected revenue, in dollars.
        eligible: (decisions, candidates). `actions`: (decisions,) what was shown. `nothing`: the position of `none`.
    """
    row = np.arange(len(actions))
    possible = np.where(eligible, expected, -np.inf)
    count = eligible.sum(axis=1)
    return Standing(
        decisions=len(actions),
        control=float(expected[:, nothing].mean()),
        logged=float(expected[row, actions].mean()),
        uniform=float((np.where(eligible, expected, 0.0).sum(axis=1) / count).mean()),
        best_single=best_single(expected, eligible, nothing),
        oracle=float(possible.max(axis=1).mean()),
        eligible=float(count.mean()) - 1.0,
    )


def best_single(expected: Floats, eligible: Bools, nothing: int) -> float:
    """Value a decision of always the best candidate, the first eligible of the order by true mean; the better of two such orders.

    The orders: by mean gain over `none` among those who may be shown it, and among everybody.
    """
    gain = expected - expected[:, nothing : nothing + 1]
    orders = (np.where(eligible, gain, 0.0).sum(axis=0) / np.maximum(eligible.sum(axis=0), 1), gain.mean(axis=0))
    values = []
    for mean in orders:
        order = np.argsort(-mean, kind="stable")
        first = order[eligible[:, order].argmax(axis=1)]
        values.append(expected[np.arange(len(first)), first].mean())
    return float(max(values))


class TruthLog:
    """Grows by what was decided; (rows, candidates) matrices are kept as 32-bit floats."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._frames: list[pl.DataFrame] = []
        self._expected: list[Floats] = []
        self._eligible: list[Bools] = []

    def __len__(self) -> int:
        return sum(frame.height for frame in self._frames)

    def add(self, sessions: Sessions, answers: list[Answer], actions: Ints, bought: Purchases) -> None:
        """Add the decisions of some sessions, one answer each; what was shown was eligible, whatever the simulator thinks."""
        row = np.arange(len(actions))
        expected = sessions.chances.expected
        eligible = sessions.eligible.copy()
        eligible[row, actions] = True
        spent = np.zeros(len(actions), dtype=np.int64)
        spent[bought.rows] = bought.micros
        self._expected.append(expected.astype(np.float32))
        self._eligible.append(eligible)
        self._frames.append(
            pl.DataFrame(
                {
                    "decision_id": [answer.decision_id for answer in answers],
                    "entity_id": [answer.entity_id for answer in answers],
                    "decided_at": [answer.decided_at for answer in answers],
                    "release_id": [answer.release_id for answer in answers],
                    "arm": [answer.arm for answer in answers],
                    "action": [answer.action for answer in answers],
                    "segment": self._world.segment[sessions.players],
                    "agreed": sessions.eligible[row, actions],
                    "spent_micros": spent,
                    "expected_none": expected[:, self._world.nothing],
                    "expected_action": expected[row, actions],
                    "expected_best": np.where(eligible, expected, -np.inf).max(axis=1),
                }
            )
        )

    def frame(self) -> pl.DataFrame:
        """One row a decision, in the order they were made; `expected_*` in dollars.

        `agreed` says whether the simulator, too, held the action eligible: it may not where an event was still on its way.
        """
        return pl.concat(self._frames) if self._frames else pl.DataFrame()

    def standing(self, rows: Bools | None = None) -> Standing:
        """The standing of all decisions, or of those that `rows` picks from `frame()`."""
        frame = self.frame()
        picked = np.ones(frame.height, dtype=np.bool_) if rows is None else rows
        actions = frame["action"].replace_strict(dict(self._world.catalogue.index), return_dtype=pl.Int64).to_numpy()
        return standing(
            np.concatenate(self._expected)[picked].astype(np.float64),
            np.concatenate(self._eligible)[picked],
            actions[picked],
            self._world.nothing,
        )

    def save(self, path: Path) -> None:
        """Write `frame()` as Parquet."""
        self.frame().write_parquet(path)
