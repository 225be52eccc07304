"""Commands that read, and the few that change a line: releases, rollback, why, explain, features, keys, hook, status, down."""

import json
from pathlib import Path

import msgspec
import pytest

from contracts.errors import Unauthorized
from contracts.records import CandidateProbability
from contracts.settings import Settings
from decisions.record import DECISION, stored_decision
from releases.inbox import Inbox
from releases.ledger import Act, Ledger
from releases.signature import PREFIX
from serving.keys import Scope, read_keys
from serving.service import DecisionService
from storage.journal import Journal
from storage.layout import Layout
from storage.rollouts import CanaryMeasure, RolloutMeasure, write_rollouts
from storage.transaction import Write
from tests.cli.conftest import USE_CASE, Run


def first_release(layout: Layout) -> str:
    ledger = Ledger(layout.ledger)
    plan = ledger.plan(USE_CASE)
    ledger.close()
    assert plan is not None
    return plan.champion.release_id


def test_releases_say_where_each_stands(run: Run, layout: Layout) -> None:
    release_id = first_release(layout)
    said = run("releases").out
    assert release_id in said and "champion" in said and "constant" in said
    (row,) = json.loads(run("releases", USE_CASE, "--json").out)
    assert (row["release_id"], row["stage"]) == (release_id, "champion")
    (layout.bundles / release_id / "policy.json").chmod(0o644)
    (layout.bundles / release_id / "policy.json").write_text("{}")
    assert "damaged" in run("releases").out


def test_a_rollback_without_an_earlier_champion_is_refused_in_words(run: Run, layout: Layout) -> None:
    ran = run("rollback", USE_CASE)
    assert ran.code == 2 and "no champion came before it" in ran.err


def test_what_is_withheld_is_shown_to_nobody_until_it_is_restored(run: Run, layout: Layout) -> None:
    assert f"{USE_CASE} withholds mens (plan 2)" in run("withhold", USE_CASE, "mens", "--reason", "sold out").out
    assert json.loads(run("why", "--json").out)["ledger"][0]["reason"] == "sold out"
    assert f"{USE_CASE} withholds mens" in run("status").out
    with DecisionService(Settings(state=str(layout.root), use_cases=(USE_CASE,))) as service:
        decision = service.decide(USE_CASE, "e-1", decision_id="d-2")
    assert [candidate.candidate_id for candidate in decision.candidates] == ["womens", "none"]
    assert json.loads(run("explain", "d-2", "--json").out)["excluded"] == {"mens": ["withheld by the traffic plan"]}
    assert "withheld by the traffic plan" in run("explain", "d-2").out

    assert f"{USE_CASE} withholds nothing (plan 3)" in run("withhold", USE_CASE, "mens", "--restore").out
    assert "candidate `men` is not known. Known: mens, womens, none." in run("withhold", USE_CASE, "men").err


def test_a_rollback_is_in_the_ledger_with_its_reason(run: Run, layout: Layout) -> None:
    from contracts.settings import Settings
    from releases.bundle import read_bundle, write_bundle
    from releases.stages import register, to_champion, to_shadow
    from training.train import start_parts
    from use_cases.definition import load

    before = first_release(layout)
    release_id = write_bundle(layout.bundles, start_parts(load(USE_CASE), {"revision": "another"}), layout.secrets)
    ledger, act = Ledger(layout.ledger), Act("someone", 10**16, "better")
    register(ledger, USE_CASE, release_id, read_bundle(layout.bundles, release_id).digest, act)
    to_shadow(ledger, USE_CASE, release_id, act)
    to_champion(ledger, USE_CASE, release_id, act)
    ledger.close()
    assert Settings().state
    assert f"{before} answers {USE_CASE} again" in run("rollback", USE_CASE, "--reason", "it lost money").out
    rows = json.loads(run("why", "--json").out)["ledger"]
    assert (rows[0]["action"], rows[0]["release_id"], rows[0]["reason"]) == ("rollback", before, "it lost money")


def test_why_shows_ledger_and_inbox(run: Run, layout: Layout) -> None:
    inbox = Inbox(layout.ledger)
    inbox.trigger("train", "drift", "key-1", {"use_case": USE_CASE}, 10**15)
    inbox.close()
    said = run("why", USE_CASE).out
    assert "nothing is learned yet" in said and "drift" in said and "waiting" in said
    assert [row["source"] for row in json.loads(run("why", "--json").out)["inbox"]] == ["drift"]


def test_a_decision_is_computed_again_to_the_last_bit(run: Run, layout: Layout) -> None:
    ran = run("explain", "d-1")
    assert ran.code == 0 and "equal to the last bit" in ran.out and "recency" in ran.out
    found = json.loads(run("explain", "d-1", "--json").out)
    assert found["exact"] and found["propensity"] == found["decision"]["propensity"]
    assert run("explain", "d-2").err == "Error: decision `d-2` is not known.\n"
    assert run("explain", "../d-1").err == "Error: decision `../d-1` is not known.\n"


def test_a_log_row_that_says_otherwise_is_told(run: Run, layout: Layout) -> None:
    def falsify(write: Write) -> None:
        decision = stored_decision(write, USE_CASE, "d-1")
        assert decision is not None
        shifted = tuple(CandidateProbability(one.candidate_id, one.p_in_arm, one.score + 1e-9) for one in decision.candidates)
        write.put_id(DECISION, USE_CASE, "d-1", msgspec.msgpack.encode(msgspec.structs.replace(decision, candidates=shifted)))

    journal = Journal(layout.journal, 2**26)
    journal.write(falsify)
    journal.close()
    ran = run("explain", "d-1")
    assert ran.code == 1 and "Differs: score of" in ran.out


def test_keys_are_made_listed_and_dropped(run: Run, layout: Layout) -> None:
    made = run("keys", "make", "game", "--scope", "decide").out.strip()
    assert read_keys(layout).check(f"Bearer {made}", Scope.DECIDE) == "game"
    assert "game" in run("keys", "list").out
    listed = next(key for key in json.loads(run("keys", "list", "--json").out) if key["name"] == "game")
    assert (listed["scopes"], listed["ends"], listed["expires_at_s"]) == (["decide"], made[-4:], None)
    assert run("keys", "drop", "game").code == 0
    assert run("keys", "drop", "game").err == "Error: key `game` is not known.\n"
    owner = run("keys", "show").out.strip()
    assert read_keys(layout).check(f"Bearer {owner}", Scope.READ) == "owner"


def test_what_is_done_about_keys_stands_in_the_ledger(run: Run, layout: Layout) -> None:
    first = run("keys", "make", "label", "--scope", "label", "--expires", "90d", "--reason", "for the desk").out.strip()
    second = run("keys", "rotate", "label", "--keep-for", "24h").out.strip()
    for key in (first, second):
        assert read_keys(layout).check(f"Bearer {key}", Scope.LABEL) == "label"
    assert run("keys", "rotate", "label").code == 0
    with pytest.raises(Unauthorized):
        read_keys(layout).check(f"Bearer {second}", Scope.LABEL)
    assert run("keys", "drop", "label").code == 0
    assert run("keys", "rotate", "label").err == "Error: key `label` is not known.\n"
    rows = json.loads(run("ledger", "--json", "--limit", "4").out)
    assert [row["action"] for row in rows] == ["drop-key", "rotate-key", "rotate-key", "make-key"]
    assert {row["use_case"] for row in rows} == {"*"} and all(row["details"] == {"key": "label"} for row in rows)
    assert "may label, until" in rows[-1]["reason"] and "for the desk" in rows[-1]["reason"]
    assert first not in json.dumps(rows) and second not in json.dumps(rows)


def test_the_secret_of_webhooks_is_printed(run: Run, layout: Layout) -> None:
    assert run("hook", "secret").out.startswith(PREFIX)


@pytest.mark.usefixtures("layout")
def test_status_of_what_does_not_run(run: Run) -> None:
    ran = run("status")
    assert ran.code == 1 and "is not running" in ran.out and "champion" in ran.out
    found = json.loads(run("status", "--json").out)
    assert found["ready"] is False and found["plans"][USE_CASE]["version"] == 1


def test_a_use_case_without_a_release_is_shown_as_such(run: Run, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFERLOOP_USE_CASES", "game_promotion")
    assert "no release yet" in run("status").out


def test_status_says_how_far_a_roll_out_is(run: Run, layout: Layout) -> None:
    canary = CanaryMeasure("r-2", 0.05, 1, 2, 0, 10**15, 30, 40, 1, 0, ())
    write_rollouts(layout, {USE_CASE: RolloutMeasure(canary, ("r-3",))})
    said = run("status").out
    assert "r-2 is canary at 5%, step 1 of 2: 30 of at least 40 decisions, until 2001-09-09 01:46" in said
    assert f"{USE_CASE}: r-3 waits for a sign-off" in said


@pytest.mark.usefixtures("layout")
def test_down_of_what_does_not_run(run: Run) -> None:
    assert run("down").out == "nothing ran\n"


def test_a_training_needs_an_installation_that_was_started(run: Run, layout: Layout) -> None:
    assert "was never started" in run("train", USE_CASE).err


def test_events_of_another_system_are_taken_in(run: Run, layout: Layout, tmp_path: Path) -> None:
    row = "row-1,e-1,customer,2025-01-01T00:00:00Z,3,100,true,false,Urban,false,Web"
    header = "event_id,entity_id,type,event_time,recency_months,history_cents,bought_mens,bought_womens,zip_code,newbie,channel"
    (tmp_path / "rows.csv").write_text(f"{header}\n{row}\n")
    ran = run("import", "events", USE_CASE, "rows.csv", "--lag", "5m")
    assert ran.out == "1 events of 1 entities, 1 of them new, from 2025-01-01 00:00:00 to 2025-01-01 00:00:00 UTC\n"
    assert json.loads(run("import", "events", USE_CASE, "rows.csv", "--lag", "5m", "--json").out)["new"] == 0
    assert "declare the source's lag" in run("import", "events", USE_CASE, "rows.csv").err
    assert "90s, 5m, 2h or 7d" in run("import", "events", USE_CASE, "rows.csv", "--lag", "soon").err


def test_decisions_of_another_system_are_taken_in(run: Run, layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("decision_id,entity_id,action,propensity,reward\nd-7,e-7,mens,0.5,100\n")
    assert run("import", "decisions", USE_CASE, "log.csv").out == "1 rows, 1 of them new, 1 with a reward, 100 earned in all\n"
    assert json.loads(run("import", "decisions", USE_CASE, "log.csv", "--json").out)["new"] == 0
