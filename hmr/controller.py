"""The controller: swaps a plugin's code while it serves, on request or on save, or leaves everything as it was."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated

import anyio
import anyio.to_thread
import msgspec

from aetherra.hmr.allowed import AllowedSources
from aetherra.hmr.attempt import Attempt, Promise
from aetherra.hmr.canary import Trial
from aetherra.hmr.disk import Disk, News
from aetherra.hmr.errors import OvertakenError, SwapError
from aetherra.hmr.files import PluginFiles
from aetherra.hmr.folders import PluginFolders
from aetherra.hmr.follower import Follower
from aetherra.hmr.handover import Handover
from aetherra.hmr.messages import (
    Abort,
    Canary,
    CanaryStatus,
    GetCanary,
    GetHmrStatus,
    HmrStatus,
    How,
    Promote,
    Reload,
    Rollback,
    Swapped,
    TakeIn,
    TakenIn,
)
from aetherra.hmr.probation import Probation, Terms
from aetherra.hmr.reporter import Reporter
from aetherra.hmr.trials import Trials
from aetherra.hmr.way_back import WaysBack
from aetherra.kernel import Candidate, Plugin, PluginContext, PluginNotFoundError, Settings, Swapper, handler
from aetherra.kernel.sources import Loaded
from aetherra.kernel.state import Parcel
from aetherra.registry import Message

WRITTEN_SEC = 0.05
"""Seconds at least between two looks at files that are being written for long."""
BUSY_FACTOR = 5.0
"""How many times as long as calls in hand were waited for they are left alone before the next try."""
RETIRE_PATIENCE_SEC = 0.5
"""How long a swap waits for the end of what served before; it ends by itself then."""


class HmrSettings(Settings):
    """Settings of hot swap.

    Attributes:
        watch: Whether saved files are swapped in by themselves.
        sources: Folders and files, relative to the project, whose plugins may be swapped; ``None`` means those
            of every plugin, an empty list none. With ``watch``, a plugin that is put into one of the folders is brought
            up, and one whose file is taken out is stopped.
        quiet: Seconds that saved files must have been left alone before they are loaded.
        poll_interval: Seconds between two looks at all files, for network and container file systems that tell of no
            change; 0 to have the system tell.
        drain_timeout: Seconds that the calls in a plugin's hands have to finish before a swap is given up.
        watch_period: Seconds after a swap in which the failures of the new code bring back the old; 0 for none.
        max_error_rate: The share of calls that may fail in that time, where the old code did no worse.
        min_calls: Calls that it takes to tell.
    """

    watch: bool = False
    sources: tuple[str, ...] | None = None
    quiet: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.002
    poll_interval: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    drain_timeout: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0
    watch_period: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 30.0
    max_error_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    min_calls: Annotated[int, msgspec.Meta(ge=1)] = 10


class HmrController(Plugin[HmrSettings]):
    """Swaps by the kernel's privilege ``kernel:swap``; a plugin like any other, but that it cannot swap itself."""

    name = "hmr"
    service = "hmr_controller"
    version = "1"
    capabilities = ("subscribe:service.*",)
    privileges = ("kernel:swap",)

    def __init__(self, settings: HmrSettings | None = None) -> None:
        super().__init__(settings)
        self._ways_back = WaysBack()
        self._orphans: dict[str, Parcel] = {}
        self._watches: dict[str, anyio.CancelScope] = {}

    async def start(self, ctx: PluginContext) -> None:
        """Ask for the privilege, and watch if so set."""
        self._swapper: Swapper = ctx.privilege("kernel:swap")
        files = PluginFiles(self._swapper)
        self._disk = Disk(files, self.settings.quiet)
        self._reporter = Reporter(ctx)
        self._allowed = AllowedSources(self._swapper, self.settings.sources, ctx.root, self.name)
        folders = PluginFolders(self._swapper, self._allowed.folders(), ctx.log, quiet=self.settings.quiet)
        self._follower = Follower(
            self._disk, files, folders, ctx, self._allowed.places, poll_interval=self.settings.poll_interval
        )
        self._trials = Trials(ctx, drain_timeout=self.settings.drain_timeout, over=self._follower.look_at)
        ctx.defer(self._ways_back.give_up)
        ctx.subscribe("service.*", self._on_services)
        if self.settings.watch:
            ctx.start_soon(self._follower.run)
            ctx.start_soon(anyio.to_thread.run_sync, import_module, "aetherra.hmr.promises")  # the first save needs it

    async def stop(self) -> None:
        """Leave no candidate behind."""
        await self._trials.abort_all()

    @handler
    async def reload(self, request: Reload) -> Swapped:
        """Swap in a plugin's code from disk."""
        async with self._turn(request.plugin):
            self._trials.refuse(request.plugin, "reload it")
            return await self._reload(request.plugin, self._allowed.place(request.plugin), force=request.force)

    @handler
    async def take_in(self, request: TakeIn) -> TakenIn:
        """Swap in a plugin's code from disk if it is news; asked in turn, so that no save is swapped in twice."""
        async with self._turn(request.plugin):
            if self._trials.put_off(request.plugin):
                return TakenIn(False)
            place = self._allowed.place(request.plugin)
            while place is not None and (news := await self._disk.news(request.plugin, place)) is not None:
                if news.pause:
                    return TakenIn(news=False, again_in=max(news.pause, WRITTEN_SEC))
                if self._disk.is_what_serves(request.plugin, news):
                    await self._disk.begin(request.plugin, place, news)
                    await self._disk.succeed(request.plugin, place)
                    self.ctx.log.info("%s was saved as it serves, and serves on", request.plugin)
                    break
                try:
                    await self._reload(request.plugin, place, news)
                except OvertakenError:
                    continue
                except SwapError as exc:
                    if exc.code != "quiesce_timeout":
                        raise
                    return TakenIn(news=False, again_in=self._again_after_busy(request.plugin))
                return TakenIn(True)
            return TakenIn(False)

    @handler
    async def roll_back(self, request: Rollback) -> Swapped:
        """Swap in the code that served before."""
        async with self._turn(request.plugin):
            self._trials.refuse(request.plugin, "roll it back")
            return await self._roll_back(request.plugin, force=request.force, reason=request.reason)

    @handler
    async def try_out(self, request: Canary) -> CanaryStatus:
        """Have a candidate answer a share of a plugin's calls, or another share."""
        async with self._turn(request.plugin):
            trial = self._trials.get(request.plugin)
            if trial is None:
                return await self._begin_trial(request)
            trial.change(request.share, request.key)
            return self._trials.tell(trial)

    @handler
    async def promote(self, request: Promote) -> Swapped:
        """Have the candidate of a canary serve alone."""
        async with self._turn(request.plugin):
            trial = self._trials.find(request.plugin)
            try:
                return await self._swap(trial, trial.loaded)
            finally:
                self._trials.let_go(trial)

    @handler
    async def abort(self, request: Abort) -> CanaryStatus:
        """Stop the candidate of a canary."""
        async with self._turn(request.plugin):
            return await self._trials.abort(request.plugin)

    @handler
    async def report_canary(self, request: GetCanary) -> CanaryStatus:
        """Tell how a canary fares."""
        return self._trials.find(request.plugin).status()

    @handler
    async def report(self, request: GetHmrStatus) -> HmrStatus:
        """Tell what is watched and what was swapped."""
        watched = {name: str(place) for name, place in self._allowed.places().items()}
        return HmrStatus(self._follower.watching, watched, self._reporter.records(request.plugin))

    @asynccontextmanager
    async def _turn(self, plugin: str) -> AsyncGenerator[None]:
        """One swap or restart at a time of one plugin; those of others go on beside it."""
        if plugin == self.name:
            raise SwapError(plugin, "source_not_allowed", "hot swap cannot swap itself; restart the host")
        async with self._swapper.turn(plugin):
            yield

    # Swapping

    async def _reload(
        self, plugin: str, place: Path | None, news: News | None = None, *, force: bool = False
    ) -> Swapped:
        """Swap in what is on disk, as long as it is what was found there, if that is given."""
        await self._disk.begin(plugin, place, news)

        async def current(loaded: Loaded) -> bool:
            return news is None or await self._disk.still(news, loaded)

        handover = Handover(kept=self._orphans.get(plugin), lossy=force)
        attempt = self._attempt(plugin, "reload", "none" if force else "contract", handover, current)
        try:
            swapped = await self._swap(attempt, None, changed=news.changed if news is not None else ())
        except BaseException as exc:
            if attempt.new is None and (not isinstance(exc, SwapError) or exc.code == "quiesce_timeout"):
                self._disk.undo(plugin)
            raise
        await self._disk.succeed(plugin, place)
        return swapped

    def _again_after_busy(self, plugin: str) -> float:
        """Return in how many seconds to try again what calls in hand held up; each try holds others back."""
        seconds = min(max(1.0, BUSY_FACTOR * self.settings.drain_timeout), 60.0)
        self.ctx.log.info("%s is tried again in %g s, or at its next save", plugin, seconds)
        return seconds

    async def _begin_trial(self, request: Canary) -> CanaryStatus:
        plugin, begun = request.plugin, self.ctx.clock.monotonic()
        place = self._allowed.place(plugin)
        await self._disk.begin(plugin, place)
        trial = Trial(
            self._swapper,
            plugin,
            self.ctx.clock,
            drain_timeout=self.settings.drain_timeout,
            prepared=self._tell_prepared(plugin, "canary"),
        )
        loaded: Loaded | None = None
        try:
            loaded = await trial.load()
            await trial.begin(loaded, request.share, request.key)
        except BaseException as exc:
            if isinstance(exc, SwapError):
                await self._tell_failed(exc, "canary", begun, loaded)
            else:
                self._disk.undo(plugin)
            if loaded is not None:
                loaded.unload()
            raise
        status = self._trials.keep(trial)  # before anything is waited for: it answers calls by now
        await self._disk.succeed(plugin, place)
        return status

    def _tell_prepared(self, plugin: str, how: How) -> Callable[[Candidate], None]:
        return lambda candidate: self._reporter.tell_prepared(plugin, candidate.generation.identity.generation, how)

    async def _tell_failed(self, error: SwapError, how: How, begun: float, loaded: Loaded | None) -> None:
        seconds, serving = self.ctx.clock.monotonic() - begun, self._swapper.serving_generation(error.plugin)
        await self._reporter.tell_failed(error, how, seconds, serving, loaded.digest if loaded is not None else "")

    async def _roll_back(self, plugin: str, *, force: bool, reason: str, automatic: bool = False) -> Swapped:
        way = self._ways_back.find(plugin, self._swapper.current(plugin))
        if way is None:
            raise SwapError(plugin, "load_failed", "no earlier generation is kept in memory")
        handover = Handover(kept=way.parcel if force else None, as_kept=force)
        swapped = await self._swap(
            self._attempt(plugin, "rollback", "none", handover), way.before, automatic=automatic, reason=reason
        )
        await self._disk.succeed(plugin, self._swapper.watched().get(plugin))
        return swapped

    def _attempt(
        self,
        plugin: str,
        how: How,
        promise: Promise,
        handover: Handover,
        current: Callable[[Loaded], Awaitable[bool]] | None = None,
    ) -> Attempt:
        return Attempt(
            self._swapper,
            plugin,
            how,
            drain_timeout=self.settings.drain_timeout,
            promise=promise,
            prepared=self._tell_prepared(plugin, how),
            current=current,
            handover=handover,
        )

    async def _swap(
        self,
        attempt: Attempt,
        earlier: Loaded | None,
        *,
        changed: tuple[Path, ...] = (),
        automatic: bool = False,
        reason: str = "",
    ) -> Swapped:
        """Swap in ``earlier``, or what is on disk if that is ``None``."""
        begun = self.ctx.clock.monotonic()
        plugin, how = attempt.plugin, attempt.how
        old_code = self._swapper.current(plugin)
        loaded = earlier
        try:
            loaded = earlier or await attempt.load()
            await attempt.swap(loaded)
        except BaseException as exc:
            if isinstance(exc, SwapError):
                if exc.down and attempt.handover.handed_over is not None:
                    self._orphans[plugin] = attempt.handover.handed_over
                await self._tell_failed(exc, how, begun, loaded)
            if loaded is not None and loaded is not earlier:
                loaded.unload()
            raise
        assert attempt.new is not None
        if (former := self._watches.pop(plugin, None)) is not None:
            former.cancel()
        restarted = partial(self._swapper.serving_of, plugin, loaded.origin)
        probation = Probation(attempt.new, attempt.old, self._terms(), self.ctx.clock, restarted)
        self._ways_back.remember(plugin, old_code, loaded, attempt.handover.handed_over)
        self._orphans.pop(plugin, None)
        files = {*changed, *_changed(old_code, loaded)}
        swapped = Swapped(
            plugin=plugin,
            old_generation=attempt.old.identity.generation if attempt.old is not None else 0,
            generation=attempt.new.identity.generation,
            seconds=self.ctx.clock.monotonic() - begun,
            how=how,
            changed=tuple(sorted(str(path) for path in files)) if how != "rollback" else (),
        )
        reason = "; ".join(filter(None, (reason, attempt.handover.lost)))
        self._retire(attempt)
        await self._reporter.tell_swapped(swapped, loaded.digest, automatic=automatic, reason=reason)
        with anyio.move_on_after(RETIRE_PATIENCE_SEC):
            await attempt.retired.wait()
        if how != "rollback" and attempt.old is not None and self.settings.watch_period:
            self.ctx.start_soon(self._watch_over, plugin, probation)
        return swapped

    def _retire(self, attempt: Attempt) -> None:
        """Have what served before stopped, beside the next swap if it takes its time."""
        self.ctx.start_soon(attempt.stop_old)

    def _terms(self) -> Terms:
        settings = self.settings
        return Terms(settings.watch_period, settings.max_error_rate, settings.min_calls)

    async def _watch_over(self, plugin: str, probation: Probation) -> None:
        """Bring the code before back if a generation fails in its first time; with the latest state if it can."""
        failure = ""
        with anyio.CancelScope() as self._watches[plugin]:
            failure = await probation.run()
        if not failure:
            return
        async with self._turn(plugin):
            for force in (False, True):
                if not probation.serves():
                    return
                try:
                    await self._roll_back(plugin, force=force, reason=failure, automatic=True)
                except SwapError as exc:  # told already
                    if exc.code != "state_import_failed":
                        return

    async def _on_services(self, _: Message) -> None:
        """Plugins came or went: there may be others to watch, and nothing to be kept for those that are gone."""
        self._follower.look_again()
        self._trials.abort_orphans()
        self._ways_back.keep_only(self._serves)
        for kept in (self._watches, self._orphans):
            for plugin in [plugin for plugin in kept if not self._is_there(plugin)]:
                del kept[plugin]

    def _is_there(self, plugin: str) -> bool:
        try:
            self._swapper.current(plugin)
        except PluginNotFoundError:
            return False
        return True

    def _serves(self, plugin: str, origin: object) -> bool:
        try:
            current = self._swapper.current(plugin)
        except PluginNotFoundError:
            return False
        return current is not None and current.origin is origin


def _changed(old: Loaded | None, new: Loaded) -> list[Path]:
    """Return the files that are not as before; none where the interpreter's own import left no snapshot to compare."""
    before = old.code.files if old is not None and old.code is not None else None
    after = new.code.files if new.code is not None else {}
    if before is None:
        return []
    return sorted(path for path, data in after.items() if before.get(path) != data)
