"""Who is let in when more is asked than can be answered: by how many are under way, by how long a request waited, and fair by key.

Waiting is the edge's (`serving.environment`): what a replica has no place for waits there, in fair order, for a bounded time. Here is the
replica's own guard, which refuses and never waits: it holds where there is no such edge, and for what waited in a socket's buffer. Plain
work on dictionaries, on one event loop and without locks. `docs/adr/0017-waiting-at-the-edge.md` has the reasons.
"""

import math
import time
from collections.abc import Callable

from contracts.errors import DeadlinePassed, Overloaded, TooMany
from serving.problems import Headers, limits

STARTED = b"x-request-start"
"""The header by which the edge says when a request came, in microseconds since 1970."""

KEPT = 0.75
"""Share of all places that keys share; the rest is for keys that hold less than their share."""

NONSENSE_US = 3_600_000_000
"""Nothing waits for an hour: who says so is not the edge."""

WINDOW_S = 1
EXACT_S = 1e-6
"""Closer than this, sums of times are the same."""

NONE: Headers = ()


class Admission:
    """Lets requests in, and counts those under way. For one event loop.

    Args:
        most: requests under way at once, of all keys.
        deadline_s: for how long a request may have waited before its work begins.
        per_key_s: requests a second that a key may make; 0 for no limit.
        now_us: the real time in microseconds since 1970; `now_s`: of a monotonic clock.
    """

    def __init__(
        self,
        most: int,
        deadline_s: float,
        per_key_s: Callable[[str], float] = lambda key: 0.0,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.under_way = 0
        self._most = most
        self._shared = max(1, int(most * KEPT))
        self._deadline_us = int(deadline_s * 1e6)
        self._per_key_s = per_key_s
        self._now_us = now_us
        self._now_s = now_s
        self._of_key: dict[str, int] = {}
        self._spent_until: dict[str, float] = {}

    def enter(self, key: str, started: bytes | None = None) -> Headers:
        """Let a request in; who is let in must `leave`.

        Args:
            key: the name of its key.
            started: what the edge's header says.

        Returns:
            What its answer should say of the key's quota.

        Raises:
            DeadlinePassed: it has waited for too long; whoever asked has given up, or soon will.
            TooMany: the key asks faster than it may, or holds its share of the places while places are scarce.
            Overloaded: there is no place.
        """
        if started is not None and started.isdigit() and len(started) < 20:
            waited_us = self._now_us() - int(started)
            if self._deadline_us < waited_us < NONSENSE_US:
                raise DeadlinePassed(waited_us / 1e6, self._deadline_us / 1e6)
        held = self._of_key.get(key, 0)
        if self.under_way >= self._shared:
            share = max(1, self._shared // (len(self._of_key) + (held == 0)))
            if held >= share:
                policy = f'"share";q={share};qu="concurrent-requests"'
                raise TooMany(key, f"has {held} requests under way, and its share is {share} while places are scarce", policy)
            if self.under_way >= self._most:
                raise Overloaded(self.under_way)
        rate = self._per_key_s(key)
        said = self._spend(key, rate) if rate else NONE
        self.under_way += 1
        self._of_key[key] = held + 1
        return said

    def leave(self, key: str) -> None:
        """The request of a key that was let in is answered."""
        self.under_way -= 1
        held = self._of_key[key] - 1
        if held:
            self._of_key[key] = held
        else:
            del self._of_key[key]

    def _spend(self, key: str, rate: float) -> Headers:
        # why: the generic cell rate algorithm (ITU-T I.371, annex A): one number a key says how far its allowance is spent
        now_s = self._now_s()
        until = max(self._spent_until.get(key, now_s), now_s) + 1 / rate
        # why: one request may always be saved up for, also where a key has less than one a second
        window_s = max(WINDOW_S, 1 / rate)
        policy = f'"rate";q={rate * window_s:g};w={math.ceil(window_s)}'
        if until - now_s > window_s + EXACT_S:
            wait_s = math.ceil(until - now_s - window_s - EXACT_S)
            raise TooMany(key, f"may ask {rate:g} times a second", policy, wait_s)
        self._spent_until[key] = until
        return limits(policy, int((window_s - (until - now_s)) * rate + 1e-9), math.ceil(until - now_s))
