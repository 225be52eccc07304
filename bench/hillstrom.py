"""Q3: what a customer spends under the policy that is released from one random half of Hillstrom's data, on the other half.

Each half comes in as it would at a shop: attributes as events, the log by the bulk import, both drained to tables; then it is trained on,
judged by the gate and written as a bundle, and the bundle's own scorer decides for the customers of the other half.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from bench.rows import Figure, Measurement
from contracts.clock import DAY_US
from decisions.matrix import Floats
from decisions.policies import PolicySpec, build_policy, probability_matrix
from decisions.record import make_event, record_event
from decisions.value import Estimate, doubly_robust
from features.online import OnlineFeatures, retention
from releases.bundle import BundleParts, read_bundle, write_bundle
from storage.drain import drain
from storage.journal import Journal
from storage.tables import Tables
from training.dataset import TrainingSet, build
from training.fit import fit, predict
from training.import_log import import_log
from training.train import Candidate, runtime_of, train_on
from use_cases.email_promotion import USE_CASE, hillstrom
from use_cases.email_promotion.features import CUSTOMER

NOW = hillstrom.RECORDED_AT + 60 * DAY_US
MENS = USE_CASE.catalogue.index["mens"]

_PART = 2_000


@dataclass(frozen=True, slots=True)
class Half:
    """What the policy released from one half earns on the other, in dollars a customer; `replayed` where its answer was really sent."""

    choice: str
    step: str
    released: Estimate
    to_all_mens: float
    logged: float
    replayed: float


def measure(options: Sequence[str]) -> Measurement:
    """Release from random halves, and value what was released on the rest."""
    parser = argparse.ArgumentParser(prog="make target ROW=Q3 ARGS=…")
    parser.add_argument("--path", type=Path, default=Path("../shared/data/hillstrom.csv"), help="the published file")
    parser.add_argument("--halves", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    with tempfile.TemporaryDirectory(prefix="offerloop-q3-") as folder:
        path = hillstrom.fetch(chosen.path if chosen.path.exists() else None, Path(folder))
        customers = hillstrom.read(path)
        found = [one_half(customers, chosen.seed + number, Path(folder) / str(number)) for number in range(chosen.halves)]
    against_mens = np.array([half.released.value - half.to_all_mens for half in found])
    against_logged = np.array([half.released.value - half.logged for half in found])
    within = np.mean([half.released.low <= half.replayed <= half.released.high for half in found])
    figures = (
        Figure("less than men's e-mail to all", float(-against_mens.mean()), 0.02, "dollars"),
        Figure("more than the logged random policy", float(against_logged.mean()), 0.28, "dollars", at_most=False),
        Figure("halves whose replay lies within the interval", float(within), 0.9, "", at_most=False),
    )
    notes = [
        f"{chosen.halves} halves: {_count([half.choice for half in found])}; by the gate {_count([half.step for half in found])}",
        f"against men's e-mail to all from {against_mens.min():+.4f} to {against_mens.max():+.4f} dollars",
        f"against the logged policy from {against_logged.min():+.4f} to {against_logged.max():+.4f} dollars",
    ]
    return Measurement("Q3", figures, tuple(notes))


def one_half(customers: pl.DataFrame, seed: int, folder: Path) -> Half:
    """Release from the first half of a split, and value it on the second. What is refused leaves the start policy serving."""
    first, second = hillstrom.halves(customers, seed)
    training_set = come_in(first, folder / "first")
    candidate = train_on(training_set, threads=os.cpu_count() or 1)
    parts = read_bundle(folder, write_bundle(folder, candidate.parts, folder / "secrets")).parts
    judged = come_in(second, folder / "second")
    probabilities = _probabilities(candidate, parts, judged)
    everybody = np.ones(len(training_set), dtype=np.bool_)
    model = fit(training_set, everybody, USE_CASE.learner, seed=seed)
    q = predict(model, judged.features, judged.eligible)
    row = np.arange(len(judged))

    def value(target: Floats) -> Estimate:
        logged = q[row, judged.action]
        shown = target[row, judged.action]
        return doubly_robust(judged.reward, judged.propensity, shown, logged, (target * q).sum(axis=1), judged.entity)

    mens = np.zeros_like(q)
    mens[:, MENS] = 1.0
    drawn = (probabilities.cumsum(axis=1) < np.random.default_rng(seed).random((len(judged), 1))).sum(axis=1)
    replayed = judged.reward[drawn == judged.action].mean()
    logged = value(np.full_like(q, hillstrom.PROPENSITY)).value
    return Half(candidate.verdict.choice, candidate.verdict.step, value(probabilities), value(mens).value, logged, float(replayed))


def come_in(customers: pl.DataFrame, folder: Path) -> TrainingSet:
    """Take in customers and the log of what they were sent, as an installation does; the training set of it."""
    folder.mkdir(parents=True)
    hillstrom.write_log(customers, folder / "log.parquet")
    online = OnlineFeatures(USE_CASE.schema, retention([USE_CASE.feature_set], [USE_CASE.catalogue]))
    journal, tables = Journal(folder / "journal", 2**30), Tables(folder / "tables")
    try:
        for start in range(0, customers.height, _PART):
            events = [
                make_event(
                    f"known-{row['entity_id']}",
                    row["entity_id"],
                    CUSTOMER.name,
                    hillstrom.RECORDED_AT,
                    {field: row[field] for field in CUSTOMER.fields},
                    ingested_time=hillstrom.RECORDED_AT,
                )
                for row in customers[start : start + _PART].iter_rows(named=True)
            ]
            journal.write(lambda write, events=events: [record_event(write, USE_CASE.name, event, online.apply) for event in events])  # type: ignore[misc]  # why: mypy cannot type the default
        import_log(journal, USE_CASE, folder / "log.parquet", online.apply, now_us=NOW)
        drain(journal, tables, {USE_CASE.name: USE_CASE.schema})
        return build(tables, USE_CASE, now_us=NOW, folder=folder / "work")
    finally:
        journal.close()


def _probabilities(candidate: Candidate, parts: BundleParts, judged: TrainingSet) -> Floats:
    spec = msgspec.convert(parts.policy, PolicySpec) if candidate.verdict.accepted else USE_CASE.start_policy
    runtime = runtime_of(USE_CASE, parts.scorer_kind, parts.scorer_files, spec)
    places = np.arange(judged.eligible.shape[1])
    scores = np.array([runtime.scorer.scores(features, places) for features in judged.features])
    return probability_matrix(build_policy(spec, USE_CASE.catalogue), scores, judged.eligible)


def _count(names: Sequence[str]) -> str:
    return ", ".join(f"{names.count(name)} {name.replace('_', ' ')}" for name in dict.fromkeys(names))
