"""The flow `train`: from what was accepted to a release, taken as far as its gate allows."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import get_run_context
from prefect.states import Completed

from contracts.clock import to_datetime, to_us
from contracts.errors import BundleRefused
from flows.drained import drain
from flows.guard import COMPARED_WITH
from flows.place import Place, open_place
from flows.promotion import Outcome, Step, allowed, enter_shadow, leave_to_rollout, superseded, take_on
from releases.bundle import Bundle, BundleParts, read_bundle, write_bundle
from releases.ledger import Act
from releases.registry import Logged
from releases.revision import code_revision
from releases.stages import register, reject
from storage.journal import Journal
from training.dataset import TrainingSet, build
from training.parity_gate import Parity, prove
from training.train import Candidate, train_on
from use_cases.definition import UseCase

ACTOR = "flow train"


@task(name="Build the training set", cache_policy=NO_CACHE)
def build_set(place: Place, use_case: UseCase, as_of_us: int) -> TrainingSet:
    """Matured decisions with their features and rewards, checked.

    Raises:
        DataRefused: nothing is trained on this data; all reasons are named.
    """
    folder = Path(tempfile.mkdtemp(prefix="offerloop-train-"))
    try:
        store, memory = place.layout.backfilled(use_case.name), place.settings.store.duckdb_memory
        found = build(place.tables, use_case, now_us=as_of_us, folder=folder, store=store, memory=memory)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{len(found)} matured decisions; features of {found.backfilled} of them computed from events")
    return found


@task(name="Fit, value and judge", cache_policy=NO_CACHE)
def judge(place: Place, training_set: TrainingSet, champion: str | None) -> Candidate:
    """A candidate with its value and the gate's verdict."""
    return train_on(training_set, champion=champion, code=code_revision(place.settings.image), threads=os.cpu_count() or 1, say=print)


@task(name="Write the bundle", retries=2, retry_delay_seconds=2, cache_policy=NO_CACHE)
def keep(place: Place, candidate: Candidate) -> Bundle:
    """The candidate as a bundle, noted in the ledger."""
    bundle = read_bundle(place.layout.bundles, write_bundle(place.layout.bundles, candidate.parts, place.layout.secrets))
    use_case = candidate.parts.use_case
    with place.ledger() as ledger:
        if bundle.release_id not in [known.release_id for known in ledger.releases(use_case)]:
            details = {
                "checks": [{"name": check.name, "passed": check.passed, "reason": check.reason} for check in candidate.verdict.checks]
            }
            act = Act(ACTOR, place.clock.now_us(), f"the gate says {candidate.verdict.step}", details=details)
            register(ledger, use_case, bundle.release_id, bundle.digest, act)
    return bundle


@task(name="Prove that it serves what was trained", cache_policy=NO_CACHE)
def prove_parity(place: Place, bundle: Bundle, champion: str | None) -> Parity:
    """Whether scores, features and messages are those of training, of the tables and of the champion."""
    folder = Path(tempfile.mkdtemp(prefix="offerloop-parity-"))
    journal = Journal(place.layout.journal, place.settings.store.map_size_bytes)
    try:
        found = prove(
            bundle,
            place.use_cases[bundle.parts.use_case],
            _parts_of(place, champion),
            journal=journal,
            tables=place.tables,
            at_us=place.clock.now_us(),
            folder=folder,
            memory=place.settings.store.duckdb_memory,
        )
    finally:
        journal.close()
        shutil.rmtree(folder, ignore_errors=True)
    for check in found.checks:
        print(check.reason, *found.differing.get(check.name, ()), sep="\n")
    return found


@task(name="Register in MLflow", retries=4, retry_delay_seconds=[1, 3, 10, 30], cache_policy=NO_CACHE)
def enter_registry(place: Place, bundle: Bundle, settled: Outcome | None, flow_run: str) -> Logged:
    """The release as a run and, unless it is refused, a model version. What `settled` says stands in the ledger by then."""
    accepted = settled is None or settled.stage != "refused"
    return place.registry().log_release(bundle, place.clock.now_us(), {"prefect_flow_run": flow_run}, register=accepted)


@task(name="See whether it may go on", retries=2, retry_delay_seconds=2, cache_policy=NO_CACHE)
def settle(place: Place, bundle: Bundle, candidate: Candidate, parity: Parity) -> Outcome | None:
    """How it ends for a release that goes no further, as the ledger has it then; None for one that may."""
    use_case = candidate.parts.use_case
    with place.ledger() as ledger:
        plan = ledger.plan(use_case)
    if plan is not None and bundle.release_id in [arm.release_id for arm in plan.arms]:
        return Outcome("unchanged", "the same release answers already")
    if candidate.verdict.accepted and parity.holds:
        return refused_before(place, use_case, bundle.release_id) or rolled_back_before(place, use_case, bundle.release_id)
    return refuse(place, bundle, candidate, parity)


def refuse(place: Place, bundle: Bundle, candidate: Candidate, parity: Parity) -> Outcome:
    """Note why the candidate goes no further, with the rows and fields that differ."""
    failed = "; ".join(check.reason for check in (*candidate.verdict.checks, *parity.checks) if check.needed and not check.passed)
    with place.ledger() as ledger:
        act = Act(ACTOR, place.clock.now_us(), failed, details={"differing": dict(parity.differing)} if parity.differing else {})
        reject(ledger, candidate.parts.use_case, bundle.release_id, act)
    return Outcome("refused", failed)


def refused_before(place: Place, use_case: str, release_id: str) -> Outcome | None:
    """That this very release was refused before, as when it was stopped as canary: it stays so. None where it was not."""
    with place.ledger() as ledger:
        rows = ledger.rows(use_case, release_id=release_id, action="refused", limit=1)
        if ledger.stage_of(release_id) != "refused" or not rows:
            return None
    return Outcome("refused", f"the same data and code made it before, and {rows[0].actor} refused it: {rows[0].reason}")


def rolled_back_before(place: Place, use_case: str, release_id: str) -> Outcome | None:
    """That this very release was rolled back: no flow brings it back. None where it was not."""
    with place.ledger() as ledger:
        stage, row = ledger.stage_of(release_id), ledger.rolled_back(release_id)
    if row is None:
        return None
    said = f"the same data and code made it before, and it was rolled back at {to_datetime(row.at):%Y-%m-%d %H:%M} UTC by {row.actor}"
    return Outcome(stage, f"{said}: {row.reason}", "promote it by hand if you want it again")


@task(name="Run it in the shadow", retries=2, retry_delay_seconds=2, cache_policy=NO_CACHE)
def shadow(place: Place, use_case: str, bundle: Bundle, champion: str, step: str, share: float) -> None:
    """Let it score beside the champion, unseen, and hear whether serving can run it; the ledger notes how far it may go, beside whom."""
    with place.ledger() as ledger:
        details = {"promote": step, "share": share, COMPARED_WITH: champion}
        act = Act(ACTOR, place.clock.now_us(), "passed its gate; scores beside the champion before it touches anyone", details=details)
        enter_shadow(place, ledger, use_case, bundle.release_id, act)


@task(name="Let it answer", retries=2, retry_delay_seconds=2, cache_policy=NO_CACHE)
def release(place: Place, use_case: str, bundle: Bundle, candidate: Candidate, champion: str, promote: Step, share: float) -> Outcome:
    """Take it as far as its gate and whoever asked allow, or leave the rest to the flow `rollout`.

    Where another release became champion since the gate compared it with `champion`, it stays in the shadow.
    """
    step = allowed(promote, candidate.verdict.step)
    gate = candidate.verdict
    reason = f"the gate lets it become {gate.step}, {promote} was asked for: " + "; ".join(
        check.reason for check in gate.checks if check.needed
    )
    with place.desk() as desk:
        plan = desk.ledger.plan(use_case)
        if (gone := superseded(plan, bundle.release_id, champion)) is not None:
            return Outcome("shadow", reason, gone)
        if (later := leave_to_rollout(desk, place.use_cases[use_case], bundle.release_id, step, reason)) is not None:
            return later
        act = Act(ACTOR, place.clock.now_us(), reason, plan.version if plan else None)
        return take_on(desk.ledger, use_case, bundle.release_id, step, share, act)


@task(name="Let MLflow's aliases follow", retries=3, retry_delay_seconds=[1, 3, 10], cache_policy=NO_CACHE)
def follow(place: Place, use_case: str) -> None:
    """Aliases of the registered model, as the traffic plan says."""
    with place.ledger() as ledger:
        plan = ledger.plan(use_case)
    if plan is not None:
        place.registry().sync_aliases(plan)


@flow(name="train", flow_run_name="train {use_case}", log_prints=True)
def train(use_case: str, promote: Step = "champion", challenger_share: float = 0.5) -> State[Any]:
    """Train a candidate, judge it, and take it as far as its gate allows.

    It goes into the shadow, and from there on at once where its use case has no steps and asks nobody; else the flow `rollout` takes it on.
    Run again after a crash, it makes the same release from the same data, and takes no step twice.

    Args:
        use_case: for which decisions.
        promote: how far it may go at most: stay in the shadow, challenge the champion beside it, or replace it.
        challenger_share: of the entities outside control, for a challenger.
    """
    place = open_place()
    as_of_us = _as_of(place)
    with place.ledger() as ledger:
        plan = ledger.plan(use_case)
    drain(place)
    training_set = build_set(place, place.use_cases[use_case], as_of_us)
    champion = plan.champion.release_id if plan else None
    candidate = judge(place, training_set, champion)
    bundle = keep(place, candidate)
    parity = prove_parity(place, bundle, champion)
    # why: what is refused is so in the ledger before anything is asked of MLflow, which may be down
    outcome = settle(place, bundle, candidate, parity)
    logged = enter_registry(place, bundle, outcome, _run_id())
    if outcome is None:
        step = allowed(promote, candidate.verdict.step)
        shadow(place, use_case, bundle, champion or "", step, challenger_share)
        outcome = release(place, use_case, bundle, candidate, champion or "", promote, challenger_share)
        follow(place, use_case)
    _show(place.use_cases[use_case], bundle, candidate, parity, logged, outcome)
    said = f"{bundle.release_id}: {outcome.stage}" + (f"; {outcome.next}" if outcome.next else "")
    return Completed(message=said, data={"release_id": bundle.release_id, "stage": outcome.stage})


def _as_of(place: Place) -> int:
    """The logical moment at which this run first began, however often it was started again since."""
    began = _run().start_time
    if began is None:
        return place.clock.now_us()
    clock = place.clock
    return clock.origin_us + (to_us(began) - clock.started_us) * clock.scale


def _parts_of(place: Place, release_id: str | None) -> BundleParts | None:
    """What a release is made of; None where it cannot be read, such as one that other code made."""
    try:
        return read_bundle(place.layout.bundles, release_id).parts if release_id else None
    except BundleRefused as error:
        print(error)
        return None


def _run() -> Any:
    return get_run_context().flow_run  # type: ignore[union-attr]  # why: within a flow it is the flow's


def _run_id() -> str:
    return str(_run().id)


def _show(use_case: UseCase, bundle: Bundle, candidate: Candidate, parity: Parity, logged: Logged, outcome: Outcome) -> None:
    verdict = candidate.verdict
    key = f"train-{use_case.name.replace('_', '-')}"
    marks = {True: "passed", False: "failed"}
    lines = [
        f"# {bundle.release_id}: {outcome.stage}",
        "",
        *([f"**What comes next:** {outcome.next}", ""] if outcome.next else []),
        outcome.reason,
        "",
        f"[In MLflow]({logged.url})",
        "",
        "| check | | reason |",
        "|---|---|---|",
    ]
    lines += [
        f"| {check.name} | {marks[check.passed] if check.needed else '(' + marks[check.passed] + ')'} | {check.reason} |"
        for check in (*verdict.checks, *parity.checks)
    ]
    create_markdown_artifact("\n".join(lines), key=key, description=f"The gate's verdict on {bundle.release_id}")
    table = [
        {
            "policy": name,
            "estimator": estimator,
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "effective n": round(found.effective_n),
        }
        for name, value in candidate.evaluation.values.items()
        for estimator, found in (("DR", value.dr), ("SNIPS", value.snips), ("IPS", value.ips))
    ]
    create_table_artifact(table, key=f"{key}-value", description=f"Value a decision, in {use_case.reward_unit}, with 95 % intervals")
