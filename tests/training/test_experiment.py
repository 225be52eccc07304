"""The state of a live comparison, read from the tables, the ledger and the bundles of a small installation."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contracts.clock import DAY_US
from contracts.tables import DECISIONS, OUTCOMES, SHADOW
from contracts.traffic import CHAMPION, CONTROL
from decisions.assignment import assign
from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act, Ledger
from releases.stages import register, start, to_challenger, to_shadow
from storage.tables import Tables, polars_schema
from training.experiment import Sources, looks, state_of
from training.train import start_parts
from use_cases.definition import UseCase, load

BEGAN = 10 * DAY_US
NOW = BEGAN + 30 * DAY_US


@pytest.fixture
def use_case() -> UseCase:
    return load("email_promotion")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def sources(use_case: UseCase, ledger: Ledger, folder: Path) -> Sources:
    return Sources(use_case, Tables(folder / "tables"), folder / "bundles", ledger, NOW)


def releases(use_case: UseCase, ledger: Ledger, folder: Path) -> list[str]:
    """A champion, a challenger with half of the rest, and one in the shadow."""
    (folder / "bundles").mkdir()
    ids = [write_bundle(folder / "bundles", start_parts(use_case, {"revision": name})) for name in ("one", "two", "three")]
    digests = [read_bundle(folder / "bundles", release_id).digest for release_id in ids]
    start(ledger, use_case.name, ids[0], digests[0], 0.2, Act("test", 0, "first"))
    for release_id, digest in zip(ids[1:], digests[1:], strict=True):
        register(ledger, use_case.name, release_id, digest, Act("test", BEGAN, "trained"))
    to_shadow(ledger, use_case.name, ids[1], Act("test", BEGAN, "trained"))
    to_challenger(ledger, use_case.name, ids[1], 0.5, Act("test", BEGAN, "unclear"))
    to_shadow(ledger, use_case.name, ids[2], Act("test", BEGAN, "trained"))
    return ids


def fill(place: Sources, shadow: str, count: int = 3_000) -> None:
    """One decision an entity over ten days; control earns 1 on average, the champion 2, the challenger 4, and `mens` as much again."""
    rng = np.random.default_rng(3)
    plan, schema = place.ledger.plan(place.use_case.name), place.use_case.schema
    assert plan is not None
    names = [candidate.candidate_id for candidate in place.use_case.catalogue.candidates]
    decided, followed, scored = [], [], []
    for n in range(count):
        given = assign(plan, f"e{n}")
        at = BEGAN + n * 10 * DAY_US // count
        place_of = names.index(place.use_case.baseline) if given.arm == CONTROL else int(rng.integers(len(names)))
        base = {CONTROL: 1.0, CHAMPION: 2.0}.get(given.arm, 4.0)
        known = {"decision_id": f"d{n}", "entity_id": f"e{n}", "decided_at": at, "arm": given.arm, "release_id": given.release_id}
        shown = {"action": names[place_of], "propensity": 1.0 if given.arm == CONTROL else 1 / len(names), "degraded": []}
        listed = {"candidate_ids": names, "p_in_arm": [1 / len(names)] * len(names), "source": "served"}
        features = {"feature_set": place.use_case.feature_set.digest, "features": [float(n % 5)] * len(place.use_case.feature_set.names)}
        decided.append(known | shown | listed | features)
        reward = round(1_000_000 * base * rng.exponential() * (2.0 if names[place_of] == "mens" else 1.0))
        followed.append(
            {"outcome_id": f"o{n}", "decision_id": f"d{n}", "event_time": at + 1, "ingested_time": at + 1, "reward": reward, "kind": ""}
        )
        scored.append({"decision_id": f"d{n}", "release_id": shadow, "scored_at": at, "candidate_ids": ["mens"], "p_in_arm": [1.0]})
    with place.tables.locked():
        parts = []
        for table, rows in ((DECISIONS, decided), (OUTCOMES, followed), (SHADOW, scored)):
            parts += place.tables.write_parts(schema, table, pl.DataFrame(rows, schema=polars_schema(table, schema)), "test")
        place.tables.commit(parts, 1)


def test_before_the_first_release_there_is_nothing(use_case: UseCase, ledger: Ledger, tmp_path: Path) -> None:
    assert state_of(sources(use_case, ledger, tmp_path)) is None
    assert looks(sources(use_case, ledger, tmp_path)) == {}


def test_arms_without_decisions_are_there_without_figures(use_case: UseCase, ledger: Ledger, tmp_path: Path) -> None:
    releases(use_case, ledger, tmp_path)
    found = state_of(sources(use_case, ledger, tmp_path))
    assert found is not None and [arm.arm for arm in found.arms] == ["control", "champion", "challenger"]
    assert all(arm.value is None and arm.decisions == 0 for arm in found.arms)
    assert [conclusion.step for conclusion in found.conclusions] == ["wait"]
    assert found.shadow is not None and found.shadow.value is None


def test_what_every_arm_earns_what_is_concluded_and_how_the_shadow_would_do(use_case: UseCase, ledger: Ledger, tmp_path: Path) -> None:
    ids = releases(use_case, ledger, tmp_path)
    place = sources(use_case, ledger, tmp_path)
    fill(place, ids[2])
    found = state_of(place)
    assert found is not None
    control, champion, challenger = found.arms
    assert (control.share, champion.share, challenger.share) == pytest.approx((0.2, 0.4, 0.4))
    for arm, truth in ((control, 1.0), (champion, 2.0 * 4 / 3), (challenger, 4.0 * 4 / 3)):
        assert arm.value is not None and arm.value.low < truth < arm.value.high
    assert control.above_control is None and champion.above_control is not None
    assert champion.above_control.low < 2.0 * 4 / 3 - 1.0 < champion.above_control.high
    (conclusion,) = found.conclusions
    assert (conclusion.release_id, conclusion.step) == (ids[1], "promote")
    assert conclusion.sample_ratio > 0.001 and challenger.conclusion is conclusion
    assert found.shadow is not None and found.shadow.value is not None
    value = found.shadow.value
    assert value.decisions == champion.decisions and value.covered == pytest.approx(1.0)
    assert value.dr.low < 4.0 < value.dr.high and value.gain.low > 0.0


def test_what_was_known_at_the_end_of_each_day(use_case: UseCase, ledger: Ledger, tmp_path: Path) -> None:
    ids = releases(use_case, ledger, tmp_path)
    place = sources(use_case, ledger, tmp_path)
    fill(place, ids[2])
    course = looks(place)[ids[1]]
    assert [look.day for look in course] == [float(day) for day in range(1, 17)]
    widths = [look.gain.high - look.gain.low for look in course]
    assert widths[9] < widths[4] < widths[0]
    state = state_of(place)
    assert state is not None and state.conclusions[0].gain is not None
    assert course[-1].gain.value == pytest.approx(state.conclusions[0].gain.value)
