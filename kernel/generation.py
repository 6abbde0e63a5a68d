"""One generation of a plugin: its life from start to stop, in task scopes of its own."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, cast

import anyio
from anyio.abc import TaskGroup, TaskStatus

from aetherra.kernel.context import PluginContext
from aetherra.kernel.errors import StepTimeoutError
from aetherra.kernel.host import Host
from aetherra.kernel.loops import Loop, Relay
from aetherra.kernel.plugin import HandlerMark, Plugin
from aetherra.kernel.resources import ResourceOwner
from aetherra.kernel.spec import HandlerSpec, PluginSpec
from aetherra.kernel.stacks import coroutine_stack
from aetherra.kernel.state import Parcel, StateError
from aetherra.kernel.threads import run_in_thread
from aetherra.registry import (
    Gate,
    HealthReport,
    Identity,
    Lease,
    Letter,
    Message,
    Overflow,
    Request,
    Route,
    ServiceStatus,
    Subscription,
    tag_of,
)
from aetherra.registry.errors import is_signal
from aetherra.registry.health import DEAD

log = logging.getLogger("aetherra.kernel.generation")
CANCEL_GRACE = 1.0
"""Seconds that a cancelled step has to end before it is left behind, named."""
THREADS = 40
"""Worker threads that one generation may have at a time, so that one whose threads hang leaves the others theirs."""


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
        self.on_end: Callable[[], object] | None = None
        self.context = PluginContext(host, self, identity, grants)
        self.resources = ResourceOwner(host.group, self._record_fault)
        self.threads = anyio.CapacityLimiter(THREADS)
        self._host = host
        self._limits = host.config.kernel
        self._group: TaskGroup | None = None
        self._gone = anyio.Event()
        self._suspended: anyio.Event | None = None
        self._serving = False
        self._paused = False
        self._loops: list[Loop[Any]] = []
        self._relays: list[Relay[Message]] = []
        self._subscriptions: list[Subscription[Any]] = []
        self._work: list[_Work] = []
        self._said = (ServiceStatus.HEALTHY, "")
        self._troubles: dict[str, str] = {}
        self.routes = [self._route(handler) for handler in spec.handlers if handler.is_request]
        for handler in spec.handlers:
            if not handler.is_request:
                self._listen_by_mark(handler)
        for method, mark in spec.everies:
            interval = getattr(plugin.settings, mark.interval) if isinstance(mark.interval, str) else mark.interval
            self.repeat(interval, getattr(plugin, method), at_start=mark.at_start)
        plugin.bind(self.context)

    def __str__(self) -> str:
        return str(self.identity)

    # Start

    async def start(self) -> None:
        """Run the plugin's ``start()`` in its own tasks; nothing reaches it yet.

        Raises:
            PluginDefinitionError: Its hook implementations cannot be used.
            StepTimeoutError: It was not done in time; says where it waited.
            Exception: What it raised, ``SystemExit`` included. Nothing of it is left in any case.
        """
        self._host.hooks.check(self.plugin)
        await self._host.group.start(self._live)
        try:
            if self._defines("start"):
                await self._step("start()", lambda: self.plugin.start(self.context), self._limits.start_timeout)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._end()
            raise

    async def self_test(self) -> None:
        """Run the plugin's own test; raises what it raises."""
        if self._defines("self_test"):
            await self._step("self_test()", self.plugin.self_test, self._limits.start_timeout)

    def _defines(self, step: str) -> bool:
        """Whether the plugin has that step, and does not only inherit one that does nothing."""
        return getattr(type(self.plugin), step) is not getattr(Plugin, step)

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

    def serve(self, replaces: Generation | None = None, placeholder: Lease | None = None) -> None:
        """Take the routes, the events, the hooks and the service name, in one step without a wait.

        Args:
            replaces: The quiesced generation that has them now; its waiting events come along.
            placeholder: A lease of the same plugin that stood in while none served.

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
                requires=self._host.registry.services_of(self.spec.needs),
                heartbeat=self.plugin.heartbeat,
                replaces=replaces.lease if replaces is not None else placeholder,
            )
        except BaseException:
            self._host.bus.add_routes(old_routes, replacing=self.routes)
            raise
        self.lease.set_status(*self._status())
        if replaces is not None:
            self._inherit_events(replaces)
        for subscription in self._subscriptions:
            subscription.attach()
        if replaces is not None:
            replaces.detach()
        self._host.hooks.register(self.plugin, self.identity.name)
        self._serving = True
        for loop in self._loops:
            self._start_loop(loop)

    def _inherit_events(self, old: Generation) -> None:
        """Take over the mailboxes whose events both hear, with publishers that wait for room in them."""
        for subscription in self._subscriptions:
            former = next((late for late in old._subscriptions if late.pattern == subscription.pattern), None)
            if former is None:
                continue
            old._subscriptions.remove(former)
            former.leave()
            mailbox = former.mailbox
            mailbox.capacity, mailbox.overflow = subscription.mailbox.capacity, subscription.mailbox.overflow
            mailbox.dropped = 0  # the bus counted them when it detached the former
            subscription.mailbox = mailbox

    def detach(self) -> None:
        """Let go of all that ``serve`` took; events that wait stay in their mailboxes."""
        self._serving = False
        self._host.hooks.unregister(self.plugin)
        self._host.bus.remove_routes(self.routes)
        self._host.bus.topics.let_go(self.identity)
        for relay in self._relays:
            for event in relay.take():
                self.context.publish_nowait(event)
        for subscription in self._subscriptions:
            subscription.close()
        if self.lease is not None:
            self.lease.release()

    # Standing

    def set_status(self, status: ServiceStatus, reason: str = "") -> None:
        """Say how the service is; said before it serves, it counts from when it does.

        ``HEALTHY`` also says that earlier faults of tasks and events are over.
        """
        self._said = (status, reason)
        if status is ServiceStatus.HEALTHY:
            self._troubles.clear()
        self._show_status()

    def heartbeat(self) -> None:
        """Say that the service is alive; before it serves, that goes without saying."""
        if self.lease is not None:
            self.lease.heartbeat()

    def complaint(self) -> str:
        """Return why the plugin says that it can serve nobody, ``""`` if it does not; raises what its hook raises."""
        status, reason = self._status()
        if status in DEAD:
            return f"it says that it is {status}: {reason}"
        report = self._host.hooks.ask(self.plugin, "health")
        if isinstance(report, HealthReport) and report.component == self.spec.service and report.status in DEAD:
            return f"its health is {report.status}: {'; '.join(report.reasons)}"
        return ""

    @property
    def serving(self) -> bool:
        """Whether calls and events reach it, or would but for a pause."""
        return self._serving

    @property
    def trouble(self) -> str:
        """What its code fails in now, of tasks, events and repeated methods; ``""`` if in nothing."""
        return next(reversed(self._troubles.values()), "")

    def _status(self) -> tuple[ServiceStatus, str]:
        if self._said[0] is ServiceStatus.HEALTHY and self._troubles:
            return ServiceStatus.DEGRADED, next(reversed(self._troubles.values()))
        return self._said

    def _show_status(self) -> None:
        if self.lease is not None:
            self.lease.set_status(*self._status())

    def _record_fault(self, what: str, fault: BaseException) -> None:
        self.faults += 1
        log.error("%s failed in %s", self, what, exc_info=fault)
        self._troubles.pop(what, None)
        self._troubles[what] = f"{what}: {fault!r}"
        self._show_status()

    async def _contained(self, what: str, begin: Callable[[], Awaitable[Any]]) -> None:
        """Do something that the plugin does again and again: a fault degrades it until the next time goes well."""
        try:
            await begin()
        except BaseException as exc:
            if is_signal(exc):
                raise
            self._record_fault(what, exc)
        else:
            if self._troubles.pop(what, None) is not None:
                self._show_status()

    # Quiesce

    async def pause(self) -> None:
        """Return when no event or repeated method is in hand; no new one is taken. ``resume`` undoes it."""
        self.hold()
        for loop in self._loops:
            await loop.pause()

    def hold(self) -> None:
        """Take no new event and run no repeated method; ``resume`` undoes it."""
        self._paused = True
        for loop in self._loops:
            loop.hold()

    async def wait_idle(self) -> None:
        """Return when no call is in hand; the caller sees to it that none comes."""
        for route in self.routes:
            await route.wait_idle()

    def resume(self) -> None:
        """Take events again, and run the repeated methods."""
        self._paused = False
        if self._serving:
            for loop in self._loops:
                loop.resume()

    def in_hand(self) -> list[str]:
        """Return what is in hand now, each with where it waits as far as that is known."""
        acts = [f"{loop.name}, at\n{loop.stack()}" for loop in self._loops if loop.acting]
        calls = {route.tag: route.statistics().in_hand for route in self.routes}
        return acts + [f"{count} of {tag!r}" for tag, count in calls.items() if count]

    async def hand_over(self) -> Parcel | None:
        """Return the plugin's state, packed; raises what it raises.

        Raises:
            StateError: What it returned cannot be packed.
        """
        if not self._defines("hand_over"):
            return None
        state = await self._step("hand_over()", self.plugin.hand_over, self._limits.start_timeout)
        return None if state is None else Parcel.pack(state)

    async def take_over(self, parcel: Parcel) -> None:
        """Give the plugin the state of the generation before; raises what it raises.

        Raises:
            StateError: The plugin takes no state, or none like this.
        """
        if self.spec.state_type is None:
            raise StateError(f"a {parcel.kind} was handed over, and the new code has no take_over()")
        state = parcel.unpack(self.spec.state_type)
        await self._step("take_over()", lambda: self.plugin.take_over(state), self._limits.start_timeout)

    async def write_knob(self, name: str, write: Callable[[], Coroutine[Any, Any, Any]], timeout: float) -> None:
        """Have the plugin set one of its knobs, in a task of its own; raises what it raises.

        Raises:
            StepTimeoutError: It was not done in time; says where it waited.
        """
        await self._step(f"the write of knob {name!r}", write, timeout)

    # Stop

    async def stop(self) -> None:
        """Stop: routes off, calls in hand finished, ``stop()``, tasks cancelled, resources left. Never raises.

        Each step is bounded by ``stop_timeout``; what overruns it is cancelled and named in the log.
        """
        self.set_status(ServiceStatus.STOPPING)
        self.detach()
        await self.suspend()

    async def suspend(self) -> None:
        """Do all of ``stop`` but leave the routes, mailboxes and service where they are, for another to take over.

        Whoever calls this sees to it that no call reaches the routes meanwhile. Twice does no harm:
        the second waits for the first.
        """
        self._host.hooks.unregister(self.plugin)
        if self._suspended is not None:
            await self._suspended.wait()
        elif self._group is not None:
            self._suspended = anyio.Event()
            try:
                await self._suspend()
            finally:
                self._suspended.set()

    async def _suspend(self) -> None:
        with self._host.clock.move_on_after(self._limits.stop_timeout) as finishing:
            await self.pause()
            await self.wait_idle()
        if finishing.cancelled_caught:
            log.warning("%s still had this in hand, which is cancelled: %s", self, "; ".join(self.in_hand()))
        for route in self.routes:
            self._host.bus.abandon(route)
        try:
            if self._defines("stop"):
                await self._step("stop()", self.plugin.stop, self._limits.stop_timeout)
        except StepTimeoutError as exc:
            log.error("%s", exc)  # noqa: TRY400  # the stack in it is the plugin's, the one that matters
        except BaseException as exc:
            if is_signal(exc):
                raise
            log.exception("%s raised in stop()", self)
        await self._end()

    async def _end(self) -> None:
        try:
            await self._let_go()
        finally:
            if self.on_end is not None:
                self.on_end()

    async def _let_go(self) -> None:
        """Cancel the tasks, wait for them, leave the resources; what takes too long is named and left behind."""
        if self._group is not None:
            self._group.cancel_scope.cancel()
        with self._host.clock.move_on_after(self._limits.stop_timeout):
            await self._gone.wait()
        for work in self._work:
            log.error("%s: %s was cancelled and does not end; it waits at\n%s", self, work.name, work.stack())
        with self._host.clock.move_on_after(self._limits.stop_timeout):
            await self.resources.close()
            return
        limit, stack = self._limits.stop_timeout, self.resources.stack()
        log.error("%s: what it entered was not left after %g s; it waits at\n%s", self, limit, stack)
        with self._host.clock.move_on_after(CANCEL_GRACE):
            await self.resources.close(hurry=True)
        self.resources.abort()

    def stack(self) -> str:
        """Return where all that runs of this generation waits, as text."""
        waiting = [f"{work.name}:\n{work.stack()}" for work in self._work]
        if leaving := self.resources.stack():
            waiting.append(f"what it entered:\n{leaving}")
        return "\n".join(waiting) or "  (nothing of it runs)"

    # What the plugin's context asks for

    def start_soon(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Run a task in this generation's group."""
        self._start_task(_name(function), partial(function, *args))

    def _start_task(self, name: str, begin: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        if self._group is None:
            raise RuntimeError(f"{self} is not running: it can start no task")
        self._group.start_soon(self._task, _Work(f"task {name}", begin))

    async def _task(self, work: _Work) -> None:
        await self._perform(work)
        if work.fault is not None:
            self._record_fault(work.name, work.fault)

    async def _perform(self, work: _Work) -> None:
        self._work.append(work)
        try:
            await work.run()
        finally:
            self._work.remove(work)

    def listen(
        self, what: Any, function: Callable[[Any], Awaitable[Message | None]], *, capacity: int, overflow: Overflow
    ) -> None:
        """Hear events, one at a time, while serving."""
        subscription = self.context.listen(what, capacity=capacity, overflow=overflow, attach=False)
        self._subscriptions.append(subscription)
        name = f"hearing {subscription.pattern!r}"

        async def hear(event: Message) -> None:
            answer = await function(event)
            if answer is not None:
                await self.context.publish(answer)

        async def act(letter: Letter) -> None:
            with letter.heard(self._host.clock.monotonic()):
                await self._contained(name, lambda: hear(letter.event))

        if self._serving:
            subscription.attach()
        self._add_loop(Loop(name, subscription.receive, act))

    def repeat(self, interval: float, function: Callable[[], Awaitable[Any]], *, at_start: bool) -> None:
        """Run ``function`` every ``interval`` seconds while serving."""
        name = f"repeating {_name(function)}"
        if not interval > 0:
            raise ValueError(f"{name}: expected an interval of more than 0 seconds, got {interval!r}")
        due: float | None = None

        async def wait() -> None:
            nonlocal due
            now = self._host.clock.monotonic()
            if due is None:
                due = now + (0.0 if at_start else interval)
            await self._host.clock.sleep(max(0.0, due - now))

        async def act(_: None) -> None:
            nonlocal due
            due = self._host.clock.monotonic() + interval
            await self._contained(name, function)

        self._add_loop(Loop(name, wait, act))

    def forward(self, events: AsyncIterator[Message]) -> None:
        """Publish what an iterator yields, while serving; what was drawn from it before a stop is published, too."""
        relay = Relay(events)
        self._relays.append(relay)
        name = f"forwarding {_name(events)}"
        drawing = False

        async def wait() -> Message:
            nonlocal drawing
            if not drawing:
                drawing = True
                self._start_task(name, relay.draw)
            return await anext(relay)

        async def publish(event: Message) -> None:
            await self.context.publish(event)

        async def act(event: Message) -> None:
            await self._contained(name, lambda: publish(event))

        self._add_loop(Loop(name, wait, act))

    def _add_loop(self, loop: Loop[Any]) -> None:
        self._loops.append(loop)
        if self._serving:
            self._start_loop(loop)

    def _start_loop(self, loop: Loop[Any]) -> None:
        if not self._paused:
            loop.resume()
        self._start_task(loop.name, loop.run)

    # Handlers

    def _route(self, spec: HandlerSpec) -> Route:
        request_type: type[Request[Any]] = spec.message_type  # type: ignore[assignment]  # is_request was asked
        mark = spec.mark
        limit = mark.limit
        gate = None if limit is None else Gate(tag_of(request_type), limit, mark.queue, kept=mark.blocking)
        bare = mark.timeout is None and not mark.blocking  # then nothing need stand between
        answer = getattr(self.plugin, spec.method) if bare else self._answer(spec.method, mark, gate)
        return Route(request_type, answer, self.identity, spec.replies, gate=gate, fallback=mark.fallback)

    def _listen_by_mark(self, spec: HandlerSpec) -> None:
        mark = spec.mark
        self.listen(spec.message_type, self._answer(spec.method, mark), capacity=mark.capacity, overflow=mark.overflow)

    def _answer(
        self, method: str, mark: HandlerMark, gate: Gate | None = None
    ) -> Callable[[Any], Awaitable[Message | None]]:
        function: Callable[[Message], Any] = getattr(self.plugin, method)

        async def answer(message: Message) -> Message | None:
            if mark.blocking:
                return cast("Message | None", await run_in_thread(function, message, self.threads, gate))
            reply = function(message)
            return cast("Message | None", await reply if inspect.isawaitable(reply) else reply)

        if mark.timeout is None:
            return answer
        timeout = mark.timeout

        async def bounded(message: Message) -> Message | None:
            with self._host.clock.move_on_after(timeout):
                return await answer(message)
            raise TimeoutError(f"handler {method!r} took longer than its {timeout:g} s")

        return bounded

    # Steps

    async def _step(self, name: str, begin: Callable[[], Coroutine[Any, Any, Any]], timeout: float) -> Any:
        """Run a step of the plugin's life in its own task, under a deadline that cannot be ignored."""
        if self._group is None:
            raise RuntimeError(f"{self} is not running: it cannot {name}")
        work = _Work(name, begin)
        self._group.start_soon(self._perform, work)
        try:
            with self._host.clock.move_on_after(timeout):
                await work.done.wait()
                return work.outcome()
            stack = work.stack()
            work.scope.cancel()
            with self._host.clock.move_on_after(CANCEL_GRACE):
                await work.done.wait()
        except BaseException:
            work.scope.cancel()
            raise
        raise StepTimeoutError(self.identity.name, name, timeout, stack)


class _Work:
    """One coroutine of a plugin, run in a task, its outcome kept."""

    def __init__(self, name: str, begin: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self.name = name
        self.done = anyio.Event()
        self.scope = anyio.CancelScope()
        self.fault: BaseException | None = None
        self._begin = begin
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._value: Any = None

    async def run(self) -> None:
        try:
            with self.scope:
                self._coroutine = self._begin()
                self._value = await self._coroutine
        except BaseException as exc:
            if is_signal(exc):
                self.fault = RuntimeError("it was cancelled")
                raise
            self.fault = exc
        finally:
            self.done.set()

    def stack(self) -> str:
        return coroutine_stack(self._coroutine)

    def outcome(self) -> Any:
        if self.fault is not None:
            raise self.fault
        return self._value


def _name(thing: Any) -> str:
    return str(getattr(thing, "__qualname__", None) or repr(thing))
