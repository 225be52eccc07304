"""`offerloop explain`."""

from collections.abc import Mapping, Sequence

import click
import numpy as np

from cli.here import layout_of, ledger_of, settings_of
from cli.output import json_option, moment, print_json, print_table
from cli.output import number as short
from cli.reasons import print_why
from contracts.errors import NotFound
from contracts.records import DECISION_EVENT, Decision
from contracts.settings import Settings
from decisions.explain import Explanation, exclusions, recompute
from decisions.record import stored_decision
from features.definitions import FeatureSet
from features.online import OnlineFeatures
from features.reading import age, value
from serving.live import load_release
from serving.messages import is_id
from serving.reasons import Why, why_scored
from storage.journal import Journal
from use_cases.definition import UseCase, load


@click.command()
@click.argument("decision_id")
@json_option
@click.pass_context
def explain(context: click.Context, decision_id: str, as_json: bool) -> int:
    """Compute a decision again from its log row and its release; 0 when scores, probabilities and action agree to the last bit, else 1."""
    settings = settings_of(context)
    decision = _find(settings, decision_id)
    use_case = load(decision.use_case)
    release = load_release(layout_of(settings), use_case, decision.release_id)
    explanation = recompute(decision, release.runtime)
    why = why_scored(release, np.array(decision.features), decision.action) if explanation.candidates else None
    excluded = exclusions(decision, release.runtime, _shown(settings, use_case, decision), _withheld(context, decision))
    if as_json:
        print_json(
            {
                "decision": decision,
                "exact": explanation.exact,
                "differences": explanation.differences,
                "recomputed": explanation.candidates,
                "action": explanation.action,
                "propensity": explanation.propensity,
                "why": why,
                "excluded": excluded,
            }
        )
    else:
        _say(decision, release.feature_set, explanation, why, excluded)
    return 0 if explanation.exact else 1


def _find(settings: Settings, decision_id: str) -> Decision:
    if not is_id(decision_id):
        raise NotFound("decision", decision_id[:128])
    journal = Journal(layout_of(settings).journal, settings.store.map_size_bytes)
    try:
        with journal.read() as read:
            for use_case in settings.use_cases:
                found = stored_decision(read, use_case, decision_id)
                if found is not None:
                    return found
    finally:
        journal.close()
    raise NotFound("decision", decision_id)


def _shown(settings: Settings, use_case: UseCase, decision: Decision) -> Mapping[str, Sequence[int]]:
    """What the entity was shown before the decision, as far as its state still knows."""
    journal = Journal(layout_of(settings).journal, settings.store.map_size_bytes)
    try:
        with journal.read() as read:
            state = read.get_state(decision.use_case, decision.entity_id)
        return OnlineFeatures(use_case.schema, 0).times_of(state, DECISION_EVENT, "candidate_id", decision.decided_at - 1)
    finally:
        journal.close()


def _withheld(context: click.Context, decision: Decision) -> tuple[str, ...]:
    with ledger_of(settings_of(context)) as ledger:
        plan = ledger.live_at(decision.use_case, decision.decided_at)
    return plan.withheld if plan else ()


def _say(
    decision: Decision, feature_set: FeatureSet, explanation: Explanation, why: Why | None, excluded: Mapping[str, tuple[str, ...]]
) -> None:
    click.echo(f"Decision {decision.decision_id} of {decision.use_case} for entity {decision.entity_id}, {moment(decision.decided_at)} UTC")
    click.echo(f"Arm {decision.arm}, into which it fell with probability {decision.arm_probability:g}; release {decision.release_id}")
    seen = f"It saw the entity's events up to number {decision.seen_seq}"
    click.echo(f"{seen}; degraded: {', '.join(decision.degraded) or 'nothing'}")
    rows = [
        (name, value(feature_set, name, number), "missing" if name in decision.missing else age(age_us))
        for name, number, age_us in zip(feature_set.names, decision.features, decision.ages_us, strict=True)
    ]
    print_table("Features", ("feature", "value#", "age#"), rows)
    print_table(
        "Candidates",
        ("candidate", "score#", "p in arm#", "recomputed score#", "recomputed p#", ""),
        [
            (
                logged.candidate_id,
                short(logged.score),
                short(logged.p_in_arm),
                short(again.score),
                short(again.p_in_arm),
                "◀ shown" if logged.candidate_id == decision.action else "",
            )
            for logged, again in zip(decision.candidates, explanation.candidates or decision.candidates, strict=True)
        ],
    )
    if why is not None:
        print_why(decision.action, why)
    if excluded:
        reasons_of = [(name, "; ".join(reasons) or "not known any more") for name, reasons in excluded.items()]
        print_table("Not eligible", ("candidate", "because"), reasons_of)
    click.echo(f"The draw {decision.draw!r} chose {decision.action}, whose propensity was {decision.propensity!r}")
    if explanation.exact:
        click.secho("Computed again from log and release: equal to the last bit.", fg="green")
    for difference in explanation.differences:
        click.secho(f"Differs: {difference}", fg="red")
