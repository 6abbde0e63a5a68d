"""The actuator on the default timeout, on a real host."""

from __future__ import annotations

import pytest

from aetherra.kernel import TuneCalls
from aetherra.plugins.homeostasis.actuators.actuator import ActuatorError
from aetherra.plugins.homeostasis.actuators.timeouts import WidenTimeout


class TestWidenTimeout:
    async def test_the_timeout_stays(self, lending):
        """It is widened, held by the bound, and taken back."""
        async with lending() as (kernel, ctx):
            actuator = WidenTimeout(ctx)
            before = (await kernel.call(TuneCalls())).default_timeout
            applied = await actuator.apply("", actuator.read({"factor": 10, "highest": before * 2}))
            assert (await kernel.call(TuneCalls())).default_timeout == before * 2
            assert (await actuator.undo("", applied.before)).changed
            assert (await kernel.call(TuneCalls())).default_timeout == before

    async def test_what_a_person_set_since_is_taken_back(self, lending):
        """The way back is ours only while what we made of it stands."""
        async with lending() as (kernel, ctx):
            actuator = WidenTimeout(ctx)
            applied = await actuator.apply("", actuator.read({"factor": 2}))
            await kernel.call(TuneCalls(default_timeout=5.0))
            assert not (await actuator.undo("", applied.before)).changed
            assert (await kernel.call(TuneCalls())).default_timeout == 5.0

    async def test_a_target_is_taken(self, lending):
        """There is one default."""
        async with lending() as (_, ctx):
            with pytest.raises(ActuatorError, match="no target"):
                await WidenTimeout(ctx).plan("shop", WidenTimeout(ctx).read({"factor": 2}))
