"""Permission: what a plugin asks before it changes something by itself, and what it tells afterwards.

The kernel words the questions; whoever handles ``governance.ask`` answers them, as the built-in governance plugin does.
"""

from __future__ import annotations

from typing import Literal, Self

import msgspec

from aetherra.registry import AetherraError, Message, Request

Fact = str | int | float | bool
"""What a ledger can hold of an act."""
Code = Literal["allowed", "stopped", "paused", "guard", "needs_approval", "denied", "refused", "unrecorded"]
"""Why an act may be done, or why not: a person's emergency stop; a pause; a limit; it waits for a person; a person said
no; the asker may not do such things; the ledger cannot hold it."""
ActOutcome = Literal["done", "unchanged", "failed", "cancelled"]
"""What came of an act."""


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What a plugin wants to do by itself. Nothing in it may be secret.

    Attributes:
        kind: What it is: ``actuator``, ``correction``, ``knob``, ``proposal``, ``integration``, ``rollback``, ...
        component: What is acted on: a plugin, a knob, a target. Guards count by it.
        summary: One sentence for people.
        digest: The SHA-256, in hex, of exactly what is to be done; an approval counts for nothing else.
        sender: On whose behalf it is, if on another's.
        actuator: By what means, where there are several; a guard may disable it.
        needs_approval: Why the asker's own policy wants a person to agree; ``""`` if it does not.
        undo: Whether it is the way back of something done before.
        facts: For the ledger.
    """

    kind: str
    component: str
    summary: str
    digest: str = ""
    sender: str = ""
    actuator: str = ""
    needs_approval: str = ""
    undo: bool = False
    facts: dict[str, Fact] = {}


class Permission(Message, tag="governance.ask_reply"):
    """Whether it may be done.

    Attributes:
        allowed: Whether.
        code: Why, for programs.
        reason: Why, for people.
        entry: The number of the ledger's entry about it; 0 where there is none.
        approval: The approval that it waits for, or that it has used.
        retry_after: Seconds after which a guard lets it pass; 0 if that is not the matter.
    """

    allowed: bool
    code: Code
    reason: str = ""
    entry: int = 0
    approval: str = ""
    retry_after: float = 0.0


class AskPermission(Request[Permission], tag="governance.ask"):
    """Ask to do something by oneself; with ``peek`` only whether it would be allowed, which counts for nothing."""

    intent: Intent
    peek: bool = False


class CheckPermission(Request[Permission], tag="governance.check"):
    """Ask between two steps whether what was allowed still is."""

    entry: int


class OutcomeRecorded(Message, tag="governance.tell_reply"):
    """The outcome stands in the ledger, as this entry."""

    entry: int


class TellOutcome(Request[OutcomeRecorded], tag="governance.tell"):
    """Tell what came of what was allowed as ``entry``."""

    entry: int
    outcome: ActOutcome
    detail: str = ""
    facts: dict[str, Fact] = {}


GOVERNOR = "governance"
"""The plugin that governs a host. Where there is one of that name, it is asked for before its code was even read."""
ANYBODY = ("governance.ask", "governance.check", "governance.tell")
"""What every plugin may call without a grant: asking is what is wanted of it."""


class NotPermittedError(AetherraError, PermissionError):
    """Something autonomous was not permitted, and not done.

    Attributes:
        kind: Of the intent.
        component: Of the intent.
        code: Why, for programs; see ``Permission``.
        reason: Why, for people.
        approval: The approval that it waits for; ``""`` if for none.
        retry_after: Seconds after which a guard lets it pass; 0 if that is not the matter.
    """

    code: Code

    def __init__(
        self, kind: str, component: str, code: Code, reason: str, approval: str = "", retry_after: float = 0.0
    ) -> None:
        super().__init__(kind, component, code, reason, approval, retry_after)
        self.kind, self.component, self.code, self.reason = kind, component, code, reason
        self.approval, self.retry_after = approval, retry_after

    @classmethod
    def of(cls, intent: Intent, answer: Permission) -> Self:
        """Return the error that says why something is not permitted."""
        return cls(intent.kind, intent.component, answer.code, answer.reason, answer.approval, answer.retry_after)

    def __str__(self) -> str:
        return f"{self.kind} of {self.component!r} is not permitted: {self.reason}"
