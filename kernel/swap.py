"""The privilege to swap generations: the steps that hot swap is made of, each safe to leave undone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec

from aetherra.kernel.entry import Code, Entry
from aetherra.kernel.errors import PluginLoadError, PluginNotFoundError
from aetherra.kernel.generation import Generation
from aetherra.kernel.host import Host
from aetherra.kernel.manager import PluginManager
from aetherra.kernel.sources import FileSource, Loaded
from aetherra.kernel.spec import PluginSpec
from aetherra.registry import Split


class Candidate(msgspec.Struct, frozen=True):
    """A generation that is loaded and started, and that nothing is routed to."""

    loaded: Loaded
    spec: PluginSpec
    generation: Generation


class Swapper:
    """What the plugin with the privilege ``kernel:swap`` may do to others: prepare, quiesce, hand over, promote.

    Whoever uses it decides when to go on and when to go back; until ``promote`` nothing about the generation that
    serves has changed, but that its calls may be parked inside ``quiesced``.
    """

    def __init__(self, host: Host, plugins: PluginManager) -> None:
        self._host = host
        self._plugins = plugins

    @asynccontextmanager
    async def turn(self, plugin: str) -> AsyncGenerator[None]:
        """Be the only one who changes what serves for a plugin, restarts included; others wait for their turn.

        Raises:
            PluginNotFoundError: There is none of that name.
        """
        async with self._plugins.turn(plugin):
            yield

    def watched(self) -> dict[str, Path]:
        """Return each plugin's file, or the folder of its package, where it has one."""
        paths = {entry.name: entry.source.watched() for entry in self._plugins.entries()}
        return {name: path for name, path in paths.items() if path is not None}

    def states(self) -> dict[str, str]:
        """Return the state of each plugin, as in ``PluginInfo``, but for those that are configured and nowhere."""
        return {entry.name: entry.state for entry in self._plugins.entries() if not entry.is_nowhere}

    def is_wanted(self, plugin: str) -> bool:
        """Whether a plugin of this name may be added: the configuration does not turn it off, and there is none.

        One that the configuration names, and that is nowhere to be found, is none.
        """
        there = (entry.name for entry in self._plugins.entries() if not entry.is_nowhere)
        return self._host.config.section(plugin).enabled and plugin not in there

    async def add(self, plugin: str, path: Path, settings: Mapping[str, Any] | None = None) -> None:
        """Bring up the plugin in a file or package, with these settings in place of the configuration's.

        Raises:
            PluginLoadError: It could not be brought up; nothing of it is left.
        """
        await self._plugins.add(FileSource(plugin, str(path)), plugin, settings)

    async def remove(self, plugin: str) -> None:
        """Stop a plugin and forget it; plugins that require it are stopped first.

        Raises:
            PluginNotFoundError: There is none of that name.
        """
        await self._plugins.remove(plugin)

    def current(self, plugin: str) -> Loaded | None:
        """Return the code that serves, or is kept in quarantine; ``None`` if there is none.

        Raises:
            PluginNotFoundError: There is no such plugin.
        """
        entry = self._plugins.entry(plugin)
        code = entry.code()
        return code.loaded if code is not None else entry.loaded if entry.state == "quarantined" else None

    async def load(self, plugin: str) -> Loaded:
        """Load a plugin's code as it is on disk, in a worker thread.

        Raises:
            PluginNotFoundError: There is no such plugin.
            PluginLoadError: The code raised, or took too long.
        """
        return await self._plugins.loader.load(self._living(plugin))

    def serving(self, plugin: str) -> Code | None:
        """Return the code that serves, read; ``None`` if none does.

        Raises:
            PluginNotFoundError: There is no such plugin.
        """
        return self._plugins.entry(plugin).code()

    def serving_generation(self, plugin: str) -> int:
        """Return the number of the generation that serves; 0 if none does, or there is no such plugin."""
        try:
            generation = self._plugins.entry(plugin).generation
        except PluginNotFoundError:
            return 0
        return 0 if generation is None else generation.identity.generation

    def serving_of(self, plugin: str, origin: object) -> Generation | None:
        """Return the generation that serves, restarted or not, if its code is of that origin; else ``None``."""
        try:
            entry = self._plugins.entry(plugin)
        except PluginNotFoundError:
            return None
        code = entry.code()
        return entry.generation if code is not None and code.loaded.origin is origin else None

    def read(self, plugin: str, loaded: Loaded) -> Code:
        """Read what loaded code declares.

        Raises:
            PluginNotFoundError: There is no such plugin.
            PluginLoadError: It cannot be used as it is.
        """
        return self._plugins.loader.read(self._living(plugin), loaded)

    async def prepare(self, plugin: str, code: Code) -> Candidate:
        """Make a generation of code that was loaded and read, and start it apart.

        Raises:
            PluginLoadError: It could not be configured or started; nothing of it is left but the loaded code.
        """
        generation = await self._plugins.make_generation(self._living(plugin), code.spec)
        return Candidate(code.loaded, code.spec, generation)

    @asynccontextmanager
    async def quiesced(self, plugin: str, *, timeout: float) -> AsyncGenerator[Generation | None]:
        """Hold new calls and events of a plugin back and let those in hand finish; let them go on at the end.

        Yields the generation that serves, ``None`` if none does. Calls held back go to whoever serves afterwards.

        Raises:
            TimeoutError: Calls in hand were not finished in time; everything goes on as before.
        """
        entry = self._plugins.entry(plugin)
        generation = entry.generation
        if generation is None:
            yield None
            return
        with ExitStack() as parking:
            try:
                with self._host.clock.move_on_after(timeout) as scope:
                    await generation.activity.pause()  # first, as an event in hand may call the plugin itself
                    parking.enter_context(self._host.bus.parked(generation.spec.tags))
                    await generation.wait_idle()
                if scope.cancelled_caught:
                    in_hand = "; ".join(generation.in_hand())
                    raise TimeoutError(f"its calls in hand were not finished after {timeout:g} s: {in_hand}")
                yield generation
            finally:
                if entry.generation is generation:
                    generation.activity.resume()

    def split(self, plugin: str, candidate: Candidate, *, share: float, key: str = "") -> tuple[Generation, Split]:
        """Have a candidate answer a share of the calls of each tag that the generation which serves answers, too.

        Returns that generation, and the split. It ends when either generation gives up its routes, or by ``unsplit``.

        Raises:
            PluginLoadError: Nothing serves.
            SplitKeyError: A request has no such field.
            ValueError: There is no such share.
        """
        serving = self._living(plugin).generation
        if serving is None:
            raise PluginLoadError(plugin, "swapping", "it does not serve")
        new = {route.tag: route for route in candidate.generation.routes}
        pairs = [(route, new[route.tag]) for route in serving.routes if route.tag in new]
        split = Split(pairs, share=share, key=key, salt=f"{plugin}@{candidate.generation.identity.generation}")
        self._host.bus.split(split)
        return serving, split

    def unsplit(self, split: Split) -> None:
        """Have the generation that serves answer all calls again; what the candidate has in hand, it finishes."""
        self._host.bus.unsplit(split)

    def is_split(self, split: Split) -> bool:
        """Whether a split is in force."""
        return split in self._host.bus.routing.splits()

    async def give_up(self, plugin: str, error: PluginLoadError) -> None:
        """Let nothing serve for a plugin whose generation was stopped and cannot be brought back."""
        entry = self._plugins.entry(plugin)
        generation = entry.generation
        if generation is not None:
            await self.retire(generation)
        self._plugins.fail(entry, error)

    async def retire(self, generation: Generation) -> None:
        """Stop a generation, bounded by its own deadlines and not to be cancelled: it has no routes any more."""
        with anyio.CancelScope(shield=True):
            await generation.stop()

    def _living(self, plugin: str) -> Entry:
        entry = self._plugins.entry(plugin)
        if entry.state == "stopped":
            raise PluginLoadError(plugin, "swapping", "it is being stopped")
        return entry

    def promote(self, plugin: str, candidate: Candidate) -> Generation | None:
        """Let a candidate take over, in one step without a wait, and return the generation to stop.

        Raises:
            RouteConflictError: Another plugin answers one of its tags.
            ServiceConflictError: Another plugin provides its service.
            PluginDefinitionError: The host is stopping. In all cases nothing has changed.
        """
        code = Code(candidate.loaded, candidate.spec)
        return self._plugins.promote(self._living(plugin), code, candidate.generation)
