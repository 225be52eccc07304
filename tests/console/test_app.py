import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from serving.console.app import COOKIE, _address
from serving.console.desk import Office
from serving.keys import Scope, drop_key

from .conftest import HOSTILE, Place, hidden, send, sign_in

Make = Callable[[], TestClient]


def pages(place: Place) -> list[str]:
    """Every page, by its path behind `/console`."""
    of = "/use-cases/shop"
    return [
        "/",
        "/ledger",
        "/ledger?use_case=shop&action=champion&before=100",
        "/decisions",
        f"/decisions?id={place.decisions[0]}",
        f"{of}/releases",
        f"{of}/releases?from=1",
        *(f"{of}/releases/{name}" for name in (place.former, place.champion, place.shadow)),
        f"{of}/diff?after={place.shadow}",
        f"{of}/diff?before={place.former}&after={place.former}",
        f"{of}/experiments",
        f"{of}/data",
        f"{of}/sign-off",
        f"{of}/sign-off/{place.shadow}",
        f"{of}/sign-off/{place.champion}",
        f"{of}/promote/{place.shadow}",
        f"{of}/reject/{place.shadow}",
        f"{of}/rollback",
        f"{of}/rollback?to=previous",
        f"{of}/rollback?to={place.former}",
    ]


def test_every_page_answers_whoever_may_look_or_act(place: Place, ada: TestClient, vera: TestClient) -> None:
    for path in pages(place):
        for client in (ada, vera):
            answer = client.get(f"/console{path}")
            assert answer.status_code == 200, (path, answer.text[:500])
            assert answer.text.count("<h1") == 1 and "</html>" in answer.text


def test_nothing_that_came_from_outside_becomes_markup(place: Place, ada: TestClient) -> None:
    seen = 0
    for path in [*pages(place), f"/ledger?release={quote(HOSTILE)}&use_case={quote(HOSTILE)}", f"/decisions?id={quote(HOSTILE)}"]:
        text = ada.get(f"/console{path}").text
        assert "<script>" not in text and "<img src=x" not in text, path
        seen += "&lt;script&gt;" in text
    assert seen >= 8


def test_every_answer_forbids_what_pages_do_not_need(place: Place, ada: TestClient, browser_of: Make) -> None:
    for answer in (ada.get("/console/"), browser_of().get("/console/sign-in"), ada.get("/console/nothing"), browser_of().get("/console/")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == ("nosniff", "no-store")


def test_pages_hold_no_style_or_script_of_their_own(place: Place, ada: TestClient) -> None:
    for path in pages(place):
        text = ada.get(f"/console{path}").text
        assert re.findall(r"\sstyle=|<style|\son\w+=\"|<script(?! src=\"/console/assets/)", text) == [], path
        assert [link for link in re.findall(r"(?:src|href|action)=\"([^\"]+)\"", text) if "//" in link] == [], path


def test_who_is_not_signed_in_is_led_to_the_form_and_back(place: Place, browser_of: Make) -> None:
    client = browser_of()
    answer = client.get(f"/console/decisions?id={place.decisions[0]}")
    assert answer.status_code == 303
    page = client.get(answer.headers["location"])
    answer = client.post("/console/sign-in", data=hidden(page.text) | {"key": place.key("ada")})
    assert answer.headers["location"] == f"/console/decisions?id={place.decisions[0]}"
    assert place.decisions[0] in client.get(answer.headers["location"]).text


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/sign-out", "x"]
)
def test_signing_in_leads_nowhere_else(place: Place, browser_of: Make, elsewhere: str) -> None:
    client = browser_of()
    page = client.get("/console/sign-in", params={"next": elsewhere})
    answer = client.post("/console/sign-in", data=hidden(page.text) | {"key": place.key("ada"), "next": elsewhere})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/")


def test_the_cookie_is_for_the_console_alone_and_for_no_script(place: Place, browser_of: Make) -> None:
    client = browser_of()
    cookies = send(client, "/console/sign-in", key=place.key("ada")).headers.get_list("set-cookie")
    made = next(cookie for cookie in cookies if cookie.startswith(COOKIE)).lower()
    assert all(part in made for part in ("httponly", "samesite=strict", "path=/console", "max-age=43200"))
    assert "secure" not in made


def test_a_browser_that_came_by_tls_keeps_its_cookies_for_tls(place: Place, browser_of: Make) -> None:
    client = browser_of()
    client.headers["x-forwarded-proto"] = "https"
    page = client.get("/console/sign-in")
    fresh = page.headers["set-cookie"]
    client.headers["cookie"] = fresh.partition(";")[0]
    answer = client.post("/console/sign-in", data=hidden(page.text) | {"key": place.key("ada")})
    made = next(cookie for cookie in answer.headers.get_list("set-cookie") if cookie.startswith(COOKIE))
    assert all("; secure" in cookie.lower() for cookie in (fresh, made))


def test_a_sign_in_that_failed_stands_in_the_ledger(place: Place, browser_of: Make, office: Office) -> None:
    send(browser_of(), "/console/sign-in", key="olk_wrong_secret")
    row = office.ledger.rows("*", limit=1)[0]
    assert (row.action, row.actor, row.details["address"]) == ("sign-in", "console", "testclient")
    assert "not known" in row.reason and "olk_wrong" not in row.reason


def test_a_wrong_key_and_one_without_the_scope_are_told_apart(place: Place, browser_of: Make) -> None:
    wrong = send(browser_of(), "/console/sign-in", key="olk_wrong")
    program = send(browser_of(), "/console/sign-in", key=place.key("program", Scope.DECIDE))
    assert (wrong.status_code, program.status_code) == (401, 403)
    assert "not known" in wrong.text and "scope `view`" in program.text
    assert COOKIE not in wrong.cookies and COOKIE not in program.cookies


def test_wrong_keys_lock_nobody_out_who_comes_from_the_same_address(place: Place, browser_of: Make) -> None:
    client, other, key = browser_of(), browser_of(), place.key("ada")
    assert {send(client, "/console/sign-in", key="olk_wrong").status_code for _ in range(25)} == {401}
    for one in (client, other):
        assert send(one, "/console/sign-in", key=key).status_code == 303


@pytest.mark.parametrize(
    ("peer", "said", "address"),
    [
        ("127.0.0.1", ["10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", ["10.6.6.6", "10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", ["10.6.6.6, 10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", ["ada"], "unknown"),
        ("10.0.0.1", ["10.6.6.6"], "10.0.0.1"),
    ],
)
def test_an_address_is_what_the_proxy_said_last(peer: str, said: list[str], address: str) -> None:
    headers = [(b"x-forwarded-for", one.encode()) for one in said]
    assert _address(Request({"type": "http", "client": (peer, 5), "headers": headers})) == address


def test_signing_out_and_dropping_a_key_end_what_was_open(place: Place, ada: TestClient, vera: TestClient) -> None:
    cookie = ada.cookies[COOKIE]
    assert ada.post("/console/sign-out", data=hidden(ada.get("/console/").text)).headers["location"] == "/console/sign-in"
    ada.cookies.set(COOKIE, cookie, path="/console")
    assert ada.get("/console/").status_code == 303
    drop_key(place.layout, "vera")
    assert vera.get("/console/").status_code == 303


def test_a_form_without_its_token_or_from_another_site_does_nothing(place: Place, ada: TestClient, office: Office) -> None:
    path = f"/console/use-cases/shop/reject/{place.shadow}"
    fields = hidden(ada.get(path).text) | {"reason": "because"}
    for sent, headers in (
        ({**fields, "token": ""}, {}),
        ({**fields, "token": "0" * 64}, {}),
        (fields, {"sec-fetch-site": "cross-site"}),
        (fields, {"sec-fetch-site": "same-site"}),
    ):
        assert ada.post(path, data=sent, headers=headers).status_code == 403
    assert office.release("shop", place.shadow).stage == "shadow"
    assert ada.post(path, data=fields, headers={"sec-fetch-site": "same-origin"}).status_code == 303


def test_who_may_only_look_is_shown_no_button_and_refused(place: Place, vera: TestClient, office: Office) -> None:
    for path in ("promote", "reject", "sign-off"):
        page = vera.get(f"/console/use-cases/shop/{path}/{place.shadow}")
        assert "lacks the scope" in page.text and '<form method="post" action=""' not in page.text
        answer = vera.post(page.url, data={"token": hidden(page.text)["token"], "reason": "x", "comment": "x", "verdict": "approve"})
        assert answer.status_code == 403 and "operate" in answer.text
    assert office.release("shop", place.shadow).stage == "shadow"


def test_a_body_that_is_no_form_or_too_large_is_refused(place: Place, ada: TestClient) -> None:
    path = f"/console/use-cases/shop/reject/{place.shadow}"
    assert ada.post(path, json={}).status_code == 422
    assert ada.post(path, content=b"a=%ff", headers={"content-type": "application/x-www-form-urlencoded"}).status_code == 422
    assert (
        ada.post(
            path, content=b"&".join(b"a=1" for _ in range(99)), headers={"content-type": "application/x-www-form-urlencoded"}
        ).status_code
        == 422
    )
    assert ada.post(path, data={"reason": "x" * 70_000}).status_code == 413


WORDS = (
    "",
    ".",
    "..",
    "%2e%2e%2f",
    "%00",
    "%7f",
    "ü",
    "%ff%fe",
    "'",
    '"',
    "--",
    "{{7*7}}",
    "<b>",
    "a" * 3_000,
    "-1",
    "1e9",
    "9" * 40,
    "r-" + "0" * 16,
)


def test_hostile_paths_and_ids_are_never_a_fault_of_ours(place: Place, ada: TestClient) -> None:
    templates = (
        "/{}",
        "/decisions?id={}",
        "/ledger?before={}&release={}",
        "/use-cases/{}/releases",
        "/use-cases/shop/releases/{}",
        "/use-cases/shop/releases?from={}",
        "/use-cases/shop/diff?before={}&after={}",
        "/use-cases/shop/sign-off/{}",
        "/use-cases/shop/promote/{}",
        "/use-cases/shop/rollback?at={}",
        "/use-cases/shop/rollback?to={}",
        "/assets/{}",
        "/pictures/shop/{}",
    )
    answers = [
        (path, ada.get(f"/console{path}").status_code)
        for template in templates
        for word in WORDS
        for path in [template.replace("{}", word)]
    ]
    assert len(answers) > 200
    assert [answer for answer in answers if answer[1] >= 500] == []
    token = hidden(ada.get("/console/").text)["token"]
    for word in WORDS:
        sent = {"token": token, "reason": word, "comment": word, "verdict": word, "version": word, "target": word, "subject": word}
        for path in ("promote", "reject", "sign-off"):
            assert ada.post(f"/console/use-cases/shop/{path}/{quote(word or 'x')}", data=sent).status_code < 500
        assert ada.post("/console/use-cases/shop/rollback", data=sent).status_code < 500


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "POST"])
def test_other_methods_do_nothing(ada: TestClient, method: str) -> None:
    assert 400 <= ada.request(method, "/console/ledger").status_code < 500


def test_a_fault_of_ours_tells_no_trace(ada: TestClient, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(office, "measures", fail)
    answer = ada.get("/console/")
    assert answer.status_code == 500
    assert "secret" not in answer.text and "Traceback" not in answer.text and "log of the console" in answer.text


def test_it_answers_wherever_it_is_mounted(place: Place, ada: TestClient, office: Office) -> None:
    from serving.console.app import build

    cut = TestClient(build(office), "http://console", root_path="/console", follow_redirects=False)
    assert cut.get("/console/sign-in").status_code == 200
    assert ada.get("/console").status_code == 200
    assert ada.get("/elsewhere").status_code in (303, 404)


def test_assets_are_shipped_and_may_be_kept(browser_of: Make) -> None:
    client = browser_of()
    page = client.get("/console/sign-in").text
    for asset in re.findall(r"/console/assets/[^\"]+", page):
        answer = client.get(asset)
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]


def test_owner_and_person_act_under_their_own_names(place: Place, browser_of: Make, office: Office) -> None:
    owner = sign_in(browser_of(), (place.layout.secrets / "api_key").read_text())
    assert send(owner, f"/console/use-cases/shop/reject/{place.shadow}", reason="not this one").status_code == 303
    assert office.ledger.rows("shop", limit=1)[0].actor == "owner"
