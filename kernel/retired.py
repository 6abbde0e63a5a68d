"""Retired generations: what they left behind in the process, and which are still in memory though they have ended."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import typing
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import anyio
import msgspec

from aetherra.kernel.holders import holder_of
from aetherra.kernel.leftovers import Taken, appeared_since, present, root_of, taken
from aetherra.registry import Clock, Identity

log = logging.getLogger("aetherra.kernel.retired")
SETTLE = 1.0
"""Seconds after its end until one looks at what a generation left, so that what is about to end may."""
PATIENCE = 60.0
"""Seconds after its end until a generation that is still in memory is told of, if it could have been collected."""
CHANCES = 3
"""Full collections that what is free may outlive: one is not enough where there are finalizers."""
LONGEST = 3600.0
"""Seconds at most between two looks at those that are still there."""
LAST_WAIT = 0.25
"""Real seconds that leftover threads have to end when the host does."""
REMEMBERED = 1000
"""Generations that are looked after at most; beyond that the first to end are forgotten."""


class RetiredGeneration(msgspec.Struct, frozen=True):
    """A generation that has ended and is still in memory.

    Attributes:
        plugin: Whose.
        generation: Its number.
        seconds: How long ago it ended.
        alive: What of it is there: its ``object``, its ``class``, its ``module``.
        kept: Whether its code is kept on purpose, as the way back; then only its ``object`` is one too many.
        collections: Full garbage collections that it has outlived; up to 3, it may be free and not collected yet.
        holder: What keeps it, from the outside in, where that was asked for.
    """

    plugin: str
    generation: int
    seconds: float
    alive: tuple[str, ...]
    kept: bool
    collections: int
    holder: str = ""


class RetiredGenerations:
    """Looks after generations from their load on, by weak references: none lives longer for it.

    Args:
        clock: When to look.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lives: list[Life] = []
        self._loads: list[tuple[str, set[str]]] = []  # and who else was loaded meanwhile
        self._arrivals: dict[str, list[_Arrival]] = {}
        self._strays: list[tuple[str, list[_Arrival]]] = []
        self._told: dict[int, weakref.ref[Any]] = {}
        self._loaded = False
        self._wake = anyio.Event()

    # What happens

    @contextmanager
    def loading(self, plugin: str) -> Generator[None]:
        """Note what appears in the process while a plugin's code is loaded."""
        arrivals: list[_Arrival] = []
        try:
            with self._noting(plugin, present(), arrivals):
                yield
        except BaseException:
            self._strays.append((plugin, arrivals))
            self._wake.set()
            raise
        if plugin in self._arrivals:  # loaded, and never started
            self._strays.append((plugin, self._arrivals[plugin]))
        self._arrivals[plugin] = arrivals
        self._loaded = True  # it may be refused before it starts
        self._wake.set()

    @contextmanager
    def starting(self, identity: Identity) -> Generator[Life]:
        """Note what appears while a generation starts, and look after it; whoever starts it tells its object and end.

        If the body raises, it has ended.
        """
        before = present()
        life = Life(identity, before.keys(), self._arrivals.pop(identity.name, []), self._end)
        self._lives.append(life)
        excess = len(self._lives) - REMEMBERED
        if excess > 0:
            for old in [old for old in self._lives if old.ended is not None][:excess]:
                self._lives.remove(old)
        try:
            with self._noting(identity.name, before, life.arrivals):
                yield life
        except BaseException:
            life.end()
            raise

    @contextmanager
    def _noting(self, plugin: str, before: dict[int, object], arrivals: list[_Arrival]) -> Generator[None]:
        mine: set[str] = {name for name, _ in self._loads if name != plugin}
        for name, others in self._loads:
            if name != plugin:
                others.add(plugin)
        window = (plugin, mine)
        self._loads.append(window)
        try:
            yield
        finally:
            self._loads = [other for other in self._loads if other is not window]
            arrivals += (_Arrival(thing, mine) for thing in appeared_since(before))

    def _end(self, life: Life) -> None:
        life.ended = life.free_since = self._clock.monotonic()
        self._wake.set()

    # Looking

    async def run(self) -> None:
        """Look a while after each end, and again while something is there, until cancelled."""
        pause = PATIENCE
        while True:
            self._wake = anyio.Event()
            if self._unseen():
                await self._clock.sleep(SETTLE)
                pause = PATIENCE
            elif any(life.ended is not None and not life.told for life in self._lives):
                with self._clock.move_on_after(pause) as scope:
                    await self._wake.wait()
                if not scope.cancelled_caught:
                    continue
                pause = min(pause * 2, LONGEST)
            else:
                await self._wake.wait()
                continue
            self.look()

    async def finish(self) -> None:
        """Look a last time, as the host ends; threads that are about to end have a moment to do so."""
        with anyio.move_on_after(LAST_WAIT):
            while self._leaves_threads():  # noqa: ASYNC110
                await anyio.sleep(LAST_WAIT / 10)  # a thread's end has no event
        self.look()

    def _leaves_threads(self) -> bool:
        left = [one for _, things in self._leftovers() for one, _ in things] if self._unseen() else []
        return any(isinstance(one.thing, threading.Thread) for one in left)

    def look(self) -> None:
        """Name what ended generations left behind, each thing once, and which of them are still in memory."""
        try:
            self._look()
        except Exception:  # what others put into the process may answer by code of its own
            log.exception("cannot tell what generations have left behind")
            self._strays.clear()
            self._loaded = False
            for life in self._lives:
                life.seen = life.seen or life.ended is not None

    def _look(self) -> None:
        if self._unseen():
            for whose, left in self._leftovers():
                self._tell(whose, left)
            self._strays.clear()
            self._loaded = False
            forget_in_typing()
            forget_loggers()
        now = self._clock.monotonic()
        for life in self._lives:
            if life.ended is None:
                continue
            life.seen = True
            if life.is_overdue(now):
                life.told = True
                log.warning(
                    "%s ended %.0f s ago and is still in memory (its %s); 'aetherra plugin info %s --why' tells why",
                    life.identity, now - life.ended, ", its ".join(life.alive()), life.identity.name,
                )  # fmt: skip
        self._lives = [life for life in self._lives if life.ended is None or life.alive()]
        self._told = {key: ref for key, ref in self._told.items() if ref() is not None}

    def _unseen(self) -> bool:
        return (
            self._loaded or bool(self._strays) or any(life.ended is not None and not life.seen for life in self._lives)
        )

    def _leftovers(self) -> list[tuple[str, list[_Left]]]:
        """Return what was left behind by whom."""
        serving = {life.origin for life in self._lives if life.ended is None}
        found = _Found(one for one in taken() if self._is_news(one))
        left = [
            (str(life.identity), life.left(found, serving))
            for life in self._lives
            if life.ended is not None and not life.seen
        ]
        for plugin, arrivals in self._strays:
            left.append((f"plugin {plugin!r}, whose code could not be brought up,", found.arrived(arrivals)))
        known = serving | {life.origin for life in self._lives}
        lost = [root for root in sorted(found.by_root) if root not in sys.modules and root not in known]
        left += [(f"code that was loaded as {root!r}", found.of(root)) for root in lost]
        return [(whose, things) for whose, things in left if things]

    def _is_news(self, one: Taken) -> bool:
        told = self._told.get(id(one.thing))
        return told is None or told() is not one.thing

    def _tell(self, whose: str, left: list[_Left]) -> None:
        news = [(one, doubt) for one, doubt in left if self._is_news(one)]
        for one, _ in news:
            with suppress(TypeError):  # what has no weak references is told of again
                self._told[id(one.thing)] = weakref.ref(one.thing)
        if news:
            lines = "\n".join(f"- {one}{doubt}\n  {one.advice}" for one, doubt in news)
            log.warning("%s has ended and left this in the process, taken behind its context's back:\n%s", whose, lines)

    # Insight

    def alive(self, plugin: str = "", *, why: bool = False) -> list[RetiredGeneration]:
        """Return the generations that have ended and are in memory, the first to begin first, of one plugin or of all.

        One whose code serves again, after a rollback, is not among them for the sake of that code.

        Args:
            plugin: Whose; ``""`` means all.
            why: Whether to find out what keeps each. That looks through the whole process, again and again: call it
                in a worker thread.
        """
        now = self._clock.monotonic()
        lives = list(self._lives)
        serving = {life.origin for life in lives if life.ended is None}
        return [
            life.describe(now, why=why)
            for life in lives
            if life.ended is not None
            and plugin in ("", life.identity.name)
            and (alive := life.alive())
            and ("object" in alive or life.origin not in serving)
        ]


class _Arrival:
    """What appeared while a plugin's code was loaded or started, and which other plugins' were meanwhile."""

    def __init__(self, thing: object, others: set[str]) -> None:
        self.ref = weakref.ref(thing)
        self.others = others


class Life:
    """One generation, from its start on: whose it is, what appeared with it, and weakly what it is made of."""

    def __init__(
        self, identity: Identity, before: Iterable[int], arrivals: list[_Arrival], ended: Callable[[Life], None]
    ) -> None:
        self.identity = identity
        self.arrivals = arrivals
        self.origin = ""
        self.ended: float | None = None
        self.free_since = 0.0
        self.seen = self.told = self._kept = False
        self._ended = ended
        self._parts: dict[str, weakref.ref[Any]] = {}
        self._collections = 0
        self._before = frozenset(before)

    def made(self, plugin: object) -> None:
        """Say which object it is."""
        module = type(plugin).__module__
        self.origin = root_of(module) or module
        self._parts = {"object": weakref.ref(plugin)}
        if root_of(module):
            self._parts["class"] = weakref.ref(type(plugin))
            if self.origin in sys.modules:
                self._parts["module"] = weakref.ref(sys.modules[self.origin])

    def end(self) -> None:
        """Say that it has ended; twice does no harm."""
        if self.ended is None:
            self._collections = full_collections()
            self._ended(self)

    # What it left

    def left(self, found: _Found, serving: set[str]) -> list[_Left]:
        """Return what of all that was found it left; nothing of its code's, if that serves."""
        own = found.of(self.origin) if self.origin not in serving else []
        doubt = " (which may be of the host's, as it has the same module)"
        if "@" not in self.origin:
            new = [one for one in found.by_id.values() if id(one.thing) not in self._before]
            own = [(one, doubt) for one in new if self.origin in one.modules]
        named = {id(one) for one, _ in own}
        return own + [(one, doubt) for one, doubt in found.arrived(self.arrivals) if id(one) not in named]

    # What is there of it

    def alive(self) -> tuple[str, ...]:
        """Return what of it is in memory."""
        return tuple(name for name, ref in self._parts.items() if ref() is not None)

    def _is_kept(self) -> bool:
        module = self._parts.get("module")
        return module is not None and (there := module()) is not None and sys.modules.get(self.origin) is there

    def is_overdue(self, now: float) -> bool:
        """Whether it should be gone by now, is not, and was not told of."""
        alive = self.alive()
        kept = self._is_kept()
        if self._kept > kept or (kept and "object" not in alive):
            self.free_since, self._collections = now, full_collections()
        self._kept = kept
        return (
            bool(alive)
            and not self.told
            and now - self.free_since >= PATIENCE
            and full_collections() > self._collections
        )

    def describe(self, now: float, *, why: bool) -> RetiredGeneration:
        """Return a snapshot."""
        alive, kept, holder = self.alive(), self._is_kept(), ""
        if why and kept and "object" not in alive:
            holder = "the way back to it"
        elif why and alive:
            holder = holder_of(self._parts[alive[0]])
        return RetiredGeneration(
            plugin=self.identity.name,
            generation=self.identity.generation,
            seconds=now - (self.ended or now),
            alive=alive,
            kept=kept,
            collections=full_collections() - self._collections,
            holder=holder,
        )


_Left = tuple[Taken, str]
"""A thing that was left, and what is doubtful about whose it is."""


class _Found:
    """All that code has put into the process, by whose it is."""

    def __init__(self, found: Iterable[Taken]) -> None:
        self.by_id: dict[int, Taken] = {}
        self.by_root: dict[str, list[Taken]] = {}
        for one in found:
            self.by_id[id(one.thing)] = one
            for root in one.roots:
                self.by_root.setdefault(root, []).append(one)

    def of(self, root: str) -> list[_Left]:
        """Return what is surely of a generation's code."""
        return [(one, "") for one in self.by_root.get(root, ())]

    def arrived(self, arrivals: Iterable[_Arrival]) -> list[_Left]:
        """Return what appeared with a plugin and does not itself say whose it is."""
        left: list[_Left] = []
        for arrival in arrivals:
            thing = arrival.ref()
            one = None if thing is None else self.by_id.get(id(thing))
            if one is not None and not one.roots:
                others = ", ".join(map(repr, sorted(arrival.others)))
                too = f", as were {others}, so it may be theirs" if others else ""
                left.append((one, f" (which appeared while the plugin was loaded and started{too})"))
        return left


def full_collections() -> int:
    """Return how often this process has collected all its garbage."""
    return int(gc.get_stats()[-1]["collections"])


def forget_in_typing() -> None:
    """Empty the caches of ``typing``, which hold the classes that stood in ``Optional[...]`` and its like.

    They fill again as they are used.
    """
    clear: Callable[[], None]
    for clear in getattr(typing, "_cleanups", ()):
        clear()


def forget_loggers() -> None:
    """Forget the loggers that unloaded code had under its modules' names; they work on for who has them."""
    known = logging.root.manager.loggerDict
    for name in list(known):
        if "@" not in name or not (root := root_of(name)) or root in sys.modules:
            continue
        with _logging_lock():
            logger = known.get(name)
            if isinstance(logger, logging.PlaceHolder) or (logger and not logger.handlers and not logger.filters):
                del known[name]
                for other in known.values():
                    if isinstance(other, logging.PlaceHolder) and isinstance(logger, logging.Logger):
                        other.loggerMap.pop(logger, None)


def _logging_lock() -> AbstractContextManager[Any]:
    lock: AbstractContextManager[Any] = getattr(logging, "_lock", None) or nullcontext()
    return lock
