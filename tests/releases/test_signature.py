import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import SettingsError, SignatureRefused, Unauthorized
from releases.signature import new_secret, sign, verify

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = 1_614_265_330
BODY = b'{"test": 2432232314}'


def headers(hook_id: str = "msg_1", at: int = NOW, signature: str | None = None, key: str = KEY, body: bytes = BODY) -> dict[str, str]:
    return {"webhook-id": hook_id, "webhook-timestamp": str(at), "webhook-signature": signature or sign(key, hook_id, at, body)}


def test_the_example_of_the_standard() -> None:
    assert sign(KEY, "msg_p5jXN8AQM9LWM0D4loKWxJek", NOW, BODY) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200), st.binary())
def test_what_was_signed_is_accepted(hook_id: str, body: bytes) -> None:
    hook = verify([KEY], headers(hook_id, body=body), body, NOW)
    assert (hook.hook_id, hook.timestamp_s) == (hook_id, NOW)


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_little_off_in_time_is_accepted(seconds: int) -> None:
    verify([KEY], headers(at=NOW + seconds), BODY, NOW)


@pytest.mark.parametrize("seconds", [-100_000, -301, 301, 100_000])
def test_a_stale_or_early_one_is_refused(seconds: int) -> None:
    with pytest.raises(SignatureRefused, match="more than 300 seconds"):
        verify([KEY], headers(at=NOW + seconds), BODY, NOW)


def test_two_keys_hold_while_they_are_changed() -> None:
    new = new_secret()
    for key in (KEY, new):
        verify([KEY, new], headers(key=key), BODY, NOW)
    both = f"{sign(new, 'msg_1', NOW, BODY)} {sign(KEY, 'msg_1', NOW, BODY)}"
    verify([KEY], headers(signature=both), BODY, NOW)
    with pytest.raises(SignatureRefused, match="does not hold"):
        verify([new], headers(key=KEY), BODY, NOW)
    with pytest.raises(SignatureRefused, match="does not hold"):
        verify([], headers(), BODY, NOW)


@given(st.integers(0, 8 * len(BODY) - 1))
def test_an_altered_body_is_refused(bit: int) -> None:
    altered = bytearray(BODY)
    altered[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureRefused, match="does not hold"):
        verify([KEY], headers(), bytes(altered), NOW)


@given(st.text())
def test_no_other_signature_holds(signature: str) -> None:
    with pytest.raises(SignatureRefused):
        verify([KEY], headers() | {"webhook-signature": signature}, BODY, NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": ""},
        {"webhook-id": "msg_2"},
        {"webhook-id": "a" * 201},
        {"webhook-id": "ä"},
        {"webhook-id": "a\n"},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": f"{NOW}.0"},
        {"webhook-timestamp": f" {NOW}"},
        {"webhook-timestamp": "1" * 4_000},
        {"webhook-timestamp": "-5"},
        {"webhook-timestamp": "١٦١٤٢٦٥٣٣٠"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1," + base64.b64encode(bytes(32)).decode()},
        {"webhook-signature": "v1a," + "x " * 4_000},
    ],
)
def test_every_header_counts(change: dict[str, str]) -> None:
    with pytest.raises(SignatureRefused, match="standard-webhooks"):
        verify([KEY], headers() | change, BODY, NOW)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    sent = headers()
    del sent[name]
    with pytest.raises(Unauthorized, match=f"without {name}"):
        verify([KEY], sent, BODY, NOW)


@pytest.mark.parametrize("secret", ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%%", "whsec_ä"])
def test_a_secret_spelled_wrongly_is_said_without_showing_it(secret: str) -> None:
    with pytest.raises(SettingsError) as caught:
        sign(secret, "msg_1", NOW, BODY)
    assert not secret or secret == "whsec_" or secret not in str(caught.value)


def test_secrets_are_long_and_different() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(len(base64.b64decode(secret.removeprefix("whsec_"))) == 32 for secret in made)
