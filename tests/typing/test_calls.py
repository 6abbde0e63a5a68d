"""What a host's author writes against a kernel; mypy and pyright must infer what ``assert_type`` says."""

from __future__ import annotations

from logging import StreamHandler
from pathlib import Path
from threading import Event
from typing import Any, assert_type

from aetherra.hmr import GetHmrStatus, HmrController, HmrStatus, Reload, Rollback, Swapped
from aetherra.kernel import ActionHandle, ActionPriority, Kernel, PluginInfo, RetryPolicy
from aetherra.plugins import Call, Message, Plugin, PluginContext, Request, current_call, handler
from aetherra.registry import Subscription, connect, connect_blocking


class Greeting(Message, tag="typing.greeting"):
    """A reply."""

    text: str


class Greet(Request["Greeting"], tag="typing.greet"):
    """A request that names its reply ahead."""

    name: str


class Forget(Request[None], tag="typing.forget"):
    """A request without a reply."""


class Choose(Request[Greeting | None], tag="typing.choose"):
    """A request that may have none."""


class Host(Plugin):
    """Answers them all."""

    name = "typing_host"

    @handler
    async def greet(self, request: Greet) -> Greeting:
        """Greet."""
        return Greeting(f"Hello, {request.name}")

    @handler
    async def forget(self, request: Forget) -> None:
        """Do nothing."""

    @handler
    async def choose(self, request: Choose) -> Greeting | None:
        """Choose nothing."""
        return None


async def test_a_call_is_not_typed() -> None:
    """The reply of a call, and of an action's handle, is the request's."""
    async with Kernel() as kernel:
        assert_type(kernel, Kernel)
        assert_type(await kernel.add_plugin(Host), PluginInfo)

        reply = await kernel.call(Greet(name="Ada"))
        assert_type(reply, Greeting)
        assert reply.text == "Hello, Ada"
        assert_type(await kernel.call(Greet("Ada"), timeout=1.0), Greeting)
        assert_type(await kernel.call(Choose()), Greeting | None)
        assert_type(await kernel.call_tag("typing.greet", {"name": "Ada"}), Any)

        handle = await kernel.submit(
            Greet(name="Ada"), priority=ActionPriority.HIGH, deadline=30.0, timeout=5.0, retry=RetryPolicy()
        )
        assert_type(handle, ActionHandle[Greeting])
        assert_type(await handle.wait(), Greeting)


async def test_an_event_is_not_typed() -> None:
    """A subscription by class yields that class, one by tag or pattern any message."""
    async with Kernel() as kernel:
        with kernel.subscribe(Greeting) as greetings, kernel.subscribe("typing.*") as anything:
            assert_type(greetings, Subscription[Greeting])
            assert_type(await kernel.publish(Greeting("Hello")), int)
            async for greeting in greetings:
                assert_type(greeting, Greeting)
                break
            assert_type(await anext(anything), Message)


async def test_a_swap_is_not_typed() -> None:
    """Hot swap's requests are typed like all others."""
    async with Kernel() as kernel:
        await kernel.add_plugin(HmrController, settings={"watch": False, "sources": ["my_plugins/"]})
        assert_type(await kernel.call(GetHmrStatus()), HmrStatus)


async def swap(kernel: Kernel) -> None:
    """Only looked at."""
    assert_type(await kernel.call(Reload(plugin="greeter")), Swapped)
    assert_type(await kernel.call(Rollback(plugin="greeter")), Swapped)


async def remotely() -> None:
    """Only looked at."""
    async with connect("control.sock") as host:
        assert_type(await host.call(Greet(name="Ada"), timeout=1.0), Greeting)
        assert_type(await host.wait_for(Greeting, where=lambda greeting: greeting.text != ""), Greeting)
        async with host.listen(Greeting) as greetings:
            assert_type(await anext(greetings), Greeting)
    with connect_blocking("control.sock") as blocking:
        assert_type(blocking.call(Greet(name="Ada")), Greeting)
        with blocking.listen(Greeting) as heard:
            assert_type(next(heard), Greeting)


async def nested(ctx: PluginContext) -> None:
    """Only looked at."""
    assert_type(await ctx.call(Greet(name="Ada")), Greeting)
    assert_type(await ctx.wait_for(Greeting), Greeting)
    assert_type(current_call(), Call | None)


def read(stop: Event, port: str, speed: int) -> None:
    """Run in a thread."""


async def taking(ctx: PluginContext) -> None:
    """Only looked at."""
    ctx.start_thread(read, "/dev/ttyS0", 9600, name="port")
    ctx.start_thread(read, "/dev/ttyS0", "fast")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(ctx.temporary_folder(), Path)
    ctx.add_log_handler(StreamHandler(), logger="acme")
