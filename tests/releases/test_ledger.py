import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from contracts.errors import DefinitionError, InvalidInput, NotFound, StateRefused, StepRefused, StoreUnavailable
from contracts.traffic import Arm, TrafficPlan
from releases import database
from releases.database import Database
from releases.ledger import Act, Ledger

ROOT = Path(__file__).parents[2]


def plan(version: int, release_id: str = "r-a") -> TrafficPlan:
    return TrafficPlan("shop", version, 0.1, (Arm("champion", release_id, 1.0),), salt="s", control_salt="c")


def act(at: int = 0, expected_version: int | None = None) -> Act:
    return Act("ada", at, "because", expected_version, {"gain": 0.25})


def test_rows_are_kept_as_they_were_appended(ledger: Ledger) -> None:
    first = ledger.append("shop", act(5), "bundle refused", "r-a")
    second = ledger.set_plan(plan(1), act(6), "start", "r-a")
    ledger.append("other", act(7), "note")
    assert ledger.rows("shop") == [second, first]
    assert [row.use_case for row in ledger.rows()] == ["other", "shop", "shop"]
    assert ledger.rows(limit=1, before=second.id) == [first]
    assert (first.actor, first.at, first.reason, first.details, first.plan) == ("ada", 5, "because", {"gain": 0.25}, None)
    assert second.plan == plan(1)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET actor = 'eve'",
        "DELETE FROM ledger",
        "INSERT OR REPLACE INTO ledger SELECT id, at, use_case, 'eve', action, release_id, reason, details, plan FROM ledger",
        "UPDATE OR REPLACE ledger SET id = 2 WHERE id = 1",
    ],
)
def test_no_row_can_be_changed_or_removed(ledger: Ledger, tmp_path: Path, statement: str) -> None:
    rows = [ledger.append("shop", act(), "note"), ledger.append("shop", act(), "note")]
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    assert ledger.rows() == rows[::-1]


def test_a_plan_follows_the_one_before_it(ledger: Ledger) -> None:
    assert ledger.plan("shop") is None
    ledger.set_plan(plan(1), act(), "start")
    for wrong in (plan(1), plan(3), plan(0)):
        with pytest.raises(StepRefused, match="does not follow plan 1 of shop"):
            ledger.set_plan(wrong, act(), "champion")
    with pytest.raises(StepRefused, match="at version 1 now, you looked at 0"):
        ledger.set_plan(plan(2), act(expected_version=0), "champion")
    ledger.set_plan(plan(2, "r-b"), act(expected_version=1), "champion")
    assert ledger.plan("shop") == plan(2, "r-b")
    assert len(ledger.rows("shop")) == 2


def test_a_plan_of_another_use_case_is_refused(ledger: Ledger) -> None:
    with pytest.raises(StepRefused, match="does not follow"), ledger.step("other") as step:
        step.append(act(), "start", "r-a", plan(1))


def test_a_plan_that_does_not_add_up_cannot_be_made() -> None:
    with pytest.raises(DefinitionError, match="must sum to 1"):
        TrafficPlan("shop", 1, 0.1, (Arm("champion", "r-a", 0.5),), salt="s", control_salt="c")


def test_what_a_failed_step_did_is_undone(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError), ledger.step("shop") as step:
        step.set_stage("r-a", "candidate", step.append(act(), "start", "r-a", plan(1)), "digest")
        raise RuntimeError
    assert ledger.rows() == []
    assert ledger.plan("shop") is None
    assert ledger.releases("shop") == []


def test_what_was_live_at_a_moment(ledger: Ledger) -> None:
    for version, (at, release_id) in enumerate([(10, "r-a"), (20, "r-b"), (20, "r-c"), (30, "r-a")], start=1):
        ledger.set_plan(plan(version, release_id), act(at), "champion")
    ledger.append("shop", act(40), "note")
    live = {at: found.champion.release_id if (found := ledger.live_at("shop", at)) else None for at in (9, 10, 19, 20, 29, 30, 99)}
    assert live == {9: None, 10: "r-a", 19: "r-a", 20: "r-c", 29: "r-c", 30: "r-a", 99: "r-a"}
    assert ledger.live_at("other", 99) is None


def test_time_never_runs_backwards(ledger: Ledger) -> None:
    rows = [ledger.set_plan(plan(version), act(at), "champion") for version, at in enumerate([10, 5, 12], start=1)]
    assert [row.at for row in rows] == [10, 10, 12]


def test_unknown_releases_are_named(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="release `r-x` is not known"):
        ledger.stage_of("r-x")


def test_one_of_many_operators_at_once_wins(tmp_path: Path) -> None:
    ledgers = [Ledger(tmp_path / "ledger.sqlite") for _ in range(4)]
    ledgers[0].set_plan(plan(1), act(), "start")

    def change(number: int) -> bool:
        try:
            ledgers[number % 4].set_plan(plan(2, f"r-{number}"), act(expected_version=1), "champion")
        except StepRefused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(change, range(16))) == 1
    assert [row.plan.version for row in ledgers[1].rows() if row.plan] == [2, 1]
    for ledger in ledgers:
        ledger.close()


def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: Ledger(tmp_path / "ledger.sqlite"), range(8)))
        rows = list(pool.map(lambda ledger: ledger.append("shop", act(), "note").id, opened * 4))
    assert sorted(rows) == list(range(1, 33))
    for ledger in opened:
        ledger.close()


WRITER = """
import sys
from pathlib import Path
from contracts.traffic import Arm, TrafficPlan
from releases.ledger import Act, Ledger
ledger = Ledger(Path(sys.argv[1]))
while True:
    now = ledger.plan("shop")
    version = now.version + 1 if now else 1
    arms = (Arm("champion", f"r-{version}", 1.0),)
    ledger.set_plan(TrafficPlan("shop", version, 0.1, arms, "s", "c"), Act("writer", version, "on and on"), "champion", f"r-{version}")
    print(version, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    acknowledged = 0
    for stop in (1, 3, 10, 17, 40):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                acknowledged = int(line)
                if acknowledged >= stop:
                    os.kill(process.pid, signal.SIGKILL)
                    break
            acknowledged = max([acknowledged, *map(int, process.stdout)])
        ledger = Ledger(path)
        now = ledger.plan("shop")
        assert now is not None
        assert now.version in (acknowledged, acknowledged + 1)
        assert [row.plan.version for row in ledger.rows(limit=10_000) if row.plan] == list(range(now.version, 0, -1))
        assert ledger.rows(limit=1)[0].plan == now
        ledger.close()


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StateRefused, match="has format 99"):
        Ledger(path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(StateRefused, match="is damaged"):
        Ledger(tmp_path / "ledger.sqlite")


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open"):
        Ledger(tmp_path / "nowhere" / "ledger.sqlite")


def test_who_can_do_without_a_locked_file_is_not_made_to_wait_at_each_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.sqlite"
    Database(path).close()
    for name, seconds in (("LATER_S", 0.05), ("AGAIN_S", 3_600.0)):
        monkeypatch.setattr(database, name, seconds)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        patient = Database(path, later=True)
    # why: it could be opened now, so that only who does not try is refused
    with pytest.raises(StoreUnavailable, match="locked"), patient.read():
        pass
    patient._again_s = 0.0
    with patient.read() as connection:
        assert connection.execute("SELECT count(*) FROM ledger").fetchone() == (0,)
    patient.close()


def test_a_closed_or_full_file_takes_nothing(tmp_path: Path) -> None:
    opened = Database(tmp_path / "ledger.sqlite")
    with opened.write() as connection:
        connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreUnavailable, match="full"), opened.write() as connection:
        connection.execute("INSERT INTO seen_hooks VALUES (?, 0)", ("x" * 100_000,))
    opened.close()
    with pytest.raises(StoreUnavailable, match="closed"), opened.read():
        pass


def test_a_text_that_is_no_unicode_is_refused(ledger: Ledger) -> None:
    with pytest.raises(InvalidInput, match="Unicode"):
        ledger.plan("shop\udcff")
    with pytest.raises(InvalidInput, match="Unicode"), ledger.denying("shop\udcff", Act("ada", 1, "r"), "be promoted", None):
        raise StepRefused("r-1", "be promoted", "of a test")
