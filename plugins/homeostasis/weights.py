"""What each plugin keeps in memory: weighed while the process grows, as weighing is too dear for every cycle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator

from aetherra.plugins import AetherraError, Footprint
from aetherra.plugins.homeostasis.growth import Growth
from aetherra.plugins.homeostasis.sensors import Reading

__all__ = ["Weights"]

STEP = 16 * 2**20
"""Bytes that the process must have grown by since the last weighing, or since it was smallest, for the next."""
INTERVAL = 5.0
"""Seconds between two weighings while it grows."""
AWAKE = 120.0
"""Seconds for which weighing goes on after the last step: a leak is not over when it pauses."""
WINDOW = 60.0
"""Seconds that a plugin's growth is drawn from."""


class Weights:
    """Remembers what plugins weighed, and decides when to weigh again.

    Args:
        weigh: Asks for one plugin's footprint.
    """

    def __init__(self, weigh: Callable[[str], Awaitable[Footprint]]) -> None:
        self._weigh = weigh
        self._floor: float | None = None
        self._awake_until = -1.0
        self._next = 0.0
        self._last: dict[str, tuple[float, float]] = {}
        self._growths: dict[str, tuple[int, Growth]] = {}

    def is_due(self, now: float, resident: float | None) -> bool:
        """Say whether to weigh now, given the bytes that the process uses."""
        if resident is None:
            return False
        if self._floor is None or resident < self._floor:
            self._floor = resident
        if resident >= self._floor + STEP:
            self._floor = resident
            self._awake_until = now + AWAKE
        return now < self._awake_until and now >= self._next

    async def weigh(self, plugins: Iterable[tuple[str, int]], monotonic: Callable[[], float]) -> None:
        """Weigh plugins, given as names and generations; one that cannot be weighed keeps its last weight.

        The next weighing is due a while after the end of this one, so that it never takes more than part of the time.
        """
        begun = monotonic()
        named = list(plugins)
        for name, generation in named:
            try:
                weight = await self._weigh(name)
            except AetherraError:
                continue
            now = monotonic()
            self._last[name] = (now, float(weight.bytes))
            known, growth = self._growths.get(name, (0, None))
            if growth is None or known != generation:
                growth = Growth(WINDOW)
                self._growths[name] = (generation, growth)
            growth.add(now, float(weight.bytes))
        for name in self._last.keys() - {name for name, _ in named}:
            del self._last[name], self._growths[name]
        took = monotonic() - begun
        self._next = monotonic() + max(INTERVAL, 10 * took)

    def read(self, now: float) -> Iterator[tuple[Reading, float]]:
        """Yield what is known of each plugin, with its age in seconds; nothing of one that was never weighed."""
        for name, (at, weight) in self._last.items():
            age = now - at
            yield Reading(f"plugin.{name}.memory", weight, "bytes"), age
            growth = self._growths[name][1].per_second(at)
            reason = "" if growth is not None else "it was weighed too few times"
            yield Reading(f"plugin.{name}.memory_growth", growth, "bytes/s", reason), age
