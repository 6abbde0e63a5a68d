"""When plugins are weighed, and what is remembered of it."""

from __future__ import annotations

from aetherra.plugins import AetherraError, Footprint
from aetherra.plugins.homeostasis.weights import AWAKE, INTERVAL, STEP, Weights


class Scales:
    """Plugins that weigh what they are told to."""

    def __init__(self, **weights: int) -> None:
        self.weights, self.now, self.weighed = weights, 0.0, 0
        self.known = Weights(self.weigh)

    async def weigh(self, plugin: str) -> Footprint:
        self.weighed += 1
        if plugin not in self.weights:
            raise AetherraError(plugin)
        return Footprint(plugin, self.weights[plugin], 1, complete=True)

    async def pass_on(self, resident: float, generation: int = 1) -> None:
        self.now += INTERVAL
        if self.known.is_due(self.now, resident):
            await self.known.weigh([(name, generation) for name in self.weights], lambda: self.now)

    def read(self) -> dict[str, tuple[float | None, float]]:
        return {reading.name: (reading.value, age) for reading, age in self.known.read(self.now)}


class TestWeights:
    async def test_a_process_that_does_not_grow_is_weighed(self) -> None:
        """Weighing is dear: without growth there is none."""
        scales = Scales(shop=5)
        for _ in range(100):
            await scales.pass_on(1e9)
        assert scales.weighed == 0
        assert scales.read() == {}

    async def test_a_process_that_grows_is_not_weighed(self) -> None:
        """From the first step on, at intervals, for as long as it goes on and a while longer."""
        scales = Scales(shop=5, other=7)
        resident = 1e9
        for _ in range(10):
            resident += STEP / 4
            scales.weights["shop"] += 100
            await scales.pass_on(resident)
        found = scales.read()
        growth, _ = found["plugin.shop.memory_growth"]
        assert growth is not None
        assert abs(growth - 100 / INTERVAL) < 1e-6
        assert found["plugin.other.memory_growth"][0] == 0.0
        for _ in range(int(AWAKE / INTERVAL) + 2):
            await scales.pass_on(resident)
        before = scales.weighed
        await scales.pass_on(resident)
        assert scales.weighed == before
        assert scales.read()["plugin.shop.memory"][1] > 0, "an old weight passes for a new one"

    async def test_growth_after_a_shrink_is_not_seen(self) -> None:
        """A leak that begins below the highest point is one, too."""
        scales = Scales(shop=5)
        await scales.pass_on(2e9)
        await scales.pass_on(1e9)
        await scales.pass_on(1e9 + STEP)
        assert scales.weighed == 1

    async def test_a_new_generation_inherits_the_growth(self) -> None:
        """What a plugin weighed before its restart says nothing about its new generation."""
        scales = Scales(shop=5)
        resident = 1e9
        for _ in range(8):
            resident += STEP
            await scales.pass_on(resident)
        assert scales.read()["plugin.shop.memory_growth"][0] is not None
        await scales.pass_on(resident, generation=2)
        assert scales.read()["plugin.shop.memory_growth"][0] is None

    async def test_one_that_cannot_be_weighed_stops_the_others(self) -> None:
        """It is left out."""
        scales = Scales(shop=5)
        await scales.known.weigh([("gone", 1), ("shop", 1)], lambda: scales.now)
        assert set(scales.read()) == {"plugin.shop.memory", "plugin.shop.memory_growth"}

    async def test_one_that_is_gone_is_remembered(self) -> None:
        """A plugin that is not there any more has no weight."""
        scales = Scales(shop=5)
        await scales.known.weigh([("shop", 1)], lambda: scales.now)
        await scales.known.weigh([], lambda: scales.now)
        assert scales.read() == {}
