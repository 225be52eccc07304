import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from contracts.errors import BundleRefused, StepRefused
from flows.place import Place
from flows.promotion import allowed, conclude_experiment, enter_shadow, take_on
from flows.train import refused_before
from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act
from releases.stages import register, reject, to_challenger, to_shadow
from serving.catching_up import WAITING
from tests.flows.conftest import USE_CASE
from training.comparison import Conclusion
from training.train import start_parts
from use_cases.definition import load

ACT = Act("test", 10**16, "because")


def candidate(place: Place, revision: str) -> str:
    release_id = write_bundle(place.layout.bundles, start_parts(load(USE_CASE), {"revision": revision}), place.layout.secrets)
    with place.ledger() as ledger:
        register(ledger, USE_CASE, release_id, read_bundle(place.layout.bundles, release_id).digest, ACT)
    return release_id


def shadowed(place: Place, revision: str) -> str:
    release_id = candidate(place, revision)
    with place.ledger() as ledger:
        to_shadow(ledger, USE_CASE, release_id, ACT)
    return release_id


@pytest.mark.parametrize(
    ("asked", "proven", "step"),
    [
        ("champion", "champion", "champion"),
        ("champion", "challenger", "challenger"),
        ("challenger", "champion", "challenger"),
        ("shadow", "champion", "shadow"),
        ("champion", "refused", "refused"),
    ],
)
def test_the_lesser_of_what_is_asked_and_what_is_proven(asked: str, proven: str, step: str) -> None:
    assert allowed(asked, proven) == step  # type: ignore[arg-type]  # why: the table is of plain text


def test_a_release_enters_the_shadow_also_while_nothing_answers(place: Place) -> None:
    release_id = candidate(place, "one")
    with place.ledger() as ledger:
        assert enter_shadow(place, ledger, USE_CASE, release_id, ACT).shadow == release_id


def test_a_release_becomes_champion_and_nothing_changes_when_it_is_said_again(place: Place) -> None:
    release_id = shadowed(place, "one")
    with place.ledger() as ledger:
        assert take_on(ledger, USE_CASE, release_id, "champion", 0.5, ACT).stage == "champion"
        before = ledger.plan(USE_CASE)
        assert take_on(ledger, USE_CASE, release_id, "champion", 0.5, ACT).stage == "champion"
        assert ledger.plan(USE_CASE) == before
    assert before is not None and before.champion.release_id == release_id


def test_a_second_release_waits_in_the_shadow_while_another_is_compared(place: Place) -> None:
    one = shadowed(place, "one")
    with place.ledger() as ledger:
        assert take_on(ledger, USE_CASE, one, "challenger", 0.3, ACT).stage == "challenger"
    two = shadowed(place, "two")
    with place.ledger() as ledger:
        outcome = take_on(ledger, USE_CASE, two, "champion", 0.5, ACT)
        plan = ledger.plan(USE_CASE)
    assert outcome.stage == "shadow" and one in outcome.reason
    assert plan is not None and plan.shadow == two and [arm.release_id for arm in plan.arms[1:]] == [one]


@pytest.mark.parametrize(("step", "stage"), [("promote", "champion"), ("refuse", "refused"), ("retire", "retired"), ("wait", "challenger")])
def test_a_comparison_is_ended_as_it_was_concluded(place: Place, step: str, stage: str) -> None:
    release_id = shadowed(place, "one")
    with place.ledger() as ledger:
        take_on(ledger, USE_CASE, release_id, "challenger", 0.3, ACT)
        conclusion = Conclusion(release_id, step, "it earned what it earned", None)  # type: ignore[arg-type]  # why: the table is of plain text
        conclude_experiment(ledger, USE_CASE, conclusion, ACT)
        assert ledger.stage_of(release_id) == stage


def test_one_of_several_is_promoted_and_the_others_may_come_again(place: Place) -> None:
    one, two = shadowed(place, "one"), shadowed(place, "two")
    with place.ledger() as ledger:
        to_shadow(ledger, USE_CASE, one, ACT)
        to_challenger(ledger, USE_CASE, one, 0.3, ACT)
        to_shadow(ledger, USE_CASE, two, ACT)
        to_challenger(ledger, USE_CASE, two, 0.3, ACT, arm="challenger_b")
        plan = ledger.plan(USE_CASE)
        assert plan is not None and len(plan.arms) == 3
        looked = Act("test", 10**16, "clear", plan.version)
        more = Conclusion(two, "promote", "it earned more", None)
        # one that may not be promoted ends nothing: neither under another plan, nor from another stage
        for refused, acting in ((more, replace(looked, expected_version=plan.version - 1)), (replace(more, release_id="r-9"), looked)):
            with pytest.raises(StepRefused):
                conclude_experiment(ledger, USE_CASE, refused, acting)
            assert ledger.plan(USE_CASE) == plan
            assert (ledger.stage_of(one), ledger.stage_of(two)) == ("challenger", "challenger")
            assert ledger.rows(USE_CASE, limit=1)[0].action == "denied"
        conclude_experiment(ledger, USE_CASE, more, looked)
        after = ledger.plan(USE_CASE)
        assert after is not None and after.version == plan.version + 1 and len(after.arms) == 1
        assert (ledger.stage_of(one), ledger.stage_of(two)) == ("retired", "champion")
        assert any("compared at the same time" in row.reason for row in ledger.rows(USE_CASE))


def test_a_release_that_was_refused_is_so_when_it_is_made_again(place: Place) -> None:
    release_id = shadowed(place, "one")
    assert refused_before(place, USE_CASE, release_id) is None
    with place.ledger() as ledger:
        reject(ledger, USE_CASE, release_id, Act("flow guard", 10**16, "stopped as canary at 5%: failed 20%"))
    again = refused_before(place, USE_CASE, release_id)
    assert again is not None and again.stage == "refused"
    assert "flow guard refused it: stopped as canary at 5%" in again.reason


@contextmanager
def answering(place: Place, *statuses: dict[str, object]) -> Iterator[tuple[Place, list[str]]]:
    """A decision API that says one status after the other of the use case, the last for ever; what it was asked."""
    asked: list[str] = []

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            status = {"use_case": USE_CASE, "plan_version": 1, "refused": {}} | statuses[min(len(asked), len(statuses)) - 1]
            self.wfile.write(msgspec.json.encode({"use_cases": [status]}))

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            ports = msgspec.structs.replace(place.settings.ports, api=server.server_port)
            yield replace(place, settings=msgspec.structs.replace(place.settings, ports=ports)), asked
        finally:
            server.shutdown()
            thread.join()


def test_a_release_that_serving_refuses_is_rejected(place: Place) -> None:
    release_id = candidate(place, "one")
    with answering(place, {"refused": {release_id: "its model.txt is not what it was"}}) as (here, _), here.ledger() as ledger:
        with pytest.raises(BundleRefused, match="not what it was"):
            enter_shadow(here, ledger, USE_CASE, release_id, ACT)
        assert ledger.stage_of(release_id) == "refused"


def test_a_release_that_waits_for_its_features_is_waited_for(place: Place) -> None:
    release_id = candidate(place, "one")
    waits: dict[str, object] = {"refused": {release_id: WAITING}}
    with answering(place, waits, waits, {"plan_version": 2}) as (here, asked), here.ledger() as ledger:
        assert enter_shadow(here, ledger, USE_CASE, release_id, ACT).shadow == release_id
        assert (len(asked), ledger.stage_of(release_id)) == (3, "shadow")


def test_a_release_that_waits_for_its_features_for_long_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("flows.promotion.SEEN_S", 0.3)
    release_id = candidate(place, "one")
    with answering(place, {"refused": {release_id: WAITING}, "plan_version": 2}) as (here, _), here.ledger() as ledger:
        enter_shadow(here, ledger, USE_CASE, release_id, ACT)
        assert ledger.stage_of(release_id) == "shadow"
    assert f"{release_id} is catching up: it waits until its features are made" in capsys.readouterr().out
