"""How long ago each plugin's code was swapped, as metrics: what goes wrong right after has often come by the swap."""

from __future__ import annotations

from collections.abc import Iterator

from aetherra.plugins import Message
from aetherra.plugins.homeostasis.sensors import Reading

__all__ = ["CodeRolledBack", "CodeSwapped", "SwapMetrics"]

FORGOTTEN = 86_400.0
"""Seconds after which nobody asks any more whether a swap was to blame."""


class CodeSwapped(Message, tag="hmr.swapped"):
    """What hot swap tells of a swap, with the fields that are read."""

    plugin: str
    how: str


class CodeRolledBack(Message, tag="hmr.rolled_back"):
    """What hot swap tells of a way back, with the fields that are read."""

    plugin: str


class SwapMetrics:
    """Remembers the last swap of each plugin. One that went back to earlier code has no swap to go back from."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}

    def swapped(self, event: CodeSwapped, now: float) -> None:
        """Hear of new code."""
        if event.how == "rollback":
            self._at.pop(event.plugin, None)
        else:
            self._at[event.plugin] = now

    def rolled_back(self, event: CodeRolledBack) -> None:
        """Hear that earlier code serves again."""
        self._at.pop(event.plugin, None)

    def read(self, now: float) -> Iterator[Reading]:
        """Yield ``plugin.<name>.since_swap`` in seconds, of those that were swapped within a day."""
        for name in [name for name, at in self._at.items() if now - at > FORGOTTEN]:
            del self._at[name]
        for name, at in self._at.items():
            yield Reading(f"plugin.{name}.since_swap", now - at, "s")
