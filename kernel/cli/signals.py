"""Ctrl-C and SIGTERM for a host: the first asks it to stop, the second ends it, as does a stop that takes too long."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Never, Self

import anyio
from anyio.lowlevel import EventLoopToken, current_token

from aetherra.kernel.cli.project import holder
from aetherra.kernel.datadir import SOCKET_NAME
from aetherra.kernel.stacks import thread_stack

SHOW_CURSOR = "\x1b[?25h"
GRACE = 2.0
"""Seconds beyond the host's own shutdown deadline before the process is ended."""


class StopSignals:
    """Turns signals into one call of a stop function on the event loop.

    They are taken by Python's own handler and a thread, so that they are heard also while a plugin blocks the loop.
    One that comes before there is a loop is kept for ``bind``.

    Args:
        shutdown_timeout: The host's own; with some grace, the time that a stop may take.
        data_dir: Where the host's control socket is, which a process ended by force does not leave behind.
    """

    def __init__(self, shutdown_timeout: float, data_dir: Path | None) -> None:
        self.received: int | None = None
        self._limit = shutdown_timeout + GRACE
        self._stop: Callable[[], object] | None = None
        self._token: EventLoopToken | None = None
        self._data_dir = data_dir
        self._armed = False
        self._over = False

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Keep the handlers, as threads may keep the process from ending: from here on one signal is enough."""
        self._over = True

    def bind(self, stop: Callable[[], object]) -> None:
        """Have ``stop`` called on this event loop at the first signal; at once if there was one."""
        self._stop, self._token = stop, current_token()
        if self.received is not None:
            stop()

    def arm(self) -> None:
        """End the process by force if it is still there after the shutdown deadline; twice does no harm."""
        if not self._armed:
            self._armed = True
            threading.Thread(target=self._end_by_force, name="aetherra stop", daemon=True).start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._over:
            os._exit(1)
        if self.received is not None:
            self._end("a second signal: ended without a clean stop")
        self.received = number
        self.arm()
        if self._token is not None:
            threading.Thread(target=self._ask, name="aetherra signal", daemon=True).start()

    def _ask(self) -> None:
        if self._stop is None:
            return
        try:
            anyio.from_thread.run_sync(self._stop, token=self._token)
        except RuntimeError:
            return  # the loop has ended on its own

    def _end_by_force(self) -> None:
        time.sleep(self._limit)
        lines = [f"the stop took longer than {self._limit:g} s; the process is ended, and hangs here:"]
        for thread in threading.enumerate():
            frames, text = thread_stack(thread.ident or 0)
            if not thread.daemon and not _is_idle_worker(frames):
                lines += [f"{thread.name}:", text]
        self._end("\n".join(lines))

    def _end(self, message: str) -> Never:
        """End the process here and now; a terminal gets back the cursor that a live area hides."""
        if self._data_dir is not None and holder(self._data_dir) == os.getpid():
            (self._data_dir / SOCKET_NAME).unlink(missing_ok=True)
        cursor = SHOW_CURSOR if os.isatty(2) else ""
        os.write(2, f"{cursor}aetherra: {message}\n".encode(errors="replace"))
        os._exit(1)


def _is_idle_worker(frames: list[FrameType]) -> bool:
    """Whether a thread of the pool waits for work, which holds up nothing."""
    return any(frame.f_code.co_filename.endswith("queue.py") for frame in frames[:3])
