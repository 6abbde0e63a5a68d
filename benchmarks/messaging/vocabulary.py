"""What the benchmark's plugins say, and the plugins: each handler is also the floor, when it is awaited bare."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio.lowlevel

from aetherra.plugins import Message, Plugin, Request, handler


class Sum(Message, tag="bench.sum"):
    total: int


class Add(Request[Sum], tag="bench.add"):
    left: int
    right: int


class AddMaybeLater(Request[Sum], tag="bench.add_maybe_later"):
    left: int
    right: int


class AddPlainly(Request[Sum], tag="bench.add_plainly"):
    left: int
    right: int


class AddAfterTurn(Request[Sum], tag="bench.add_after_turn"):
    left: int
    right: int


class AddOnceTold(Request[Sum], tag="bench.add_once_told"):
    left: int
    right: int


class Relay(Request[Sum], tag="bench.relay"):
    left: int
    right: int


class Repeat(Request[None], tag="bench.repeat"):
    count: int


class Tick(Message, tag="bench.tick"):
    number: int
    celsius: float = 21.5
    room: str = "kitchen"


class Burst(Request[None], tag="bench.burst"):
    count: int


Wait = Callable[[], Awaitable[object]]


class Adder(Plugin):
    """Answers at once, after a turn of the event loop, or once another task says so.

    ``add`` has no ``await``, which a host can tell beforehand; ``add_maybe_later`` has one and does not come to it.
    """

    turn: Wait = staticmethod(anyio.lowlevel.checkpoint)
    told: Wait = staticmethod(anyio.lowlevel.checkpoint)

    @handler
    async def add(self, request: Add) -> Sum:
        return Sum(request.left + request.right)

    @handler
    async def add_maybe_later(self, request: AddMaybeLater) -> Sum:
        if request.left < 0:
            await self.turn()
        return Sum(request.left + request.right)

    @handler
    def add_plainly(self, request: AddPlainly) -> Sum:
        return Sum(request.left + request.right)

    @handler
    async def add_after_turn(self, request: AddAfterTurn) -> Sum:
        await self.turn()
        return Sum(request.left + request.right)

    @handler
    async def add_once_told(self, request: AddOnceTold) -> Sum:
        await self.told()
        return Sum(request.left + request.right)

    @handler
    async def burst(self, request: Burst) -> None:
        for number in range(request.count):
            await self.ctx.publish(Tick(number))


class Caller(Plugin):
    """Calls the adder, as plugins do."""

    @handler
    async def relay(self, request: Relay) -> Sum:
        return await self.ctx.call(Add(request.left, request.right))

    @handler
    async def repeat(self, request: Repeat) -> None:
        call, add = self.ctx.call, Add(2, 3)
        for _ in range(request.count):
            await call(add)
