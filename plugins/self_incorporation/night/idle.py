"""Whether anybody needs the host: judged by calls, and by what the process and its machine use."""

import time
from collections.abc import Callable, Collection, Mapping

from msgspec import Struct

from aetherra.plugins import Vitals
from aetherra.plugins.self_incorporation.night.settings import NightSettings
from aetherra.plugins.self_incorporation.night.usage import FIGURES, Rates, Usage, UsageReader, rates_between

__all__ = ["Calls", "IdleReport", "IdleWatch", "calls_of"]

ROUGH = 0.25
"""Seconds below which totals are too rough to make a rate of: the machine counts in hundredths."""
_UNITS = {"process_cpu": "of a core", "host_cpu": "of all cores", "process_io": "bytes/s", "host_io": "bytes/s"}
_NAMES = {
    "process_cpu": "processor time of the process",
    "host_cpu": "processor time of the machine",
    "process_io": "disk use of the process",
    "host_io": "disk use of the machine",
}


class Calls(Struct, frozen=True):
    """How many calls were made so far, and how many are not finished."""

    made: int
    in_hand: int


class IdleReport(Struct, frozen=True, kw_only=True):
    """How long nobody has needed the host, and how anyone can tell.

    Attributes:
        idle_for: Seconds since somebody last did.
        is_idle: Whether that is long enough.
        last_activity: What that was; empty before the first.
        figures: The last rates, by name; None where nobody knows.
        judged_by: What counts: ``calls``, and those figures that are known.
        unknown: Why the others are not, by name.
    """

    idle_for: float
    is_idle: bool
    last_activity: str
    figures: Mapping[str, float | None]
    judged_by: tuple[str, ...]
    unknown: Mapping[str, str]


class IdleWatch:
    """Knows since when nobody has needed the host.

    `notice` may be called from any thread; all else by one caller at a time.

    Args:
        settings: The bounds.
        monotonic: Seconds that only ever go forward.
        usage: Reads totals; default is the real ones.
        own: Seconds of processor time, and bytes read and written, of the night's own work, which do not count.
    """

    def __init__(
        self,
        settings: NightSettings,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        usage: Callable[[], Usage] | None = None,
        own: Callable[[], tuple[float, float]] = lambda: (0.0, 0.0),
        cores: int | None = None,
    ) -> None:
        self._settings, self._monotonic, self._own = settings, monotonic, own
        reader = UsageReader(monotonic)
        self._usage: Callable[[], Usage] = usage or reader
        self._cores = cores or reader.cores
        self._active_at = monotonic()
        self._why = ""
        self._notice: tuple[float, str] | None = None
        self._noticed: tuple[float, str] | None = None
        self._calls: Calls | None = None
        self._before: tuple[Usage, float, float] | None = None
        self._rates: Rates | None = None
        self._unknown: dict[str, str] = {}

    def notice(self, what: str) -> None:
        """Take note that somebody needs the host now, and for what."""
        self._notice = (self._monotonic(), what)

    @property
    def is_noticed(self) -> bool:
        """Whether there was a `notice` since the last look: cheap enough to ask between any two steps."""
        return self._notice is not self._noticed

    def look(self, calls: Calls | None = None, *, working: bool = False) -> str:
        """Look whether anybody needs the host now: return why, or an empty text if nobody does.

        The first look at calls, and at what is used, is what later ones are compared with.

        Args:
            calls: As they are now; None: nobody has asked.
            working: Whether the night is at work, so that the bounds are ``wake`` times as high.
        """
        now = self._monotonic()
        reasons = [*self._of_notice(), *self._of_calls(calls), *self._of_usage(now, working=working)]
        if reasons:
            self._active_at, self._why = now, "; ".join(reasons)
            return self._why
        return ""

    def report(self) -> IdleReport:
        """Tell what is known."""
        idle_for = self._monotonic() - max(self._active_at, self._notice[0] if self._notice else self._active_at)
        rates = self._rates
        figures = {name: None if rates is None else getattr(rates, name) for name in FIGURES}
        return IdleReport(
            idle_for=idle_for,
            is_idle=idle_for >= self._settings.idle_seconds,
            last_activity=self._notice[1] if self.is_noticed and self._notice else self._why,
            figures=figures,
            judged_by=("calls", *(name for name in FIGURES if name not in self._unknown)),
            unknown=dict(self._unknown),
        )

    def _of_notice(self) -> list[str]:
        notice = self._notice
        if notice is self._noticed or notice is None:
            return []
        self._noticed = notice
        return [notice[1]]

    def _of_calls(self, calls: Calls | None) -> list[str]:
        if calls is None:
            return []
        before, self._calls = self._calls, calls
        if calls.in_hand:
            return [f"{calls.in_hand} calls are not finished"]
        if before is not None and calls.made != before.made:  # fewer, where a plugin was swapped or restarted
            return [f"{abs(calls.made - before.made)} calls were made"]
        return []

    def _of_usage(self, now: float, *, working: bool) -> list[str]:
        if self._before is not None and now - self._before[0].at < ROUGH:
            return []
        usage, (own_cpu, own_io) = self._usage(), self._own()
        before, self._before = self._before, (usage, own_cpu, own_io)
        self._unknown = dict(usage.unknown)
        if before is None or usage.at <= before[0].at:
            return []
        rates = self._rates = rates_between(
            before[0], usage, own_cpu=own_cpu - before[1], own_io=own_io - before[2], cores=self._cores
        )
        factor = self._settings.wake if working else 1.0
        reasons: list[str] = []
        for name in FIGURES:
            value, bound = getattr(rates, name), getattr(self._settings, name) * factor
            if value is None:
                self._unknown.setdefault(name, "its total has not moved since the last look")
            elif value > bound:
                reasons.append(f"{_NAMES[name]} is {value:.3g} {_UNITS[name]}, more than {bound:.3g}")
        return reasons


def calls_of(vitals: Vitals, quiet: Collection[str]) -> Calls:
    """Count the calls that reached plugins, but for those that call one another when nobody needs the host."""
    counted = [plugin for plugin in vitals.plugins if plugin.plugin not in quiet]
    return Calls(sum(plugin.calls for plugin in counted), sum(plugin.in_hand for plugin in counted))
