"""The latest moment that any process of an installation has seen: a file that all map, so that none goes back behind the others.

It matters where the machine's clock is set back: who runs goes on from the latest moment (`contracts.clock.SteadyTime`), and who starts
then must not begin before it.
"""

import mmap
import os
import struct

from contracts import clock
from contracts.clock import DAY_US, SteadyTime
from storage.layout import Layout

MOST_AHEAD_US = DAY_US
"""A moment further ahead of the machine's clock is not followed: who starts with a clock that was mended must not live in that future."""

_MOMENT = struct.Struct("<q")


class LatestMoment:
    """The file, opened by one process.

    Args:
        layout: of the installation.
        steady: the time of the process, where it is another than the clock's.
    """

    def __init__(self, layout: Layout, steady: SteadyTime | None = None) -> None:
        self._steady = steady or clock.STEADY
        layout.run.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(layout.run / "latest_moment", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            # why: a page that a full disk cannot give later would end whoever touches it
            os.posix_fallocate(descriptor, 0, mmap.PAGESIZE)
            self._map = mmap.mmap(descriptor, mmap.PAGESIZE)
        finally:
            os.close(descriptor)

    def meet(self) -> None:
        """Take over the moment where it is later, and say what it is now."""
        (seen_us,) = _MOMENT.unpack_from(self._map)
        now_us = self._steady.now_us()
        if now_us < seen_us <= now_us + MOST_AHEAD_US:
            self._steady.not_before(seen_us)
        elif now_us != seen_us:
            self._map[: _MOMENT.size] = _MOMENT.pack(now_us)
