"""What a user writes to add a use case: one value of this class, in a folder of `use_cases/`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from traceback import extract_tb
from types import MappingProxyType
from typing import Literal

import polars as pl

from contracts.catalogue import NO_ACTION, Catalogue
from contracts.clock import HOUR_US
from contracts.errors import DefinitionError, InvalidInput, NotFound, OfferloopError
from contracts.events import EventSchema, EventType, FieldType
from contracts.records import FieldValue
from contracts.spelling import meant
from decisions.eligibility import Eligibility
from decisions.guard_rails import DEFAULTS, GuardRail
from decisions.policies import PolicySpec, build_policy
from decisions.rewards import PLAIN, Outcomes, rewards
from features.definitions import FeatureSet

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""Names of use cases, which are names of folders and modules."""


@dataclass(frozen=True, slots=True)
class AttributeSource:
    """A table of slowly changing attributes, read with SQL by the flow `features`.

    Its rows come in as events of type `name`, so an `EventType` of that name declares the columns.

    Attributes:
        name: the event type, and the key in the settings' `attribute_sources` that says where the table is.
        query: SELECT of `entity_id, valid_from, recorded_at` (integer microseconds, or moments with a zone) and the type's fields. Of a
            Parquet file the columns are read as they are.
        lag_us: how much later than it says of itself (`recorded_at`) a row may come to light, as when its transaction commits late: so far
            back is read again each time. A row that was read before changes nothing.
    """

    name: str
    query: str
    lag_us: int = HOUR_US


@dataclass(frozen=True, slots=True)
class Gate:
    """What a candidate must prove before it goes on. Gains are per decision, in the use case's KPI unit.

    Attributes:
        min_rows: matured decisions of randomised arms needed before any verdict.
        min_effective: least effective sample size of the weighted estimate.
        min_gain: lower bounds of the gain over control, and over the champion, must exceed this.
        confidence: one-sided confidence of those bounds.
        personalise_confidence: how sure it must be that personalising beats the best single candidate; else that one is released.
        max_skew: share of rows whose logged features may differ from their recomputation.
        max_miscalibration: by how much, as a share, what was earned may clearly differ from what the model expected of it.
        slices: categorical features by which the gain over control is looked at; `max_slice_loss`: what a slice may lose at most, as a
            share of what control earns: one that clearly loses more stops the candidate.
        drift: by how much, as a share and one standard deviation, what a policy earns moves by itself in the time that its forecast is held
            against, as by season and tastes; it widens the forecast's interval. Past forecasts beside what came tell.
        too_good: probability with which a feature alone may rank rewarded decisions above others; beyond it, it is held for a leak.
    """

    min_rows: int = 2_000
    min_effective: float = 200.0
    min_gain: float = 0.0
    confidence: float = 0.95
    personalise_confidence: float = 0.9
    max_skew: float = 0.0
    max_miscalibration: float = 0.25
    slices: tuple[str, ...] = ()
    max_slice_loss: float = 0.05
    drift: float = 0.1
    too_good: float = 0.85


@dataclass(frozen=True, slots=True)
class Learner:
    """How the revenue model is fitted. Beside it a linear one always is, and taken where it foretells rewards better.

    Attributes:
        kind: `boosted` trees, or `linear`.
        rounds: of boosting.
        params: LightGBM parameters over the defaults.
        sizes: `expected`: a reward counts as what one of its candidate usually is, so that a few large ones do not decide (few rewards);
            `as_earned`: it counts as it is, so that who spends more is learned as well (many).
        half_life_us: age at which a decision weighs half as much as the newest; none weighs all alike.
        most_weight: a decision weighs 1 / its probability, at most so many times the mean; 1 weighs all alike.
        trials: of other hyper-parameters, drawn by the seed; 0 takes what is given here.
    """

    kind: Literal["boosted", "linear"] = "boosted"
    rounds: int = 150
    params: Mapping[str, float | int | str] = field(default_factory=dict)
    sizes: Literal["expected", "as_earned"] = "expected"
    half_life_us: int | None = None
    most_weight: float = 1.0
    trials: int = 0


@dataclass(frozen=True, slots=True)
class CanaryStep:
    """A share of the traffic that a release is given before it has all, and what must have been seen there before it goes on.

    Attributes:
        share: of the entities outside control.
        at_least_us: how long the step lasts at least, in logical time. `decisions`: how many it must have answered at least.
        max_loss: how much less than the champion it may earn, as a share of what the champion does: the gain's lower bound must be above
            that loss. None asks for no such evidence, since a small share shows little in short time.
    """

    share: float
    at_least_us: int = HOUR_US
    decisions: int = 200
    max_loss: float | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a release that may become champion gets there: by steps, each watched. No steps: at once.

    A canary goes back to nobody by itself as soon as one of its guard-rails is broken.

    Attributes:
        steps: shares that grow.
        max_failed: share of its decisions that may fail. `max_degraded`: by how much more of them, as a share of all, may be degraded than
            the champion's. Both count once it has answered `judged_from` decisions.
        max_latency: how many times as long as the champion's the slowest hundredth of its decisions may take at least.
        max_loss: it stops when it is shown, at 95 %, to earn less than the champion by more than this share of what the champion earns.
    """

    steps: tuple[CanaryStep, ...] = (CanaryStep(0.01), CanaryStep(0.05), CanaryStep(0.25, max_loss=0.1))
    max_failed: float = 0.005
    max_degraded: float = 0.05
    max_latency: float = 3.0
    max_loss: float = 0.0
    judged_from: int = 50

    def __post_init__(self) -> None:
        shares = [step.share for step in self.steps]
        if shares != sorted(set(shares)) or not all(0.0 < share < 1.0 for share in shares):
            raise DefinitionError("rollout", f"its steps have the shares {shares}", "Let them grow, each above 0 and below 1.")

    def after(self, share: float) -> float | None:
        """The share that follows a share; None past the last, where a release becomes champion.

        Example:
            >>> rollout = Rollout((CanaryStep(0.01), CanaryStep(0.25)))
            >>> rollout.after(0.0), rollout.after(0.01), rollout.after(0.25)
            (0.01, 0.25, None)
        """
        return next((step.share for step in self.steps if step.share > share + 1e-9), None)

    def step_of(self, share: float) -> CanaryStep | None:
        """The step that has this share; None where none has."""
        return next((step for step in self.steps if abs(step.share - share) <= 1e-9), None)


AT_ONCE = Rollout(steps=())
"""Without steps, for decisions that nobody asks for live."""


@dataclass(frozen=True, slots=True)
class Happening:
    """An event in the life of a persona, so long before the decision; what it was shown is an event `decision`."""

    type: str
    ago_us: int
    values: Mapping[str, FieldValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A persona on which people look at a release before they let it go on: what has happened to it, and what is asked.

    Attributes:
        name: short, such as `lapsed`; `title` and `description` are for people.
        history: its events, from which every release computes its own features.
        context: sent with the question for a decision.
    """

    name: str
    title: str
    description: str = ""
    history: tuple[Happening, ...] = ()
    context: Mapping[str, FieldValue] = field(default_factory=dict)


@dataclass(frozen=True)
class UseCase:
    """One decision to be made well, again and again.

    Attributes:
        name: the folder's name, which is also the `{use_case}` of the HTTP paths.
        event_types: what may be sent as events, attribute sources included.
        baseline: the candidate that control gets.
        start_policy: before anything is learned. `learned_policy`: over the scores of a learned model.
        outcome_window_us: how long after a decision an outcome is credited to it; then it is matured.
        outcomes: how outcomes become rewards, where it is not the plain rule: refunds, corrections, what names no decision.
        ttl_us: how long an answer may be shown.
        guard_rails: what must not become worse while releases are compared live.
        worthwhile_gain: over the champion, as a share of what it earns: what an experiment is planned to see. One that has not seen it when
            all that was planned has come, ends.
        rollout: by which steps a release becomes champion.
        approvers: names of those who may sign a release off; where there are any, none but the first, which decides at random before
            anything is learned, reaches people before one of them has. `scenarios`: what they look at.
        unlogged: what is answered while the log takes nothing in: `refuse` (503, try again), since a decision that is not logged teaches
            nothing; or `control`: the baseline, said to be unlogged, in no table and no comparison, and with no outcomes.
        split: by time, or by a hash of the entity for data without time.
        reward_unit: of the integer KPI, and `reward_scale` of them make one of what people read (1,000,000 micro-dollars).
    """

    name: str
    title: str
    event_types: Sequence[EventType]
    feature_set: FeatureSet
    catalogue: Catalogue
    start_policy: PolicySpec
    learned_policy: PolicySpec
    outcome_window_us: int
    ttl_us: int
    attribute_sources: Sequence[AttributeSource] = ()
    outcomes: Outcomes = PLAIN
    baseline: str = NO_ACTION
    control_share: float = 0.1
    learner: Learner = Learner()
    gate: Gate = Gate()
    guard_rails: Sequence[GuardRail] = DEFAULTS
    worthwhile_gain: float = 0.05
    rollout: Rollout = AT_ONCE
    approvers: tuple[str, ...] = ()
    scenarios: Sequence[Scenario] = ()
    unlogged: Literal["refuse", "control"] = "refuse"
    split: Literal["time", "entity"] = "time"
    reward_unit: str = "dollars"
    reward_scale: int = 1_000_000

    def __post_init__(self) -> None:
        if self.baseline not in self.catalogue.index:
            raise DefinitionError(f"use_cases/{self.name}", f"baseline `{self.baseline}` is no candidate", "Add it to the catalogue.")
        types = [event_type.name for event_type in self.event_types]
        for source in self.attribute_sources:
            if source.name not in types:
                what = f"attribute source `{source.name}` has no event type of its name"
                raise DefinitionError(f"use_cases/{self.name}", what, meant(source.name, types))
        names = [scenario.name for scenario in self.scenarios]
        if odd := [name for name in names if names.count(name) > 1 or not re.fullmatch(r"[a-z][a-z0-9_]*", name, re.ASCII)]:
            what = f"scenario `{odd[0]}` has a name that another has, or that is not of small letters, digits and _"
            raise DefinitionError(f"use_cases/{self.name}", what, "Give it a short name of its own.")
        for scenario in self.scenarios:
            self._check_history(scenario)
        for paid in self.outcomes.sources:
            declared = {event_type.name: event_type.fields for event_type in self.event_types}
            if declared.get(paid.type, {}).get(paid.field) != FieldType.INT:
                what = f"outcomes come from `{paid.type}.{paid.field}`, which is no integer field of an event type"
                raise DefinitionError(f"use_cases/{self.name}", what, meant(paid.type, types))

    def _check_history(self, scenario: Scenario) -> None:
        for happened in scenario.history:
            where = f"scenario `{scenario.name}` has an event `{happened.type}`"
            if happened.ago_us < 0:
                raise DefinitionError(f"use_cases/{self.name}", f"{where} that is yet to come", "Say how long ago it was.")
            try:
                self.schema.check(happened.type, happened.values, own=True)
            except InvalidInput as error:
                raise DefinitionError(f"use_cases/{self.name}", f"{where} that breaks its contract: {error}", "Mend it.") from error

    def rewards(self, decisions: pl.DataFrame, outcomes: pl.DataFrame, *, now_us: int) -> pl.DataFrame:
        """Matured decisions of the tables with their rewards, as this use case declares them; see `decisions.rewards.rewards`."""
        return rewards(self.outcomes, decisions, outcomes, window_us=self.outcome_window_us, now_us=now_us)

    @cached_property
    def schema(self) -> EventSchema:
        """The schema of this use case's events."""
        return EventSchema.build(self.name, self.event_types)


def load(name: str) -> UseCase:
    """The use case of a folder `use_cases/<name>`, which offers it as `USE_CASE`.

    Raises:
        NotFound: there is no such folder.
        DefinitionError: it offers no use case of that name, or one that is wrong: it says in which line, and what to write instead.
    """
    if not _NAME.fullmatch(name):
        raise NotFound("use case", name[:80])
    try:
        module = import_module(f"use_cases.{name}")
    except OfferloopError:
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == f"use_cases.{name}":
            raise NotFound("use case", name) from error
        raise DefinitionError(_line_of(error, name), f"{type(error).__name__}: {error}", "Mend that line.") from error
    use_case = getattr(module, "USE_CASE", None)
    if not isinstance(use_case, UseCase) or use_case.name != name:
        raise DefinitionError(
            f"use_cases/{name}", "offers no use case of that name", f"Let its __init__.py define USE_CASE = UseCase(name={name!r}, …)."
        )
    use_case.feature_set.check(use_case.schema)
    Eligibility(use_case.catalogue, use_case.feature_set, use_case.baseline)
    for policy in (use_case.start_policy, use_case.learned_policy.trained(rows=1, candidates=1, scale=1.0)):
        build_policy(policy, use_case.catalogue)
    return use_case


def load_all(names: Sequence[str], approvers: Mapping[str, Sequence[str]] = MappingProxyType({})) -> dict[str, UseCase]:
    """The use cases of these names, in order.

    Args:
        names: of folders.
        approvers: by use case, who may sign off, in place of those whom it names.

    Raises:
        NotFound, DefinitionError: as `load`; also where approvers are given for a use case that is not among the names.
    """
    if unknown := [name for name in approvers if name not in names]:
        raise NotFound("use case of the setting `approvers`", unknown[0], tuple(names))
    loaded = {name: load(name) for name in names}
    return {name: replace(one, approvers=tuple(approvers[name])) if name in approvers else one for name, one in loaded.items()}


def _line_of(error: Exception, name: str) -> str:
    """File and line in the use case's folder that an error comes from."""
    lines = [(frame.filename, frame.lineno) for frame in extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        lines.append((error.filename or "", error.lineno))
    for file, line in reversed(lines):
        if found := re.search(rf".*/({name}(?:\.py|/.*))", file):
            return f"use_cases/{found[1]}:{line}"
    return f"use_cases/{name}"
