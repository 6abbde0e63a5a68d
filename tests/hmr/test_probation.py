"""Probation: new code that fails in its first time is taken out again."""

from __future__ import annotations

import anyio
import pytest

from aetherra.hmr import Canary, GetHmrStatus, Promote, Reload, RolledBack, Swapped
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import AetherraError

FAILING = ("        self.count += 1\n", "        self.count += 1\n        raise ValueError('new and wrong')\n")
HALF_FAILING = (FAILING[0], FAILING[0] + "        if self.count % 4 < 2:\n            raise ValueError('at times')\n")
FAILED_LATER = (FAILING[0], FAILING[0] + "        self.ctx.set_status('failed', 'burnt out')\n")
TIRED = (
    "    @hookimpl\n",
    "    @every(1.0)\n    async def tire(self) -> None:\n        raise ValueError('tired')\n\n    @hookimpl\n",
)
EVERY = ("hookimpl, MetricSample", "hookimpl, MetricSample, every")


async def ask(kernel, times=1):
    for _ in range(times):
        try:
            reply = await kernel.call_tag("counter.ask", timeout=1000.0)
        except AetherraError:
            continue
    return reply["version"] if times == 1 else 0


async def until_heard(events, kind, clock, seconds=60.0):
    """Let time go on until an event of a kind comes."""
    for _ in range(int(seconds / 0.25)):
        await clock.advance(0.25)
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        while events.mailbox.items:
            event = await anext(events)
            if isinstance(event, kind):
                return event
    return None


@pytest.fixture
def clock():
    return FakeClock()


class TestProbation:
    @pytest.mark.parametrize(
        ("changes", "calls", "said"),
        [
            ([FAILING], 10, "10 of its 10 calls failed, 100%; 50% is tolerated"),
            ([HALF_FAILING, ("% 4 < 2", "% 4 < 3")], 40, "calls failed, 75%; 50% is tolerated"),
            ([FAILED_LATER], 1, "it says that it is failed: burnt out"),
            ([EVERY, TIRED], 1, "it fails again and again in repeating Counter.tire: ValueError('tired')"),
        ],
    )
    async def test_code_that_fails_stays(self, project, clock, changes, calls, said):
        """The code before it serves again by itself, and the event and the history say why."""
        async with project.host(clock=clock) as kernel:
            await ask(kernel)
            project.save(*changes, version=2)
            await kernel.call(Reload("counter"))
            with kernel.subscribe("hmr.*") as events:
                await ask(kernel, calls)
                back = await until_heard(events, RolledBack, clock)
            assert back is not None
            assert (back.plugin, back.generation, back.rejected, back.automatic) == ("counter", 3, 2, True)
            assert said in back.reason
            assert await ask(kernel) == 1
            last = (await kernel.call(GetHmrStatus("counter"))).swaps[-1]
            assert (last.outcome, last.problem) == ("rolled_back", back.reason)

    async def test_a_restart_takes_new_code_out_of_sight(self, project, clock):
        """New code is watched across its restarts, and what it failed before them counts; then the old comes back."""
        async with project.host(clock=clock) as kernel:
            project.save(FAILING, version=2)
            await kernel.call(Reload("counter"))
            with kernel.subscribe("hmr.*") as events:
                for _ in range(2):
                    await ask(kernel, 4)
                    await kernel.restart_plugin("counter")
                    await clock.advance(0.5)
                await ask(kernel, 4)
                back = await until_heard(events, RolledBack, clock)
            assert back is not None
            assert (back.generation, back.rejected) == (5, 4)
            assert "12 of its 12 calls failed" in back.reason
            assert await ask(kernel) == 1

    @pytest.mark.parametrize(
        ("changes", "calls"),
        [
            ([], 40),
            ([FAILING], 8),
            ([HALF_FAILING], 40),
        ],
    )
    async def test_code_that_does_well_enough_is_taken_out(self, project, clock, changes, calls):
        """Neither good code, nor too few calls to tell, nor as many failures as are tolerated."""
        async with project.host(clock=clock) as kernel:
            project.save(*changes, version=2)
            await kernel.call(Reload("counter"))
            with kernel.subscribe("hmr.*") as events:
                await ask(kernel, calls)
                assert await until_heard(events, RolledBack, clock) is None
            assert {route.provider.generation for route in kernel.bus.routes() if route.tag == "counter.ask"} == {2}

    async def test_code_is_taken_out_for_what_the_code_before_it_did_as_well(self, project, clock):
        """Where the old code failed as often, going back mends nothing."""
        async with project.host(clock=clock) as kernel:
            project.save(FAILING, version=1)
            await kernel.call(Reload("counter"))
            await ask(kernel, 9)
            project.save(FAILING, version=2)
            await kernel.call(Reload("counter"))
            with kernel.subscribe("hmr.*") as events:
                await ask(kernel, 30)
                assert await until_heard(events, RolledBack, clock) is None

    @pytest.mark.parametrize("changes", [[FAILED_LATER], [EVERY, TIRED]])
    async def test_code_is_taken_out_for_what_the_code_before_it_complained_of(self, project, clock, changes):
        """Where the old code was as unwell when it was replaced, going back mends nothing."""
        project.write("counter.py", project.counter(*changes))
        async with project.host(clock=clock) as kernel:
            await ask(kernel)
            for _ in range(20):
                await clock.advance(0.25)
            project.save(*changes, version=2)
            await kernel.call(Reload("counter"))
            with kernel.subscribe("hmr.*") as events:
                await ask(kernel)
                assert await until_heard(events, RolledBack, clock) is None

    async def test_calls_of_a_canarys_time_count(self, project, clock):
        """What a candidate failed before it was promoted, somebody has looked at and promoted it all the same."""
        at_first = "        if self.count < 12:\n            raise ValueError('not warm yet')\n"
        async with project.host(clock=clock) as kernel:
            project.save((FAILING[0], FAILING[0] + at_first), version=2)
            await kernel.call(Canary("counter", share=1.0))
            await ask(kernel, 12)
            await kernel.call(Promote("counter"))
            with kernel.subscribe("hmr.*") as events:
                await ask(kernel, 3)
                assert await until_heard(events, RolledBack, clock) is None

    async def test_code_is_taken_out_when_its_first_time_is_over(self, project, clock):
        """After the watch period what it does is others' affair."""
        async with project.host(clock=clock, hmr={"watch_period": 5.0}) as kernel:
            project.save(FAILING, version=2)
            await kernel.call(Reload("counter"))
            with kernel.subscribe("hmr.*") as events:
                assert await until_heard(events, RolledBack, clock, 6.0) is None
                await ask(kernel, 40)
                assert await until_heard(events, RolledBack, clock) is None

    async def test_what_came_after_is_taken_out_for_its_failures(self, project, clock):
        """A generation that was swapped out in its first time is watched no more."""
        async with project.host(clock=clock) as kernel:
            project.save(FAILING, version=2)
            await kernel.call(Reload("counter"))
            await ask(kernel, 11)
            project.save(version=3)
            await kernel.call(Reload("counter"))
            with kernel.subscribe("hmr.*") as events:
                assert await until_heard(events, RolledBack | Swapped, clock) is None
            assert await ask(kernel) == 3

    async def test_state_that_cannot_go_back_keeps_failing_code_alive(self, project, clock):
        """Then the old code takes up the state that it had handed over."""
        later = (
            "class State(msgspec.Struct):\n    total: list[int]\n\n\nclass OldState(msgspec.Struct):\n    count: int"
        )
        renamed = [
            ("class State(msgspec.Struct):\n    count: int", later),
            ("return State(self.count)", "return State([self.count])"),
            ("async def take_over(self, state: State)", "async def take_over(self, state: OldState)"),
        ]
        async with project.host(clock=clock) as kernel:
            await ask(kernel, 5)
            project.save(*renamed, FAILING, version=2)
            await kernel.call(Reload("counter"))
            with kernel.subscribe("hmr.*") as events:
                await ask(kernel, 11)
                assert await until_heard(events, RolledBack, clock) is not None
            assert await kernel.call_tag("counter.ask") == {"version": 1, "count": 6}
