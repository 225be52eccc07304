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

from decisions.decide import ReleaseRuntime, build_runtime
from decisions.policies import PolicySpec
from decisions.scorer import TABLE_FILE, encode_table
from decisions.value import Estimate
from releases.bundle import BundleParts
from releases.messages import contract
from storage.tables import Tables
from training.dataset import TrainingSet, build
from training.evaluate import LEARNED, Evaluation, evaluate
from training.fit import best_single, fit, predict
from training.gate import Verdict, judge
from training.golden import golden_decisions, spread
from training.model_card import first_card, model_card
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
        code: `revision`, `lock` digest and `image`, for the bundle.
        memory: of the feature engine.
        threads: models fitted side by side.
        say: told what happens.

    Raises:
        DataRefused: nothing is trained on this data; all reasons are named.
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
    some = spread(len(training_set))
    features, eligible = training_set.features[some], training_set.eligible[some]
    if verdict.choice == LEARNED:
        model = fit(training_set, everything, use_case.learner, seed=seed)
        kind, files, scores = model.kind, model.files, predict(model, features, eligible)
    else:
        table = best_single(training_set, everything, use_case.learner, seed=seed)
        scores = np.broadcast_to(table, eligible.shape)
        kind, files = "table", {TABLE_FILE: encode_table(dict(zip(use_case.catalogue.index, table.tolist(), strict=True)))}
    policy = evaluation.policy
    parts = _parts(
        use_case,
        kind,
        files,
        policy,
        settings={
            "seed": seed,
            "learner": asdict(use_case.learner),
            "gate": asdict(use_case.gate),
            "outcomes": asdict(use_case.outcomes),
            "split": use_case.split,
        },
        metrics={**plain(evaluation), "trials": plain(trials)},
        gate={"accepted": verdict.accepted, **plain(verdict)},
        data=_data(training_set, digest),
        card=model_card(training_set, kind, policy, evaluation, verdict),
        code=code,
        golden=golden_decisions(use_case.catalogue, policy, features, eligible, scores),
    )
    return Candidate(parts, verdict, evaluation)


def start_parts(use_case: UseCase, code: Mapping[str, str] | None = None) -> BundleParts:
    """The first release of a use case, before anything is learned: its start policy over equal scores."""
    policy = use_case.start_policy
    features = np.array([[feature.default for feature in use_case.feature_set.features]])
    everyone = np.ones((1, len(use_case.catalogue.candidates)), dtype=np.bool_)
    return _parts(
        use_case,
        "constant",
        {},
        policy,
        settings={},
        metrics={},
        gate={"accepted": True, "step": "champion", "reason": "the first release; nothing is learned yet"},
        data={},
        card=first_card(use_case, "constant", policy),
        code=code,
        golden=golden_decisions(use_case.catalogue, policy, features, everyone, np.zeros(everyone.shape)),
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


def _data(training_set: TrainingSet, digest: str) -> dict[str, Any]:
    """The snapshot: `as_of_us` is when the newest decision had matured; later, the same rows make the same training set."""
    use_case, times = training_set.use_case, training_set.rows["decided_at"]
    return {
        "training_set": digest,
        "rows": len(training_set),
        "backfilled": training_set.backfilled,
        "first_decision_us": int(times[0]),
        "last_decision_us": int(times[-1]),
        "as_of_us": int(times[-1]) + use_case.outcome_window_us + use_case.outcomes.late_us,
        "partitions": plain(training_set.snapshot),
    }


def _parts(
    use_case: UseCase,
    kind: str,
    files: Mapping[str, bytes],
    policy: PolicySpec,
    *,
    settings: Mapping[str, Any],
    card: Mapping[str, Any],
    code: Mapping[str, str] | None,
    golden: pl.DataFrame,
    **documents: Any,
) -> BundleParts:
    features = msgspec.json.decode(use_case.feature_set.to_json())
    answers = {
        "baseline": use_case.baseline,
        "ttl_us": use_case.ttl_us,
        "outcome_window_us": use_case.outcome_window_us,
        "reward_unit": use_case.reward_unit,
        "reward_scale": use_case.reward_scale,
        "feature_set": use_case.feature_set.digest,
    }
    return BundleParts(
        use_case=use_case.name,
        scorer_kind=kind,
        scorer_files=files,
        features=features,
        schema={name: dict(event_type.fields) for name, event_type in use_case.schema.types.items()},
        catalogue=use_case.catalogue,
        policy=msgspec.to_builtins(policy),
        settings=plain({**answers, **settings}),
        code=dict(code or {}),
        card=plain(card),
        messages=contract(features, use_case.catalogue),
        golden=golden,
        engine={"lightgbm": lgb.__version__},
        **documents,
    )
