"""What self-incorporation counts, as it reaches the metrics of a host."""

from __future__ import annotations

from typing import ClassVar

from aetherra.kernel.testing import FakeClock
from aetherra.plugins import Plugin, handler
from aetherra.plugins.homeostasis import Homeostasis
from aetherra.plugins.homeostasis.messages import Collect
from aetherra.plugins.self_incorporation.messages import GetSelfIncorporationStatus, SelfIncorporationStatus

COUNTED = SelfIncorporationStatus(
    scanning="",
    scans=3,
    failed_scans=0,
    last_problem="",
    files=40,
    refusals=2,
    findings=5,
    set_aside="",
    items={"approved": 4},
    integrations=6,
    failed_integrations=1,
    rollbacks=2,
    registered=("mill", "oven"),
    not_serving={"oven": "it is failed"},
    quarantined=3,
    waiting=7,
    night="INACTIVE",
    problems=(),
)


class Incorporating(Plugin):
    """Counts as a test says, until it is to say nothing."""

    name = "self_incorporation"
    asked: ClassVar[int]
    silent: ClassVar[bool]

    async def start(self, ctx):
        Incorporating.asked, Incorporating.silent = 0, False

    @handler
    async def status(self, _: GetSelfIncorporationStatus) -> SelfIncorporationStatus:
        Incorporating.asked += 1
        if self.silent:
            raise OSError("the index is gone")
        return COUNTED


async def selfinc(kernel):
    """Return its metrics with their ages."""
    metrics = (await kernel.call(Collect())).metrics
    return {
        name.removeprefix("selfinc."): (metric.value, metric.age)
        for name, metric in metrics.items()
        if name.startswith("selfinc.")
    }


class TestIncorporationMetrics:
    async def test_a_figure_is_missing(self, hosting):
        """What it brought in and took out, what is quarantined and what waits are metrics, with their age."""
        clock = FakeClock()
        async with hosting(
            Incorporating, Homeostasis, clock=clock, homeostasis={"interval": 3600.0, "forward_interval": 60.0}
        ) as kernel:
            await kernel.call(Collect())
            await clock.advance(10.0)
            found = await selfinc(kernel)

            assert found["healthy"] == (1.0, 0.0)
            assert {name: value for name, (value, _) in found.items()} == {
                "healthy": 1.0,
                "files": 40.0,
                "refusals": 2.0,
                "findings": 5.0,
                "integrations": 6.0,
                "failed_integrations": 1.0,
                "rollbacks": 2.0,
                "registered": 2.0,
                "not_serving": 1.0,
                "quarantined": 3.0,
                "approvals_waiting": 7.0,
            }
            assert found["integrations"][1] == 10.0

    async def test_it_is_asked_seldom(self, hosting):
        """It is asked each minute, without anybody collecting by hand."""
        clock = FakeClock()
        async with hosting(Incorporating, Homeostasis, clock=clock, homeostasis={"interval": 3600.0}):
            await clock.advance(1.0)
            before = Incorporating.asked
            for _ in range(5):
                await clock.advance(60.0)

            assert Incorporating.asked - before == 5

    async def test_figures_vanish_while_it_does_not_answer(self, hosting):
        """The last answer grows old, and stands."""
        clock = FakeClock()
        async with hosting(Incorporating, Homeostasis, clock=clock, homeostasis={"interval": 3600.0}) as kernel:
            await kernel.call(Collect())
            Incorporating.silent = True
            await clock.advance(300.0)
            found = await selfinc(kernel)

            assert found["quarantined"][0] == 3.0
            assert found["quarantined"][1] >= 300.0
