"""The tasks of one generation: in a group of their own, each known by its name and by where it waits."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus

from aetherra.kernel.errors import StepTimeoutError
from aetherra.kernel.stacks import coroutine_stack
from aetherra.registry import Clock, Identity
from aetherra.registry.errors import is_signal

CANCEL_GRACE = 1.0
"""Seconds that a cancelled step has to end before it is left behind, named."""


class Tasks:
    """Runs a plugin's coroutines until they are cancelled together.

    Args:
        identity: Whose they are.
        clock: The host's.
        record_fault: Told which task raised, and what.
    """

    def __init__(self, identity: Identity, clock: Clock, record_fault: Callable[[str, BaseException], None]) -> None:
        self.identity = identity
        self._clock = clock
        self._record_fault = record_fault
        self._group: TaskGroup | None = None
        self._gone = anyio.Event()
        self._work: list[_Work] = []

    async def live(self, *, task_status: TaskStatus[None]) -> None:
        """Hold the group that they run in, until ``end``."""
        try:
            async with anyio.create_task_group() as self._group:
                task_status.started()
                await anyio.sleep_forever()
        finally:
            self._group = None
            self._gone.set()

    @property
    def living(self) -> bool:
        """Whether the group is there."""
        return self._group is not None

    def start(self, name: str, begin: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Run a task.

        Raises:
            RuntimeError: They have ended.
        """
        if self._group is None:
            raise RuntimeError(f"{self.identity} is not running: it can start no task")
        self._group.start_soon(self._run, _Work(f"task {name}", begin))

    async def _run(self, work: _Work) -> None:
        await self._perform(work)
        if work.fault is not None:
            self._record_fault(work.name, work.fault)

    async def step(self, name: str, begin: Callable[[], Coroutine[Any, Any, Any]], timeout: float) -> Any:
        """Return what a step of the plugin's life does, in its own task under a deadline that cannot be ignored.

        Raises:
            StepTimeoutError: It was not done in time; says where it waited.
            RuntimeError: They have ended.
            BaseException: What it raised.
        """
        if self._group is None:
            raise RuntimeError(f"{self.identity} is not running: it cannot {name}")
        work = _Work(name, begin)
        self._group.start_soon(self._perform, work)
        try:
            with self._clock.move_on_after(timeout):
                await work.done.wait()
                return work.outcome()
            stack = work.stack()
            work.scope.cancel()
            with self._clock.move_on_after(CANCEL_GRACE):
                await work.done.wait()
        except BaseException:
            work.scope.cancel()
            raise
        raise StepTimeoutError(self.identity.name, name, timeout, stack)

    async def _perform(self, work: _Work) -> None:
        self._work.append(work)
        try:
            await work.run()
        finally:
            self._work.remove(work)

    async def end(self, timeout: float) -> None:
        """Cancel all, and wait for their end; ``stacks`` has those that have not come to it after so many seconds."""
        if self._group is not None:
            self._group.cancel_scope.cancel()
        with self._clock.move_on_after(timeout):
            await self._gone.wait()

    def stacks(self) -> list[tuple[str, str]]:
        """Return the name of each that runs, and where it waits, as text."""
        return [(work.name, work.stack()) for work in self._work]


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


def name_of(thing: object) -> str:
    """Return what logs call a function or an iterator."""
    return str(getattr(thing, "__qualname__", None) or repr(thing))
