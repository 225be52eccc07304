"""Signed webhooks in the form of standard-webhooks.com: HMAC-SHA256 over id, time and body."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.errors import SettingsError, SignatureRefused

TOLERANCE_S = 300
PREFIX = "whsec_"
ID_HEADER, TIME_HEADER, SIGNATURE_HEADER = "webhook-id", "webhook-timestamp", "webhook-signature"

_MAX_ID = 200
_MAX_SIGNATURES = 16


@dataclass(frozen=True, slots=True)
class SignedHook:
    """A webhook whose signature holds. `timestamp_s` is the sender's, in real seconds since 1970."""

    hook_id: str
    timestamp_s: int


def new_secret() -> str:
    """A new secret of 32 random bytes, spelled `whsec_…`."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def sign(secret: str, hook_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of the header `webhook-signature`.

    Raises:
        SettingsError: the secret is not spelled `whsec_` and base64.

    Example:
        >>> sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
        'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signed = b"%s.%d.%s" % (hook_id.encode(), timestamp_s, body)
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


def verify(keys: Sequence[str], headers: Mapping[str, str], body: bytes, now_s: float) -> SignedHook:
    """Check a webhook's signature; any one of the keys may have made it, so that keys can be changed without a gap.

    Whether the id was seen before is for `Inbox.trigger_hook` to say.

    Args:
        keys: the secrets that are valid now.
        headers: with names in lower case.
        body: the bytes as they came.
        now_s: real seconds since 1970.

    Raises:
        SignatureRefused: a header is missing or malformed, the time is more than five minutes off, or no signature holds.
    """
    missing = [name for name in (ID_HEADER, TIME_HEADER, SIGNATURE_HEADER) if not headers.get(name)]
    if missing:
        raise SignatureRefused(f"without {', '.join(missing)}")
    hook_id, timestamp = headers[ID_HEADER], headers[TIME_HEADER]
    if len(hook_id) > _MAX_ID or not hook_id.isascii() or not hook_id.isprintable():
        raise SignatureRefused(f"with an id that is not up to {_MAX_ID} printable ASCII characters")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise SignatureRefused(f"with a {TIME_HEADER} that is not whole seconds since 1970")
    if abs(now_s - int(timestamp)) > TOLERANCE_S:
        raise SignatureRefused(f"with a time more than {TOLERANCE_S} seconds from now")
    offered = headers[SIGNATURE_HEADER].split(" ")[:_MAX_SIGNATURES]
    expected = [sign(key, hook_id, int(timestamp), body) for key in keys]
    holds = [hmac.compare_digest(one.encode(), other.encode(errors="replace")) for one in expected for other in offered]
    if not any(holds):
        raise SignatureRefused("whose signature does not hold")
    return SignedHook(hook_id, int(timestamp))


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True) if secret.startswith(PREFIX) else b""
    except ValueError:
        key = b""
    if not key:
        raise SettingsError("webhook secret", "…", f"`{PREFIX}` and base64")
    return key
