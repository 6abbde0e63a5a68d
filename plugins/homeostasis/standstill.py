"""The standstill: why nothing is done on this host by itself now, as who governs it says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import anyio

from aetherra.plugins import Intent
from aetherra.plugins.homeostasis.leave import Permitting

__all__ = ["Standstill"]

PATIENCE = 1.0
"""Seconds to wait for an answer: who governs may wait for a disk, and the host is measured meanwhile."""
ANYTHING = Intent(kind="actuator", component="host", summary="do anything at all", undo=True)
"""What nothing but an emergency stop holds."""

UNKNOWN = frozenset({"refused", "unrecorded"})
"""Answers by which nobody knows whether it holds."""


class Standstill:
    """An emergency stop, as it was seen last. It counts from when it is said: who asks for leave meets it at once.

    Args:
        host: Where to ask.
        move_on_after: Bounds a wait, on the host's clock.

    Attributes:
        why: By whom, and why; ``""`` while nothing is stopped.
    """

    def __init__(
        self, host: Permitting, move_on_after: Callable[[float], AbstractContextManager[anyio.CancelScope]]
    ) -> None:
        self._host = host
        self._move_on_after = move_on_after
        self.why = ""

    async def look(self) -> bool:
        """Ask, and return whether it began or ended since the last look.

        Without an answer, as while who governs the host is restarted or its disk is full, it is as it was.
        """
        before = self.why
        with self._move_on_after(PATIENCE):
            permission = await self._host.peek_permission(ANYTHING)
            if permission.code not in UNKNOWN:
                self.why = (permission.reason or "an emergency stop") if permission.code == "stopped" else ""
        return bool(before) is not bool(self.why)
