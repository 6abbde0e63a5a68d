"""The standstill: why nothing is done on this host by itself now, as who governs it says."""

from __future__ import annotations

from aetherra.plugins import Intent
from aetherra.plugins.homeostasis.leave import Permitting

__all__ = ["Standstill"]

ANYTHING = Intent(kind="actuator", component="host", summary="do anything at all", undo=True)
"""What nothing but an emergency stop holds."""


class Standstill:
    """An emergency stop, as it was seen last. It counts from when it is said: who asks for leave meets it at once.

    Args:
        host: Where to ask.

    Attributes:
        why: By whom, and why; ``""`` while nothing is stopped.
    """

    def __init__(self, host: Permitting) -> None:
        self._host = host
        self.why = ""

    async def look(self) -> bool:
        """Ask, and return whether it began or ended since the last look."""
        before = self.why
        permission = await self._host.peek_permission(ANYTHING)
        self.why = (permission.reason or "an emergency stop") if permission.code == "stopped" else ""
        return bool(before) is not bool(self.why)
