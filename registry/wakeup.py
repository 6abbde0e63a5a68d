"""A wake-up call for one waiter: on asyncio a bare future, a tenth as dear as anyio's event, which serves trio."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio

Wakeup = Any
"""What ``new_wakeup`` returns; an ``asyncio`` future or an anyio event."""


def new_wakeup() -> Wakeup:
    """Return something that can be waited for once, on the event loop that runs here."""
    try:
        return asyncio.get_running_loop().create_future()
    except RuntimeError:
        return anyio.Event()


async def wait(wakeup: Wakeup) -> None:
    """Return once ``wake`` was called; may be cancelled."""
    if isinstance(wakeup, asyncio.Future):
        await wakeup
    else:
        await wakeup.wait()


def wake(wakeup: Wakeup) -> None:
    """Let the waiter go on; twice does no harm, nor does it if the waiter is gone."""
    if isinstance(wakeup, anyio.Event):
        wakeup.set()
    elif not wakeup.done():
        wakeup.set_result(None)
