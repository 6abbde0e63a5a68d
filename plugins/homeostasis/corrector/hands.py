"""The hands: the one way by which anything is changed, by leave; and the verdict to leave them off."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from aetherra.plugins import Advise, Intent, NotPermittedError, Permit, Request
from aetherra.plugins.homeostasis.corrector.port import Act
from aetherra.plugins.homeostasis.corrector.put_off import NotNow
from aetherra.plugins.homeostasis.leave import Leave, digest_of, on_behalf

ReplyT = TypeVar("ReplyT")
LONGEST_FACT = 200
"""Characters of what the log told that go into the question for leave."""
NAMED = ("module", "path", "category", "plugin")
"""Fields of requests that say what is acted on, the first that there is."""


class NotMine(Exception):  # noqa: N818  # a verdict, no error
    """Raised by a category's ``fix`` that finds a trouble to be of another kind; the next that knows it has it."""


class Correcting:
    """One correction under way.

    Attributes:
        category: Whose.
        subject: Of what.
        permit: By what leave; ``None`` before anything was changed.
    """

    def __init__(self, category: str, subject: Mapping[str, str], leave: AsyncExitStack) -> None:
        self.category, self.subject = category, subject
        self.permit: Permit | None = None
        self._leave = leave

    async def ask(self, leave: Leave, request: Request[Any]) -> Permit:
        """Return the leave for all of it, which is asked for at the first act; see at the others that it still holds.

        Raises:
            NotNow: It is not given.
            Advise: It holds no more.
        """
        if self.permit is None:
            intent = self.intent(request)
            try:
                self.permit = await self._leave.enter_async_context(leave.ask(intent))
            except NotPermittedError as exc:
                raise NotNow(f"nothing is changed, as {exc}; it would ask for {request!r}", intent, exc) from exc
        else:
            try:
                await self.permit.check()
            except NotPermittedError as exc:
                raise Advise(f"nothing more is changed, as {exc}; it would ask for {request!r}") from exc
        return self.permit

    def intent(self, request: Request[Any]) -> Intent:
        """Return what leave is asked for: by its first act, which leads to the others."""
        what = {"category": self.category, "subject": dict(self.subject), "first": repr(request)}
        return Intent(
            kind="correction",
            component=_acted_on(request),
            summary=f"{self.category}: {request!r}",
            digest=digest_of(what),
            actuator="corrector",
            facts={name: text[:LONGEST_FACT] for name, text in self.subject.items()},
        )


class Hands:
    """Has requests done that change something, unless somebody holds the hands.

    Args:
        act: Does it.
        held: Says why nothing may be changed now, as by the mode or a freeze; ``""`` if it may.
        leave: Asks whether it may be.

    Attributes:
        acts: Requests that were sent.
    """

    def __init__(self, act: Act, held: Callable[[], str], leave: Leave) -> None:
        self.acts = 0
        self._act = act
        self._held = held
        self._leave = leave
        self._correcting: Correcting | None = None

    @asynccontextmanager
    async def correcting(self, category: str, subject: Mapping[str, str]) -> AsyncGenerator[Correcting]:
        """Have what is done in the body be one correction, for which leave is asked once and whose end is told."""
        async with AsyncExitStack() as leave:
            self._correcting = Correcting(category, subject, leave)
            try:
                yield self._correcting
            finally:
                self._correcting = None

    async def act(self, request: Request[ReplyT]) -> ReplyT:
        """Have a request done, as a part of the correction under way.

        Raises:
            Advise: The hands are held, or may not do it now; says by what, and what would have been asked for.
            AetherraError: It was refused, or not done.
        """
        if why := self._held():
            raise Advise(f"nothing is changed, as {why}; it would have asked for {request!r}")
        if self._correcting is None:
            raise RuntimeError(f"{request!r} belongs to no correction")
        permit = await self._correcting.ask(self._leave, request)
        self.acts += 1
        with self._leave.in_hand(request, permit):
            return await self._act(request)


def by_hand(request: Request[Any], *, undo: bool = False) -> Intent:
    """Return what leave is asked for where somebody asks for a part of a correction by itself."""
    return Intent(
        kind="correction",
        component=_acted_on(request),
        summary=f"by hand: {request!r}",
        digest=digest_of({"by hand": repr(request)}),
        sender=on_behalf(),
        actuator="corrector",
        undo=undo,
    )


def _acted_on(request: Request[Any]) -> str:
    return next((str(named) for field in NAMED if (named := getattr(request, field, ""))), "")
