"""What comes between a canary's beginning and its end: other swaps, saves, removals, and the end of the host."""

from __future__ import annotations

import sys

import anyio
import pytest

from aetherra.hmr import (
    Abort,
    Canary,
    CanaryError,
    GetCanary,
    GetHmrStatus,
    HmrController,
    Promote,
    Reload,
    Rollback,
    RolledBack,
    SwapError,
    Swapped,
    TakeIn,
)
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import AetherraError, HandlerError, NoHandlerError

STOPPING = (
    "    async def stop(self) -> None:\n        pass",
    """    async def stop(self) -> None:
        import pathlib
        pathlib.Path(__file__).with_name(f'stopped {VERSION}').touch()""",
)
SLOW_START = (
    "    async def start(self, ctx) -> None:\n        pass",
    '    async def start(self, ctx) -> None:\n        await ctx.call_tag("gate.wait", {"name": "start"})',
)
SICK = ("        self.count += 1\n", "        raise KeyError(self.count)\n")


async def version(kernel, tag="counter.ask"):
    return (await kernel.call_tag(tag))["version"]


async def refused(kernel, request):
    with pytest.raises(HandlerError) as caught:
        await kernel.call(request)
    assert isinstance(caught.value.__cause__, CanaryError), caught.value.__cause__
    return str(caught.value.__cause__)


def loaded():
    return {name for name in sys.modules if name.startswith("counter@")}


class TestOtherSwaps:
    @pytest.mark.parametrize("request_type", [Reload, Rollback])
    async def test_a_swap_comes_between(self, project, request_type):
        """It is refused with a word on what to do first, and both generations go on; afterwards it may be asked."""
        async with project.host(hmr={"watch_period": 0}) as kernel:
            project.save(version=2)
            await kernel.call(Reload("counter"))
            project.save(version=3)
            await kernel.call(Canary("counter", 1.0))
            assert "promote or abort it, then" in await refused(kernel, request_type("counter"))
            assert await version(kernel) == 3
            await kernel.call(Abort("counter"))
            assert await version(kernel) == 2
            await kernel.call(request_type("counter"))
            assert await version(kernel) == (3 if request_type is Reload else 1)

    async def test_two_canaries_of_one_plugin_run(self, project):
        """The second request changes the share of the first, whatever is on disk by then; another's runs beside it."""
        project.write("other.py", project.counter().replace("counter", "other").replace("Counter", "Other"))
        plugins = {name: {"source": f"{name}.py"} for name in ("counter", "other")}
        async with project.host(plugins) as kernel:
            project.save(version=2)
            await kernel.call(Canary("counter", 0.0))
            project.save(version=3)
            assert (await kernel.call(Canary("counter", 1.0))).candidate.generation == 2
            assert await version(kernel) == 2
            await kernel.call(Canary("other", 1.0))
            await kernel.call(Abort("counter"))
            assert (await kernel.call(GetCanary("other"))).candidate.generation == 2

    async def test_what_there_is_not_is_promoted(self, project):
        """Each of these says that there is no canary, and how to begin one."""
        async with project.host() as kernel:
            for request in (Promote("counter"), Abort("counter"), GetCanary("counter")):
                assert "no canary" in await refused(kernel, request)

    async def test_a_source_that_is_not_allowed_is_loaded(self, project):
        """The allow-list holds for canaries, too."""
        async with project.host(hmr={"sources": []}) as kernel:
            with pytest.raises(HandlerError) as caught:
                await kernel.call(Canary("counter"))
            assert isinstance(caught.value.__cause__, SwapError)
            assert caught.value.__cause__.code == "source_not_allowed"

    async def test_the_old_generation_is_rolled_back_beside_its_canary(self, project):
        """If its first time ends in its failure the code before serves, alone: a canary beside what is gone is over."""
        clock = FakeClock()
        async with project.host(clock=clock) as kernel:
            before = loaded()
            project.save(SICK, version=2)
            await kernel.call(Reload("counter"))
            project.save(version=3)
            await kernel.call(Canary("counter", 1.0))
            project.shut("ask")
            async with anyio.create_task_group() as group:
                group.start_soon(version, kernel, "counter.ask_slowly")
                await project.reached("ask")
                await kernel.call(Canary("counter", 0.0))
                with kernel.subscribe(RolledBack) as events:
                    for _ in range(10):
                        with pytest.raises(HandlerError):
                            await version(kernel)
                    await clock.advance(0.3)
                    assert (await anext(events)).automatic
                await clock.advance(0.1)
                assert "no canary" in await refused(kernel, GetCanary("counter"))
                assert await version(kernel) == 1
                await kernel.call(Reload("counter"))
                assert await version(kernel) == 3
                project.open("ask")
            await anyio.wait_all_tasks_blocked()
            assert len(loaded()) == len(before) + 1  # the way back


class TestSaves:
    @pytest.mark.parametrize("end", [Promote, Abort])
    async def test_a_save_comes_between(self, project, end):
        """It waits until the canary is over, and is then swapped in by itself."""
        async with project.host(hmr={"watch": True}) as kernel:
            watch = kernel.bus.route("hmr.take_in")
            with anyio.fail_after(10):
                while not (await kernel.call(GetHmrStatus())).watching or not watch.calls or watch.in_hand:  # noqa: ASYNC110
                    await anyio.sleep(0.001)
            await kernel.call(Canary("counter", 1.0))
            with kernel.subscribe(Swapped) as events:
                asked = watch.calls
                project.save(version=3)
                with anyio.fail_after(10):
                    while watch.calls == asked or watch.in_hand:  # noqa: ASYNC110  # polls what has no event
                        await anyio.sleep(0.001)
                assert await version(kernel) == 1
                await kernel.call(end("counter"))
                with anyio.fail_after(10):
                    swaps = [await anext(events) for _ in range(2 if end is Promote else 1)]
            assert swaps[-1].how == "reload"
            assert await version(kernel) == 3

    async def test_what_was_aborted_comes_back_by_the_watch(self, project):
        """The disk still has it, but it was tried, and refused: only a save, or a reload, brings it."""
        async with project.host(hmr={"watch_period": 0}) as kernel:
            project.save(version=2)
            await kernel.call(Canary("counter", 1.0))
            await kernel.call(Abort("counter"))
            assert not (await kernel.call(TakeIn("counter"))).news
            assert await version(kernel) == 1
            project.save(version=3)
            assert (await kernel.call(TakeIn("counter"))).news
            assert await version(kernel) == 3


class TestEnd:
    async def test_a_candidate_outlives_its_plugin(self, project):
        """A plugin that is removed takes its canary along."""
        async with project.host() as kernel:
            project.save(STOPPING, version=2)
            await kernel.call(Canary("counter", 1.0))
            await kernel.remove_plugin("counter")
            with pytest.raises(NoHandlerError):
                await version(kernel)
            with anyio.fail_after(10):
                while loaded():  # noqa: ASYNC110  # polls what has no event
                    await anyio.sleep(0.001)
            assert (project.root / "stopped 2").exists()
            assert "no canary" in await refused(kernel, GetCanary("counter"))

    async def test_a_candidate_outlives_hot_swap(self, project):
        """Whoever removes hot swap has the old generation serve alone, and can begin anew."""
        async with project.host() as kernel:
            before = loaded()
            project.save(STOPPING, version=2)
            await kernel.call(Canary("counter", 1.0))
            assert await version(kernel) == 2
            await kernel.remove_plugin("hmr")
            assert (project.root / "stopped 2").exists()
            assert await version(kernel) == 1
            assert loaded() == before
            await kernel.add_plugin(HmrController)
            await kernel.call(Canary("counter", 1.0))
            assert await version(kernel) == 2

    async def test_a_host_that_stops_leaves_a_candidate(self, project):
        """Both generations are stopped, each by its own ``stop()``."""
        project.save(STOPPING, version=1)
        async with project.host() as kernel:
            project.save(STOPPING, version=2)
            await kernel.call(Canary("counter", 0.5))
        assert (project.root / "stopped 1").exists()
        assert (project.root / "stopped 2").exists()
        assert loaded() == set()

    async def test_a_host_waits_for_a_call_in_a_candidates_hand_for_ever(self, project):
        """It is cancelled when its time is over, like any other."""
        errors = []

        async def ask(kernel):
            try:
                await version(kernel, "counter.ask_slowly")
            except AetherraError as exc:
                errors.append(exc)

        limits = {"stop_timeout": 0.05, "shutdown_timeout": 2.0}
        async with anyio.create_task_group() as group, project.host(**limits) as kernel:
            project.save(version=2)
            await kernel.call(Canary("counter", 1.0))
            project.shut("ask")
            group.start_soon(ask, kernel)
            await project.reached("ask")
        assert len(errors) == 1

    async def test_a_caller_that_leaves_leaves_a_candidate(self, project):
        """A canary whose request is given up before it began leaves nothing."""
        async with project.host() as kernel:
            before = loaded()
            project.save(SLOW_START, version=2)
            project.shut("start")
            async with anyio.create_task_group() as group:
                group.start_soon(kernel.call, Canary("counter", 1.0))
                await project.reached("start")
                group.cancel_scope.cancel()
            project.open("start")
            assert await version(kernel) == 1
            assert loaded() == before
            assert "no canary" in await refused(kernel, GetCanary("counter"))

    async def test_a_caller_that_leaves_stops_an_abort_half_way(self, project):
        """The candidate is stopped all the same."""
        async with project.host() as kernel:
            before = loaded()
            project.save(version=2)
            await kernel.call(Canary("counter", 1.0))
            project.shut("ask")
            async with anyio.create_task_group() as group:
                group.start_soon(version, kernel, "counter.ask_slowly")
                await project.reached("ask")
                async with anyio.create_task_group() as leaving:
                    leaving.start_soon(kernel.call, Abort("counter"))
                    await anyio.wait_all_tasks_blocked()
                    leaving.start_soon(project_opens, project)
                    leaving.cancel_scope.cancel()
            assert loaded() == before
            assert await version(kernel) == 1
            assert "no canary" in await refused(kernel, GetCanary("counter"))


async def project_opens(project):
    project.open("ask")
