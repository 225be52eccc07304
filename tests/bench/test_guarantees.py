import asyncio
from collections.abc import Callable, Iterator

import msgspec
import pytest

from bench.guarantees import FEATURES, KEY, LOG, POLICY, SHOWN, Median, decide, deciding, switchable
from bench.promotion_world import CANDIDATES, NAME, entity
from contracts.records import DECISION_EVENT, Decision
from features.online import OnlineFeatures
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
    with switchable(service) as switch:
        with pytest.raises(AssertionError, match="401"):
            ask("no key")
        switch.without = frozenset({KEY})
        ask("no key")
        switch.without = frozenset({FEATURES})
        ask()
        assert len({decision.features for decision in logged(service.journal)[-3:]}) == 1
        switch.without = frozenset({POLICY})
        ask()
        last = logged(service.journal)[-1]
        assert {candidate.p_in_arm for candidate in last.candidates} == {1.0 / CANDIDATES}
        before = len(logged(service.journal))
        switch.without = frozenset({LOG})
        ask()
        assert len(logged(service.journal)) == before
        switch.without = frozenset()
        ask()
        assert len(logged(service.journal)) == before + 3
    with pytest.raises(AssertionError, match="401"):
        ask("no key")


def test_without_what_was_shown_before_a_limit_counts_nothing(world: tuple[App, DecisionService, str]) -> None:
    _, service, _ = world
    with switchable(service) as switch:
        state, online, now_us = service.journal.get_state(NAME, entity(0)), OnlineFeatures(service.use_cases[NAME].schema, 0), 2**60
        assert state is not None
        before = online.times_of(state, DECISION_EVENT, "candidate_id", now_us)
        switch.without = frozenset({SHOWN})
        assert before and not online.times_of(state, DECISION_EVENT, "candidate_id", now_us)


def test_a_median_of_differences_lies_between_what_it_says() -> None:
    found = Median.of([float(number) for number in range(101)])
    assert (found.middle, found.low, found.high) == (50.0, 40.0, 60.0)
    assert Median.of([3.0]) == Median(3.0, 3.0, 3.0)
