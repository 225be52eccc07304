"""The gate: may a candidate go on, which one, and why; in words and numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from decisions.overlap import Overlap
from decisions.value import Estimate, estimate
from features.skew import SkewReport
from training.evaluate import LEARNED, OFFERED, Evaluation
from use_cases.definition import UseCase

NOT_WORSE = 0.2
"""Least confidence of beating the champion with which a candidate may challenge it live, beside it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was asked of a candidate. One that is not `needed` keeps it from becoming champion at once, no more."""

    name: str
    passed: bool
    reason: str
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a candidate.

    Attributes:
        choice: `learned`, or `best_single` where personalising was not shown to beat it; or `offered`, what was made elsewhere.
        step: how far it may go: `champion`, proven better than what serves; `challenger`, proven better than control and not shown to be
            worse than what serves, so that a live comparison must tell; `refused`.
        forecast: its value a decision, in the unit that people read.
    """

    choice: Literal["learned", "best_single", "offered"]
    step: Literal["champion", "challenger", "refused"]
    checks: tuple[Check, ...]
    forecast: Estimate

    @property
    def accepted(self) -> bool:
        """Whether it may go on at all."""
        return self.step != "refused"

    @property
    def reasons(self) -> tuple[str, ...]:
        """All checks in words, in order."""
        return tuple(check.reason for check in self.checks)


def judge(evaluation: Evaluation, skew: SkewReport, use_case: UseCase) -> Verdict:
    """Judge what was evaluated by the use case's gate."""
    gate, say = use_case.gate, _money(use_case)
    least = gate.min_gain / use_case.reward_scale
    sure = evaluation.personal.confidence()
    learned: Literal["learned", "best_single"] = "learned" if sure >= gate.personalise_confidence else "best_single"
    choice: Literal["learned", "best_single", "offered"] = "offered" if OFFERED in evaluation.values else learned
    value = evaluation.values[choice].dr
    control, champion = evaluation.gain_over_control[choice], evaluation.gain_over_champion[choice]
    above_control, above_champion = control.lower(gate.confidence), champion.lower(gate.confidence)
    not_worse = champion.confidence_above(0.0)
    percent = f"{gate.confidence:.0%}"
    checks = [
        Check("personal", True, _why(evaluation, sure, use_case) if choice != "offered" else "it is judged as it was offered"),
        Check("rows", evaluation.randomised >= gate.min_rows, f"{evaluation.randomised} randomised decisions; {gate.min_rows} are needed"),
        Check(
            "effective",
            value.effective_n >= gate.min_effective,
            f"they say as much as {value.effective_n:.0f} unweighted ones; {gate.min_effective:.0f} are needed",
        ),
        Check("overlap", evaluation.overlap[choice].enough, _overlap_words(evaluation.overlap[choice])),
        Check("leaks", not evaluation.leaks, _leak_words(evaluation)),
        Check("calibration", *_calibrated(evaluation, use_case)),
        Check("slices", *_slices(evaluation, use_case)),
        Check("skew", skew.share <= gate.max_skew, _skew_words(skew, gate.max_skew)),
        Check(
            "control",
            above_control > least,
            f"gain over control {say(control)} a decision, with {percent} confidence above {say(above_control)};"
            f" it must exceed {say(least)}"
            f" (compared with {evaluation.compared_with['control']})",
        ),
        Check(
            "not_worse",
            not_worse >= NOT_WORSE,
            f"better than the champion with {not_worse:.0%} confidence; {NOT_WORSE:.0%} is needed to challenge it",
        ),
        Check(
            "champion",
            above_champion > least,
            f"gain over the champion {say(champion)} a decision, with {percent} confidence above {say(above_champion)};"
            f" to replace it at once it must exceed {say(least)} (compared with {evaluation.compared_with['champion']})",
            needed=False,
        ),
    ]
    if evaluation.forward is not None and choice == LEARNED:
        forward = evaluation.forward
        reason = (
            f"on the latest quarter, by a model of the time before, gain over the baseline {say(forward)}; it must not be clearly negative"
        )
        checks.append(Check("forward", 1.0 - forward.confidence_above(0.0) < gate.confidence, reason))
    refused = any(check.needed and not check.passed for check in checks)
    step: Literal["champion", "challenger", "refused"]
    step = "refused" if refused else "champion" if all(check.passed for check in checks) else "challenger"
    return Verdict(choice, step, tuple(checks), _forecast(value, gate.drift))


def _forecast(value: Estimate, drift: float) -> Estimate:
    """The value with the interval of what will be seen of it: what it is now, and how much earnings move by themselves."""
    if drift == 0.0:
        return value
    error = math.hypot(value.standard_error, drift * value.value)
    return estimate(
        value.value,
        error,
        n=value.n,
        clusters=value.clusters,
        effective_n=value.effective_n,
        confidence=0.95,
        skewness=value.skewness * (value.standard_error / error) ** 3,
        freedom=value.freedom,
    )


def _overlap_words(found: Overlap) -> str:
    if found.refusals:
        return f"the log cannot value it: {'; '.join(found.refusals)}"
    weight = found.mean_weight
    return (
        f"the log can value it: weights up to {found.largest_weight:.0f}, {weight.value:.2f} [{weight.low:.2f}, {weight.high:.2f}] on"
        f" average where {1.0 - found.unseen:.2f} is expected; one entity has at most {found.largest_share:.1%} of them"
    )


def _leak_words(evaluation: Evaluation) -> str:
    if not evaluation.leaks:
        return "no feature knows what was drawn or what was earned before it happened"
    told = "; ".join(
        f"{leak.feature} differs by {abs(leak.z):.1f} standard errors where {leak.candidate} was drawn,"
        f" and ranks rewarded decisions above others with probability {leak.auc:.2f}"
        for leak in evaluation.leaks
    )
    return f"features that cannot have been known at the decision: {told}. Have them computed as of the decision"


def _calibrated(evaluation: Evaluation, use_case: UseCase) -> tuple[bool, str]:
    """Whether what was earned is, within its interval, about what models of other entities expected."""
    found, most = evaluation.calibration, 1.0 + use_case.gate.max_miscalibration
    told = f"what was shown earned {found.value:.0%} [{found.low:.0%}, {found.high:.0%}] of what the model expected of it"
    return found.low <= most and found.high >= 1.0 / most, f"{told}; it must not clearly lie outside {1.0 / most:.0%} to {most:.0%}"


def _slices(evaluation: Evaluation, use_case: UseCase) -> tuple[bool, str]:
    """Whether no slice clearly loses more than it may, all of them looked at together (Bonferroni)."""
    gate, say, found = use_case.gate, _money(use_case), evaluation.slices
    if not found:
        return True, "no slices to look at"
    usual = evaluation.control.value if evaluation.control is not None else evaluation.values["baseline"].dr.value
    allowed = -gate.max_slice_loss * abs(usual)
    sure = 1.0 - (1.0 - gate.confidence) / len(found)
    losing = {name: gain for name, gain in found.items() if 1.0 - gain.confidence_above(allowed) >= sure}
    name = min(losing or found, key=lambda name: found[name].value)
    worst = f"the worst is {name} with a gain over control of {say(found[name])}"
    return not losing, f"{len(found)} slices, {len(losing)} of which clearly lose more than {say(-allowed)}; {worst}"


def _why(evaluation: Evaluation, sure: float, use_case: UseCase) -> str:
    personal, say = evaluation.personal, _money(use_case)
    needed = use_case.gate.personalise_confidence
    told = (
        f"personalising beats the best single candidate with {sure:.0%} confidence, {needed:.0%} are needed"
        f" (paired gain {say(personal.paired)}, calibrated {say(personal.calibrated)}; of the model's differences between people"
        f" {personal.slope.value:.0%} ± {1.96 * personal.slope.standard_error:.0%} proved true)"
    )
    return f"{told}: {'the learned policy' if sure >= needed else 'the best single candidate'} is offered"


def _skew_words(skew: SkewReport, most: float) -> str:
    told = (
        f"{skew.differing_rows} of {skew.rows} recomputed decisions differ from what was served ({skew.share:.2%}); at most {most:.2%} may"
    )
    if not skew.differing_rows:
        return told
    worst = max(skew.features, key=lambda name: skew.features[name])
    return f"{told}; most in feature {worst}"


def _money(use_case: UseCase) -> Callable[[Estimate | float], str]:
    def say(amount: Estimate | float) -> str:
        if isinstance(amount, Estimate):
            return f"{amount.value:+.4f} [{amount.low:+.4f}, {amount.high:+.4f}] {use_case.reward_unit}"
        return f"{amount:+.4f} {use_case.reward_unit}"

    return say
