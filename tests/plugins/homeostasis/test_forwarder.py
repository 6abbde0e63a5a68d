"""The forwarder on a real host, with a receiver that takes its time: how long a round may hold anybody up."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import pytest

from aetherra.kernel import Config, Kernel
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import Plugin, handler
from aetherra.plugins.homeostasis.forwarder import PATIENCE, ROUND_SEC, Forwarder
from aetherra.plugins.homeostasis.messages import Metric
from aetherra.plugins.self_improvement.messages import Recorded, RecordMetric

METRICS = {f"m{number}": Metric(1.0, "s") for number in range(100)}


class Receiver(Plugin):
    """Answers each after so many seconds of the host."""

    name = "receiver"
    seconds = 0.0
    asked = 0

    @handler(timeout=3600.0)
    async def record(self, _: RecordMetric) -> Recorded:
        Receiver.asked += 1
        await self.ctx.clock.sleep(self.seconds)
        return Recorded(1)


class Sender(Plugin):
    """Lends the context to send by."""

    name = "sender"
    capabilities = ("call:selfimprovement.*",)
    lent: list = []

    async def start(self, ctx):
        self.lent.append(ctx)


@pytest.fixture
def forwarding(tmp_path):
    """Return a function that runs rounds against a receiver that slow, and yields what a round took and was counted."""

    @asynccontextmanager
    async def host(seconds):
        Receiver.seconds, Receiver.asked = seconds, 0
        clock = FakeClock()
        kernel_part = {"data_dir": None, "discover": False, "control_socket": False}
        async with Kernel(Config.parse({"kernel": kernel_part}, root=tmp_path), clock=clock) as kernel:
            await kernel.add_plugin(Receiver)
            await kernel.add_plugin(Sender)
            forwarder = Forwarder(Sender.lent.pop())

            async def go_round(within=ROUND_SEC):
                begun, took = clock.monotonic(), []

                async def forward():
                    await forwarder.forward(METRICS, clock.time(), within)
                    took.append(clock.monotonic() - begun)

                async with anyio.create_task_group() as group:
                    group.start_soon(forward)
                    with anyio.fail_after(20):
                        await anyio.wait_all_tasks_blocked()
                        while not took:
                            await clock.advance(1.0)
                            await anyio.wait_all_tasks_blocked()
                return took[0], forwarder.statistics()

            yield go_round

    return host


class TestForwarder:
    async def test_each_of_all_metrics_waits_for_a_wedged_receiver(self, forwarding):
        """The first that is not answered in time ends the round; those behind it were not taken."""
        async with forwarding(600.0) as go_round:
            took, counted = await go_round()

            assert took == PATIENCE
            assert Receiver.asked == 1
            assert (counted.forwarded, counted.failed, counted.last_success_rate) == (0, len(METRICS), 0.0)

    async def test_a_slow_receiver_is_sent_to_without_end(self, forwarding):
        """A round is over after its time; what was taken until then counts."""
        async with forwarding(4.0) as go_round:
            took, counted = await go_round()

            assert took <= ROUND_SEC
            assert counted.forwarded + counted.failed == len(METRICS)
            assert counted.forwarded == ROUND_SEC // 4.0

    async def test_a_round_without_time_asks(self, forwarding):
        """When time is over nobody is asked any more, and that is said."""
        async with forwarding(0.0) as go_round:
            _, counted = await go_round(0.0)

            assert Receiver.asked == 0
            assert counted.problem == "time was over when 0 of 100 had been sent"

    async def test_a_receiver_that_recovered_seems_to_fail(self, forwarding):
        """How it is now is told beside how it was in all its life."""
        async with forwarding(600.0) as go_round:
            await go_round()
            Receiver.seconds = 0.0
            _, counted = await go_round()

            assert (counted.success_rate, counted.last_success_rate) == (0.5, 1.0)
