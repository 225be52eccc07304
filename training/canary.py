"""What a canary is shown to earn beside the champion: whether it has to stop, may go on, or has to wait for more."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from contracts.traffic import CANARY
from decisions.gain import Gain, gain
from decisions.verdict import Compared, Rules, judge
from training.comparison import rules_of
from training.experiment import Sources, compared_now

CONFIDENCE = 0.95
"""One-sided, of earning less than it may, and of not losing more than a step tolerates; at all looks at once."""

Step: TypeAlias = Literal["stop", "go on", "wait"]


@dataclass(frozen=True, slots=True)
class Earned:
    """What a canary earns beside the champion, as of one look.

    Attributes:
        step: `stop`: it is shown to lose too much, or breaks a guard rail of the use case; `wait`: the evidence that its step asks for has
            not come yet, or the arms were not filled as planned.
        reason: in words and numbers.
        gain: over the champion a decision, in the unit that people read; None before both have matured decisions.
    """

    step: Step
    reason: str
    gain: Gain | None


def earned_so_far(sources: Sources) -> Earned | None:
    """What the canary of a use case is shown to earn, by its roll-out's limits; None where it has none."""
    use_case, plan = sources.use_case, sources.ledger.plan(sources.use_case.name)
    arm = next((arm for arm in plan.arms if arm.name == CANARY), None) if plan else None
    compared = compared_now(sources, arm.release_id) if arm else None
    if arm is None or compared is None:
        return None
    step = use_case.rollout.step_of(arm.share)
    loss = use_case.rollout.max_loss
    return earned(compared, rules_of(use_case), max_loss=loss, step_loss=step.max_loss if step else None, unit=use_case.reward_unit)


def earned(compared: Compared, rules: Rules, *, max_loss: float, step_loss: float | None, unit: str = "") -> Earned:
    """Weigh what a canary earns beside the champion. It may be asked at any time and as often as one likes.

    A loss of at most a share l of what the champion earns is tested as a gain over (1 − l) times its rewards, so that the uncertainty of
    what the champion earns counts, too.

    Args:
        compared: the canary beside the champion; see `training.comparison.compare`.
        rules: what experiments of the use case are judged by; its guard rails count here, too.
        max_loss: it stops once it is shown to earn less than the champion by more than this share of what the champion earns.
        step_loss: it goes on only once it is shown not to lose more than this share; None asks for no such evidence.
        unit: of the rewards, for the words.
    """
    verdict = judge(compared, rules, unit=unit)
    if verdict.cause == "guard rail":
        return Earned("stop", verdict.reason, verdict.gain)
    if verdict.cause == "sample ratio":
        # why: where entities do not fall as planned, neither money nor health compares like with like
        return Earned("wait", verdict.reason, verdict.gain)
    if verdict.gain is None or verdict.cause == "early":
        step: Step = "go on" if step_loss is None else "wait"
        return Earned(step, f"money says nothing yet ({verdict.reason})", verdict.gain)
    said = f"{verdict.gain.best.value:+.4f} {unit} a decision beside the champion, from {verdict.gain.best.n}".replace("  ", " ")
    beside = _beside(compared, max_loss)
    if beside.best.value + beside.error(CONFIDENCE) < 0.0:
        return Earned("stop", f"{said}: it loses more than {max_loss:.0%} of what the champion earns, beyond doubt", verdict.gain)
    if step_loss is None:
        return Earned("go on", f"{said}: not shown to lose", verdict.gain)
    beside = _beside(compared, step_loss)
    if beside.best.value - beside.error(CONFIDENCE) > 0.0:
        return Earned("go on", f"{said}: it loses no more than {step_loss:.0%} of what the champion earns, beyond doubt", verdict.gain)
    return Earned("wait", f"{said}: not shown yet to lose no more than {step_loss:.0%} of what the champion earns", verdict.gain)


def _beside(compared: Compared, loss: float) -> Gain:
    return gain(compared.ours, compared.theirs.times(1.0 - loss))
