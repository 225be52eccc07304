"""What is sent twice, late or out of order leaves the same features on every engine, by way of the real journal and the real tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from random import Random

import msgspec
import pytest

from contracts.clock import HOUR_US
from contracts.errors import Conflict
from contracts.records import Event
from features.definitions import FeatureSet
from tests.engines.engines import EACH_JOB, as_table, from_files, job_named
from tests.engines.journey import Arrived, travel
from tests.engines.random_histories import History, Step, draw_history
from tests.engines.random_sets import SCHEMA, draw_set
from tests.engines.reference import reference
from tests.engines.rows import Row
from tests.engines.test_obligations import BASE, FEATURES, purchase
from tests.engines.world import NOON
from tests.engines.world import SCHEMA as SHOP

HISTORIES = 80
LATE = purchase(4, NOON - 25 * HOUR_US, 11, ingested=NOON - 5)


def again(event: Event) -> Event:
    """The same event, sent once more when its moment is long past."""
    return msgspec.structs.replace(event, ingested_time=NOON - 1)


REPEATED = {
    "at once": [BASE[0], BASE[0], BASE[1], BASE[1], BASE[2], BASE[2], LATE, LATE],
    "after the others": [*BASE, LATE, *map(again, BASE)],
    "many times": [*BASE, *map(again, BASE[::-1]), LATE, *[again(LATE)] * 9, *map(again, BASE)],
}


@pytest.mark.parametrize("name", REPEATED)
def test_what_comes_again_changes_nothing_online(name: str, tmp_path: Path) -> None:
    once = travel(tmp_path / "once", FEATURES, SHOP, [*BASE, LATE, Row("r", "p", NOON, 4)])
    more = travel(tmp_path / "more", FEATURES, SHOP, [*REPEATED[name], Row("r", "p", NOON, 4)])
    assert more.found == once.found == reference(FEATURES, SHOP, [*BASE, LATE], [Row("r", "p", NOON, 4)])
    assert (more.kept, more.dropped) == (4, len(REPEATED[name]) - 4)
    assert more.table.equals(once.table)


@pytest.mark.parametrize("job", EACH_JOB)
def test_what_comes_again_changes_nothing_in_tables(job: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    steps = [msgspec.structs.replace(e, entity_id=name, event_id=f"{name}-{e.event_id}") for name in REPEATED for e in REPEATED[name]]
    rows = [Row(name, name, NOON, 4) for name in REPEATED]
    files = travel(tmp_path, FEATURES, SHOP, steps).files
    expected = reference(FEATURES, SHOP, [*BASE, LATE], [Row("r", "p", NOON, 4)])["r"]
    assert from_files(job_named(job, request), FEATURES, SHOP, files, rows) == dict.fromkeys(REPEATED, expected)


def test_an_id_that_comes_with_other_content_is_refused(tmp_path: Path) -> None:
    for number, other in enumerate(
        (
            msgspec.structs.replace(BASE[0], fields={**BASE[0].fields, "amount": 8}),
            msgspec.structs.replace(BASE[0], event_time=BASE[0].event_time + 1),
            msgspec.structs.replace(BASE[0], entity_id="another"),
        )
    ):
        with pytest.raises(Conflict):
            travel(tmp_path / str(number), FEATURES, SHOP, [*BASE, other])


@dataclass(frozen=True)
class Journey:
    """Random histories that were sent, side by side, and what arrived."""

    feature_set: FeatureSet
    histories: Sequence[History]
    arrived: Arrived

    @property
    def events(self) -> list[Event]:
        return [event for history in self.histories for event in history.events]

    @property
    def rows(self) -> list[Row]:
        return [row for history in self.histories for row in history.rows]


@pytest.fixture(scope="module", params=range(2))
def journey(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Journey:
    seed = f"{request.config.getoption('--histories-seed', 20_241_121)}/journey/{request.param}"
    print(f"seed {seed}")
    chance = Random(seed)
    feature_set = draw_set(chance)
    histories = [draw_history(chance, f"p{number}", feature_set) for number in range(HISTORIES)]
    steps: list[Step] = [step for step in chain(*zip_longest(*(history.steps for history in histories))) if step is not None]
    asked = [step for step in steps if isinstance(step, Event) or step.seen_seq is not None]
    return Journey(feature_set, histories, travel(tmp_path_factory.mktemp("journey"), feature_set, SCHEMA, asked))


def test_the_table_holds_each_event_once_as_it_came_first(journey: Journey) -> None:
    sent = sum(isinstance(step, Event) for history in journey.histories for step in history.steps)
    assert (journey.arrived.kept, journey.arrived.kept + journey.arrived.dropped) == (len(journey.events), sent)
    assert journey.arrived.dropped > HISTORIES // 5
    assert journey.arrived.table.sort("event_id").equals(as_table(journey.events, SCHEMA).sort("event_id"))


def test_online_equals_the_definitions(journey: Journey) -> None:
    rows = [row for row in journey.rows if row.seen_seq is not None]
    expected = reference(journey.feature_set, SCHEMA, journey.events, rows)
    assert journey.arrived.found == expected
    assert {name: row.freshness for name, row in journey.arrived.found.items()} == {name: row.freshness for name, row in expected.items()}


@pytest.mark.parametrize("job", EACH_JOB)
def test_tables_equal_the_definitions(job: str, journey: Journey, request: pytest.FixtureRequest) -> None:
    found = from_files(job_named(job, request), journey.feature_set, SCHEMA, journey.arrived.files, journey.rows)
    assert found == reference(journey.feature_set, SCHEMA, journey.events, journey.rows)
