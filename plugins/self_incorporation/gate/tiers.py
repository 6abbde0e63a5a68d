"""The tiers of trust an item may stand in."""

from enum import StrEnum

__all__ = ["Tier"]


class Tier(StrEnum):
    """How far an item is trusted, most first.

    Attributes:
        VERIFIED: Signed with a pinned key that is valid today, and unchanged since.
        TRUSTED: Signed with another valid key of the key ring, or in a place that the policy trusts.
        STANDARD: In a place that the policy names, or in none it says anything about.
        EXPERIMENTAL: In a place that the policy names as such.
        QUARANTINED: Set aside; nothing of it comes in until a person releases it.
    """

    VERIFIED = "verified"
    TRUSTED = "trusted"
    STANDARD = "standard"
    EXPERIMENTAL = "experimental"
    QUARANTINED = "quarantined"
