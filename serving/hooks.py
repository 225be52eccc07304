"""Webhooks: a signed request becomes a row of the inbox, and the inbox starts the flow."""

import time
from collections.abc import Mapping, Sequence

import msgspec

from contracts.clock import Clock
from contracts.errors import NotFound, TooLarge, Unauthorized
from releases.inbox import Inbox
from releases.signature import verify
from serving.keys import hook_secrets
from serving.messages import HookAnswer, read
from storage.layout import Layout

FLOWS = ("features", "train", "rollout", "monitor", "compact")
"""The flows that a webhook may start, which are the names of the hooks."""

MOST_BYTES = 65_536


class Hooks:
    """Takes webhooks in. Its calls block on the disk: not for an event loop."""

    def __init__(self, layout: Layout, clock: Clock, names: Sequence[str] = FLOWS) -> None:
        self._layout = layout
        self._clock = clock
        self._names = names
        self._inbox = Inbox(layout.ledger, later=True)

    def take(self, name: str, headers: Mapping[str, str], body: bytes) -> HookAnswer:
        """Check a webhook and put it into the inbox; durable when it returns.

        Args:
            name: of the flow it asks for.
            headers: with names in lower case.
            body: as it came.

        Raises:
            NotFound: no flow of that name.
            TooLarge: the body is larger than 64 KiB.
            SignatureRefused: the signature does not hold, is stale, or was seen before.
            Unauthorized: no secret was ever made here.
            InvalidInput: the body is no JSON object.
            StoreUnavailable: the inbox cannot take a row now.
        """
        if name not in self._names:
            raise NotFound("hook", name, self._names)
        if len(body) > MOST_BYTES:
            raise TooLarge("the body of a webhook", MOST_BYTES, "bytes")
        secrets = hook_secrets(self._layout)
        if not secrets:
            raise Unauthorized("This installation has no secret for webhooks")
        now_s = time.time()
        hook = verify(secrets, headers, body, now_s)
        payload = read(_OBJECT, body) if body else {}
        row = self._inbox.trigger_hook(hook, name, payload, self._clock.now_us(), now_s)
        return HookAnswer(row.id, row.status)

    def close(self) -> None:
        """Close the inbox."""
        self._inbox.close()


_OBJECT = msgspec.json.Decoder(dict[str, object])
