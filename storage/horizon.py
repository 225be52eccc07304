"""The horizon: ids of what is too old to be sent again are forgotten, a step at a time."""

from collections.abc import Mapping
from functools import partial

from storage.journal import Journal
from storage.transaction import Write

STEP = 2_000
"""Ids deleted in one transaction, so that nobody waits for long."""


def forget_ids(journal: Journal, before_us: Mapping[tuple[str, str], int]) -> int:
    """Forget ids that are older than they need to be; how many.

    Args:
        journal: of the installation.
        before_us: for a kind (`event`, `decision`, `outcome`) and a use case, the time before which its ids are forgotten.
    """
    forgotten = 0
    after = b""
    while True:
        with journal.read() as read:
            entries = read.ids(after, STEP)
        if not entries:
            return forgotten
        old = [(key, at_us) for key, at_us in entries if at_us < before_us.get(_owner(key), at_us)]
        if old:
            forgotten += journal.write(partial(_forget, old=old))
        after = entries[-1][0]


def _forget(write: Write, *, old: list[tuple[bytes, int]]) -> int:
    return write.forget_ids(old)


def _owner(key: bytes) -> tuple[str, str]:
    kind, use_case, _ = key.decode().split("\0", 2)
    return kind, use_case
