"""Actuators on the action queue, on a real host."""

from __future__ import annotations

import pytest

from aetherra.plugins.homeostasis.actuators.actuator import ActuatorError
from aetherra.plugins.homeostasis.actuators.lanes import SetLaneCapacity, SetLaneWeight, SetWorkers, ShedBackground

CASES = [
    (SetWorkers, "", lambda actions: actions.workers),
    (SetLaneWeight, "normal", lambda actions: actions.lanes["normal"].weight),
    (SetLaneCapacity, "background", lambda actions: actions.lanes["background"].capacity),
]


@pytest.mark.parametrize(("kind", "target", "read"), CASES)
class TestTuners:
    async def test_a_value_is_not_set(self, lending, kind, target, read):
        """It is set on the host, what was is told, and taken back it is as it was."""
        async with lending() as (kernel, ctx):
            actuator = kind(ctx)
            before = read(kernel.statistics().actions)
            applied = await actuator.apply(target, actuator.read({"value": before + 3}))
            assert (applied.changed, read(kernel.statistics().actions)) == (True, before + 3)
            assert (await actuator.undo(target, applied.before)).changed
            assert read(kernel.statistics().actions) == before

    async def test_a_plan_changes_something(self, lending, kind, target, read):
        """What would be done is told, and nothing is."""
        async with lending() as (kernel, ctx):
            actuator = kind(ctx)
            before = read(kernel.statistics().actions)
            planned = await actuator.plan(target, actuator.read({"factor": 2}))
            assert planned.changed
            assert f"{before} -> {before * 2}" in planned.summary
            assert read(kernel.statistics().actions) == before

    async def test_what_is_so_already_counts_as_a_change(self, lending, kind, target, read):
        """Nothing changes, and there is nothing to take back."""
        async with lending() as (kernel, ctx):
            actuator = kind(ctx)
            applied = await actuator.apply(target, actuator.read({"value": read(kernel.statistics().actions)}))
            assert (applied.changed, applied.before) == (False, {})

    async def test_what_a_person_set_since_is_taken_back(self, lending, kind, target, read):
        """The way back is ours only while what we made of it stands."""
        async with lending() as (kernel, ctx):
            actuator = kind(ctx)
            applied = await actuator.apply(target, actuator.read({"factor": 2}))
            await actuator.apply(target, actuator.read({"value": 77}))
            undone = await actuator.undo(target, applied.before)
            assert (undone.changed, read(kernel.statistics().actions)) == (False, 77)

    async def test_two_changes_are_taken_back_halfway(self, lending, kind, target, read):
        """What was before the first counts."""
        async with lending() as (kernel, ctx):
            actuator = kind(ctx)
            before = read(kernel.statistics().actions)
            first = await actuator.apply(target, actuator.read({"factor": 2}))
            second = await actuator.apply(target, actuator.read({"factor": 2}))
            await actuator.undo(target, actuator.join(first.before, second.before))
            assert read(kernel.statistics().actions) == before

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({}, "either value or factor"),
            ({"value": 5, "factor": 2}, "either value or factor"),
            ({"value": "many"}, r"`\$\.value`"),
            ({"value": -1}, r"`\$\.value`"),
            ({"valeu": 5}, "valeu"),
        ],
    )
    async def test_a_wrong_argument_is_taken(self, lending, kind, target, read, arguments, said):
        """It is told with its path, and nothing changes."""
        async with lending() as (_, ctx):
            actuator = kind(ctx)
            with pytest.raises(ActuatorError, match=said):
                await actuator.apply(target, actuator.read(arguments))


class TestTargets:
    async def test_a_lane_that_is_not_there(self, lending):
        """Those that are, are named."""
        async with lending() as (_, ctx):
            actuator = SetLaneWeight(ctx)
            with pytest.raises(ActuatorError, match="high, normal, background"):
                await actuator.apply("fast", actuator.read({"value": 5}))

    async def test_a_target_for_workers(self, lending):
        """There is one number of them."""
        async with lending() as (_, ctx):
            with pytest.raises(ActuatorError, match="no target"):
                await SetWorkers(ctx).apply("shop", SetWorkers(ctx).read({"value": 5}))

    async def test_a_bound_is_passed(self, lending):
        """A factor ends where the arguments say."""
        async with lending() as (kernel, ctx):
            actuator = SetWorkers(ctx)
            await actuator.apply("", actuator.read({"factor": 0.001, "lowest": 2}))
            assert kernel.statistics().actions.workers == 2


class TestShedding:
    async def test_the_background_lane_is_not_shed(self, lending):
        """It is, and taken back it is taken again; doing it twice changes nothing."""
        async with lending() as (kernel, ctx):
            actuator = ShedBackground(ctx)
            applied = await actuator.apply("", actuator.read({}))
            again = await actuator.apply("", actuator.read({}))
            assert (applied.changed, again.changed) == (True, False)
            assert kernel.statistics().actions.lanes["background"].shed
            assert (await actuator.undo("", applied.before)).changed
            assert not kernel.statistics().actions.lanes["background"].shed

    async def test_another_lane_is_shed(self, lending):
        """Only the background can wait."""
        async with lending() as (_, ctx):
            with pytest.raises(ActuatorError, match="background"):
                await ShedBackground(ctx).apply("high", ShedBackground(ctx).read({}))
