from collections.abc import Callable

from starlette.testclient import TestClient

from contracts.clock import to_datetime
from releases.ledger import Act
from releases.stages import reject, retire, to_shadow, withhold
from serving.console.desk import Office

from .conftest import HOSTILE, Place, hidden, send, sign_in

Make = Callable[[], TestClient]
OF = "/console/use-cases/shop"


def test_an_approver_signs_off_what_the_page_showed(place: Place, ada: TestClient, office: Office) -> None:
    path = f"{OF}/sign-off/{place.shadow}"
    answer = send(ada, path, comment=f"Looked at both. {HOSTILE}", verdict="approve")
    assert answer.status_code == 303
    after = ada.get(answer.headers["location"])
    assert "You signed" in after.text and "by ada" in after.text
    row = office.ledger.rows("shop", limit=1, action="approve")[0]
    assert (row.actor, row.release_id) == ("ada", place.shadow)
    assert [one.name for one in office.inbox.rows(limit=5)] == ["rollout"]
    assert "You signed" not in ada.get(path).text


def test_what_changed_since_the_page_was_opened_refuses_the_approval_and_says_so(place: Place, ada: TestClient, office: Office) -> None:
    path = f"{OF}/sign-off/{place.shadow}"
    opened = hidden(ada.get(path).text)
    send(ada, f"{OF}/rollback?to=previous", reason="go back first")
    answer = ada.post(path, data=opened | {"comment": "looked at it", "verdict": "approve"})
    assert answer.status_code == 409
    assert "the champion that it is compared with" in answer.text and "looked at it" in answer.text
    assert office.ledger.rows("shop", limit=5, action="approve") == []
    assert office.ledger.rows("shop", limit=1)[0].action == "denied"


def test_an_approval_is_of_the_traffic_plan_that_the_page_showed(place: Place, ada: TestClient, office: Office) -> None:
    path = f"{OF}/sign-off/{place.shadow}"
    opened = hidden(ada.get(path).text)
    withhold(office.ledger, "shop", ["gems"], Act("bob", office.clock.now_us(), "sold out"))
    answer = ada.post(path, data=opened | {"comment": "gems for newcomers", "verdict": "approve"})
    assert answer.status_code == 409
    assert "gems for newcomers" in answer.text
    assert office.ledger.rows("shop", limit=5, action="approve") == []
    assert office.ledger.rows("shop", limit=1)[0].action == "denied"


def test_an_approval_is_shown_as_void_once_the_champion_is_another(place: Place, ada: TestClient) -> None:
    send(ada, f"{OF}/sign-off/{place.shadow}", comment="fine", verdict="approve")
    send(ada, f"{OF}/rollback?to=previous", reason="go back")
    assert "This is void" in ada.get(f"{OF}/sign-off/{place.shadow}").text
    refused = send(ada, f"{OF}/promote/{place.shadow}", reason="go on")
    assert refused.status_code == 409 and "void" in refused.text


def test_who_is_no_approver_is_told_why_there_is_no_button(place: Place, browser_of: Make, office: Office) -> None:
    bob = sign_in(browser_of(), place.key("bob"))
    page = bob.get(f"{OF}/sign-off/{place.shadow}")
    assert "You are bob; ada or grace may sign it off" in page.text and "Approve</button>" not in page.text
    sent = hidden(page.text) | {"comment": "I want it", "verdict": "approve"}
    answer = bob.post(f"{OF}/sign-off/{place.shadow}", data=sent)
    assert answer.status_code == 409
    assert office.ledger.rows("shop", limit=5, action="approve") == []
    assert office.ledger.rows("shop", limit=1)[0].actor == "bob"


def test_a_comment_is_asked_for(place: Place, ada: TestClient, office: Office) -> None:
    answer = send(ada, f"{OF}/sign-off/{place.shadow}", comment="  ", verdict="approve")
    assert answer.status_code == 422 and "comment" in answer.text
    assert office.ledger.rows("shop", limit=5, action="approve") == []


def test_rejecting_is_for_good(place: Place, ada: TestClient, office: Office) -> None:
    assert send(ada, f"{OF}/sign-off/{place.shadow}", comment="it shows gems to everybody", verdict="reject").status_code == 303
    assert office.release("shop", place.shadow).stage == "refused"
    assert send(ada, f"{OF}/promote/{place.shadow}", reason="again").status_code == 409


def test_a_release_goes_step_by_step_to_champion_and_back(place: Place, ada: TestClient, office: Office) -> None:
    assert send(ada, f"{OF}/promote/{place.shadow}", reason="too early").status_code == 409
    send(ada, f"{OF}/sign-off/{place.shadow}", comment="fine", verdict="approve")
    assert "5% of the entities outside control (4% of all)" in ada.get(f"{OF}/promote/{place.shadow}").text
    shares = []
    for _ in range(3):
        assert send(ada, f"{OF}/promote/{place.shadow}", reason="it holds").status_code == 303
        plan = office.plan("shop")
        assert plan is not None
        shares.append([(arm.name, arm.release_id == place.shadow, arm.share) for arm in plan.arms])
    assert shares[0] == [("champion", False, 0.95), ("canary", True, 0.05)]
    assert shares[1] == [("champion", False, 0.75), ("canary", True, 0.25)]
    assert shares[2] == [("champion", True, 1.0)]
    back = send(ada, f"{OF}/rollback?to=previous", reason="it was better before")
    assert back.status_code == 303
    page = ada.get(back.headers["location"]).text
    assert f"Rolled back: {place.champion}" in page and "1 rollback among them" in page
    plan = office.plan("shop")
    assert plan is not None and plan.champion.release_id == place.champion


def test_of_two_operators_at_once_the_second_is_refused(place: Place, ada: TestClient, browser_of: Make, office: Office) -> None:
    grace = sign_in(browser_of(), place.key("grace"))
    paths = (f"{OF}/rollback?to=previous", f"{OF}/promote/{place.shadow}", f"{OF}/reject/{place.shadow}")
    seen = {path: hidden(grace.get(path).text) for path in paths}
    assert send(ada, paths[0], reason="first").status_code == 303
    before = office.plan("shop")
    for path, fields in seen.items():
        answer = grace.post(path, data=fields | {"reason": "second"})
        assert answer.status_code == 409, path
    assert office.plan("shop") == before
    assert {row.actor for row in office.ledger.rows("shop", limit=9, action="denied")} == {"grace"}


def test_one_goes_back_to_what_served_at_a_time(place: Place, ada: TestClient, office: Office) -> None:
    rows = [row for row in office.rows("shop") if row.plan is not None]
    first = rows[-1].at
    at = f"{to_datetime(first + 1_000_000):%Y-%m-%dT%H:%M:%S}"
    page = ada.get(f"{OF}/rollback", params={"at": at})
    assert place.former in page.text and "What will happen" in page.text
    assert ada.post(page.url, data=hidden(page.text) | {"reason": "as it was"}).status_code == 303
    plan = office.plan("shop")
    assert plan is not None and plan.champion.release_id == place.former


def test_a_time_before_all_and_one_that_is_none_are_told(ada: TestClient) -> None:
    assert "Nothing served" in ada.get(f"{OF}/rollback", params={"at": "2001-01-01T00:00"}).text
    assert "a moment such as" in ada.get(f"{OF}/rollback", params={"at": "yesterday"}).text


def test_a_damaged_bundle_is_told_on_every_page_and_serves_nobody(place: Place, ada: TestClient, office: Office) -> None:
    file = place.layout.bundles / place.shadow / "table.json"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes().replace(b"0.9", b"9.0"))
    assert "damaged" in ada.get(f"{OF}/releases").text
    for path in ("releases", "sign-off"):
        page = ada.get(f"{OF}/{path}/{place.shadow}")
        assert page.status_code == 200 and "another digest than the manifest says" in page.text
    before = office.plan("shop")
    refused = send(ada, f"{OF}/promote/{place.shadow}", reason="go on")
    assert refused.status_code == 409 and "digest" in refused.text
    assert office.plan("shop") == before


def test_what_was_withheld_retired_and_rejected_is_told(place: Place, ada: TestClient, office: Office) -> None:
    at = office.clock.now_us()
    withhold(office.ledger, "shop", ["gems"], Act("ada", at, "sold out"))
    retire(office.ledger, "shop", place.shadow, Act("ada", at, "later"))
    assert "gems" in ada.get(f"{OF}/data").text
    assert "withheld by hand" in ada.get("/console/").text
    to_shadow(office.ledger, "shop", place.shadow, Act("ada", at, "again"))
    reject(office.ledger, "shop", place.shadow, Act("ada", at, "no"))
    page = ada.get(f"{OF}/sign-off/{place.shadow}").text
    assert "It is refused." in page and "Approve</button>" not in page
