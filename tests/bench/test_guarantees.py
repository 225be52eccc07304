import asyncio
from collections.abc import Callable, Iterator

import msgspec
import pytest

from bench.guarantees import GUARANTEES, decide, deciding
from bench.promotion_world import CANDIDATES, entity
from contracts.records import Decision
from serving.app import App
from serving.service import DecisionService
from storage.journal import Journal


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[App, DecisionService, str]]:
    with deciding(entities=3, events=12, trees=5, seed=1) as made:
        yield made


@pytest.fixture
def ask(world: tuple[App, DecisionService, str]) -> Callable[..., None]:
    """Asks for a decision for each of three players, two at once."""
    app, _, owner = world

    def ask(key: str = owner) -> None:
        bodies = [b'{"entity_id":"%s"}' % entity(number).encode() for number in range(3)]
        asyncio.run(decide(app, {b"authorization": f"Bearer {key}".encode()}, bodies, 3, 2))

    return ask


def logged(journal: Journal) -> list[Decision]:
    with journal.read() as read:
        return [msgspec.msgpack.decode(record, type=Decision) for _, stream, record in read.records() if stream == "decisions"]


def test_with_everything_on_a_decision_is_logged_with_features_and_shares_of_all_candidates(
    world: tuple[App, DecisionService, str], ask: Callable[..., None]
) -> None:
    ask()
    decisions = logged(world[1].journal)[-3:]
    assert len({decision.features for decision in decisions}) == 3
    assert all(len(decision.candidates) == CANDIDATES for decision in decisions)
    assert all(len({candidate.p_in_arm for candidate in decision.candidates}) > 1 for decision in decisions)


def test_each_guarantee_is_really_off_when_it_is_switched_off(world: tuple[App, DecisionService, str], ask: Callable[..., None]) -> None:
    _, service, _ = world
    with pytest.raises(AssertionError, match="401"):
        ask("no key")
    with GUARANTEES["the key"](service):
        ask("no key")
    with GUARANTEES["features of its own"](service):
        ask()
    assert len({decision.features for decision in logged(service.journal)[-3:]}) == 1
    with GUARANTEES["a policy that explores"](service):
        ask()
    last = logged(service.journal)[-1]
    assert {candidate.p_in_arm for candidate in last.candidates} == {1.0 / CANDIDATES}
    before = len(logged(service.journal))
    with GUARANTEES["the durable log"](service):
        ask()
    assert len(logged(service.journal)) == before
