"""The resources of one generation: entered and left by one task of their own, last in first out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup

from aetherra.registry.errors import is_signal

T = TypeVar("T")


class ResourceOwner:
    """Enters context managers on behalf of others, and leaves them in reverse.

    A context manager that opens cancel scopes or task groups must be left by the task that entered it, with
    nothing opened in between still open. So one task does nothing but that; it starts with the first.
    """

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._entries: list[_Entry] = []
        self._wake = anyio.Event()
        self._closing = False
        self._scope = anyio.CancelScope()
        self._ended: anyio.Event | None = None
        self._fault: BaseException | None = None

    async def enter(self, manager: AbstractAsyncContextManager[T] | AbstractContextManager[T]) -> T:
        """Enter a context manager and return what it gives.

        Raises:
            Exception: What entering raised.
        """
        entry = _Entry(manager)
        self._push(entry)
        await entry.done.wait()
        if entry.fault is not None:
            raise entry.fault
        return entry.value  # type: ignore[no-any-return]  # T by the signature above

    def defer(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` at the end, in its turn."""
        self._push(_Entry(callback))

    def _push(self, entry: _Entry) -> None:
        if self._closing or self._fault is not None:
            raise RuntimeError("the plugin is stopping: it can take nothing more")
        self._entries.append(entry)
        self._wake.set()
        if self._ended is None:
            self._ended = anyio.Event()
            self._group.start_soon(self._own)

    async def close(self) -> BaseException | None:
        """Leave all that was entered and return what that raised, if anything. Bounded by ``abort``."""
        self._closing = True
        self._wake.set()
        if self._ended is not None:
            await self._ended.wait()
        return self._fault

    def abort(self) -> None:
        """Cancel what is being entered or left right now, and leave the rest in a hurry."""
        self._scope.cancel()

    async def _own(self) -> None:
        assert self._ended is not None
        try:
            with self._scope:
                async with AsyncExitStack() as stack:
                    async for entry in self._coming():
                        await entry.perform(stack)
        except BaseException as exc:
            if is_signal(exc):
                raise
            self._fault = exc
        finally:
            for entry in self._entries:
                entry.fault = entry.fault or RuntimeError("the plugin stopped before this was entered")
                entry.done.set()
            self._ended.set()

    async def _coming(self) -> AsyncIterator[_Entry]:
        while True:
            while self._entries:
                yield self._entries.pop(0)
            if self._closing:
                return
            self._wake = anyio.Event()
            await self._wake.wait()


class _Entry:
    """One thing to enter, or to call at the end."""

    def __init__(self, what: Any) -> None:
        self.what = what
        self.done = anyio.Event()
        self.value: Any = None
        self.fault: BaseException | None = None

    async def perform(self, stack: AsyncExitStack) -> None:
        try:
            if isinstance(self.what, AbstractAsyncContextManager):
                self.value = await stack.enter_async_context(self.what)
            elif isinstance(self.what, AbstractContextManager):
                self.value = stack.enter_context(self.what)
            else:
                stack.callback(self.what)
        except BaseException as exc:
            if is_signal(exc):
                self.fault = RuntimeError("the plugin stopped while this was entered")
                raise
            self.fault = exc
        finally:
            self.done.set()
