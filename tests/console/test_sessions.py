import pytest

from contracts.errors import Forbidden, StateRefused, Unauthorized
from serving.console import ended
from serving.console.sessions import FORGET_S, LASTS_S, SLOWEST_S, Attempts, Sessions, TokenRefused
from serving.keys import Scope, drop_key, make_key
from storage.layout import Layout


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def layout(tmp_path: object) -> Layout:
    return Layout(tmp_path)  # type: ignore[arg-type]  # why: pytest's own fixture


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def sessions(layout: Layout, clock: Hands) -> Sessions:
    return Sessions(layout, clock)


def test_a_session_is_of_the_keys_holder_and_may_what_the_key_may(layout: Layout, sessions: Sessions) -> None:
    looking = sessions.find(sessions.open(make_key(layout, "vera", [Scope.VIEW])))
    acting = sessions.find(sessions.open(make_key(layout, "ada", [Scope.VIEW, Scope.OPERATE])))
    assert looking is not None and acting is not None
    assert (looking.name, looking.operates, acting.name, acting.operates) == ("vera", False, "ada", True)


def test_a_key_that_is_unknown_or_may_not_look_opens_nothing(layout: Layout, sessions: Sessions) -> None:
    with pytest.raises(Unauthorized):
        sessions.open("olk_guessed")
    with pytest.raises(Forbidden, match="view"):
        sessions.open(make_key(layout, "program"))


def test_a_session_ends_after_its_time(layout: Layout, sessions: Sessions, clock: Hands) -> None:
    cookie = sessions.open(make_key(layout, "vera", [Scope.VIEW]))
    clock.now_s += LASTS_S - 1
    assert sessions.find(cookie) is not None
    clock.now_s += 2
    assert sessions.find(cookie) is None


def test_a_session_ends_with_its_key_also_where_another_has_its_name(layout: Layout, sessions: Sessions) -> None:
    cookie = sessions.open(make_key(layout, "vera", [Scope.VIEW]))
    drop_key(layout, "vera")
    assert sessions.find(cookie) is None
    make_key(layout, "vera", [Scope.VIEW, Scope.OPERATE])
    assert sessions.find(cookie) is None


def test_who_signed_out_is_out_whoever_has_the_cookie(layout: Layout, sessions: Sessions) -> None:
    cookie = sessions.open(make_key(layout, "vera", [Scope.VIEW]))
    other = sessions.open(make_key(layout, "ada", [Scope.VIEW]))
    sessions.end(cookie)
    assert sessions.find(cookie) is None
    assert sessions.find(other) is not None


def test_who_signed_out_stays_out_when_the_console_starts_anew(layout: Layout, sessions: Sessions, clock: Hands) -> None:
    cookie = sessions.open(make_key(layout, "vera", [Scope.VIEW]))
    other = sessions.open(make_key(layout, "ada", [Scope.VIEW]))
    sessions.end(cookie)
    anew = Sessions(layout, clock)
    assert anew.find(cookie) is None
    assert anew.find(other) is not None
    assert (layout.secrets / "console_ended.json").stat().st_mode & 0o777 == 0o600


def test_what_has_run_out_is_remembered_no_longer(layout: Layout, sessions: Sessions, clock: Hands) -> None:
    key = make_key(layout, "vera", [Scope.VIEW])
    sizes = []
    for _ in range(3):
        sessions.end(sessions.open(key))
        sizes.append((layout.secrets / "console_ended.json").stat().st_size)
        clock.now_s += LASTS_S + 1
    assert max(sizes) - min(sizes) < 10


def test_so_many_sign_outs_that_some_are_forgotten_bring_nobody_back(
    layout: Layout, sessions: Sessions, clock: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ended, "MOST", 2)
    key = make_key(layout, "vera", [Scope.VIEW])
    cookies = []
    for _ in range(5):
        cookies.append(sessions.open(key))
        clock.now_s += 1
    for cookie in cookies[:4]:
        sessions.end(cookie)
    assert [sessions.find(cookie) is not None for cookie in cookies] == [False, False, False, False, True]


def test_when_sign_outs_cannot_be_read_nobody_gets_in_and_is_told_what_to_do(layout: Layout, sessions: Sessions) -> None:
    key = make_key(layout, "vera", [Scope.VIEW])
    cookie = sessions.open(key)
    (layout.secrets / "console_ended.json").write_text("{")
    assert sessions.find(cookie) is None
    for act in (lambda: sessions.open(key), lambda: sessions.end(cookie)):
        with pytest.raises(StateRefused, match="console_secret"):
            act()


@pytest.mark.parametrize("cookie", [None, "", ".", "a.b", "é.é", "WyJhZGEiXQ.0000", "=.=", "a" * 5_000])
def test_what_we_did_not_sign_is_nobodys(sessions: Sessions, cookie: str | None) -> None:
    assert sessions.find(cookie) is None


def test_a_cookie_cannot_be_changed_nor_used_for_another_purpose(layout: Layout, sessions: Sessions) -> None:
    cookie = sessions.open(make_key(layout, "vera", [Scope.VIEW]))
    body, _, signature = cookie.partition(".")
    changed = body[:-1] + ("A" if body[-1] != "A" else "B")
    assert sessions.find(f"{changed}.{signature}") is None
    assert sessions.unseal("notice", cookie, list) is None
    assert sessions.find(sessions.seal("notice", ["vera", "", 1e12, "s"])) is None


def test_a_forms_token_is_of_one_session(sessions: Sessions) -> None:
    sessions.check_token("one", sessions.token("one"))
    for token in (sessions.token("other"), "", "é"):
        with pytest.raises(TokenRefused):
            sessions.check_token("one", token)


def test_wrong_keys_become_slow_up_to_a_limit_by_address_and_for_some_time() -> None:
    clock = Hands()
    attempts = Attempts(clock)
    held_back = [attempts.failed("10.0.0.1") for _ in range(2_000)]
    assert held_back == sorted(held_back) and held_back[1] == 2 * held_back[0] and held_back[-1] == SLOWEST_S
    assert attempts.failed("10.0.0.2") == held_back[0]
    clock.now_s += FORGET_S + 1
    assert attempts.failed("10.0.0.1") == held_back[0]


def test_a_right_key_forgets_the_wrong_ones() -> None:
    attempts = Attempts(Hands())
    first = attempts.failed("10.0.0.1")
    attempts.failed("10.0.0.1")
    attempts.succeeded("10.0.0.1")
    assert attempts.failed("10.0.0.1") == first
