"""A small installation with a live comparison: a champion, a challenger that earns twice as much, and a release in the shadow."""

from pathlib import Path

import numpy as np
import polars as pl

from contracts.clock import DAY_US
from contracts.tables import DECISIONS, OUTCOMES, SHADOW
from contracts.traffic import CHAMPION, CONTROL
from decisions.assignment import assign
from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act, Ledger
from releases.stages import register, start, to_challenger, to_shadow
from storage.tables import polars_schema
from training.experiment import Sources
from training.train import start_parts
from use_cases.definition import UseCase


def releases(use_case: UseCase, ledger: Ledger, bundles: Path, began_us: int) -> list[str]:
    """A champion, a challenger with half of the rest, and one in the shadow."""
    bundles.mkdir(exist_ok=True)
    ids = [write_bundle(bundles, start_parts(use_case, {"revision": name}), bundles.parent / "secrets") for name in ("one", "two", "three")]
    digests = [read_bundle(bundles, release_id).digest for release_id in ids]
    start(ledger, use_case.name, ids[0], digests[0], 0.2, Act("test", 0, "first"))
    for release_id, digest in zip(ids[1:], digests[1:], strict=True):
        register(ledger, use_case.name, release_id, digest, Act("test", began_us, "trained"))
    to_shadow(ledger, use_case.name, ids[1], Act("test", began_us, "trained"))
    to_challenger(ledger, use_case.name, ids[1], 0.5, Act("test", began_us, "unclear"))
    to_shadow(ledger, use_case.name, ids[2], Act("test", began_us, "trained"))
    return ids


def fill(place: Sources, shadow: str, began_us: int, count: int = 3_000, lost: str = "") -> None:
    """One decision an entity over ten days; control earns 1 on average, the champion 2, the challenger 4, and `mens` as much again.

    Of the arm `lost` every second decision is missing.
    """
    rng = np.random.default_rng(3)
    plan, schema = place.ledger.plan(place.use_case.name), place.use_case.schema
    assert plan is not None
    names = [candidate.candidate_id for candidate in place.use_case.catalogue.candidates]
    decided, followed, scored = [], [], []
    for n in range(count):
        given = assign(plan, f"e{n}")
        if given.arm == lost and n % 2:
            continue
        at = began_us + n * 10 * DAY_US // count
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
