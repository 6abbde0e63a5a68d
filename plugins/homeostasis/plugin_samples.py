"""What plugins measure of themselves: asked of all of them, but for those whose asking has done harm, for a while."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from aetherra.plugins import MetricSample, PluginContext
from aetherra.plugins.homeostasis.sensors import Reading

__all__ = ["PluginSamples"]

SLOW = 0.25
"""Seconds after which a hook that holds the event loop has done harm; real ones, whatever clock the host has."""
REST = 30.0
"""Seconds for which a plugin is not asked after that; twice as long each time in a row that it does harm."""
LONGEST_REST = 600.0


class PluginSamples:
    """Asks by the hook ``collect_metrics``. What raises, or takes long, is told and left to rest."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._resting: dict[str, tuple[float, float, str]] = {}
        self._begun = 0.0

    def read(self) -> Iterator[Reading]:
        """Yield what plugins measure, under their names; of one that rests ``<plugin>.metrics`` is unknown, and why."""
        now = self._ctx.clock.monotonic()
        for name in [name for name, (until, _, _) in self._resting.items() if now > until + LONGEST_REST]:
            del self._resting[name]  # it is not there any more
        resting = {name for name, (until, _, _) in self._resting.items() if now < until}
        self._begun = time.perf_counter()
        for name, samples in self._ctx.hooks.call("collect_metrics", without=resting, failed=self._let_rest):
            took = time.perf_counter() - self._begun
            if took > SLOW:
                self._rest(name, f"its hook collect_metrics held the event loop for {took:.1f} s")
            else:
                self._resting.pop(name, None)
            yield from (_checked(name, sample) for sample in samples)
            self._begun = time.perf_counter()
        for name, (until, _, why) in self._resting.items():
            reason = f"{why}; it is asked again in {max(0.0, until - now):.0f} s"
            yield Reading(f"{name}.metrics", None, "", reason)

    def _let_rest(self, plugin: str, fault: BaseException) -> None:
        self._rest(plugin, f"its hook collect_metrics failed: {fault!r}")
        self._begun = time.perf_counter()

    def _rest(self, plugin: str, why: str) -> None:
        _, before, _ = self._resting.get(plugin, (0.0, 0.0, ""))
        seconds = min(max(REST, 2 * before), LONGEST_REST)
        self._resting[plugin] = (self._ctx.clock.monotonic() + seconds, seconds, why)
        self._ctx.log.warning("plugin %r is not asked for its metrics for %.0f s: %s", plugin, seconds, why)


def _checked(plugin: str, sample: MetricSample) -> Reading:
    """A plugin's own metric stands under its name, and is a number or unknown."""
    name = sample.name if sample.name.startswith(f"{plugin}.") else f"{plugin}.{sample.name}"
    if sample.value is None:
        return Reading(name, None, sample.unit, sample.reason)
    try:
        value = float(sample.value)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        return Reading(name, None, sample.unit, f"the plugin measured {sample.value!r}")
    return Reading(name, value, sample.unit)
