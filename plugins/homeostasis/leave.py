"""Leave to act: asked for once an act, however many attempts the queue makes of it, and only where it may be given."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Protocol

import msgspec

from aetherra.plugins import Intent, NotPermittedError, Permission, Permit, Request, current_action, current_call

__all__ = ["Leave", "Permitting", "asker", "digest_of", "is_worth_asking", "on_behalf"]


class Permitting(Protocol):
    """Where leave is asked for; a plugin's context is one."""

    def permitted(self, intent: Intent) -> AbstractAsyncContextManager[Permit]:
        """Ask to do something, and tell what came of it."""
        ...

    async def peek_permission(self, intent: Intent) -> Permission:
        """Return whether something would be permitted now."""
        ...


class Leave:
    """Asks whoever governs the host before anything is changed, and tells what came of it.

    It looks first and asks then: a guard that would refuse is waited for, and is no limit that was passed. A question
    for a person's agreement is asked once.

    Args:
        host: Where to ask.
    """

    def __init__(self, host: Permitting) -> None:
        self._host = host
        self._in_hand: dict[str, Permit] = {}

    @asynccontextmanager
    async def ask(self, intent: Intent) -> AsyncGenerator[Permit]:
        """Do something in the body, if it is permitted.

        Raises:
            NotPermittedError: It is not.
        """
        permission = await self._host.peek_permission(intent)
        if not is_worth_asking(permission):
            raise NotPermittedError.of(intent, permission)
        async with self._host.permitted(intent) as permit:
            yield permit

    @contextmanager
    def in_hand(self, request: Request[Any], permit: Permit) -> Generator[None]:
        """Have the queue do a request in the body by a permit that was given: that one, to the last argument."""
        name = _named(request)
        self._in_hand[name] = permit
        try:
            yield
        finally:
            del self._in_hand[name]

    @asynccontextmanager
    async def use(self, intent: Intent, request: Request[Any]) -> AsyncGenerator[Permit]:
        """Do in the body what a request asks for, by the permit that is in hand for it, else by one of its own.

        Another plugin that asks for it meets every guard; a person only waits for one.

        Raises:
            NotPermittedError: It is not permitted, or no more.
        """
        permit = self._in_hand.get(_named(request)) if current_action() is not None else None
        if permit is not None:
            await permit.check()
            yield permit
            return
        call = current_call()
        is_plugin = call is not None and call.caller.kind == "plugin"
        async with self._host.permitted(intent) if is_plugin else self.ask(intent) as permit:
            yield permit


def _named(request: Request[Any]) -> str:
    return f"{type(request).__qualname__} {digest_of(msgspec.structs.asdict(request))}"


def is_worth_asking(permission: Permission) -> bool:
    """Whether it may be done now by what a look says, or is to be asked about, as no person was yet."""
    return permission.allowed or (permission.code == "needs_approval" and not permission.approval)


def digest_of(what: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what is to be done, in hex; the same for the same, whatever its order."""
    return hashlib.sha256(msgspec.json.encode(msgspec.to_builtins(what, enc_hook=repr), order="sorted")).hexdigest()


def asker() -> str:
    """Return who asks for what is handled now."""
    call = current_call()
    return "the host" if call is None else str(call.caller)


def on_behalf() -> str:
    """Return on whose behalf something is done that a message asks for; ``""`` for what the queue does."""
    call = current_call()
    return "" if call is None or current_action() is not None else str(call.caller)
