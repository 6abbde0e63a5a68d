"""A plugin, whole, as its author types it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, assert_type

import msgspec
import pytest

from aetherra.kernel import Kernel
from aetherra.kernel.testing import FakeClock, run_plugin
from aetherra.plugins import Message, Plugin, PluginContext, Request, Settings, every, handler


class Greeting(Message, tag="greeter.greeting"):
    """What is said."""

    text: str


class Greet(Request["Greeting"], tag="greeter.greet"):
    """Ask to be greeted."""

    name: str


class GreeterState(msgspec.Struct):
    """What the next generation must know."""

    greeted: int


class GreeterSettings(Settings):
    """How to greet."""

    greeting: str = "Hello"


class Greeter(Plugin[GreeterSettings]):
    """Greets, and counts."""

    name = "greeter"
    ticks = 0
    greeted = 0

    @handler
    async def greet(self, request: Greet) -> Greeting:
        """Answer a request with what the settings say."""
        self.greeted += 1
        return Greeting(text=f"{self.settings.greeting}, {request.name}")

    @every(60.0)
    async def tick(self) -> None:
        """Run once a minute."""
        self.ticks += 1

    async def start(self, ctx: PluginContext) -> None:
        """Take what is needed."""
        ctx.subscribe(Greeting, self.hear)

    async def hear(self, greeting: Greeting) -> None:
        """Hear what was said."""
        assert_type(greeting, Greeting)

    async def hand_over(self) -> GreeterState:
        """Tell the next generation."""
        return GreeterState(self.greeted)

    async def take_over(self, state: GreeterState) -> None:
        """Go on from the generation before."""
        self.greeted = state.greeted

    async def self_test(self) -> None:
        """Refuse to serve if nothing can be said."""
        assert self.settings.greeting


class Reading(Message, tag="room.reading"):
    """What the probe says."""

    celsius: float


class Heat(Message, tag="room.heat"):
    """What the heater should do."""

    on: bool


class RoomSettings(Settings):
    """How warm it should be."""

    wanted: float = 20.0
    period: float = 30.0


@asynccontextmanager
async def open_probe() -> AsyncGenerator[AsyncIterator[float]]:
    """A probe that says two things."""

    async def values() -> AsyncGenerator[float]:
        for value in (18.5, 22.5):
            yield value

    yield values()


class Room(Plugin[RoomSettings]):
    """Keeps a room warm: a reading comes in, an order goes out."""

    @handler
    async def order(self, reading: Reading) -> Heat:
        """Switch the heater."""
        return Heat(on=reading.celsius < self.settings.wanted)

    @every("period")
    async def look(self) -> None:
        """As often as the settings say."""

    @handler(capacity=10, overflow="drop_newest")
    async def hear(self, heat: Heat) -> None:
        """Hear the own orders."""

    async def start(self, ctx: PluginContext) -> None:
        """Read the probe for as long as the plugin lives."""
        probe = await ctx.enter(open_probe())
        assert_type(probe, AsyncIterator[float])
        ctx.forward(Reading(celsius) async for celsius in probe)


class Bare(Plugin):
    """Has no settings of its own."""


def test_settings_are_not_typed() -> None:
    """A plugin's settings are what stands in its brackets, and frozen; a bare one's have no fields."""
    settings = GreeterSettings(greeting="Hi")
    assert_type(Greeter(settings).settings, GreeterSettings)
    assert_type(Greeter().settings.greeting, str)
    assert_type(Bare().settings, Settings)
    with pytest.raises(AttributeError):
        settings.greeting = "Hey"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError):
        GreeterSettings("Hi")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError):
        GreeterSettings(greting="Hi")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_messages_can_be_changed() -> None:
    """Messages are frozen, by position or by name, and know their fields."""
    greeting = Greeting("Hello")
    assert_type(Greeting(text="Hello").text, str)
    with pytest.raises(AttributeError):
        greeting.text = "Bye"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError):
        Greeting(txt="Hello")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_marks_hide_signatures() -> None:
    """``handler`` and ``every`` leave a method as it was, with arguments or without."""
    greet: Callable[[Greet], Coroutine[Any, Any, Greeting]] = Greeter().greet
    tick: Callable[[], Coroutine[Any, Any, None]] = Greeter().tick
    hear: Callable[[Heat], Coroutine[Any, Any, None]] = Room().hear

    assert [method.__name__ for method in (greet, tick, hear)] == ["greet", "tick", "hear"]


async def test_a_handler_needs_a_host() -> None:
    """One method of a plugin can be tried by itself."""
    heat = await Room(RoomSettings(wanted=21.0)).order(Reading(celsius=18.0))
    assert_type(heat, Heat)

    assert heat.on


async def test_a_plugin_is_not_typed_in_a_host() -> None:
    """The whole plugin runs as it was typed."""
    clock = FakeClock()
    async with run_plugin(Greeter, {"greeting": "Hi"}, clock=clock) as kernel:
        reply = await kernel.call(Greet(name="Ada"))
        assert_type(reply, Greeting)

        assert reply == Greeting("Hi, Ada")


async def test_readings_are_not_forwarded() -> None:
    """What the probe says goes through the handler and comes out as orders."""
    async with Kernel() as kernel:
        with kernel.subscribe(Heat) as orders:
            await kernel.add_plugin(Room)

            assert [(await anext(orders)).on for _ in range(2)] == [True, False]
