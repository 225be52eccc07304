"""What measurements of serving decide: 24 candidates that all stay eligible, players with histories, and a release of 200 trees."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from bench.load import posts
from bench.made_releases import made
from bench.served import Served, served
from bench.swap import ACTOR, prepare
from client.client import Client
from client.messages import Event
from contracts.catalogue import ANY, NO_ACTION, Catalogue, Limit, Rule
from contracts.clock import DAY_US
from contracts.errors import ServiceFailed
from decisions.policies import PolicySpec
from releases.bundle import BundleParts, write_bundle
from serving.messages import EventMessage
from serving.operations import promote
from use_cases.definition import UseCase
from use_cases.game_promotion import USE_CASE
from use_cases.game_promotion.events import CHANNELS, COUNTRIES, MODES, PLATFORMS

NAME = USE_CASE.name
CANDIDATES = 24
HISTORY_DAYS = 21
PATIENCE_S = 60.0

_ALWAYS = (Rule("level", ">=", 0), Rule("country", "in", COUNTRIES), Rule("purchases_28d", "<", 1_000))
_NEVER_REACHED = (Limit(1_000_000, DAY_US, ANY),)


def all_eligible(use_case: UseCase = USE_CASE) -> UseCase:
    """The use case with 24 candidates, `none` among them, whose rules and limit are checked and always leave room: so all are scored."""
    offers = [one for one in use_case.catalogue.candidates if one.candidate_id != NO_ACTION][: CANDIDATES - 1]
    nothing = use_case.catalogue.candidates[use_case.catalogue.index[NO_ACTION]]
    wide = [msgspec.structs.replace(one, rules=_ALWAYS, limits=_NEVER_REACHED, cooldown_us=0) for one in offers]
    return replace(use_case, catalogue=Catalogue((*wide, nothing)), scenarios=())


def release(number: int = 2, *, trees: int = 200, leaves: int = 31, policy: PolicySpec | None = None) -> BundleParts:
    """A release over all its features with so many trees.

    Args:
        number: of the model, even; see `made`.
        trees: of it, with so many leaves each at most.
        leaves: see there.
        policy: in place of the use case's own.
    """
    use_case = all_eligible()
    return made(use_case if policy is None else replace(use_case, learned_policy=policy), number, trees=trees, leaves=leaves)


def entity(number: int) -> str:
    """A player's id."""
    return f"player-{number}"


def histories(entities: int, each: int, now_us: int, seed: int) -> Iterator[EventMessage]:
    """What players did in the last three weeks: a profile each, then matches, sessions and purchases."""
    random = np.random.default_rng(seed)
    oldest = now_us - HISTORY_DAYS * DAY_US
    for number in range(entities):
        times = np.sort(random.integers(oldest, now_us, size=each)).tolist()
        yield EventMessage(f"profile-{number}", entity(number), "profile", oldest, _profile(random))
        for place, at_us in enumerate(times[1:]):
            kind, fields = _event(random)
            yield EventMessage(f"event-{number}-{place}", entity(number), kind, at_us, fields)


def batches(events: Iterator[EventMessage], size: int) -> Iterator[Sequence[EventMessage]]:
    """Events in parts of so many."""
    part: list[EventMessage] = []
    for event in events:
        part.append(event)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


@contextmanager
def serving(replicas: int, entities: int, each: int, seed: int, parts: BundleParts) -> Iterator[Served]:
    """A running installation whose champion is this release, its scorer compiled, and that has taken in what its players did.

    Args:
        replicas: so many.
        entities: players, with so many events each.
        each: see there.
        seed: of the events.
        parts: of the release.

    Raises:
        ServiceFailed: it does not start, or the release does not serve in time.
    """
    with served(NAME, replicas) as running:
        with Client(running.address, running.key) as client:
            for part in batches(histories(entities, each, running.desk.clock.now_us(), seed), 1_000):
                receipt = client.send_events(NAME, [Event(**msgspec.structs.asdict(event)) for event in part])
                assert not receipt.quarantined, receipt.quarantined[0]
        layout = running.desk.layout
        release_id = prepare(running, NAME, write_bundle(layout.bundles, parts, layout.secrets))
        promote(running.desk, NAME, release_id, ACTOR, "into the shadow")
        promote(running.desk, NAME, release_id, ACTOR, "to be measured", at_once=True)
        _wait(running, release_id)
        yield running


def asks(entities: int, key: str) -> list[bytes]:
    """A request for a decision for each player."""
    return posts(f"/v1/{NAME}/decisions", [b'{"entity_id":"%s"}' % entity(number).encode() for number in range(entities)], key)


def _wait(running: Served, release_id: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while any(_not_ready(running.status(port, NAME), release_id) for port in running.replicas()):
        if time.monotonic() > until:
            raise ServiceFailed("a replica", f"does not serve {release_id} after {PATIENCE_S:.0f} s", str(running.desk.layout.logs))
        time.sleep(0.1)


def _not_ready(status: Mapping[str, Any], release_id: str) -> bool:
    # why: `LightGBM` with a reason cannot be compiled here, and serves as it is
    return [(arm["release_id"], arm["scorer"] == "LightGBM") for arm in status["arms"]] != [(release_id, False)] or bool(status["shadow"])


def _profile(random: np.random.Generator) -> dict[str, str]:
    return {
        "country": COUNTRIES[int(random.integers(len(COUNTRIES)))],
        "platform": PLATFORMS[int(random.integers(len(PLATFORMS)))],
        "channel": CHANNELS[int(random.integers(len(CHANNELS)))],
    }


def _event(random: np.random.Generator) -> tuple[str, dict[str, int | str | bool]]:
    drawn = random.random()
    if drawn < 0.65:
        return "match", {"mode": MODES[int(random.integers(len(MODES)))], "won": bool(random.integers(2))}
    if drawn < 0.95:
        return "session", {"level": int(random.integers(1, 40))}
    return "purchase", {"amount_micros": int(random.integers(1, 20)) * 990_000, "product_set": "wardrobe"}
