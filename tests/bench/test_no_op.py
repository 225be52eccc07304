import argparse
import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from bench.no_op import COMMIT, COMMITS, NO_OP, OURS, _commit, _figures, _notes, _Taken
from bench.peers.no_op_on_ray import BODY, no_op

FOUND = {
    **{f"{OURS} {connections}": [_Taken(600.0, 1.5), _Taken(800.0, 1.7), _Taken(700.0, 1.6)] for connections in (1, 8, 32)},
    **{f"{NO_OP} {connections}": [_Taken(1_000.0, 0.5), _Taken(1_000.0, 0.5), _Taken(1_000.0, 0.6, 1)] for connections in (1, 8, 32)},
    COMMIT: [_Taken(3_000.0, 0.3), _Taken(3_000.0, 0.5), _Taken(3_000.0, 0.4)],
}


def test_a_decision_is_held_against_a_no_op_and_a_commit() -> None:
    at_8, at_32, added, failed = _figures(FOUND)
    assert (at_8.value, at_32.value) == (0.7, 0.7) and at_8.ok
    assert round(added.value, 9) == 1.0 and round(added.target, 9) == 1.1 and added.ok
    assert failed.value == 3.0 and not failed.ok
    notes = _notes(FOUND, 5_000, argparse.Namespace(replicas=2, trees=200, entities=10))
    assert "8 connections: 700/s (p50 1.60 ms); no-op 1,000/s (p50 0.50 ms); 0.70 ×, rounds 0.60 to 0.80" in notes
    assert notes[-1].endswith("p50 0.40 ms, rounds 0.30 to 0.50")


def test_commits_are_durable_and_stay(tmp_path: Path) -> None:
    first, second = _commit(tmp_path / "commits", 100), _commit(tmp_path / "commits", 100)
    assert min(first.half_ms, second.half_ms, first.rate) > 0.0
    assert (tmp_path / "commits" / "data.mdb").stat().st_size > 2 * COMMITS * 100


def test_the_no_op_gives_the_same_answer_with_headers_of_its_own_each_time() -> None:
    said: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append(message)
        if "headers" in message:
            message["headers"].append((b"x-request-id", b"1"))

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("it reads nothing")

    for _ in range(2):
        asyncio.run(no_op({"type": "http"}, receive, send))
    assert [message["body"] for message in said if "body" in message] == [BODY, BODY]
    assert [len(message["headers"]) for message in said if "headers" in message] == [3, 3]
