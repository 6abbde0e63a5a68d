"""Swaps on request: what served serves on unless the new code has proved itself."""

from __future__ import annotations

import gc
import sys
import weakref

import anyio
import anyio.lowlevel
import pytest

from aetherra.hmr import Canary, GetHmrStatus, HmrController, Reload, Rollback, SwapError, SwapFailed, Swapped, TakeIn
from aetherra.kernel import Kernel, PluginLoadError, PluginNotFoundError
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import AetherraError, HandlerError, Message, Plugin, Request, handler


async def version(kernel, tag="counter.ask"):
    return (await kernel.call_tag(tag))["version"]


async def reload_fails(kernel, plugin="counter", request=Reload):
    """Reload, and return the ``SwapError`` that it raises."""
    with pytest.raises(HandlerError) as caught:
        await kernel.call(request(plugin))
    assert isinstance(caught.value.__cause__, SwapError)
    return caught.value.__cause__


def generations_loaded():
    return {name for name in sys.modules if name.startswith("counter@")}


def providers(kernel, prefix="counter."):
    return {route.provider.generation for route in kernel.bus.routes() if route.tag.startswith(prefix)}


def begin(method, line):
    """A change that puts a line before the others of a method."""
    return (f"    async def {method} -> None:\n", f"    async def {method} -> None:\n        {line}\n")


TICK = """
class Tick(Message, tag="clock.tick"):
    n: int


"""
HEARING = """
    def __init__(self, settings=None) -> None:
        super().__init__(settings)
        self.count = []

    @handler
    async def hear(self, tick: Tick) -> None:
        self.count.append(tick.n)
"""
ROGUE = """
from aetherra.hmr import HmrController


class Rogue(HmrController):
    name = "rogue"
    service = "rogue"
"""
TICKING = """
    @every(10.0)
    async def tick(self) -> None:
        await self.ctx.publish(Answer(VERSION, 0))

"""
THEFT = """
    class Theft(Request[Answer], tag="gate.wait"):
        pass

    @handler
    async def steal(self, request: Theft) -> Answer: ...

"""


class TestReload:
    async def test_the_old_code_answers_after_a_reload(self, project):
        """After ``Reload`` the code on disk answers, under the next generation number."""
        async with project.host() as kernel:
            assert await version(kernel) == 1
            path = project.save(version=2)

            swapped = await kernel.call(Reload("counter"))

            assert (swapped.old_generation, swapped.generation, swapped.how) == (1, 2, "reload")
            assert swapped.changed == (str(path),)
            assert await version(kernel) == 2
            assert kernel.registry.get_service_info("counter").generation == 2

    async def test_a_swap_is_not_told(self, project):
        """A swap is an event, too, and the same as the reply."""
        async with project.host() as kernel:
            with kernel.subscribe(Swapped) as events, anyio.fail_after(10):
                reply = await kernel.call(Reload("counter"))

                assert await anext(events) == reply

    async def test_state_is_lost(self, project):
        """What ``hand_over`` returns reaches the new code's ``take_over``."""
        async with project.host() as kernel:
            await kernel.call_tag("counter.ask")
            await kernel.call_tag("counter.ask")
            project.save(version=2)
            await kernel.call(Reload("counter"))

            assert await kernel.call_tag("counter.ask") == {"version": 2, "count": 3}

    async def test_a_syntax_error_is_not_pointed_at(self, project):
        """Code that does not compile is refused with its file and line, and the old code serves on."""
        async with project.host() as kernel:
            project.write("counter.py", "import msgspec\n\nclass Counter(:\n")

            error = await reload_fails(kernel)

            assert error.code == "load_failed"
            assert f"{project.root / 'counter.py'}, line 3" in str(error)
            assert await version(kernel) == 1

    @pytest.mark.parametrize(
        ("code", "change", "said"),
        [
            ("load_failed", ("VERSION = 1", "VERSION = 1 / 0"), "ZeroDivisionError"),
            ("load_failed", ("VERSION = 1", "raise SystemExit('enough')"), "enough"),
            ("load_failed", ("class Counter(Plugin)", "class Counter"), "no subclass of Plugin"),
            ("probe_failed", ('name = "counter"', 'name = "tally"'), "'tally'"),
            ("probe_failed", begin("start(self, ctx)", "raise ValueError('no start')"), "no start"),
            ("probe_failed", begin("start(self, ctx)", "raise SystemExit('bye')"), "bye"),
            ("probe_failed", begin("self_test(self)", "assert 2 + 2 == 5, 'sums'"), "sums"),
            ("contract_broken", ('tag="counter.ask_slowly"', 'tag="counter.ask_later"'), "counter.ask_slowly"),
            ("state_import_failed", ("self.count = state.count", "raise ValueError('no memory')"), "no memory"),
            ("state_import_failed", ("async def take_over", "async def taking_over"), "take_over"),
            ("state_import_failed", ("count: int\n\n\nclass Counter", "count: str\n\n\nclass Counter"), "$.count"),
            ("post_swap_failed", ("    @hookimpl", THEFT + "    @hookimpl"), "gate.wait"),
        ],
    )  # fmt: skip
    async def test_code_that_fails_takes_over_or_leaves_traces(self, project, code, change, said):
        """Whatever step fails, the old code serves on with its state, and nothing of the new is left."""
        async with project.host() as kernel:
            await kernel.call_tag("counter.ask")
            before = generations_loaded()
            project.write("counter.py", project.counter(change).replace("VERSION = 1\n", "VERSION = 2\n"))

            with kernel.subscribe(SwapFailed) as failures, anyio.fail_after(10):
                error = await reload_fails(kernel)
                assert (await anext(failures)).code == code

            assert error.code == code
            assert said in str(error)
            assert await kernel.call_tag("counter.ask") == {"version": 1, "count": 2}
            assert providers(kernel) == {1}
            assert generations_loaded() == before
            assert [info.state for info in kernel.plugins() if info.name == "counter"] == ["serving"]
            assert [info.name for info in kernel.registry.list()].count("counter") == 1

    async def test_what_a_refused_candidate_took_is_kept(self, project):
        """Code that started and was refused later gives back what it took."""
        async with project.host() as kernel:
            changes = (
                begin("start(self, ctx)", "ctx.defer((ctx.root / 'given_back').touch)"),
                begin("self_test(self)", "raise ValueError('no')"),
            )
            project.save(*changes, version=2)
            await reload_fails(kernel)

            assert (project.root / "given_back").exists()

    async def test_a_call_in_hand_ends_on_another_version(self, project):
        """A call that the old code has begun is ended by it; one that comes during the swap is the new code's."""
        project.shut("ask")
        answers = []
        async with project.host() as kernel, anyio.create_task_group() as group:

            async def ask(tag):
                answers.append((tag, await version(kernel, tag)))

            group.start_soon(ask, "counter.ask_slowly")
            await project.reached("ask")
            project.save(version=2)
            with kernel.subscribe("hmr.*") as events:
                group.start_soon(kernel.call, Reload("counter"))
                await is_parked(kernel, "counter.ask")
                group.start_soon(ask, "counter.ask")
                await anyio.wait_all_tasks_blocked()
                assert answers == []
                project.open("ask")
                with anyio.fail_after(10):
                    await anext(events)

        assert sorted(answers) == [("counter.ask", 2), ("counter.ask_slowly", 1)]

    async def test_calls_in_hand_that_do_not_end_hang_the_swap(self, project):
        """When the calls in hand outlast ``drain_timeout``, the old code keeps them, and the calls that waited."""
        project.shut("ask")
        answers = []
        async with project.host(hmr={"drain_timeout": 0.05}) as kernel, anyio.create_task_group() as group:

            async def ask(tag):
                answers.append(await version(kernel, tag))

            group.start_soon(ask, "counter.ask_slowly")
            await project.reached("ask")
            project.save(version=2)
            group.start_soon(ask_when_parked, kernel, answers)

            error = await reload_fails(kernel)

            assert error.code == "quiesce_timeout"
            project.open("ask")
            assert await version(kernel) == 1
        assert answers == [1, 1]

    async def test_a_cancelled_reload_leaves_calls_parked(self, project):
        """A caller that gives up while the plugin is quiesced leaves all as it was."""
        project.shut("ask")
        async with project.host() as kernel, anyio.create_task_group() as group:
            group.start_soon(kernel.call_tag, "counter.ask_slowly")
            await project.reached("ask")
            project.save(version=2)
            loaded = len(generations_loaded())
            async with anyio.create_task_group() as impatient:
                impatient.start_soon(kernel.call, Reload("counter"))
                await is_parked(kernel, "counter.ask")
                impatient.cancel_scope.cancel()

            with anyio.fail_after(10):
                assert await version(kernel) == 1
            assert providers(kernel) == {1}
            assert len(generations_loaded()) == loaded
            project.open("ask")

    async def test_two_reloads_at_once_meet(self, project):
        """Reloads of one plugin take turns; each is a swap of its own."""
        before = len(generations_loaded())
        async with project.host() as kernel:
            project.save(version=2)
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(kernel.call, Reload("counter"))

            assert kernel.registry.get_service_info("counter").generation == 4
            assert await version(kernel) == 2
            assert len(generations_loaded()) == before + 2  # what serves, and what a rollback would bring back

    async def test_a_hook_is_called_twice(self, project):
        """After swaps the plugin's hooks are registered once, those of the new code."""
        clock = FakeClock()
        async with project.host(clock=clock) as kernel:
            for number in (2, 3):
                project.save(version=number)
                await kernel.call(Reload("counter"))

            assert [sample.value for _, samples in kernel._hooks.call("collect_metrics") for sample in samples] == [3.0]

    async def test_a_repeated_method_runs_in_both_generations(self, project):
        """After a swap only the new code's ``every`` methods run."""
        clock = FakeClock()
        changes = (
            ("hookimpl, MetricSample", "hookimpl, MetricSample, every"),
            ("    @hookimpl", TICKING + "    @hookimpl"),
        )  # fmt: skip
        project.save(*changes, version=1)
        async with project.host(clock=clock) as kernel:
            project.save(*changes, version=2)
            await kernel.call(Reload("counter"))
            with kernel.subscribe("counter.answer") as ticks:
                await clock.advance(30.0)
                heard = [ticks.mailbox.get_nowait().event.version for _ in range(len(ticks.mailbox))]

            assert heard == [2, 2, 2]

    async def test_a_plugin_that_failed_cannot_be_brought_up(self, project):
        """A plugin that could not start is brought up by a reload of better code."""
        project.save(begin("start(self, ctx)", "1 / 0"), version=1)
        async with project.host() as kernel:
            project.save(version=2)

            swapped = await kernel.call(Reload("counter"))

            assert swapped.old_generation == 0
            assert await version(kernel) == 2
            assert kernel.registry.get_service_info("counter").status == "healthy"

    async def test_old_generations_pile_up(self, project):
        """Two swaps later a generation is gone: its modules, its class and its instance."""
        async with project.host() as kernel:
            before = generations_loaded()
            await kernel.call(Reload("counter"))
            (name,) = generations_loaded() - before
            ghost = weakref.ref(sys.modules[name].Counter)
            module = weakref.ref(sys.modules[name])
            for number in (3, 4):
                project.save(version=number)
                await kernel.call(Reload("counter"))
            gc.collect()

            assert ghost() is None
            assert module() is None
            assert len(generations_loaded()) == len(before) + 1


async def is_parked(kernel, tag):
    """Return once calls to a tag are held back."""
    with anyio.fail_after(10):
        while kernel.bus.routing.parking(tag) is None:  # noqa: ASYNC110  # polls what has no event
            await anyio.sleep(0.001)  # gives worker threads the interpreter


async def ask_when_parked(kernel, answers):
    await is_parked(kernel, "counter.ask")
    answers.append(await version(kernel))


class TestLoad:
    async def test_a_call_fails_or_meets_two_versions_in_one(self, project):
        """While a package of two modules is swapped 20 times, no call fails, and none is answered by a mixture."""
        project.write("pair/__init__.py", "from .plugin import Pair\n")
        plugin = project.counter(
            ("VERSION = 1", "from .number import NUMBER as VERSION\nfrom pair.number import NUMBER")
        )
        plugin = plugin.replace("self.count += 1", "self.count = 0 if VERSION == NUMBER == OWN else -1")
        plugin = plugin.replace("Answer(VERSION, self.count)", "Answer(OWN, self.count)")
        plugin = plugin.replace("Counter", "Pair").replace('"counter', '"pair')

        def save(number):
            project.write("pair/number.py", f"NUMBER = {number}\n")
            project.write("pair/plugin.py", f"OWN = {number}\n" + plugin)

        save(1)
        answers = [[], [], []]
        async with project.host({"pair": {"source": "pair"}}) as kernel, anyio.create_task_group() as group:

            async def ask_on(into):
                while True:
                    into.append(await kernel.call_tag("pair.ask"))
                    await anyio.sleep(0.0005)  # without a pause the worker thread starves for the interpreter

            for into in answers:
                group.start_soon(ask_on, into)
            for number in range(2, 22):
                save(number)
                await kernel.call(Reload("pair"))
            assert await version(kernel, "pair.ask") == 21
            group.cancel_scope.cancel()

        for into in answers:
            versions = [answer["version"] for answer in into]
            assert versions == sorted(versions)
            assert {answer["count"] for answer in into} == {0}
            assert len(set(versions)) > 5

    async def test_an_event_is_lost_or_overtaken_in_a_swap(self, project):
        """A plugin that is swapped again and again hears every event of a publisher, once and in order."""
        changes = (
            ("class State", TICK + "class State"),
            ("msgspec.Struct):\n    count: int", "msgspec.Struct):\n    count: list[int]"),
            ("    count = 0", HEARING),
            ("        self.count += 1\n", ""),
            ("version: int\n    count: int", "version: int\n    count: list[int]"),
        )  # fmt: skip
        project.save(*changes, version=1)
        async with project.host() as kernel:
            sent = 0
            async with anyio.create_task_group() as group:

                async def publish_on():
                    nonlocal sent
                    while True:
                        await kernel.publish(Tick(sent))
                        sent += 1
                        await anyio.lowlevel.checkpoint()

                group.start_soon(publish_on)
                for number in range(2, 12):
                    project.save(*changes, version=number)
                    await kernel.call(Reload("counter"))
                group.cancel_scope.cancel()
            await anyio.wait_all_tasks_blocked()

            assert sent > 10
            assert (await kernel.call_tag("counter.ask"))["count"] == list(range(sent))


class Tick(Message, tag="clock.tick"):
    n: int


class TestRefusal:
    async def test_an_unknown_plugin_is_reloaded(self, project):
        """A name that is no plugin's is an error that says which there are."""
        async with project.host() as kernel:
            for request in (Reload("cuonter"), Rollback("cuonter")):
                with pytest.raises(HandlerError, match="counter, gate, hmr") as caught:
                    await kernel.call(request)
                assert isinstance(caught.value.__cause__, PluginNotFoundError)

    async def test_hot_swap_swaps_itself(self, project):
        """Whoever holds the way back cannot be swapped; the error says what to do."""
        async with project.host() as kernel:
            error = await reload_fails(kernel, "hmr")

            assert error.code == "source_not_allowed"
            assert "restart the host" in str(error)

    @pytest.mark.parametrize("sources", [[], ["elsewhere/"], ["count"], ["counter.py/x"]])
    async def test_a_source_that_is_not_allowed_is_loaded(self, project, sources):
        """Only code below ``sources`` is swapped in; an empty list allows none."""
        async with project.host(hmr={"sources": sources}) as kernel:
            project.save(version=2)

            assert (await reload_fails(kernel)).code == "source_not_allowed"
            assert await version(kernel) == 1

    @pytest.mark.parametrize("sources", [["."], ["counter.py"], ["elsewhere", "./x/.."]])
    async def test_a_source_that_is_allowed_is_refused(self, project, sources):
        """A file is allowed by its own name or that of any folder above it."""
        async with project.host(hmr={"sources": sources}) as kernel:
            project.save(version=2)
            await kernel.call(Reload("counter"))

            assert await version(kernel) == 2

    async def test_a_link_leads_out_of_the_allowed_folder(self, project, tmp_path_factory):
        """A link in an allowed folder does not make what it leads to allowed."""
        elsewhere = tmp_path_factory.mktemp("elsewhere") / "counter.py"
        (project.root / "counter.py").rename(elsewhere)
        (project.root / "counter.py").symlink_to(elsewhere)
        async with project.host(hmr={"sources": ["."]}) as kernel:
            assert (await reload_fails(kernel)).code == "source_not_allowed"

    async def test_a_class_that_has_no_file_is_blamed_on_the_allow_list(self, project):
        """A class that was made inside a function cannot be loaded anew, and the error says that."""

        class Homeless(Plugin):
            pass

        async with project.host() as kernel:
            await kernel.add_plugin(Homeless)

            error = await reload_fails(kernel, "homeless")

            assert error.code == "load_failed"
            assert "cannot be loaded anew" in str(error)

    async def test_a_plugin_without_the_privilege_swaps(self, project):
        """Code from a project's file may swap nobody unless the configuration grants it."""
        project.write("rogue.py", ROGUE)
        async with project.host({"rogue": {"source": "rogue.py"}}) as kernel:
            (rogue,) = (info for info in kernel.plugins() if info.name == "rogue")

            assert rogue.state == "failed"
            assert "kernel:swap" in rogue.reason


class TestRollback:
    async def test_a_rollback_needs_the_disk(self, project):
        """The code that served before serves again, with the state of today, whatever is on disk."""
        async with project.host() as kernel:
            project.save(version=2)
            await kernel.call(Reload("counter"))
            await kernel.call_tag("counter.ask")
            (project.root / "counter.py").unlink()

            swapped = await kernel.call(Rollback("counter"))

            assert (swapped.old_generation, swapped.generation, swapped.how) == (2, 3, "rollback")
            assert await kernel.call_tag("counter.ask") == {"version": 1, "count": 2}

    async def test_a_rollback_cannot_be_rolled_back(self, project):
        """A second rollback is the way forward again."""
        async with project.host() as kernel:
            project.save(version=2)
            await kernel.call(Reload("counter"))
            seen = []
            for _ in range(4):
                await kernel.call(Rollback("counter"))
                seen.append(await version(kernel))

            assert seen == [1, 2, 1, 2]

    async def test_there_is_a_way_back_to_nothing(self, project):
        """Before the first swap there is nothing to go back to."""
        async with project.host() as kernel:
            error = await reload_fails(kernel, request=Rollback)

            assert "no earlier generation" in str(error)
            assert await version(kernel) == 1

    async def test_the_way_back_is_spoilt_by_a_reload_that_failed(self, project):
        """A failed reload leaves the way back as it was."""
        async with project.host() as kernel:
            project.save(version=2)
            await kernel.call(Reload("counter"))
            project.write("counter.py", "oops oops\n")
            await reload_fails(kernel)
            await kernel.call(Rollback("counter"))

            assert await version(kernel) == 1

    async def test_a_rollback_that_fails_burns_the_way_back(self, project):
        """Code that a rollback could not bring up stays in memory for another try."""
        waiting = "await self.ctx.call_tag('gate.wait', {'name': 'test'}, timeout=0.01)"
        project.save(begin("self_test(self)", waiting), version=1)
        async with project.host() as kernel:
            project.save(version=2)
            await kernel.call(Reload("counter"))
            project.shut("test")
            await reload_fails(kernel, request=Rollback)
            project.open("test")
            await kernel.call(Rollback("counter"))

            assert await version(kernel) == 1

    async def test_a_rollback_during_a_reload_meets_it(self, project):
        """A rollback that comes while a reload is under way goes back from that reload's code."""
        project.shut("ask")
        async with project.host() as kernel, anyio.create_task_group() as group:
            group.start_soon(kernel.call_tag, "counter.ask_slowly")
            await project.reached("ask")
            project.save(version=2)
            group.start_soon(kernel.call, Reload("counter"))
            await is_parked(kernel, "counter.ask")

            async def roll_back():
                # nothing to go back to until the reload is done
                await kernel.call(Rollback("counter"))

            group.start_soon(roll_back)
            await anyio.wait_all_tasks_blocked()
            project.open("ask")
            with kernel.subscribe(Swapped) as swaps, anyio.fail_after(10):
                assert [(await anext(swaps)).how for _ in range(2)] == ["reload", "rollback"]
            assert await version(kernel) == 1

    async def test_a_plugin_that_came_anew_is_rolled_back_to_its_namesake(self):
        """A plugin that was removed takes its way back along; one of the same name has none."""
        async with Kernel() as kernel:
            await kernel.add_plugin(HmrController)
            await kernel.add_plugin(Parrot)
            await kernel.call(Reload("parrot"))
            await kernel.remove_plugin("parrot")
            await kernel.add_plugin(Parrot)

            assert "no earlier generation" in str(await reload_fails(kernel, "parrot", Rollback))


class Sound(Message, tag="parrot.sound"):
    text: str


class Speak(Request[Sound], tag="parrot.speak"):
    pass


class Parrot(Plugin):
    @handler
    async def speak(self, request: Speak) -> Sound:
        return Sound(__name__)


class TestRestart:
    async def test_a_restart_is_no_way_back(self, project):
        """A plugin that was restarted can be rolled back, and forward again, and leaves no code behind."""
        before = generations_loaded()
        async with project.host() as kernel:
            project.save(version=2)
            await kernel.call(Reload("counter"))
            await kernel.restart_plugin("counter")
            await kernel.restart_plugin("counter")
            seen = [await version(kernel)]
            for _ in range(3):
                await kernel.call(Rollback("counter"))
                seen.append(await version(kernel))
                await kernel.restart_plugin("counter")
                seen.append(await version(kernel))

            assert seen == [2, 1, 1, 2, 2, 1, 1]
            assert len(generations_loaded() - before) == 2
        assert generations_loaded() == before

    async def test_a_restart_comes_in_the_middle_of_a_swap(self, project):
        """It waits for its turn, and so the new code is what is restarted."""
        project.shut("ask")
        async with project.host() as kernel, anyio.create_task_group() as group:
            group.start_soon(kernel.call_tag, "counter.ask_slowly")
            await project.reached("ask")
            project.save(version=2)
            group.start_soon(kernel.call, Reload("counter"))
            await is_parked(kernel, "counter.ask")
            group.start_soon(kernel.restart_plugin, "counter")
            await anyio.wait_all_tasks_blocked()
            project.open("ask")
            with anyio.fail_after(10):
                while providers(kernel) != {3}:  # noqa: ASYNC110  # polls what has no event
                    await anyio.sleep(0.001)
            assert await kernel.call_tag("counter.ask") == {"version": 2, "count": 1}

    @pytest.mark.parametrize("request_type", [Reload, Rollback])
    async def test_a_quarantined_plugin_cannot_be_mended(self, project, request_type):
        """A swap of a quarantined plugin brings it back, forward or back; it waits for nothing that is gone."""
        async with project.host() as kernel:
            project.save(version=2)
            await kernel.call(Reload("counter"))
            await kernel.disable_plugin("counter", reason="sick")
            project.save(version=3)

            swapped = await kernel.call(request_type("counter"))

            assert (swapped.old_generation, swapped.generation) == (0, 3)
            assert await version(kernel) == (3 if request_type is Reload else 1)
            with pytest.raises(PluginLoadError, match="not quarantined"):
                await kernel.enable_plugin("counter")
            await kernel.call(Rollback("counter"))
            assert await version(kernel) == 2

    async def test_code_that_is_not_fit_leaves_quarantine(self, project):
        """If the new code does not start, the plugin stays in quarantine, and can still be enabled."""
        async with project.host() as kernel:
            await kernel.disable_plugin("counter", reason="sick")
            project.save(begin("start(self, ctx)", "raise ValueError('no')"), version=2)
            await reload_fails(kernel)
            assert {info.name: info.state for info in kernel.plugins()}["counter"] == "quarantined"
            await kernel.enable_plugin("counter")
            assert await version(kernel) == 1

    async def test_watching_lets_a_plugin_out_of_quarantine(self, project):
        """Only a save brings a quarantined plugin back, not that its files are there."""
        async with project.host(hmr={"watch": True}) as kernel:
            with anyio.fail_after(10):
                while not (await kernel.call(GetHmrStatus())).watching:  # noqa: ASYNC110
                    await anyio.sleep(0.001)
            await kernel.disable_plugin("counter", reason="sick")
            for _ in range(20):
                await anyio.sleep(0.01)
                assert {info.name: info.state for info in kernel.plugins()}["counter"] == "quarantined"
            project.save(version=2)
            with anyio.fail_after(10):
                while providers(kernel) == set():  # noqa: ASYNC110
                    await anyio.sleep(0.001)
            assert await version(kernel) == 2


class TestClassOfTheHost:
    async def test_a_class_that_the_host_imported_cannot_be_swapped(self):
        """The first generation is the host's own class, later ones are loaded from its file."""
        async with Kernel() as kernel:
            await kernel.add_plugin(HmrController)
            await kernel.add_plugin(Parrot)
            before = await kernel.call(Speak())
            await kernel.call(Reload("parrot"))

            assert "@2" not in before.text
            assert "@2" in (await kernel.call(Speak())).text


class TestLife:
    async def test_a_plugin_that_is_removed_during_its_swap_comes_back(self, project):
        """Removing a plugin wins over a swap of it that is under way."""
        project.shut("ask")
        before = generations_loaded()
        async with project.host() as kernel, anyio.create_task_group() as group:
            group.start_soon(kernel.call_tag, "counter.ask_slowly")
            await project.reached("ask")
            project.save(version=2)
            failures = []

            async def reload():
                try:
                    await kernel.call(Reload("counter"))
                except HandlerError as exc:
                    failures.append(exc)

            group.start_soon(reload)
            await is_parked(kernel, "counter.ask")
            group.start_soon(kernel.remove_plugin, "counter")
            await anyio.wait_all_tasks_blocked()
            project.open("ask")
            with anyio.fail_after(10):
                while "counter" in {info.name for info in kernel.plugins()}:  # noqa: ASYNC110  # polls what has no event
                    await anyio.sleep(0.001)  # gives worker threads the interpreter
            await anyio.wait_all_tasks_blocked()

            assert len(failures) == 1
            assert providers(kernel) == set()
            assert generations_loaded() == before

    async def test_a_host_that_stops_waits_for_a_swap_for_ever(self, project):
        """A host that is stopped in the middle of a swap stops, and leaves no code of either generation behind."""
        project.shut("ask")
        before = generations_loaded()
        endings = []

        async def call(request_or_tag, call):
            try:
                await call(request_or_tag)
            except AetherraError as exc:
                endings.append(exc)

        with anyio.fail_after(20):
            host = project.host(stop_timeout=0.1, shutdown_timeout=2.0)
            async with anyio.create_task_group() as group, host as kernel:
                group.start_soon(call, "counter.ask_slowly", kernel.call_tag)
                await project.reached("ask")
                group.start_soon(call, Reload("counter"), kernel.call)
                await is_parked(kernel, "counter.ask")

        assert len(endings) == 2
        assert generations_loaded() == before

    async def test_a_swap_is_undone_by_a_caller_that_leaves_too_late(self, project):
        """Once the new code serves, a caller that gives up takes nothing back: the old code stops, the swap is told."""
        farewell = "await self.ctx.call_tag('gate.wait', {'name': 'stop'}); (self.ctx.root / 'stopped').touch()"
        project.save(begin("stop(self)", farewell), version=1)
        project.shut("stop")
        async with project.host() as kernel:
            project.save(version=2)
            swaps = kernel.subscribe(Swapped)
            async with anyio.create_task_group() as group:
                group.start_soon(kernel.call, Reload("counter"))
                await project.reached("stop")
                group.cancel_scope.cancel()
                project.open("stop")

            assert (await anext(swaps)).generation == 2
            assert (project.root / "stopped").exists()
            assert await version(kernel) == 2
            await kernel.call(Rollback("counter"))
            assert await version(kernel) == 1


class TestTried:
    async def test_a_cancelled_reload_has_tried_what_was_saved(self, project):
        """What it had begun is news again for the watch."""
        async with project.host() as kernel:
            await kernel.call(TakeIn("counter"))
            project.shut("test")
            line = "await self.ctx.call_tag('gate.wait', {'name': 'test'})"
            project.save(begin("self_test(self)", line), version=2)
            async with anyio.create_task_group() as group:
                group.start_soon(kernel.call, Reload("counter"))
                await project.reached("test")
                group.cancel_scope.cancel()
            project.open("test")
            assert (await kernel.call(TakeIn("counter"))).news
            assert await version(kernel) == 2
            assert not (await kernel.call(TakeIn("counter"))).news

    async def test_a_canary_that_is_refused_has_tried_what_was_saved(self, project):
        """A key that no request has says nothing about the code."""
        async with project.host() as kernel:
            await kernel.call(TakeIn("counter"))
            project.save(version=2)
            with pytest.raises(AetherraError, match="nothing_like_it"):
                await kernel.call(Canary("counter", key="nothing_like_it"))
            assert (await kernel.call(TakeIn("counter"))).news

    async def test_a_refused_save_is_tried_for_ever(self, project):
        """Code that failed is tried once; other content is news."""
        async with project.host() as kernel:
            await kernel.call(TakeIn("counter"))
            project.save(("VERSION = 2", "VERSION = "), version=2)
            with pytest.raises(HandlerError):
                await kernel.call(TakeIn("counter"))
            assert not (await kernel.call(TakeIn("counter"))).news
            project.save(version=3)
            assert (await kernel.call(TakeIn("counter"))).news


class TestStatus:
    async def test_the_status_forgets_how_swaps_ended(self, project):
        """``hmr.status`` lists what may be swapped, and each attempt with its outcome, newest last."""
        async with project.host() as kernel:
            project.save(version=2)
            await kernel.call(Reload("counter"))
            project.write("counter.py", "oops oops\n")
            await reload_fails(kernel)

            status = await kernel.call(GetHmrStatus())

            assert [swap.outcome for swap in status.swaps] == ["swapped", "failed"]
            assert "line 1" in status.swaps[-1].problem
            assert status.watched["counter"] == str(project.root / "counter.py")
            assert "hmr" not in status.watched
            assert not status.watching
