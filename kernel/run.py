"""The run of a kernel: its parts put together, started in order, and taken down again."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from aetherra.kernel.actions.dlq import FILE_NAME, DeadLetterQueue
from aetherra.kernel.actions.journal import Journal, Unfinished
from aetherra.kernel.actions.letter import DeadLetter
from aetherra.kernel.actions.limiter import ConcurrencyLimiter, GradientLimiter
from aetherra.kernel.actions.queue import ActionQueue
from aetherra.kernel.actions.redrive import Redriver
from aetherra.kernel.actions.resume import Resumption, without_buried
from aetherra.kernel.config import MOST_WORKERS, Config, KernelConfig
from aetherra.kernel.datadir import DataDir
from aetherra.kernel.host import HookCaller, Host
from aetherra.kernel.lifecycle import Lifecycle
from aetherra.kernel.manager import PluginManager
from aetherra.kernel.resources import ResourceOwner
from aetherra.kernel.service import KernelService
from aetherra.kernel.swap import Swapper
from aetherra.kernel.tasks import CANCEL_GRACE
from aetherra.kernel.watchdog import Watchdog, calls_in_hand, plugin_tasks
from aetherra.registry import Clock, ServiceRegistry, serve

log = logging.getLogger("aetherra.kernel")


class Parts:
    """What exists only while the kernel runs."""

    def __init__(
        self,
        actions: ActionQueue,
        plugins: PluginManager,
        lifecycle: Lifecycle,
        redriver: Redriver,
        service: KernelService,
    ) -> None:
        self.actions = actions
        self.plugins = plugins
        self.lifecycle = lifecycle
        self.redriver = redriver
        self.service = service


class Run:
    """The one time that a kernel runs, in a task of its own that a cancelled body does not reach.

    Args:
        config: The host's.
        registry: On which all is.
        hooks: The plugins' implementations.
        limiter: Finds out how many actions may run at a time; default is what the configuration says.

    Attributes:
        parts: What there is while it runs.
    """

    def __init__(
        self, config: Config, registry: ServiceRegistry, hooks: HookCaller, limiter: ConcurrencyLimiter | None
    ) -> None:
        self.parts: Parts | None = None
        self._config = config
        self._registry = registry
        self._clock: Clock = registry.bus.clock
        self._hooks = hooks
        self._limiter = limiter
        self._watchdog = Watchdog(registry.bus, threshold=config.kernel.block_threshold)
        self._entered = False

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Start everything before the body, and stop it after, whichever way that ends.

        Raises:
            HostRunningError: Another process holds the data directory.
            DataFileError: The data directory cannot be used.
        """
        if self._entered:
            raise RuntimeError("a kernel runs once; make another one")
        self._entered = True
        data_dir = None if self._config.data_dir is None else DataDir(self._config.data_dir).acquire()
        failure: BaseException | None = None
        try:
            life = _Life()
            async with anyio.create_task_group() as group:
                group.start_soon(self._live, data_dir, life)
                try:
                    await life.started.wait()
                    if life.failure is not None:
                        raise life.failure
                    yield
                except (anyio.get_cancelled_exc_class(), GeneratorExit):
                    raise
                except BaseException as exc:  # noqa: BLE001  # raised again below, not wrapped in the task group's own
                    failure = exc
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._end(life)
        finally:
            self.parts = None
            if data_dir is not None:
                data_dir.release()
        if failure is not None:
            raise failure

    async def _end(self, life: _Life) -> None:
        """Have the kernel's own task stop; whose code it still waits for after that time is named."""
        life.starting.cancel()
        life.stop.set()
        with self._clock.move_on_after(self._config.kernel.shutdown_timeout + CANCEL_GRACE):
            await life.ended.wait()
            return
        log.critical("the host cannot end, as this ignores its cancellation: %s", plugin_tasks())
        await life.ended.wait()

    async def _live(self, data_dir: DataDir | None, life: _Life) -> None:
        """Hold all of the kernel's tasks, out of reach of a cancelled body, until told to stop."""
        try:
            with anyio.CancelScope(shield=True):
                await self._hold(data_dir, life)
        except Exception as exc:
            if life.started.is_set():
                raise
            life.failure = exc
        finally:
            life.started.set()
            life.ended.set()

    async def _hold(self, data_dir: DataDir | None, life: _Life) -> None:
        dlq = await self._open_dlq(data_dir)
        journal, unfinished = self._open_journal(data_dir, dlq)
        stop_by = _Deadline(self._clock, self._config.kernel.shutdown_timeout)
        with ExitStack() as files:
            files.callback(dlq.close)
            if journal is not None:
                files.callback(journal.close)
            async with anyio.create_task_group() as group:
                self.parts = parts = self._assemble(group, dlq, journal)
                # Each in a task of its own, so that one that a plugin's code holds up can be left behind.
                queue, control = ResourceOwner(group, _report), ResourceOwner(group, _report)
                if self._config.kernel.telemetry == "opentelemetry":
                    self._watch_by_spans()
                group.start_soon(self._watchdog.run)
                group.start_soon(parts.service.check_heartbeats)
                with parts.service.serving():
                    try:
                        with life.starting:
                            await queue.enter(parts.actions.running(lambda: stop_by.remaining() / 2))
                            await parts.plugins.start_all()
                            if unfinished is not None:
                                resumption = Resumption(self._registry.bus, parts.actions)
                                resumption.begin(unfinished)
                                group.start_soon(resumption.run)
                            if data_dir is not None and self._config.kernel.control_socket:
                                await control.enter(serve(self._registry.bus, data_dir.socket))
                            life.started.set()
                        if life.started.is_set():
                            await life.stop.wait()
                    except Exception as exc:  # noqa: BLE001  # the body raises it, once all is stopped
                        life.failure = exc
                    parts.service.say_stopping()
                    await self._leave("the control socket", control, stop_by.remaining() / 4)
                    await self._leave("the action queue", queue, stop_by.remaining() * 3 / 4)
                    await parts.plugins.stop_all(stop_by.remaining())
                    await parts.plugins.retired.finish()
                group.cancel_scope.cancel()

    def _watch_by_spans(self) -> None:
        from aetherra.kernel.telemetry import Spans  # noqa: PLC0415  # an extra

        self._hooks.register(Spans(), "opentelemetry")

    def _assemble(self, group: TaskGroup, dlq: DeadLetterQueue, journal: Journal | None) -> Parts:
        actions = ActionQueue(
            self._registry.bus,
            dlq,
            lanes=self._config.kernel.lanes,
            workers=self._config.kernel.workers,
            journal=journal,
            limiter=self._limiter or _limiter(self._config.kernel),
            on_dead_letter=self._tell_dead_letter,
        )
        privileges: dict[str, Callable[[], object]] = {}
        host = Host(
            config=self._config,
            registry=self._registry,
            actions=actions,
            hooks=self._hooks,
            group=group,
            privileges=privileges,
        )
        plugins = PluginManager(host)
        privileges["kernel:swap"] = lambda: Swapper(host, plugins)
        lifecycle = Lifecycle(host, plugins)
        redriver = Redriver(self._registry.bus, actions, dlq)
        service = KernelService(
            config=self._config,
            registry=self._registry,
            actions=actions,
            hooks=self._hooks,
            plugins=plugins,
            lifecycle=lifecycle,
            redriver=redriver,
            watchdog=self._watchdog,
        )
        return Parts(actions, plugins, lifecycle, redriver, service)

    async def _leave(self, what: str, owner: ResourceOwner, seconds: float) -> None:
        with self._clock.move_on_after(seconds):
            await owner.close()
            return
        log.error("%s was not left after %g s, as this is in hand: %s", what, seconds, calls_in_hand())
        owner.abort()

    async def _open_dlq(self, data_dir: DataDir | None) -> DeadLetterQueue:
        if data_dir is None:
            return DeadLetterQueue(None)
        limits, sync = self._config.kernel.dlq, self._config.kernel.durability == "power"
        path = data_dir.path / FILE_NAME
        return await anyio.to_thread.run_sync(lambda: DeadLetterQueue(path, limits, sync=sync, now=self._clock.time))

    def _open_journal(self, data_dir: DataDir | None, dlq: DeadLetterQueue) -> tuple[Journal | None, Unfinished | None]:
        durability = self._config.kernel.durability
        if data_dir is None or durability == "none":
            return None, None
        journal = Journal(data_dir.path, self._clock, sync=durability == "power")
        unfinished = without_buried(journal, dlq, journal.open())
        if unfinished.actions:
            log.info("%d actions of the last run were not finished; they are taken up again", len(unfinished.actions))
        if journal.unreadable:
            log.error("%d lines of the journal are no records; they are kept beside it", journal.unreadable)
        return journal, unfinished

    def _tell_dead_letter(self, letter: DeadLetter) -> None:
        for _ in self._hooks.call("dead_letter", letter=letter):
            pass


def _limiter(limits: KernelConfig) -> ConcurrencyLimiter | None:
    if limits.limiter == "none":
        return None
    return GradientLimiter(start=min(8, limits.workers), most=MOST_WORKERS)  # the workers bound it, too


def _report(what: str, fault: BaseException) -> None:
    log.error("%s failed", what, exc_info=fault)


class _Life:
    """How the body and the kernel's own task tell each other where they are."""

    def __init__(self) -> None:
        self.starting = anyio.CancelScope()
        self.started = anyio.Event()
        self.stop = anyio.Event()
        self.ended = anyio.Event()
        self.failure: BaseException | None = None


class _Deadline:
    """What is left of the time for stopping, from when it is first asked."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._at: float | None = None

    def remaining(self) -> float:
        now = self._clock.monotonic()
        if self._at is None:
            self._at = now + self._seconds
        return max(0.0, self._at - now)
