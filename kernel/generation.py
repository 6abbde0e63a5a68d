"""One generation of a plugin: its life from start to stop, in task scopes of its own."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

import anyio

from aetherra.kernel.activity import Activity
from aetherra.kernel.context import PluginContext
from aetherra.kernel.errors import StepTimeoutError
from aetherra.kernel.host import Host
from aetherra.kernel.plugin import HandlerMark, Plugin
from aetherra.kernel.resources import ResourceOwner
from aetherra.kernel.spec import HandlerSpec, PluginSpec
from aetherra.kernel.standing import Standing
from aetherra.kernel.state import Parcel, StateError
from aetherra.kernel.tasks import CANCEL_GRACE, Tasks
from aetherra.kernel.threads import run_in_thread
from aetherra.registry import (
    Gate,
    HealthReport,
    Identity,
    Lease,
    Message,
    Request,
    Route,
    ServiceStatus,
    tag_of,
)
from aetherra.registry.errors import is_signal
from aetherra.registry.health import DEAD

log = logging.getLogger("aetherra.kernel.generation")
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
        self.on_end: Callable[[], object] | None = None
        self.standing = Standing(identity)
        self.tasks = Tasks(identity, host.clock, self.standing.record_fault)
        self.resources = ResourceOwner(host.group, self.standing.record_fault)
        self.context = PluginContext(host, self, identity, grants)
        self.activity = Activity(self.context, host.clock, self.tasks, self.standing)
        self.threads = anyio.CapacityLimiter(THREADS)
        self._host = host
        self._limits = host.config.kernel
        self._suspended: anyio.Event | None = None
        self.routes = [self._route(handler) for handler in spec.handlers if handler.is_request]
        for handler in spec.handlers:
            if not handler.is_request:
                self._listen_by_mark(handler)
        for method, mark in spec.everies:
            interval = getattr(plugin.settings, mark.interval) if isinstance(mark.interval, str) else mark.interval
            self.activity.repeat(interval, getattr(plugin, method), at_start=mark.at_start)
        plugin.bind(self.context)

    def __str__(self) -> str:
        return str(self.identity)

    # Start

    async def start(self) -> None:
        """Run the plugin's ``start()`` in its own tasks; nothing reaches it yet.

        Raises:
            PluginDefinitionError: Its hook implementations cannot be used.
            StepTimeoutError: It was not done in time; says where it waited, if it let others have the event loop.
            Exception: What it raised, ``SystemExit`` included. Nothing of it is left in any case.
        """
        self._host.hooks.check(self.plugin)
        await self._host.group.start(self.tasks.live)
        try:
            if self._defines("start"):
                begun, timeout = self._host.clock.monotonic(), self._limits.start_timeout
                await self.tasks.step("start()", lambda: self.plugin.start(self.context), timeout)
                if self._host.clock.monotonic() - begun > timeout:  # it never waited, so nothing could end it
                    raise StepTimeoutError(self.identity.name, "start()", timeout, "")
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._end()
            raise

    async def self_test(self) -> None:
        """Run the plugin's own test; raises what it raises."""
        if self._defines("self_test"):
            await self.tasks.step("self_test()", self.plugin.self_test, self._limits.start_timeout)

    def _defines(self, step: str) -> bool:
        """Whether the plugin has that step, and does not only inherit one that does nothing."""
        return getattr(type(self.plugin), step) is not getattr(Plugin, step)

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
            self.standing.lease = self._host.registry.register(
                self.spec.service,
                provider=self.identity,
                version=self.plugin.version,
                tags=self.spec.tags,
                requires=self._host.registry.services_of(self.spec.needs),
                heartbeat=self.plugin.heartbeat,
                replaces=replaces.standing.lease if replaces is not None else placeholder,
            )
        except BaseException:
            self._host.bus.add_routes(old_routes, replacing=self.routes)
            raise
        self.standing.show()
        if replaces is not None:
            self.activity.inherit(replaces.activity)
        self.activity.attach()
        if replaces is not None:
            replaces.detach()
        self._host.hooks.register(self.plugin, self.identity.name)
        self.activity.begin()

    def detach(self) -> None:
        """Let go of all that ``serve`` took; events that wait stay in their mailboxes."""
        self._host.hooks.unregister(self.plugin)
        self._host.bus.remove_routes(self.routes)
        self._host.bus.topics.let_go(self.identity)
        self.activity.end()
        if self.standing.lease is not None:
            self.standing.lease.release()

    def complaint(self) -> str:
        """Return why the plugin says that it can serve nobody, ``""`` if it does not; raises what its hook raises."""
        status, reason = self.standing.status()
        if status in DEAD:
            return f"it says that it is {status}: {reason}"
        report = self._host.hooks.ask(self.plugin, "health")
        if isinstance(report, HealthReport) and report.component == self.spec.service and report.status in DEAD:
            return f"its health is {report.status}: {'; '.join(report.reasons)}"
        return ""

    # Quiesce

    async def wait_idle(self) -> None:
        """Return when no call is in hand; the caller sees to it that none comes."""
        for route in self.routes:
            await route.wait_idle()

    def in_hand(self) -> list[str]:
        """Return what is in hand now, each with where it waits as far as that is known."""
        calls = {route.tag: route.statistics().in_hand for route in self.routes}
        return self.activity.in_hand() + [f"{count} of {tag!r}" for tag, count in calls.items() if count]

    async def hand_over(self) -> Parcel | None:
        """Return the plugin's state, packed; raises what it raises.

        Raises:
            StateError: What it returned cannot be packed.
        """
        if not self._defines("hand_over"):
            return None
        state = await self.tasks.step("hand_over()", self.plugin.hand_over, self._limits.start_timeout)
        return None if state is None else Parcel.pack(state)

    async def take_over(self, parcel: Parcel) -> None:
        """Give the plugin the state of the generation before; raises what it raises.

        Raises:
            StateError: The plugin takes no state, or none like this.
        """
        if self.spec.state_type is None:
            raise StateError(f"a {parcel.kind} was handed over, and the new code has no take_over()")
        state = parcel.unpack(self.spec.state_type)
        await self.tasks.step("take_over()", lambda: self.plugin.take_over(state), self._limits.start_timeout)

    async def write_knob(self, name: str, write: Callable[[], Coroutine[Any, Any, Any]], timeout: float) -> None:
        """Have the plugin set one of its knobs, in a task of its own; raises what it raises.

        Raises:
            StepTimeoutError: It was not done in time; says where it waited.
        """
        await self.tasks.step(f"the write of knob {name!r}", write, timeout)

    # Stop

    async def stop(self) -> None:
        """Stop: routes off, calls in hand finished, ``stop()``, tasks cancelled, resources left. Never raises.

        Each step is bounded by ``stop_timeout``; what overruns it is cancelled and named in the log.
        """
        self.standing.set_status(ServiceStatus.STOPPING)
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
        elif self.tasks.living:
            self._suspended = anyio.Event()
            try:
                await self._suspend()
            finally:
                self._suspended.set()

    async def _suspend(self) -> None:
        with self._host.clock.move_on_after(self._limits.stop_timeout) as finishing:
            await self.activity.pause()
            await self.wait_idle()
        if finishing.cancelled_caught:
            log.warning("%s still had this in hand, which is cancelled: %s", self, "; ".join(self.in_hand()))
        for route in self.routes:
            self._host.bus.abandon(route)
        try:
            if self._defines("stop"):
                await self.tasks.step("stop()", self.plugin.stop, self._limits.stop_timeout)
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
        await self.tasks.end(self._limits.stop_timeout)
        for name, stack in self.tasks.stacks():
            log.error("%s: %s was cancelled and does not end; it waits at\n%s", self, name, stack)
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
        waiting = [f"{name}:\n{stack}" for name, stack in self.tasks.stacks()]
        if leaving := self.resources.stack():
            waiting.append(f"what it entered:\n{leaving}")
        return "\n".join(waiting) or "  (nothing of it runs)"

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
        answer = self._answer(spec.method, mark)
        self.activity.listen(spec.message_type, answer, capacity=mark.capacity, overflow=mark.overflow)

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
