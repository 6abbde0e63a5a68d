"""A host application: a kernel with one plugin, calls, an event, an action, and what it says of itself."""

import anyio

from aetherra.kernel import ActionPriority, Kernel
from aetherra.plugins import Message, Plugin, Request, handler


class Sum(Message, tag="sums.sum"):
    value: float


class Add(Request[Sum], tag="sums.add"):
    numbers: list[float]


class Sums(Plugin):
    @handler
    async def add(self, request: Add) -> Sum:
        return Sum(sum(request.numbers))


async def main() -> None:
    async with Kernel() as kernel:
        await kernel.add_plugin(Sums)
        reply = await kernel.call(Add([1.0, 2.0, 3.0]), timeout=1.0)
        handle = await kernel.submit(Add([4.0, 5.0]), priority=ActionPriority.HIGH, deadline=30.0)
        raw = await kernel.call_tag("sums.add", {"numbers": [6.0]})
        print(reply.value, (await handle.wait()).value, raw, kernel.health().overall.status)


if __name__ == "__main__":
    anyio.run(main)
