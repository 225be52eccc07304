"""Compiling scorers: before they serve where that is quick, else from a thread beside the answers; and saying where it cannot be done."""

import logging
import queue
import threading
import time
from pathlib import Path

from contracts.errors import NotCompiled
from contracts.metrics import SCORER_COMPILED
from decisions.kernel import is_built, load_kernel
from decisions.scorer import LightGBMScorer, Scorer
from serving.metrics import Metrics

JOIN_S = 1.0
"""For how long who ends waits for what is being compiled; it is no loss if that does not come to its end."""

BUILDING_S = 10.0
"""For how long a replica that starts waits for the compiler; it takes a fifth of a second."""

MOST_LEAVES = 15_000
"""A model of at most so many leaves is proven before it serves: some half a second. A larger one serves meanwhile, by LightGBM's call."""

_LOG = logging.getLogger(__name__)


def prepare(folder: Path) -> None:
    """Build this machine's kernel, where that was not done before, so that the first model need not wait for it."""
    try:
        load_kernel(folder, within_s=BUILDING_S)
    except NotCompiled as error:
        _LOG.warning("models will be scored by LightGBM's own call: %s", error)


class Compiling:
    """Compiles what can be. What cannot be goes on to serve by LightGBM's own call.

    Args:
        folder: where this machine's kernel is kept.
        metrics: told which releases are compiled.
    """

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self._folder = folder
        self._metrics = metrics
        self._offered: queue.Queue[tuple[str, str, LightGBMScorer] | None] = queue.Queue()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def at_once(self, use_case: str, release_id: str, scorer: Scorer) -> None:
        """Compile a scorer before it begins to serve: in milliseconds where this machine has proven it before, else if it is not too large.

        Where the kernel is still to be built it is left to `offer`.
        """
        if not isinstance(scorer, LightGBMScorer) or scorer.tried:
            return
        if scorer.recall(self._folder):
            scorer.tried = True
            self._metrics.set(SCORER_COMPILED, use_case, release_id, value=1.0)
        elif scorer.leaves <= MOST_LEAVES and is_built(self._folder):
            scorer.tried = True
            self._compile(use_case, release_id, scorer)

    def offer(self, use_case: str, release_id: str, scorer: Scorer) -> None:
        """Have a scorer compiled when it is one that can be, and has not been tried; never waits."""
        if not isinstance(scorer, LightGBMScorer) or scorer.tried:
            return
        scorer.tried = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="compiling", daemon=True)
            self._thread.start()
        self._offered.put((use_case, release_id, scorer))

    def stop(self) -> None:
        """End the thread once it has ended what it compiles; waits a moment for that."""
        self._stopped.set()
        self._offered.put(None)
        if self._thread is not None:
            self._thread.join(JOIN_S)

    def _run(self) -> None:
        while (offered := self._offered.get()) is not None and not self._stopped.is_set():
            self._compile(*offered)

    def _compile(self, use_case: str, release_id: str, scorer: LightGBMScorer) -> None:
        began = time.perf_counter()
        try:
            scorer.compile(self._folder)
            _LOG.info("the scorer of %s of %s is compiled, in %.2f s", release_id, use_case, time.perf_counter() - began)
        except NotCompiled as error:
            _LOG.warning("%s of %s: %s", release_id, use_case, error)
        except Exception:  # noqa: BLE001  why: whatever it is, what serves serves on, and the next one is to be compiled
            _LOG.exception("the scorer of %s of %s could not be compiled", release_id, use_case)
        self._metrics.set(SCORER_COMPILED, use_case, release_id, value=float(scorer.compiled is not None))
