"""P9: scores of one decision's candidates beside LightGBM's own predict: when a release begins to serve, and later; to the bit."""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import lightgbm
import numpy as np

from bench.rounds import in_turn, ratio
from bench.rows import Figure, Measurement
from contracts.catalogue import Candidate, Catalogue
from contracts.errors import NotCompiled
from decisions.matrix import Floats, ModelColumns, Positions, rows
from decisions.scorer import LightGBMScorer, engine
from serving.compiling import MOST_LEAVES, Compiling, prepare
from serving.metrics import Metrics

LARGER = (100, 1_000)


def measure(options: Sequence[str]) -> Measurement:
    """Train a model, score entities with all candidates by each contender in turn, and count the answers that are not the same bits."""
    parser = argparse.ArgumentParser(prog="make target ROW=P9 ARGS=…")
    parser.add_argument("--candidates", type=int, default=24)
    parser.add_argument("--columns", type=int, default=24, help="of the model, of which a sixth are candidates' own")
    parser.add_argument("--matched", type=int, default=2, help="columns that take the entity's feature which a candidate names")
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--entities", type=int, default=400, help="in a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    made = partial(_columns, chosen.columns, chosen.matched, chosen.seed)
    model = _model(made(chosen.candidates), chosen.trees, chosen.leaves, chosen.seed)
    with tempfile.TemporaryDirectory(prefix="offerloop-p9-") as name:
        folder = Path(name)
        found, notes = _compare(model, made(chosen.candidates), folder, chosen)
        for count in LARGER:
            notes += [f"{count} candidates: {note}" for note in _compare(model, made(count), folder, chosen)[1][:2]]
    notes += [
        f"{chosen.candidates} candidates, {chosen.columns} columns of which {chosen.matched} are matched, {chosen.trees} trees of "
        f"{chosen.leaves} leaves, {chosen.entities} entities a round, {chosen.rounds} rounds in turn, seed {chosen.seed}",
        "at once: what a replica scores by when a release begins to serve, the kernel having been built when the replica was started: the "
        "model is laid out and proven while the release is loaded; a model of more than "
        f"{MOST_LEAVES:,} leaves serves meanwhile by LightGBM's call, of which walking down trees is nine tenths, and so does one where no "
        "C compiler is",
        "Booster.predict is given the rows ready made; ours begin at the entity's features, and LightGBM's call makes those rows first",
    ]
    return Measurement("P9", _figures(found), tuple(notes))


class _Found:
    """How a contender did: times faster than `Booster.predict`, and how many scores differ from its."""

    def __init__(self, theirs: Sequence[float], ours: Sequence[float], differing: int) -> None:
        self.faster, self.spread = ratio(theirs, ours)
        self.differing = differing


def _figures(found: Mapping[str, _Found]) -> tuple[Figure, ...]:
    return (
        Figure("at once, when a release begins to serve: times faster", found["at once"].faster, 1.2, "×", at_most=False),
        Figure("compiled and proven beside the answers: times faster", found["compiled"].faster, 3.0, "×", at_most=False),
        Figure("by a later replica, which finds it proven: times faster", found["recalled"].faster, 3.0, "×", at_most=False),
        Figure("scores with another bit", float(sum(one.differing for one in found.values())), 0.0, ""),
    )


def _compare(model: str, columns: ModelColumns, folder: Path, chosen: argparse.Namespace) -> tuple[Mapping[str, _Found], list[str]]:
    everyone = np.arange(len(columns.values))
    count = len(columns.names) - columns.values.shape[1] - columns.matched.shape[1]
    entities = np.random.default_rng(chosen.seed + 1).normal(size=(max(4, chosen.entities * 24 // max(24, len(everyone))), count))
    matrices = [rows(entity, columns, everyone) for entity in entities]
    scorers = {name: LightGBMScorer(model, columns) for name in ("at once", "compiled", "recalled", "by the call")}
    kernel, beside = folder / f"kernel-{len(everyone)}", folder / f"beside-{len(everyone)}"
    times, reasons = [perf_counter()], []
    prepare(kernel)
    times.append(perf_counter())
    Compiling(kernel, Metrics()).at_once("bench", "r-1", scorers["at once"])
    times.append(perf_counter())
    try:
        scorers["compiled"].compile(beside)
    except NotCompiled as error:
        reasons = [str(error)]
    times.append(perf_counter())
    recalled = scorers["recalled"].recall(beside)
    times.append(perf_counter())
    building, loading, compiling, recalling = (after - before for before, after in pairwise(times))
    booster = scorers["by the call"].booster
    contenders: dict[str, Callable[[], float]] = {
        "predict": lambda: _seconds(lambda matrix: booster.predict(matrix, num_threads=1), matrices),
        **{name: partial(_seconds, partial(_scores, scorer, everyone), entities) for name, scorer in scorers.items()},
    }
    took = in_turn(contenders, chosen.rounds)
    found = {
        name: _Found(took["predict"], took[name], _differing(each, booster, entities, matrices, everyone)) for name, each in scorers.items()
    }
    words = ", ".join(f"{name} {1e6 * median(seconds):.1f} µs" for name, seconds in took.items())
    ratios = ", ".join(f"{name} {one.spread}" for name, one in found.items())
    made = (
        f"the kernel built in {building:.2f} s, once a machine; at once: {engine(scorers['at once'])} after {loading:.2f} s of loading; "
        f"beside: built, compiled and proven in {compiling:.2f} s; {'' if recalled else 'not '}recalled in {1e3 * recalling:.1f} ms"
    )
    return found, [f"a decision: {words}; times faster by round: {ratios}", made, *reasons]


def _scores(scorer: LightGBMScorer, everyone: Positions, entity: Floats) -> Floats:
    return scorer.scores(entity, everyone)


def _seconds(score: Callable[[Any], object], given: Sequence[Floats] | Floats) -> float:
    began = perf_counter()
    for one in given:
        score(one)
    return (perf_counter() - began) / len(given)


def _differing(scorer: LightGBMScorer, booster: Any, entities: Floats, matrices: Sequence[Floats], everyone: Positions) -> int:
    found = 0
    for entity, matrix in zip(entities, matrices, strict=True):
        expected = np.asarray(booster.predict(matrix, num_threads=1))
        found += int((scorer.scores(entity, everyone).view(np.int64) != expected.view(np.int64)).sum())
    return found


def _columns(count: int, matched: int, seed: int, candidates: int) -> ModelColumns:
    """Columns of which a sixth are attributes of the candidates, some matched, and the rest features of the entity."""
    chance = np.random.default_rng(seed)
    own = max(1, count // 6)
    names = tuple(f"f{number}" for number in range(count - own - matched))
    catalogue = Catalogue(
        tuple(
            Candidate(
                f"c{position}" if position else "none",
                {f"a{number}": float(chance.normal()) for number in range(own)},
                matched={f"m{number}": names[int(chance.integers(len(names)))] for number in range(matched)},
            )
            for position in range(candidates)
        )
    )
    return ModelColumns.of(names, catalogue)


def _model(columns: ModelColumns, trees: int, leaves: int, seed: int) -> str:
    """A model of a target to which every column adds, so that trees ask for all of them."""
    chance = np.random.default_rng(seed)
    matrix = chance.normal(size=(20_000, len(columns.names)))
    target = matrix @ chance.normal(size=len(columns.names)) + np.sin(3.0 * matrix[:, 0]) * matrix[:, -1] + chance.normal(size=len(matrix))
    settings = {"objective": "regression", "num_leaves": leaves, "num_threads": 1, "verbosity": -1, "seed": seed}
    data = lightgbm.Dataset(matrix, target, feature_name=list(columns.names))
    return str(lightgbm.train(settings, data, trees).model_to_string())
