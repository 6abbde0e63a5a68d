"""A plugin's loops: a pause comes between a wait and an act, and never costs anything."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel.loops import Loop, Relay
from aetherra.registry import Mailbox

Step = Literal["put", "pause", "hold", "resume", "tick"]


class Recorder:
    """A mailbox, and a loop over it whose acts take some turns of the event loop and are noted."""

    def __init__(self, turns: int = 2) -> None:
        self.mailbox: Mailbox[int] = Mailbox(1000, "block")
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.sent = 0
        self.loop = Loop("recording", self.mailbox.get, self.act)
        self._turns = turns

    async def act(self, thing: int) -> None:
        self.begun.append(thing)
        for _ in range(self._turns):
            await anyio.lowlevel.checkpoint()
        self.ended.append(thing)

    def put(self) -> None:
        self.mailbox.put_nowait(self.sent)
        self.sent += 1


async def play(steps: list[Step], turns: int) -> None:
    recorder = Recorder(turns)
    quiet_since: list[int] = []  # how many were begun when the last pause returned

    async def pause(asked_in: int) -> None:
        await recorder.loop.pause()
        if resumes == asked_in:
            assert recorder.begun == recorder.ended
            quiet_since.append(len(recorder.begun))

    resumes = 0
    async with anyio.create_task_group() as group:
        group.start_soon(recorder.loop.run)
        for step in steps:
            if step == "put":
                recorder.put()
            elif step == "pause":
                group.start_soon(pause, resumes)
            elif step == "hold":
                recorder.loop.hold()
            elif step == "resume":
                resumes += 1
                quiet_since.clear()
                recorder.loop.resume()
            else:
                await anyio.lowlevel.checkpoint()
            if quiet_since:
                assert len(recorder.begun) == quiet_since[0]
        await anyio.wait_all_tasks_blocked()
        recorder.loop.resume()
        recorder.put()
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert recorder.begun == recorder.ended == list(range(recorder.sent))


class TestPause:
    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    @given(
        steps=st.lists(st.sampled_from(["put", "pause", "hold", "resume", "tick", "tick"]), max_size=40),
        turns=st.integers(0, 3),
    )
    def test_a_pause_in_any_interleaving_cuts_loses_or_doubles_an_act(
        self, backend: str, steps: list[Step], turns: int
    ) -> None:
        """After a pause nothing is taken until the resume; everything is acted on once, whole and in order."""
        anyio.run(play, steps, turns, backend=backend)

    async def test_a_loop_held_before_its_first_step_runs(self) -> None:
        """A pause that comes before the loop's task has run counts."""
        recorder = Recorder()
        recorder.put()
        recorder.loop.resume()
        async with anyio.create_task_group() as group:
            group.start_soon(recorder.loop.run)
            await recorder.loop.pause()
            await anyio.wait_all_tasks_blocked()
            assert recorder.begun == []
            group.cancel_scope.cancel()

    async def test_a_pause_returns_before_the_act_in_hand_is_over(self) -> None:
        """A pause waits for the act in hand, and says so by its stack meanwhile."""
        release, paused = anyio.Event(), anyio.Event()
        mailbox: Mailbox[int] = Mailbox(10, "block")

        async def wait_in_the_act(_: int) -> None:
            await release.wait()

        loop = Loop("acting", mailbox.get, wait_in_the_act)

        async def pause() -> None:
            await loop.pause()
            paused.set()

        async with anyio.create_task_group() as group:
            group.start_soon(loop.run)
            loop.resume()
            mailbox.put_nowait(1)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(pause)
            await anyio.wait_all_tasks_blocked()
            assert loop.acting
            assert not paused.is_set()
            assert "wait_in_the_act" in loop.stack()
            release.set()
            await paused.wait()
            assert not loop.acting
            group.cancel_scope.cancel()

    async def test_a_resume_leaves_a_waiting_pause_behind(self) -> None:
        """Whoever waits for a pause that another undid is let go."""
        never = anyio.Event()
        mailbox: Mailbox[int] = Mailbox(10, "block")

        async def act(_: int) -> None:
            await never.wait()

        loop = Loop("acting", mailbox.get, act)
        async with anyio.create_task_group() as group:
            group.start_soon(loop.run)
            loop.resume()
            mailbox.put_nowait(1)
            await anyio.wait_all_tasks_blocked()
            async with anyio.create_task_group() as pausing:
                pausing.start_soon(loop.pause)
                await anyio.wait_all_tasks_blocked()
                loop.resume()
            group.cancel_scope.cancel()


class TestEnd:
    async def test_a_loop_goes_on_after_the_last_thing(self) -> None:
        """``StopAsyncIteration`` from the wait ends the loop without a fault; a pause of it returns at once."""

        async def nothing() -> int:
            raise StopAsyncIteration

        async def act(_: int) -> None: ...

        loop = Loop("ending", nothing, act)
        loop.resume()
        await loop.run()
        await loop.pause()


class TestRelay:
    async def test_a_cancelled_wait_ends_the_generator_behind(self) -> None:
        """Waiting for the next item can be cancelled any number of times, and nothing is lost."""
        more = [anyio.Event() for _ in range(3)]

        async def numbers() -> AsyncGenerator[int]:
            for number, event in enumerate(more):
                await event.wait()
                yield number

        relay = Relay(numbers())
        got: list[int] = []
        async with anyio.create_task_group() as group:
            group.start_soon(relay.draw)
            for event in more:
                async with anyio.create_task_group() as waiting:
                    waiting.start_soon(relay.__anext__)
                    await anyio.wait_all_tasks_blocked()
                    waiting.cancel_scope.cancel()
                event.set()
                got.append(await anext(relay))
        assert got == [0, 1, 2]
        with pytest.raises(StopAsyncIteration):
            await anext(relay)

    async def test_it_runs_ahead_by_more_than_one(self) -> None:
        """Only one item is drawn before it is wanted, and that one can be had at the end."""
        drawn: list[int] = []

        async def numbers() -> AsyncGenerator[int]:
            for number in range(5):
                drawn.append(number)
                yield number

        relay = Relay(numbers())
        async with anyio.create_task_group() as group:
            group.start_soon(relay.draw)
            await anyio.wait_all_tasks_blocked()
            assert drawn == [0]
            assert await anext(relay) == 0
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert relay.take() == [1]
        assert relay.take() == []
