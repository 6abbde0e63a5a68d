"""The kernel for hosts that are not async: the same calls, on an event loop in a thread of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, TypeVar, Unpack, cast

from anyio.from_thread import BlockingPortal, start_blocking_portal

from aetherra.kernel.actions.handle import ActionHandle, ActionStatus
from aetherra.kernel.actions.letter import Choice, DeadLetter
from aetherra.kernel.actions.redrive import RedriveReport
from aetherra.kernel.actions.submission import Submission
from aetherra.kernel.config import Config
from aetherra.kernel.entry import PluginInfo
from aetherra.kernel.kernel import Kernel
from aetherra.kernel.messages import Health, KernelStatistics, PluginDisabled, PluginEnabled, PluginRestarted
from aetherra.kernel.plugin import Plugin, Settings
from aetherra.registry import Message, Request, ServiceInfo

T = TypeVar("T")
ReplyT = TypeVar("ReplyT")


class BlockingKernel:
    """A running kernel, called from any thread; each call waits in the calling thread. Errors are the kernel's."""

    def __init__(self, portal: BlockingPortal, kernel: Kernel) -> None:
        self._portal = portal
        self._kernel = kernel

    def _run(self, function: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        return self._portal.call(partial(function, *args, **kwargs))

    def _ask(self, function: Callable[[], T]) -> T:
        return self._portal.call(function)

    def call(self, request: Request[ReplyT], *, timeout: float | None = None) -> ReplyT:
        """Call and wait; see ``Kernel.call``."""
        return cast("ReplyT", self._run(self._kernel.call, request, timeout=timeout))

    def call_tag(self, tag: str, body: Any = None, *, timeout: float | None = None) -> Any:
        """Call by name and wait; see ``Kernel.call_tag``."""
        return self._run(self._kernel.call_tag, tag, body, timeout=timeout)

    def publish(self, event: Message) -> int:
        """Publish; see ``Kernel.publish``."""
        return self._run(self._kernel.publish, event)

    def submit(self, request: Request[ReplyT], **options: Unpack[Submission]) -> BlockingHandle[ReplyT]:
        """Submit; see ``Kernel.submit``."""
        handle = self._run(self._kernel.submit, request, **options)
        return BlockingHandle(self._portal, cast("ActionHandle[ReplyT]", handle))

    def submit_and_wait(self, request: Request[ReplyT], **options: Unpack[Submission]) -> ReplyT:
        """Submit and wait for the reply; see ``Kernel.submit_and_wait``."""
        return self.submit(request, **options).wait()

    def get_dlq_items(self, limit: int = 100, **only: Any) -> list[DeadLetter]:
        """Return dead letters; see ``Kernel.get_dlq_items``."""
        return self._run(self._kernel.get_dlq_items, limit, **only)

    def redrive(self, trace_id: str) -> BlockingHandle[Any]:
        """Submit a dead letter's action again; see ``Kernel.redrive``."""
        return BlockingHandle(self._portal, self._run(self._kernel.redrive, trace_id))

    def redrive_where(self, **only: Any) -> RedriveReport:
        """Submit the actions of dead letters again; see ``Kernel.redrive_where``."""
        return self._run(self._kernel.redrive_where, **only)

    def purge(self, trace_ids: Iterable[str] | None = None, **only: Any) -> int:
        """Delete dead letters; see ``Kernel.purge``."""
        return self._run(self._kernel.purge, trace_ids, **only)

    def park(self, trace_ids: Iterable[str] | None = None, **only: Unpack[Choice]) -> int:
        """Put dead letters aside; see ``Kernel.park``."""
        return self._run(self._kernel.park, trace_ids, **only)

    def unpark(self, trace_ids: Iterable[str] | None = None, **only: Unpack[Choice]) -> int:
        """Put parked dead letters back; see ``Kernel.unpark``."""
        return self._run(self._kernel.unpark, trace_ids, **only)

    def add_plugin(
        self, plugin_type: type[Plugin[Any]], *, settings: Mapping[str, Any] | Settings | None = None
    ) -> PluginInfo:
        """Bring up a plugin class; see ``Kernel.add_plugin``."""
        return self._run(self._kernel.add_plugin, plugin_type, settings=settings)

    def remove_plugin(self, name: str) -> None:
        """Stop a plugin; see ``Kernel.remove_plugin``."""
        self._run(self._kernel.remove_plugin, name)

    def restart_plugin(self, name: str, *, reason: str = "") -> PluginRestarted:
        """Bring a plugin's code up afresh; see ``Kernel.restart_plugin``."""
        return self._run(self._kernel.restart_plugin, name, reason=reason)

    def disable_plugin(self, name: str, *, reason: str = "") -> PluginDisabled:
        """Quarantine a plugin; see ``Kernel.disable_plugin``."""
        return self._run(self._kernel.disable_plugin, name, reason=reason)

    def enable_plugin(self, name: str) -> PluginEnabled:
        """Bring a quarantined plugin back; see ``Kernel.enable_plugin``."""
        return self._run(self._kernel.enable_plugin, name)

    def plugins(self) -> list[PluginInfo]:
        """Return a snapshot of each plugin."""
        return self._ask(self._kernel.plugins)

    def get_service_info(self, name: str) -> ServiceInfo | None:
        """Return a snapshot of one service."""
        return self._portal.call(self._kernel.registry.get_service_info, name)

    def statistics(self) -> KernelStatistics:
        """Return a snapshot of all that is counted."""
        return self._ask(self._kernel.statistics)

    def health(self) -> Health:
        """Return how the host is."""
        return self._ask(self._kernel.health)


class BlockingHandle(Generic[ReplyT]):
    """An accepted action; see ``ActionHandle``."""

    def __init__(self, portal: BlockingPortal, handle: ActionHandle[ReplyT]) -> None:
        self._portal = portal
        self._handle = handle

    @property
    def trace_id(self) -> str:
        """The action's name."""
        return self._handle.trace_id

    @property
    def status(self) -> ActionStatus:
        """Where the action is."""
        return self._handle.status

    def wait(self) -> ReplyT:
        """Wait for the reply; raises what dead-lettered the action."""
        return self._portal.call(self._handle.wait)

    def cancel(self) -> bool:
        """End the action before its time; ``False`` if it had ended already."""
        return self._portal.call(self._handle.cancel)


@contextmanager
def run_blocking(config: Config | None, backend: str) -> Generator[BlockingKernel]:
    """Run a kernel in a thread of its own; ``Kernel.blocking`` is the public name."""
    with start_blocking_portal(backend) as portal, portal.wrap_async_context_manager(Kernel(config)) as kernel:
        yield BlockingKernel(portal, kernel)
