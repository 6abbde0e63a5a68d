"""A thread that a plugin started through its context: told to end with the generation, and awaited."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile
from typing import Any

import anyio
import anyio.from_thread
from anyio.lowlevel import current_token

from aetherra.kernel.stacks import local_of, stack_text, thread_stack


class PluginThread(threading.Thread):
    """A thread that ends with a generation, and can be told from others by that."""


class BackgroundThread:
    """A daemon thread with one function in it, which begins at once.

    Args:
        function: Called with an event that is set when it is to end, and ``args``.
        args: The rest.
        name: The thread's.
        report: Told on the event loop what the function raised, ``SystemExit`` included.
        ended: Told on the event loop that the thread has ended.

    Attributes:
        left: Set when it has ended, or was given up.
    """

    def __init__(
        self,
        function: Callable[..., object],
        args: tuple[Any, ...],
        *,
        name: str,
        report: Callable[[str, BaseException], None],
        ended: Callable[[BackgroundThread], None],
    ) -> None:
        self.name = name
        self.left = anyio.Event()
        self._stop = threading.Event()
        self._report = report
        self._ended = ended
        self._token = current_token()
        self._work: tuple[Callable[..., object], tuple[Any, ...]] | None = (function, args)
        self.thread = PluginThread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        fault = self._call()
        with suppress(RuntimeError):  # the event loop has ended without us
            anyio.from_thread.run_sync(self._come_back, fault, token=self._token)

    def _call(self) -> BaseException | None:
        """Call the function, and hold nothing of it any more when the event loop is told that it has ended."""
        assert self._work is not None
        (function, args), self._work = self._work, None
        try:
            function(self._stop, *args)
        except BaseException as exc:  # noqa: BLE001  # it is the plugin's fault, told where its others are
            return exc
        return None

    def _come_back(self, fault: BaseException | None) -> None:
        self.left.set()
        if fault is not None:
            self._report(f"thread {self.name!r}", fault)
        self._ended(self)

    def leave(self, *, hurry: bool) -> None:
        """Tell it to end; in a hurry give it up, if it has not."""
        self._stop.set()
        if hurry:
            self.left.set()

    def stack(self) -> str:
        """Return where it is now, as text."""
        frames, _ = thread_stack(self.thread.ident or 0)
        called = takewhile(lambda frame: local_of(frame, "self") is not self, frames)
        return f"  in thread {self.name!r}\n{stack_text(reversed(list(called)))}"
