"""What the configuration says of governance."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import UNSET, UnsetType

from aetherra.plugins import Settings
from aetherra.plugins.ledger import LedgerSettings

__all__ = ["GUARDS", "Breach", "GovernanceSettings", "Guard", "GuardName", "GuardSettings"]

GuardName = Literal[
    "integrations_per_hour",
    "actions_per_component_per_minute",
    "rollbacks_per_hour",
    "quarantines_per_hour",
    "proposals_per_sender_per_minute",
]
"""What is guarded."""
Breach = Literal["pause_self_incorporation", "disable_actuator", "require_human_approval"]
"""What is done about who would pass a guard's limit."""
GUARDS: tuple[GuardName, ...] = get_args(GuardName)
Seconds = Annotated[float, msgspec.Meta(gt=0, le=31_536_000)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Guard(msgspec.Struct, frozen=True):
    """A limit on what is done without a person.

    Attributes:
        limit: So many in any ``seconds``.
        seconds: How long the window is.
        breach: What is done about one more.
        lasts: For how many seconds; ``None``: until a person ends it.
    """

    limit: int
    seconds: float
    breach: Breach
    lasts: float | None = None


class GuardSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is changed of one guard; the rest of it is as by default."""

    limit: Limit | UnsetType = UNSET
    seconds: Seconds | UnsetType = UNSET
    breach: Breach | UnsetType = UNSET
    lasts: Seconds | UnsetType | None = UNSET


DEFAULTS: dict[GuardName, Guard] = {
    "integrations_per_hour": Guard(5, 3600.0, "pause_self_incorporation"),
    "actions_per_component_per_minute": Guard(1, 60.0, "disable_actuator", 600.0),
    "rollbacks_per_hour": Guard(3, 3600.0, "require_human_approval"),
    "quarantines_per_hour": Guard(2, 3600.0, "pause_self_incorporation"),
    "proposals_per_sender_per_minute": Guard(10, 60.0, "require_human_approval"),
}
"""Each guard as it is where the configuration does not say otherwise."""


class GovernanceSettings(Settings):
    """Settings of governance; durations are seconds.

    Attributes:
        guards: What is changed of each guard.
        approval_lifetime: After which a request for approval lapses, and an approval that was not used.
        approval_kinds: Kinds of intents of which each one needs an approval; ``None`` for what the profile says:
            ``integration`` in ``prod``, else none.
        most_waiting: Requests for approval that may wait at a time, of one asker.
        relays: Calls by which a person may have another plugin decide on a request of that plugin's own.
        audit: Bounds of the ledger, and where its signed head is kept; ``aetherra audit`` reads them as well.
    """

    guards: dict[GuardName, GuardSettings] = {}
    approval_lifetime: Seconds = 86_400.0
    approval_kinds: tuple[str, ...] | None = None
    most_waiting: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    relays: tuple[str, ...] = ("selfimprovement.approve", "selfimprovement.reject")
    audit: LedgerSettings = LedgerSettings()

    def guard(self, name: GuardName) -> Guard:
        """Return a guard as the configuration wants it."""
        change = self.guards.get(name, GuardSettings())
        wanted = {field: value for field in Guard.__struct_fields__ if (value := getattr(change, field)) is not UNSET}
        return msgspec.structs.replace(DEFAULTS[name], **wanted)
