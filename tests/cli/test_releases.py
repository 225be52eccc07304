"""Releases by hand, from a candidate to champion: compare, look at personas, sign off, promote, refuse; and what served when."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from cli.bundles import bring_back
from cli.shortened import whole_id
from contracts.clock import to_datetime
from contracts.errors import BundleRefused, InvalidInput
from contracts.settings import Settings
from decisions.linear import LINEAR_FILE, LinearTerm, LinearWeights
from decisions.policies import PolicySpec
from decisions.scorer import TABLE_FILE, encode_table
from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act, Ledger
from releases.registry import Registry
from releases.stages import register
from serving.service import DecisionService
from storage.layout import Layout
from tests.cli.conftest import USE_CASE, Run
from tests.cli.test_reading import first_release
from training.golden import golden_decisions
from training.train import start_parts
from use_cases.definition import CanaryStep, Rollout, Scenario, load

POLICY = PolicySpec("epsilon_greedy", 0.1)


@pytest.fixture(autouse=True)
def asks_for_a_sign_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The use case wants ann's or bob's sign-off and two canary steps; ann sits here."""
    careful = replace(load(USE_CASE), approvers=("ann", "bob"), rollout=Rollout((CanaryStep(0.05), CanaryStep(0.25))))
    monkeypatch.setattr(f"use_cases.{USE_CASE}.USE_CASE", careful)
    sits_here(monkeypatch, "ann")


def sits_here(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("cli.here.pwd.getpwuid", lambda number: SimpleNamespace(pw_name=name))


def candidate(layout: Layout, *, linear: bool = False, **values: float) -> str:
    """A registered release that scores by a table, or by a linear model that says the same for a newcomer."""
    use_case = load(USE_CASE)
    table = {name: values.get(name, 0.0) for name in use_case.catalogue.index}
    features = np.array([[feature.default for feature in use_case.feature_set.features]])
    everyone = np.ones((1, len(table)), dtype=np.bool_)
    weights = LinearWeights((LinearTerm("newbie"),), table, dict.fromkeys(table, (0.5,)))
    parts = replace(
        start_parts(use_case),
        scorer_kind="linear" if linear else "table",
        scorer_files={LINEAR_FILE: msgspec.json.encode(weights)} if linear else {TABLE_FILE: encode_table(table)},
        policy=msgspec.to_builtins(POLICY),
        golden=golden_decisions(use_case.catalogue, POLICY, features, everyone, np.array([list(table.values())])),
        gate={"accepted": True, "step": "champion", "forecast": {"value": 0.5, "low": 0.25, "high": 0.75}},
    )
    release_id = write_bundle(layout.bundles, parts, layout.secrets)
    ledger = Ledger(layout.ledger)
    register(ledger, USE_CASE, release_id, read_bundle(layout.bundles, release_id).digest, Act("flow train", 0, "trained"))
    ledger.close()
    return release_id


def said(run: Run, *words: str) -> str:
    ran = run(*words)
    assert ran.code == 0, ran.err
    return ran.out


def asked(run: Run, *words: str) -> Any:
    return json.loads(said(run, *words, "--json"))


def listed(run: Run, release_id: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in asked(run, "releases", USE_CASE) if row["release_id"] == release_id)
    return found


def test_from_candidate_to_champion(run: Run, layout: Layout) -> None:
    release_id = candidate(layout, mens=2.0)
    assert listed(run, release_id)["sign_off"] == "waits for ann or bob"
    assert "in the shadow" in said(run, "promote", USE_CASE, release_id)

    early = run("promote", USE_CASE, release_id)
    assert early.code == 2 and "nobody has signed it off yet" in early.err
    assert asked(run, "ledger", USE_CASE, "--action", "denied")[0]["details"]["asked"] == "be promoted"

    looked = asked(run, "scenarios", USE_CASE)
    assert looked["release"] == release_id
    told = said(run, "approve", USE_CASE, release_id, "--comment", "men's goods for all; fine", "--subject", looked["subject"])
    assert told.startswith(f"{release_id} is signed off by ann")
    assert listed(run, release_id)["sign_off"].startswith("ann, ")

    assert "answers 5.0% of email_promotion outside control" in said(run, "promote", USE_CASE, release_id)
    found = listed(run, release_id)
    assert found["share"] == pytest.approx(0.05 * 0.95)
    assert (found["approval"]["comment"], found["forecast"]["low"], found["unit"]) == ("men's goods for all; fine", 0.25, "dollars")
    assert "0.5000 [0.2500, 0.7500] dollars" in said(run, "releases")
    assert "answers 25.0%" in said(run, "promote", USE_CASE, release_id, "--reason", "it looks well")
    assert "answers email_promotion now" in said(run, "promote", USE_CASE, release_id, "--at-once")
    assert [row["action"] for row in asked(run, "ledger", "--release", release_id)] == [
        "champion", "canary", "canary", "approve", "denied", "shadow", "register"
    ]  # fmt: skip
    assert listed(run, release_id)["sign_off"].startswith("ann, ")
    assert "ann, " in said(run, "live", USE_CASE) and "men's goods for all; fine" in said(run, "live", USE_CASE)


def test_who_looked_at_something_else_is_refused(run: Run, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    release_id = candidate(layout, mens=2.0)
    said(run, "promote", USE_CASE, release_id)
    looked = asked(run, "scenarios", USE_CASE)["subject"]
    use_case = load(USE_CASE)
    said(run, "approve", USE_CASE, release_id, "--comment", "fine")
    more = replace(use_case, scenarios=(*use_case.scenarios, Scenario("late", "Came late")))
    monkeypatch.setattr(f"use_cases.{USE_CASE}.USE_CASE", more)
    again = run("approve", USE_CASE, release_id, "--comment", "fine", "--subject", looked)
    assert again.code == 2 and "has changed since" in again.err
    assert listed(run, release_id)["sign_off"] == "void: the scenarios it was looked at on have changed"
    assert "is void: the scenarios" in run("promote", USE_CASE, release_id).err


def test_only_approvers_sign_off_and_a_second_operator_is_told(run: Run, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    release_id = candidate(layout, mens=2.0)
    late = run("promote", USE_CASE, release_id, "--plan-version", "7")
    assert late.code == 2 and "is at version 1 now, you looked at 7" in late.err
    sits_here(monkeypatch, "eve")
    ran = run("approve", USE_CASE, release_id, "--comment", "fine")
    assert ran.code == 2 and "eve may not sign it off" in ran.err
    assert [row["actor"] for row in asked(run, "ledger", "--action", "denied")] == ["eve", "ann"]
    assert "Missing option '--comment'" in run("approve", USE_CASE, release_id).err


def test_a_rejected_release_never_comes_again(run: Run, layout: Layout) -> None:
    release_id = candidate(layout, mens=2.0)
    said(run, "promote", USE_CASE, release_id)
    assert f"{release_id} is refused" in said(run, "reject", USE_CASE, release_id, "--comment", "it shows men's goods to everybody")
    assert listed(run, release_id)["stage"] == "refused" and listed(run, release_id)["sign_off"] == ""
    assert run("promote", USE_CASE, release_id).code == 2
    assert "it is champion" in run("reject", USE_CASE, first_release(layout), "--comment", "no").err


def test_names_may_be_shortened_as_long_as_they_mean_one(run: Run, layout: Layout) -> None:
    release_id, start = candidate(layout, mens=2.0), first_release(layout)
    found = asked(run, "diff", release_id.removeprefix("r-")[:6])
    assert (found["before"], found["after"]) == (start, release_id)
    assert said(run, "promote", USE_CASE, release_id[:8]).startswith(f"{release_id} scores in the shadow")
    ledger = Ledger(layout.ledger)
    assert whole_id(ledger, release_id[:4], [USE_CASE]) == release_id[:4]
    assert whole_id(ledger, "r-ffffffff", [USE_CASE]) == "r-ffffffff"
    ledger.close()
    assert "release of email_promotion `r-ffff` is not known" in run("promote", USE_CASE, "r-ffff").err
    assert "release `r-ffff` is not known" in run("diff", "r-ffff").err


def test_a_name_that_means_several_is_told(layout: Layout) -> None:
    ledger = Ledger(layout.ledger)
    for name in ("r-aaaabbbbccccdddd", "r-aaaabbbbccccdddd"[:-1] + "e"):
        register(ledger, USE_CASE, name, "d" * 64, Act("test", 0, "made"))
    with pytest.raises(InvalidInput, match="is the beginning of r-aaaabbbbccccdddd, r-aaaabbbbccccddde"):
        whole_id(ledger, "r-aaaabbbb", [USE_CASE])
    assert whole_id(ledger, "aaaabbbbccccddde", [USE_CASE]) == "r-aaaabbbbccccddde"
    ledger.close()


def test_a_release_is_compared_with_the_champion_or_with_another(run: Run, layout: Layout) -> None:
    start, mens, womens = first_release(layout), candidate(layout, mens=2.0), candidate(layout, womens=2.0)
    told = said(run, "diff", mens)
    assert f"before: {start}" in told and f"after: {mens}" in told
    assert "constant" in told and "table" in told and "epsilon_greedy" in told and "The same: features" in told
    found = asked(run, "diff", mens, womens)
    assert (found["before"], found["after"]) == (mens, womens)
    assert [section["name"] for section in found["sections"] if section["changes"]] == ["model"]
    assert said(run, "diff", mens, mens) == f"Nothing differs between {mens} and {mens}.\n"
    assert "no champion came before it" in run("diff", start).err


def test_what_served_at_a_moment(run: Run, layout: Layout) -> None:
    start, release_id = first_release(layout), candidate(layout, mens=2.0)
    said(run, "promote", USE_CASE, release_id)
    (since,) = {row["at"] for row in asked(run, "ledger", USE_CASE, "--action", "shadow")}
    before = to_datetime(since - 1).isoformat()
    then = asked(run, "live", USE_CASE, "--at", before)["then"]
    assert (then["plan"]["version"], then["row"]["action"], list(then["releases"])) == (1, "start", ["champion"])
    told = said(run, "live", USE_CASE, "--at", before)
    assert start in told and "95.0%" in told and "no sign-off" in told and "did start" in told
    assert release_id in said(run, "live", USE_CASE) and "(shadow)" in said(run, "live", USE_CASE)
    assert "does not say its zone" in run("live", USE_CASE, "--at", "2026-03-01T12:00").err
    assert "is no moment" in run("live", USE_CASE, "--at", "yesterday").err
    never = run("live", USE_CASE, "--at", "1999-03-01T12:00Z")
    assert never.code == 2 and "is not known" in never.err
    assert "use case `shop` is not known" in run("live", "shop").err


def test_the_ledger_is_filtered_and_paged(run: Run, layout: Layout) -> None:
    release_id = candidate(layout, mens=2.0)
    said(run, "promote", USE_CASE, release_id, "--reason", "have a look")
    newest, older = asked(run, "ledger", "--limit", "2")
    assert (newest["action"], newest["reason"], newest["actor"], older["action"]) == ("shadow", "have a look", "ann", "register")
    assert "have a look" in said(run, "ledger") and "There may be more: --before" in said(run, "ledger", "--limit", "1")
    assert asked(run, "ledger", "--limit", "1", "--before", str(newest["id"])) == [older]
    assert asked(run, "ledger", "--since", "2999-01-01T00:00Z") == [] == asked(run, "ledger", "shop")
    assert "does not say its zone" in run("ledger", "--since", "2026-03-01").err


def test_personas_are_shown_side_by_side(run: Run, layout: Layout) -> None:
    start = first_release(layout)
    alone = said(run, "scenarios", USE_CASE)
    assert start in alone and "Bought men's goods (mens)" in alone and "3 candidates alike, 33.3% each" in alone
    release_id = candidate(layout, mens=2.0)
    told = said(run, "scenarios", USE_CASE, release_id)
    assert f"champion {start}" in told and "mens 93.3%, expects 2.0000 dollars" in told and "New in our men's department" in told
    found = asked(run, "scenarios", USE_CASE, release_id)
    assert [one["scenario"]["name"] for one in found["scenarios"]] == [scenario.name for scenario in load(USE_CASE).scenarios]
    assert found["scenarios"][0]["variation"] == pytest.approx(0.6) and found["plan_version"] == 1
    whole = said(run, "scenarios", USE_CASE, release_id, "--scenario", "new")
    assert "One purchase of women's goods" in whole and "one value, whoever is asked" in whole and "Urban" in whole
    assert "scenario `old` is not known. Known: mens" in run("scenarios", USE_CASE, "--scenario", "old").err


def test_what_cannot_be_done_is_noted_and_nothing_is_half_done(run: Run, layout: Layout) -> None:
    release_id = candidate(layout, mens=2.0)
    table = layout.bundles / release_id / TABLE_FILE
    table.chmod(0o644)
    table.write_bytes(table.read_bytes().replace(b"2.0", b"9.0"))
    before = asked(run, "live", USE_CASE)["then"]["plan"]
    for words in (
        ("promote", USE_CASE, release_id),
        ("promote", USE_CASE, "r-0123456789abcdef"),
        ("approve", USE_CASE, release_id, "--comment", "fine"),
        ("reject", USE_CASE, "r-0123456789abcdef", "--comment", "no"),
    ):
        ran = run(*words)
        assert ran.code == 2 and ran.err.startswith("Error: ") and ran.err.count("\n") == 1, words
        assert release_id in ran.err or "r-0123456789abcdef` is not known" in ran.err
    assert asked(run, "live", USE_CASE)["then"]["plan"] == before
    denied = asked(run, "ledger", "--action", "denied")
    assert {row["actor"] for row in denied} == {"ann"}
    assert [row["details"]["asked"] for row in denied] == ["be refused", "be approved", "be promoted", "be promoted"]
    assert "has another digest than the manifest says" in denied[-1]["reason"]
    assert listed(run, release_id)["scorer"] == "damaged"
    assert "has another digest" in run("diff", release_id).err and "has another digest" in run("scenarios", USE_CASE, release_id).err


def test_a_lost_bundle_is_brought_back_from_mlflow(run: Run, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # why: MLflow's store of files needs no server; that of a running installation is tested with the registry
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    release_id = candidate(layout, mens=2.0)
    mlflow = f"file://{tmp_path}/mlruns"
    Registry(mlflow).log_release(read_bundle(layout.bundles, release_id), 10**15)
    ledger = Ledger(layout.ledger)
    row = ledger.release(release_id)
    ledger.close()
    shutil.rmtree(layout.bundles / release_id)
    assert listed(run, release_id)["scorer"] == "damaged"
    bring_back(layout, row, mlflow)
    assert listed(run, release_id)["scorer"] == "table"
    with pytest.raises(BundleRefused, match="the ledger's is dddd"):
        bring_back(layout, msgspec.structs.replace(row, digest="d" * 64), mlflow)
    assert "was never started, so that there is no MLflow" in run("releases", "--restore", release_id).err
    assert "release `r-0` is not known" in run("releases", "--restore", "r-0").err


def test_a_decision_is_explained_with_its_reasons(run: Run, layout: Layout) -> None:
    release_id = candidate(layout, linear=True, mens=2.0)
    said(run, "promote", USE_CASE, release_id)
    said(run, "approve", USE_CASE, release_id, "--comment", "fine")
    said(run, "promote", USE_CASE, release_id, "--at-once")
    with DecisionService(Settings(state=str(layout.root), use_cases=(USE_CASE,))) as service:
        service.decide(USE_CASE, "e-7", decision_id="d-7")
    found = asked(run, "explain", "d-7")
    shown = 2.0 if found["action"] == "mens" else 0.0
    assert found["exact"] and (found["why"]["base"], found["why"]["score"], found["why"]["reasons"]) == (shown, shown, [])
    assert f"Why {found['action']} scores {shown:.4f}" in said(run, "explain", "d-7")


def test_who_lost_the_keys_signs_again_and_it_is_noted(run: Run, layout: Layout) -> None:
    release_id = candidate(layout, mens=2.0)
    for key in (layout.secrets / "release-signing.pem", *(layout.secrets / "trusted-signers").iterdir()):
        key.unlink()
    assert run("promote", USE_CASE, release_id).code == 2
    said(run, "releases", "--sign", release_id)
    assert "in the shadow" in said(run, "promote", USE_CASE, release_id)
    assert [row["actor"] for row in asked(run, "ledger", "--action", "sign")] == ["ann"]

    table = layout.bundles / release_id / TABLE_FILE
    table.chmod(0o644)
    table.write_bytes(table.read_bytes().replace(b"2.0", b"9.0"))
    assert run("releases", "--sign", release_id).code == 2
    assert asked(run, "ledger", "--action", "denied")[0]["details"]["asked"] == "be signed"
