"""What plugins measure of themselves, on a real host."""

from __future__ import annotations

import time
from typing import ClassVar

from aetherra.kernel import Kernel
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import MetricSample, Plugin, hookimpl
from aetherra.plugins.homeostasis.plugin_samples import LONGEST_REST, REST, SLOW, PluginSamples


class Odd(Plugin):
    """Answers as a test says."""

    name = "odd"
    answer: ClassVar = staticmethod(list)
    asked: ClassVar[int] = 0

    @hookimpl
    def collect_metrics(self):
        Odd.asked += 1
        return self.answer()


class Well(Plugin):
    """Asks for the test, and is well."""

    name = "well"
    asks: ClassVar[PluginSamples]

    async def start(self, ctx):
        Well.asks = PluginSamples(ctx)

    @hookimpl
    def collect_metrics(self):
        return [MetricSample("level", 1.0, "m")]


async def read(answer, clock, kernel, seconds=0.0):
    await clock.advance(seconds)
    Odd.answer = staticmethod(answer)
    return {reading.name: reading for reading in Well.asks.read()}


class Host:
    async def __aenter__(self):
        self.clock, Odd.asked = FakeClock(), 0
        self.kernel = Kernel(clock=self.clock)
        await self.kernel.__aenter__()
        for plugin in (Odd, Well):
            await self.kernel.add_plugin(plugin)
        return self

    async def __aexit__(self, *exc):
        return await self.kernel.__aexit__(*exc)

    async def read(self, answer, seconds=0.0):
        return await read(answer, self.clock, self.kernel, seconds)


def fail():
    raise ValueError("no needle")


def hang():
    time.sleep(SLOW * 1.2)
    return []


class TestPluginSamples:
    async def test_a_hook_that_raises_is_asked_all_the_time(self):
        """It rests, longer each time, and its plugin's metrics are unknown with the reason; others are asked."""
        async with Host() as host:
            found = await host.read(fail)
            assert found["well.level"].value == 1.0
            assert "no needle" in found["odd.metrics"].reason
            for _ in range(5):
                found = await host.read(fail, 1.0)
                assert found["odd.metrics"].value is None
            assert Odd.asked == 1
            await host.read(fail, REST)
            assert Odd.asked == 2
            await host.read(fail, REST)
            assert Odd.asked == 2, "the second rest is no longer than the first"
            await host.read(list, REST)
            assert Odd.asked == 3
            assert "odd.metrics" not in await host.read(list)

    async def test_a_hook_that_holds_the_loop_is_asked_all_the_time(self):
        """It rests; what it returned counts once."""
        async with Host() as host:
            assert "held the event loop" in (await host.read(hang))["odd.metrics"].reason
            assert (await host.read(hang, 1.0))["well.level"].value == 1.0
            assert Odd.asked == 1

    async def test_a_million_samples_are_taken(self):
        """More than a thousand are a fault."""
        async with Host() as host:
            many = (MetricSample(str(number), 1.0, "") for number in range(10**9))
            found = await host.read(lambda: many)
            assert "1000 results at most" in found["odd.metrics"].reason
            assert len(found) == 2

    async def test_a_plugin_that_is_gone_rests_for_ever(self):
        """What is not there any more is forgotten."""
        async with Host() as host:
            await host.read(fail)
            await host.kernel.remove_plugin("odd")
            assert "odd.metrics" in await host.read(list, REST)
            assert "odd.metrics" not in await host.read(list, LONGEST_REST + 1.0)
