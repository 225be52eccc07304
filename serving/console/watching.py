"""What is not as it should be, and what waits for a person."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from contracts.clock import DAY_US
from decisions.sample_ratio import ALARM
from releases.ledger import LedgerRow
from serving.console.desk import Office
from serving.console.recent import Recent
from serving.console.words import count, percent, span
from serving.operations import waiting_for_sign_off
from storage.measures import UseCaseMeasures
from use_cases.definition import UseCase

OLD_S = 3_600.0
"""Age of the measurements, in real seconds, from which they are said to be old."""

MANY_DEGRADED = 0.05
NEWEST = 200
"""Rows of the ledger, and of the inbox, that are looked at."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something to look at. `level` is `bad`, `warn` or `wait`: something that waits for a person; `link` is behind `/console`."""

    level: str
    text: str
    link: str


def notes(office: Office, use_case: UseCase, measured: UseCaseMeasures | None, recent: Recent) -> list[Note]:
    """All that there is to say of a use case, the worst first."""
    found = [*_waiting(office, use_case), *_releases(office, use_case), *_measured(use_case, measured), *_recent(use_case, recent)]
    return sorted(found, key=lambda note: ("bad", "wait", "warn").index(note.level))


def installation_notes(office: Office) -> list[Note]:
    """What is to be said of the installation as a whole."""
    found = []
    measured = office.measures()
    if measured is None:
        found.append(Note("warn", "Nothing is measured yet; the flow `monitor` does that.", "/ledger#inbox"))
    elif time.time() - measured.made_s > OLD_S:
        age = span((time.time() - measured.made_s) * 1e6)
        found.append(Note("bad", f"The measurements are {age} old; the flow `monitor` makes them anew.", "/ledger#inbox"))
    failed = [row for row in office.inbox.rows(limit=NEWEST) if row.status == "failed"]
    if failed:
        newest = failed[0]
        found.append(Note("warn", f"{len(failed)} of the newest triggers failed, `{newest.name}` last: {newest.reason}", "/ledger#inbox"))
    return found


def _waiting(office: Office, use_case: UseCase) -> Iterator[Note]:
    of = f"/use-cases/{use_case.name}"
    if office.plan(use_case.name) is None:
        yield Note("warn", "It has no release yet, so nothing is decided.", f"{of}/releases")
        return
    for row in waiting_for_sign_off(office.desk, use_case.name):
        who = " or ".join(use_case.approvers)
        yield Note("wait", f"Release {row.release_id} waits for a sign-off by {who}.", f"{of}/sign-off/{row.release_id}")


def _releases(office: Office, use_case: UseCase) -> Iterator[Note]:
    of = f"/use-cases/{use_case.name}"
    plan = office.plan(use_case.name)
    rows = office.ledger.rows(use_case.name, limit=NEWEST)
    told: set[str | None] = set()
    for row in rows:
        if row.action == "refuse" and plan is not None and row.release_id in plan.releases and row.release_id not in told:
            told.add(row.release_id)
            yield Note("bad", f"Serving refused release {row.release_id}: {row.reason}", f"{of}/releases/{row.release_id}")
    denied = [row for row in rows if row.action == "denied" and office.clock.now_us() - row.at < DAY_US]
    if denied:
        yield Note(
            "warn",
            f"{_times(denied)} asked for and refused within a day, last: {denied[0].reason}",
            f"/ledger?use_case={use_case.name}&action=denied",
        )
    if plan is not None and plan.withheld:
        yield Note("warn", f"Nobody is shown {', '.join(plan.withheld)}: withheld by hand.", f"{of}/data")


def _times(rows: list[LedgerRow]) -> str:
    return "One step was" if len(rows) == 1 else f"{len(rows)} steps were"


def _measured(use_case: UseCase, measured: UseCaseMeasures | None) -> Iterator[Note]:
    if measured is None:
        return
    of = f"/use-cases/{use_case.name}"
    if measured.skew.differing:
        share = percent(measured.skew.differing / measured.skew.checked)
        yield Note("bad", f"{share} of the decisions checked had other features than are computed from the tables.", f"{of}/data")
    if measured.control_ratio is not None and measured.control_ratio < ALARM:
        yield Note("bad", f"Control is not filled as planned (p = {measured.control_ratio:.1e}).", f"{of}/experiments")
    for one in measured.experiments:
        if one.sample_ratio < ALARM:
            yield Note("bad", f"Arm {one.arm} is not filled as planned (p = {one.sample_ratio:.1e}).", f"{of}/experiments")
        broken = [name for name, state in one.guard_rails.items() if state == "breached"]
        if broken:
            yield Note("bad", f"Arm {one.arm} breaks guard rails: {', '.join(broken)}.", f"{of}/experiments")
    quarantined = measured.tables.get("quarantine")
    if quarantined is not None and quarantined.rows:
        yield Note("warn", f"{count(quarantined.rows)} records are in quarantine.", f"{of}/data")


def _recent(use_case: UseCase, recent: Recent) -> Iterator[Note]:
    if recent.degraded_share > MANY_DEGRADED:
        yield Note("warn", f"{percent(recent.degraded_share)} of the newest decisions were degraded.", f"/use-cases/{use_case.name}/data")
