"""What is live: a thread that watches the traffic plan, makes its releases ready beside the ones that serve, and swaps a pointer."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import msgspec

from contracts.clock import Clock
from contracts.errors import BundleRefused, DefinitionError, InvalidInput, NeedsOtherCode, NotFound, StoreUnavailable
from contracts.metrics import RELEASES_REFUSED, REPLICA_PLAN_VERSION
from contracts.traffic import CHAMPION, Arm, TrafficPlan
from decisions.decide import ReleaseRuntime, build_runtime
from decisions.golden import differences
from decisions.policies import PolicySpec
from features.coverage import longest
from features.definitions import Aggregate, Attribute, FeatureSet
from features.online import OnlineFeatures, retention
from releases.bundle import Bundle, read_bundle
from releases.ledger import Act, Ledger
from serving.catching_up import WAITING, CatchingUp
from serving.compiling import Compiling
from serving.known_plans import KnownPlan, KnownPlans
from serving.metrics import Metrics
from storage.layout import Layout
from use_cases.definition import UseCase

POLL_S = 0.2
RETRY_S = 30.0
"""After which a refused bundle is tried again, in case someone has mended it."""

RULES = "rules"
"""The name under which decisions are logged that no release made."""

MOST_READY = 4
"""Feature sets whose rows are kept ready: of the releases that serve, then of those that did."""

MOST_KEPT = 4
"""Releases kept in memory that served a moment ago, so that going back to them is a swap of a pointer."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Release:
    """A release ready to decide, with the features it reads, and the bundle it was made from; none for the rules that stand in for one."""

    bundle: Bundle | None
    runtime: ReleaseRuntime
    feature_set: FeatureSet

    @cached_property
    def refusing(self) -> frozenset[str]:
        """Names of the features without which, when they are stale, nothing is to be decided."""
        return frozenset(
            feature.name
            for feature in self.feature_set.features
            if isinstance(feature, (Aggregate, Attribute)) and feature.fallback == "refuse"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """What serves one use case: an immutable whole, replaced at once, so that a decision sees one plan.

    Attributes:
        plan: the traffic plan that serves.
        asked: the one in the ledger; another one where a bundle of it was refused.
        releases: every release that `plan` names.
        refused: releases of `asked` that were not taken, with the reason.
        waiting: those of them that will be, once their features are caught up.
    """

    plan: TrafficPlan
    asked: TrafficPlan
    releases: Mapping[str, Release]
    refused: Mapping[str, str]
    waiting: frozenset[str] = frozenset()

    @property
    def shadow(self) -> Release | None:
        """The release that scores beside, unseen."""
        return self.releases[self.plan.shadow] if self.plan.shadow else None


def load_release(layout: Layout, use_case: UseCase, release_id: str, digest: str | None = None) -> Release:
    """Read a bundle, compile it, and check that it decides its golden decisions to the last bit.

    Args:
        layout: of the installation.
        use_case: as this code defines it; of it only the schema of events counts, all else is the bundle's.
        release_id: its name.
        digest: the whole digest that the ledger has of it.

    Raises:
        BundleRefused: it is damaged, not signed by whom this installation trusts, another one than the ledger knows, of another use case,
            or decides otherwise.
        NeedsOtherCode: it does not fit the code that runs here.
    """
    bundle = read_bundle(layout.bundles, release_id, layout.secrets)
    if digest is not None and bundle.digest != digest:
        raise BundleRefused(release_id, f"its digest is {bundle.digest}, the ledger's is {digest}")
    if bundle.parts.use_case != use_case.name:
        raise BundleRefused(release_id, f"is a release of {bundle.parts.use_case}, not of {use_case.name}")
    try:
        release = _compile(bundle, use_case)
    except (DefinitionError, InvalidInput, msgspec.ValidationError) as error:
        code = bundle.parts.code
        raise NeedsOtherCode(release_id, str(error), str(code.get("revision", "")), str(code.get("image", ""))) from error
    for difference in differences(bundle.parts.golden, release.runtime):
        raise BundleRefused(release_id, difference)
    return release


class Watcher:
    """Watches the plans of some use cases and keeps what is live, from a thread of its own.

    Args:
        layout: of the installation.
        ledger: whose plans are watched, and where refusals are said.
        use_cases: by name.
        clock: of the installation.
        metrics: told of plans and refusals.
        catching_up: makes the features of a release that needs longer windows.
        on_round: called after each look, such as to look at other files.
    """

    def __init__(
        self,
        layout: Layout,
        ledger: Ledger,
        use_cases: Mapping[str, UseCase],
        clock: Clock,
        metrics: Metrics,
        catching_up: CatchingUp,
        on_round: Callable[[], None] = lambda: None,
    ) -> None:
        self._layout = layout
        self._ledger = ledger
        self._use_cases = use_cases
        self._clock = clock
        self._metrics = metrics
        self._catching_up = catching_up
        self._compiling = Compiling(layout.compiled, metrics)
        self._on_round = on_round
        self._live: dict[str, Live] = {}
        self._loaded: dict[str, Release] = {}
        self._refused: dict[str, tuple[str, float]] = {}
        self._known_plans = KnownPlans(layout)
        self._known_digests: Mapping[str, str] = {}
        self._waits: dict[str, frozenset[str]] = {}
        self._kept: dict[str, Mapping[str, int]] = {}
        self._ready: dict[str, tuple[FeatureSet, ...]] = dict.fromkeys(use_cases, ())
        self._online: dict[str, OnlineFeatures] = {}
        for use_case in use_cases.values():
            needed = retention([use_case.feature_set], [use_case.catalogue])
            catching_up.covers(use_case, needed)
            self._keep(use_case, needed, ())
        self._stop = threading.Event()
        self._round = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="traffic-plan", daemon=True)

    def start(self) -> None:
        """Look once now, then go on looking from the thread."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._compiling.stop()

    def live(self, use_case: str) -> Live | None:
        """What serves a use case now; None before its first release."""
        return self._live.get(use_case)

    def online(self, use_case: str) -> OnlineFeatures:
        """Reads and advances feature state, keeping events for as long as any release that was live here needs them."""
        return self._online[use_case]

    def look(self) -> None:
        """Look at the plans once; whatever is new is live when this returns, or refused."""
        with self._round:
            for use_case in self._use_cases.values():
                try:
                    self._follow(use_case)
                except StoreUnavailable as error:
                    _LOG.warning("the ledger cannot be read now, the plan of %s serves on: %s", use_case.name, error)
                except Exception:  # noqa: BLE001  why: one use case must not keep the others from their plans
                    _LOG.exception("following the plan of %s failed; what is live serves on", use_case.name)
            self._on_round()

    def _watch(self) -> None:
        while not self._stop.wait(POLL_S):
            try:
                self.look()
            except Exception:  # noqa: BLE001  why: a replica that looks no more would never go back again, and nobody would see it
                _LOG.exception("looking at the traffic plans failed; what is live serves on")

    def _follow(self, use_case: UseCase) -> None:
        live = self._live.get(use_case.name)
        try:
            plan = self._ledger.plan(use_case.name)
        except StoreUnavailable:
            known = None if live is not None else self._known_plans.read(use_case.name)
            if known is None:
                raise
            _LOG.warning("the ledger cannot be read now: the newest plan of %s that is known here serves", use_case.name)
            plan, self._known_digests = known.plan, {**self._known_digests, **known.digests}
        if plan is None or (live is not None and live.asked.version == plan.version and not self._worth_another_try(use_case, live)):
            return
        made = self._make(use_case, plan, live)
        if made is None and live is None:
            made = self._make_earlier(use_case, plan, self._waits[use_case.name])
        if made is None and live is None and not self._waits[use_case.name]:
            refused = {name: self._refused[name][0] for name in plan.releases if name in self._refused}
            made = replace(rules_of(use_case, plan), refused=refused)
            _LOG.error("no release of %s can be read: its baseline answers everyone until one can", use_case.name)
        if made is not None:
            self._live = {**self._live, use_case.name: made}
            self._forget(use_case.name, made)
            self._note(use_case.name, made)
            for release_id, release in made.releases.items():
                self._compiling.offer(use_case.name, release_id, release.runtime.scorer)
            self._metrics.set(REPLICA_PLAN_VERSION, use_case.name, value=made.plan.version)
            _LOG.info("plan %d of %s serves (%d was asked for)", made.plan.version, use_case.name, plan.version)

    def _worth_another_try(self, use_case: UseCase, live: Live) -> bool:
        if any(self._refused[name][1] < time.monotonic() for name in live.refused if name not in live.waiting):
            return True
        return bool(live.waiting) and self._catching_up.covers(use_case, self._kept[use_case.name])

    def _make(self, use_case: UseCase, plan: TrafficPlan, live: Live | None) -> Live | None:
        ready: dict[str, Release] = {}
        refused: dict[str, str] = {}
        for release_id in plan.releases:
            try:
                ready[release_id] = self._load(use_case, release_id)
            except BundleRefused as error:
                refused[release_id] = error.reason
        waiting = self._waits[use_case.name] = self._waiting(use_case, ready)
        ready = {name: release for name, release in ready.items() if name not in waiting}
        refused |= dict.fromkeys(waiting, WAITING)
        if any(arm.release_id in refused for arm in plan.arms):
            if live is None:
                return None
            # why: what is sold out is sold out, whoever answers
            kept = msgspec.structs.replace(live.plan, withheld=plan.withheld)
            return replace(live, plan=kept, asked=plan, refused=refused, waiting=waiting)
        served = msgspec.structs.replace(plan, shadow=None) if plan.shadow in refused else plan
        return Live(served, plan, ready, refused, waiting)

    def _waiting(self, use_case: UseCase, ready: Mapping[str, Release]) -> frozenset[str]:
        """Releases whose windows reach further back than the states do. What they need is kept from now on, whether they wait or not."""
        waiting = set()
        needed: Mapping[str, int] = {}
        for release_id, release in ready.items():
            own = retention([release.feature_set], [release.runtime.catalogue])
            needed = longest(needed, own)
            if not self._catching_up.covers(use_case, own):
                waiting.add(release_id)
        self._keep(use_case, needed, tuple(release.feature_set for release in ready.values()))
        return frozenset(waiting)

    def _make_earlier(self, use_case: UseCase, plan: TrafficPlan, waiting: frozenset[str]) -> Live | None:
        try:
            rows = self._ledger.rows(use_case.name, limit=1_000)
        except StoreUnavailable:
            return None
        for row in rows:
            if row.plan is not None and row.plan.version < plan.version and (made := self._make(use_case, row.plan, None)) is not None:
                refused = {name: self._refused[name][0] for name in plan.releases if name in self._refused}
                return replace(made, asked=plan, refused=refused | dict.fromkeys(waiting, WAITING), waiting=waiting)
        return None

    def _load(self, use_case: UseCase, release_id: str) -> Release:
        if release_id in self._loaded:
            return self._loaded[release_id]
        reason, until = self._refused.get(release_id, ("", 0.0))
        if time.monotonic() < until:
            raise BundleRefused(release_id, reason)
        try:
            release = self._loaded[release_id] = load_release(self._layout, use_case, release_id, self._digest(release_id))
            self._compiling.at_once(use_case.name, release_id, release.runtime.scorer)
        except BundleRefused as error:
            self._refused[release_id] = (error.reason, time.monotonic() + RETRY_S)
            if error.reason != reason:
                self._say_refused(use_case, release_id, error)
            raise
        self._refused.pop(release_id, None)
        return release

    def _digest(self, release_id: str) -> str:
        try:
            return self._ledger.release(release_id).digest
        except StoreUnavailable:
            if release_id in self._known_digests:
                return self._known_digests[release_id]
            raise
        except NotFound as error:
            raise BundleRefused(release_id, "the ledger does not know it") from error

    def _forget(self, use_case: str, live: Live) -> None:
        """Let go of releases that serve no more, but for the newest of them."""
        mine = [name for name, release in self._loaded.items() if release.bundle is not None and release.bundle.parts.use_case == use_case]
        for name in live.releases:
            # why: the rules that stand in were not loaded
            if name in self._loaded:
                self._loaded[name] = self._loaded.pop(name)
        idle = [name for name in mine if name not in live.releases]
        for name in idle[:-MOST_KEPT]:
            del self._loaded[name]

    def _say_refused(self, use_case: UseCase, release_id: str, error: BundleRefused) -> None:
        _LOG.error("%s", error)
        self._metrics.add(RELEASES_REFUSED, use_case.name)
        try:
            said = self._ledger.rows(use_case.name, limit=20)
            if not any(row.action == "refuse" and row.release_id == release_id and row.reason == error.reason for row in said):
                self._ledger.append(use_case.name, Act("serving", self._clock.now_us(), error.reason), "refuse", release_id)
        except StoreUnavailable as unavailable:
            _LOG.warning("that could not be said in the ledger: %s", unavailable)

    def _note(self, use_case: str, live: Live) -> None:
        """Keep what serves for a start without the ledger; where it came from what is kept, that stays."""
        digests = {name: release.bundle.digest for name, release in live.releases.items() if release.bundle is not None}
        if set(live.plan.releases) <= set(digests):
            self._known_plans.write(use_case, KnownPlan(live.plan, digests))

    def _keep(self, use_case: UseCase, needed: Mapping[str, int], feature_sets: tuple[FeatureSet, ...]) -> None:
        name = use_case.name
        kept = longest(longest(self._kept.get(name, {}), needed), self._catching_up.kept(name))
        # why: those that served before come behind, since a rollback makes them serve again
        distinct = {feature_set.digest: feature_set for feature_set in reversed((*feature_sets, *self._ready[name]))}
        ready = tuple(reversed(distinct.values()))[:MOST_READY]
        same = [feature_set.digest for feature_set in ready] == [feature_set.digest for feature_set in self._ready[name]]
        if not same or kept != self._kept.get(name) or name not in self._online:
            self._kept[name], self._ready[name] = kept, ready
            self._online[name] = OnlineFeatures(use_case.schema, kept, ready=ready)


def rules_of(use_case: UseCase, plan: TrafficPlan) -> Live:
    """What answers while no release of a plan can be read: the use case's baseline for everyone, its arms but control being one."""
    runtime = build_runtime(
        RULES,
        catalogue=use_case.catalogue,
        features=use_case.feature_set,
        policy=PolicySpec("greedy"),
        scorer_kind="constant",
        files={},
        baseline=use_case.baseline,
        ttl_us=use_case.ttl_us,
    )
    served = msgspec.structs.replace(plan, arms=(Arm(CHAMPION, RULES, 1.0),), shadow=None)
    return Live(served, plan, {RULES: Release(None, runtime, use_case.feature_set)}, {})


class _Settings(msgspec.Struct, frozen=True):
    """Those of a release's settings that it answers by."""

    baseline: str
    ttl_us: int


def _compile(bundle: Bundle, use_case: UseCase) -> Release:
    parts = bundle.parts
    settings = msgspec.convert(parts.settings, _Settings)
    feature_set = FeatureSet.from_json(msgspec.json.encode(parts.features))
    feature_set.check(use_case.schema)
    runtime = build_runtime(
        bundle.release_id,
        catalogue=parts.catalogue,
        features=feature_set,
        policy=msgspec.convert(parts.policy, PolicySpec),
        scorer_kind=parts.scorer_kind,
        files=parts.scorer_files,
        baseline=settings.baseline,
        ttl_us=settings.ttl_us,
    )
    return Release(bundle, runtime, feature_set)
