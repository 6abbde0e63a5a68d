"""The hands: the one way by which anything is changed, and which may be tied; and the verdict to leave them off."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from aetherra.plugins import Advise, Request
from aetherra.plugins.homeostasis.corrector.port import Act

ReplyT = TypeVar("ReplyT")


class NotMine(Exception):  # noqa: N818  # a verdict, no error
    """Raised by a category's ``fix`` that finds a trouble to be of another kind; the next that knows it has it."""


class Hands:
    """Has requests done that change something, unless somebody holds the hands.

    Args:
        act: Does it.
        held: Says why nothing may be changed now, as by the mode or a freeze; ``""`` if it may.

    Attributes:
        acts: Requests that were sent.
    """

    def __init__(self, act: Act, held: Callable[[], str]) -> None:
        self.acts = 0
        self._act = act
        self._held = held

    async def act(self, request: Request[ReplyT]) -> ReplyT:
        """Have a request done.

        Raises:
            Advise: The hands are held; says by what, and what would have been asked for.
            AetherraError: It was refused, or not done.
        """
        if why := self._held():
            raise Advise(f"nothing is changed, as {why}; it would have asked for {request!r}")
        self.acts += 1
        return await self._act(request)
