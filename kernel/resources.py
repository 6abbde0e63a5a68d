"""The resources of one generation: each entered and left by a task of its own, last in first out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from aetherra.kernel.stacks import coroutine_stack
from aetherra.registry.errors import is_signal

T = TypeVar("T")


class ResourceOwner:
    """Enters context managers on behalf of others, and leaves them in reverse.

    A context manager that opens cancel scopes or task groups must be left by the task that entered it, with nothing
    opened in between still open. So each has a task that does nothing else: one that hangs can be cancelled alone.

    Args:
        group: Where the tasks run.
        report: Told what a context manager or callback raised after it was entered, with its name.
    """

    def __init__(self, group: TaskGroup, report: Callable[[str, BaseException], None]) -> None:
        self._group = group
        self._report = report
        self._held: list[_Resource[Any] | Callable[[], object]] = []
        self._closed = False

    async def enter(self, manager: AbstractAsyncContextManager[T] | AbstractContextManager[T]) -> T:
        """Enter a context manager and return what it gives. A cancelled call gives up on it.

        Raises:
            Exception: What entering raised.
        """
        resource = _Resource(manager, self._report)
        self._hold(resource)
        self._group.start_soon(self._own, resource)
        try:
            await resource.settled.wait()
        except BaseException:
            resource.scope.cancel()
            raise
        return resource.value()

    async def _own(self, resource: _Resource[Any]) -> None:
        try:
            await resource.run()
        finally:
            self._held.remove(resource)

    def defer(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` at the end, in its turn."""
        self._hold(callback)

    def _hold(self, thing: _Resource[Any] | Callable[[], object]) -> None:
        if self._closed:
            raise RuntimeError("the plugin is stopping: it can take nothing more")
        self._held.append(thing)

    async def close(self, *, hurry: bool = False) -> None:
        """Leave all that was entered, last in first out; what is still being entered is cancelled.

        Cancelled, it can be called again and goes on where it was.

        Args:
            hurry: Cancel each as it is left, so that it cleans up without waiting.
        """
        self._closed = True
        while self._held:
            last = self._held[-1]
            if isinstance(last, _Resource):
                last.leave(hurry=hurry)
                await last.left.wait()
            else:
                self._held.pop()
                self._call(last)

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except BaseException as exc:
            if is_signal(exc):
                raise
            self._report(f"deferred {getattr(callback, '__qualname__', repr(callback))}", exc)

    def abort(self) -> None:
        """Cancel all that is left, at once."""
        for resource in self._held:
            if isinstance(resource, _Resource):
                resource.leave(hurry=True)

    def stack(self) -> str:
        """Return where that waits which is being left, as text."""
        last = self._held[-1] if self._held else None
        return last.stack() if isinstance(last, _Resource) else ""


class _Resource(Generic[T]):
    """One context manager, and the task that enters it, holds it and leaves it."""

    def __init__(
        self,
        manager: AbstractAsyncContextManager[T] | AbstractContextManager[T],
        report: Callable[[str, BaseException], None],
    ) -> None:
        self.scope = anyio.CancelScope()
        self.settled = anyio.Event()
        self.left = anyio.Event()
        self._manager = manager
        self._report = report
        self._wanted = anyio.Event()
        self._values: list[T] = []
        self._fault: BaseException | None = None
        self._coroutine: Coroutine[Any, Any, None] | None = None

    def value(self) -> T:
        if self._fault is not None:
            raise self._fault
        if not self._values:
            raise RuntimeError("the plugin stopped before this was entered")
        return self._values[0]

    def leave(self, *, hurry: bool) -> None:
        self._wanted.set()
        if hurry or not self._values:
            self.scope.cancel()

    async def run(self) -> None:
        try:
            with self.scope:
                self._coroutine = self._hold()
                await self._coroutine
        except BaseException as exc:
            if is_signal(exc):
                raise
            self._fault = exc
            if self._values:
                self._report(f"resource {type(self._manager).__qualname__}", exc)
        finally:
            self.settled.set()
            self.left.set()

    async def _hold(self) -> None:
        if isinstance(self._manager, AbstractAsyncContextManager):
            async with self._manager as value:
                await self._lend(value)
        else:  # what is no context manager at all raises here, and says so
            with self._manager as value:
                await self._lend(value)

    async def _lend(self, value: T) -> None:
        self._values.append(value)
        self.settled.set()
        await self._wanted.wait()

    def stack(self) -> str:
        return coroutine_stack(self._coroutine)
