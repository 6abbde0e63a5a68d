"""The vital signs of plugins: what a controller reads every second, counted from what is kept anyway."""

from __future__ import annotations

import msgspec

from aetherra.registry import Latency, ServiceStatus


class PluginVitals(msgspec.Struct, frozen=True):
    """A snapshot of how one plugin does; what is counted begins anew with each generation.

    Attributes:
        plugin: Its name.
        generation: The one that serves, or was tried last; 0 before the first.
        service: What its service is registered as; ``""`` if nobody knows.
        state: As in ``PluginInfo``.
        status: Its service's; ``None`` if there is no such service now.
        calls: Calls that reached its handlers.
        errors: How many of them had no reply.
        timeouts: How many of those took too long.
        in_hand: Calls that are not finished.
        oldest_call: Seconds since the oldest of these began; ``None`` if there is none.
        longest_done: Seconds that the longest call took that any reading has seen the end of; ``None`` if none has.
        latency: Seconds that its calls took that ended since the time that was asked for, of which a bounded number of
            the last is looked at; of those that are remembered if none was.
        faults: Faults of its tasks, events and repeated methods.
        blocked: How often it held the event loop for too long, since the host's start.
    """

    plugin: str
    generation: int
    service: str
    state: str
    status: ServiceStatus | None
    calls: int = 0
    errors: int = 0
    timeouts: int = 0
    in_hand: int = 0
    oldest_call: float | None = None
    longest_done: float | None = None
    latency: Latency = Latency()
    faults: int = 0
    blocked: int = 0
