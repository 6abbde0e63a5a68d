"""The other end of the control socket for programs that are not async: its event loop is in a thread of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from aetherra.registry.client import RemoteHost, connect
from aetherra.registry.errors import EventTimeoutError
from aetherra.registry.listener import RemoteEvent
from aetherra.registry.messages import Message, Request, tag_of
from aetherra.registry.protocol import RemoteOverflow

EventT = TypeVar("EventT", bound=Message)
HeardT = TypeVar("HeardT")
ReplyT = TypeVar("ReplyT")


class BlockingHost:
    """A host in another process, called from any thread; each call waits in the calling thread.

    Errors are those of ``RemoteHost``. Calls of several threads are under way side by side, over one connection.
    """

    def __init__(self, portal: BlockingPortal, host: RemoteHost) -> None:
        self.name, self.pid = host.name, host.pid
        self._portal = portal
        self._host = host

    def call(self, request: Request[ReplyT], *, timeout: float | None = None) -> ReplyT:
        """Call and wait; see ``RemoteHost.call``."""
        answer: Callable[[], Any] = partial(self._host.call, request, timeout=timeout)
        reply: ReplyT = self._portal.call(answer)
        return reply

    def call_tag(self, tag: str, body: Any = None, *, timeout: float | None = None) -> Any:
        """Call by name and wait; see ``RemoteHost.call_tag``."""
        return self._portal.call(partial(self._host.call_tag, tag, body, timeout=timeout))

    def publish(self, event: Message) -> int:
        """Publish an event in the host and return how many of its subscribers keep it; see ``RemoteHost.publish``."""
        return self._portal.call(self._host.publish, event)

    @overload
    @contextmanager
    def listen(
        self, what: type[EventT], *, capacity: int = ..., overflow: RemoteOverflow = ...
    ) -> Generator[BlockingListener[EventT]]: ...
    @overload
    @contextmanager
    def listen(
        self, what: str, *, capacity: int = ..., overflow: RemoteOverflow = ...
    ) -> Generator[BlockingListener[RemoteEvent]]: ...
    @contextmanager
    def listen(
        self, what: Any, *, capacity: int = 1000, overflow: RemoteOverflow = "drop_oldest"
    ) -> Generator[BlockingListener[Any]]:
        """Hear events from when the block is entered until it is left; see ``RemoteHost.listen``."""
        hearing: Any = self._host.listen(what, capacity=capacity, overflow=overflow)
        with self._portal.wrap_async_context_manager(hearing) as events:
            yield BlockingListener(self._portal, events, what if isinstance(what, str) else tag_of(what))

    def wait_for(
        self, what: type[EventT], *, where: Callable[[EventT], bool] | None = None, timeout: float | None = None
    ) -> EventT:
        """Return the next event of a class for which ``where`` holds; see ``RemoteHost.wait_for``."""
        heard: Callable[[], Any] = partial(self._host.wait_for, what, where=where, timeout=timeout)
        event: EventT = self._portal.call(heard)
        return event


class BlockingListener(Generic[HeardT]):
    """Events, one after the other, as an iterator that waits for the next; for one thread at a time."""

    def __init__(self, portal: BlockingPortal, events: AsyncIterator[HeardT], what: str) -> None:
        self._portal = portal
        self._events = events
        self._what = what

    def __iter__(self) -> Iterator[HeardT]:
        return self

    def __next__(self) -> HeardT:
        return self._portal.call(self._next, None)

    def next(self, timeout: float) -> HeardT:
        """Return the next event.

        Raises:
            EventTimeoutError: There was none within ``timeout`` seconds; a later one is not lost.
        """
        return self._portal.call(self._next, timeout)

    async def _next(self, timeout: float | None) -> HeardT:
        with anyio.move_on_after(timeout):
            return await anext(self._events)
        raise EventTimeoutError(self._what, timeout or 0.0, "none came")


@contextmanager
def connect_blocking(path: str | Path, *, name: str = "python") -> Generator[BlockingHost]:
    """Connect to the host whose control socket is at ``path``; see ``connect``."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(connect(path, name=name)) as host:
        yield BlockingHost(portal, host)
