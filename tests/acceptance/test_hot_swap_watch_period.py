"""After a swap the new code is watched for a while: where it fails, the old comes back by itself."""

from __future__ import annotations

import anyio
import pytest

from aetherra.hmr import Reload
from aetherra.hmr.messages import RolledBack
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import HandlerError

from .hot_swap_project import PATIENCE, editor_fixture, plugin, project_fixture

editor, project = editor_fixture, project_fixture

FAILING = "def fail(self):\n    raise ValueError('no sensor')\n"


async def ask(host, times):
    """Ask so many times, and return how many of the calls failed."""
    failed = 0
    for _ in range(times):
        try:
            await host.answer()
        except HandlerError:
            failed += 1
    return failed


async def rolled_back(events, clock):
    """Let time pass until a rollback is told, a second at a time."""
    with anyio.fail_after(PATIENCE):
        while not len(events.mailbox):
            await clock.advance(1.0)
        return await anext(events)


class TestWatchPeriod:
    async def test_code_that_fails_its_calls_stays(self, project):
        """When most calls of the new code fail, the old code comes back, and it is told that nobody asked for that."""
        clock = FakeClock()
        async with project.host("counter", clock=clock, watch=False) as host:
            assert await ask(host, 20) == 0
            await project.save("counter.py", plugin("self.fail()", body=FAILING))
            await host.kernel.call(Reload("counter"))
            with host.kernel.subscribe(RolledBack) as events:
                assert await ask(host, 20) == 20
                event = await rolled_back(events, clock)
            assert (event.plugin, event.automatic) == ("counter", True)
            assert clock.monotonic() <= 30.0
            assert await host.answer() == 1

    @pytest.mark.parametrize(("calls", "of_which"), [(9, 9), (20, 5)])
    async def test_code_that_fails_seldom_is_rolled_back(self, project, calls, of_which):
        """Too few calls, or too few failures among them, bring nothing back."""
        clock = FakeClock()
        body = f"calls = 0\ndef ask_some(self):\n    self.calls += 1\n    return 1 // (self.calls > {of_which}) + 1\n"
        async with project.host("counter", clock=clock, watch=False) as host:
            await project.save("counter.py", plugin("self.ask_some()", body=body))
            await host.kernel.call(Reload("counter"))
            with host.kernel.subscribe(RolledBack) as events:
                for _ in range(calls - of_which):  # first failures after good calls
                    await clock.advance(0.01)
                assert await ask(host, calls) == of_which
                await clock.advance(29.0)
                await clock.advance(31.0)
                assert len(events.mailbox) == 0
            assert await host.answer() == 2

    async def test_code_that_fails_later_is_rolled_back(self, project):
        """What fails after the watch period is over stays, and is for a person to decide."""
        clock = FakeClock()
        body = "calls = 0\ndef ask_some(self):\n    self.calls += 1\n    return 1 // (self.calls <= 20) + 1\n"
        async with project.host("counter", clock=clock, watch=False) as host:
            await project.save("counter.py", plugin("self.ask_some()", body=body))
            await host.kernel.call(Reload("counter"))
            with host.kernel.subscribe(RolledBack) as events:
                assert await ask(host, 20) == 0
                await clock.advance(31.0)
                assert await ask(host, 100) == 100
                await clock.advance(60.0)
                assert len(events.mailbox) == 0
            assert host.generation() == 2

    async def test_code_that_fails_no_more_than_the_old_is_rolled_back(self, project):
        """New code that fails as the old did is no worse, and stays."""
        clock = FakeClock()
        project.write("counter.py", plugin("self.fail()", body=FAILING))
        async with project.host("counter", clock=clock, watch=False) as host:
            assert await ask(host, 20) == 20
            await project.save("counter.py", plugin("self.fail()", body=FAILING + "\nnumber = 2\n"))
            await host.kernel.call(Reload("counter"))
            with host.kernel.subscribe(RolledBack) as events:
                assert await ask(host, 20) == 20
                await clock.advance(60.0)
                assert len(events.mailbox) == 0
            assert host.generation() == 2

    async def test_code_that_says_that_it_failed_stays(self, project):
        """When the new code says within the watch period that its service has failed, the old comes back."""
        clock = FakeClock()
        body = "def give_up(self):\n    self.ctx.set_status(ServiceStatus.FAILED, 'no sensor')\n    return 2\n"
        async with project.host("counter", clock=clock, watch=False) as host:
            await project.save("counter.py", plugin("self.give_up()", body=body))
            await host.kernel.call(Reload("counter"))
            with host.kernel.subscribe(RolledBack) as events:
                assert await host.answer() == 2
                event = await rolled_back(events, clock)
            assert "no sensor" in event.reason
            assert await host.answer() == 1

    async def test_a_save_after_an_automatic_rollback_is_not_swapped_in(self, project):
        """With the watch on, code that was saved and failed is out by itself, and the next save is in."""
        async with project.host("counter") as host:
            with host.kernel.subscribe(RolledBack) as events:
                await project.save("counter.py", plugin("self.fail()", body=FAILING))
                await host.outcome()
                assert await ask(host, 20) == 20
                with anyio.fail_after(PATIENCE):
                    await anext(events)
            assert await host.answer() == 1
            await host.nothing_else()
            await project.save("counter.py", plugin(3))
            await host.outcomes_until(3)
