"""The tiers of trust, and which of them an item stands in."""

from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = ["Signed", "SignedStatus", "Tier", "matches", "tier_of"]

SignedStatus: TypeAlias = Literal[
    "valid",
    "unsigned",
    "unknown_key",
    "revoked",
    "expired",
    "not_yet_valid",
    "changed",
    "missing_file",
    "extra_file",
    "malformed",
    "unavailable",
]


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


class Signed(Struct, frozen=True):
    """What is known of an item's signature.

    Attributes:
        status: Whether it holds, or what keeps it from it; ``unavailable`` where nobody here can check it.
        reason: A sentence for people.
        key: The name of the key, if it is signed.
        pinned: Whether that key is pinned.
    """

    status: SignedStatus = "unsigned"
    reason: str = ""
    key: str = ""
    pinned: bool = False

    @property
    def holds(self) -> bool:
        """Whether the signature holds."""
        return self.status == "valid"

    @property
    def is_broken(self) -> bool:
        """Whether there is a signature of a known key that does not hold, which is worse than none."""
        return self.status not in ("valid", "unsigned", "unknown_key", "unavailable")


def tier_of(path: str, signed: Signed, places: Mapping[Tier, tuple[str, ...]], *, quarantined: bool = False) -> Tier:
    """Return the tier of an item.

    A place never makes an item VERIFIED: only a pinned key does. Where places of two tiers hold it, the less trusted
    one counts, so that no pattern that is too wide raises trust. A valid signature raises it above any place, but for
    quarantine; a broken one makes it EXPERIMENTAL.

    Args:
        path: Of the item, relative to the root.
        signed: What is known of its signature.
        places: By tier, the patterns of paths that stand in it.
        quarantined: Whether it was set aside.
    """
    if quarantined or any(matches(path, pattern) for pattern in places.get(Tier.QUARANTINED, ())):
        return Tier.QUARANTINED
    if signed.holds:
        return Tier.VERIFIED if signed.pinned else Tier.TRUSTED
    if signed.is_broken:
        return Tier.EXPERIMENTAL
    for tier in (Tier.EXPERIMENTAL, Tier.STANDARD, Tier.TRUSTED):
        if any(matches(path, pattern) for pattern in places.get(tier, ())):
            return tier
    return Tier.STANDARD


def matches(path: str, pattern: str) -> bool:
    """Say whether a path is one of a pattern's, or lies below a folder that is; ``*`` takes slashes, too."""
    pattern = pattern.removeprefix("./").rstrip("/")
    if pattern in ("", "."):
        return True
    parts = path.split("/")
    return any(fnmatchcase("/".join(parts[: length + 1]), pattern) for length in range(len(parts)))
