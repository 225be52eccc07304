"""Personas are answered as the service answers people, by every release with its own features, and what changes is said."""

from dataclasses import replace

import pytest

from contracts.catalogue import NO_ACTION, Candidate, Catalogue
from contracts.clock import DAY_US, HOUR_US, MINUTE_US
from contracts.errors import NotFound
from contracts.traffic import CHAMPION
from decisions.assignment import assign
from decisions.decide import build_runtime
from decisions.linear import LINEAR_FILE
from decisions.policies import PolicySpec
from features.definitions import Aggregate, FeatureSet, Window
from releases.bundle import BundleParts
from serving.live import Release, load_release
from serving.messages import EventMessage
from serving.scenarios import Beside, play, read_picture, side_by_side
from serving.service import DecisionService
from tests.serving.conftest import CATALOGUE, FEATURES, SHOP, Shop, parts_of, table_of
from use_cases.definition import Happening, Scenario

NOW = 1_800_000_000_000_000
GREEDY = PolicySpec("greedy")
BUYER = Scenario(
    "buyer",
    "Buyer",
    history=(
        Happening("purchase", 2 * DAY_US, {"amount_micros": 5_000_000, "product": "gems"}),
        Happening("profile", 3 * DAY_US, {"country": "FR"}),
        Happening("purchase", 3 * HOUR_US, {"amount_micros": 2_000_000, "product": "boost"}),
    ),
    context={"cart": 3},
)
STRANGER = Scenario("stranger", "Stranger")
LINEAR = b"""{
  "terms": [{"feature": "spend_7d", "spread": 2000000.0}, {"feature": "country", "equals": 1.0}],
  "intercepts": {"none": 0.0, "gems": 0.0, "boost": 0.25, "rare": 0.0},
  "weights": {"none": [0.0, 0.0], "gems": [0.125, 0.5], "boost": [0.25, 0.0], "rare": [0.0, 0.0]}
}"""


def made(shop: Shop, parts: BundleParts) -> Release:
    return load_release(shop.layout, SHOP, shop.write(parts))


def shown_before(ago_us: int, candidate_id: str) -> Scenario:
    return Scenario("shown", "Shown", history=(Happening("decision", ago_us, {"candidate_id": candidate_id, "arm": "champion"}),))


def beside(champion: Release | None, candidate: Release, *scenarios: Scenario) -> tuple[Beside, ...]:
    return side_by_side(champion, candidate, replace(SHOP, scenarios=scenarios), NOW)


def test_a_persona_is_answered_as_somebody_with_its_history_is(shop: Shop, service: DecisionService) -> None:
    release_id = shop.promote(service, parts_of(PolicySpec("epsilon_greedy", 0.2), "linear", {LINEAR_FILE: LINEAR}))
    service.look()
    plan = service.ledger.plan("shop")
    assert plan is not None
    person = next(name for number in range(99) if assign(plan, name := f"p-{number}").arm == CHAMPION)
    now_us = service.clock.now_us()
    history = enumerate(BUYER.history)
    sent = [EventMessage(f"e-{number}", person, one.type, now_us - one.ago_us, dict(one.values)) for number, one in history]
    service.accept_events("shop", sent)
    decision = service.decide("shop", person, BUYER.context)
    played = play(load_release(shop.layout, SHOP, release_id), SHOP, BUYER, decision.decided_at)
    assert tuple(known.value for known in played.features) == decision.features
    logged = {one.candidate_id: (one.p_in_arm, one.score) for one in decision.candidates}
    assert {offer.candidate_id: (offer.probability, offer.reward) for offer in played.offers} == logged


def test_it_says_what_would_be_shown_why_and_what_would_not(shop: Shop) -> None:
    played = play(made(shop, parts_of(PolicySpec("epsilon_greedy", 0.2), "linear", {LINEAR_FILE: LINEAR})), SHOP, BUYER, NOW)
    # the spend is 3.5 spreads; boost: 0.25 + 3.5 · 0.25; gems: 3.5 · 0.125 + 0.5 for FR
    assert [(offer.candidate_id, offer.reward) for offer in played.offers] == [
        ("boost", 1.125), (NO_ACTION, 0.0), ("gems", 0.9375), ("rare", 0.0)
    ]  # fmt: skip
    assert played.likeliest.probability == pytest.approx(0.85) and played.likeliest.content == {"text": "Boost!"}
    assert played.expected == pytest.approx(0.85 * 1.125 + 0.05 * 0.9375) and played.excluded == ()
    assert played.why is not None and played.why.link == "identity"
    assert [(reason.name, reason.text, reason.amount) for reason in played.why.reasons] == [("spend_7d", "7,000,000", 0.875)]
    assert played.why.base + sum(reason.amount for reason in played.why.reasons) + played.why.rest == played.why.score == 1.125
    texts = {known.name: (known.text, known.missing) for known in played.features}
    assert texts["country"] == ("FR", False) and texts["cart"] == ("3", False) and texts["offers_1d"] == ("0", True)


def test_who_is_excluded_and_why(shop: Shop) -> None:
    release = made(shop, parts_of(GREEDY, "table", table_of(rare=3.0)))
    (boost, rare) = play(release, SHOP, shown_before(30 * MINUTE_US, "rare"), NOW).excluded
    assert (boost.candidate_id, boost.reasons) == ("boost", ("rule purchases_7d >= 1 does not hold",))
    assert (rare.candidate_id, rare.reasons) == ("rare", ("limit 1 of itself in 1 h is used up",))
    assert play(release, SHOP, shown_before(2 * HOUR_US, "rare"), NOW).likeliest.candidate_id == "rare"
    withheld = play(release, SHOP, shown_before(2 * HOUR_US, "rare"), NOW, ["rare"])
    assert "withheld by the traffic plan" in {reason for one in withheld.excluded for reason in one.reasons}


def test_the_same_question_gets_the_same_answer(shop: Shop) -> None:
    release = made(shop, parts_of(PolicySpec("softmax", temperature=1.0), "linear", {LINEAR_FILE: LINEAR}))
    assert play(release, SHOP, BUYER, NOW) == play(release, SHOP, BUYER, NOW)


def test_a_release_of_another_feature_set_computes_its_own(shop: Shop) -> None:
    own = FeatureSet("narrow", (Aggregate(name="purchases_7d", source="purchase", aggregate="count", window_us=Window.days(1)),))
    before = made(shop, parts_of(GREEDY, "table", table_of(gems=1.0), own))
    after = made(shop, parts_of(GREEDY, "table", table_of(boost=1.0)))
    (told,) = beside(before, after, BUYER)
    assert told.champion is not None
    assert [(known.name, known.value) for known in told.champion.features] == [("purchases_7d", 1.0)]
    assert [known.name for known in told.candidate.features] == list(FEATURES.names)
    assert told.candidate.features[0].value == 2.0


def test_side_by_side_says_what_changes(shop: Shop) -> None:
    before = made(shop, parts_of(PolicySpec("epsilon_greedy", 0.4), "table", table_of(gems=1.0)))
    after = made(shop, parts_of(PolicySpec("epsilon_greedy", 0.4), "table", table_of(boost=2.0, gems=1.0)))
    bought, stranger = beside(before, after, BUYER, STRANGER)
    # of four candidates each has a tenth, the best 0.6 more
    assert bought.differs and bought.variation == pytest.approx(0.6)
    assert bought.champion_expected == pytest.approx(0.9) and bought.candidate_expected == pytest.approx(1.5)
    assert bought.words == (
        "It shows boost most often, the champion gems most often; 60% of decisions change at least, "
        "worth +0.6000 dollars a decision by its own model."
    )
    # a stranger may not be shown boost, so that nothing changes
    assert (stranger.differs, stranger.variation) == (False, 0.0)
    assert stranger.words == "Both show gems most often; no decision changes."
    assert stranger.candidate.why is None and "one value" in stranger.candidate.why_not


def test_before_anything_is_learned_nothing_is_expected(shop: Shop) -> None:
    start = made(shop, parts_of(SHOP.start_policy))
    (told,) = beside(None, start, BUYER)
    assert (told.champion, told.variation, told.candidate.expected) == (None, None, None)
    assert told.words == "It shows 4 candidates alike (25%)."
    (later,) = beside(start, made(shop, parts_of(GREEDY, "table", table_of(gems=1.0))), BUYER)
    assert later.words.startswith(
        "It shows gems most often, the champion 4 candidates alike; 75% of decisions change at least, worth +0.75"
    )
    assert "Nothing is learned" in start_words(later)


def start_words(told: Beside) -> str:
    assert told.champion is not None
    return told.champion.why_not


def test_a_model_does_not_value_what_its_catalogue_lacks(shop: Shop) -> None:
    champion = made(shop, parts_of(GREEDY, "table", table_of(gems=1.0)))
    smaller = Catalogue(tuple(Candidate(name, {"kind": name}) for name in (NO_ACTION, "boost")))
    runtime = build_runtime(
        "r-smaller",
        catalogue=smaller,
        features=FEATURES,
        policy=GREEDY,
        scorer_kind="table",
        files={"table.json": b'{"none": 0, "boost": 1}'},
        baseline=NO_ACTION,
        ttl_us=HOUR_US,
    )
    (told,) = beside(champion, replace(champion, runtime=runtime), BUYER)
    assert (told.champion_expected, told.candidate_expected, told.variation) == (None, 1.0, 1.0)
    assert CATALOGUE.index.keys() - smaller.index.keys() == {"gems", "rare"}


def test_pictures_are_found_by_name_and_nothing_else_is() -> None:
    assert read_picture("game_promotion", "arena_pass.svg").startswith(b"<svg")
    for use_case, name in (
        ("game_promotion", "arena.svg"),
        ("game_promotion", "../catalogue.py"),
        ("game_promotion", "%2e%2e/x.svg"),
        ("../contracts", "arena_pass.svg"),
        ("nothing_like_it", "arena_pass.svg"),
        ("", ""),
    ):
        with pytest.raises(NotFound, match="picture"):
            read_picture(use_case, name)
