"""The pictures of the console's guide: a rehearsed campaign of the game, its releases trained, signed off and rolled out, and a browser.

Nothing is made up: players are the simulator's, and figures are what its campaign earned. `tools/screenshots` runs it.
"""

import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl
from playwright.sync_api import Browser, Page

from contracts.clock import Clock, to_datetime
from contracts.settings import ClockSettings, Settings, Store
from decisions.record import record_decision
from features.online import OnlineFeatures, retention
from monitoring.measure import measure_arms
from releases.bundle import BundleParts, read_bundle, write_bundle
from releases.ledger import Act, Ledger
from releases.stages import register, start
from serving.console.app import build
from serving.console.desk import Office
from serving.console.releases import forecast_of
from serving.keys import Scope, make_key
from serving.live import load_release
from serving.operations import Desk, approve, promote, roll_back
from simulator.rehearsal import Rehearsal
from simulator.settings import WorldSettings
from storage.installation import open_installation
from storage.journal import Journal
from storage.layout import Layout
from storage.measures import Forecast, Measures, SkewMeasure, TableMeasure, UseCaseMeasures, write
from training.train import start_parts, train_on
from use_cases.definition import UseCase
from use_cases.game_promotion import USE_CASE

from .browser import PHONE, WIDE, chromium, look, served, sign_in

APPROVERS = ("ada", "grace")
SEED = 7
JOURNALED = 400
"""Newest decisions that the journal still has."""


@dataclass(frozen=True)
class Story:
    """The installation that was rehearsed, and ids of its releases."""

    settings: Settings
    use_case: UseCase
    champion: str
    candidate: str
    decision: str


class Campaign:
    """A rehearsal and the ledger beside it: what the ledger's plan says answers the game's players."""

    def __init__(self, folder: Path) -> None:
        self.use_case = replace(USE_CASE, approvers=APPROVERS)
        self.layout = Layout(folder)
        self.layout.root.mkdir(parents=True)
        self.ledger = Ledger(self.layout.ledger)
        self.game = Rehearsal(self.use_case, SEED, WorldSettings(players=800, horizon_days=60))

    @property
    def desk(self) -> Desk:
        """The installation at the rehearsal's moment."""
        now = Clock(self.game.now_us, time.time_ns() // 1_000, 1)
        return Desk(self.layout, self.ledger, {self.use_case.name: self.use_case}, now)

    def add(self, parts: BundleParts, who: str, why: str) -> str:
        """Write a release and note it in the ledger; the first one starts the use case."""
        release_id = write_bundle(self.layout.bundles, parts, self.layout.secrets)
        digest, act = read_bundle(self.layout.bundles, release_id).digest, Act(who, self.game.now_us, why)
        if self.ledger.plan(self.use_case.name) is None:
            start(self.ledger, self.use_case.name, release_id, digest, self.use_case.control_share, act)
        else:
            register(self.ledger, self.use_case.name, release_id, digest, act)
        return release_id

    def train(self) -> str:
        """Train on all that was played."""
        plan = self.ledger.plan(self.use_case.name)
        assert plan is not None
        candidate = train_on(self.game.training_set(), champion=plan.champion.release_id, threads=1)
        return self.add(candidate.parts, "flow train", "; ".join(candidate.verdict.reasons[-2:]))

    def play(self, decisions: int) -> None:
        """Let the plan in force answer so many decisions."""
        plan = self.ledger.plan(self.use_case.name)
        assert plan is not None
        runtimes = {name: load_release(self.layout, self.use_case, name).runtime for name in plan.releases}
        self.game.serve(plan, runtimes)
        self.game.play(decisions)


def rehearse(folder: Path) -> Story:
    """Two trainings: the first release is rolled out by steps, gone back from as a drill, and put back; the second waits for a sign-off."""
    campaign = Campaign(folder)
    name, game = campaign.use_case.name, campaign.game
    campaign.add(
        start_parts(campaign.use_case), "offerloop up", "the first release: it explores by the start policy, nothing is learned yet"
    )
    campaign.play(8_000)
    first = campaign.train()
    promote(campaign.desk, name, first, "flow rollout", "proven; it scores unseen first")
    campaign.play(100)
    approve(campaign.desk, name, first, "ada", "Looked at all personas: newcomers are welcomed, nobody under level 4 is shown the arena.")
    for played, why in ((150, "signed off"), (400, "the step's guard rails held"), (900, "the step's guard rails held")):
        promote(campaign.desk, name, first, "flow rollout", why)
        campaign.play(played)
    roll_back(campaign.desk, name, "grace", "a drill: how fast do we get back?")
    campaign.play(100)
    promote(campaign.desk, name, first, "grace", "the drill is over")
    promote(campaign.desk, name, first, "grace", "the drill is over; it had all the traffic before", at_once=True)
    campaign.play(2_500)
    second = campaign.train()
    promote(campaign.desk, name, second, "flow rollout", "proven; it scores unseen first")
    campaign.play(200)
    campaign.ledger.close()
    settings = _settle(campaign, folder)
    _measure(campaign, (first, second))
    shown = [one for one in game._decided[-JOURNALED:] if one.release_id == first and one.arm == "champion" and one.action != "none"]
    return Story(settings, campaign.use_case, first, second, shown[-1].decision_id)


def _settle(campaign: Campaign, folder: Path) -> Settings:
    """Give the installation its clock, which goes on from the rehearsal's end, and its journal the newest decisions."""
    use_case, game = campaign.use_case, campaign.game
    clock = ClockSettings(origin=to_datetime(game.now_us).isoformat())
    settings = Settings(state=str(folder), use_cases=(use_case.name,), clock=clock, store=Store(map_size_bytes=2**28))
    open_installation(campaign.layout, settings.clock)
    online = OnlineFeatures(use_case.schema, retention([use_case.feature_set], [use_case.catalogue]))
    journal = Journal(campaign.layout.journal, settings.store.map_size_bytes)
    try:
        for decision in game._decided[-JOURNALED:]:
            journal.write(partial(record_decision, decision=decision, apply_event=online.apply))
    finally:
        journal.close()
    return settings


def _measure(campaign: Campaign, releases: tuple[str, ...]) -> None:
    """What the flow `monitor` would find of what was played."""
    use_case, game = campaign.use_case, campaign.game
    rows = game.played().rows
    matured = rows.filter(pl.col("decided_at") <= game.now_us - use_case.outcome_window_us)
    events = {decision.entity_id: decision.seen_seq for decision in game._decided}
    bundles = [read_bundle(campaign.layout.bundles, name) for name in releases]
    forecasts = [(bundle.release_id, forecast_of(bundle)) for bundle in bundles]
    newest = game._decided[-1].decided_at
    measured = UseCaseMeasures(
        unit=use_case.reward_unit,
        arms=measure_arms(matured, use_case.reward_scale),
        forecasts=tuple(Forecast(name, value) for name, value in forecasts if value),
        skew=SkewMeasure(0, 0, {}),
        tables={
            "events": TableMeasure(sum(events.values()), newest),
            "decisions": TableMeasure(rows.height, newest),
            "outcomes": TableMeasure(rows.filter(pl.col("reward") != 0).height, newest),
        },
        unmatured=rows.height - matured.height,
    )
    write(campaign.layout, Measures(game.now_us, time.time(), {use_case.name: measured}))


def shoot(browser: Browser, address: str, key: str, story: Story, out: Path) -> None:
    """Take the pictures."""
    of = f"/console/use-cases/{story.use_case.name}"
    pictures: tuple[tuple[str, str, bool, tuple[int, int], str], ...] = (
        ("overview", "/console/", False, (WIDE[0], 720), ""),
        ("releases", f"{of}/releases", True, (WIDE[0], 820), ""),
        ("sign-off", f"{of}/sign-off/{story.candidate}", False, (WIDE[0], 860), "scenes"),
        ("sign-off-phone", f"{of}/sign-off/{story.candidate}", True, PHONE, "scenes"),
        ("rollback", f"{of}/rollback?to=previous", False, (WIDE[0], 760), ""),
        ("decision", f"/console/decisions?id={story.decision}", False, (WIDE[0], 900), ""),
        ("experiments", f"{of}/experiments", True, (WIDE[0], 640), ""),
    )
    for name, path, dark, size, at in pictures:
        with look(browser, address, dark=dark, size=size) as window:
            page = window.new_page()
            sign_in(page, key)
            page.goto(path)
            _scroll(page, at)
            page.screenshot(path=out / f"console-{name}.png")


def _scroll(page: Page, at: str) -> None:
    if at:
        page.evaluate(f"document.getElementById('{at}').scrollIntoView()")


def main() -> int:
    """Write the pictures into the folder that is named; 0 when they are there."""
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        story = rehearse(Path(folder) / "state")
        key = make_key(Layout(story.settings.folder), "ada", (Scope.VIEW, Scope.OPERATE))
        use_cases = {story.use_case.name: story.use_case}
        with Office(story.settings, use_cases) as office, served(build(office)) as address, chromium() as browser:
            shoot(browser, address, key, story, out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
