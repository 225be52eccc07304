import argparse

import psutil

from bench.bare_servers import Server
from bench.load import Loaded
from bench.served_decisions import CONNECTIONS, _figures, _notes, _series


def loaded(rate: float, failed: int = 0) -> Loaded:
    return Loaded(8, 2.0, {200: int(rate * 2), 503: failed}, 0, [], {345: int(rate * 2)}, 0.1)


FOUND = {
    **{f"ours {connections}": [loaded(900.0), loaded(1_000.0, 2), loaded(1_100.0)] for connections in CONNECTIONS},
    **{f"bare {connections}": [loaded(1_000.0)] * 3 for connections in CONNECTIONS},
    "mlflow": [loaded(200.0)] * 3,
}


def test_ours_is_held_against_the_fastest_bare_scorer_and_mlflow() -> None:
    at_8, at_32, mlflow, differing, failed = _figures(FOUND, 0)
    assert (at_8.value, at_32.value, mlflow.value) == (1.0, 1.0, 5.0) and at_8.ok and at_32.ok and mlflow.ok
    assert differing.ok and (failed.value, failed.ok) == (6.0, False)


def test_every_setting_that_was_tried_is_said_and_which_was_taken() -> None:
    slow, fast = (Server(name, 1, [], psutil.Process()) for name in ("1 worker, sync", "2 workers, async"))
    trials = {connections: {slow: 800.0, fast: 1_200.0} for connections in CONNECTIONS}
    notes = _notes(FOUND, trials, {"ours": 400.0}, argparse.Namespace(replicas=2, entities=10, events=5, trees=200))
    assert any("8: 1 worker, sync 800, 2 workers, async 1,200" in note for note in notes)
    assert any("bare scorer (2 workers, async) 1,000/s (p50 0.99 ms, p99 1.0 ms); 1.00 ×, rounds 0.90 to 1.10" in note for note in notes)
    assert notes[-1] == "peak memory: ours 400 MB"


def test_the_plot_has_a_line_for_each_server() -> None:
    lines = _series(FOUND).lines
    assert lines["Offerloop, everything on"] == {"1": 1_000.0, "8": 1_000.0, "32": 1_000.0} and lines["MLflow"] == {"8": 200.0}
