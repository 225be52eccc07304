"""Q6: models that are worse than the champion, offered to the gate and, where it lets them challenge the champion, to the live comparison.

Each game has a champion that serves. What is offered was made from its first decisions, spoilt in one way, and is judged on later ones.
Only a leak is offered as what it is in practice: a training set that knows too much, of which the whole training is done.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context

import msgspec
import numpy as np
import polars as pl

from bench.rows import Figure, Measurement
from contracts.clock import DAY_US
from contracts.traffic import CHALLENGER, CHAMPION, CONTROL, Arm
from decisions.decide import ReleaseRuntime
from decisions.matrix import Floats
from decisions.policies import PolicySpec, build_policy, probability_matrix
from simulator.campaign import SHARE, START, begin, release
from simulator.rehearsal import Rehearsal
from training.comparison import conclude
from training.dataset import Bools, TrainingSet
from training.evaluate import Offer, evaluate, trained_policy
from training.fit import fit, predict
from training.gate import judge
from training.rollout import rules_allow
from training.train import runtime_of, train_on
from use_cases.game_promotion import USE_CASE

NAMES = USE_CASE.feature_set.names
WAYS = ("noise", "stale", "flipped", "few", "leaked")
LIVE_DAYS = 4


@dataclass(frozen=True, slots=True)
class Offered:
    """What became of a worse model: `step` at the gate, `end` in the live comparison, empty where there was none.

    Attributes:
        way: it was spoilt. `worth`: its true value a decision over the champion's, on the same decisions.
    """

    way: str
    step: str
    end: str
    worth: float

    @property
    def promoted(self) -> bool:
        """Whether it became champion."""
        return self.step == "champion" or self.end == "promote"


def measure(options: Sequence[str]) -> Measurement:
    """Offer worse models in games of several seeds, five in each."""
    parser = argparse.ArgumentParser(prog="make target ROW=Q6 ARGS=…")
    parser.add_argument("--seeds", type=int, default=10, help="how many games")
    parser.add_argument("--seed", type=int, default=1, help="the first")
    parser.add_argument("--decisions", type=int, default=15_000, help="of each of the three phases")
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args(options)
    seeds = range(chosen.seed, chosen.seed + chosen.seeds)
    with ProcessPoolExecutor(chosen.processes, mp_context=get_context("spawn")) as pool:
        found = [offered for game in pool.map(partial(one_game, decisions=chosen.decisions), seeds) for offered in game]
    worse = [offered for offered in found if offered.worth < 0.0]
    figures = (
        Figure("worse models that were promoted", float(sum(offered.promoted for offered in worse)), 0.0, ""),
        Figure("worse models that were offered", float(len(worse)), 0.8 * len(WAYS) * chosen.seeds, "", at_most=False),
    )
    notes = [_words(way, [one for one in found if one.way == way]) for way in WAYS]
    return Measurement("Q6", figures, tuple(notes))


def one_game(seed: int, decisions: int) -> list[Offered]:
    """A game with a champion, and what becomes of worse models there."""
    game = begin(USE_CASE, seed)
    game.play(2 * decisions)
    champion = train_on(game.training_set(), champion=START, threads=1)
    serving = release(game, champion, "champion")[1]
    game.play(decisions)
    log = game.training_set()
    early = np.arange(len(log)) < decisions
    later = log.only(~early)
    found = []
    for number, way in enumerate(WAYS):
        if way == "leaked":
            found.append(_leaked(game, serving, log, ~early))
            print(f"seed {seed}: {found[-1]}", flush=True)
            continue
        spoilt = _spoilt(log.only(early), way, np.random.default_rng([seed, number]))
        model = fit(spoilt, np.ones(len(spoilt), dtype=np.bool_), USE_CASE.learner, seed=seed)
        policy = trained_policy(spoilt, predict(model, spoilt.features, spoilt.eligible))
        offer = Offer(predict(model, later.features, rules_allow(later)), policy)
        verdict = judge(evaluate(later, champion=serving, seed=seed, threads=1, offer=offer), log.skew, USE_CASE)
        end = ""
        worth = _worth(game, serving, ~early, offer)
        if verdict.step == "challenger":
            runtime = runtime_of(USE_CASE, model.kind, model.files, offer.policy)
            end = _live(game, f"{way}-{number}", runtime)
        found.append(Offered(way, verdict.step, end, worth))
        print(f"seed {seed}: {found[-1]}", flush=True)
    return found


def _spoilt(training_set: TrainingSet, way: str, chance: np.random.Generator) -> TrainingSet:
    """A training set spoilt: rewards at random, rewards of other tastes, rewards of every second row turned round, next to no rows."""
    reward = training_set.rows["reward"].to_numpy()
    if way == "noise":
        return _with(training_set, chance.permutation(reward))
    if way == "stale":
        # why: tastes that have moved on look like those of somebody else with the same habits
        features = training_set.features.copy()
        shares = [NAMES.index(name) for name in NAMES if name.startswith(("share_", "matches_"))]
        features[:, shares] = features[:, shares][:, np.roll(np.arange(len(shares)), 1)]
        return replace(training_set, features=features)
    if way == "flipped":
        usual = int(reward[reward > 0].mean())
        turned = np.where(reward > 0, 0, usual)
        return _with(training_set, np.where(chance.random(len(reward)) < 0.5, turned, reward))
    return training_set.only(np.arange(len(training_set)) < len(training_set) // 15)


def _with(training_set: TrainingSet, reward: np.ndarray[tuple[int], np.dtype[np.int64]]) -> TrainingSet:
    return replace(training_set, rows=training_set.rows.with_columns(reward=pl.Series(reward)))


def _leaked(game: Rehearsal, serving: str, log: TrainingSet, later: Bools) -> Offered:
    """A training whose features know what was spent after the decision; it has no such knowledge when it serves."""
    features = log.features.copy()
    features[:, NAMES.index("spend_28d")] += log.rows["reward"].to_numpy()
    candidate = train_on(replace(log, features=features), champion=serving, threads=1)
    parts = candidate.parts
    runtime = runtime_of(USE_CASE, parts.scorer_kind, parts.scorer_files, msgspec.convert(parts.policy, PolicySpec))
    own = log.only(later)
    scores = np.full(own.eligible.shape, -np.inf)
    for row, (values, eligible) in enumerate(zip(own.features, own.eligible, strict=True)):
        places = np.flatnonzero(eligible)
        scores[row, places] = runtime.scorer.scores(values, places)
    worth = _worth(game, serving, later, Offer(scores, msgspec.convert(parts.policy, PolicySpec)))
    return Offered("leaked", candidate.verdict.step, "", worth)


def _worth(game: Rehearsal, serving: str, later: Bools, offer: Offer) -> float:
    """True value of an offer minus that of the release that serves, in the latter's decisions among the later ones."""
    played = game.played()
    own = ((played.rows["release_id"] == serving) & (played.rows["arm"] != CONTROL)).to_numpy()[: len(later)] & later
    row = np.flatnonzero(own)
    probabilities = probability_matrix(build_policy(offer.policy, USE_CASE.catalogue), offer.scores[own[later]], played.eligible[row])
    truth: Floats = played.expected[row]
    return float((probabilities * truth).sum(axis=1).mean() - truth[np.arange(len(row)), played.action[row]].mean())


def _live(game: Rehearsal, release_id: str, runtime: ReleaseRuntime) -> str:
    """How the live comparison with the champion ends, looked at daily: `promote`, `refuse`, `retire`, or `wait` when time is up."""
    champion = game.plan.champion.release_id
    alone = game.plan.arms
    beside = (Arm(CHAMPION, champion, 1.0 - SHARE), Arm(CHALLENGER, release_id, SHARE))
    plan = msgspec.structs.replace(game.plan, version=game.plan.version + 1, arms=beside, salt=f"{game.plan.salt}:{release_id}")
    began_us = game.now_us
    game.serve(plan, {release_id: replace(runtime, release_id=release_id)})
    while game.now_us < began_us + LIVE_DAYS * DAY_US:
        game.play(1)
    decisions, outcomes = game.tables()
    game.serve(msgspec.structs.replace(plan, version=plan.version + 1, arms=alone), {})
    for day in range(1, LIVE_DAYS + 1):
        found = conclude(USE_CASE, plan, decisions, outcomes, since_us=began_us, now_us=began_us + day * DAY_US)
        if found is not None and found.step != "wait":
            return found.step
    return "wait"


def _words(way: str, found: Sequence[Offered]) -> str:
    told = f"{way}: by the gate {_count([one.step for one in found])}; live {_count([one.end for one in found if one.end])}"
    return (
        told
        if way == "leaked"
        else f"{told}; true value {np.mean([one.worth for one in found]):+.3f} dollars a decision beside the champion"
    )


def _count(names: Sequence[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(names).most_common()) or "none"
