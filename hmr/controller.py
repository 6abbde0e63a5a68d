"""The controller: swaps a plugin's code while it serves, on request or on save, or leaves everything as it was."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec

from aetherra.hmr.attempt import Attempt, Promise
from aetherra.hmr.disk import Disk
from aetherra.hmr.errors import SwapError
from aetherra.hmr.follower import Follower
from aetherra.hmr.messages import GetHmrStatus, HmrStatus, How, Reload, Rollback, Swapped, TakeIn, TakenIn
from aetherra.hmr.reporter import Reporter
from aetherra.kernel import Plugin, PluginContext, PluginNotFoundError, Settings, Swapper, handler
from aetherra.kernel.sources import Loaded
from aetherra.registry import Message


class HmrSettings(Settings):
    """Settings of hot swap.

    Attributes:
        watch: Whether saved files are swapped in by themselves.
        sources: Folders and files, relative to the project, whose plugins may be swapped; ``None`` means those
            of every plugin, an empty list none.
        drain_timeout: Seconds that the calls in a plugin's hands have to finish before a swap is given up.
    """

    watch: bool = False
    sources: tuple[str, ...] | None = None
    drain_timeout: float = 10.0


class HmrController(Plugin[HmrSettings]):
    """Swaps by the kernel's privilege ``kernel:swap``; a plugin like any other, but that it cannot swap itself."""

    name = "hmr"
    service = "hmr_controller"
    version = "1"
    capabilities = ("subscribe:service.*",)
    privileges = ("kernel:swap",)

    def __init__(self, settings: HmrSettings | None = None) -> None:
        super().__init__(settings)
        self._turns: dict[str, anyio.Lock] = {}
        self._earlier: dict[str, _Succession] = {}

    async def start(self, ctx: PluginContext) -> None:
        """Ask for the privilege, and watch if so set."""
        self._swapper: Swapper = ctx.privilege("kernel:swap")
        self._disk = Disk(self._swapper)
        self._follower = Follower(self._disk, ctx, self._allowed_places)
        self._reporter = Reporter(ctx)
        ctx.defer(self._give_up_ways_back)
        ctx.subscribe("service.*", self._on_services)
        if self.settings.watch:
            ctx.start_soon(self._follower.run)

    @handler
    async def reload(self, request: Reload) -> Swapped:
        """Swap in a plugin's code from disk."""
        async with self._turn(request.plugin):
            promise: Promise = "none" if request.force else "contract"
            return await self._reload(request.plugin, self._allowed_place(request.plugin), promise)

    @handler
    async def take_in(self, request: TakeIn) -> TakenIn:
        """Swap in a plugin's code from disk if it is news; asked in turn, so that no save is swapped in twice."""
        async with self._turn(request.plugin):
            place = self._allowed_place(request.plugin)
            news = place is not None and await self._disk.has_news(request.plugin, place)
            if news:
                await self._reload(request.plugin, place, "contract")
            return TakenIn(news)

    @handler
    async def roll_back(self, request: Rollback) -> Swapped:
        """Swap in the code that served before."""
        async with self._turn(request.plugin):
            succession = self._earlier.get(request.plugin)
            if succession is None or succession.code is not self._swapper.current(request.plugin):
                raise SwapError(request.plugin, "load_failed", "no earlier generation is kept in memory")
            return await self._swap(request.plugin, "rollback", succession.before, "tags")

    @handler
    async def report(self, _: GetHmrStatus) -> HmrStatus:
        """Tell what is watched and what was swapped."""
        watched = {name: str(place) for name, place in self._allowed_places().items()}
        return HmrStatus(self._follower.watching, watched, self._reporter.records)

    @asynccontextmanager
    async def _turn(self, plugin: str) -> AsyncGenerator[None]:
        """One swap at a time of one plugin; those of others go on beside it."""
        if plugin == self.name:
            raise SwapError(plugin, "source_not_allowed", "hot swap cannot swap itself; restart the host")
        self._swapper.current(plugin)  # says so if there is no such plugin
        async with self._turns.setdefault(plugin, anyio.Lock()):
            yield

    # Swapping

    async def _reload(self, plugin: str, place: Path | None, promise: Promise) -> Swapped:
        await self._disk.begin(plugin, place)
        swapped = await self._swap(plugin, "reload", None, promise)
        self._disk.succeed(plugin)
        return swapped

    async def _swap(self, plugin: str, how: How, earlier: Loaded | None, promise: Promise) -> Swapped:
        """Swap in ``earlier``, or what is on disk if that is ``None``."""
        begun = self.ctx.clock.monotonic()
        old_code = self._swapper.current(plugin)
        attempt = Attempt(self._swapper, plugin, drain_timeout=self.settings.drain_timeout, promise=promise)
        loaded = earlier
        try:
            loaded = earlier or await attempt.load()
            await attempt.swap(loaded)
        except BaseException as exc:
            if loaded is not None and loaded is not earlier:
                loaded.unload()
            if isinstance(exc, SwapError):
                await self._reporter.tell_failed(exc, how, self.ctx.clock.monotonic() - begun)
            raise
        assert attempt.new is not None
        self._remember(plugin, old_code, loaded)
        swapped = Swapped(
            plugin=plugin,
            old_generation=attempt.old.identity.generation if attempt.old is not None else 0,
            generation=attempt.new.identity.generation,
            seconds=self.ctx.clock.monotonic() - begun,
            how=how,
            changed=tuple(str(path) for path in _changed(old_code, loaded)),
        )
        await self._reporter.tell_swapped(swapped)
        await attempt.stop_old()
        return swapped

    def _remember(self, plugin: str, before: Loaded | None, code: Loaded) -> None:
        """Keep the code before this one, and let go of the one before that."""
        forgotten = self._earlier.pop(plugin, None)
        if before is not None:
            self._earlier[plugin] = _Succession(before, code)
        if forgotten is not None and forgotten.before is not code:
            forgotten.before.unload()

    # What may be swapped

    def _allowed_places(self) -> dict[str, Path]:
        places = {name: place for name, place in self._swapper.watched().items() if name != self.name}
        return {name: place for name, place in places.items() if self._allows(place)}

    def _allows(self, place: Path) -> bool:
        if self.settings.sources is None:
            return True
        allowed = {(self.ctx.root / source).resolve() for source in self.settings.sources}
        place = place.resolve()
        return not allowed.isdisjoint((place, *place.parents))

    def _allowed_place(self, plugin: str) -> Path | None:
        """Return where a plugin's code is; ``None`` if that is no file, which loading it will say.

        Raises:
            SwapError: It may not be swapped.
        """
        place = self._swapper.watched().get(plugin)
        sources = self.settings.sources
        if sources is not None and (place is None or not self._allows(place)):
            where = f"{place} is not below" if place is not None else "it comes from no file below"
            wanted = f"any of the allowed sources {', '.join(map(repr, sources))}" if sources else "an allowed source"
            raise SwapError(plugin, "source_not_allowed", f"{where} {wanted}")
        return place

    async def _on_services(self, _: Message) -> None:
        """Plugins came or went: there may be others to watch, and no way back to those that are gone."""
        self._follower.look_again()
        gone = [plugin for plugin, succession in self._earlier.items() if not self._serves(plugin, succession.code)]
        for plugin in gone:
            self._earlier.pop(plugin).before.unload()

    def _give_up_ways_back(self) -> None:
        for succession in self._earlier.values():
            succession.before.unload()

    def _serves(self, plugin: str, code: Loaded) -> bool:
        try:
            return self._swapper.current(plugin) is code
        except PluginNotFoundError:
            return False


class _Succession(msgspec.Struct, frozen=True):
    """The code that serves, and what served before it."""

    before: Loaded
    code: Loaded


def _changed(old: Loaded | None, new: Loaded) -> list[Path]:
    """Return the files that are not as before; none where the interpreter's own import left no snapshot to compare."""
    before = old.code.files if old is not None and old.code is not None else None
    after = new.code.files if new.code is not None else {}
    if before is None:
        return []
    return sorted(path for path, data in after.items() if before.get(path) != data)
