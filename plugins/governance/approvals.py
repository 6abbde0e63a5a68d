"""Approvals: a person's word on exactly one thing, good for once, for a while, and for nothing else."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Literal

import msgspec

from aetherra.plugins import AetherraError, Intent, Person

__all__ = ["Approval", "ApprovalError", "ApprovalState", "Approvals", "UnknownApprovalError", "digest_of", "is_open"]

ApprovalState = Literal["pending", "approved", "denied", "used", "expired", "void"]
"""It waits for a person; a person agreed; or did not; it was used; nobody used it in time; what was asked
changed, or is not wanted any more."""
REMEMBERED = 200
"""Approvals that are over and still told of."""
MOST_WAITING = 1_000
"""Questions that may wait at a time, of all askers: who asks from outside gives a name of their own."""
_SHA256 = re.compile("[0-9a-f]{64}")
_OPEN = ("pending", "approved", "denied")


class ApprovalError(AetherraError, PermissionError):
    """A decision on an approval was not taken; the text says why."""


class UnknownApprovalError(AetherraError, LookupError):
    """There is no approval of that id."""

    def __init__(self, approval: str) -> None:
        super().__init__(approval)
        self.approval = approval

    def __str__(self) -> str:
        return f"there is no approval {self.approval!r}; see 'aetherra approvals list'"


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a person is asked to agree to.

    Attributes:
        id: Its name.
        state: How far it is.
        kind: Of the intent.
        component: Of the intent.
        digest: The SHA-256 of exactly what is to be done.
        summary: The same in words, as a person was asked.
        since: The same as it was asked for last, if that is in other words.
        asker: The plugin that would do it.
        sender: On whose behalf; ``""`` if on its own.
        why: Why a person must agree.
        asked_at: Unix time of the question.
        expires_at: Unix time after which it is void, decided or not.
        decided_at: Unix time of the decision; 0 if there is none.
        decided_by: Who decided.
        reason: Why so; why it is void.
        used_at: Unix time of its use; 0 if it was not used.
    """

    id: str
    state: ApprovalState = "pending"
    kind: str
    component: str
    digest: str
    summary: str
    since: str = ""
    asker: str
    sender: str = ""
    why: str
    asked_at: float
    expires_at: float
    decided_at: float = 0.0
    decided_by: str = ""
    reason: str = ""
    used_at: float = 0.0


def digest_of(intent: Intent) -> str:
    """Return what an approval of an intent is bound to: its digest, or one of its words if that is no SHA-256."""
    if _SHA256.fullmatch(intent.digest):
        return intent.digest
    words = (intent.kind, intent.component, intent.summary, intent.sender, intent.actuator, intent.digest)
    return sha256(msgspec.json.encode(words)).hexdigest()


def is_open(approval: Approval) -> bool:
    """Whether an approval may still be decided on, or used."""
    return approval.state in _OPEN


class Approvals:
    """All that are open, and the last that are over.

    It owns no file and no lock: whoever does takes ``snapshot`` and, where it could not be written, ``restore``.

    Args:
        time: Unix time as of the start, which nobody sets since.
        lifetime: Seconds until a question lapses, and a decision after it; from now on, of what is known as well.
        most_waiting: Questions that may wait at a time, of one asker.
        known: Those of an earlier run.
    """

    def __init__(
        self, time: Callable[[], float], lifetime: float, most_waiting: int, known: Iterable[Approval] = ()
    ) -> None:
        self._time = time
        self._lifetime = lifetime
        self._most_waiting = most_waiting
        self.restore(known)

    def snapshot(self) -> tuple[Approval, ...]:
        """Return them as they are, the oldest first."""
        return tuple(self._approvals.values())

    def restore(self, snapshot: Iterable[Approval]) -> None:
        """Have those of a snapshot, and none that has been there since. None lasts longer than one that is new."""
        latest = self._time() + self._lifetime
        self._approvals = {
            each.id: each if each.expires_at <= latest else msgspec.structs.replace(each, expires_at=latest)
            for each in snapshot
        }

    def get(self, approval: str) -> Approval:
        """Return one.

        Raises:
            UnknownApprovalError: There is none of that id.
        """
        self.expire()
        try:
            return self._approvals[approval]
        except KeyError:
            raise UnknownApprovalError(approval) from None

    def all(self) -> tuple[Approval, ...]:
        """Return them as they are now, the oldest first."""
        self.expire()
        return self.snapshot()

    def find(self, asker: str, intent: Intent) -> Approval | None:
        """Return the one that is open about exactly this, asked by the same."""
        self.expire()
        return next((each for each in self._like(asker, intent) if each.digest == digest_of(intent)), None)

    def changed(self, asker: str, intent: Intent) -> tuple[Approval, ...]:
        """Return those that are open and void by this: the same was asked for, and it is another one now."""
        return tuple(each for each in self._like(asker, intent) if each.digest != digest_of(intent))

    def has_room(self, asker: str) -> bool:
        """Whether one more question of an asker may wait."""
        waiting = [each.asker for each in self.all() if each.state == "pending"]
        return waiting.count(asker) < self._most_waiting and len(waiting) < MOST_WAITING

    def request(self, asker: str, intent: Intent, why: str) -> Approval:
        """Ask a person about an intent; the question that is there, if it is the same."""
        found = self.find(asker, intent)
        if found is not None:
            return found
        name, now = secrets.token_hex(4), self._time()
        while name in self._approvals:
            name = secrets.token_hex(4)
        return self._put(
            Approval(
                id=name,
                kind=intent.kind,
                component=intent.component,
                digest=digest_of(intent),
                summary=intent.summary,
                asker=asker,
                sender=intent.sender,
                why=why,
                asked_at=now,
                expires_at=now + self._lifetime,
            )
        )

    def void(self, asker: str, intent: Intent) -> tuple[Approval, ...]:
        """Void what ``changed`` returns, and return it."""
        why = f"{intent.kind} of {intent.component!r} was asked for with another content"
        return tuple(
            self._put(msgspec.structs.replace(each, state="void", reason=why)) for each in self.changed(asker, intent)
        )

    def withdraw(self, approval: str, asker: str, reason: str) -> Approval:
        """Void what its asker does not want any more.

        Raises:
            ApprovalError: It is another's; or it is over or denied, which the asker cannot undo by asking anew.
            UnknownApprovalError: There is none of that id.
        """
        found = self.get(approval)
        if found.asker != asker:
            raise ApprovalError(f"approval {approval!r} is of {found.asker!r}, and is not for {asker!r} to withdraw")
        if found.state not in ("pending", "approved"):
            raise ApprovalError(f"approval {approval!r} is {found.state}: there is nothing to withdraw")
        return self._put(msgspec.structs.replace(found, state="void", reason=reason))

    def word(self, approval: str, summary: str) -> Approval:
        """Note in what words it is asked for now: a digest says what is to be done, and words may change with a figure.

        Raises:
            UnknownApprovalError: There is none of that id.
        """
        found = self.get(approval)
        since = "" if summary == found.summary else summary
        return found if since == found.since else self._put(msgspec.structs.replace(found, since=since))

    def use(self, approval: str) -> Approval:
        """Use an approval up.

        Raises:
            ApprovalError: It is not approved, or is no more: it was used, has lapsed, or is void.
            UnknownApprovalError: There is none of that id.
        """
        found = self.get(approval)
        if found.state != "approved":
            raise ApprovalError(f"approval {approval!r} is {found.state} and cannot be used")
        return self._put(msgspec.structs.replace(found, state="used", used_at=self._time()))

    def decide(self, approval: str, person: Person, *, approve: bool, reason: str) -> Approval:
        """Take a person's decision; until it is used, also another one than before.

        Args:
            approval: Which.
            person: Who decides; by a plugin that passes it on, only on what that plugin asked itself.
            approve: Whether they agree.
            reason: Why.

        Raises:
            ApprovalError: It is over, was asked for on behalf of the one who would approve it, or is none of the
                business of the plugin that passes it on.
            UnknownApprovalError: There is none of that id.
        """
        found = self.get(approval)
        if found.state not in _OPEN:
            raise ApprovalError(f"approval {approval!r} is {found.state}: there is nothing to decide")
        if person.relay and person.relay != found.asker:
            raise ApprovalError(
                f"approval {approval!r} is of {found.asker!r}, and plugin {person.relay!r} decides on none"
            )
        if approve and {found.asker, found.sender} & person.names:
            raise ApprovalError(
                f"approval {approval!r} was asked for on behalf of {found.sender or found.asker!r}, and whoever asks "
                "does not approve; another person may, by their own name: --as NAME on the command line"
            )
        now = self._time()
        return self._put(
            msgspec.structs.replace(
                found,
                state="approved" if approve else "denied",
                decided_by=str(person),
                decided_at=now,
                expires_at=now + self._lifetime,
                reason=reason,
            )
        )

    def expire(self) -> tuple[Approval, ...]:
        """Let lapse what is open for too long, and return it."""
        now = self._time()
        late = [each for each in self._approvals.values() if each.state in _OPEN and now >= each.expires_at]
        return tuple(self._put(msgspec.structs.replace(each, state="expired")) for each in late)

    def _like(self, asker: str, intent: Intent) -> list[Approval]:
        wanted = (asker, intent.sender, intent.kind, intent.component)
        return [
            each
            for each in self._approvals.values()
            if each.state in _OPEN and (each.asker, each.sender, each.kind, each.component) == wanted
        ]

    def _put(self, approval: Approval) -> Approval:
        self._approvals[approval.id] = approval
        over = [each.id for each in self._approvals.values() if each.state not in _OPEN]
        for name in over[: max(0, len(over) - REMEMBERED)]:
            del self._approvals[name]
        return approval
