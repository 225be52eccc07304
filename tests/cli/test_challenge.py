"""`offerloop challenge`: several releases beside the champion, by hand."""

import json

from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act, Ledger
from releases.stages import register
from storage.layout import Layout
from tests.cli.conftest import USE_CASE, Run
from training.train import start_parts
from use_cases.definition import load


def candidate(layout: Layout, revision: str) -> str:
    release_id = write_bundle(layout.bundles, start_parts(load(USE_CASE), {"revision": revision}), layout.secrets)
    ledger = Ledger(layout.ledger)
    register(ledger, USE_CASE, release_id, read_bundle(layout.bundles, release_id).digest, Act("test", 10**16, "made"))
    ledger.close()
    return release_id


def arms(run: Run, *words: str) -> dict[str, tuple[str, float]]:
    ran = run("challenge", USE_CASE, *words, "--json")
    assert ran.code == 0, ran.err
    return {arm["name"]: (arm["release_id"], round(arm["share"], 6)) for arm in json.loads(ran.out)["arms"]}


def test_several_challenge_the_champion_and_each_may_end(run: Run, layout: Layout) -> None:
    one, two = candidate(layout, "one"), candidate(layout, "two")
    assert arms(run, one, "--share", "0.3")["challenger"] == (one, 0.3)
    both = arms(run, two)
    assert (both["challenger"], both["challenger_b"], both["champion"][1]) == ((one, 0.3), (two, 0.2), 0.5)
    assert arms(run, two, "--share", "0.4")["challenger_b"] == (two, 0.4)
    assert set(arms(run, one, "--end")) == {"champion", "challenger_b"}
    # it may come again, into the arm that is free
    assert arms(run, one, "--share", "0.1")["challenger"] == (one, 0.1)
    said = run("challenge", USE_CASE, two, "--end", "--reason", "it is sold out").out
    assert f"challenger {one} 10.0%" in said and two not in said
    assert json.loads(run("why", "--json").out)["ledger"][0]["reason"] == "it is sold out"
    assert "Nothing is compared" not in run("experiments").out


def test_what_cannot_challenge_says_why(run: Run, layout: Layout) -> None:
    one, two = candidate(layout, "one"), candidate(layout, "two")
    assert "would leave" in (
        run("challenge", USE_CASE, one, "--share", "0.6").out and run("challenge", USE_CASE, two, "--share", "0.5").err
    )
    assert "is no name" in run("challenge", USE_CASE, two, "--arm", "rival").err
    assert "`r-0` is not known. Known:" in run("challenge", USE_CASE, "r-0").err
