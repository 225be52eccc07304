"""Q1: how far a policy comes from control to the oracle, on simulated games whose truth is known, beside others on the same data.

Each game is rehearsed whole: random offers, two trainings, each released as far as its gate allows; what counts is what the newest release
truly earns, its exploration included, in the decisions that it made in the last phase. Beside it, on the same decisions: control, the best
single candidate, a model that was told the truth about every candidate, and Vowpal Wabbit, which learned from the same log in order.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import lightgbm as lgb
import numpy as np

from bench import peers
from bench.rows import Figure, Measurement
from decisions.matrix import Floats, ModelColumns, paired_rows
from simulator.campaign import Phase, campaign
from simulator.people import Bools, Ints
from simulator.rehearsal import Played
from use_cases.game_promotion import USE_CASE

SPLIT = (0.3, 0.5, 0.2)
"""Of all decisions: random ones, those between the trainings, those that count."""

ASKED = 8_000
"""Decisions of the last phase that the others are asked about."""

WAYS = ("epsilon", "squarecb")

PEER_ROWS = 60_000


@dataclass(frozen=True, slots=True)
class Game:
    """How far each came from control to the oracle; `ways` of Vowpal Wabbit by how it explores, empty where it is not at hand."""

    seed: int
    steps: tuple[str, ...]
    way: float
    beyond_single: float
    single: float
    oracle: float
    control: float
    informed: float
    peers: Mapping[str, float]
    met: tuple[bool | None, ...]


def measure(options: Sequence[str]) -> Measurement:
    """Play games of several seeds."""
    parser = argparse.ArgumentParser(prog="make target ROW=Q1 ARGS=…")
    parser.add_argument("--seeds", type=int, default=10, help="how many games")
    parser.add_argument("--seed", type=int, default=1, help="the first")
    parser.add_argument("--decisions", type=int, default=200_000, help="of each game")
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args(options)
    lengths = tuple(round(chosen.decisions * share) for share in SPLIT)
    seeds = range(chosen.seed, chosen.seed + chosen.seeds)
    with ProcessPoolExecutor(chosen.processes, mp_context=get_context("spawn")) as pool:
        games = list(pool.map(partial(_say, lengths=lengths), seeds))
    way, beyond = (float(np.mean([getattr(game, name) for game in games])) for name in ("way", "beyond_single"))
    figures = [
        Figure("way from control to the oracle", way, 0.8, "", at_most=False),
        Figure("way from the best single candidate to the oracle", beyond, 0.5, "", at_most=False),
        Figure("best single candidate's way from control to the oracle, at most", max(game.single for game in games), 0.6, ""),
    ]
    notes = [f"{len(games)} games of {chosen.decisions} decisions, least way {min(game.way for game in games):.3f}"]
    notes.append(f"a model that was told the truth about every candidate: {np.mean([game.informed for game in games]):.3f} of the way")
    if all(game.peers for game in games):
        found = {name: float(np.mean([game.peers[name] for game in games])) for name in WAYS}
        best = max(found.values())
        figures.append(Figure("way beyond that of Vowpal Wabbit, at its best exploration", way - best, 0.0, "", at_most=False))
        notes.append("Vowpal Wabbit, --cb_explore_adf: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()))
    else:
        notes.append("Vowpal Wabbit is not at hand (tools/setup peers), so nothing is said of it")
    return Measurement("Q1", tuple(figures), tuple(notes))


def one_game(seed: int, lengths: tuple[int, ...]) -> Game:
    """Play a game, and let the others learn from it."""
    played, phases = campaign(USE_CASE, seed, lengths)
    last = phases[-1]
    picked = np.flatnonzero(last.rows)
    asked = np.sort(np.random.default_rng(seed).choice(picked, min(ASKED, len(picked)), replace=False))
    at = last.standing
    return Game(
        seed=seed,
        steps=tuple(phase.arm or "refused" for phase in phases[1:]),
        way=last.way,
        beyond_single=last.beyond_single,
        single=at.share(at.best_single),
        oracle=at.oracle,
        control=at.control,
        informed=_share(played, asked, _greedy(_told(played, int(picked[0])), played, asked)),
        peers=_peers(played, phases, asked),
        met=tuple(phase.met for phase in phases[1:]),
    )


def _say(seed: int, lengths: tuple[int, ...]) -> Game:
    game = one_game(seed, lengths)
    others = ", ".join(f"{name} {value:.3f}" for name, value in game.peers.items())
    print(
        f"seed {seed}: way {game.way:.3f}, from single {game.beyond_single:.3f} ({', '.join(game.steps)}); single {game.single:.3f},"
        f" told the truth {game.informed:.3f}, Vowpal Wabbit {others}; dollars: control {game.control:.3f}, oracle {game.oracle:.3f}",
        flush=True,
    )
    return game


def _share(played: Played, rows: Ints, probabilities: Floats) -> float:
    """How far from control to the oracle a policy comes on some decisions; (m, K) probabilities."""
    truth, possible = played.expected[rows], played.eligible[rows]
    control = float(truth[:, USE_CASE.catalogue.index[USE_CASE.baseline]].mean())
    oracle = float(np.where(possible, truth, -np.inf).max(axis=1).mean())
    return (float((probabilities * truth).sum(axis=1).mean()) - control) / (oracle - control)


def _told(played: Played, before: int) -> lgb.Booster:
    """A model fitted to the truth of every candidate in decisions before some row."""
    columns = ModelColumns.of(USE_CASE.feature_set.names, USE_CASE.catalogue)
    rows = np.random.default_rng(0).choice(before, min(PEER_ROWS, before), replace=False)
    row, place = np.nonzero(played.eligible[rows])
    data = lgb.Dataset(
        paired_rows(played.features[rows[row]], columns, place),
        played.expected[rows[row], place],
        feature_name=list(columns.names),
        categorical_feature=[*USE_CASE.feature_set.categorical, *columns.categorical],
    )
    return lgb.train({"objective": "poisson", "num_leaves": 63, "verbosity": -1, "num_threads": 1}, data, 200)


def _greedy(model: lgb.Booster, played: Played, rows: Ints) -> Floats:
    columns = ModelColumns.of(USE_CASE.feature_set.names, USE_CASE.catalogue)
    row, place = np.nonzero(played.eligible[rows])
    scores = np.full((len(rows), played.eligible.shape[1]), -np.inf)
    scores[row, place] = model.predict(paired_rows(played.features[rows[row]], columns, place), num_threads=1)
    best: Floats = np.zeros(scores.shape)
    best[np.arange(len(rows)), scores.argmax(axis=1)] = 1.0
    return best


def _peers(played: Played, phases: Sequence[Phase], asked: Ints) -> dict[str, float]:
    interpreter = peers.python()
    if interpreter is None:
        return {}
    use: Bools = (played.rows["arm"] != "control").to_numpy()
    kept = np.flatnonzero(use)
    reward = played.rows["reward"].to_numpy()[kept] / USE_CASE.reward_scale
    names = USE_CASE.feature_set.names
    with tempfile.TemporaryDirectory(prefix="offerloop-q1-") as folder:
        np.savez(
            Path(folder) / "log.npz",
            features=played.features[kept],
            names=np.array(names),
            categorical=np.array([name in USE_CASE.feature_set.categorical for name in names]),
            candidates=np.array(
                [
                    " ".join([f"id={one.candidate_id.replace(':', '_')}", *(f"{key}={value}" for key, value in one.attributes.items())])
                    for one in USE_CASE.catalogue.candidates
                ]
            ),
            eligible=played.eligible[kept],
            action=played.action[kept],
            propensity=played.rows["propensity"].to_numpy()[kept],
            cost=-reward / max(float(reward.mean()), 1e-9),
            asked=np.searchsorted(kept, asked),
        )
        peers.run("vowpal_wabbit", folder, *WAYS, interpreter=interpreter)
        chosen = np.load(Path(folder) / "chosen.npz")
        return {way: _share(played, asked, chosen[way]) for way in WAYS}
