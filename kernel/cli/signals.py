"""Ctrl-C and SIGTERM for a host: the first asks it to stop, the second ends it, as does a stop that takes too long."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

import anyio
from anyio.lowlevel import EventLoopToken, current_token

GRACE = 2.0
"""Seconds beyond the host's own shutdown deadline before the process is ended."""


class StopSignals:
    """Turns signals into one call of a stop function on the event loop.

    They are taken by Python's own handler and a thread, so that they are heard also while a plugin blocks the loop,
    and before there is one: then the command just exits.
    """

    def __init__(self, shutdown_timeout: float) -> None:
        self.received: int | None = None
        self._timeout = shutdown_timeout
        self._stop: Callable[[], object] | None = None
        self._token: EventLoopToken | None = None
        self._armed = False

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Keep the handlers: until the process has ended, a signal may still want to hurry it."""

    def bind(self, stop: Callable[[], object]) -> None:
        """Have ``stop`` called on this event loop at the first signal; at once if there was one."""
        self._token = current_token()
        self._stop = stop
        if self.received is not None:
            stop()

    def arm(self) -> None:
        """End the process by force if it is still there after the shutdown deadline; twice does no harm."""
        if not self._armed:
            self._armed = True
            threading.Thread(target=self._end_by_force, name="aetherra stop", daemon=True).start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.received is not None:
            os.write(2, b"aetherra: a second signal: ended without a clean stop\n")
            os._exit(1)
        self.received = number
        if self._token is None:
            raise SystemExit(1)
        self.arm()
        threading.Thread(target=self._ask, name="aetherra signal", daemon=True).start()

    def _ask(self) -> None:
        if self._stop is None or self._token is None:
            return
        try:
            anyio.from_thread.run_sync(self._stop, token=self._token)
        except RuntimeError:
            return  # the loop has ended on its own

    def _end_by_force(self) -> None:
        time.sleep(self._timeout + GRACE)
        limit = self._timeout + GRACE
        sys.stderr.write(f"aetherra: the stop took longer than {limit:g} s; the process is ended, and hangs here:\n")
        sys.stderr.flush()
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        os._exit(1)
