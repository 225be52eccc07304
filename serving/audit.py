"""What is done about keys, and sign-ins that failed, as rows of the ledger: of the installation as a whole, of no use case."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from threading import Lock

from contracts.clock import Clock
from contracts.errors import NotFound, OfferloopError
from releases.ledger import Act, Ledger
from serving import keys
from serving.keys import Scope
from storage.layout import Layout

INSTALLATION = "*"
"""Stands in the ledger where a use case would."""

MAKE, ROTATE, DROP, SIGN_IN = "make-key", "rotate-key", "drop-key", "sign-in"

QUIET_S = 60.0
"""Failed sign-ins are noted at once, and then at most so often: whoever tries many keys must not fill the ledger."""


def make_key(
    ledger: Ledger,
    layout: Layout,
    act: Act,
    name: str,
    scopes: Sequence[Scope] = keys.OF_PROGRAMS,
    expires_in_s: float | None = None,
    requests_per_s: float = 0.0,
) -> str:
    """Make a key as `serving.keys.make_key`, with its row of the ledger: both or neither."""
    said = f"key `{name}`, which may {', '.join(scopes)}{_until(expires_in_s)}"
    with ledger.step(INSTALLATION) as step:
        step.append(_told(act, said, name), MAKE, None)
        return keys.make_key(layout, name, scopes, expires_in_s, requests_per_s)


def rotate_key(ledger: Ledger, layout: Layout, act: Act, name: str, keep_for_s: float = 0.0, expires_in_s: float | None = None) -> str:
    """Replace a key as `serving.keys.rotate_key`, with its row of the ledger."""
    kept = f"the old one stays valid until {_moment(keep_for_s)}" if keep_for_s > 0.0 else "the old one is void"
    with ledger.step(INSTALLATION) as step:
        step.append(_told(act, f"a new key `{name}`{_until(expires_in_s)}; {kept}", name), ROTATE, None)
        return keys.rotate_key(layout, name, keep_for_s, expires_in_s)


def drop_key(ledger: Ledger, layout: Layout, act: Act, name: str) -> None:
    """Forget a key, with its row of the ledger.

    Raises:
        NotFound: there is none of that name.
    """
    with ledger.step(INSTALLATION) as step:
        step.append(_told(act, f"key `{name}` is void", name), DROP, None)
        if not keys.drop_key(layout, name):
            raise NotFound("key", name)


class FailedSignIns:
    """Notes sign-ins to the console that were refused: the first one, and from then on one row a minute at most, with their number.

    Args:
        ledger: where they are noted.
        clock: of the installation.
        now_s: seconds of a clock that does not run backwards.
    """

    def __init__(self, ledger: Ledger, clock: Clock, now_s: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._now_s = now_s
        self._lock = Lock()
        self._noted_s = -QUIET_S
        self._count = 0

    def add(self, address: str, error: OfferloopError) -> None:
        """Note a sign-in from an address that was refused. Blocks on the disk when a row is due."""
        with self._lock:
            self._count += 1
            if self._now_s() - self._noted_s < QUIET_S:
                return
            count, self._count, self._noted_s = self._count, 0, self._now_s()
        times = "a sign-in" if count == 1 else f"{count} sign-ins, the last one"
        act = Act(
            "console", self._clock.now_us(), f"{times} from {address}, refused: {error}", details={"count": count, "address": address}
        )
        self._ledger.append(INSTALLATION, act, SIGN_IN)


def _told(act: Act, said: str, name: str) -> Act:
    reason = f"{said}: {act.reason}" if act.reason else said
    return Act(act.actor, act.at, reason, details={"key": name, **act.details})


def _until(expires_in_s: float | None) -> str:
    return "" if expires_in_s is None else f", until {_moment(expires_in_s)}"


def _moment(in_s: float) -> str:
    return f"{datetime.fromtimestamp(time.time() + in_s, UTC):%Y-%m-%d %H:%M} UTC"
