"""What people and flows do to releases: each act, and each refusal with its row in the ledger and nothing half-done."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from contracts.catalogue import Catalogue
from contracts.errors import BundleRefused, InvalidInput, NeedsOtherCode, NotFound, OfferloopError, StepRefused
from contracts.traffic import TrafficPlan
from decisions.policies import PolicySpec
from features.definitions import Aggregate, FeatureSet, Window
from releases.bundle import BundleParts, read_bundle
from releases.inbox import Inbox
from serving.operations import (
    Desk,
    approval_of,
    approve,
    challenge,
    live_at,
    promote,
    reject,
    roll_back,
    subject,
    waiting_for_sign_off,
)
from serving.service import DecisionService
from tests.serving.conftest import AT, CATALOGUE, FEATURES, SHOP, Shop, parts_of, table_of
from use_cases.definition import CanaryStep, Rollout, Scenario

BEST = parts_of(PolicySpec("greedy"), "table", table_of(gems=5.0))
OTHER = parts_of(PolicySpec("greedy"), "table", table_of(boost=3.0))
STEPS = Rollout((CanaryStep(0.01), CanaryStep(0.25)))


def with_use_case(desk: Desk, **changes: object) -> Desk:
    return replace(desk, use_cases={"shop": replace(SHOP, **changes)})  # type: ignore[arg-type]  # why: any of its attributes


def shares(plan: TrafficPlan) -> dict[str, tuple[str, float]]:
    return {arm.name: (arm.release_id, round(arm.share, 9)) for arm in plan.arms}


def refused(desk: Desk, act: Callable[[], object], kind: type[OfferloopError], words: str) -> None:
    """It raises, the ledger has one row more that says so, and plan and stages are what they were."""
    before = desk.ledger.rows("shop"), desk.ledger.plan("shop"), desk.ledger.releases("shop")
    with pytest.raises(kind, match=words):
        act()
    denied, *others = desk.ledger.rows("shop")
    assert (others, desk.ledger.plan("shop"), desk.ledger.releases("shop")) == before
    assert (denied.action, denied.actor, denied.plan) == ("denied", "ada", None)


def test_a_release_goes_on_step_by_step(shop: Shop, service: DecisionService, desk: Desk) -> None:
    desk = with_use_case(desk, rollout=STEPS)
    first = service.status().use_cases[0].arms[0].release_id
    new = shop.register(service, BEST)
    assert promote(desk, "shop", new, "ada", "on").shadow == new
    assert shares(promote(desk, "shop", new, "ada", "on")) == {"champion": (first, 0.99), "canary": (new, 0.01)}
    assert shares(promote(desk, "shop", new, "ada", "on")) == {"champion": (first, 0.75), "canary": (new, 0.25)}
    assert shares(promote(desk, "shop", new, "ada", "on", details={"seen": 7})) == {"champion": (new, 1.0)}
    rows = desk.ledger.rows("shop", release_id=new)
    assert [row.action for row in rows] == ["champion", "canary", "canary", "shadow", "register"]
    assert (rows[0].actor, rows[0].reason, rows[0].details) == ("ada", "on", {"seen": 7})


def test_a_release_may_go_straight_to_champion(shop: Shop, service: DecisionService, desk: Desk) -> None:
    new = shop.shadow(service, BEST)
    assert shares(promote(with_use_case(desk, rollout=STEPS), "shop", new, "ada", "it is urgent", at_once=True)) == {"champion": (new, 1.0)}


def test_what_its_gate_lets_only_challenge_does_not_replace_the_champion(shop: Shop, service: DecisionService, desk: Desk) -> None:
    new = shop.shadow(service, replace(BEST, gate={"accepted": True, "step": "challenger"}))
    refused(desk, lambda: promote(desk, "shop", new, "ada", "on"), StepRefused, "challenge the champion, not replace it")
    assert shares(challenge(desk, "shop", new, "ada", "compare", share=0.2, arm="challenger"))["challenger"] == (new, 0.2)


def test_what_its_gate_refused_reaches_nobody_from_any_stage(shop: Shop, service: DecisionService, desk: Desk) -> None:
    no = {"accepted": False, "step": "refused"}
    candidate, shadow = shop.register(service, replace(OTHER, gate=no)), shop.shadow(service, replace(BEST, gate=no))
    for release_id in (candidate, shadow):
        refused(desk, partial(promote, desk, "shop", release_id, "ada", "on"), StepRefused, "its gate refused it")
        refused(
            desk, partial(challenge, desk, "shop", release_id, "ada", "on", share=0.2, arm="challenger"), StepRefused, "its gate refused it"
        )


def test_a_comparison_that_is_refused_leaves_the_shadow_as_it_was(shop: Shop, service: DecisionService, desk: Desk) -> None:
    one = shop.shadow(service, BEST)
    promote(with_use_case(desk, rollout=STEPS), "shop", one, "ada", "on")
    waits, late = shop.shadow(service, OTHER), shop.register(service, parts_of(PolicySpec("greedy"), "table", table_of(rare=1.0)))
    for share, arm, why in ((0.995, "challenger", "would leave"), (0.2, "canary", f"{one} is canary now")):
        refused(desk, partial(challenge, desk, "shop", late, "ada", "on", share=share, arm=arm), StepRefused, why)
    assert desk.ledger.release(waits).stage == "shadow"
    assert shares(challenge(desk, "shop", late, "ada", "on", share=0.2, arm="challenger"))["challenger"] == (late, 0.2)
    assert [row.action for row in desk.ledger.rows("shop", release_id=late, limit=2)] == ["challenger", "shadow"]


def test_who_approves_again_lets_it_go_on_again(shop: Shop, service: DecisionService, desk: Desk) -> None:
    desk = with_use_case(desk, approvers=("ada",))
    new = shop.shadow(service, BEST)
    first = approve(desk, "shop", new, "ada", "fine")
    assert approve(desk, "shop", new, "ada", "fine") == first
    with closing(Inbox(shop.layout.ledger)) as inbox:
        assert len(inbox.unfinished()) == 2


def test_without_a_valid_sign_off_nothing_reaches_people(shop: Shop, service: DecisionService, desk: Desk) -> None:
    desk = with_use_case(desk, approvers=("ada",), scenarios=(Scenario("new", "New"),))
    new, other = shop.shadow(service, BEST), shop.register(service, OTHER)
    assert [row.release_id for row in waiting_for_sign_off(desk, "shop")] == [new]
    refused(desk, lambda: promote(desk, "shop", new, "ada", "on"), StepRefused, "nobody has signed it off yet; ada may")
    refused(desk, lambda: challenge(desk, "shop", new, "ada", "on", share=0.2, arm="challenger"), StepRefused, "nobody has signed it off")

    approve(desk, "shop", new, "ada", "looked at every persona")
    assert waiting_for_sign_off(desk, "shop") == ()
    with closing(Inbox(shop.layout.ledger)) as inbox:
        assert [(row.name, row.payload) for row in inbox.unfinished()] == [("rollout", {"use_case": "shop", "release_id": new})]

    changed = with_use_case(desk, approvers=("ada",), scenarios=(Scenario("new", "Newer"),))
    refused(changed, lambda: promote(changed, "shop", new, "ada", "on"), StepRefused, "approval by ada is void: the scenarios")
    assert shares(promote(desk, "shop", new, "ada", "on")) == {"champion": (new, 1.0)}
    assert promote(desk, "shop", other, "ada", "nobody is asked before the shadow").shadow == other


def test_an_approval_is_void_once_another_champion_serves(shop: Shop, service: DecisionService, desk: Desk) -> None:
    desk = with_use_case(desk, approvers=("ada",))
    one, two = shop.shadow(service, BEST), shop.register(service, OTHER)
    for release_id in (one, two):
        approve(desk, "shop", release_id, "ada", "fine")
    promote(desk, "shop", one, "ada", "on")
    promote(desk, "shop", two, "ada", "on")
    found = approval_of(desk, "shop", two)
    assert found is not None
    assert "another champion" in found.void
    refused(desk, lambda: promote(desk, "shop", two, "ada", "on"), StepRefused, "is void")


def test_who_looked_at_something_else_approves_nothing(shop: Shop, service: DecisionService, desk: Desk) -> None:
    desk = with_use_case(desk, approvers=("ada",))
    one, two = shop.shadow(service, BEST), shop.register(service, OTHER)
    looked_at = subject(desk, "shop", two).digest
    approve(desk, "shop", one, "ada", "fine", subject_digest=subject(desk, "shop", one).digest)
    promote(desk, "shop", one, "ada", "on")
    refused(desk, lambda: approve(desk, "shop", two, "ada", "fine", subject_digest=looked_at), StepRefused, "has changed since")
    refused(
        with_use_case(desk, approvers=()), lambda: approve(with_use_case(desk), "shop", two, "ada", "fine"), StepRefused, "names nobody"
    )


def tampered(shop: Shop, release_id: str) -> str:
    path = shop.layout.bundles / release_id / "table.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"5", b"6"))
    return release_id


@pytest.mark.parametrize("way", [promote, approve])
def test_a_tampered_bundle_is_refused_before_anything_is_done(
    shop: Shop, service: DecisionService, desk: Desk, way: Callable[..., object]
) -> None:
    desk = with_use_case(desk, approvers=("ada",))
    new = tampered(shop, shop.shadow(service, BEST))
    refused(desk, lambda: way(desk, "shop", new, "ada", "on"), BundleRefused, "table.json has another digest")


def test_one_does_not_go_back_to_a_tampered_bundle(shop: Shop, service: DecisionService, desk: Desk) -> None:
    best = shop.promote(service, BEST)
    shop.promote(service, OTHER)
    tampered(shop, best)
    refused(desk, lambda: roll_back(desk, "shop", "ada", "back"), BundleRefused, "table.json has another digest")


@pytest.mark.parametrize("act", [promote, reject, approve, subject])
def test_an_unknown_release_is_refused(desk: Desk, act: Callable[..., object]) -> None:
    with pytest.raises(NotFound, match=r"release of shop `r-x` is not known\. Known: r-"):
        act(*([desk, "shop", "r-x"] + ([] if act is subject else ["ada", "on"])))
    if act is not subject:
        assert desk.ledger.rows("shop", limit=1)[0].reason.startswith("release of shop `r-x` is not known")


def test_an_unknown_use_case_is_refused(desk: Desk) -> None:
    with pytest.raises(NotFound, match="use case `casino` is not known. Known: shop"):
        promote(desk, "casino", "r-x", "ada", "on")


def test_of_two_operators_at_once_the_second_looks_again(shop: Shop, service: DecisionService, desk: Desk) -> None:
    one, two = shop.shadow(service, BEST), shop.register(service, OTHER)
    plan = desk.ledger.plan("shop")
    assert plan is not None
    promote(desk, "shop", one, "bob", "on", expected_version=plan.version)
    for act in (promote, reject):
        refused(desk, partial(act, desk, "shop", two, "ada", "on", expected_version=plan.version), StepRefused, "look again")
    refused(desk, lambda: roll_back(desk, "shop", "ada", "on", expected_version=plan.version), StepRefused, "look again")


def test_going_back_by_name_and_by_time(shop: Shop, service: DecisionService, desk: Desk) -> None:
    first = service.status().use_cases[0].arms[0].release_id
    best = shop.promote(service, BEST)
    then = desk.ledger.rows("shop", limit=1)[0].at
    other = shop.promote(service, OTHER)
    assert roll_back(desk, "shop", "ada", "back", to=first).champion.release_id == first
    with pytest.raises(InvalidInput, match="one of them"):
        roll_back(desk, "shop", "ada", "back", to=best, at_us=then)
    refused(desk, lambda: roll_back(desk, "shop", "ada", "back", at_us=1), StepRefused, "nothing served shop at 1970-01-01 00:00:00 UTC")
    # of rows that bear the same moment the newest plan counts
    assert roll_back(desk, "shop", "ada", "back", at_us=then).champion.release_id == other
    refused(desk, lambda: roll_back(desk, "shop", "ada", "back", at_us=then), StepRefused, "answers everybody already")


def test_what_served_at_a_moment_and_with_whose_approval(shop: Shop, service: DecisionService, desk: Desk) -> None:
    desk = with_use_case(desk, approvers=("ada",))
    new = shop.shadow(service, BEST)
    approval = approve(desk, "shop", new, "ada", "fine")
    promote(desk, "shop", new, "bob", "on")
    now = live_at(desk, "shop", desk.clock.now_us())
    assert (now.row.actor, now.row.action, shares(now.plan)) == ("bob", "champion", {"champion": (new, 1.0)})
    assert now.releases["champion"].digest == read_bundle(shop.layout.bundles, new).digest
    assert now.approvals == {new: approval}
    assert live_at(desk, "shop", approval.at - 1).approvals == {}
    with pytest.raises(NotFound, match="release that served shop at `2023-11-14 22:13:19 UTC`"):
        live_at(desk, "shop", AT - 1)


def test_a_release_of_other_code_names_the_image_to_redeploy(shop: Shop, service: DecisionService, desk: Desk) -> None:
    """Its features are made from an event type that this code does not know."""
    unheard = FeatureSet("old", (Aggregate(name="bets", source="bet", aggregate="count", window_us=Window.days(1)),))
    parts = parts_of(PolicySpec("uniform"), features=unheard, catalogue=Catalogue(CATALOGUE.candidates[:2]))
    old = shop.register(service, replace(parts, code={"revision": "abc123", "image": "shop/offerloop:41"}))
    refused(desk, lambda: promote(desk, "shop", old, "ada", "on"), NeedsOtherCode, "bet.*Redeploy the image `shop/offerloop:41`")


def golden_answers(service: DecisionService, parts: BundleParts) -> list[tuple[bytes, bytes]]:
    """What the release that serves makes of golden decisions: bytes of scores and probabilities."""
    live = service.live("shop")
    runtime = live.releases[live.plan.champion.release_id].runtime
    found = []
    for row in parts.golden.iter_rows(named=True):
        positions = np.array([runtime.catalogue.index[name] for name in row["candidate_ids"]], dtype=np.int64)
        scores = runtime.scorer.scores(np.array(row["features"]), positions)
        found.append((scores.tobytes(), runtime.policy.probabilities(scores, positions).tobytes()))
    return found


async def ask(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Decisions for enough entities to have some in each arm."""
    async with client:
        return [(await client.post("/v1/shop/decisions", json={"entity_id": f"e{number}"})).json() for number in range(40)]


def test_going_back_over_other_features_and_catalogue_restores_every_answer_to_the_bit(
    shop: Shop, service: DecisionService, desk: Desk, http: Callable[..., httpx.AsyncClient], key: str
) -> None:
    first = shop.promote(service, BEST)
    service.look()
    before = golden_answers(service, BEST)
    fewer = FeatureSet("fewer", FEATURES.features[:4])
    dearer = Catalogue(tuple(msgspec.structs.replace(one, content={"text": "Dearer!"}) for one in CATALOGUE.candidates))
    parts = parts_of(PolicySpec("greedy"), "table", table_of(gems=9.0), features=fewer, catalogue=dearer)
    second = shop.promote(service, replace(parts, settings={"baseline": "gems", "ttl_us": 60_000_000}))
    said = {}
    for release_id in (second, first):
        service.look()
        answers = asyncio.run(ask(http(authorization=f"Bearer {key}")))
        assert {answer["release_id"] for answer in answers} == {release_id}
        treated = next(answer for answer in answers if answer["arm"] == "champion")
        control = next(answer for answer in answers if answer["arm"] == "control")
        logged = service.decision("shop", treated["decision_id"])
        lasts_us = treated["expires_at"] - treated["decided_at"]
        said[release_id] = (treated["content"], control["action"], lasts_us, len(logged.features), logged.catalogue)
        if release_id == second:
            roll_back(desk, "shop", "ada", "it was a mistake")
    assert said == {
        second: ({"text": "Dearer!"}, "gems", 60_000_000, 4, dearer.digest),
        first: ({"text": "Gems!"}, SHOP.baseline, SHOP.ttl_us, 5, CATALOGUE.digest),
    }
    assert golden_answers(service, BEST) == before
    assert before == [(np.array(row["scores"]).tobytes(), np.array(row["p_in_arm"]).tobytes()) for row in BEST.golden.iter_rows(named=True)]
