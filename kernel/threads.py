"""Plugin code in a thread of its own, which can be left behind when it takes too long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import takewhile
from typing import Generic, TypeVar

import anyio
import anyio.from_thread
from anyio.lowlevel import current_token

from aetherra.kernel.stacks import stack_text, thread_stack

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
        called = takewhile(lambda frame: frame.f_locals.get("self") is not self, frames)
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
