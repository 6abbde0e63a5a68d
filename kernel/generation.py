"""One generation of a plugin: its life from start to stop, in task scopes of its own."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup, TaskStatus

from aetherra.kernel.context import PluginContext
from aetherra.kernel.errors import StepTimeoutError
from aetherra.kernel.host import Host
from aetherra.kernel.loops import Loop
from aetherra.kernel.plugin import HandlerMark, Plugin
from aetherra.kernel.resources import ResourceOwner
from aetherra.kernel.spec import HandlerSpec, PluginSpec
from aetherra.kernel.stacks import coroutine_stack
from aetherra.registry import Identity, Lease, Message, Overflow, Request, Route, ServiceStatus, Subscription
from aetherra.registry.errors import is_signal

log = logging.getLogger("aetherra.kernel.generation")
CANCEL_GRACE = 1.0
"""Seconds that a cancelled step has to end before it is left behind, named."""


class Generation:
    """One loaded version of a plugin, on its way through start, serve, quiesce and stop.

    It fails alone: what its code raises, ``SystemExit`` included, becomes its status and a line in the log.
    """

    def __init__(
        self, host: Host, plugin: Plugin[Any], spec: PluginSpec, identity: Identity, grants: frozenset[str]
    ) -> None:
        self.plugin = plugin
        self.spec = spec
        self.identity = identity
        self.faults = 0
        self.lease: Lease | None = None
        self.context = PluginContext(host, self, identity, grants)
        self.resources = ResourceOwner(host.group)
        self._host = host
        self._limits = host.config.kernel
        self._group: TaskGroup | None = None
        self._gone = anyio.Event()
        self._serving = False
        self._loops: list[Loop[Any]] = []
        self._subscriptions: list[Subscription[Any]] = []
        self._tasks: dict[str, Coroutine[Any, Any, Any]] = {}
        self.routes = [self._route(handler) for handler in spec.handlers if handler.is_request]
        for handler in spec.handlers:
            if not handler.is_request:
                self._listen_by_mark(handler)
        for method, mark in spec.everies:
            interval = getattr(plugin.settings, mark.interval) if isinstance(mark.interval, str) else mark.interval
            self.repeat(float(interval), getattr(plugin, method), at_start=mark.at_start)
        plugin.bind(self.context)

    def __str__(self) -> str:
        return str(self.identity)

    # Start

    async def start(self) -> None:
        """Run the plugin's ``start()`` in its own tasks; nothing reaches it yet.

        Raises:
            StepTimeoutError: It was not done in time; says where it waited.
            Exception: What it raised, ``SystemExit`` included. Nothing of it is left in either case.
        """
        self._host.hooks.check(self.plugin)
        await self._host.group.start(self._live)
        try:
            await self._step("start()", lambda: self.plugin.start(self.context), self._limits.start_timeout)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._end()
            raise

    async def self_test(self) -> None:
        """Run the plugin's own test; raises what it raises."""
        await self._step("self_test()", self.plugin.self_test, self._limits.start_timeout)

    async def _live(self, *, task_status: TaskStatus[None]) -> None:
        """Hold the group that all tasks of this generation run in."""
        try:
            async with anyio.create_task_group() as self._group:
                task_status.started()
                await anyio.sleep_forever()
        finally:
            self._group = None
            self._gone.set()

    # Serving

    def serve(self, replaces: Generation | None = None) -> None:
        """Take the routes, the events, the hooks and the service name, in one step without a wait.

        Args:
            replaces: The quiesced generation that has them now; its waiting events come along.

        Raises:
            RouteConflictError: Another plugin answers one of its tags.
            ServiceConflictError: Another plugin provides its service. In both cases nothing has changed.
        """
        old_routes = replaces.routes if replaces is not None else []
        self._host.bus.add_routes(self.routes, replacing=old_routes)
        try:
            self.lease = self._host.registry.register(
                self.spec.service,
                provider=self.identity,
                version=self.plugin.version,
                tags=self.spec.tags,
                replaces=replaces.lease if replaces is not None else None,
            )
        except BaseException:
            self._host.bus.add_routes(old_routes, replacing=self.routes)
            raise
        if replaces is not None:
            replaces.detach()
            self._inherit_events(replaces)
        self._host.hooks.register(self.plugin, f"{self.identity.name}@{self.identity.generation}")
        for subscription in self._subscriptions:
            subscription.attach()
        self._serving = True
        self.resume()

    def _inherit_events(self, old: Generation) -> None:
        heirs = {subscription.pattern: subscription for subscription in self._subscriptions}
        for subscription in old._subscriptions:
            heir = heirs.get(subscription.pattern)
            while heir is not None and len(subscription.mailbox):
                heir.mailbox.put_nowait(subscription.mailbox.get_nowait())

    def detach(self) -> None:
        """Let go of all that ``serve`` took; events that wait stay in their mailboxes."""
        self._serving = False
        self._host.hooks.unregister(self.plugin)
        self._host.bus.remove_routes(self.routes, reason=f"{self} was stopped")
        for subscription in self._subscriptions:
            subscription.close()
        if self.lease is not None:
            self.lease.release()

    def set_status(self, status: ServiceStatus, reason: str = "") -> None:
        """Say how the service is; nothing happens before it serves."""
        if self.lease is not None:
            self.lease.set_status(status, reason)

    # Quiesce

    async def quiesce(self) -> None:
        """Return when no call, event or repeated method is in hand; new ones wait. ``resume`` undoes it.

        The caller parks the routes first, and bounds the wait.
        """
        for route in self.routes:
            await route.wait_idle()
        for loop in self._loops:
            await loop.pause()

    def resume(self) -> None:
        """Run the loops, again if they were paused."""
        if self._serving:
            for loop in self._loops:
                self.start_soon(loop.run)

    async def hand_over(self) -> msgspec.Struct | None:
        """Return the plugin's state; raises what it raises."""
        state: msgspec.Struct | None = await self._step(
            "hand_over()", self.plugin.hand_over, self._limits.start_timeout
        )
        return state

    async def take_over(self, state: Any) -> None:
        """Give the plugin the state of the generation before; raises what it raises."""
        await self._step("take_over()", lambda: self.plugin.take_over(state), self._limits.start_timeout)

    # Stop

    async def stop(self) -> None:
        """Stop: routes off, calls in hand finished, ``stop()``, tasks cancelled, resources left. Never raises.

        Each step is bounded by ``stop_timeout``; what overruns it is cancelled and named in the log.
        """
        self.set_status(ServiceStatus.STOPPING)
        self.detach()
        if self._group is None:
            return
        with self._host.clock.move_on_after(self._limits.stop_timeout):
            await self.quiesce()
        abandoned = sum(route.abandon() for route in self.routes)
        if abandoned:
            log.warning("%s still had %d calls in hand; they were cancelled", self, abandoned)
        try:
            await self._step("stop()", self.plugin.stop, self._limits.stop_timeout)
        except StepTimeoutError as exc:
            log.error("%s", exc)  # noqa: TRY400  # the stack in it is the plugin's, the one that matters
        except BaseException as exc:
            if is_signal(exc):
                raise
            log.exception("%s raised in stop()", self)
        await self._end()

    async def _end(self) -> None:
        if self._group is not None:
            self._group.cancel_scope.cancel()
        with self._host.clock.move_on_after(self._limits.stop_timeout):
            await self._gone.wait()
        for name, coroutine in self._tasks.items():
            log.error("%s: task %s does not end; it waits at\n%s", self, name, coroutine_stack(coroutine))
        fault: BaseException | None = None
        with self._host.clock.move_on_after(self._limits.stop_timeout) as leaving:
            fault = await self.resources.close()
        if leaving.cancelled_caught:
            log.error("%s: what it entered was not left after %g s", self, self._limits.stop_timeout)
            self.resources.abort()
        elif fault is not None:
            log.error("%s: leaving what it entered raised", self, exc_info=fault)

    # What the plugin's context asks for

    def start_soon(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Run a task in this generation's group."""
        if self._group is None:
            raise RuntimeError(f"{self} is not running: it can start no task")
        name = getattr(function, "__qualname__", repr(function))
        self._group.start_soon(self._task, name, function, *args)

    async def _task(self, name: str, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        coroutine = function(*args)
        key = f"{name} #{id(coroutine):x}"
        self._tasks[key] = coroutine
        try:
            await coroutine
        except BaseException as exc:
            if is_signal(exc):
                raise
            self._record_fault(f"task {name}", exc)
        finally:
            del self._tasks[key]

    def listen(
        self, what: Any, function: Callable[[Any], Awaitable[Message | None]], *, capacity: int, overflow: Overflow
    ) -> None:
        """Hear events, one at a time, while serving."""
        subscription = self._host.bus.subscribe(what, capacity=capacity, overflow=overflow, attach=False)
        self._subscriptions.append(subscription)

        async def act(event: Message) -> None:
            try:
                answer = await function(event)
                if answer is not None:
                    await self._host.bus.publish(answer)
            except BaseException as exc:
                if is_signal(exc):
                    raise
                self._record_fault(f"hearing {subscription.pattern!r}", exc)

        self._add_loop(Loop(subscription.__anext__, act))
        if self._serving:
            subscription.attach()

    def _add_loop(self, loop: Loop[Any]) -> None:
        self._loops.append(loop)
        if self._serving:
            self.start_soon(loop.run)

    def repeat(self, interval: float, function: Callable[[], Awaitable[Any]], *, at_start: bool) -> None:
        """Run ``function`` every ``interval`` seconds while serving."""
        name = getattr(function, "__qualname__", repr(function))
        due = self._host.clock.monotonic() + (0.0 if at_start else interval)
        failing = False

        async def wait() -> None:
            await self._host.clock.sleep(max(0.0, due - self._host.clock.monotonic()))

        async def act(_: None) -> None:
            nonlocal due, failing
            due = self._host.clock.monotonic() + interval
            try:
                await function()
            except BaseException as exc:
                if is_signal(exc):
                    raise
                failing = True
                self._record_fault(f"repeating {name}", exc)
            else:
                if failing:
                    failing = False
                    self.set_status(ServiceStatus.HEALTHY)

        self._add_loop(Loop(wait, act))

    def forward(self, events: AsyncIterator[Message]) -> None:
        """Publish what an iterator yields, while serving."""

        async def act(event: Message) -> None:
            await self._host.bus.publish(event)

        async def wait() -> Message:
            try:
                return await events.__anext__()
            except StopAsyncIteration:
                raise anyio.EndOfStream from None

        self._add_loop(Loop(wait, act))

    def _record_fault(self, what: str, fault: BaseException) -> None:
        self.faults += 1
        log.error("%s failed in %s", self, what, exc_info=fault)
        self.set_status(ServiceStatus.DEGRADED, f"{what}: {fault!r}")

    # Handlers

    def _route(self, spec: HandlerSpec) -> Route:
        request_type: type[Request[Any]] = spec.message_type  # type: ignore[assignment]  # is_request was asked
        return Route(request_type, self._answer(spec.method, spec.mark), self.identity, spec.replies)

    def _listen_by_mark(self, spec: HandlerSpec) -> None:
        mark = spec.mark
        self.listen(spec.message_type, self._answer(spec.method, mark), capacity=mark.capacity, overflow=mark.overflow)

    def _answer(self, method: str, mark: HandlerMark) -> Callable[[Any], Awaitable[Message | None]]:
        function = getattr(self.plugin, method)

        async def answer(message: Message) -> Message | None:
            if mark.blocking:
                reply = await anyio.to_thread.run_sync(function, message, abandon_on_cancel=True)
            else:
                reply = function(message)
                if isinstance(reply, Awaitable):
                    reply = await reply
            return reply  # type: ignore[no-any-return]  # the route checks it

        if mark.timeout is None:
            return answer

        async def bounded(message: Message) -> Message | None:
            with self._host.clock.move_on_after(mark.timeout or 0.0):
                return await answer(message)
            raise TimeoutError(f"handler {method!r} took longer than its {mark.timeout:g} s")

        return bounded

    # Steps

    async def _step(self, name: str, begin: Callable[[], Coroutine[Any, Any, Any]], timeout: float) -> Any:
        """Run a step of the plugin's life in its own task, under a deadline that cannot be ignored."""
        if self._group is None:
            raise RuntimeError(f"{self} is not running: it cannot {name}")
        step = _Step(begin)
        self._group.start_soon(step.run)
        try:
            with self._host.clock.move_on_after(timeout):
                await step.done.wait()
                return step.outcome()
            stack = step.stack()
            step.scope.cancel()
            with anyio.move_on_after(CANCEL_GRACE):
                await step.done.wait()
        except BaseException:
            step.scope.cancel()
            raise
        raise StepTimeoutError(self.identity.name, name, timeout, stack)


class _Step:
    """One coroutine of a plugin, run in a task, its outcome kept."""

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self.done = anyio.Event()
        self.scope = anyio.CancelScope()
        self._begin = begin
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._value: Any = None
        self._fault: BaseException | None = None

    async def run(self) -> None:
        try:
            with self.scope:
                self._coroutine = self._begin()
                self._value = await self._coroutine
        except BaseException as exc:
            if is_signal(exc):
                self._fault = RuntimeError("it was cancelled")
                raise
            self._fault = exc
        finally:
            self.done.set()

    def stack(self) -> str:
        return coroutine_stack(self._coroutine)

    def outcome(self) -> Any:
        if self._fault is not None:
            raise self._fault
        return self._value
