"""The loader: brings plugins' code into memory, in threads that can be left behind, and reads what it declares."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio

from aetherra.kernel.entry import Code, Entry
from aetherra.kernel.errors import PluginDefinitionError, PluginLoadError
from aetherra.kernel.outcomes import Outcomes
from aetherra.kernel.retired import RetiredGenerations
from aetherra.kernel.sources import Loaded
from aetherra.kernel.spec import PluginSpec
from aetherra.kernel.threads import Errand, short_turns
from aetherra.registry import Clock
from aetherra.registry.errors import is_signal

IMPORT_PATIENCE = 0.1
"""Seconds that an import waits for the one before it; real ones, as the machine takes them."""


class Loader:
    """Loads code as the next generation of its plugin; the one that serves is not touched.

    Args:
        clock: The host's.
        limit: Seconds that code may take to be imported.
        retired: Told what is loaded, to note what appears meanwhile.
        outcomes: Counts what fails.
    """

    def __init__(self, clock: Clock, limit: float, retired: RetiredGenerations, outcomes: Outcomes) -> None:
        self._clock = clock
        self._limit = limit
        self._retired = retired
        self._outcomes = outcomes
        self._importing = anyio.Event()
        self._importing.set()

    async def load(self, entry: Entry) -> Loaded:
        """Load the code of a plugin from its source.

        Raises:
            PluginLoadError: The code raised, ``SystemExit`` included, or took longer than ``import_timeout``; says
                where it was. What such code still brings is thrown away.
        """
        with self._retired.loading(entry.name):
            at_hand = entry.source.at_hand()
            return at_hand or await self._run(entry, partial(entry.source.load, entry.last_number + 1))

    async def load_again(self, entry: Entry) -> Code:
        """Bring the code of a plugin up afresh, from memory; from its source, if it has failed.

        Raises:
            PluginLoadError: As ``load`` and ``read``.
        """
        old = entry.loaded
        if old is None:
            loaded = await self.load(entry)
        elif old.code is None:
            loaded = old
        else:
            with self._retired.loading(entry.name):
                loaded = await self._run(entry, partial(entry.source.again, old, entry.last_number + 1))
        try:
            return self.read(entry, loaded)
        except PluginLoadError:
            if loaded is not old:
                loaded.unload()
            raise

    def read(self, entry: Entry, loaded: Loaded) -> Code:
        """Read what a plugin class declares.

        Raises:
            PluginLoadError: It cannot be used as it is.
        """
        try:
            spec = PluginSpec.of(loaded.plugin_type)
            if spec.name != entry.name:
                raise PluginDefinitionError(
                    f"it is configured as {entry.name!r} and calls itself {spec.name!r}; use one name"
                )
        except BaseException as exc:
            if is_signal(exc):
                raise
            raise self._outcomes.failure(entry.name, "configuring", exc) from exc
        return Code(loaded, spec)

    async def _run(self, entry: Entry, load: Callable[[], Loaded]) -> Loaded:
        errand = Errand(partial(_untangled, load), name=f"aetherra import {entry.name}", unwanted=Loaded.unload)
        async with self._turn():
            with short_turns(), self._clock.move_on_after(self._limit) as scope:
                await errand.wait()
        if scope.cancelled_caught:
            stack = errand.stack()
            overran = TimeoutError(f"its code from {entry.source} still ran after {self._limit:g} s, at\n{stack}")
            raise self._outcomes.failure(entry.name, "importing", overran)
        try:
            return errand.result()
        except BaseException as exc:  # whatever its code raised in the thread is no signal to us
            where = "" if isinstance(exc, SyntaxError) else f" (from {entry.source})"
            raise self._outcomes.failure(entry.name, "importing", exc, where) from exc

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """One import after the other, as two that need each other's modules can deadlock; a slow one is overtaken."""
        before, mine = self._importing, anyio.Event()
        self._importing = mine
        try:
            with anyio.move_on_after(IMPORT_PATIENCE):
                await before.wait()
            yield
        finally:
            mine.set()


def _untangled(load: Callable[[], Loaded]) -> Loaded:
    """Load code; once more, if it and what another thread imports wait for each other: that one goes on by then.

    The import system tells so by an error that has no public name (importlib._bootstrap, ``_DeadlockError``).
    """
    try:
        return load()
    except RuntimeError as exc:
        if type(exc).__name__ != "_DeadlockError":
            raise
    return load()
