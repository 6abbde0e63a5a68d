"""The greeter in a host of its own."""

from aetherra_greeter.messages import Greet
from aetherra_greeter.plugin import Greeter

from aetherra.kernel.testing import run_plugin


async def test_it_counts_its_greetings() -> None:
    async with run_plugin(Greeter, {"greeting": "Hi"}) as kernel:
        await kernel.call(Greet(name="Ada"))
        reply = await kernel.call(Greet(name="Grace"))

    assert (reply.text, reply.count) == ("Hi, Grace", 2)
