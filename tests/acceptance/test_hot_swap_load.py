"""Swaps under about one call a millisecond: no call fails, none meets two versions, no state is lost."""

from __future__ import annotations

import anyio

from aetherra.hmr import SwapFailed, Swapped

from .hot_swap_project import asking, editor_fixture, plugin, project_fixture, until

editor, project = editor_fixture, project_fixture

SWAPS = 10
ENTRY = """\
import anyio
import helper as beside
from helper import NUMBER
from aetherra.plugins import Message, Plugin, Request, handler

ENTRY = {number}
if NUMBER != ENTRY:
    raise ImportError(f"the helper is of version {{NUMBER}}, the entry of {{ENTRY}}")


class Answer(Message, tag="counter.answer"):
    value: object


class Ask(Request[Answer], tag="counter.ask"):
    pass


class AskSlowly(Request[Answer], tag="counter.slowly"):
    pass


class Counter(Plugin):
    name = "counter"

    @handler
    async def ask(self, request: Ask) -> Answer:
        return Answer([{number}, ENTRY, NUMBER, beside.NUMBER, beside.number()])

    @handler
    async def slowly(self, request: AskSlowly) -> Answer:
        seen = [{number}, NUMBER]
        for _ in range(3):
            await anyio.sleep(0.001)
            from helper import NUMBER as now, number
            seen += [ENTRY, now, number(), beside.number()]
        return Answer(seen)
"""
HELPER = "NUMBER = {number}\n\n\ndef number():\n    return {number}\n"
STATEFUL = """
class Count(msgspec.Struct):
    own: int
    of_module: int

of_module = 0

def count_up():
    global of_module
    of_module += 1
    return of_module
"""
STATE = """
own = 0

def count(self):
    self.own += 1
    return [{number}, self.own, count_up()]

async def hand_over(self) -> Count:
    return Count(self.own, of_module)

async def take_over(self, state: Count) -> None:
    global of_module
    self.own, of_module = state.own, state.of_module
"""
WAITING = """
async def start(self, ctx) -> None:
    self.gone_on = anyio.Event()
    ctx.start_soon(self.wait)

async def wait(self) -> None:
    while not (self.ctx.root / "go").exists():
        await anyio.sleep(0.001)
    self.gone_on.set()

async def slow(self):
    before = NUMBER
    (self.ctx.root / "begun").touch()
    await self.gone_on.wait()
    from helper import NUMBER as late
    return [before, NUMBER, late, VERSION]
"""


def pair(number):
    return {"counter.py": ENTRY.format(number=number), "helper.py": HELPER.format(number=number)}


class TestLoad:
    async def test_a_call_fails_or_meets_two_versions_while_entry_and_helper_are_saved(self, project):
        """Entry and helper are saved 10 times, now one first and now the other: no call fails, none mixes them."""
        for name, text in pair(0).items():
            project.write(name, text)
        async with (
            project.host("counter") as host,
            asking(host) as quick,
            asking(host, tag="slowly") as slow,
        ):
            await quick.for_more(20)
            for number in range(1, SWAPS + 1):
                files = list(pair(number).items())
                await project.save_all(dict(files if number % 2 else reversed(files)))
                await host.outcomes_until([number] * 5)
                await quick.for_more(20)
                await slow.for_more(2)

        assert all(len(set(value)) == 1 for value in quick.values + slow.values)
        assert [value[0] for value in quick.values] == sorted(value[0] for value in quick.values)
        assert {value[0] for value in quick.values} == set(range(SWAPS + 1))

    async def test_an_increment_is_lost(self, project):
        """State of the plugin and of its module is handed over 10 times under load, and every call counts in both."""

        def stateful(number):
            return plugin("self.count()", top=STATEFUL, body=STATE.format(number=number))

        project.write("counter.py", stateful(0))
        async with project.host("counter") as host, asking(host) as one, asking(host) as other:
            for number in range(1, SWAPS + 1):
                await one.for_more(10)
                await project.save("counter.py", stateful(number), "atomically")
                await host.hear(Swapped)
                assert host.generation() == number + 1
            await other.for_more(10)

        counts = sorted(value[1:] for value in one.values + other.values)
        assert counts == [[count, count] for count in range(1, len(counts) + 1)]
        assert {value[0] for value in one.values + other.values} == set(range(SWAPS + 1))

    async def test_a_refused_save_loses_a_call(self, project):
        """Saves that cannot be loaded or started, one after the other under load, cost no call and change no answer."""
        faults = [
            {"top": "oops oops"},
            {"top": "1 / 0"},
            {"body": "async def start(self, ctx):\n    1 / 0\n"},
            {"body": "async def self_test(self):\n    assert False\n"},
        ]
        async with project.host("counter") as host, asking(host) as asked:
            for number, fault in enumerate(faults * 2):
                await project.save("counter.py", plugin(2, **fault) + f"# {number}\n")
                await host.hear(SwapFailed)
                await asked.for_more(10)
        assert set(asked.values) == {1}


class TestCallsInHand:
    async def test_a_call_in_hand_sees_two_versions(self, project):
        """A call ends on the code that it began on, late imports included; those that come later wait for the new."""

        def slow(number):
            top = f"from helper import NUMBER\nVERSION = {number}"
            return plugin("await self.slow()", top=top, body=WAITING)

        project.write("helper.py", "NUMBER = 1\n")
        project.write("counter.py", slow(1))
        answers = []
        async with project.host("counter") as host, anyio.create_task_group() as group:

            async def ask():
                answers.append(await host.answer())

            group.start_soon(ask)
            await until((project.root / "begun").exists, "the call has begun")
            await project.save_all({"helper.py": "NUMBER = 2\n", "counter.py": slow(2)})
            await until(lambda: host.kernel.bus.routing.parking("counter.ask") is not None, "later calls are parked")
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert answers == []
            await project.save("go", "")
            await host.hear(Swapped)
        assert answers == [[1, 1, 1, 1], [2, 2, 2, 2]]
