from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contracts.clock import DAY_US
from contracts.traffic import CANARY
from decisions.gain import Entities
from decisions.verdict import Compared, Rules
from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act, Ledger
from releases.stages import register, start, to_challenger, to_shadow
from storage.layout import Layout
from storage.tables import Tables
from tests.experiment_log import fill
from training.canary import earned, earned_so_far
from training.experiment import Sources
from training.train import start_parts
from use_cases.definition import CanaryStep, Rollout, load

USE_CASE = "email_promotion"
NO_RAILS = Rules(guard_rails=())


def entities(mean: float, count: int) -> Entities:
    """One decision each; their rewards are `mean` on average, and spread by half of it."""
    rewards = mean * np.tile([0.5, 1.5], count // 2)
    return Entities(rewards, np.ones(count), rewards**2)


def compared(ours: float, theirs: float, count: int = 2_000, days: float = 5.0, sample_ratio: float = 1.0) -> Compared:
    return Compared(CANARY, entities(ours, count), entities(theirs, 10 * count), days, sample_ratio)


@pytest.mark.parametrize(
    ("case", "max_loss", "step_loss", "step", "said"),
    [
        (compared(1.0, 1.0), 0.0, None, "go on", "not shown to lose"),
        (compared(0.8, 1.0), 0.0, None, "stop", "loses more than 0% of what the champion earns, beyond doubt"),
        # it may lose a quarter, so a fifth does not stop it; nor has it shown that it loses no more than a tenth
        (compared(0.8, 1.0), 0.25, None, "go on", "not shown to lose"),
        (compared(0.8, 1.0), 0.25, 0.1, "wait", "not shown yet to lose no more than 10%"),
        (compared(0.95, 1.0, 200), 0.0, 0.1, "wait", "not shown yet to lose no more than 10%"),
        (compared(1.0, 1.0), 0.0, 0.1, "go on", "it loses no more than 10%"),
        (compared(1.2, 1.0), 0.0, 0.0, "go on", "it loses no more than 0%"),
        # too early to say: who asks for no evidence does not wait for it, and nobody is stopped
        (compared(0.5, 1.0, days=1.0), 0.0, None, "go on", "1.0 matured days of 2"),
        (compared(0.5, 1.0, days=1.0), 0.0, 0.1, "wait", "1.0 matured days of 2"),
        (compared(0.5, 1.0, count=40), 0.0, 0.1, "wait", "40 entities with a reward"),
        (compared(0.5, 1.0, sample_ratio=1e-6), 0.0, 0.1, "wait", "did not fall into the arms as planned"),
        # whatever it earns, and whether or not its step asks for evidence
        (compared(1.2, 1.0, sample_ratio=1e-6), 0.0, None, "wait", "did not fall into the arms as planned"),
        (Compared(CANARY, entities(1.0, 0), entities(1.0, 10), 5.0, 1.0), 0.0, 0.1, "wait", "money says nothing yet"),
    ],
)
def test_a_canary_stops_goes_on_or_waits(case: Compared, max_loss: float, step_loss: float | None, step: str, said: str) -> None:
    found = earned(case, NO_RAILS, max_loss=max_loss, step_loss=step_loss, unit="dollars")
    assert (found.step, said in found.reason) == (step, True), found.reason


def test_a_broken_guard_rail_of_the_use_case_stops_it() -> None:
    ours, theirs = entities(1.0, 2_000), entities(1.0, 20_000)
    degraded = (Entities(np.ones(2_000), np.ones(2_000)), Entities(np.zeros(20_000), np.ones(20_000)))
    case = Compared(CANARY, ours, theirs, 5.0, 1.0, {"degraded": degraded})
    found = earned(case, Rules(), max_loss=0.0, step_loss=None)
    assert found.step == "stop" and "share of degraded answers" in found.reason


def test_it_is_weighed_from_the_tables_since_it_got_its_share(tmp_path: Path) -> None:
    layout, began_us, now_us = Layout(tmp_path), 100 * DAY_US, 125 * DAY_US
    use_case = load(USE_CASE)
    layout.bundles.mkdir()
    ids = [write_bundle(layout.bundles, start_parts(use_case, {"revision": name}), layout.secrets) for name in ("one", "two")]
    ledger = Ledger(layout.ledger)
    act = Act("test", began_us, "because")
    start(ledger, USE_CASE, ids[0], read_bundle(layout.bundles, ids[0]).digest, 0.2, Act("test", 0, "first"))
    register(ledger, USE_CASE, ids[1], read_bundle(layout.bundles, ids[1]).digest, act)
    to_shadow(ledger, USE_CASE, ids[1], act)
    stepped = replace(use_case, rollout=Rollout((CanaryStep(0.25, max_loss=0.0),)))
    sources = Sources(stepped, Tables(layout.tables), layout.bundles, ledger, now_us)
    assert earned_so_far(sources) is None
    to_challenger(ledger, USE_CASE, ids[1], 0.25, act, CANARY)
    waits = earned_so_far(sources)
    assert waits is not None and (waits.step, waits.gain) == ("wait", None)
    fill(sources, ids[1], began_us)
    found = earned_so_far(sources)
    ledger.close()
    assert found is not None and found.step == "go on" and found.gain is not None and found.gain.best.value > 0.0
