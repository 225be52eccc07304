"""The traffic plan: which release answers whom. The one thing that changes when a release goes live."""

from typing import Literal

import msgspec

from contracts.errors import DefinitionError

CONTROL = "control"
CHAMPION = "champion"
CHALLENGER = "challenger"
CANARY = "canary"

Stage = Literal["candidate", "shadow", "canary", "challenger", "champion", "retired", "refused"]


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An arm of the experiment. `share` is of the entities outside control; control's is of all."""

    name: str
    release_id: str
    share: float


class TrafficPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What serves now, for one use case.

    Attributes:
        version: grows by one with each change; `ledger_id` names the row that made it.
        control_share: of all entities; control gets the use case's baseline, from the same release as the champion.
        arms: the arms outside control, their shares summing to one; the first is the champion.
        shadow: a release that scores beside, unseen; or none.
        salt: of the sticky draw by entity. The control draw has a salt of its own that never changes.
    """

    use_case: str
    version: int
    control_share: float
    arms: tuple[Arm, ...]
    salt: str
    control_salt: str
    shadow: str | None = None

    def __post_init__(self) -> None:
        if not self.arms or abs(sum(arm.share for arm in self.arms) - 1.0) > 1e-9 or not 0.0 <= self.control_share < 1.0:
            raise DefinitionError(
                f"traffic plan of {self.use_case}",
                f"control {self.control_share}, arms {[(arm.name, arm.share) for arm in self.arms]}",
                "Shares of the arms must sum to 1 and control lie in [0, 1).",
            )

    @property
    def champion(self) -> Arm:
        """The arm that everybody outside an experiment gets."""
        return self.arms[0]

    @property
    def releases(self) -> tuple[str, ...]:
        """Every release a replica must hold to answer under this plan, each once."""
        named = [arm.release_id for arm in self.arms] + ([self.shadow] if self.shadow else [])
        return tuple(dict.fromkeys(named))
