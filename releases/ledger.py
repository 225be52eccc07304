"""The ledger: who changed what, when and why; with it, in the same transactions, each release's stage and the traffic plan."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from contracts.errors import BundleRefused, InvalidInput, NotFound, StepRefused
from contracts.traffic import Stage, TrafficPlan
from releases.database import Database


@dataclass(frozen=True, slots=True)
class Act:
    """Who acts, when and why.

    Attributes:
        actor: a person's name or the flow's.
        at: the installation's logical time, in microseconds.
        expected_version: of the traffic plan that the actor looked at; another one refuses the step. None: whatever it is now.
        details: figures that belong to the reason, JSON-like.
    """

    actor: str
    at: int
    reason: str
    expected_version: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class LedgerRow(msgspec.Struct, frozen=True):
    """One row of the ledger. `plan` is the traffic plan that the row put in force, if it changed it."""

    id: int
    at: int
    use_case: str
    actor: str
    action: str
    release_id: str | None
    reason: str
    details: dict[str, Any]
    plan: TrafficPlan | None


class ReleaseRow(msgspec.Struct, frozen=True):
    """Where a release stands. `ledger_id` names the row that brought it there; `digest` is the bundle's whole digest."""

    release_id: str
    use_case: str
    stage: Stage
    digest: str
    registered_at: int
    changed_at: int
    ledger_id: int


class Step:
    """An open transaction on the ledger: all of what is done through it happens, or nothing."""

    def __init__(self, connection: sqlite3.Connection, use_case: str) -> None:
        self._connection = connection
        self.use_case = use_case

    def plan(self) -> TrafficPlan | None:
        """The traffic plan in force."""
        return _plan(self._connection, self.use_case)

    def release(self, release_id: str) -> ReleaseRow:
        """Where a release of this use case stands.

        Raises:
            NotFound: it was never registered for this use case.
        """
        row = _release(self._connection, release_id)
        if row is None or row.use_case != self.use_case:
            known = [known.release_id for known in _releases(self._connection, self.use_case)]
            raise NotFound(f"release of {self.use_case}", release_id, known[-5:])
        return row

    def registered(self, release_id: str) -> bool:
        """Whether the release was registered, for any use case."""
        return _release(self._connection, release_id) is not None

    def plans(self) -> list[LedgerRow]:
        """The ledger rows that changed the traffic plan, oldest first."""
        query = "SELECT * FROM ledger WHERE use_case = ? AND plan IS NOT NULL ORDER BY id"
        return [_ledger_row(row) for row in self._connection.execute(query, (self.use_case,))]

    def check_version(self, act: Act, action: str, release_id: str | None) -> int:
        """The version of the plan in force, 0 where there is none.

        Raises:
            StepRefused: it is not the one that the actor looked at.
        """
        plan = self.plan()
        version = plan.version if plan else 0
        if act.expected_version not in (None, version):
            refusal = f"the traffic plan is at version {version} now, you looked at {act.expected_version}; look again"
            raise StepRefused(release_id or "-", action, refusal)
        return version

    def append(self, act: Act, action: str, release_id: str | None, plan: TrafficPlan | None = None) -> LedgerRow:
        """Append a row and, with `plan`, put that plan in force. `at` never runs backwards within a use case.

        Raises:
            StepRefused: the plan in force is not the one before `plan`, or not the one that the actor looked at.
        """
        version = self.check_version(act, action, release_id)
        if plan is not None and (plan.version != version + 1 or plan.use_case != self.use_case):
            refusal = f"plan {plan.version} of {plan.use_case} does not follow plan {version} of {self.use_case}"
            raise StepRefused(release_id or "-", action, refusal)
        last = self._connection.execute("SELECT max(at) FROM ledger WHERE use_case = ?", (self.use_case,)).fetchone()[0]
        at = act.at if last is None else max(act.at, last)
        details = msgspec.json.encode(act.details).decode()
        text = msgspec.json.encode(plan).decode() if plan else None
        cursor = self._connection.execute(
            "INSERT INTO ledger (at, use_case, actor, action, release_id, reason, details, plan) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
            (at, self.use_case, act.actor, action, release_id, act.reason, details, text),
        )
        row = _ledger_row(cursor.fetchone())
        if plan is not None:
            self._connection.execute(
                "INSERT INTO plans VALUES (?, ?, ?, ?) ON CONFLICT (use_case) DO UPDATE SET version = excluded.version, "
                "plan = excluded.plan, ledger_id = excluded.ledger_id",
                (self.use_case, plan.version, text, row.id),
            )
        return row

    def newest(self, action: str, release_id: str) -> LedgerRow | None:
        """The newest row of an action upon a release."""
        query = "SELECT * FROM ledger WHERE use_case = ? AND action = ? AND release_id = ? ORDER BY id DESC LIMIT 1"
        row = self._connection.execute(query, (self.use_case, action, release_id)).fetchone()
        return _ledger_row(row) if row else None

    def repeats(self, act: Act, action: str, release_id: str | None) -> bool:
        """Whether the newest row of the use case says all the same, by the same actor."""
        query = "SELECT actor, action, release_id, reason, details FROM ledger WHERE use_case = ? ORDER BY id DESC LIMIT 1"
        found = self._connection.execute(query, (self.use_case,)).fetchone()
        return bool(found == (act.actor, action, release_id, act.reason, msgspec.json.encode(act.details).decode()))

    def set_stage(self, release_id: str, stage: Stage, row: LedgerRow, digest: str = "") -> None:
        """Note where a release stands since a ledger row; the first time also its digest."""
        if digest:
            self._connection.execute(
                "INSERT INTO stages VALUES (?, ?, ?, ?, ?, ?, ?)", (release_id, self.use_case, stage, digest, row.at, row.at, row.id)
            )
        else:
            self._connection.execute(
                "UPDATE stages SET stage = ?, changed_at = ?, ledger_id = ? WHERE release_id = ?", (stage, row.at, row.id, release_id)
            )


class Ledger:
    """The ledger of an installation. One object serves several threads; several processes may open the same file.

    Raises:
        StateRefused: the file is of another format.
        StoreUnavailable: the file is locked for too long, or the disk is full.

    Args:
        path: of the file.
        later: where it cannot be opened now, try again at each use, as for those who can do without it for a while.
    """

    def __init__(self, path: Path, *, later: bool = False) -> None:
        self._database = Database(path, later=later)

    @contextmanager
    def step(self, use_case: str) -> Iterator[Step]:
        """A transaction for several changes at once: durable when the block has ended, undone when it raised."""
        with self._database.write() as connection:
            yield Step(connection, use_case)

    @contextmanager
    def denying(self, use_case: str, act: Act, asked: str, release_id: str | None) -> Iterator[None]:
        """What the block refuses leaves a row `denied` that says who asked for what, and why it was not done; the error goes on."""
        try:
            yield
        except (StepRefused, NotFound, InvalidInput, BundleRefused) as error:
            self._deny(use_case, act, asked, release_id, str(error))
            raise

    @contextmanager
    def taking(self, use_case: str, act: Act, asked: str, release_id: str | None) -> Iterator[Step]:
        """A `step` that, where it is refused, changes nothing and leaves a row `denied`."""
        with self.denying(use_case, act, asked, release_id), self.step(use_case) as step:
            yield step

    def _deny(self, use_case: str, act: Act, asked: str, release_id: str | None, reason: str) -> None:
        details = {"asked": asked} | ({} if act.expected_version is None else {"expected_version": act.expected_version})
        denied = Act(act.actor, act.at, reason, details=details)
        with self.step(use_case) as step:
            # why: who asks in a loop is answered each time, and noted once
            if not step.repeats(denied, "denied", release_id):
                step.append(denied, "denied", release_id)

    def append(self, use_case: str, act: Act, action: str, release_id: str | None = None) -> LedgerRow:
        """Append a row that changes nothing else, such as a refused bundle or a gate's verdict.

        Raises:
            StepRefused: `act.expected_version` is not the version of the plan in force.
        """
        with self.step(use_case) as step:
            return step.append(act, action, release_id)

    def set_plan(self, plan: TrafficPlan, act: Act, action: str, release_id: str | None = None) -> LedgerRow:
        """Put a plan in force with its ledger row, in one transaction.

        Raises:
            StepRefused: `plan.version` is not one more than the version in force: someone else was faster.
        """
        with self.step(plan.use_case) as step:
            return step.append(act, action, release_id, plan)

    def rows(
        self,
        use_case: str | None = None,
        limit: int = 100,
        before: int | None = None,
        *,
        release_id: str | None = None,
        action: str | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
    ) -> list[LedgerRow]:
        """The newest rows that fit, newest first; `before` an id, to page on; `until_us` is included."""
        wanted = {
            "use_case = ?": use_case,
            "id < ?": before,
            "release_id = ?": release_id,
            "action = ?": action,
            "at >= ?": since_us,
            "at <= ?": until_us,
        }
        asked = {condition: value for condition, value in wanted.items() if value is not None}
        query = f"SELECT * FROM ledger {'WHERE' if asked else ''} {' AND '.join(asked)} ORDER BY id DESC LIMIT ?"
        with self._database.read() as connection:
            return [_ledger_row(row) for row in connection.execute(query, (*asked.values(), limit))]

    def plan(self, use_case: str) -> TrafficPlan | None:
        """The traffic plan in force; None before the first release."""
        with self._database.read() as connection:
            return _plan(connection, use_case)

    def live_at(self, use_case: str, time_us: int) -> TrafficPlan | None:
        """The traffic plan that was in force at a moment; None before the first release."""
        row = self.put_in_force_at(use_case, time_us)
        return row.plan if row else None

    def put_in_force_at(self, use_case: str, time_us: int) -> LedgerRow | None:
        """The row whose traffic plan was in force at a moment; None before the first release."""
        query = "SELECT * FROM ledger WHERE use_case = ? AND plan IS NOT NULL AND at <= ? ORDER BY id DESC LIMIT 1"
        with self._database.read() as connection:
            row = connection.execute(query, (use_case, time_us)).fetchone()
        return _ledger_row(row) if row else None

    def rolled_back(self, release_id: str, since_id: int = 0) -> LedgerRow | None:
        """The row by which a release last lost its traffic, where that was a rollback and came behind an id; else None."""
        query = "SELECT * FROM ledger WHERE plan IS NOT NULL AND use_case = (SELECT use_case FROM stages WHERE release_id = ?) ORDER BY id"
        with self._database.read() as connection:
            rows = [_ledger_row(row) for row in connection.execute(query, (release_id,))]
        left = [after for before, after in pairwise(rows) if _answers(before, release_id) and not _answers(after, release_id)]
        return left[-1] if left and left[-1].action == "rollback" and left[-1].id > since_id else None

    def releases(self, use_case: str) -> list[ReleaseRow]:
        """All releases of a use case, in the order they were registered."""
        with self._database.read() as connection:
            return _releases(connection, use_case)

    def release(self, release_id: str) -> ReleaseRow:
        """Where a release stands.

        Raises:
            NotFound: it was never registered.
        """
        with self._database.read() as connection:
            row = _release(connection, release_id)
        if row is None:
            raise NotFound("release", release_id)
        return row

    def stage_of(self, release_id: str) -> Stage:
        """The stage of a release.

        Raises:
            NotFound: it was never registered.
        """
        return self.release(release_id).stage

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _answers(row: LedgerRow, release_id: str) -> bool:
    return row.plan is not None and release_id in [arm.release_id for arm in row.plan.arms]


def _plan(connection: sqlite3.Connection, use_case: str) -> TrafficPlan | None:
    row = connection.execute("SELECT plan FROM plans WHERE use_case = ?", (use_case,)).fetchone()
    return msgspec.json.decode(row[0], type=TrafficPlan) if row else None


def _release(connection: sqlite3.Connection, release_id: str) -> ReleaseRow | None:
    row = connection.execute("SELECT * FROM stages WHERE release_id = ?", (release_id,)).fetchone()
    return ReleaseRow(*row) if row else None


def _releases(connection: sqlite3.Connection, use_case: str) -> list[ReleaseRow]:
    query = "SELECT * FROM stages WHERE use_case = ? ORDER BY registered_at, rowid"
    return [ReleaseRow(*row) for row in connection.execute(query, (use_case,))]


def _ledger_row(row: tuple[Any, ...]) -> LedgerRow:
    number, at, use_case, actor, action, release_id, reason, details, text = row
    plan = msgspec.json.decode(text, type=TrafficPlan) if text else None
    return LedgerRow(number, at, use_case, actor, action, release_id, reason, msgspec.json.decode(details), plan)
