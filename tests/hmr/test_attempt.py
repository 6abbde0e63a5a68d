"""Attempts: the order of the steps, and what is left when one of them fails."""

from __future__ import annotations

import sys

import anyio
import pytest

from aetherra.hmr import GetHmrStatus, Prepared, Reload, Rollback, SwapError, SwapFailed, Swapped
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import HandlerError, Message

OWNING = """
import sys
import msgspec
from typing import Any, ClassVar
from aetherra.plugins import Message, Plugin, Request, ServiceStatus, State, handler

VERSION = 1


class Answer(Message, tag="counter.answer"):
    version: int
    count: int


class Ask(Request[Answer], tag="counter.ask"):
    pass


class Note(Message, tag="counter.note"):
    pass


class Kept(State):
    count: int


class Counter(Plugin):
    name = "counter"
    exclusive = True
    count = 0

    async def start(self, ctx) -> None:
        if sys.owners:
            raise OSError(f"owned by {sys.owners}")
        sys.owners.append(VERSION)
        ctx.defer(lambda: sys.owners.remove(VERSION))

    @handler
    async def ask(self, request: Ask) -> Answer:
        self.count += 1
        return Answer(VERSION, self.count)

    @handler
    async def note(self, event: Note) -> None:
        self.count += 100

    async def self_test(self) -> None:
        pass

    async def hand_over(self) -> Kept:
        return Kept(self.count)

    async def take_over(self, state: Kept) -> None:
        self.count = state.count
"""
UNWELL = ("async def self_test(self) -> None:\n        pass", "async def self_test(self) -> None:\n        {}")


class Note(Message, tag="counter.note"):
    pass


SILENTLY_UNWELL = (
    "        self.count = state.count",
    "        self.count = state.count\n        self.ctx.set_status(ServiceStatus.FAILED, 'no gas')",
)


async def ask(kernel):
    reply = await kernel.call_tag("counter.ask", timeout=10.0)
    return reply["version"], reply["count"]


async def until(condition):
    """Return once a condition holds: the end of what served before comes when it comes."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.001)


async def fails(kernel, request):
    with pytest.raises(HandlerError) as caught:
        await kernel.call(request)
    assert isinstance(caught.value.__cause__, SwapError), caught.value
    return caught.value.__cause__


@pytest.fixture
def owning(project, monkeypatch):
    """A counter that owns what only one can own, in a host; saved anew with other code."""
    monkeypatch.setattr("sys.owners", [], raising=False)

    def save(*changes, version=2):
        text = OWNING.replace("VERSION = 1", f"VERSION = {version}")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        project.write("counter.py", text)

    save(version=1)
    project.save = save
    return project


class TestExclusive:
    async def test_two_generations_own_the_same(self, owning):
        """The old one has let go before the new one starts, and its state goes over."""
        async with owning.host() as kernel:
            await ask(kernel)
            owning.save()
            swapped = await kernel.call(Reload("counter"))
            assert (swapped.old_generation, swapped.generation) == (1, 2)
            assert await ask(kernel) == (2, 2)

    @pytest.mark.parametrize(
        ("change", "code", "said"),
        [
            (("if sys.owners:", "raise OSError('taken')\n        if sys.owners:"), "probe_failed", "taken"),
            ((UNWELL[0], UNWELL[1].format("raise ValueError('no')")), "probe_failed", "ValueError: no"),
            (("self.count = state.count", "raise KeyError('state')"), "state_import_failed", "KeyError: 'state'"),
            (SILENTLY_UNWELL, "post_swap_failed", "no gas"),
        ],
    )  # fmt: skip
    async def test_an_exclusive_plugin_is_lost_with_a_candidate_that_fails(self, owning, change, code, said):
        """The code before it serves again, as a new generation with its state, and nothing waits for ever."""
        async with owning.host() as kernel:
            await ask(kernel)
            owning.save(change)
            error = await fails(kernel, Reload("counter"))
            assert (error.code, error.down) == (code, "")
            assert said in error.problem
            assert await ask(kernel) == (1, 2)
            owning.save(version=3)
            await kernel.call(Reload("counter"))
            assert await ask(kernel) == (3, 3)
            await kernel.call(Rollback("counter"))
            assert await ask(kernel) == (1, 4)

    async def test_an_event_of_the_time_in_between_is_lost(self, owning):
        """What is published while none runs waits for the one that comes."""
        async with owning.host() as kernel:
            owning.save(
                (
                    "if sys.owners:",
                    "await ctx.call_tag('gate.wait', {'name': 'start'})\n        if sys.owners:",
                )
            )
            owning.shut("start")
            async with anyio.create_task_group() as group:
                group.start_soon(kernel.call, Reload("counter"))
                await owning.reached("start")
                await kernel.publish(Note())
                owning.open("start")
            with anyio.fail_after(10):
                while (await ask(kernel))[1] < 100:
                    pass

    async def test_code_that_can_be_brought_back_by_nobody_leaves_callers_waiting(self, owning):
        """The plugin is down, which the error, the event and its service say; a mended save brings it up."""
        async with owning.host() as kernel:
            with kernel.subscribe("hmr.*") as events:
                owning.save(("if sys.owners:", "sys.owners.append('a stranger')\n        if sys.owners:"), version=2)
                error = await fails(kernel, Reload("counter"))
                assert "owned by ['a stranger']" in error.problem
                assert "could not be started again" in error.down
                assert str(error).endswith(error.down)
                failed = await anext(events)
                assert isinstance(failed, SwapFailed)
                assert failed.down == error.down
            service = kernel.registry.get_service_info("counter")
            assert service is not None
            assert service.status == "failed"
            assert [info.state for info in kernel.plugins() if info.name == "counter"] == ["failed"]
            with pytest.raises(Exception, match="could not be started again"):
                await ask(kernel)
            sys.owners.clear()  # type: ignore[attr-defined]  # the plugins' own
            owning.save(version=3)
            await kernel.call(Reload("counter"))
            assert await ask(kernel) == (3, 1)


class TestVerify:
    @pytest.mark.parametrize("where", ["start(self, ctx)", "take_over(self, state: State)"])
    async def test_a_candidate_that_says_it_failed_takes_over(self, project, where):
        """Its own word counts, from its start and from after it took the state over."""
        async with project.host() as kernel:
            await kernel.call_tag("counter.ask")
            line = f"    async def {where} -> None:\n"
            said = f"{line}        from aetherra.plugins import ServiceStatus\n"
            said += "        self.ctx.set_status(ServiceStatus.FAILED, 'no disk')\n"
            project.save((line, said), version=2)
            error = await fails(kernel, Reload("counter"))
            assert error.code == ("probe_failed" if where.startswith("start") else "post_swap_failed")
            assert "it says that it is failed: no disk" in error.problem
            assert await kernel.call_tag("counter.ask") == {"version": 1, "count": 2}

    async def test_the_health_of_the_candidate_is_not_asked(self, project):
        """Its ``health`` hook is asked before it serves, and not that of anybody else."""
        hook = """
    @hookimpl
    def health(self):
        from aetherra.plugins import HealthReport, ServiceStatus
        return HealthReport("counter", ServiceStatus.FAILED, reasons=("too old",))

    async def stop("""
        async with project.host() as kernel:
            project.save(("\n    async def stop(", hook), version=2)
            error = await fails(kernel, Reload("counter"))
            assert (error.code, error.problem) == ("probe_failed", "its health is failed: too old")
            assert (await kernel.call_tag("counter.ask"))["version"] == 1

    async def test_nobody_hears_of_a_candidate(self, project):
        """``hmr.prepared`` comes before ``hmr.swapped``, and not for one that was refused."""
        async with project.host() as kernel:
            with kernel.subscribe("hmr.*") as events:
                project.save((UNWELL[0], UNWELL[1].format("raise ValueError")), version=2)
                await fails(kernel, Reload("counter"))
                project.save(version=3)
                await kernel.call(Reload("counter"))
                heard = [await anext(events) for _ in range(3)]
        assert [type(event) for event in heard] == [SwapFailed, Prepared, Swapped]
        assert heard[1].generation == heard[2].generation


class TestState:
    async def test_a_rollback_cannot_read_what_the_new_code_has_made_of_the_state(self, project):
        """It says so and nothing changes; by force it takes the state as it had handed it over."""
        later = (
            "class State(msgspec.Struct):\n    total: list[int]\n\n\nclass OldState(msgspec.Struct):\n    count: int"
        )
        renamed = [
            ("class State(msgspec.Struct):\n    count: int", later),
            ("return State(self.count)", "return State([self.count])"),
            ("async def take_over(self, state: State)", "async def take_over(self, state: OldState)"),
        ]
        async with project.host(clock=FakeClock()) as kernel:
            for _ in range(3):
                await kernel.call_tag("counter.ask")
            project.save(*renamed, version=2)
            await kernel.call(Reload("counter"))
            assert await kernel.call_tag("counter.ask") == {"version": 2, "count": 4}

            error = await fails(kernel, Rollback("counter"))
            assert error.code == "state_import_failed"
            assert "missing required field `count`" in error.problem
            assert await kernel.call_tag("counter.ask") == {"version": 2, "count": 5}

            await kernel.call(Rollback("counter", force=True))
            assert await kernel.call_tag("counter.ask") == {"version": 1, "count": 4}


GATED = ["start(self, ctx)", "self_test(self)", "hand_over(self)", "take_over(self, state: Kept)", "stop(self)"]


class TestCancelled:
    @pytest.mark.parametrize("exclusive", [False, True])
    @pytest.mark.parametrize("step", GATED)
    async def test_a_swap_that_is_cut_short_leaves_something_half_done(self, owning, step, exclusive):
        """Cancelled in any step of a plugin's, one generation serves with its state, alone, and the next swap works."""
        name = step.partition("(")[0]
        gate = f"        await self.ctx.call_tag('gate.wait', {{'name': '{name}'}}, timeout=100.0)\n"
        text = OWNING.replace("exclusive = True", f"exclusive = {exclusive}")
        if not exclusive:
            text = text.replace("if sys.owners:", "if False:")
        text += "\n    async def stop(self) -> None:\n        pass\n"
        head = next(line for line in text.splitlines(keepends=True) if f"def {step}" in line)
        ungated, text = text, text.replace(head, head + gate)
        owning.write("counter.py", ungated if name == "start" else text)  # the gate comes after the first start
        async with owning.host() as kernel:
            await ask(kernel)
            owning.shut(name)
            owning.write("counter.py", text.replace("VERSION = 1", "VERSION = 2"))
            async with anyio.create_task_group() as group:
                scope = anyio.CancelScope()

                async def reload():
                    with scope:
                        await kernel.call(Reload("counter"))

                group.start_soon(reload)
                await owning.reached(name)
                scope.cancel()
                await anyio.wait_all_tasks_blocked()
                owning.open(name)
            version, count = await ask(kernel)
            assert count == 2
            await until(lambda: sys.owners == [version])
            assert not list(kernel.bus.routing.parked_tags)
            owning.write("counter.py", text.replace("VERSION = 1", "VERSION = 3"))
            await kernel.call(Reload("counter"))
            assert await ask(kernel) == (3, 3)
            await until(lambda: sys.owners == [3])


class TestWayBack:
    async def test_a_request_that_was_added_bars_the_way_back(self, project):
        """Going back promises nothing: what only the later code answers is answered no more."""
        more = "    @hookimpl\n"
        added = (
            "    @handler\n    async def reset(self, request: Reset) -> Answer:\n        return Answer(0, 0)\n\n" + more
        )
        async with project.host() as kernel:
            project.save(
                ("class State(", 'class Reset(Request[Answer], tag="counter.reset"):\n    pass\n\n\nclass State('),
                (more, added),
                version=2,
            )
            await kernel.call(Reload("counter"))
            assert (await kernel.call_tag("counter.reset"))["version"] == 0
            await kernel.call(Rollback("counter"))
            assert (await kernel.call_tag("counter.ask"))["version"] == 1

    async def test_code_without_state_cannot_be_gone_back_to(self, project):
        """It is refused, with why, unless it is forced; then the state is left behind."""
        stateless = project.counter().partition("    async def hand_over")[0]
        project.write("counter.py", stateless)
        async with project.host() as kernel:
            project.save(version=2)
            await kernel.call(Reload("counter"))
            error = await fails(kernel, Rollback("counter"))
            assert (error.code, "has no take_over()" in error.problem) == ("state_import_failed", True)
            await kernel.call(Rollback("counter", force=True))
            assert await kernel.call_tag("counter.ask") == {"version": 1, "count": 1}

    async def test_a_hand_over_that_fails_bars_every_way(self, project):
        """The error says whose it is and what to do; a forced reload goes on without the state, and says so."""
        broken = ("return State(self.count)", "raise ValueError('no ink')")
        project.write("counter.py", project.counter(broken))
        async with project.host() as kernel:
            await kernel.call_tag("counter.ask")
            project.save(version=2)
            error = await fails(kernel, Reload("counter"))
            assert error.problem == (
                "hand_over() of the code that serves raised ValueError: no ink; a forced reload leaves its state behind"
            )
            await kernel.call(Reload("counter", force=True))
            assert await kernel.call_tag("counter.ask") == {"version": 2, "count": 1}
            last = (await kernel.call(GetHmrStatus("counter"))).swaps[-1]
            assert "hand_over() of the code that serves raised ValueError: no ink" in last.problem

    async def test_the_state_of_what_went_down_is_lost(self, owning):
        """The save that brings an exclusive plugin up again takes it over."""
        async with owning.host() as kernel:
            for _ in range(3):
                await ask(kernel)
            owning.save(("if sys.owners:", "sys.owners.append('a stranger')\n        if sys.owners:"))
            assert (await fails(kernel, Reload("counter"))).down
            sys.owners.clear()
            owning.save(version=3)
            await kernel.call(Reload("counter"))
            assert await ask(kernel) == (3, 4)

    async def test_an_end_that_takes_its_time_holds_up_the_way_back(self, project):
        """What served before is stopped beside the next swap."""
        waiting = "await self.ctx.call_tag('gate.wait', {'name': 'stop'}, timeout=100.0)"
        head = "async def stop(self) -> None:\n        "
        slow = (f"{head}pass", head + waiting)
        project.write("counter.py", project.counter(slow))
        project.shut("stop")
        async with project.host() as kernel:
            project.save(version=2)
            with anyio.fail_after(10):
                await kernel.call(Reload("counter"))
                await project.reached("stop")
                await kernel.call(Rollback("counter"))
            assert (await kernel.call_tag("counter.ask"))["version"] == 1
            project.open("stop")
