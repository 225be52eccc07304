"""Acts on releases, each behind a page that says what will happen: a step further, a refusal, a rollback."""

from datetime import UTC, datetime

from contracts.clock import to_us
from contracts.errors import BundleRefused, InvalidInput, OfferloopError, StepRefused
from contracts.traffic import CHAMPION, TrafficPlan
from releases.diff import diff
from releases.ledger import ReleaseRow
from releases.stages import previous_champion
from serving import operations
from serving.console.asking import Asked, Done, Page
from serving.console.desk import Office
from serving.console.releases import forecast_of
from serving.console.traffic import Held, shares
from serving.console.words import percent
from use_cases.definition import UseCase


def promotion(asked: Asked) -> Page:
    """What a step further would do, and the form."""
    office = asked.office
    use_case = office.use_case(asked.path["use_case"])
    row = office.release(use_case.name, asked.path["release_id"])
    plan = office.plan(use_case.name)
    trouble = ""
    try:
        operations.check_signed_off(office.desk, use_case.name, row.release_id, "be promoted")
    except StepRefused as error:
        trouble = str(error) if row.stage not in ("candidate", "retired") else ""
    content = {
        **_shared(asked, use_case, row),
        "what": _next_words(use_case, row, plan),
        "trouble": trouble
        or _gate_words(office, row)
        or ("" if row.stage not in ("champion", "refused") else f"It is {row.stage}: there is no step further."),
        "may_skip": row.stage in ("shadow", "canary"),
        "forecast": forecast_of(office.known(row).bundle),
    }
    return Page("promote.html", content)


def promote(asked: Asked) -> Done:
    """Take a release one step further; raises as `serving.operations.promote`."""
    use_case, release_id = asked.path["use_case"], asked.path["release_id"]
    plan = operations.promote(
        asked.office.desk,
        use_case,
        release_id,
        asked.person.name,
        asked.text("reason", needed=True),
        at_once=asked.form.get("at_once") == "yes",
        expected_version=asked.number("version"),
    )
    return Done(f"/use-cases/{use_case}/releases/{release_id}", f"Done: {_now_words(plan, release_id)}.")


def rejection(asked: Asked) -> Page:
    """What refusing a release would do, and the form."""
    use_case = asked.office.use_case(asked.path["use_case"])
    row = asked.office.release(use_case.name, asked.path["release_id"])
    return Page("reject.html", _shared(asked, use_case, row))


def reject(asked: Asked) -> Done:
    """Refuse a release for good; raises as `serving.operations.reject`."""
    use_case, release_id = asked.path["use_case"], asked.path["release_id"]
    reason = asked.text("reason", needed=True)
    operations.reject(asked.office.desk, use_case, release_id, asked.person.name, reason, expected_version=asked.number("version"))
    return Done(f"/use-cases/{use_case}/releases/{release_id}", f"You rejected {release_id}. It can take no further step.")


def rollback(asked: Asked) -> Page:
    """Where one can go back to; of what was chosen, what it would do, and the form."""
    office = asked.office
    use_case = office.use_case(asked.path["use_case"])
    plan = office.plan(use_case.name)
    target, trouble = _target(asked, use_case, plan)
    content = {
        "here": "releases",
        "use_case": use_case,
        "plan": plan,
        "version": plan.version if plan else 0,
        "earlier": _earlier(office, use_case, plan),
        "target": target,
        "trouble": trouble,
        "chosen": {name: asked.query.get(name, "")[:80] for name in ("to", "at")},
        "reason": asked.form.get("reason", ""),
        "refusal": asked.refusal,
        "ended": plan.arms[1:] if plan else (),
        "difference": _difference(office, plan, target),
    }
    return Page("rollback.html", content)


def roll_back(asked: Asked) -> Done:
    """Put an earlier champion back; raises as `serving.operations.roll_back`."""
    use_case = asked.path["use_case"]
    plan = operations.roll_back(
        asked.office.desk,
        use_case,
        asked.person.name,
        asked.text("reason", needed=True),
        to=asked.text("target", needed=True),
        expected_version=asked.number("version"),
    )
    return Done(f"/use-cases/{use_case}/releases", f"Rolled back: {plan.champion.release_id} answers everybody outside control again.")


def _shared(asked: Asked, use_case: UseCase, row: ReleaseRow) -> dict[str, object]:
    plan = asked.office.plan(use_case.name)
    return {
        "here": "releases",
        "use_case": use_case,
        "row": row,
        "plan": plan,
        "held": shares(plan) if plan else (),
        "version": plan.version if plan else 0,
        "reason": asked.form.get("reason", ""),
        "refusal": asked.refusal,
    }


def _next_words(use_case: UseCase, row: ReleaseRow, plan: TrafficPlan | None) -> str:
    """What the next step does, as `serving.operations.promote` takes it."""
    if plan is None or row.stage in ("champion", "refused"):
        return ""
    if row.stage in ("candidate", "retired"):
        left = f" {plan.shadow} leaves the shadow for it." if plan.shadow else ""
        return f"It enters the shadow: it scores beside {plan.champion.release_id}, unseen, and answers nobody.{left}"
    held = next((arm.share for arm in plan.arms[1:] if arm.release_id == row.release_id), 0.0)
    share = None if row.stage == "challenger" else use_case.rollout.after(held)
    if share is None:
        before = plan.champion.release_id
        return f"It becomes champion and answers everybody outside control. {before} is retired, and can be put back at any time."
    of_all = percent((1.0 - plan.control_share) * share)
    up = f"up from {percent(held)}. The others stay with the champion."
    return f"It answers {percent(share)} of the entities outside control ({of_all} of all), {up}"


def _gate_words(office: Office, row: ReleaseRow) -> str:
    """Why its gate keeps a release from replacing the champion by steps; empty where it does not."""
    bundle = office.known(row).bundle
    gate = bundle.parts.gate if bundle and isinstance(bundle.parts.gate, dict) else {}
    if row.stage in ("shadow", "canary") and gate.get("step") == "challenger":
        return "Its gate lets it challenge the champion, not replace it: `offerloop challenge` compares the two live."
    return ""


def _now_words(plan: TrafficPlan, release_id: str) -> str:
    if plan.shadow == release_id:
        return f"{release_id} is in the shadow"
    held = [one for one in shares(plan) if one.release_id == release_id and one.arm != "control"]
    return "; ".join(f"{release_id} is {one.arm} with {percent(one.share)} of all entities" for one in held)


def _earlier(office: Office, use_case: UseCase, plan: TrafficPlan | None) -> list[Held]:
    """Champions that were, newest first, each once; not the present one, nor those refused since."""
    stages = {row.release_id: row.stage for row in office.ledger.releases(use_case.name)}
    found = [row.plan.champion.release_id for row in office.rows(use_case.name) if row.plan is not None]
    now = plan.champion.release_id if plan else ""
    return [Held(CHAMPION, name, 0.0) for name in dict.fromkeys(found) if name != now and stages.get(name) != "refused"]


def _target(asked: Asked, use_case: UseCase, plan: TrafficPlan | None) -> tuple[ReleaseRow | None, str]:
    """The release that was chosen to go back to, and why it cannot be, if it cannot."""
    office, to, at = asked.office, asked.query.get("to", "").strip(), asked.query.get("at", "").strip()
    if plan is None or not (to or at):
        return None, "" if plan else "It has no release yet."
    try:
        if at:
            then = office.ledger.live_at(use_case.name, _moment(at))
            if then is None:
                return None, f"Nothing served {use_case.name} at that time."
            to = then.champion.release_id
        elif to == "previous":
            to = previous_champion(office.ledger, use_case.name)
        row = office.release(use_case.name, to)
        office.ready(use_case, to)
    except OfferloopError as error:
        return None, str(error)
    if len(plan.arms) == 1 and plan.champion.release_id == to:
        return None, f"{to} answers everybody outside control already."
    return row, ""


def _moment(text: str) -> int:
    """A moment as browsers send it, taken as UTC where it names no zone.

    Raises:
        InvalidInput: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
        return to_us(found if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        raise InvalidInput("at", f"is {text[:40]!r}", "a moment such as 2026-03-01T12:00") from error


def _difference(office: Office, plan: TrafficPlan | None, target: ReleaseRow | None) -> str:
    if plan is None or target is None:
        return ""
    try:
        return diff(office.bundle(plan.champion.release_id), office.bundle(target.release_id)).words
    except BundleRefused as error:
        return str(error)
