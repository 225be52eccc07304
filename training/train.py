"""Train: from the tables to a candidate, judged and ready to be written as a bundle. Knows no orchestrator and no registry."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightgbm as lgb
import msgspec
import numpy as np
import polars as pl

from contracts.catalogue import Catalogue
from contracts.errors import BundleRefused
from decisions.decide import ReleaseRuntime, build_runtime
from decisions.matrix import Floats
from decisions.policies import PolicySpec
from decisions.scorer import TABLE_FILE, encode_table
from decisions.value import Estimate
from releases.bundle import BundleParts
from storage.tables import Tables
from training.dataset import Bools, TrainingSet, build
from training.evaluate import LEARNED, Evaluation, evaluate
from training.fit import best_single, fit, predict
from training.gate import Verdict, judge
from training.golden import golden_decisions
from training.search import best_words, search
from use_cases.definition import UseCase

Said = Callable[[str], None]
"""Told what happens, in words, for progress."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A candidate for release: everything of its bundle, and how it was judged."""

    parts: BundleParts
    verdict: Verdict
    evaluation: Evaluation


def train(
    tables: Tables,
    use_case: UseCase,
    *,
    now_us: int,
    folder: Path,
    champion: str | None = None,
    code: Mapping[str, str] | None = None,
    memory: str = "2GB",
    threads: int = 2,
    say: Said = lambda text: None,
) -> Candidate:
    """Build the training set, evaluate, judge, and fit what is offered on all of it.

    Args:
        tables: drained tables.
        use_case: whose.
        now_us: as of when.
        folder: for files in between.
        champion: the release that serves now.
        code: `revision` and `lock` digest, for the bundle.
        memory: of the feature engine.
        threads: models fitted side by side.
        say: told what happens.

    Raises:
        DataRefused: nothing is trained on this data; all reasons are named.
        BundleRefused: the candidate's scorer does not give the scores that training computed.
    """
    training_set = build(tables, use_case, now_us=now_us, folder=folder, memory=memory)
    say(f"{len(training_set)} matured decisions, {training_set.backfilled} of them with features computed from events")
    return train_on(training_set, champion=champion, code=code, threads=threads, say=say)


def train_on(
    training_set: TrainingSet,
    *,
    champion: str | None = None,
    code: Mapping[str, str] | None = None,
    threads: int = 2,
    say: Said = lambda text: None,
) -> Candidate:
    """The same, from a training set."""
    use_case = training_set.use_case
    digest = training_set.digest
    seed = int(digest[:8], 16)
    learner, trials = search(training_set, seed=seed, threads=threads)
    say(best_words(trials))
    use_case = replace(use_case, learner=learner)
    training_set = replace(training_set, use_case=use_case)
    evaluation = evaluate(training_set, champion=champion, seed=seed, threads=threads)
    verdict = judge(evaluation, training_set.skew, use_case)
    for reason in verdict.reasons:
        say(reason)
    everything = np.ones(len(training_set), dtype=np.bool_)
    if verdict.choice == LEARNED:
        model = fit(training_set, everything, use_case.learner, seed=seed)
        kind, files = model.kind, model.files
        some = np.linspace(0, len(training_set) - 1, 64).astype(np.int64)
        scores = predict(model, training_set.features[some], training_set.eligible[some])
    else:
        table = best_single(training_set, everything, use_case.learner, seed=seed)
        kind, files = "table", {TABLE_FILE: encode_table(dict(zip(use_case.catalogue.index, table.tolist(), strict=True)))}
        some, scores = np.arange(1), np.where(training_set.eligible[:1], table, -np.inf)
    runtime = runtime_of(use_case, kind, files, evaluation.policy)
    _check_parity(runtime, training_set.features[some], training_set.eligible[some], scores)
    parts = _parts(
        use_case,
        kind,
        files,
        evaluation.policy,
        settings=_settings(use_case, seed),
        metrics={**plain(evaluation), "trials": plain(trials)},
        gate={"accepted": verdict.accepted, **plain(verdict)},
        data={"training_set": digest, "rows": len(training_set), "backfilled": training_set.backfilled},
        code=code,
        golden=golden_decisions(runtime, training_set.features, training_set.eligible),
    )
    return Candidate(parts, verdict, evaluation)


def start_parts(use_case: UseCase, code: Mapping[str, str] | None = None) -> BundleParts:
    """The first release of a use case, before anything is learned: its start policy over equal scores."""
    runtime = runtime_of(use_case, "constant", {}, use_case.start_policy)
    width = len(use_case.catalogue.candidates)
    features = np.array([[feature.default for feature in use_case.feature_set.features]])
    return _parts(
        use_case,
        "constant",
        {},
        use_case.start_policy,
        settings={},
        metrics={},
        gate={"accepted": True, "step": "champion", "reason": "the first release; nothing is learned yet"},
        data={},
        code=code,
        golden=golden_decisions(runtime, features, np.ones((1, width), dtype=np.bool_)),
    )


def runtime_of(use_case: UseCase, kind: str, files: Mapping[str, bytes], policy: PolicySpec) -> ReleaseRuntime:
    """A candidate made ready to decide, as a replica does it."""
    return build_runtime(
        "candidate",
        catalogue=use_case.catalogue,
        features=use_case.feature_set,
        policy=policy,
        scorer_kind=kind,
        files=files,
        baseline=use_case.baseline,
        ttl_us=use_case.ttl_us,
    )


def plain(content: Any) -> Any:
    """A dataclass or struct, with all it holds, as JSON-like content; what is not finite as null."""
    match content:
        case float():
            return content if math.isfinite(content) else None
        case Mapping():
            return {str(key): plain(value) for key, value in content.items()}
        case list() | tuple():
            return [plain(value) for value in content]
        case None | bool() | int() | str():
            return content
        case msgspec.Struct():
            return plain(msgspec.to_builtins(content))
        case _:
            return plain(asdict(content))


def forecast(parts: BundleParts) -> Estimate:
    """What the gate foresaw of a trained candidate, from its bundle."""
    return msgspec.convert(parts.gate["forecast"], Estimate)


def _settings(use_case: UseCase, seed: int) -> dict[str, Any]:
    settings: dict[str, Any] = plain(
        {
            "seed": seed,
            "learner": asdict(use_case.learner),
            "gate": asdict(use_case.gate),
            "outcome_window_us": use_case.outcome_window_us,
            "outcomes": asdict(use_case.outcomes),
            "split": use_case.split,
            "baseline": use_case.baseline,
            "reward_unit": use_case.reward_unit,
            "reward_scale": use_case.reward_scale,
        }
    )
    return settings


def _parts(
    use_case: UseCase,
    kind: str,
    files: Mapping[str, bytes],
    policy: PolicySpec,
    *,
    code: Mapping[str, str] | None,
    golden: pl.DataFrame,
    **documents: Any,
) -> BundleParts:
    catalogue: Catalogue = use_case.catalogue
    return BundleParts(
        use_case=use_case.name,
        scorer_kind=kind,
        scorer_files=files,
        features=msgspec.json.decode(use_case.feature_set.to_json()),
        schema={name: dict(event_type.fields) for name, event_type in use_case.schema.types.items()},
        catalogue=catalogue,
        policy=msgspec.to_builtins(policy),
        code=dict(code or {}),
        golden=golden,
        engine={"lightgbm": lgb.__version__},
        **documents,
    )


def _check_parity(runtime: ReleaseRuntime, features: Floats, eligible: Bools, scores: Floats) -> None:
    for row, (values, able, expected) in enumerate(zip(features, eligible, scores, strict=True)):
        positions = np.flatnonzero(able).astype(np.int64)
        served = runtime.scorer.scores(np.ascontiguousarray(values), positions)
        if served.tobytes() != expected[positions].tobytes():
            raise BundleRefused("candidate", f"its scorer gives other scores than training did, first in row {row}")
