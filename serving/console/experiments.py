"""What every arm earns, what is compared with the champion, how far along it is, and what the shadow would earn."""

from collections.abc import Mapping
from dataclasses import dataclass

from decisions.sample_ratio import ALARM
from serving.console import charts
from serving.console.asking import Asked, Page
from serving.console.traffic import shares
from storage.measures import ArmMeasure, Interval, UseCaseMeasures


@dataclass(frozen=True, slots=True)
class Arm:
    """What an arm earned with a release, whether it answers now and how many, and what its gate had foreseen."""

    measure: ArmMeasure
    share: float | None
    forecast: Interval | None


def page(asked: Asked) -> Page:
    """The experiments of a use case."""
    office = asked.office
    use_case = office.use_case(asked.path["use_case"])
    measures, plan = office.measures(), office.plan(use_case.name)
    measured = measures.use_cases.get(use_case.name) if measures else None
    held = {(one.arm, one.release_id): one.share for one in shares(plan)} if plan else {}
    arms = _arms(measured, held) if measured else []
    content = {
        "here": "experiments",
        "use_case": use_case,
        "plan": plan,
        "measured": measured,
        "at_us": measures.at_us if measures else None,
        "arms": arms,
        "rewards": charts.scale_of([arm.measure.reward for arm in arms] + [arm.forecast for arm in arms]),
        "gains": charts.scale_of([arm.measure.gain for arm in arms]),
        "compared": charts.scale_of([one.gain for one in measured.experiments] if measured else []),
        "alarm": ALARM,
        "canary": office.canary(use_case.name),
    }
    return Page("experiments.html", content)


def _arms(measured: UseCaseMeasures, held: Mapping[tuple[str, str], float]) -> list[Arm]:
    """All arms that were measured, those that answer now first."""
    forecasts = {one.release_id: one.value for one in measured.forecasts}
    arms = [
        Arm(one, held.get((one.arm, one.release_id)), None if one.arm == "control" else forecasts.get(one.release_id))
        for one in measured.arms
    ]
    return sorted(arms, key=lambda arm: (arm.share is None, arm.measure.arm != "control", -arm.measure.decisions))
