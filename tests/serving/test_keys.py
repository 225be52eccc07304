import base64
import os
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from contracts.errors import Forbidden, InvalidInput, NotFound, SettingsError, StateRefused, Unauthorized
from contracts.settings import Settings
from serving.keys import (
    Scope,
    drop_key,
    hook_secret,
    hook_secrets,
    keys_path,
    list_keys,
    make_key,
    owner_key,
    read_keys,
    rotate_key,
    services_key,
)
from serving.known_keys import KnownKeys
from storage.files import write_bytes
from storage.layout import Layout
from tests.installation import wait_until


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_a_key_is_known_by_its_digest_alone(layout: Layout) -> None:
    key = make_key(layout, "game", [Scope.DECIDE])
    assert read_keys(layout).check(f"Bearer {key}", Scope.DECIDE) == "game"
    assert key not in keys_path(layout).read_text()


def test_a_browser_may_send_it_as_password(layout: Layout) -> None:
    sent = base64.b64encode(f"anyone:{owner_key(layout)}".encode()).decode()
    assert read_keys(layout).check(f"Basic {sent}", Scope.READ) == "owner"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic ???", "Digest x", "Bearer \xff"])
def test_anything_else_is_refused(layout: Layout, header: str | None) -> None:
    make_key(layout, "game")
    with pytest.raises(Unauthorized):
        read_keys(layout).check(header, Scope.DECIDE)


@pytest.mark.parametrize("around", ["\t", "\xa0", "\x85", "\x0b"])
def test_a_key_is_written_in_one_way(layout: Layout, around: str) -> None:
    key = make_key(layout, "game")
    assert read_keys(layout).check(f"bearer  {key} ", Scope.DECIDE) == "game"
    for sent in (f"Bearer {around}{key}", f"Bearer {key}{around}"):
        with pytest.raises(Unauthorized):
            read_keys(layout).check(sent, Scope.DECIDE)


def test_a_key_may_do_only_what_it_was_made_for(layout: Layout) -> None:
    key = make_key(layout, "game", [Scope.INGEST])
    with pytest.raises(Forbidden, match="decide"):
        read_keys(layout).check(f"Bearer {key}", Scope.DECIDE)


def test_a_key_may_not_use_the_console_unless_it_was_made_for_it(layout: Layout) -> None:
    make_key(layout, "game")
    make_key(layout, "ada", [Scope.VIEW, Scope.OPERATE])
    owner_key(layout)
    assert {key.name: key.scopes for key in list_keys(layout)} == {
        "game": (Scope.DECIDE, Scope.INGEST, Scope.LABEL, Scope.READ),
        "ada": (Scope.VIEW, Scope.OPERATE),
        "owner": tuple(Scope),
    }


def test_an_owners_key_that_is_older_than_a_scope_has_it(layout: Layout) -> None:
    key = owner_key(layout)
    file = keys_path(layout)
    file.write_text(file.read_text().replace('"view"', '"read"').replace('"operate"', '"read"'))
    assert read_keys(layout).check(f"Bearer {key}", Scope.OPERATE) == "owner"


def test_a_key_from_before_events_and_outcomes_had_scopes_of_their_own_may_send_both(layout: Layout) -> None:
    key = make_key(layout, "game", [Scope.DECIDE, Scope.READ])
    file = keys_path(layout)
    file.write_text(file.read_text().replace('"read"', '"record"'))
    for scope in (Scope.INGEST, Scope.LABEL):
        assert read_keys(layout).check(f"Bearer {key}", scope) == "game"
    with pytest.raises(Forbidden, match="read"):
        read_keys(layout).check(f"Bearer {key}", Scope.READ)


@pytest.mark.parametrize("name", ["", " ada", "ada ", "a\nb", "a" * 65, "\u202eada", "\u0430da", "../ada", "a/b", "-ada", "ada\n"])
def test_a_name_that_could_not_stand_in_a_ledger_is_refused(layout: Layout, name: str) -> None:
    with pytest.raises(InvalidInput, match="name"):
        make_key(layout, name)


def test_a_dropped_key_is_forgotten(layout: Layout) -> None:
    key = make_key(layout, "game")
    assert drop_key(layout, "game")
    assert not drop_key(layout, "game")
    with pytest.raises(Unauthorized):
        read_keys(layout).check(f"Bearer {key}", Scope.DECIDE)


def test_two_keys_cannot_share_a_name(layout: Layout) -> None:
    make_key(layout, "game")
    with pytest.raises(InvalidInput, match="name"):
        make_key(layout, "game")


def test_the_owners_key_stays_the_same_and_is_the_owners_alone(layout: Layout) -> None:
    assert owner_key(layout) == owner_key(layout)
    assert stat.S_IMODE((layout.secrets / "api_key").stat().st_mode) == 0o600
    assert stat.S_IMODE(layout.secrets.stat().st_mode) == 0o700


def test_two_secrets_sign_webhooks_while_one_is_replaced(layout: Layout) -> None:
    assert hook_secrets(layout) == ()
    first = hook_secret(layout)
    (layout.secrets / "hook_secret").rename(layout.secrets / "hook_secret.old")
    second = hook_secret(layout)
    assert first != second
    assert hook_secrets(layout) == (second, first)


def test_a_damaged_file_of_keys_is_refused(layout: Layout) -> None:
    make_key(layout, "game")
    keys_path(layout).write_text("{")
    with pytest.raises(StateRefused, match=r"api_keys\.json"):
        read_keys(layout)


def test_while_a_key_is_replaced_the_old_one_is_accepted_for_as_long_as_was_said(layout: Layout) -> None:
    old = make_key(layout, "game", [Scope.DECIDE])
    new = rotate_key(layout, "game", keep_for_s=3_600.0)
    now_s = time.time()
    assert [read_keys(layout).check(f"Bearer {key}", Scope.DECIDE) for key in (old, new)] == ["game", "game"]
    later = read_keys(layout, lambda: now_s + 3_601.0)
    assert later.check(f"Bearer {new}", Scope.DECIDE) == "game"
    with pytest.raises(Unauthorized, match="expired"):
        later.check(f"Bearer {old}", Scope.DECIDE)
    assert [(key.scopes, key.ends) for key in list_keys(layout)] == [((Scope.DECIDE,), old[-4:]), ((Scope.DECIDE,), new[-4:])]
    assert drop_key(layout, "game") and list_keys(layout) == []


def test_a_key_that_is_replaced_at_once_is_void(layout: Layout) -> None:
    old = make_key(layout, "game")
    rotate_key(layout, "game")
    with pytest.raises(Unauthorized, match="not known"):
        read_keys(layout).check(f"Bearer {old}", Scope.DECIDE)
    with pytest.raises(NotFound, match="nobody"):
        rotate_key(layout, "nobody")


def test_a_rotation_never_makes_an_old_key_last_longer(layout: Layout) -> None:
    old = make_key(layout, "game", expires_in_s=60.0)
    rotate_key(layout, "game", keep_for_s=3_600.0)
    now_s = time.time()
    with pytest.raises(Unauthorized, match="expired"):
        read_keys(layout, lambda: now_s + 61.0).check(f"Bearer {old}", Scope.DECIDE)


def test_a_key_may_have_a_rate_of_its_own_which_its_successor_keeps(layout: Layout) -> None:
    make_key(layout, "game", requests_per_s=250.0)
    make_key(layout, "other")
    rotate_key(layout, "game")
    assert (read_keys(layout).rate("game"), read_keys(layout).rate("other")) == (250.0, 0.0)


def test_a_key_expires(layout: Layout) -> None:
    key, now_s = make_key(layout, "game", expires_in_s=60.0), time.time()
    assert read_keys(layout, lambda: now_s + 59.0).check(f"Bearer {key}", Scope.DECIDE) == "game"
    with pytest.raises(Unauthorized, match="expired"):
        read_keys(layout, lambda: now_s + 61.0).check(f"Bearer {key}", Scope.DECIDE)


@pytest.mark.parametrize(("made", "file"), [(owner_key, "api_key"), (services_key, "services_key")])
def test_keys_that_stand_in_full_are_replaced_in_their_files(layout: Layout, made: Callable[[Layout], str], file: str) -> None:
    old = made(layout)
    new = rotate_key(layout, {"api_key": "owner", "services_key": "services"}[file])
    assert new != old and made(layout) == new == (layout.secrets / file).read_text()
    assert stat.S_IMODE((layout.secrets / file).stat().st_mode) == 0o600
    assert read_keys(layout).check(f"Bearer {new}", Scope.OPERATE)


def test_a_header_that_is_too_long_for_a_key_is_not_even_hashed(layout: Layout) -> None:
    key = make_key(layout, "game")
    with pytest.raises(Unauthorized, match="too long"):
        read_keys(layout).check(f"Bearer {key}{' ' * 2_000}", Scope.DECIDE)


def test_keys_made_at_the_same_time_are_all_kept(layout: Layout) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: make_key(layout, f"game-{number}"), range(24)))
    known = read_keys(layout)
    assert [known.check(f"Bearer {key}", Scope.DECIDE) for key in made] == [f"game-{number}" for number in range(24)]


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(layout: Layout, rate: float) -> None:
    with pytest.raises(InvalidInput, match="requests_per_s"):
        make_key(layout, "game", requests_per_s=rate)
    with pytest.raises(SettingsError, match="requests_per_key_s"):
        Settings.build(f"[serving]\nrequests_per_key_s = {rate}")


def test_a_digest_that_is_none_is_told_of_its_file(layout: Layout) -> None:
    make_key(layout, "game")
    file = keys_path(layout)
    file.write_text(file.read_text().replace(list_keys(layout)[0].sha256, "no digest"))
    with pytest.raises(StateRefused, match="api_keys.json"):
        read_keys(layout)


def test_processes_that_make_a_key_at_once_all_have_the_one_that_is_accepted(layout: Layout) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: services_key(layout), range(8)))
    assert len(made) == 1
    assert read_keys(layout).check(f"Bearer {made.pop()}", Scope.READ) == "services"


@pytest.mark.parametrize("step", range(4))
def test_the_key_in_full_is_accepted_wherever_a_rotation_ends(layout: Layout, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    owner_key(layout)
    left = [step]

    def ended(path: Path, content: bytes, mode: int) -> None:
        if not left[0]:
            raise OSError("ended here")
        left[0] -= 1
        write_bytes(path, content, mode)

    monkeypatch.setattr("serving.keys.write_bytes", ended)
    with suppress(OSError):
        rotate_key(layout, "owner")
    assert read_keys(layout).check(f"Bearer {(layout.secrets / 'api_key').read_text()}", Scope.READ) == "owner"


def test_every_change_is_followed_however_soon_it_comes(layout: Layout, caplog: pytest.LogCaptureFixture) -> None:
    key, known = make_key(layout, "game"), KnownKeys(layout)
    known.look()
    before = keys_path(layout).stat()
    drop_key(layout, "game")
    os.utime(keys_path(layout), ns=(before.st_atime_ns, before.st_mtime_ns))
    known.look()
    with pytest.raises(Unauthorized):
        known.now.check(f"Bearer {key}", Scope.DECIDE)
    other = make_key(layout, "other")
    known.look()
    keys_path(layout).write_text("{")
    known.look()
    known.look()
    assert known.now.check(f"Bearer {other}", Scope.DECIDE) == "other"
    assert caplog.text.count("keys cannot be read") == 1


def test_a_dropped_key_is_refused_while_all_else_waits(layout: Layout) -> None:
    key, known = make_key(layout, "game"), KnownKeys(layout)
    known.start()
    try:
        assert known.now.check(f"Bearer {key}", Scope.DECIDE) == "game"
        drop_key(layout, "game")
        wait_until(lambda: not _accepted(known, key), 10.0)
    finally:
        known.stop()


def _accepted(known: KnownKeys, key: str) -> bool:
    try:
        return known.now.check(f"Bearer {key}", Scope.DECIDE) == "game"
    except Unauthorized:
        return False
