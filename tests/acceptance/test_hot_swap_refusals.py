"""Code that fails: the old answers whole, whatever failed and when, and the next good save is swapped in."""

from __future__ import annotations

import pytest

from aetherra.hmr import GetHmrStatus, HmrController, Reload, Rollback, SwapError, SwapFailed, Swapped
from aetherra.plugins import HandlerError

from .hot_swap_project import asking, editor_fixture, loaded_modules, plugin, project_fixture, said_by_log

editor, project = editor_fixture, project_fixture

COUNTING = """
count = 0

async def hand_over(self) -> Count:
    return Count(self.count)

async def take_over(self, state: Count) -> None:
    {taking}
    self.count = state.count
"""
COUNT = "class Count(msgspec.Struct):\n    count: int\n"

FAILED = "async def start(self, ctx):\n    ctx.set_status(ServiceStatus.FAILED, 'no sensor')\n"


def counting(number, taking="pass"):
    value = f"[{number}, setattr(self, 'count', self.count + 1) or self.count]"
    return plugin(value, top=COUNT, body=COUNTING.format(taking=taking))


def with_step(number, step, line):
    return plugin(number, body=f"async def {step}:\n    {line}\n")


class TestImport:
    async def test_a_syntax_error_stops_the_old_code_or_the_fix(self, project):
        """Code that does not compile is told with its line, the old code answers, and the fix is swapped in."""
        async with project.host("counter") as host, asking(host) as asked:
            await project.save("counter.py", plugin(2, top="oops oops"))
            failed = await host.hear(SwapFailed)
            assert failed.code == "load_failed"
            assert f"{project.root / 'counter.py'}, line 4" in failed.problem
            await asked.for_more(20)
            assert set(asked.values) == {1}
            await project.save("counter.py", plugin(3))
            await host.hear(Swapped)
            await host.answers(3)
        assert set(asked.values) <= {1, 3}

    async def test_an_import_that_raises_half_way_leaves_the_old_half_new(self, project):
        """When a module raises after others of its package were imported, all modules of the old one answer as ever."""
        value = "[NUMBER, first.NUMBER, self.late()]"
        body = "def late(self):\n    from . import first, second\n    return [first.NUMBER, second.NUMBER]\n"
        entry = plugin(value, top="from . import first, second\nfrom .first import NUMBER", body=body)
        project.write("pack/__init__.py", entry)
        project.write("pack/first.py", "NUMBER = 1\n")
        project.write("pack/second.py", "NUMBER = 1\n")
        async with project.host("counter=pack") as host:
            before = loaded_modules(["pack"])
            await project.save_all({"pack/first.py": "NUMBER = 2\n", "pack/second.py": "NUMBER = 2\n1 / 0\n"})
            while (failed := await host.outcome()) and "ZeroDivisionError" not in getattr(failed, "problem", ""):
                assert await host.answer() == [2, 2, [2, 1]], "it was swapped in between the two writes"
            assert isinstance(failed, SwapFailed)
            assert f"{project.root / 'pack/second.py'}, line 2" in failed.problem
            first = await host.answer()
            assert first in ([1, 1, [1, 1]], [2, 2, [2, 1]])
            assert len(loaded_modules(["pack"])) in (len(before), len(before) * 2)
            await project.save("pack/second.py", "NUMBER = 3\n")
            await host.outcomes_until([2, 2, [2, 3]])

    async def test_an_old_entry_meets_the_new_helper_of_an_entry_that_failed(self, project):
        """When entry and helper change together and the entry fails, the old entry keeps the old helper."""
        body = "def late(self):\n    from helper import NUMBER\n    return NUMBER\n"
        project.write("helper.py", "NUMBER = 1\n")
        entry = plugin("[ENTRY, NUMBER, self.late()]", top="from helper import NUMBER\nENTRY = 1", body=body)
        project.write("counter.py", entry)
        async with project.host("counter") as host:
            broken = entry.replace("ENTRY = 1", "ENTRY = 2\n1 / 0")
            await project.save_all({"counter.py": broken, "helper.py": "NUMBER = 2\n"})
            await host.hear(SwapFailed)
            assert await host.answer() == [1, 1, 1]
            await project.save("counter.py", entry.replace("ENTRY = 1", "ENTRY = 3"))
            assert isinstance((await host.outcomes_until([3, 2, 2]))[-1], Swapped)

    async def test_a_function_that_is_gone_breaks_the_old_importer(self, project):
        """When a helper's function is removed, its importer fails and the old one goes on with the old function."""
        project.write("helper.py", "def number():\n    return 1\n")
        project.write("counter.py", plugin("number()", top="from helper import number"))
        async with project.host("counter") as host:
            await project.save("helper.py", "def renamed():\n    return 2\n")
            failed = await host.hear(SwapFailed)
            assert failed.code == "load_failed"
            assert "number" in failed.problem
            assert await host.answer() == 1
            await project.save("counter.py", plugin("renamed()", top="from helper import renamed"))
            await host.outcomes_until(2)


class TestProbe:
    @pytest.mark.parametrize(
        ("step", "line"),
        [("self_test(self)", "raise ValueError('no sensor')"), ("start(self, ctx)", "raise ValueError('no sensor')")],
    )
    async def test_new_code_that_says_no_takes_over(self, project, step, line):
        """New code whose start or self-test raises is refused with what it said; what it took is given back."""
        async with project.host("counter") as host, asking(host) as asked:
            await project.save("counter.py", with_step(2, step, line))
            failed = await host.hear(SwapFailed)
            assert failed.code == "probe_failed"
            assert "no sensor" in failed.problem
            await asked.for_more(20)
            await project.save("counter.py", plugin(3))
            await host.hear(Swapped)
            await host.answers(3)
        assert set(asked.values) <= {1, 3}

    async def test_new_code_that_says_that_it_failed_takes_over(self, project):
        """New code whose ``start()`` says FAILED is refused with the reason, and the service stays healthy."""
        async with project.host("counter") as host, asking(host) as asked:
            await project.save("counter.py", plugin(2, body=FAILED))
            failed = await host.hear(SwapFailed)
            assert "no sensor" in failed.problem
            assert host.kernel.registry.get_service_info("counter").status == "healthy"
            await asked.for_more(20)
            await project.save("counter.py", plugin(3))
            await host.hear(Swapped)
            await host.answers(3)
        assert set(asked.values) <= {1, 3}

    async def test_a_handler_that_is_gone_leaves_its_callers_alone(self, project):
        """New code that does not answer a tag any more is refused, and both tags are answered as before."""
        second = (
            "@handler\nasync def second(self, request: Second) -> CounterAnswer:\n    return CounterAnswer('second')\n"
        )
        top = "# here"
        both = plugin(1, top=top, body=second).replace(
            "class Counter(Plugin)",
            'class Second(Request[CounterAnswer], tag="counter.second"):\n    pass\n\n\nclass Counter(Plugin)',
        )
        project.write("counter.py", both)
        async with project.host("counter") as host:
            await project.save("counter.py", plugin(2))
            failed = await host.hear(SwapFailed)
            assert failed.code == "contract_broken"
            assert "counter.second" in failed.problem
            assert await host.answer() == 1
            assert (await host.kernel.call_tag("counter.second"))["value"] == "second"

    async def test_a_field_that_was_added_breaks_those_who_do_not_know_it(self, project):
        """A new field with a default is swapped in and old callers need not name it; one without is refused."""
        async with project.host("counter") as host:
            ask = 'tag="counter.ask"):\n    pass'
            without = plugin("request.extra").replace(ask, 'tag="counter.ask"):\n    extra: int')
            await project.save("counter.py", without)
            assert (await host.hear(SwapFailed)).code == "contract_broken"
            assert await host.answer() == 1
            with_default = plugin("request.extra").replace(ask, 'tag="counter.ask"):\n    extra: int = 7')
            await project.save("counter.py", with_default)
            await host.hear(Swapped)

            assert await host.answer() == 7
            assert (await host.kernel.call_tag("counter.ask", {"extra": 8}))["value"] == 8


class TestHandOver:
    async def test_a_take_over_that_raises_touches_the_old_state(self, project):
        """When the new code cannot take the state over, the old one has it untouched, and counts on from it."""
        project.write("counter.py", counting(1))
        async with project.host("counter") as host:
            assert [await host.answer() for _ in range(3)] == [[1, 1], [1, 2], [1, 3]]
            await project.save("counter.py", counting(2, "state.count = 99; raise ValueError('no room')"))
            failed = await host.hear(SwapFailed)
            assert failed.code == "state_import_failed"
            assert "no room" in failed.problem
            assert await host.answer() == [1, 4]
            await project.save("counter.py", counting(3))
            await host.hear(Swapped)
            assert await host.answer() == [3, 5]

    async def test_an_old_stop_that_raises_undoes_the_swap(self, project):
        """When the old code's ``stop()`` raises, it is logged, the new serves, and the old gives back what it took."""
        body = (
            "async def start(self, ctx):\n    ctx.defer((ctx.root / 'given_back').touch)\n\n"
            "async def stop(self):\n    raise ValueError('no way')\n"
        )
        project.write("counter.py", plugin(1, body=body))
        with said_by_log() as said:
            async with project.host("counter") as host:
                await project.save("counter.py", plugin(2))
                await host.hear(Swapped)
                assert await host.answer() == 2
                await host.nothing_else()
                assert (project.root / "given_back").exists()
                await project.save("counter.py", plugin(3))
                await host.hear(Swapped)
                assert await host.answer() == 3
        assert any("ValueError: no way" in line for line in said)


class TestGoingBack:
    @pytest.mark.parametrize("disk", ["broken", "deleted", "newer"])
    async def test_a_rollback_needs_the_disk(self, project, disk):
        """A rollback brings the code before back from memory, state included, whatever is on disk, and that stays."""
        project.write("counter.py", counting(1))
        async with project.host("counter") as host:
            assert await host.answer() == [1, 1]
            await project.save("counter.py", counting(2))
            await host.hear(Swapped)
            assert await host.answer() == [2, 2]
            if disk == "broken":
                await project.save("counter.py", "oops oops\n")
                await host.hear(SwapFailed)
            elif disk == "deleted":
                await project.save("counter.py", how="delete")
            else:
                await project.save("counter.py", counting(2, "1 / 0"))
                await host.hear(SwapFailed)

            swapped = await host.kernel.call(Rollback("counter"))
            assert (swapped.how, swapped.old_generation) == ("rollback", 2)
            assert await host.answer() == [1, 3]
            await host.nothing_else()
            assert await host.answer() == [1, 4]
            await project.save("counter.py", counting(5))
            while (await host.answer())[0] != 5:
                await host.outcome()


class TestSources:
    async def test_an_empty_list_of_sources_allows_something(self, project):
        """With ``sources`` empty no save is looked at and no reload is done; with none named the save is found."""
        async with project.host("counter", sources=[]) as host:
            await project.save("counter.py", plugin(2))
            assert (await host.kernel.call(GetHmrStatus())).watched == {}
            with pytest.raises(HandlerError) as caught:
                await host.kernel.call(Reload("counter"))
            cause = caught.value.__cause__
            assert isinstance(cause, SwapError)
            assert cause.code == "source_not_allowed"
            assert await host.answer() == 1

            await host.kernel.remove_plugin("hmr")
            await host.kernel.add_plugin(HmrController, settings={"watch": True})
            await host.answers(2)
            assert host.generation() == 2, "nothing was swapped before"
