"""What the gate decided about one item, and every ground it decided on."""

from enum import StrEnum
from typing import Literal, TypeAlias

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.findings import Capability
from aetherra.plugins.self_incorporation.gate.tiers import Tier

__all__ = ["Decision", "Ground", "Line", "Mode", "Verdict"]

Verdict: TypeAlias = Literal["approved", "needs_approval", "blocked", "quarantined"]


class Mode(StrEnum):
    """How a policy treats what it is not sure of.

    Attributes:
        STRICT: A person decides on all that is not signed or trusted; a warning counts against an item.
        STANDARD: What stays within its tier's bounds comes in; a threat blocks.
        PERMISSIVE: A threat still blocks; what else would block asks a person.
    """

    STRICT = "strict"
    STANDARD = "standard"
    PERMISSIVE = "permissive"


class Line(Struct, frozen=True):
    """A line of a file of an item, counted from 1."""

    path: str
    line: int


class Ground(Struct, frozen=True):
    """One reason for a decision.

    Attributes:
        code: Stable, for programs: ``threat``, ``risk``, ``grant_missing``, ``signature`` ...
        text: A sentence for people.
        lines: Where in the item that shows; empty when it is not about a line.
        against: Whether it speaks against the item; the others say why it may come in, or what somebody should know.
    """

    code: str
    text: str
    lines: tuple[Line, ...] = ()
    against: bool = True


class Decision(Struct, frozen=True, kw_only=True):
    """What was decided about an item as it was; it says nothing about any other bytes.

    Attributes:
        item: The item's name.
        root: The folder that was scanned.
        path: Of the item, relative to it.
        digest: Of the item that was judged: `item.digest_of`.
        verdict: ``approved`` comes in; ``needs_approval`` once a person says so; the others do not.
        tier: How far the item is trusted.
        mode: Of the policy that decided.
        risk: Of the item, 0 to 1.
        rationale: Every ground, the heaviest first, and of those that weigh the same what speaks against the item.
        capabilities: What the item can do.
        missing_grants: What would have to be granted for it to come in.
        policy: A digest of the policy that decided, so that a changed one has it judged again.
        rules: Version of the rules that judged the code.
        decided_at: Unix time, when that was said last.
        looked_for: The modules that were looked for beside the item, as it imports them, or they do.
        basis: A digest of what it hangs on beyond the item's bytes: `SecurityGate.is_current`.
    """

    item: str
    root: str
    path: str
    digest: str
    verdict: Verdict
    tier: Tier
    mode: Mode
    risk: float
    rationale: tuple[Ground, ...]
    capabilities: tuple[Capability, ...]
    missing_grants: tuple[str, ...]
    policy: str
    rules: int
    decided_at: float
    looked_for: tuple[str, ...] = ()
    basis: str = ""
