"""Permits: one autonomous act between the question whether it may be done and the report of what came of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import anyio

from aetherra.kernel.permission import (
    ActOutcome,
    AskPermission,
    CheckPermission,
    Fact,
    Intent,
    NotPermittedError,
    Permission,
    TellOutcome,
)
from aetherra.registry import AetherraError, Caller, NoHandlerError, ServiceUnavailableError

log = logging.getLogger("aetherra.kernel.permits")
PATIENCE = 10.0
"""Seconds that a question and a report may take."""
SETTLED = frozenset({"prod"})
"""Profiles in which nothing is done that nobody governs."""


class Permit:
    """Leave to do one thing.

    Attributes:
        entry: The ledger's entry about it; 0 where nobody keeps one.
        approval: The approval that was used for it; ``""`` if it needed none.
        told: What is told at the end if the body raises nothing.
    """

    def __init__(self, caller: Caller, intent: Intent, permission: Permission) -> None:
        self.entry = permission.entry
        self.approval = permission.approval
        self.told = TellOutcome(self.entry, "done")
        self._caller = caller
        self._intent = intent

    async def check(self) -> None:
        """See between two steps that nobody has said stop.

        Raises:
            NotPermittedError: Somebody has, or who could tell does not answer; undo what was done.
        """
        if self.entry:
            _raise_unless_allowed(self._intent, await _answer(self._caller, CheckPermission(self.entry), self._intent))

    def outcome(self, outcome: ActOutcome, detail: str = "", facts: Mapping[str, Fact] | None = None) -> None:
        """Say what is to be told at the end in place of ``done``; what the body raises is told in any case."""
        self.told = TellOutcome(self.entry, outcome, detail, {**self.told.facts, **(facts or {})})


@asynccontextmanager
async def permitted(caller: Caller, intent: Intent, profile: str) -> AsyncGenerator[Permit]:
    """Ask to do something; do it in the body; tell what came of it.

    The report says ``done``, what ``Permit.outcome`` said, ``failed`` with the error that the body raised, or
    ``cancelled``. A report that cannot be made is logged: the act is done all the same.

    Where nothing handles ``governance.ask``, all is allowed, but in profile ``prod`` nothing is. Where what handles it
    does not serve, or fails, nothing is.

    Raises:
        NotPermittedError: It may not be done now; says why. The body has not run.
    """
    permission = await _ask(caller, intent, profile)
    permit = Permit(caller, intent, permission)
    try:
        yield permit
    except Exception as exc:
        await _tell(caller, TellOutcome(permit.entry, "failed", str(exc) or repr(exc), permit.told.facts))
        raise
    except BaseException:
        await _tell(caller, TellOutcome(permit.entry, "cancelled", permit.told.detail, permit.told.facts))
        raise
    await _tell(caller, permit.told)


async def peek(caller: Caller, intent: Intent, profile: str) -> Permission:
    """Return whether something would be permitted now; nothing is counted, recorded or asked of a person."""
    return await _permission(caller, AskPermission(intent, peek=True), intent, profile)


async def _tell(caller: Caller, told: TellOutcome) -> None:
    if not told.entry:
        return
    with anyio.CancelScope(shield=True):  # bounded by the call's own time
        try:
            await caller.call(told, timeout=PATIENCE)
        except AetherraError as exc:
            text = "what came of entry %d of the ledger is not in it (%s): %s"
            log.error(text, told.entry, told.outcome, exc)  # noqa: TRY400  # the text says it all


async def _ask(caller: Caller, intent: Intent, profile: str) -> Permission:
    permission = await _permission(caller, AskPermission(intent), intent, profile)
    _raise_unless_allowed(intent, permission)
    return permission


async def _permission(caller: Caller, question: AskPermission, intent: Intent, profile: str) -> Permission:
    try:
        return await _answer(caller, question, intent)
    except NoHandlerError:
        if profile not in SETTLED:
            return Permission(allowed=True, code="allowed", reason="nobody governs this host")
        why = f"nobody governs this host, and in profile {profile!r} nothing is done that nobody does"
        return Permission(allowed=False, code="refused", reason=f"{why}; enable the plugin 'governance'")


async def _answer(caller: Caller, question: AskPermission | CheckPermission, intent: Intent) -> Permission:
    try:
        return await caller.call(question, timeout=PATIENCE)
    except ServiceUnavailableError as exc:
        return Permission(allowed=False, code="refused", reason=f"who governs this host does not serve: {exc}")
    except NoHandlerError:
        if isinstance(question, CheckPermission):
            gone = f"who permitted the {intent.kind} is gone"
            return Permission(allowed=False, code="refused", reason=gone)
        raise
    except AetherraError as exc:
        return Permission(allowed=False, code="refused", reason=f"who governs this host fails: {exc}")


def _raise_unless_allowed(intent: Intent, permission: Permission) -> None:
    if not permission.allowed:
        raise NotPermittedError.of(intent, permission)
