"""The controller: swaps a plugin's code while it serves, or leaves everything as it was."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import msgspec

from aetherra.hmr.errors import SwapCode, SwapError
from aetherra.hmr.messages import (
    GetHmrStatus,
    HmrStatus,
    Reload,
    Rollback,
    SwapFailed,
    Swapped,
    SwapRecord,
)
from aetherra.hmr.watcher import Watcher, fingerprints, python_files, settled_fingerprints
from aetherra.kernel import Candidate, Plugin, PluginContext, PluginLoadError, Settings, Swapper, handler
from aetherra.kernel.generation import Generation
from aetherra.kernel.sources import Loaded
from aetherra.registry import AetherraError, HandlerError

HISTORY = 200
"""Swaps that ``hmr.status`` remembers."""


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
    privileges = ("kernel:swap",)

    def __init__(self, settings: HmrSettings | None = None) -> None:
        super().__init__(settings)
        self._locks: dict[str, anyio.Lock] = {}
        self._previous: dict[str, Loaded] = {}
        self._seen: dict[str, dict[Path, str]] = {}
        self._swaps: deque[SwapRecord] = deque(maxlen=HISTORY)
        self._watcher: Watcher | None = None
        self._rewatch = anyio.Event()
        self._stopping = False

    async def start(self, ctx: PluginContext) -> None:
        """Ask for the privilege, and watch if so set."""
        self._swapper: Swapper = ctx.privilege("kernel:swap")
        if self.settings.watch:
            ctx.start_soon(self._watch)
            ctx.subscribe("service.*", self._on_services)

    async def stop(self) -> None:
        """Stop watching."""
        self._stopping = True
        if self._watcher is not None:
            self._watcher.stop()

    @handler
    async def reload(self, request: Reload) -> Swapped:
        """Swap in a plugin's code from disk."""
        async with self._lock(request.plugin):
            return await self._reload(request.plugin)

    @handler
    async def roll_back(self, request: Rollback) -> Swapped:
        """Swap in the code that served before."""
        async with self._lock(request.plugin):
            previous = self._previous.get(request.plugin)
            if previous is None:
                raise SwapError(request.plugin, "load_failed", "no earlier generation is kept in memory")
            return await self._swap(request.plugin, "rollback", previous)

    @handler
    async def report(self, _: GetHmrStatus) -> HmrStatus:
        """Tell what is watched and what was swapped."""
        watched = {name: str(path) for name, path in self._allowed().items()}
        return HmrStatus(self._watcher is not None, watched, tuple(self._swaps))

    @asynccontextmanager
    async def _lock(self, plugin: str) -> AsyncGenerator[None]:
        if plugin == self.name:
            raise SwapError(plugin, "source_not_allowed", "hot swap cannot swap itself; restart the host")
        self._swapper.current(plugin)  # says so if there is no such plugin
        async with self._locks.setdefault(plugin, anyio.Lock()):
            yield

    # Swapping

    async def _reload(self, plugin: str) -> Swapped:
        if plugin not in self._allowed():
            raise SwapError(
                plugin, "source_not_allowed", f"its source is not among the allowed ones {self.settings.sources}"
            )
        try:
            loaded = await self._swapper.load(plugin)
        except PluginLoadError as exc:
            raise await self._failed(plugin, "reload", "load_failed", exc) from exc
        return await self._swap(plugin, "reload", loaded)

    async def _swap(self, plugin: str, how: Literal["reload", "rollback"], loaded: Loaded) -> Swapped:
        begun = self.ctx.clock.monotonic()
        old_code = self._swapper.current(plugin)
        code: SwapCode = "probe_failed"
        candidate: Candidate | None = None
        try:
            candidate = await self._swapper.prepare(plugin, loaded)
            await candidate.generation.self_test()
            code = "quiesce_timeout"
            async with self._swapper.quiesced(plugin, timeout=self.settings.drain_timeout) as serving:
                code = "probe_failed"
                self._refuse_lost_tags(serving, candidate)
                code = "state_import_failed"
                await self._hand_over(serving, candidate)
                code = "post_swap_failed"
                old = self._swapper.promote(plugin, candidate)
        except BaseException as exc:
            with anyio.CancelScope(shield=True):
                if candidate is not None:
                    await self._swapper.discard(candidate)
                if loaded is not self._previous.get(plugin):
                    loaded.unload()
                if isinstance(exc, (Exception, SystemExit)):
                    raise await self._failed(plugin, how, code, exc) from exc
            raise
        if old is not None:
            await old.stop()
        self._remember(plugin, old_code, loaded)
        swapped = Swapped(
            plugin=plugin,
            old_generation=old.identity.generation if old is not None else 0,
            generation=candidate.generation.identity.generation,
            seconds=self.ctx.clock.monotonic() - begun,
            how=how,
            changed=tuple(str(path) for path in _changed(old_code, loaded)),
        )
        await self._report(swapped)
        return swapped

    @staticmethod
    def _refuse_lost_tags(serving: Generation | None, candidate: Candidate) -> None:
        lost = set(serving.spec.tags if serving is not None else ()) - set(candidate.spec.tags)
        if lost:
            raise ValueError(f"the new code does not answer {', '.join(sorted(lost))} any more")

    @staticmethod
    async def _hand_over(serving: Generation | None, candidate: Candidate) -> None:
        """Carry the state over by its encoded bytes, so that nothing of the old code comes along."""
        state: Any = await serving.hand_over() if serving is not None else None
        if state is None:
            return
        if candidate.spec.state_type is None:
            raise ValueError(f"the old code hands over a {type(state).__name__}, and the new has no take_over()")
        data = msgspec.msgpack.encode(state)
        await candidate.generation.take_over(msgspec.msgpack.decode(data, type=candidate.spec.state_type))

    def _remember(self, plugin: str, old_code: Loaded | None, new_code: Loaded) -> None:
        """Keep the code before this one, and let go of the one before that."""
        forgotten = self._previous.pop(plugin, None)
        if old_code is not None:
            self._previous[plugin] = old_code
        if forgotten is not None and forgotten not in (old_code, new_code):
            forgotten.unload()

    async def _failed(
        self, plugin: str, how: Literal["reload", "rollback"], code: SwapCode, cause: BaseException
    ) -> SwapError:
        problem = cause.problem if isinstance(cause, PluginLoadError) else f"{type(cause).__name__}: {cause}"
        self._swaps.append(SwapRecord(self.ctx.clock.time(), plugin, how, "failed", 0, 0.0, f"{code}: {problem}"))
        self.ctx.log.warning("%s kept as it was: %s: %s", plugin, code, problem)
        await self.ctx.publish(SwapFailed(plugin, code, problem))
        return SwapError(plugin, code, problem)

    async def _report(self, swapped: Swapped) -> None:
        record = SwapRecord(
            self.ctx.clock.time(), swapped.plugin, swapped.how, "swapped", swapped.generation, swapped.seconds
        )
        self._swaps.append(record)
        self.ctx.log.info(
            "%s swapped by %s: generation %d -> %d in %.1f ms",
            swapped.plugin,
            swapped.how,
            swapped.old_generation,
            swapped.generation,
            swapped.seconds * 1000,
        )
        await self.ctx.publish(swapped)

    # Watching

    def _allowed(self) -> dict[str, Path]:
        watched = {name: path for name, path in self._swapper.watched().items() if name != self.name}
        if self.settings.sources is None:
            return watched
        allowed = [(self.ctx.root / source).resolve() for source in self.settings.sources]
        return {
            name: path
            for name, path in watched.items()
            if any(path.resolve() == source or source in path.resolve().parents for source in allowed)
        }

    async def _on_services(self, _: Any) -> None:
        """Plugins came or went: what is watched may be another set."""
        self._rewatch.set()
        if self._watcher is not None and set(self._allowed()) != set(self._seen):
            self._watcher.stop()

    async def _watch(self) -> None:
        while not self._stopping:
            allowed = self._allowed()
            self._seen = {name: fingerprints(self._files(name, path)) for name, path in allowed.items()}
            self._watcher = Watcher()
            if not allowed:
                self._rewatch = anyio.Event()
                await self._rewatch.wait()
                continue
            async for changed in self._watcher.changes(allowed.values()):
                await self._react(changed, allowed)

    def _files(self, plugin: str, path: Path) -> list[Path]:
        """The files whose content decides: those of the package, or those that the single file has imported."""
        loaded = self._swapper.current(plugin)
        imported = list(loaded.code.files) if loaded is not None and loaded.code is not None else []
        return sorted({*python_files(path), *imported})

    async def _react(self, changed: set[Path], allowed: dict[str, Path]) -> None:
        for plugin, path in allowed.items():
            files = self._files(plugin, path)
            if not changed & set(files) and not any(path in file.parents for file in changed):
                continue
            now = await settled_fingerprints(files)
            if not now or now == self._seen.get(plugin):
                continue
            self._seen[plugin] = now
            try:
                await self.ctx.call(Reload(plugin), timeout=60.0)
            except HandlerError as exc:
                self.ctx.log.debug("%s was not swapped: %s", plugin, exc.cause)
            except AetherraError as exc:
                self.ctx.log.warning("%s was not swapped: %s", plugin, exc)


def _changed(old: Loaded | None, new: Loaded) -> list[Path]:
    before = old.code.files if old is not None and old.code is not None else {}
    after = new.code.files if new.code is not None else {}
    return sorted(path for path, data in after.items() if before.get(path) != data)
