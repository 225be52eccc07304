from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.clock import Clock
from contracts.errors import InvalidInput, NotFound, Unauthorized
from releases.ledger import Act, Ledger
from serving.audit import INSTALLATION, QUIET_S, FailedSignIns, drop_key, make_key, rotate_key
from serving.keys import Scope, list_keys
from storage.layout import Layout

ACT = Act("ada", 7, "")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def ledger(layout: Layout) -> Iterator[Ledger]:
    made = Ledger(layout.ledger)
    yield made
    made.close()


def said(ledger: Ledger) -> list[tuple[str, str]]:
    return [(row.action, row.reason) for row in ledger.rows(INSTALLATION)]


def test_a_key_that_is_not_made_leaves_no_row(layout: Layout, ledger: Ledger) -> None:
    make_key(ledger, layout, ACT, "game", [Scope.DECIDE])
    with pytest.raises(InvalidInput, match="name"):
        make_key(ledger, layout, ACT, "game")
    with pytest.raises(NotFound):
        rotate_key(ledger, layout, ACT, "nobody")
    with pytest.raises(NotFound):
        drop_key(ledger, layout, ACT, "nobody")
    assert said(ledger) == [("make-key", "key `game`, which may decide")]


def test_a_key_whose_row_cannot_be_written_is_not_made(layout: Layout, ledger: Ledger) -> None:
    ledger.close()
    with pytest.raises(Exception, match="closed"):
        make_key(ledger, layout, ACT, "game")
    assert list_keys(layout) == []


def test_sign_ins_that_fail_in_bulk_are_a_row_a_minute(ledger: Ledger) -> None:
    now = [100.0]
    failed = FailedSignIns(ledger, Clock(), lambda: now[0])
    for _ in range(1_000):
        failed.add("10.0.0.7", Unauthorized("The key is not known"))
    now[0] += QUIET_S
    failed.add("10.0.0.8", Unauthorized("The key is not known"))
    rows = ledger.rows(INSTALLATION)
    assert [row.details for row in rows] == [{"count": 1_000, "address": "10.0.0.8"}, {"count": 1, "address": "10.0.0.7"}]
    assert rows[0].action == "sign-in" and rows[0].reason.startswith("1000 sign-ins, the last one from 10.0.0.8, refused: The key is not")
