"""What is asked of the benchmark's plugin, and the plugin: each handler is also the floor's, when it is called bare."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel

from aetherra.plugins import Message, Plugin, Request, handler


class Told(Message, tag="bench.told"):
    """The reply of all of them: one object, so that making it costs nobody anything and who gets it can be sure."""


class Noop(Request[Told], tag="bench.noop"):
    number: int = 0


class NoopMaybeLater(Request[Told], tag="bench.noop_maybe_later"):
    number: int = 0


class NoopPlainly(Request[Told], tag="bench.noop_plainly"):
    number: int = 0


class NoopAfterTurn(Request[Told], tag="bench.noop_after_turn"):
    number: int = 0


class Hold(Request[Told], tag="bench.hold"):
    pass


class Urgent(Request[Told], tag="bench.urgent"):
    number: int = 0


TOLD = Told()


class Tally:
    """What handlers leave behind."""

    def __init__(self) -> None:
        self.ran = 0
        self.urgent_at = 0
        self.held = anyio.Event()
        self.released = anyio.Event()


class Noops(Plugin):
    """Does nothing, in every way that a handler can.

    ``noop`` has no ``await``, which a host can tell beforehand; ``noop_maybe_later`` has one and does not come to it.
    """

    tally = Tally()
    turn: Callable[[], Awaitable[object]] = staticmethod(anyio.lowlevel.checkpoint)

    @handler
    async def noop(self, _: Noop) -> Told:
        self.tally.ran += 1
        return TOLD

    @handler
    async def noop_maybe_later(self, request: NoopMaybeLater) -> Told:
        if request.number < 0:
            await self.turn()
        self.tally.ran += 1
        return TOLD

    @handler
    def noop_plainly(self, _: NoopPlainly) -> Told:
        self.tally.ran += 1
        return TOLD

    @handler
    async def noop_after_turn(self, _: NoopAfterTurn) -> Told:
        await self.turn()
        self.tally.ran += 1
        return TOLD

    @handler
    async def hold(self, _: Hold) -> Told:
        self.tally.held.set()
        await self.tally.released.wait()
        return TOLD

    @handler
    async def urgent(self, _: Urgent) -> Told:
        self.tally.urgent_at = time.perf_counter_ns()
        return TOLD
