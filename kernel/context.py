"""The context: a plugin's way to the host. What it takes here is given back when its generation ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, TypeVarTuple, Unpack, overload

import anyio

from aetherra.kernel.actions.handle import ActionHandle
from aetherra.kernel.actions.submission import Submission
from aetherra.kernel.activity import Activity
from aetherra.kernel.errors import PrivilegeError
from aetherra.kernel.host import HookCaller, Host
from aetherra.kernel.permission import Intent, Permission
from aetherra.kernel.permits import Permit, peek, permitted
from aetherra.kernel.resources import ResourceOwner
from aetherra.kernel.standing import Standing
from aetherra.kernel.tasks import Tasks, name_of
from aetherra.registry import (
    Caller,
    Clock,
    Identity,
    Message,
    Overflow,
    Request,
    ServiceRegistry,
    ServiceStatus,
    tag_of,
)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
ReplyT = TypeVar("ReplyT")
MessageT = TypeVar("MessageT", bound=Message)


class Life(Protocol):
    """What a context asks of the generation that it is lent to."""

    activity: Activity
    resources: ResourceOwner
    standing: Standing
    tasks: Tasks
    threads: anyio.CapacityLimiter


class PluginContext(Caller):
    """Lent to one generation of one plugin: it calls, publishes and listens in its name.

    Attributes:
        name: The plugin's.
        identity: The plugin and its generation, as callers and logs name it.
        log: Its logger, ``aetherra.plugins.<name>``.
        clock: The host's; ask it rather than ``time``, and tests need not wait.
        registry: The directory of services.
        hooks: To ask all plugins something, as in ``ctx.hooks.call("collect_metrics")``.
        root: The hosted project's folder.
    """

    def __init__(self, host: Host, generation: Life, identity: Identity, grants: frozenset[str]) -> None:
        super().__init__(host.bus, identity)
        self._host = host
        self._generation = generation
        self._grants = grants
        self.name = identity.name
        self.log = logging.getLogger(f"aetherra.plugins.{identity.name}")
        self.clock: Clock = host.clock
        self.registry: ServiceRegistry = host.registry
        self.hooks: HookCaller = host.hooks
        self.root: Path = host.config.root

    @property
    def data_dir(self) -> Path | None:
        """A folder of the plugin's own in the data directory, made on first use; ``None`` if all is in memory."""
        base = self._host.config.data_dir
        if base is None:
            return None
        folder = base / self.name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    # Messages

    async def submit(self, request: Request[ReplyT], **options: Unpack[Submission]) -> ActionHandle[ReplyT]:
        """Submit a request as an action; see ``Kernel.submit``.

        Raises:
            CapabilityError: No grant covers it, and the profile refuses what none does.
        """
        self.check("submit", tag_of(type(request)))
        return await self._host.actions.submit(request, **options)

    async def submit_and_wait(self, request: Request[ReplyT], **options: Unpack[Submission]) -> ReplyT:
        """Submit a request and return its reply; see ``Kernel.submit_and_wait``.

        The action is not bound to the time of the call that it is submitted in; give it a ``deadline``.
        """
        return await (await self.submit(request, **options)).wait()

    @overload
    def subscribe(
        self,
        what: type[MessageT],
        function: Callable[[MessageT], Awaitable[Message | None]],
        *,
        capacity: int = ...,
        overflow: Overflow = ...,
    ) -> None: ...
    @overload
    def subscribe(
        self,
        what: str,
        function: Callable[[Message], Awaitable[Message | None]],
        *,
        capacity: int = ...,
        overflow: Overflow = ...,
    ) -> None: ...
    def subscribe(
        self,
        what: Any,
        function: Callable[[Any], Awaitable[Message | None]],
        *,
        capacity: int = 1000,
        overflow: Overflow = "drop_oldest",
    ) -> None:
        """Hear events of a class, a tag or a pattern, one at a time, from when the plugin serves until it ends."""
        self._generation.activity.listen(what, function, capacity=capacity, overflow=overflow)

    # Permission

    def permitted(self, intent: Intent) -> AbstractAsyncContextManager[Permit]:
        """Ask before, and tell after, something that the plugin does by itself; see ``kernel.permits.permitted``.

        For what changes the host, its plugins or its files without a person or a caller wanting it.

        Raises:
            NotPermittedError: On entering: it may not be done now, and says why.
        """
        return permitted(self, intent, self._host.config.profile)

    async def peek_permission(self, intent: Intent) -> Permission:
        """Return whether something would be permitted now; nothing is counted, recorded or asked of a person."""
        return await peek(self, intent, self._host.config.profile)

    # Work and resources

    def start_soon(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Run a task for as long as the plugin lives. One that raises is logged and makes the plugin degraded."""
        self._generation.tasks.start(name_of(function), partial(function, *args))

    def every(self, interval: float, function: Callable[[], Awaitable[Any]], *, at_start: bool = False) -> None:
        """Run ``function`` again and again while the plugin serves, as ``@every`` does."""
        self._generation.activity.repeat(interval, function, at_start=at_start)

    def forward(self, events: AsyncIterator[Message]) -> None:
        """Publish what an async iterator yields, from when the plugin serves until it ends."""
        self._generation.activity.forward(events)

    async def enter(self, manager: AbstractAsyncContextManager[T] | AbstractContextManager[T]) -> T:
        """Enter a context manager now; it is left when the plugin ends, in reverse order, after its tasks."""
        return await self._generation.resources.enter(manager)

    def defer(self, callback: Callable[[], object]) -> None:
        """Call a plain function when the plugin ends, in its turn among what was entered."""
        self._generation.resources.defer(callback)

    def add_log_handler(self, handler: logging.Handler, logger: str = "") -> None:
        """Add a handler to a logger, the root one by default, until the plugin ends; then it is flushed and closed.

        Raises:
            ValueError: That logger has it already.
        """
        target, name = logging.getLogger(logger), f"log handler {handler!r} of logger {logger or 'root'!r}"
        if handler in target.handlers:
            raise ValueError(f"{name} is there already")

        def take_off() -> None:
            target.removeHandler(handler)
            try:
                handler.flush()
            finally:
                handler.close()

        self._generation.resources.defer(take_off, name)
        target.addHandler(handler)

    def temporary_folder(self) -> Path:
        """Make a folder under the system's temporary folder, for the plugin alone and gone with all in it at its end.

        Raises:
            OSError: It cannot be made.
        """
        return self._generation.resources.temporary_folder(f"aetherra-{self.name}-{self.identity.generation}-")

    def start_thread(self, function: Callable[[threading.Event, *Ts], object], *args: *Ts, name: str = "") -> None:
        """Run a plain function in a thread until the plugin ends, on the way to which ``stop`` is set.

        The end waits for it, within ``stop_timeout``; a thread that does not return is named in the log with where it
        is, and left behind. One that raises is logged and makes the plugin degraded.

        Args:
            function: Called as ``function(stop, *args)``. It should look at ``stop.is_set()`` often, or wait by
                ``stop.wait(seconds)``.
            *args: The rest of its arguments.
            name: What logs call the thread; default is the function's.
        """
        called = name or name_of(function)
        self._generation.resources.start_thread(function, *args, name=f"{self.name}: {called}")

    async def run_sync(self, function: Callable[..., T], *args: Any) -> T:
        """Run a plain function in a worker thread and wait for it, also when cancelled: a thread cannot be stopped.

        A long one can ask ``anyio.from_thread.check_cancelled()`` now and then.
        """
        return await anyio.to_thread.run_sync(function, *args, limiter=self._generation.threads)

    # Standing

    def set_status(self, status: ServiceStatus, reason: str = "") -> None:
        """Say how the plugin's service is; said in ``start()``, it counts from when the plugin serves."""
        self._generation.standing.set_status(status, reason)

    def heartbeat(self) -> None:
        """Say that the plugin's service is alive.

        Once said, 5 minutes of silence (or the class's ``heartbeat`` seconds) degrade it until it is said again.
        """
        self._generation.standing.heartbeat()

    def privilege(self, name: str) -> Any:
        """Return a part of the host that only some plugins may touch.

        Raises:
            PrivilegeError: The configuration does not grant it.
        """
        if name not in self._grants or name not in self._host.privileges:
            raise PrivilegeError(self.name, name)
        return self._host.privileges[name]()
