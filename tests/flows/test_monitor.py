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
from releases.stages import register, retire, start, to_challenger, to_shadow, withhold
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
        denied = ledger.rows(USE_CASE, action="denied")
    assert [(row.actor, row.release_id, row.details["asked"]) for row in denied] == [("flow monitor", compared[1], "become champion")]
    assert "nobody has signed it off yet" in denied[0].reason
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


def test_what_was_measured_under_another_plan_concludes_nothing(
    quiet: Place, compared: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    measured = look_at_all.fn(quiet)
    with quiet.ledger() as ledger:
        withhold(ledger, USE_CASE, ["mens"], Act("anna", quiet.clock.now_us(), "sold out"))
        (conclusion,) = conclude_all.fn(quiet, measured)
        assert conclusion.step == "wait" and "better" in conclusion.reason and "you looked at" in conclusion.reason
        assert ledger.stage_of(compared[1]) == "challenger"
    assert "you looked at" in capsys.readouterr().out
    # the next look does
    (conclusion,) = conclude_all.fn(quiet, look_at_all.fn(quiet))
    assert conclusion.step == "promote"


def test_a_use_case_whose_step_is_refused_keeps_the_flow_from_no_other(quiet: Place, compared: list[str]) -> None:
    measured = look_at_all.fn(quiet)[USE_CASE]
    place = replace(quiet, use_cases=quiet.use_cases | {"game_promotion": load("game_promotion")})
    gone = replace(measured, use_case="game_promotion", version=7)
    with place.ledger() as ledger:
        # what was measured of the other one is no longer so: its champion has another challenger
        register(ledger, "game_promotion", "g-1", "digest", Act("test", 0, "first"))
        start(ledger, "game_promotion", "g-1", "digest", 0.1, Act("test", 0, "first"))
        register(ledger, "game_promotion", "g-2", "digest", Act("test", 0, "second"))
        to_shadow(ledger, "game_promotion", "g-2", Act("test", 0, "second"))
        to_challenger(ledger, "game_promotion", "g-2", 0.5, Act("test", 0, "second"))
        (arm,) = [arm for arm in gone.arms if arm.arm == "challenger"]
        assert arm.conclusion is not None
        arms = (replace(arm, release_id="g-2", conclusion=replace(arm.conclusion, release_id="g-2")),)
        found = conclude_all.fn(place, {"game_promotion": replace(gone, arms=arms), USE_CASE: measured})
        assert [(conclusion.release_id, conclusion.step) for conclusion in found] == [("g-2", "wait"), (compared[1], "promote")]
        assert ledger.stage_of(compared[1]) == "champion"
        assert ledger.stage_of("g-2") == "challenger"
