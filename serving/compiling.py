"""Compiling scorers: a thread that makes what serves many times faster, beside the answers, and says where it cannot."""

import logging
import queue
import threading
from pathlib import Path

from contracts.errors import NotCompiled
from contracts.metrics import SCORER_COMPILED
from decisions.scorer import LightGBMScorer, Scorer
from serving.metrics import Metrics

JOIN_S = 1.0
"""For how long who ends waits for what is being compiled; it is no loss if that does not come to its end."""

_LOG = logging.getLogger(__name__)


class Compiling:
    """The thread that compiles. What is offered serves already, by LightGBM's own call, and goes on to where it cannot be compiled.

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

    def recall(self, use_case: str, release_id: str, scorer: Scorer) -> None:
        """Let a scorer that was proven on this machine before be compiled when it begins to serve; takes some milliseconds."""
        if isinstance(scorer, LightGBMScorer) and not scorer.tried and scorer.recall(self._folder):
            scorer.tried = True
            self._metrics.set(SCORER_COMPILED, use_case, release_id, value=1.0)

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
            use_case, release_id, scorer = offered
            try:
                scorer.compile(self._folder)
                _LOG.info("the scorer of %s of %s is compiled", release_id, use_case)
            except NotCompiled as error:
                _LOG.warning("%s of %s: %s", release_id, use_case, error)
            except Exception:  # noqa: BLE001  why: whatever it is, what serves serves on, and the next one is to be compiled
                _LOG.exception("the scorer of %s of %s could not be compiled", release_id, use_case)
            self._metrics.set(SCORER_COMPILED, use_case, release_id, value=float(scorer.compiled is not None))
