import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from contracts.clock import DAY_US, HOUR_US
from contracts.errors import InvalidInput, NotFound, SignatureRefused, StepRefused
from releases.inbox import MAX_ATTEMPTS, Inbox, InboxRow
from releases.signature import SignedHook

ROOT = Path(__file__).parents[2]


def trigger(inbox: Inbox, key: str, at: int = 0, name: str = "train", cooldown_us: int = 0) -> InboxRow:
    return inbox.trigger(name, "schedule", key, {"use_case": "shop"}, at, cooldown_us)


def test_a_row_ends_as_a_run(inbox: Inbox) -> None:
    row = trigger(inbox, "k1", at=7)
    assert (row.name, row.source, row.payload, row.at, row.status) == ("train", "schedule", {"use_case": "shop"}, 7, "waiting")
    claimed = inbox.claim("d1", now_s=100.0, lease_s=30.0, at=8)
    assert claimed is not None
    assert (claimed.id, claimed.status, claimed.claimed_by, claimed.lease_until, claimed.attempts) == (row.id, "claimed", "d1", 130.0, 1)
    assert inbox.unfinished() == [claimed]
    ended = inbox.finish(row.id, "d1", "run-1", at=9)
    assert (ended.status, ended.run_id, ended.reason, ended.ended_at, ended.lease_until) == ("run", "run-1", "", 9, None)
    assert inbox.unfinished() == []
    assert inbox.claim("d1", 1_000.0, 30.0, at=9) is None
    assert inbox.row(row.id) == ended


def test_or_as_a_stated_reason(inbox: Inbox) -> None:
    row = trigger(inbox, "k1")
    inbox.claim("d1", 0.0, 30.0, at=0)
    ended = inbox.fail(row.id, "d1", "no deployment of that name", at=3)
    assert (ended.status, ended.reason, ended.run_id, ended.ended_at) == ("failed", "no deployment of that name", None, 3)


def test_the_same_key_is_one_row(inbox: Inbox) -> None:
    first = trigger(inbox, "k1", at=1)
    again = trigger(inbox, "k1", at=99)
    assert (again.id, again.at, again.repeats) == (first.id, 1, 1)
    assert trigger(inbox, "k2").id != first.id
    assert trigger(inbox, "k1", name="monitor").id != first.id
    assert [row.dedupe_key for row in inbox.rows(name="train")] == ["k2", "k1"]
    assert len(inbox.rows()) == 3


def test_the_same_key_from_many_threads_is_one_row(tmp_path: Path) -> None:
    inboxes = [Inbox(tmp_path / "ledger.sqlite") for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda number: trigger(inboxes[number % 4], f"k{number % 3}"), range(48)))
    assert len({row.id for row in rows}) == 3
    assert sum(row.repeats for row in inboxes[0].rows()) == 45
    for inbox in inboxes:
        inbox.close()


def test_a_cool_down_skips_with_its_reason(inbox: Inbox) -> None:
    first = trigger(inbox, "k1", at=DAY_US, cooldown_us=HOUR_US)
    skipped = trigger(inbox, "k2", at=DAY_US + HOUR_US - 1, cooldown_us=HOUR_US)
    assert (skipped.status, skipped.ended_at) == ("skipped", DAY_US + HOUR_US - 1)
    assert skipped.reason == f"cool-down until 1970-01-02T01:00:00+00:00 after inbox row {first.id}"
    assert trigger(inbox, "k3", at=DAY_US + HOUR_US, cooldown_us=HOUR_US).status == "waiting"
    assert trigger(inbox, "k4", at=DAY_US + 1, name="monitor", cooldown_us=HOUR_US).status == "waiting"
    assert trigger(inbox, "k5", at=DAY_US + HOUR_US + 1).status == "waiting"


def test_the_oldest_row_is_claimed_first_and_once(tmp_path: Path) -> None:
    inboxes = [Inbox(tmp_path / "ledger.sqlite") for _ in range(4)]
    ids = [trigger(inboxes[0], f"k{number}").id for number in range(20)]
    first = inboxes[0].claim("d", 0.0, 30.0, at=0)
    assert first is not None
    assert first.id == ids[0]

    def claim(number: int) -> int | None:
        row = inboxes[number % 4].claim(f"d{number}", 0.0, 30.0, at=0)
        return row.id if row else None

    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(claim, range(30)))
    assert sorted(found for found in claimed if found is not None) == ids[1:]
    for inbox in inboxes:
        inbox.close()


def test_a_claim_returns_when_its_lease_runs_out(inbox: Inbox) -> None:
    row = trigger(inbox, "k1")
    inbox.claim("d1", now_s=100.0, lease_s=30.0, at=0)
    assert inbox.claim("d2", now_s=129.9, lease_s=30.0, at=0) is None
    taken = inbox.claim("d2", now_s=130.0, lease_s=30.0, at=0)
    assert taken is not None
    assert (taken.id, taken.claimed_by, taken.attempts) == (row.id, "d2", 2)
    with pytest.raises(StepRefused, match="it is claimed, held by d2"):
        inbox.finish(row.id, "d1", "run-1", at=1)
    with pytest.raises(StepRefused, match="it is claimed, held by d2"):
        inbox.give_back(row.id, "d1")
    assert inbox.finish(row.id, "d2", "run-2", at=1).run_id == "run-2"


def test_a_late_dispatcher_whose_claim_nobody_took_may_still_end_it(inbox: Inbox) -> None:
    row = trigger(inbox, "k1")
    inbox.claim("d1", now_s=100.0, lease_s=30.0, at=0)
    assert inbox.finish(row.id, "d1", "run-1", at=1).status == "run"


def test_saying_the_same_end_twice_is_no_error(inbox: Inbox) -> None:
    row = trigger(inbox, "k1")
    inbox.claim("d1", 0.0, 30.0, at=0)
    ended = inbox.finish(row.id, "d1", "run-1", at=1)
    assert inbox.finish(row.id, "d1", "run-1", at=2) == ended
    with pytest.raises(StepRefused):
        inbox.finish(row.id, "d1", "run-2", at=2)
    with pytest.raises(StepRefused):
        inbox.fail(row.id, "d1", "changed my mind", at=2)
    with pytest.raises(StepRefused):
        inbox.give_back(row.id, "d1")


def test_a_row_that_kills_its_dispatchers_fails_in_the_end(inbox: Inbox) -> None:
    row = trigger(inbox, "k1")
    for attempt in range(MAX_ATTEMPTS):
        claimed = inbox.claim(f"d{attempt}", now_s=attempt * 30.0, lease_s=30.0, at=0)
        assert claimed is not None
    assert inbox.claim("d9", now_s=MAX_ATTEMPTS * 30.0, lease_s=30.0, at=5) is None
    ended = inbox.row(row.id)
    assert (ended.status, ended.ended_at) == ("failed", 5)
    assert "claimed 5 times" in ended.reason


def test_what_is_given_back_waits_on_however_often(inbox: Inbox) -> None:
    row = trigger(inbox, "k1")
    for _ in range(3 * MAX_ATTEMPTS):
        assert inbox.claim("d1", 0.0, 30.0, at=0) is not None
        waiting = inbox.give_back(row.id, "d1")
        assert (waiting.status, waiting.attempts, waiting.claimed_by) == ("waiting", 0, None)


DISPATCHER = """
import sys, time
from pathlib import Path
from releases.inbox import Inbox
row = Inbox(Path(sys.argv[1])).claim("doomed", now_s=100.0, lease_s=30.0, at=0)
print(row.id, flush=True)
time.sleep(600)
"""


def test_the_claim_of_a_killed_dispatcher_returns(inbox: Inbox, tmp_path: Path) -> None:
    row = trigger(inbox, "k1")
    command = [sys.executable, "-c", DISPATCHER, str(tmp_path / "ledger.sqlite")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == row.id
        os.kill(process.pid, signal.SIGKILL)
    assert inbox.claim("next", now_s=110.0, lease_s=30.0, at=0) is None
    taken = inbox.claim("next", now_s=131.0, lease_s=30.0, at=0)
    assert taken is not None
    assert taken.id == row.id


CALLS: list[Callable[[Inbox], object]] = [
    lambda inbox: inbox.row(7),
    lambda inbox: inbox.finish(7, "d", "r", 0),
    lambda inbox: inbox.fail(7, "d", "because", 0),
    lambda inbox: inbox.give_back(7, "d"),
]


def test_rows_are_counted_by_status(inbox: Inbox) -> None:
    for key in ("k1", "k2", "k3"):
        trigger(inbox, key, at=1)
    trigger(inbox, "k4", at=2, cooldown_us=HOUR_US)
    claimed = inbox.claim("d1", 0.0, 30.0, at=2)
    assert claimed is not None
    inbox.finish(claimed.id, "d1", "run-1", at=3)
    inbox.claim("d1", 0.0, 30.0, at=2)
    assert inbox.counts() == {"waiting": 1, "claimed": 1, "run": 1, "skipped": 1, "failed": 0}


@pytest.mark.parametrize("call", CALLS)
def test_a_row_that_is_not_there_is_named(inbox: Inbox, call: Callable[[Inbox], object]) -> None:
    with pytest.raises(NotFound, match="inbox row `7`"):
        call(inbox)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"dedupe_key": ""}, "dedupe_key"),
        ({"dedupe_key": "a\0b"}, "dedupe_key"),
        ({"dedupe_key": "\ud800"}, "dedupe_key"),
        ({"payload": {"x": "y" * 70_000}}, "payload"),
        ({"payload": {"x": object()}}, "payload"),
        ({"payload": {"x": "\ud800"}}, "payload"),
    ],
)
def test_what_cannot_be_kept_is_refused(inbox: Inbox, change: dict[str, Any], field: str) -> None:
    arguments: dict[str, Any] = {"name": "train", "source": "webhook", "dedupe_key": "k", "payload": {}, "at": 0}
    with pytest.raises(InvalidInput) as caught:
        inbox.trigger(**arguments | change)
    assert caught.value.field == field
    assert inbox.rows() == []


def test_a_replayed_hook_is_refused_also_after_a_restart(inbox: Inbox, tmp_path: Path) -> None:
    row = inbox.trigger_hook(SignedHook("msg_1", 1_000), "train", {"a": 1}, at=5, now_s=1_000.5)
    assert (row.source, row.dedupe_key, row.payload, row.at) == ("webhook", "msg_1", {"a": 1}, 5)
    restarted = Inbox(tmp_path / "ledger.sqlite")
    for opened in (inbox, restarted):
        for name in ("train", "monitor"):
            with pytest.raises(SignatureRefused, match="`msg_1` was seen before"):
                opened.trigger_hook(SignedHook("msg_1", 1_000), name, {"a": 1}, at=6, now_s=1_300.0)
    restarted.close()
    assert inbox.rows() == [row]


def test_an_id_is_remembered_for_as_long_as_it_could_be_replayed(inbox: Inbox) -> None:
    inbox.trigger_hook(SignedHook("early", 1_300), "train", {}, at=0, now_s=1_000.0)
    inbox.trigger_hook(SignedHook("other", 1_600), "train", {}, at=0, now_s=1_600.0)
    with pytest.raises(SignatureRefused):
        inbox.trigger_hook(SignedHook("early", 1_300), "train", {}, at=0, now_s=1_600.0)


def test_a_hook_cools_down_too(inbox: Inbox) -> None:
    inbox.trigger_hook(SignedHook("msg_1", 0), "train", {}, at=1, now_s=0.0)
    row = inbox.trigger_hook(SignedHook("msg_2", 0), "train", {}, at=2, now_s=0.0, cooldown_us=HOUR_US)
    assert row.status == "skipped"


def test_a_hook_that_cannot_be_kept_is_not_remembered(inbox: Inbox) -> None:
    with pytest.raises(InvalidInput):
        inbox.trigger_hook(SignedHook("msg_1", 0), "train", {"x": "y" * 70_000}, at=0, now_s=0.0)
    assert inbox.trigger_hook(SignedHook("msg_1", 0), "train", {}, at=0, now_s=0.0).status == "waiting"
