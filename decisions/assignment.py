"""Which arm an entity is in: a salted hash, so the same everywhere, at any time, without a table."""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from contracts.traffic import CONTROL, Arm, TrafficPlan


@dataclass(frozen=True, slots=True)
class Assignment:
    """An entity's arm under a traffic plan.

    Attributes:
        arm_probability: the chance, over salts, that an entity falls into this arm.
        release_id: the release that answers; for control the champion's.
    """

    arm: str
    arm_probability: float
    release_id: str


def assign(plan: TrafficPlan, entity_id: str) -> Assignment:
    """The arm of an entity: control first, by its own salt that never changes; then the arms of the rest, by the plan's salt.

    Each arm beside the champion says which places are its own, and the champion has the rest. A plan's next version changes those of one
    arm alone (see `TrafficPlan.with_arm`), so that entities move between it and the champion, and nobody else does.

    Example:
        >>> plan = TrafficPlan("game", 1, 0.1, (Arm("champion", "r-1", 1.0),), "salt", "control salt")
        >>> assign(plan, "player-1") == assign(plan, "player-1")
        True
    """
    arms = plan.arms
    if place(plan.control_salt, entity_id) < plan.control_share:
        return Assignment(CONTROL, plan.control_share, arms[0].release_id)
    arm = arms[0] if len(arms) == 1 else _arm(arms, place(plan.salt, entity_id))
    return Assignment(arm.name, (1.0 - plan.control_share) * arm.share, arm.release_id)


def place(salt: str, entity_id: str) -> float:
    """Where a salt puts an entity: a number in [0, 1), uniform over salts, of 53 bits of a keyed BLAKE2b (RFC 7693).

    Example:
        >>> place("a", "player-1") == place("a", "player-1") != place("b", "player-1")
        True
    """
    digest = blake2b(entity_id.encode("utf-8", "surrogatepass"), digest_size=8, key=_key(salt)).digest()
    return (int.from_bytes(digest, "big") >> 11) * 2.0**-53


def _arm(arms: tuple[Arm, ...], where: float) -> Arm:
    for arm in arms[1:]:
        for start, end in arm.ranges:
            if start <= where < end:
                return arm
    return arms[0]


@lru_cache(maxsize=256)
def _key(salt: str) -> bytes:
    return blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=32).digest()
