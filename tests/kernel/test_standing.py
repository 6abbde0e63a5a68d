"""The standing of a generation: what it says, what it fails in, and when that is over."""

from __future__ import annotations

from aetherra.kernel import Plugin, PluginContext, every
from aetherra.kernel.testing import FakeClock, run_plugin
from aetherra.registry import ServiceStatus
from tests.kernel.conftest import status


class TestStanding:
    async def test_a_status_said_in_start_is_lost(self) -> None:
        """What a plugin says of itself before it serves counts from then on, and ``HEALTHY`` ends old troubles."""

        class Sick(Plugin):
            async def start(self, ctx: PluginContext) -> None:
                ctx.set_status(ServiceStatus.DEGRADED, "no probe yet")

        async with run_plugin(Sick) as kernel:
            assert status(kernel, "sick") == ("degraded", "no probe yet")

    async def test_one_that_recovers_hides_another_that_fails(self) -> None:
        """The service is well again when all its repeated methods are."""
        clock = FakeClock()

        class Moody(Plugin):
            broken = True

            @every(1.0)
            async def good(self) -> None:
                if clock.monotonic() < 2:
                    raise OSError("good, for now")

            @every(1.0)
            async def bad(self) -> None:
                if self.broken:
                    raise OSError("bad")

        async with run_plugin(Moody, clock=clock) as kernel:
            await clock.advance(2.0)
            assert status(kernel, "moody")[0] == "degraded"
            assert "bad" in status(kernel, "moody")[1]
            Moody.broken = False
            await clock.advance(1.0)
            assert status(kernel, "moody") == ("healthy", "")
