"""What releases would show the personas of a use case: the page on which people look before they sign one off."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from contracts.catalogue import Candidate
from contracts.errors import NotFound
from contracts.records import DECISION_EVENT, Event
from decisions.decide import NOTHING_SHOWN, ReleaseRuntime
from decisions.eligibility import Shown
from decisions.scorer import ConstantScorer
from features.definitions import FeatureRow, FeatureSet
from features.online import OnlineFeatures, retention
from features.reading import age, brief
from serving.live import Release
from serving.reasons import Why, why_scored
from use_cases.definition import Scenario, UseCase

_UNSEEN = 0.0005
"""Total variation that rounds to nothing."""

PICTURE = "picture"
"""The key of a candidate's content that names a file in its use case's folder `pictures/`."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A candidate that a persona may be shown.

    Attributes:
        attributes: what the model knows of it, such as its product set. `content`: what the client shows.
        picture: file of the use case's folder `pictures/`, for `read_picture`; or empty.
        probability: with which the release shows it.
        reward: that the release expects of it, in the unit that people read; None where nothing is learned yet.
    """

    candidate_id: str
    attributes: Mapping[str, str | int | float]
    content: Mapping[str, str | int]
    picture: str
    probability: float
    reward: float | None


@dataclass(frozen=True, slots=True)
class Excluded:
    """A candidate that the persona is not shown, with all reasons in words."""

    candidate_id: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """A feature of the persona, as the release computes it.

    Attributes:
        value: the number that the model sees; None where it is absent. `text`: the same as people read it.
        age: how old it is, as people read it. `missing`: there was none, so that its default stands in; `stale`: it is too old.
    """

    name: str
    description: str
    unit: str
    value: float | None
    text: str
    age: str
    missing: bool
    stale: bool


@dataclass(frozen=True, slots=True)
class Played:
    """What a release would show a persona.

    Attributes:
        likeliest: the offer of the greatest probability, the first in the catalogue among equals.
        offers: all eligible ones, the likeliest first. `excluded`: all others.
        expected: reward of a decision by the release's own model and policy, in `unit`; None where nothing is learned yet.
        why: None where scores do not follow from features; `why_not` says so then.
        refuses: stale features without which it would decide nothing.
    """

    release_id: str
    likeliest: Offer
    offers: tuple[Offer, ...]
    excluded: tuple[Excluded, ...]
    features: tuple[Known, ...]
    expected: float | None
    unit: str
    why: Why | None
    why_not: str
    refuses: tuple[str, ...]

    @property
    def most(self) -> tuple[str, ...]:
        """Ids of the candidates that it shows most often, several where they are equals."""
        return tuple(offer.candidate_id for offer in self.offers if offer.probability == self.likeliest.probability)

    def probability(self, candidate_id: str) -> float:
        """With which it shows a candidate; 0 where it does not."""
        return next((offer.probability for offer in self.offers if offer.candidate_id == candidate_id), 0.0)


@dataclass(frozen=True, slots=True)
class Beside:
    """A persona before two releases.

    Attributes:
        champion: what serves now would show; None where there is none.
        differs: whether another candidate is shown most often.
        variation: total variation of the two policies: the least share of such people's decisions that would change; None without champion.
        champion_expected: reward of a decision by the champion's policy, `candidate_expected` by the candidate's, both by the candidate's
            model, in `unit`; None where that cannot say.
        words: all that in a sentence.
    """

    scenario: Scenario
    champion: Played | None
    candidate: Played
    differs: bool
    variation: float | None
    champion_expected: float | None
    candidate_expected: float | None
    unit: str
    words: str

    @property
    def gain(self) -> float | None:
        """What the candidate's policy earns more a decision, by the candidate's model, in `unit`; None where that cannot say."""
        if self.candidate_expected is None or self.champion_expected is None:
            return None
        return self.candidate_expected - self.champion_expected


@dataclass(frozen=True, slots=True)
class _Persona:
    row: FeatureRow
    shown: Shown


def play(release: Release, use_case: UseCase, scenario: Scenario, now_us: int, withheld: Sequence[str] = ()) -> Played:
    """What a release would show a persona, as it would answer it outside control; nothing is drawn.

    The persona's events go through the code that serves, so that every release computes its own features of them, whatever its feature set.

    Args:
        release: made ready, as by `serving.live.load_release`.
        use_case: whose.
        scenario: the persona.
        now_us: the moment of the decision, in microseconds.
        withheld: candidates that the traffic plan says nobody is shown.
    """
    return _played(release, use_case, _meet(release, use_case, scenario, now_us), now_us, withheld)


def side_by_side(
    champion: Release | None, candidate: Release, use_case: UseCase, now_us: int, withheld: Sequence[str] = ()
) -> tuple[Beside, ...]:
    """All personas of a use case before the champion and a candidate; arguments as for `play`."""
    return tuple(_beside(champion, candidate, use_case, scenario, now_us, withheld) for scenario in use_case.scenarios)


def read_picture(use_case: str, name: str) -> bytes:
    """A picture (SVG) of a use case's folder `pictures/`.

    Raises:
        NotFound: there is none of that name.
    """
    if use_case.isidentifier() and re.fullmatch(r"[a-z0-9_]{1,64}\.svg", name, re.ASCII):
        try:
            found = files(f"use_cases.{use_case}").joinpath("pictures", name)
            if found.is_file():
                return found.read_bytes()
        except ModuleNotFoundError as error:
            raise NotFound("picture", f"{use_case}/{name}") from error
    raise NotFound("picture", f"{use_case}/{name}")


def _events(scenario: Scenario, now_us: int) -> tuple[Event, ...]:
    """The history as events of one entity, oldest first; each became known when it happened."""
    oldest_first = sorted(enumerate(scenario.history), key=lambda numbered: -numbered[1].ago_us)
    return tuple(
        Event(f"{number:06d}", scenario.name, happened.type, now_us - happened.ago_us, now_us - happened.ago_us, 0, happened.values)
        for number, happened in oldest_first
    )


def _meet(release: Release, use_case: UseCase, scenario: Scenario, now_us: int) -> _Persona:
    online = OnlineFeatures(use_case.schema, retention([release.feature_set], [release.runtime.catalogue]))
    state: bytes | None = None
    for event in _events(scenario, now_us):
        state, _ = online.apply(state, event)
    shown = NOTHING_SHOWN
    if state is not None and release.runtime.eligibility.looks_back_us:
        shown = online.times_of(state, DECISION_EVENT, "candidate_id", now_us)
    return _Persona(online.read(state, release.feature_set, now_us, scenario.context), shown)


def _played(release: Release, use_case: UseCase, persona: _Persona, now_us: int, withheld: Sequence[str]) -> Played:
    runtime, row = release.runtime, persona.row
    values: list[float] = row.values.tolist()
    eligible = runtime.eligibility.eligible(values, persona.shown, now_us, withheld)
    scores = runtime.scorer.scores(row.values, eligible.positions)
    probabilities = runtime.policy.probabilities(scores, eligible.positions)
    learned = not isinstance(runtime.scorer, ConstantScorer)
    offers = [
        _offer(runtime.catalogue.candidates[position], probability, score if learned else None)
        for position, probability, score in zip(eligible.positions.tolist(), probabilities.tolist(), scores.tolist(), strict=True)
    ]
    offers.sort(key=lambda offer: -offer.probability)
    reasons = runtime.eligibility.reasons(values, persona.shown, now_us, withheld)
    why = why_scored(release, row.values, offers[0].candidate_id)
    return Played(
        release_id=runtime.release_id,
        likeliest=offers[0],
        offers=tuple(offers),
        excluded=tuple(Excluded(name, said) for name, said in reasons.items()),
        features=tuple(_known(release.feature_set, row)),
        expected=float(probabilities @ scores) if learned else None,
        unit=use_case.reward_unit,
        why=why,
        why_not="" if why else "Each candidate has one value, whoever is asked." if learned else "Nothing is learned yet: all score alike.",
        refuses=tuple(name for name in row.stale if name in release.refusing),
    )


def _offer(candidate: Candidate, probability: float, reward: float | None) -> Offer:
    picture = candidate.content.get(PICTURE, "")
    return Offer(
        candidate.candidate_id, candidate.attributes, candidate.content, picture if isinstance(picture, str) else "", probability, reward
    )


def _known(feature_set: FeatureSet, row: FeatureRow) -> list[Known]:
    return [
        Known(
            name=feature.name,
            description=feature.description,
            unit=feature.unit,
            value=None if np.isnan(number) else number,
            text=brief(feature_set, feature.name, number),
            age=age(age_us),
            missing=feature.name in row.missing,
            stale=feature.name in row.stale,
        )
        for feature, number, age_us in zip(feature_set.features, row.values.tolist(), row.ages_us.tolist(), strict=True)
    ]


def _beside(
    champion: Release | None, candidate: Release, use_case: UseCase, scenario: Scenario, now_us: int, withheld: Sequence[str]
) -> Beside:
    persona = _meet(candidate, use_case, scenario, now_us)
    new = _played(candidate, use_case, persona, now_us, withheld)
    old = play(champion, use_case, scenario, now_us, withheld) if champion is not None else None
    variation = None if old is None else _variation(old, new)
    old_expected = None if old is None else _expected(candidate.runtime, persona.row, old)
    return Beside(
        scenario=scenario,
        champion=old,
        candidate=new,
        differs=old is not None and old.most != new.most,
        variation=variation,
        champion_expected=old_expected,
        candidate_expected=new.expected,
        unit=use_case.reward_unit,
        words=_words(old, new, variation, old_expected),
    )


def _variation(old: Played, new: Played) -> float:
    names = {offer.candidate_id for offer in (*old.offers, *new.offers)}
    return 0.5 * sum(abs(old.probability(name) - new.probability(name)) for name in sorted(names))


def _expected(runtime: ReleaseRuntime, row: FeatureRow, other: Played) -> float | None:
    """What a release's model expects of another's choices; None where it does not know one of them, or nothing is learned yet."""
    index = runtime.catalogue.index
    likely = [offer for offer in other.offers if offer.probability > 0.0]
    if isinstance(runtime.scorer, ConstantScorer) or any(offer.candidate_id not in index for offer in likely):
        return None
    scores = runtime.scorer.scores(row.values, np.array([index[offer.candidate_id] for offer in likely], dtype=np.int64))
    return float(scores @ np.array([offer.probability for offer in likely]))


def _words(old: Played | None, new: Played, variation: float | None, old_expected: float | None) -> str:
    if old is None or variation is None:
        return f"It shows {_most(new)} ({new.likeliest.probability:.0%})."
    said = f"Both show {_most(new)}" if old.most == new.most else f"It shows {_most(new)}, the champion {_most(old)}"
    if variation < _UNSEEN:
        return f"{said}; no decision changes."
    said += f"; {variation:.0%} of decisions change at least"
    if old_expected is not None and new.expected is not None:
        said += f", worth {new.expected - old_expected:+.4f} {new.unit} a decision by its own model"
    return f"{said}."


def _most(played: Played) -> str:
    return f"{played.most[0]} most often" if len(played.most) == 1 else f"{len(played.most)} candidates alike"
