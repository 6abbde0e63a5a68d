"""The watchdog: measures how late the event loop is, and names the plugin that makes it stand still."""

from __future__ import annotations

import logging
import threading
import time
from types import FrameType
from typing import Any

import anyio
import msgspec

from aetherra.kernel.plugin import Plugin
from aetherra.kernel.sources import module_owner
from aetherra.kernel.stacks import thread_stack
from aetherra.registry import Bus, Message

log = logging.getLogger("aetherra.kernel.watchdog")
BEAT = 0.25
"""Seconds between two beats of the loop."""


class LoopBlocked(Message, tag="kernel.loop_blocked"):
    """The event loop stood still for ``seconds`` and goes on; ``plugin`` held it, ``""`` if none of them did."""

    plugin: str
    seconds: float
    stack: str


class LoopStatistics(msgspec.Struct, frozen=True):
    """A snapshot.

    Attributes:
        lag: Seconds by which the last beat came late.
        lag_max: The latest in the last minute or so.
        blocked: How often each plugin (``""``: nobody known) held the loop longer than the threshold.
    """

    lag: float
    lag_max: float
    blocked: dict[str, int]


class Watchdog:
    """A beat on the event loop, and a thread that looks at the loop's stack when the beat stays away.

    It uses real time, whatever clock the host has: a blocked loop is a fact of the machine.
    """

    def __init__(self, bus: Bus, *, threshold: float) -> None:
        self._bus = bus
        self._threshold = threshold
        self._last_beat = time.monotonic()
        self._lag = 0.0
        self._lags: list[float] = []
        self._blocked: dict[str, int] = {}
        self._caught: tuple[str, str] | None = None
        self._loop_thread = 0
        self._ended = threading.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        self._loop_thread = threading.get_ident()
        self._last_beat = time.monotonic()
        thread = threading.Thread(target=self._look, name="aetherra watchdog", daemon=True)
        thread.start()
        try:
            while True:
                begun = time.monotonic()
                await anyio.sleep(BEAT)
                self._beat(time.monotonic() - begun - BEAT)
        finally:
            self._ended.set()

    def _beat(self, late: float) -> None:
        self._last_beat = time.monotonic()
        self._lag = max(0.0, late)
        self._lags = [*self._lags[-239:], self._lag]
        if self._caught is not None:
            (plugin, stack), self._caught = self._caught, None
            self._bus.publish_nowait(LoopBlocked(plugin, self._lag, stack))

    def _look(self) -> None:
        while not self._ended.wait(BEAT):
            if self._caught is None and time.monotonic() - self._last_beat > self._threshold + BEAT:
                frames, stack = thread_stack(self._loop_thread)
                if not frames:
                    continue
                plugin = owner_of(frames)
                self._blocked[plugin] = self._blocked.get(plugin, 0) + 1
                self._caught = (plugin, stack)
                who = f"plugin {plugin!r}" if plugin else "something that is no plugin's"
                log.warning("%s blocks the event loop for more than %g s, at\n%s", who, self._threshold, stack)

    def statistics(self) -> LoopStatistics:
        """Return a snapshot."""
        return LoopStatistics(self._lag, max(self._lags, default=0.0), dict(self._blocked))


def owner_of(frames: list[FrameType]) -> str:
    """Return which plugin's code the innermost frames run, ``""`` if none's: by its module, or by its ``self``."""
    for frame in frames:
        owner = module_owner(str(frame.f_globals.get("__name__", "")))
        if owner is not None:
            return owner
        first: Any = frame.f_locals.get("self")
        if isinstance(first, Plugin):
            return first.name
    return ""
