"""`offerloop scenarios`."""

from collections.abc import Sequence

import click

from cli.here import desk_of, settings_of
from cli.output import console, json_option, print_json, print_table
from cli.reasons import print_why
from cli.shortened import whole_id
from contracts.errors import NotFound, StepRefused
from contracts.traffic import TrafficPlan
from serving.live import Release, load_release
from serving.operations import Desk, subject
from serving.scenarios import Beside, Offer, Played, side_by_side

_LIKELY = 5


@click.command()
@click.argument("use_case")
@click.argument("release", required=False)
@click.option("--scenario", help="Only this one, with all that can be said of it.")
@json_option
@click.pass_context
def scenarios(context: click.Context, use_case: str, release: str | None, scenario: str | None, as_json: bool) -> int:
    """Show what a release would show the personas of a use case, beside what the champion does; by default the one that comes next.

    What comes next is the canary, else the release in the shadow, else there is only the champion to look at.
    """
    with desk_of(settings_of(context)) as desk:
        plan = desk.ledger.plan(desk.use_case(use_case).name)
        if plan is None:
            raise StepRefused(release or "-", "be looked at", f"{use_case} has no champion yet")
        release_id = whole_id(desk.ledger, release, [use_case]) if release else _next(plan)
        looked_at = subject(desk, use_case, release_id).digest
        candidate = _load(desk, use_case, release_id)
        champion = None if plan.champion.release_id == release_id else _load(desk, use_case, plan.champion.release_id)
        found = side_by_side(champion, candidate, desk.use_case(use_case), desk.clock.now_us(), plan.withheld)
    if scenario is not None:
        known = tuple(one.scenario.name for one in found)
        if scenario not in known:
            raise NotFound("scenario", scenario, known)
        found = tuple(one for one in found if one.scenario.name == scenario)
    if as_json:
        print_json({"use_case": use_case, "release": release_id, "subject": looked_at, "plan_version": plan.version, "scenarios": found})
        return 0
    _say(use_case, release_id, plan, found, whole=scenario is not None)
    if champion is not None:
        console().print(
            f"What you look at, under plan {plan.version}: {looked_at} (`offerloop approve … --subject` binds an approval to it)",
            soft_wrap=True,
        )
    return 0


def _next(plan: TrafficPlan) -> str:
    beside = [arm.release_id for arm in plan.arms[1:]]
    return beside[0] if beside else plan.shadow or plan.champion.release_id


def _load(desk: Desk, use_case: str, release_id: str) -> Release:
    return load_release(desk.layout, desk.use_case(use_case), release_id, desk.ledger.release(release_id).digest)


def _say(use_case: str, release_id: str, plan: TrafficPlan, found: Sequence[Beside], *, whole: bool) -> None:
    champion = plan.champion.release_id
    beside = (f"champion {champion}", release_id, "changes at least#", "worth by its own model#")
    columns = ("persona", *(beside if champion != release_id else (release_id,)))
    rows = [(f"{one.scenario.title} ({one.scenario.name})", *_compared(one)) for one in found]
    print_table(f"{use_case}, by personas", columns, rows)
    for one in found if whole else ():
        _say_whole(one)
    if not found:
        console().print("The use case has no scenarios; docs/sign-off.md says how to write them.")


def _compared(one: Beside) -> tuple[str, ...]:
    if one.champion is None or one.variation is None:
        return (_shows(one.candidate),)
    worth = "" if one.gain is None else f"{one.gain:+.4f} {one.unit}"
    return _shows(one.champion), _shows(one.candidate), f"{one.variation:.0%}", worth


def _shows(played: Played) -> str:
    if len(played.most) > 1:
        return f"{len(played.most)} candidates alike, {played.likeliest.probability:.1%} each"
    text = str(played.likeliest.content.get("text", played.likeliest.content.get("subject", "")))
    return "\n".join(filter(None, (_offered(played.likeliest, played.unit), text)))


def _offered(offer: Offer, unit: str) -> str:
    reward = "" if offer.reward is None else f", expects {offer.reward:.4f} {unit}"
    return f"{offer.candidate_id} {offer.probability:.1%}{reward}"


def _say_whole(one: Beside) -> None:
    console().print(" ".join(filter(None, (one.scenario.description, one.words))), soft_wrap=True)
    for name, played in (("champion", one.champion), ("candidate", one.candidate)):
        if played is not None:
            _say_played(f"{name} {played.release_id}", played)
    if one.champion is None or _known(one.champion) != _known(one.candidate):
        for played in filter(None, (one.champion, one.candidate)):
            _say_known(f"of {played.release_id}", played)
    else:
        _say_known("of both", one.candidate)


def _say_played(name: str, played: Played) -> None:
    rows = [
        (offer.candidate_id, f"{offer.probability:.1%}", "" if offer.reward is None else f"{offer.reward:.4f} {played.unit}")
        for offer in played.offers[:_LIKELY]
    ]
    print_table(f"{name}: what it may show, the likeliest first", ("candidate", "probability#", "expects#"), rows)
    if played.why is not None:
        print_why(played.likeliest.candidate_id, played.why)
    else:
        console().print(played.why_not)
    if played.refuses:
        console().print(f"It would decide nothing: {', '.join(played.refuses)} too old.", style="red")


def _known(played: Played) -> object:
    return played.features, played.excluded


def _say_known(whose: str, played: Played) -> None:
    rows = [(known.name, known.text, known.unit, "missing" if known.missing else known.age) for known in played.features]
    print_table(f"Features {whose}", ("feature", "value#", "unit", "age#"), rows)
    if played.excluded:
        print_table(
            f"Not eligible, {whose}", ("candidate", "because"), [(no.candidate_id, "; ".join(no.reasons)) for no in played.excluded]
        )
