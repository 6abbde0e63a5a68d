"""The C library's heap: what is free in it goes back to the system only when it is told to."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import anyio.to_thread

__all__ = ["trim"]


async def trim() -> None:
    """Give free pages back, in a worker thread, where the library can: ``malloc_trim`` of glibc; else do nothing.

    Without it a process stays as large as it ever was, and the next leak is not seen before it fills what is free.
    """
    await anyio.to_thread.run_sync(_trim)


def _trim() -> None:
    function = getattr(_libc(), "malloc_trim", None)
    if function is not None:
        function(0)


@cache
def _libc() -> Any:
    return ctypes.CDLL(None)
