"""Plugin code in threads, which can be left behind when it takes too long."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import Generic, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.lowlevel import current_token

from aetherra.kernel.actions.action import Action, current_action
from aetherra.kernel.stacks import local_of, stack_text, thread_stack
from aetherra.registry import Gate

SHORT_TURN = 0.0005
"""Seconds after which a thread that wants the interpreter gets it, while plugin code is imported beside the loop."""
_ROUNDING = 5e-7
"""The interpreter cuts its setting off to whole microseconds; half of one more keeps what it has told."""
_turns: list[float] = []
_turns_lock = threading.Lock()
A = TypeVar("A")
T = TypeVar("T")


class Errand(Generic[T]):
    """One call of a plain function in a daemon thread: nobody has to wait for it, not even the end of the process.

    Args:
        function: What to call.
        name: The thread's.
        unwanted: Told of a result that came after ``wait`` was cancelled.
    """

    def __init__(self, function: Callable[[], T], *, name: str, unwanted: Callable[[T], object]) -> None:
        self._function = function
        self._unwanted = unwanted
        self._lock = threading.Lock()
        self._results: list[T] = []
        self._fault: BaseException | None = None
        self._over = self._left = False
        self._back = anyio.Event()
        self._token = current_token()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    async def wait(self) -> None:
        """Begin, and return when the function has returned or raised. Cancelled, it leaves the thread to itself."""
        self._thread.start()
        try:
            await self._back.wait()
        except BaseException:
            with self._lock:
                self._left = True
                late = self._over
            if late:
                self._discard()
            raise

    def result(self) -> T:
        """Return what the function returned, or raise what it raised, signals included."""
        if self._fault is not None:
            raise self._fault
        (result,) = self._results
        return result

    def stack(self) -> str:
        """Return where the function is now, as text."""
        frames, _ = thread_stack(self._thread.ident or 0)
        called = takewhile(lambda frame: local_of(frame, "self") is not self, frames)
        return stack_text(reversed(list(called)))

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as exc:  # noqa: BLE001  # it is the caller's, who may be gone
            self._fault = exc
        with self._lock:
            self._over = True
            left = self._left
        if left:
            self._discard()
            return
        try:
            anyio.from_thread.run_sync(self._back.set, token=self._token)
        except RuntimeError:  # the event loop has ended without us
            self._discard()

    def _discard(self) -> None:
        for result in self._results:
            self._unwanted(result)


@contextmanager
def short_turns() -> Generator[None]:
    """Have threads take turns of half a millisecond instead of five while the body runs, for the event loop's sake.

    What the interpreter was set to before is set again when the last body is left, unless somebody has changed it.
    """
    with _turns_lock:
        _turns.append(sys.getswitchinterval())
        sys.setswitchinterval(min(SHORT_TURN, _turns[0]) + _ROUNDING)
    try:
        yield
    finally:
        with _turns_lock:
            before = _turns.pop()
            if not _turns and sys.getswitchinterval() <= SHORT_TURN * 1.01:
                sys.setswitchinterval(before + _ROUNDING)


async def run_in_thread(
    function: Callable[[A], T], argument: A, limiter: anyio.CapacityLimiter, gate: Gate | None
) -> T:
    """Call a plain function in a worker thread and return what it does; cancelled, leave the thread to itself.

    A thread that is left to itself is still inside: what it has of ``limiter``, and the place that its caller has
    behind ``gate``, are given back when the function has returned, not before, and an action that it works for hears of
    it only then, so as not to be run twice at a time.
    """
    errand = _Inside(gate, limiter, current_action())
    try:
        await limiter.acquire_on_behalf_of(errand)
    except BaseException:
        if gate is not None:
            gate.leave()
        raise
    alone = anyio.CapacityLimiter(1)  # the other one has let it in
    try:
        return await anyio.to_thread.run_sync(errand.call, function, argument, abandon_on_cancel=True, limiter=alone)
    finally:
        errand.leave()


class _Inside:
    """A call of a function in a thread, for who has to know when the thread is out of it again."""

    def __init__(self, gate: Gate | None, limiter: anyio.CapacityLimiter, action: Action | None) -> None:
        self._gate = gate
        self._limiter = limiter
        self._action = action
        self._lock = threading.Lock()
        self._begun = self._left = self._over = False
        self._token = current_token()

    def call(self, function: Callable[[A], T], argument: A) -> T:
        with self._lock:
            if self._left:
                raise RuntimeError("its caller has gone before it began")
            self._begun = True
        try:
            return function(argument)
        finally:
            with self._lock:
                self._over = True
                left = self._left
            if left:
                with suppress(RuntimeError):  # the event loop has ended without us
                    anyio.from_thread.run_sync(self._come_late, token=self._token)

    def leave(self) -> None:
        """Have no caller any more: the thread is out, was never in, or is left behind."""
        with self._lock:
            inside, self._left = self._begun and not self._over, True
        if not inside:
            self._come_out()
        elif self._action is not None and self._action.owner is not None:
            self._action.owner.left_behind(self._action)

    def _come_late(self) -> None:
        """Be out of a thread that was left behind; on the event loop."""
        self._come_out()
        if self._action is not None and self._action.owner is not None:
            self._action.owner.thread_returned(self._action)

    def _come_out(self) -> None:
        self._limiter.release_on_behalf_of(self)
        if self._gate is not None:
            self._gate.leave()
