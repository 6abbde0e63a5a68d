"""The resources of one generation: each entered and left by a task or thread of its own, last in first out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import anyio
from anyio.abc import TaskGroup

from aetherra.kernel.background import BackgroundThread
from aetherra.kernel.stacks import coroutine_stack
from aetherra.kernel.tempfolder import TemporaryFolder
from aetherra.registry.errors import is_signal

T = TypeVar("T")


class _Held(Protocol):
    """What is left in its turn, which may take time."""

    left: anyio.Event

    def leave(self, *, hurry: bool) -> None:
        """Begin to leave it; ``left`` is set when that is done, and in a hurry soon."""

    def stack(self) -> str:
        """Return where it waits, as text."""
        ...


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
        self._held: list[_Held | _Callback] = []
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
            self._drop(resource)

    def defer(self, callback: Callable[[], object], name: str = "") -> None:
        """Call ``callback`` at the end, in its turn; ``name`` is what its faults are reported under."""
        self._hold(_Callback(callback, name or f"deferred {getattr(callback, '__qualname__', repr(callback))}"))

    def start_thread(self, function: Callable[..., object], *args: Any, name: str) -> None:
        """Run a function in a daemon thread, with an event before ``args`` that is set when it is to end."""
        self._check_open()
        self._hold(BackgroundThread(function, args, name=name, report=self._report, ended=self._drop))

    def temporary_folder(self, prefix: str) -> Path:
        """Make a folder that is removed at the end, in its turn.

        Raises:
            OSError: It cannot be made.
        """
        self._check_open()
        folder = TemporaryFolder(prefix, self._report)
        self._hold(folder)
        return folder.path

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the plugin is stopping: it can take nothing more")

    def _hold(self, thing: _Held | _Callback) -> None:
        self._check_open()
        self._held.append(thing)

    def _drop(self, thing: _Held) -> None:
        if thing in self._held:
            self._held.remove(thing)

    async def close(self, *, hurry: bool = False) -> None:
        """Leave all that was entered, last in first out; what is still being entered is cancelled.

        Cancelled, it can be called again and goes on where it was.

        Args:
            hurry: Cancel each as it is left, so that it cleans up without waiting.
        """
        self._closed = True
        while self._held:
            last = self._held[-1]
            if isinstance(last, _Callback):
                self._held.pop()
                self._call(last)
            else:
                last.leave(hurry=hurry)
                await last.left.wait()
                self._drop(last)

    def _call(self, callback: _Callback) -> None:
        try:
            callback.function()
        except BaseException as exc:
            if is_signal(exc):
                raise
            self._report(callback.name, exc)

    def abort(self) -> None:
        """Cancel all that is left, at once."""
        for held in list(self._held):
            if not isinstance(held, _Callback):
                held.leave(hurry=True)

    def stack(self) -> str:
        """Return where that waits which is being left, as text."""
        last = self._held[-1] if self._held else None
        return "" if last is None or isinstance(last, _Callback) else last.stack()


class _Callback(NamedTuple):
    """A plain function to be called, and what it is called in reports."""

    function: Callable[[], object]
    name: str


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
