"""Actuators on dead letters, on a real host."""

from __future__ import annotations

from contextlib import suppress

from aetherra.plugins import AetherraError, Message, Plugin, Request, RetryPolicy, handler
from aetherra.plugins.homeostasis.actuators.dead_letters import ParkLetters, RedriveLetters


class Packed(Message, tag="packing.packed"):
    number: int


class Pack(Request[Packed], tag="packing.pack"):
    number: int


class Packing(Plugin):
    """Packs while the power is on."""

    name = "packing"
    power = True

    @handler
    async def pack(self, request: Pack) -> Packed:
        if not Packing.power:
            raise RuntimeError("no power")
        return Packed(request.number)


async def fail(kernel, count):
    Packing.power = False
    for number in range(count):
        with suppress(AetherraError):
            await kernel.submit_and_wait(Pack(number), retry=RetryPolicy(1))
    Packing.power = True


class TestRedrive:
    async def test_letters_stay(self, lending):
        """Their actions are done at last, and the letters are gone; a plan only counts them."""
        async with lending(Packing) as (kernel, ctx):
            await fail(kernel, 3)
            actuator = RedriveLetters(ctx)
            assert (await actuator.plan("packing.pack", actuator.read({}))).changed
            assert len(await kernel.get_dlq_items()) == 3
            applied = await actuator.apply("packing.pack", actuator.read({"limit": 2}))
            assert (applied.changed, applied.summary) == (True, "2 dead letters redriven, 0 refused")
            assert len(await kernel.get_dlq_items()) == 1

    async def test_letters_of_another_type_are_taken(self, lending):
        """The target is the type of their actions."""
        async with lending(Packing) as (kernel, ctx):
            await fail(kernel, 2)
            actuator = RedriveLetters(ctx)
            assert not (await actuator.apply("packing.unpack", actuator.read({}))).changed
            assert len(await kernel.get_dlq_items()) == 2


class TestPark:
    async def test_letters_are_not_parked(self, lending):
        """They are put aside, and taken back they are where they were."""
        async with lending(Packing) as (kernel, ctx):
            await fail(kernel, 3)
            before = await kernel.get_dlq_items()
            actuator = ParkLetters(ctx)
            assert (await actuator.plan("packing.pack", actuator.read({}))).summary == "3 dead letters to park"
            first = await actuator.apply("packing.pack", actuator.read({"limit": 1}))
            second = await actuator.apply("packing.pack", actuator.read({}))
            assert (first.summary, second.summary) == ("1 dead letters parked", "2 dead letters parked")
            assert kernel.statistics().actions.dlq.depth == 0
            assert kernel.statistics().actions.dlq.parked == 3
            undone = await actuator.undo("packing.pack", actuator.join(first.before, second.before))
            assert undone.summary == "3 dead letters put back"
            assert sorted(letter.trace_id for letter in await kernel.get_dlq_items()) == sorted(
                letter.trace_id for letter in before
            )

    async def test_the_way_back_grows_for_ever(self, lending):
        """It has each letter once, and no more than the latest thousand."""
        async with lending(Packing) as (_, ctx):
            actuator, before = ParkLetters(ctx), {"trace_ids": []}
            for number in range(30):
                before = actuator.join(before, {"trace_ids": [f"t{number * 50 + each}" for each in range(100)]})

            assert before["trace_ids"] == [f"t{number}" for number in range(550, 1550)]

    async def test_nothing_to_park_is_a_change(self, lending):
        """There is nothing to take back, either."""
        async with lending(Packing) as (_, ctx):
            applied = await ParkLetters(ctx).apply("packing.pack", ParkLetters(ctx).read({}))
            assert (applied.changed, applied.before) == (False, {})
