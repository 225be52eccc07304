"""What the flow `monitor` makes of live comparisons."""

from dataclasses import replace
from pathlib import Path

import pytest

from contracts.clock import DAY_US
from contracts.metrics import VERDICTS
from contracts.settings import Settings, Store
from contracts.traffic import CANARY
from flows.monitor import conclude_all, experiments_of, look_at_all, shadow_of
from flows.place import Place
from releases.ledger import Act
from releases.stages import retire, to_challenger
from services.credentials import make_credentials
from storage.installation import open_installation
from storage.layout import Layout
from storage.tables import Tables
from tests.experiment_log import fill, releases
from tests.flows.conftest import USE_CASE
from training.experiment import Sources
from use_cases.definition import CanaryStep, Rollout, load, load_all


@pytest.fixture
def quiet(tmp_path: Path) -> Place:
    """An installation without a release."""
    settings = Settings(state=str(tmp_path / "quiet"), use_cases=(USE_CASE,), store=Store(map_size_bytes=2**26))
    make_credentials(settings)
    layout = Layout(settings.folder)
    return Place(settings, layout, open_installation(layout, settings.clock).clock, load_all(settings.use_cases))


@pytest.fixture
def compared(quiet: Place) -> list[str]:
    """Ten days of a challenger that earns twice as much; all matured."""
    place, now_us = quiet, quiet.clock.now_us()
    with place.ledger() as ledger:
        began_us = now_us - 25 * DAY_US
        ids = releases(load(USE_CASE), ledger, place.layout.bundles, began_us)
        fill(Sources(load(USE_CASE), Tables(place.layout.tables), place.layout.bundles, ledger, now_us), ids[2], began_us)
    return ids


def test_a_comparison_is_measured_and_concluded(quiet: Place, compared: list[str]) -> None:
    place = quiet
    champion, challenger, shadow = compared
    experiments = look_at_all.fn(place)
    (measured,) = experiments_of(experiments[USE_CASE])
    assert (measured.release_id, measured.verdict, measured.verdict in VERDICTS) == (challenger, "ship", True)
    assert measured.gain is not None and measured.gain.low is not None and measured.gain.low > 0.0
    assert set(measured.guard_rails.values()) <= {"held", "open"} and len(measured.guard_rails) == 4
    beside = shadow_of(experiments[USE_CASE])
    assert beside is not None and beside.release_id == shadow and beside.gain.value > 0.0

    (conclusion,) = conclude_all.fn(place, experiments)
    assert conclusion.step == "promote"
    with place.ledger() as ledger:
        assert (ledger.stage_of(challenger), ledger.stage_of(champion)) == ("champion", "retired")
        newest = ledger.rows(USE_CASE, limit=1)[0]
    assert newest.actor == "flow monitor" and "better" in newest.reason
    # what was concluded once is not concluded again
    assert conclude_all.fn(place, experiments) == [conclusion]
    assert experiments_of(look_at_all.fn(place)[USE_CASE]) == ()


def test_a_use_case_without_a_release_is_left_out(quiet: Place) -> None:
    assert look_at_all.fn(quiet) == {}


def test_where_nothing_is_compared_nothing_is_concluded(place: Place) -> None:
    experiments = look_at_all.fn(place)
    assert set(experiments) == {USE_CASE}
    assert (experiments_of(experiments[USE_CASE]), shadow_of(experiments[USE_CASE])) == ((), None)
    assert conclude_all.fn(place, experiments) == []


def test_whose_approval_has_become_void_is_not_promoted(quiet: Place, compared: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    place = replace(quiet, use_cases={USE_CASE: replace(load(USE_CASE), approvers=("anna",))})
    (conclusion,) = look_at_all.fn(place)[USE_CASE].conclusions
    assert conclusion.step == "promote"
    conclude_all.fn(place, look_at_all.fn(place))
    with place.ledger() as ledger:
        assert ledger.stage_of(compared[1]) == "challenger"
    assert "nobody has signed it off yet" in capsys.readouterr().out


@pytest.mark.parametrize(("max_loss", "stage"), [(0.0, "canary"), (-2.0, "refused")])
def test_a_canary_is_stopped_where_it_loses_and_never_promoted(quiet: Place, max_loss: float, stage: str) -> None:
    # the canary earns twice what the champion does; who asks for three times as much stops it
    rollout = Rollout((CanaryStep(0.5),), max_loss=max_loss)
    place = replace(quiet, use_cases={USE_CASE: replace(load(USE_CASE), rollout=rollout)})
    now_us = place.clock.now_us()
    began_us = now_us - 25 * DAY_US
    with place.ledger() as ledger:
        _, other, canary = releases(load(USE_CASE), ledger, place.layout.bundles, began_us)
        act = Act("test", began_us, "because")
        retire(ledger, USE_CASE, other, act)
        to_challenger(ledger, USE_CASE, canary, 0.5, act, CANARY)
        fill(Sources(load(USE_CASE), Tables(place.layout.tables), place.layout.bundles, ledger, now_us), canary, began_us)
        assert conclude_all.fn(place, look_at_all.fn(place)) == []
        assert ledger.stage_of(canary) == stage
        newest = ledger.rows(USE_CASE, limit=1)[0]
    if stage == "refused":
        assert newest.actor == "flow monitor" and newest.reason.startswith("stopped as canary at 50%: ")
