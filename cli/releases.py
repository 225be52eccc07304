"""`offerloop releases`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from cli.bundles import bring_back, mlflow_of, sign_by_hand
from cli.here import actor, desk_of, settings_of
from cli.output import json_option, moment, print_json, print_table
from cli.shortened import whole_id
from contracts.errors import BundleRefused
from contracts.traffic import TrafficPlan
from releases.bundle import read_bundle
from releases.ledger import ReleaseRow
from releases.sign_off import Approval, approval_at
from serving.operations import Desk, approval_of

_SHORT = 12
_OVER = ("champion", "retired", "refused")


@dataclass(frozen=True, slots=True)
class _Listed:
    """A release as the list tells of it.

    Attributes:
        share: of all entities now.
        scorer: its kind, or `damaged`. `forecast`: `value`, `low` and `high` in `unit`, where the gate foresaw anything.
        damage: why its bundle cannot be read; empty where it can.
        approval: the newest, void or not. `sign_off`: by whom, or that it waits, or why it no longer counts.
    """

    release_id: str
    use_case: str
    stage: str
    share: float
    scorer: str
    forecast: Mapping[str, Any] | None
    unit: str
    damage: str
    approval: Approval | None
    sign_off: str
    digest: str
    registered_at: int
    changed_at: int
    ledger_id: int


@click.command()
@click.argument("use_case", required=False)
@click.option("--restore", metavar="RELEASE", help="First bring the bundle of this one back from MLflow, when it is lost or damaged here.")
@click.option("--sign", metavar="RELEASE", multiple=True, help="First sign this one by the installation's key, as when its keys were lost.")
@json_option
@click.pass_context
def releases(context: click.Context, use_case: str | None, restore: str | None, sign: Sequence[str], as_json: bool) -> int:
    """List the releases of a use case, or of all: stage, share, what the gate foresaw of each, and who signed it off."""
    settings = settings_of(context)
    with desk_of(settings) as desk:
        if restore is not None:
            bring_back(desk.layout, _row(desk, restore), mlflow_of(desk.layout))
        for name in sign:
            sign_by_hand(desk, _row(desk, name), actor())
        found = [_listed(desk, row) for name in ([use_case] if use_case else settings.use_cases) for row in desk.ledger.releases(name)]
    if as_json:
        print_json(found)
        return 0
    columns = ("use case", "release", "stage", "share now#", "scorer", "forecast a decision", "sign-off", "there since (UTC)", "digest")
    rows = [
        (
            one.use_case,
            one.release_id,
            one.stage,
            f"{one.share:.1%}" if one.share else "",
            one.scorer,
            one.damage or _foreseen(one),
            one.sign_off,
            moment(one.changed_at),
            one.digest[:_SHORT],
        )
        for one in found
    ]
    print_table("Releases", columns, rows)
    return 0


def _row(desk: Desk, text: str) -> ReleaseRow:
    return desk.ledger.release(whole_id(desk.ledger, text, tuple(desk.use_cases)))


def _listed(desk: Desk, row: ReleaseRow) -> _Listed:
    scorer, gate, unit, damage = "damaged", None, "", ""
    try:
        parts = read_bundle(desk.layout.bundles, row.release_id).parts
        scorer, gate, unit = parts.scorer_kind, parts.gate, str(parts.settings.get("reward_unit", ""))
    except BundleRefused as error:
        damage = error.reason
    approval = _approval(desk, row)
    return _Listed(
        release_id=row.release_id,
        use_case=row.use_case,
        stage=row.stage,
        share=_share(desk.ledger.plan(row.use_case), row.release_id),
        scorer=scorer,
        forecast=gate.get("forecast") if isinstance(gate, dict) else None,
        unit=unit,
        damage=damage,
        approval=approval,
        sign_off=_sign_off(desk, row, approval),
        digest=row.digest,
        registered_at=row.registered_at,
        changed_at=row.changed_at,
        ledger_id=row.ledger_id,
    )


def _share(plan: TrafficPlan | None, release_id: str) -> float:
    if plan is None:
        return 0.0
    return (1.0 - plan.control_share) * sum(arm.share for arm in plan.arms if arm.release_id == release_id)


def _foreseen(one: _Listed) -> str:
    foreseen = one.forecast
    return f"{foreseen['value']:.4f} [{foreseen['low']:.4f}, {foreseen['high']:.4f}] {one.unit}" if foreseen else ""


def _approvers(desk: Desk, row: ReleaseRow) -> tuple[str, ...]:
    return desk.use_cases[row.use_case].approvers if row.use_case in desk.use_cases else ()


def _approval(desk: Desk, row: ReleaseRow) -> Approval | None:
    """The newest approval; what went live or ended keeps the one it had."""
    if row.stage in _OVER or not _approvers(desk, row) or desk.ledger.plan(row.use_case) is None:
        return approval_at(desk.ledger, row.release_id)
    return approval_of(desk, row.use_case, row.release_id)


def _sign_off(desk: Desk, row: ReleaseRow, approval: Approval | None) -> str:
    if approval is not None:
        return f"void: {approval.void}" if approval.void else f"{approval.actor}, {moment(approval.at)}"
    waits = _approvers(desk, row) if row.stage not in _OVER else ()
    return f"waits for {' or '.join(waits)}" if waits else ""
