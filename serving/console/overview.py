"""The first page: the loop with live figures at its stations, what is not as it should be, and what waits for a person."""

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.tables import DECISIONS, EVENTS, OUTCOMES
from contracts.traffic import CHAMPION
from releases.ledger import ReleaseRow
from serving.console import charts
from serving.console.asking import Asked, Page
from serving.console.desk import Office
from serving.console.recent import MOST, Recent, recent
from serving.console.traffic import shares
from serving.console.watching import Note, installation_notes, notes
from serving.console.words import NOTHING, count, interval, percent, span
from storage.measures import ArmMeasure, UseCaseMeasures
from storage.rollouts import CanaryMeasure
from use_cases.definition import UseCase


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure in words; `link` is behind `/console`, or empty."""

    name: str
    text: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class Station:
    """A station of the loop: its figures, and the page that says more, behind `/console`."""

    name: str
    figures: tuple[Figure, ...]
    link: str


@dataclass(frozen=True, slots=True)
class Loop:
    """A use case's loop. `champion` is what its champion earns, where that was measured."""

    use_case: UseCase
    stations: tuple[Station, ...]
    notes: tuple[Note, ...]
    champion: ArmMeasure | None
    scale: charts.Scale


def page(asked: Asked) -> Page:
    """The overview of all use cases."""
    office = asked.office
    measured = office.measures()
    loops = [_loop(office, use_case, measured.use_cases.get(name) if measured else None) for name, use_case in office.use_cases.items()]
    return Page("overview.html", {"here": "overview", "loops": loops, "notes": installation_notes(office), "measured": measured})


def _loop(office: Office, use_case: UseCase, measured: UseCaseMeasures | None) -> Loop:
    newest = recent(office, use_case.name)
    champion = _champion(office, use_case.name, measured)
    stations = _stations(office, use_case, measured, newest, champion)
    scale = charts.scale_of([champion.gain if champion else None])
    return Loop(use_case, stations, tuple(notes(office, use_case, measured, newest)), champion, scale)


def _stations(
    office: Office, use_case: UseCase, measured: UseCaseMeasures | None, newest: Recent, champion: ArmMeasure | None
) -> tuple[Station, ...]:
    of, now_us = f"/use-cases/{use_case.name}", office.clock.now_us()
    rows = office.ledger.releases(use_case.name)
    trained = max(rows, key=lambda row: row.registered_at, default=None)
    gain = interval(champion.gain, measured.unit, signed=True) if champion and measured else NOTHING
    waiting = sum(row.payload.get("use_case", use_case.name) == use_case.name for row in office.inbox.unfinished())
    return (
        Station("Events", _table(measured, EVENTS, now_us), f"{of}/data"),
        Station("Features", _features(use_case, measured, newest), f"{of}/data"),
        Station("Decisions", _decisions(measured, newest, now_us), "/decisions"),
        Station("Outcomes", (*_table(measured, OUTCOMES, now_us), Figure("not matured", _unmatured(measured))), f"{of}/data"),
        Station("Training", (*_trained(trained, now_us, of), Figure("triggers open", count(waiting), "/ledger#inbox")), f"{of}/releases"),
        Station("Releases", (*_arms(office, use_case.name, of), Figure("gain over control", gain, f"{of}/experiments")), f"{of}/releases"),
    )


def _table(measured: UseCaseMeasures | None, table: str, now_us: int) -> tuple[Figure, ...]:
    found = measured.tables.get(table) if measured else None
    if found is None or found.newest_us is None:
        return (Figure("in the table", "0" if found else NOTHING),)
    return Figure("in the table", count(found.rows)), Figure("newest", f"{span(now_us - found.newest_us)} ago")


def _features(use_case: UseCase, measured: UseCaseMeasures | None, newest: Recent) -> tuple[Figure, ...]:
    skew = measured.skew if measured else None
    checked = "not checked yet" if not skew or not skew.checked else f"{count(skew.differing)} of {count(skew.checked)}"
    return (
        Figure("defined", count(len(use_case.feature_set.names))),
        Figure("decisions degraded", _degraded(newest)),
        Figure("differ from tables", checked),
    )


def _degraded(newest: Recent) -> str:
    return percent(newest.degraded_share) if newest.decisions else NOTHING


def _decisions(measured: UseCaseMeasures | None, newest: Recent, now_us: int) -> tuple[Figure, ...]:
    in_table = measured.tables.get(DECISIONS) if measured else None
    last = newest.decisions[0].decided_at if newest.decisions else in_table.newest_us if in_table else None
    return (
        Figure("in the table", count(in_table.rows) if in_table else NOTHING),
        Figure("in the journal", f"{count(len(newest.decisions))}{'+' if len(newest.decisions) == MOST else ''}"),
        Figure("newest", NOTHING if last is None else f"{span(now_us - last)} ago"),
    )


def _unmatured(measured: UseCaseMeasures | None) -> str:
    return count(measured.unmatured) if measured else NOTHING


def _trained(row: ReleaseRow | None, now_us: int, of: str) -> tuple[Figure, ...]:
    if row is None:
        return (Figure("newest release", "none"),)
    newest = Figure("newest release", row.release_id, f"{of}/releases/{row.release_id}")
    return newest, Figure("registered", f"{span(now_us - row.registered_at)} ago")


def _arms(office: Office, use_case: str, of: str) -> tuple[Figure, ...]:
    plan = office.plan(use_case)
    if plan is None:
        return (Figure("champion", "none yet"),)
    shadow = (Figure("shadow", plan.shadow, f"{of}/releases/{plan.shadow}"),) if plan.shadow else ()
    canary = office.canary(use_case)
    step = (Figure("canary's step", _step(canary), f"{of}/experiments#canary"),) if canary and canary.step else ()
    return (*(Figure(held.arm, percent(held.share), f"{of}/releases/{held.release_id}") for held in shares(plan)), *step, *shadow)


def _step(canary: CanaryMeasure) -> str:
    return f"{canary.step} of {canary.steps}, {count(canary.decisions)} of {count(canary.needed)} decisions"


def _champion(office: Office, use_case: str, measured: UseCaseMeasures | None) -> ArmMeasure | None:
    plan = office.plan(use_case)
    if measured is None or plan is None:
        return None
    arms: Mapping[tuple[str, str], ArmMeasure] = {(arm.arm, arm.release_id): arm for arm in measured.arms}
    return arms.get((CHAMPION, plan.champion.release_id))
