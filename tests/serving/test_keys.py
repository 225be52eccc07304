import base64
import stat
from pathlib import Path

import pytest

from contracts.errors import Forbidden, InvalidInput, StateRefused, Unauthorized
from serving.keys import Scope, drop_key, hook_secret, hook_secrets, keys_path, list_keys, make_key, owner_key, read_keys
from storage.layout import Layout


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


@pytest.mark.parametrize("name", ["", " ada", "a\nb", "a" * 65, "\u202eada"])
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
