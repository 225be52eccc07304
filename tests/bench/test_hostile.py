from collections import Counter

import pytest

from bench.hostile import Found, judge
from bench.hostile_requests import Hostile, hostile

PROBLEM = b'{"type":"urn:x","title":"t","status":422,"detail":"d","request_id":"r","field":"entity_id"}'


def answer(status: int, body: bytes = PROBLEM) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: 1\r\n\r\n" % status + body


def counts(case: Hostile, answered: bytes) -> tuple[int, int, int, int]:
    """Faults, silent, unclear and wrong ones."""
    found = Found()
    judge(found, case, answered)
    return len(found.faults), len(found.silent), len(found.unclear), len(found.wrong)


@pytest.mark.parametrize(
    "case, answered, expected",
    [
        (Hostile("x", b""), answer(200), (0, 0, 0, 0)),
        (Hostile("x", b""), answer(500), (1, 0, 1, 0)),
        (Hostile("x", b""), b"", (0, 1, 0, 0)),
        (Hostile("x", b"", framed=False), b"", (0, 0, 0, 0)),
        (Hostile("x", b"", field="entity_id", status=422), answer(422), (0, 0, 0, 0)),
        (Hostile("x", b"", field="context", status=422), answer(422), (0, 0, 1, 0)),
        (Hostile("x", b"", status=413), answer(200), (0, 0, 0, 1)),
        (Hostile("x", b""), answer(422, b"no"), (0, 0, 1, 0)),
        (Hostile("x", b""), answer(422, PROBLEM.replace(b'"entity_id"', b"null")), (0, 0, 1, 0)),
        (Hostile("x", b""), b"HTTP/1.1 100 Continue\r\n\r\n" + answer(200), (0, 0, 0, 0)),
    ],
)
def test_an_answer_is_judged(case: Hostile, answered: bytes, expected: tuple[int, int, int, int]) -> None:
    assert counts(case, answered) == expected


def test_what_needs_no_answer_is_counted_and_so_is_what_had_none() -> None:
    found = Found()
    for answered in (b"", answer(400), b""):
        judge(found, Hostile("a path", b"", framed=False), answered)
    judge(found, Hostile("x", b""), answer(200))
    assert (found.unframed, found.left, found.silent) == (3, 2, [])


def test_the_same_seed_makes_the_same_cases_of_every_kind() -> None:
    cases = list(hostile("shop", "key", 7, 400))
    assert [case.raw for case in cases] == [case.raw for case in hostile("shop", "key", 7, 400)]
    assert set(Counter(case.how for case in cases)) >= {"a value", "a field", "a text", "a path", "a header", "framing", "nested"}
