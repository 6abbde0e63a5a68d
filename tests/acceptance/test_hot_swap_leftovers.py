"""What old generations leave: nothing that goes on, and objects that still work."""

from __future__ import annotations

import gc
import logging
import pickle
import threading
import weakref

import msgspec
import pytest

from aetherra.hmr import Reload, Swapped
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import Message

from .hot_swap_project import editor_fixture, loaded_modules, plugin, project_fixture, until

editor, project = editor_fixture, project_fixture


class Ping(Message, tag="test.ping"):
    n: int


class Pong(Message, tag="counter.pong"):
    n: int
    version: int


HEARING = """
@handler
async def hear_by_mark(self, event: Ping) -> Pong:
    return Pong(event.n, {number})

async def hear(self, event) -> Pong:
    return Pong(event.n, {number})

async def start(self, ctx) -> None:
    ctx.subscribe("test.*", self.hear)

@hookimpl
def collect_metrics(self):
    return [MetricSample("version", {number}.0, "")]
"""
MESSAGES = """
from aetherra.plugins import MetricSample

class Ping(Message, tag="test.ping"):
    n: int

class Pong(Message, tag="counter.pong"):
    n: int
    version: int
"""
TICKING = """
async def start(self, ctx) -> None:
    ctx.every(10.0, self.tick)

@every(10.0)
async def tick(self) -> None:
    await self.ctx.publish(Pong(0, {number}))
"""
TAKING = """
async def start(self, ctx) -> None:
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait, name="thread of counter")
    thread.start()
    ctx.defer(thread.join)
    ctx.defer(ended.set)
    log_handler = logging.NullHandler()
    log_handler.set_name("handler of counter")
    logging.getLogger("aetherra").addHandler(log_handler)
    ctx.defer(lambda: logging.getLogger("aetherra").removeHandler(log_handler))
"""
KEEPING = """
import enum

class Mode(enum.Enum):
    SLOW = 1
    FAST = 2

class Point(msgspec.Struct):
    x: int
    mode: Mode

    def moved(self):
        return Point(self.x + {number}, Mode.FAST)

class MoveReply(Message, tag="counter.moved"):
    point: Point
    version: int

class Move(Request[MoveReply], tag="counter.move"):
    point: Point
"""
MOVING = """
@handler
async def move(self, request: Move) -> MoveReply:
    assert isinstance(request.point, Point)
    assert request.point.mode is Mode.SLOW or request.point.mode is Mode.FAST
    return MoveReply(request.point.moved(), {number})
"""


class TestNothingGoesOn:
    async def test_events_and_hooks_arrive_more_than_once_after_three_reloads(self, project):
        """After three saves an event is heard once by each way of hearing it, and a hook is asked once."""
        project.write("counter.py", plugin(1, top=MESSAGES, body=HEARING.format(number=1)))
        async with project.host("counter") as host:
            for number in (2, 3, 4):
                await project.save("counter.py", plugin(number, top=MESSAGES, body=HEARING.format(number=number)))
                await host.hear(Swapped)
            with host.kernel.subscribe(Pong) as pongs:
                for n in range(3):
                    await host.kernel.publish(Ping(n))
                heard = [await anext(pongs) for _ in range(6)]
                await host.nothing_else()
                assert len(pongs.mailbox) == 0
            samples = [sample for _, some in host.kernel._hooks.call("collect_metrics") for sample in some]
        assert sorted(pong.n for pong in heard) == [0, 0, 1, 1, 2, 2]
        assert {pong.version for pong in heard} == {4}
        assert [sample.value for sample in samples] == [4.0]

    async def test_a_repeated_method_runs_more_than_once_after_three_reloads(self, project):
        """After three reloads each repeated method runs once an interval, of the newest code only."""
        clock = FakeClock()
        project.write("counter.py", plugin(1, top=MESSAGES, body=TICKING.format(number=1)))
        async with project.host("counter", clock=clock, watch=False) as host:
            for number in (2, 3, 4):
                await project.save("counter.py", plugin(number, top=MESSAGES, body=TICKING.format(number=number)))
                await host.kernel.call(Reload("counter"))
            with host.kernel.subscribe(Pong) as pongs:
                await clock.advance(30.0)
                heard = [(await anext(pongs)).version for _ in range(len(pongs.mailbox))]
        assert heard == [4] * 6

    async def test_a_thread_or_a_log_handler_is_left_after_three_reloads(self, project):
        """What ``start()`` took is there once after three saves, and gone with the host."""

        def threads():
            return [thread.name for thread in threading.enumerate() if thread.name == "thread of counter"]

        def handlers():
            logger = logging.getLogger("aetherra")
            return [handler.name for handler in logger.handlers if handler.name == "handler of counter"]

        async with project.host("counter") as host:
            for number in (2, 3, 4):
                await project.save("counter.py", plugin(number, top="import logging, threading", body=TAKING))
                await host.hear(Swapped)
            await until(lambda: len(threads()) == 1, "one thread is left")
            await until(lambda: len(handlers()) == 1, "one log handler is left")
        assert (threads(), handlers()) == ([], [])

    async def test_old_generations_pile_up(self, project):
        """After many saves two generations are in memory: the one that serves, and the one to go back to."""
        async with project.host("counter") as host:
            before = loaded_modules(["counter"])
            ghosts = []
            for number in range(2, 8):
                ghosts.append(weakref.ref(host.module().Counter))
                await project.save("counter.py", plugin(number))
                await host.hear(Swapped)
                await host.nothing_else()
            gc.collect()
            assert len(loaded_modules(["counter"])) == len(before) + 1
            assert [ghost() is None for ghost in ghosts] == [True] * 5 + [False]
        gc.collect()
        assert not loaded_modules(["counter"])
        assert ghosts[-1]() is None


class TestKeptObjects:
    @staticmethod
    def code(number):
        return plugin(number, top=KEEPING.format(number=number), body=MOVING.format(number=number))

    async def test_objects_of_old_code_stop_working_or_passing(self, project):
        """Methods of kept objects work as they did; messages made of them are converted for the new code, and back."""
        project.write("counter.py", self.code(1))
        async with project.host("counter") as host:
            old = host.module()
            point = old.Point(10, old.Mode.SLOW)
            reply = await host.kernel.call(old.Move(point))
            await project.save("counter.py", self.code(2))
            await host.hear(Swapped)
            new = host.module()
            assert new.Point is not old.Point

            assert point.moved() == old.Point(11, old.Mode.FAST) == reply.point
            moved = await host.kernel.call(old.Move(reply.point))
            assert type(moved) is old.MoveReply
            assert type(moved.point) is old.Point
            assert moved.point.mode is old.Mode.FAST
            assert (moved.point.x, moved.version) == (13, 2)
            anew = await host.kernel.call(new.Move(msgspec.convert(msgspec.to_builtins(point), new.Point)))
            assert (anew.point.x, anew.point.mode) == (12, new.Mode.FAST)

    async def test_objects_of_a_generation_that_is_kept_do_not_pickle(self, project):
        """Objects of the code that serves and of that before it pickle, as their own class; older ones say no."""
        project.write("counter.py", self.code(1))
        async with project.host("counter") as host:
            old = host.module()
            point = old.Point(10, old.Mode.SLOW)
            await project.save("counter.py", self.code(2))
            await host.hear(Swapped)
            new = host.module()
            for module, kept in ((old, point), (new, new.Point(20, new.Mode.FAST))):
                again = pickle.loads(pickle.dumps(kept))
                assert again == kept
                assert type(again) is module.Point
                assert again.mode is kept.mode
            data = pickle.dumps(point)
            await project.save("counter.py", self.code(3))
            await host.hear(Swapped)

            with pytest.raises(ModuleNotFoundError, match="counter@1"):
                pickle.loads(data)
            with pytest.raises(pickle.PicklingError):
                pickle.dumps(point)
            assert point.moved() == old.Point(11, old.Mode.FAST), "which harms nobody who has it in hand"
