"""The kernel: what an embedding application holds, and calls, submits, adds plugins and asks by."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

import anyio.to_thread
from anyio import AsyncContextManagerMixin

from aetherra.kernel.actions.envelope import ActionEnvelope
from aetherra.kernel.actions.handle import ActionHandle
from aetherra.kernel.actions.lanes import LaneBounds
from aetherra.kernel.actions.letter import Choice, DeadLetter
from aetherra.kernel.actions.limiter import ConcurrencyLimiter
from aetherra.kernel.actions.redrive import RedriveReport
from aetherra.kernel.actions.submission import Submission
from aetherra.kernel.config import Config
from aetherra.kernel.entry import PluginInfo
from aetherra.kernel.errors import KernelNotRunningError, PluginDefinitionError
from aetherra.kernel.host import HookCaller
from aetherra.kernel.messages import Health, KernelStatistics, PluginDisabled, PluginEnabled, PluginRestarted
from aetherra.kernel.plugin import Plugin, Settings
from aetherra.kernel.run import Parts, Run
from aetherra.kernel.sources import ClassSource
from aetherra.registry import HOST, Bus, Clock, Message, Overflow, Request, ServiceRegistry, Subscription

if TYPE_CHECKING:
    from aetherra.kernel.blocking import BlockingKernel

ReplyT = TypeVar("ReplyT")
MessageT = TypeVar("MessageT", bound=Message)


class Kernel(AsyncContextManagerMixin):
    """A plugin host, for as long as its ``async with`` block lasts, on asyncio or trio; each runs once.

    ``Kernel()`` alone has no plugins and writes nothing to disk. Leaving the block stops everything, also when its body
    was cancelled or raised: no new work, actions in hand finished, plugins stopped, all bounded by
    ``shutdown_timeout``.

    Args:
        config: As from ``Config.load``.
        clock: Where the host's time comes from; tests inject ``FakeClock``.
        limiter: Finds out how many actions may run at a time, ``workers`` at most; default is what ``limiter`` in the
            configuration says.

    Raises:
        HostRunningError: On entering: another process holds the data directory.
        DataFileError: On entering: the data directory cannot be used.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        clock: Clock | None = None,
        limiter: ConcurrencyLimiter | None = None,
    ) -> None:
        self.config = config or Config.in_memory()
        limits = self.config.kernel
        self.bus = Bus(
            clock=clock,
            default_timeout=limits.default_timeout,
            capabilities=self.config.capabilities(),
            slow_call=limits.slow_call,
        )
        self.registry = ServiceRegistry(self.bus)
        self._caller = self.bus.caller(HOST)
        self._hooks = HookCaller(self.bus)
        self._run = Run(self.config, self.registry, self._hooks, limiter)

    @classmethod
    def blocking(
        cls, config: Config | None = None, *, backend: str = "asyncio"
    ) -> AbstractContextManager[BlockingKernel]:
        """The same for hosts that are not async: a kernel on an event loop in a thread of its own."""
        from aetherra.kernel.blocking import run_blocking  # noqa: PLC0415  # it builds on this class

        return run_blocking(config, backend)

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        async with self._run.running():
            yield self

    def _running(self) -> Parts:
        parts = self._run.parts
        if parts is None:
            raise KernelNotRunningError
        return parts

    # Messages

    def call(self, request: Request[ReplyT], *, timeout: float | None = None) -> Coroutine[Any, Any, ReplyT]:
        """Call the one handler of a request's tag and return its reply, when awaited.

        Cancelled, it cancels the handler. ``timeout`` in seconds; ``None`` means ``default_timeout``.

        Raises:
            NoHandlerError: Nothing answers this tag.
            CallTimeoutError: No reply in time; the handler was cancelled.
            HandlerError: The handler raised; ``__cause__`` is what.
            AetherraError: As ``Caller.call``.
        """
        if self._run.parts is None:
            raise KernelNotRunningError
        return self._caller.call(request, timeout=timeout)

    async def call_tag(self, tag: str, body: Any = None, *, timeout: float | None = None) -> Any:
        """Call by name, builtins in and builtins out.

        Raises:
            MessageValidationError: ``body`` does not fit the request; the text holds the path of the field.
            AetherraError: As ``call``.
        """
        self._running()
        return await self._caller.call_tag(tag, body, timeout=timeout)

    async def publish(self, event: Message, *, retain: bool = False) -> int:
        """Publish an event and return how many subscribers' mailboxes kept it; see ``Caller.publish``."""
        self._running()
        return await self._caller.publish(event, retain=retain)

    @overload
    def subscribe(
        self, what: type[MessageT], *, capacity: int = ..., overflow: Overflow = ...
    ) -> Subscription[MessageT]: ...
    @overload
    def subscribe(self, what: str, *, capacity: int = ..., overflow: Overflow = ...) -> Subscription[Message]: ...
    def subscribe(self, what: Any, *, capacity: int = 1000, overflow: Overflow = "drop_oldest") -> Subscription[Any]:
        """Hear events: ``with kernel.subscribe(Hello) as events: async for event in events: ...``."""
        self._running()
        return self._caller.listen(what, capacity=capacity, overflow=overflow)

    async def wait_for(
        self, what: type[MessageT], *, where: Callable[[MessageT], bool] | None = None, timeout: float | None = None
    ) -> MessageT:
        """Return the next event of a class for which ``where`` holds; a retained one counts.

        Raises:
            CallTimeoutError: There was none within ``timeout`` seconds (default: ``default_timeout``).
        """
        self._running()
        return await self._caller.wait_for(what, where=where, timeout=timeout)

    # Actions

    def submit(
        self, request: Request[ReplyT], **options: Unpack[Submission]
    ) -> Coroutine[Any, Any, ActionHandle[ReplyT]]:
        """Have a request done through the queue; when awaited, it is accepted, and in the journal where there is one.

        Cancelled while it waits for room, or for the disk, it has not accepted it.

        Args:
            request: What to do.
            **options: ``priority``, ``deadline``, ``timeout``, ``retry``, ``target``, ``idempotency_key``,
                ``idempotency_window`` and ``wait_for_room``, as ``Submission`` explains them.

        Raises:
            ActionQueueFullError: Its lane has no room; the refusal is counted and dead-lettered.
            ActionExpiredError: The deadline is not in the future; dead-lettered.
            ActionCancelledError: The host is stopping; dead-lettered.
            DataFileError: The journal cannot be written; the action was not accepted.
            MessageValidationError: The journal cannot hold the request; the action was not accepted.
        """
        return self._running().actions.submit(request, **options)

    async def submit_and_wait(self, request: Request[ReplyT], **options: Unpack[Submission]) -> ReplyT:
        """Have a request done through the queue and return its reply; a cancelled call leaves the action be.

        Raises:
            AetherraError: As ``submit``, and what dead-lettered the action.
        """
        return await (await self.submit(request, **options)).wait()

    async def submit_action(self, envelope: ActionEnvelope, *, wait_for_room: float = 0.0) -> ActionHandle[Any]:
        """Have a ready envelope done; see ``submit``. One whose action is not finished yet gets the handle it has."""
        return await self._running().actions.submit_envelope(envelope, wait_for_room=wait_for_room)

    def set_workers(self, workers: int) -> None:
        """Change how many actions may run at a time; those that run beyond it are let finish.

        Raises:
            ValueError: They are fewer than 1, or more than 1,000.
        """
        self._running().actions.tune(workers=workers)

    def set_lane(
        self, name: str, *, capacity: int | None = None, weight: int | None = None, shed: bool | None = None
    ) -> None:
        """Change a lane's bounds; what waits in it stays, also beyond them.

        One that is ``shed`` refuses newcomers and starts nothing of what waits, until it is shed no more.

        Raises:
            ValueError: There is no such lane, or a bound is less than 1.
        """
        self._running().actions.tune(lanes={name: LaneBounds(capacity, weight, shed)})

    def set_default_timeout(self, seconds: float) -> None:
        """Change how long calls and attempts may take that name no timeout, from the next call or submission on.

        Raises:
            TypeError, ValueError: It is no number of seconds, not more than 0, or more than a year.
        """
        self._running()
        self.bus.set_default_timeout(seconds)

    async def get_dlq_items(
        self,
        limit: int = 100,
        *,
        reason: str | None = None,
        action_type: str | None = None,
        since: float | None = None,
        before: float | None = None,
        parked: bool = False,
    ) -> list[DeadLetter]:
        """Return the newest dead letters that fit all that is given, newest first; times are Unix times.

        Those that are ``parked``, or else the others.

        Raises:
            DataFileError: A file of theirs cannot be read.
        """
        read = partial(
            self._running().actions.dlq.items,
            limit=limit,
            reason=reason,
            action_type=action_type,
            since=since,
            before=before,
            parked=parked,
        )
        return await anyio.to_thread.run_sync(read)

    async def redrive(self, trace_id: str) -> ActionHandle[Any]:
        """Submit a dead letter's action again, as a new one with all its attempts; see ``Redriver.redrive``.

        Raises:
            LetterNotFoundError: There is no such letter.
            NoHandlerError: Nothing answers its tag today; the letter stays.
            MessageValidationError: Today's request has other fields; the letter stays.
            AetherraError: As ``submit``; the letter stays, and there is no second one.
        """
        return await self._running().redriver.redrive(trace_id)

    async def redrive_where(
        self,
        *,
        reason: str | None = None,
        action_type: str | None = None,
        since: float | None = None,
        before: float | None = None,
        limit: int = 1000,
        dry_run: bool = False,
    ) -> RedriveReport:
        """Submit the actions of the newest dead letters that fit all that is given again, the oldest of them first.

        Tells who was redriven, and who was refused and why; with ``dry_run`` who would be, as far as that can be told.

        Raises:
            DataFileError: A file of theirs cannot be read.
        """
        return await self._running().redriver.redrive_where(
            reason=reason, action_type=action_type, since=since, before=before, limit=limit, dry_run=dry_run
        )

    async def purge(
        self,
        trace_ids: Iterable[str] | None = None,
        *,
        reason: str | None = None,
        action_type: str | None = None,
        since: float | None = None,
        before: float | None = None,
    ) -> int:
        """Delete the dead letters that fit all that is given, or all if nothing is, and return how many those were.

        Raises:
            DataFileError: A file of theirs cannot be rewritten; the letters in it stay.
        """
        remove = partial(
            self._running().actions.dlq.remove,
            trace_ids,
            reason=reason,
            action_type=action_type,
            since=since,
            before=before,
        )
        return await anyio.to_thread.run_sync(remove)

    async def park(self, trace_ids: Iterable[str] | None = None, **only: Unpack[Choice]) -> int:
        """Put the dead letters aside that fit all that is given, or all, and return how many those were.

        Args:
            trace_ids: These letters.
            **only: ``reason``, ``action_type``, ``since`` and ``before``, as ``Choice`` has them.

        Raises:
            DataFileError: A file cannot be written, or has no room; each letter is in one place or the other.
        """
        return await anyio.to_thread.run_sync(partial(self._running().actions.dlq.park, trace_ids, **only))

    async def unpark(self, trace_ids: Iterable[str] | None = None, **only: Unpack[Choice]) -> int:
        """Put the parked dead letters back, as they were, that fit all that is given; see ``park``."""
        return await anyio.to_thread.run_sync(partial(self._running().actions.dlq.unpark, trace_ids, **only))

    # Plugins

    async def add_plugin(
        self, plugin_type: type[Plugin[Any]], *, settings: Mapping[str, Any] | Settings | None = None
    ) -> PluginInfo:
        """Bring up a plugin class; it serves when this returns.

        Args:
            plugin_type: The class.
            settings: Its settings; default is what the configuration says under its name.

        Raises:
            PluginDefinitionError: It is no plugin class.
            PluginLoadError: It could not be brought up, or the name is taken; nothing of it is left.
        """
        if not _is_plugin(plugin_type):
            raise PluginDefinitionError(f"expected a subclass of Plugin, got {plugin_type!r}")
        return await self._running().plugins.add(ClassSource.of_class(plugin_type), plugin_type.name, settings)

    async def remove_plugin(self, name: str) -> None:
        """Stop a plugin and forget it; those that require it are stopped first.

        Raises:
            PluginNotFoundError: There is none of that name.
        """
        await self._running().plugins.remove(name)

    async def restart_plugin(self, name: str, *, reason: str = "") -> PluginRestarted:
        """Bring up a plugin's code afresh, from memory and without its state; see ``Lifecycle.restart``.

        Raises:
            PluginNotFoundError: There is none of that name.
            PluginLoadError: It did not start, and says what serves now; or it is quarantined.
        """
        return await self._running().lifecycle.restart(name, reason)

    async def disable_plugin(self, name: str, *, reason: str = "") -> PluginDisabled:
        """Stop a plugin, and keep it in quarantine; its callers get a ``ServiceQuarantinedError`` with the reason.

        Raises:
            PluginNotFoundError: There is none of that name.
        """
        return await self._running().lifecycle.disable(name, reason)

    async def enable_plugin(self, name: str) -> PluginEnabled:
        """Bring the code of a quarantined plugin back, without its state.

        Raises:
            PluginNotFoundError: There is none of that name.
            PluginLoadError: It did not start, and stays quarantined; or it is not.
        """
        return await self._running().lifecycle.enable(name)

    def plugins(self) -> list[PluginInfo]:
        """Return a snapshot of each plugin, failed ones too, by name."""
        return self._running().plugins.plugins()

    # Insight

    def statistics(self) -> KernelStatistics:
        """Return a snapshot of all that is counted."""
        return self._running().service.statistics()

    def health(self) -> Health:
        """Return how the host is, folded and by part."""
        return self._running().service.health()


def _is_plugin(given: object) -> bool:
    return isinstance(given, type) and issubclass(given, Plugin)
