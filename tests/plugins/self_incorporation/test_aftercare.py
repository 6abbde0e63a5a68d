"""What was brought in and does not serve, or lies in quarantine by now."""

from __future__ import annotations

from typing import Any

import pytest

from aetherra.plugins.self_incorporation.aftercare import Aftercare
from tests.plugins.self_incorporation.conftest import YES, House, plugin_text, refusing


def aftercare(house: House, seconds: float = 3600.0) -> Aftercare:
    ctx: Any = house.host
    return Aftercare(
        ctx,
        house.incorporator,
        house.integrator,
        seconds=seconds,
        why_out=lambda digest: "is in quarantine" if house.quarantine.holds(digest) else "",
    )


@pytest.fixture
async def served(house: House) -> House:
    """A house in which one plugin was brought in, at 5.0 by the integrator's clock."""
    house.put({"incoming/one.py": plugin_text("one")})
    await house.incorporator.integrate(["one"])
    house.host.clock.set_time(10.0)
    house.host.serving = ["one"]
    return house


class TestAftercare:
    async def test_what_serves_is_taken_out(self, served: House) -> None:
        """A plugin that serves the code that came in stays."""
        care = aftercare(served)
        await care.look()

        assert (care.not_serving, set(served.integrator.registered)) == ({}, {"one"})

    async def test_what_does_not_serve_stays_in_its_first_hour(self, served: House) -> None:
        """It is taken out by itself within its time, and counted as that; later it is only told of."""
        served.host.serving = []
        late = aftercare(served, seconds=4.0)
        await late.look()
        assert set(late.not_serving) == {"one"}
        assert set(served.integrator.registered) == {"one"}

        care = aftercare(served)
        await care.look()
        assert (care.not_serving, served.integrator.registered) == ({}, {})
        assert served.host.published[-1].automatic is True
        assert served.host.asked[-1].undo is True

    async def test_code_that_was_swapped_back_goes_unseen(self, served: House) -> None:
        """A plugin that serves other code than came in is told of."""
        served.hands.serving["one"] = (b"earlier", {})
        late = aftercare(served, seconds=0.0)
        await late.look()

        assert late.not_serving == {"one": "earlier code of it was brought back"}

    async def test_what_came_of_something_in_quarantine_serves_on(self, served: House) -> None:
        """It is taken out whenever it came in; while that may not be done it is tried again."""
        item = await served.assessor.find("one")
        decision = await served.assessor.judge(item)
        await served.assessor.quarantine(item, decision, reason="it steals")
        care = aftercare(served, seconds=0.0)
        served.host.says = refusing("stopped")
        assert await care.take_out_held() == ()
        served.host.says = lambda _intent, _peek: YES

        assert await care.take_out_held() == ("one",)
        assert served.integrator.registered == {}
