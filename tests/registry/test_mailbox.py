"""The bounded mailbox, against a list."""

from __future__ import annotations

from contextlib import ExitStack
from typing import get_args

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aetherra.registry import Mailbox, Overflow

POLICIES = get_args(Overflow)


class MailboxAgainstList(RuleBasedStateMachine):
    """Every policy does to the mailbox what a line of list code does to a list."""

    @initialize(capacity=st.integers(1, 4), overflow=st.sampled_from(POLICIES))
    def open(self, capacity: int, overflow: Overflow) -> None:
        self.stack = ExitStack()
        self.portal = self.stack.enter_context(start_blocking_portal())
        self.box: Mailbox[int] = Mailbox(capacity, overflow)
        self.overflow = overflow
        self.room = 1 if overflow == "latest" else capacity
        self.model: list[int] = []
        self.dropped = self.sent = 0

    @precondition(lambda self: not self.box.closed)
    @rule()
    def put(self) -> None:
        self.sent += 1
        kept = self.box.put_nowait(self.sent)
        if len(self.model) < self.room:
            assert kept
            self.model.append(self.sent)
            return
        self.dropped += 1
        assert kept == (self.overflow in ("drop_oldest", "latest"))
        if kept:
            self.model = [*self.model[1:], self.sent]

    @rule()
    def get(self) -> None:
        if self.model:
            assert self.box.get_nowait() == self.model.pop(0)
        else:
            with pytest.raises(anyio.WouldBlock):
                self.box.get_nowait()

    @rule()
    def close(self) -> None:
        self.box.close()

    @precondition(lambda self: self.box.closed)
    @rule()
    def put_when_closed(self) -> None:
        assert not self.box.put_nowait(-1)

    @rule(policy=st.sampled_from(["put", "get"]), after_waiting=st.booleans())
    def cancelled(self, policy: str, after_waiting: bool) -> None:
        """A cancelled call takes nothing and adds nothing."""
        if policy == "put" and (self.overflow != "block" or len(self.model) < self.room or self.box.closed):
            return  # it would not wait
        if policy == "get" and (self.model or self.box.closed):
            return

        async def run() -> None:
            async with anyio.create_task_group() as group:
                if policy == "put":
                    group.start_soon(self.box.put, -1)
                else:
                    group.start_soon(self.box.get)
                if after_waiting:
                    await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()

        self.portal.call(run)

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "box"):
            assert len(self.box) == len(self.model) <= self.box.capacity == self.room
            assert self.box.full == (len(self.model) == self.room)
            assert self.box.dropped == self.dropped


TestMailboxAgainstList = MailboxAgainstList.TestCase


class TestMailbox:
    @pytest.mark.parametrize(
        ("overflow", "left"),
        [("block", [1, 2]), ("drop_newest", [1, 2]), ("drop_oldest", [3, 4]), ("latest", [4])],
    )
    def test_each_policy_keeps_what_it_says(self, overflow: Overflow, left: list[int]) -> None:
        """What is kept is in order, and what is not is counted."""
        box: Mailbox[int] = Mailbox(2, overflow)
        for item in range(1, 5):
            box.put_nowait(item)

        assert [box.get_nowait() for _ in range(len(box))] == left
        assert box.dropped == 4 - len(left)

    def test_no_room_at_all_is_refused(self) -> None:
        """A capacity below 1 is a clear error."""
        with pytest.raises(ValueError, match="at least 1, got 0"):
            Mailbox(0, "block")

    def test_an_unknown_policy_is_refused(self) -> None:
        """A misspelled policy is not taken for another."""
        with pytest.raises(ValueError, match=r"expected an overflow policy out of block, .* got 'drop_odlest'"):
            Mailbox(1, "drop_odlest")  # type: ignore[arg-type]

    async def test_a_blocked_writer_goes_on_when_there_is_room(self) -> None:
        """With ``block`` nothing is dropped and order is kept."""
        box: Mailbox[int] = Mailbox(1, "block")

        async def write() -> None:
            for item in range(5):
                assert await box.put(item)

        async with anyio.create_task_group() as group:
            group.start_soon(write)
            await anyio.wait_all_tasks_blocked()
            assert [await box.get() for _ in range(5)] == [0, 1, 2, 3, 4]
        assert box.dropped == 0

    async def test_many_blocked_writers_all_get_their_turn(self) -> None:
        """Each waiting writer's event arrives once, also when one of them is cancelled as room appears."""
        box: Mailbox[int] = Mailbox(1, "block")
        await box.put(0)
        scopes = [anyio.CancelScope() for _ in range(3)]

        async def write(item: int) -> None:
            with scopes[item - 1]:
                await box.put(item)

        async with anyio.create_task_group() as group:
            for item in (1, 2, 3):
                group.start_soon(write, item)
                await anyio.wait_all_tasks_blocked()
            scopes[0].cancel()
            box.get_nowait()
            assert sorted([await box.get(), await box.get()]) == [2, 3]
        assert not len(box)

    async def test_a_waiting_reader_is_woken_by_each_event(self) -> None:
        """No wake-up is lost, however often the reader waits."""
        box: Mailbox[int] = Mailbox(4, "drop_oldest")
        got: list[int] = []

        async def read() -> None:
            while len(got) < 3:
                got.append(await box.get())

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            for item in range(3):
                await anyio.wait_all_tasks_blocked()
                box.put_nowait(item)
        assert got == [0, 1, 2]

    async def test_closing_ends_the_reader_when_it_has_read_the_rest(self) -> None:
        """What waits is read, then the end is told."""
        box: Mailbox[int] = Mailbox(2, "block")
        await box.put(1)
        box.close()

        assert await box.get() == 1
        with pytest.raises(anyio.EndOfStream):
            await box.get()

    async def test_closing_wakes_a_waiting_reader_and_writer(self) -> None:
        """Nobody waits for ever at a closed mailbox; the writer is told that its event was not kept."""
        empty: Mailbox[int] = Mailbox(1, "block")
        full: Mailbox[int] = Mailbox(1, "block")
        await full.put(1)

        async def read() -> None:
            with pytest.raises(anyio.EndOfStream):
                await empty.get()

        async def write() -> None:
            assert not await full.put(2)

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            group.start_soon(write)
            await anyio.wait_all_tasks_blocked()
            empty.close()
            full.close()
        assert len(full) == 1
