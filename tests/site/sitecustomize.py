"""Saves coverage now and then in processes that are measured: Ray ends its workers in a way that no handler survives."""

import os
import threading
import time

MOST_S = 16.0


def save_now_and_then() -> None:
    """Save what was covered so far, for as long as the process lives: ever more rarely, since it costs, and finds ever less that is new."""
    from coverage import Coverage

    pause_s = 2.0
    while (measuring := Coverage.current()) is not None:
        time.sleep(pause_s)
        measuring.save()
        pause_s = min(2.0 * pause_s, MOST_S)


if "COVERAGE_PROCESS_CONFIG" in os.environ:
    threading.Thread(target=save_now_and_then, name="coverage", daemon=True).start()
