"""Saves coverage every few seconds in processes that are measured: Ray ends its workers in a way that no handler survives."""

import os
import threading
import time


def save_now_and_then() -> None:
    """Save what was covered so far, for as long as the process lives."""
    from coverage import Coverage

    while (measuring := Coverage.current()) is not None:
        time.sleep(2.0)
        measuring.save()


if "COVERAGE_PROCESS_CONFIG" in os.environ:
    threading.Thread(target=save_now_and_then, name="coverage", daemon=True).start()
