"""The watchdog: measures how late the event loop is, and names the plugin that makes it stand still."""

from __future__ import annotations

import logging
import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from types import FrameType

import anyio
import msgspec

from aetherra.kernel.generation import Generation
from aetherra.kernel.plugin import Plugin
from aetherra.kernel.sources import module_owner
from aetherra.kernel.stacks import coroutine_frames, coroutine_stack, local_of, thread_stack
from aetherra.kernel.tasks import Tasks
from aetherra.registry import Bus, Caller, Identity, Message, Route

log = logging.getLogger("aetherra.kernel.watchdog")
BEAT = 0.25
"""Seconds between two beats of the loop, if the threshold asks for none closer."""
REMEMBERED = 60.0
"""Seconds of lags that ``lag_max`` looks back on."""
_OWNED = (Generation, Tasks)
"""What knows, as the ``self`` of a frame, for which plugin it calls."""


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
        held: For how many seconds in all it did.
    """

    lag: float
    lag_max: float
    blocked: dict[str, int]
    held: dict[str, float] = {}


class Watchdog:
    """A beat on the event loop, and a thread that looks at the loop's stack when the beat stays away.

    It uses real time, whatever clock the host has: a blocked loop is a fact of the machine. It sees every block of
    twice the threshold, and most that are shorter.
    """

    def __init__(self, bus: Bus, *, threshold: float) -> None:
        self._bus = bus
        self._threshold = threshold
        self._interval = min(BEAT, threshold / 3)
        self._last_beat = time.monotonic()
        self._lag = 0.0
        self._lags: deque[float] = deque(maxlen=math.ceil(REMEMBERED / self._interval))
        self._blocked: dict[str, int] = {}
        self._held: dict[str, float] = {}
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
                await anyio.sleep(self._interval)
                self._beat(time.monotonic() - begun - self._interval)
        finally:
            self._ended.set()

    def _beat(self, late: float) -> None:
        self._last_beat = time.monotonic()
        self._lag = max(0.0, late)
        self._lags.append(self._lag)
        caught, self._caught = self._caught, None
        if caught is None and self._lag > 2 * self._threshold:  # it held the interpreter, too: our thread saw nothing
            caught = self._count("", "  (nobody could look)")
        if caught is not None:
            self._held[caught[0]] = self._held.get(caught[0], 0.0) + self._lag
            self._bus.publish_nowait(LoopBlocked(caught[0], self._lag, caught[1]))

    def _look(self) -> None:
        while not self._ended.wait(self._interval):
            if self._caught is None and time.monotonic() - self._last_beat > self._threshold + self._interval:
                self._caught = self._catch()

    def _catch(self) -> tuple[str, str] | None:
        """Say who blocks the loop; in a function of its own, so that this thread keeps no frame of theirs."""
        frames, stack = thread_stack(self._loop_thread)
        return self._count(owner_of(frames), _from_the_plugin(frames) or stack) if frames else None

    def _count(self, plugin: str, stack: str) -> tuple[str, str]:
        count = self._blocked[plugin] = self._blocked.get(plugin, 0) + 1
        who = f"plugin {plugin!r}" if plugin else "something that is no plugin's"
        where = f", at\n{stack}" if count == 1 else f", for the {count}. time; the event tells where"
        log.warning("%s blocks the event loop for more than %g s%s", who, self._threshold, where)
        return plugin, stack

    def statistics(self) -> LoopStatistics:
        """Return a snapshot."""
        return LoopStatistics(self._lag, max(self._lags, default=0.0), dict(self._blocked), dict(self._held))


def _from_the_plugin(frames: list[FrameType]) -> str:
    """Return the stack from where a plugin's code was called, outermost first; ``""`` if none is in it."""
    called = max((index for index, frame in enumerate(frames) if owner_of([frame])), default=-1)
    inner = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in reversed(frames[: called + 1]))
    return "".join(inner.format()).rstrip()


def owner_of(frames: Iterable[FrameType]) -> str:
    """Return whose code runs, given frames innermost first: a plugin's name, or ``""`` if it is none's.

    A frame tells by its module, by a ``self`` that is a plugin, or by the route or generation that called it.
    """
    for frame in frames:
        owner = module_owner(str(frame.f_globals.get("__name__", "")))
        if owner is not None:
            return owner
        first = local_of(frame, "self")
        if isinstance(first, Plugin):
            return first.name
        provider = first.identity if isinstance(first, _OWNED) else _provider_called(frame)
        if provider is not None and provider.kind == "plugin":
            return provider.name
    return ""


def _provider_called(frame: FrameType) -> Identity | None:
    """Return whose handler a frame has called, ``None`` if it is not the frame of a call."""
    if frame.f_code is not Caller.call.__code__:
        return None
    route: Route | None = local_of(frame, "route")
    return None if route is None else route.provider


def calls_in_hand() -> str:
    """Return which tasks of this event loop are inside a call of a plugin's handler, and where they wait, as text."""
    return _tasks_in(lambda frame: _provider_called(frame) is not None)


def plugin_tasks() -> str:
    """Return which tasks of this event loop are inside a plugin's code at all, and where they wait, as text."""
    return _tasks_in(lambda frame: not isinstance(local_of(frame, "self"), _OWNED) and owner_of([frame]) != "")


def _tasks_in(is_sought: Callable[[FrameType], bool]) -> str:
    found: list[str] = []
    for task in anyio.get_running_tasks():
        frames = coroutine_frames(task.coro)
        if any(is_sought(frame) for frame in frames):
            owner = owner_of(reversed(frames))
            found.append(f"{f'plugin {owner!r}' if owner else 'the host'}, at\n{coroutine_stack(task.coro)}")
    return "\n".join(found) or "  (nothing of a plugin)"
