"""The loop on the simulated game, rehearsed: random offers first, then trainings, each released as far as its gate lets it."""

from dataclasses import dataclass, replace

import msgspec
import numpy as np

from contracts.traffic import CHALLENGER, CHAMPION, Arm
from decisions.policies import PolicySpec
from decisions.value import Estimate, ratio
from simulator.people import Bools
from simulator.rehearsal import Played, Rehearsal
from simulator.settings import WorldSettings
from simulator.truth import Standing
from training.train import Candidate, runtime_of, train_on
from use_cases.definition import UseCase

START = "start"
SHARE = 0.5
"""Of the entities outside control, for a challenger."""


@dataclass(frozen=True, eq=False)
class Phase:
    """A stretch of decisions under one traffic plan, and what was foreseen of its newest release.

    Attributes:
        rows: (n,) which of all decisions are the newest release's in this phase.
        standing: what could have been earned in them.
        seen: what they did earn a decision, with its interval.
        candidate: of the training before it; None in the first phase. `arm`: that it answered in, empty where it was refused.
    """

    rows: Bools
    standing: Standing
    seen: Estimate
    candidate: Candidate | None
    arm: str

    @property
    def way(self) -> float:
        """How far from control to the oracle, what was shown is truly worth."""
        return self.standing.share(self.standing.logged)

    @property
    def beyond_single(self) -> float:
        """How far from the best single candidate to the oracle."""
        at = self.standing
        return (at.logged - at.best_single) / (at.oracle - at.best_single)

    @property
    def met(self) -> bool | None:
        """Whether what was seen lies within the forecast's interval; None where there was none."""
        if self.candidate is None or not self.arm:
            return None
        return self.candidate.verdict.forecast.low <= self.seen.value <= self.candidate.verdict.forecast.high


def campaign(
    use_case: UseCase, seed: int, lengths: tuple[int, ...], *, threads: int = 1, settings: WorldSettings | None = None
) -> tuple[Played, tuple[Phase, ...]]:
    """Play a campaign: so many random decisions, then for each further length a training before it.

    A candidate that its gate lets become champion answers everybody outside control; one that may challenge the champion answers half of
    them beside it; one that is refused answers nobody.

    Args:
        use_case: over the game's catalogue and events.
        seed: of the world, the draws and the arms.
        lengths: decisions of each phase.
        threads: models fitted side by side.
        settings: of the world.
    """
    rehearsal = begin(use_case, seed, settings)
    ends: list[int] = []
    steps: list[tuple[Candidate | None, str, str]] = []
    candidate: Candidate | None = None
    arm, release_id = CHAMPION, START
    for number, length in enumerate(lengths):
        if number:
            candidate = train_on(rehearsal.training_set(), champion=rehearsal.plan.champion.release_id, threads=threads)
            arm, release_id = release(rehearsal, candidate, f"release-{number}")
        rehearsal.play(length)
        ends.append(rehearsal.decided)
        steps.append((candidate, arm, release_id))
    played = rehearsal.played()
    return played, tuple(_phase(played, use_case, begin, end, *step) for begin, end, step in zip([0, *ends], ends, steps, strict=False))


def begin(use_case: UseCase, seed: int, settings: WorldSettings | None = None) -> Rehearsal:
    """A game whose start policy answers, before its first decision."""
    rehearsal = Rehearsal(use_case, seed, settings)
    runtime = runtime_of(use_case, "constant", {}, use_case.start_policy)
    rehearsal.serve(rehearsal.plan, {START: replace(runtime, release_id=START)})
    return rehearsal


def release(rehearsal: Rehearsal, candidate: Candidate, release_id: str) -> tuple[str, str]:
    """Let a candidate answer as far as its gate allows; the arm, empty when refused, and the release whose answers count as newest."""
    step, plan = candidate.verdict.step, rehearsal.plan
    champion = plan.champion.release_id
    if step == "refused":
        return "", champion
    beside = (Arm(CHAMPION, champion, 1.0 - SHARE), Arm(CHALLENGER, release_id, SHARE))
    arms = beside if step == "challenger" else (Arm(CHAMPION, release_id, 1.0),)
    parts = candidate.parts
    runtime = runtime_of(rehearsal.use_case, parts.scorer_kind, parts.scorer_files, msgspec.convert(parts.policy, PolicySpec))
    changed = msgspec.structs.replace(plan, version=plan.version + 1, arms=arms)
    rehearsal.serve(changed, {release_id: replace(runtime, release_id=release_id)})
    return step, release_id


def _phase(played: Played, use_case: UseCase, begin: int, end: int, candidate: Candidate | None, arm: str, release_id: str) -> Phase:
    number = np.arange(len(played))
    answered = (played.rows["release_id"] == release_id) & (played.rows["arm"] != "control")
    rows = (number >= begin) & (number < end) & answered.to_numpy()
    rewards = played.rows["reward"].to_numpy()[rows] / use_case.reward_scale
    seen = ratio(rewards, None, played.rows["entity_id"].to_numpy()[rows], corrected=True)
    return Phase(rows, played.standing(rows, use_case.catalogue.index[use_case.baseline]), seen, candidate, arm)
