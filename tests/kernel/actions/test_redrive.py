"""Redrive: an action is sent again once, or its letter stays where it is, and who was refused is told why."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from aetherra.kernel import (
    ActionEnvelope,
    ActionPriority,
    ActionQueueFullError,
    DeadLetter,
    LaneConfig,
    LanesConfig,
    LetterNotFoundError,
    RetryPolicy,
)
from aetherra.kernel.actions import redrive as redrive_module
from aetherra.kernel.actions.dlq import DeadLetterQueue
from aetherra.kernel.actions.journal import Journal
from aetherra.kernel.actions.queue import ActionQueue
from aetherra.kernel.actions.redrive import Redriven, Redriver
from aetherra.kernel.testing import FakeClock
from aetherra.registry import Bus, Identity, Message, MessageValidationError, NoHandlerError, Request, Route


class Watered(Message, tag="redrive.watered"):
    zone: str


class Water(Request[Watered], tag="redrive.water"):
    zone: str


class OtherWater(Request[Watered], tag="redrive.water"):
    litres: int


class Unknown(Request[None], tag="redrive.unknown"):
    pass


class Garden:
    """A handler that waits for ``gate``, a queue in front of it, and letters on disk."""

    def __init__(self, folder: Path, capacity: int, journal: Journal | None) -> None:
        self.clock = FakeClock()
        self.bus = Bus(clock=self.clock)
        self.bus.add_routes([Route(Water, self.water, Identity("plugin", "garden", 1))])
        self.gate = anyio.Event()
        self.gate.set()
        self.watered: list[str] = []
        self.told: list[DeadLetter] = []
        self.dlq = DeadLetterQueue(folder / "dlq.jsonl")
        lane = LaneConfig(capacity=capacity)
        lanes = LanesConfig(high=lane, normal=lane, background=lane)
        self.queue = ActionQueue(
            self.bus, self.dlq, lanes=lanes, workers=1, journal=journal, on_dead_letter=self.told.append
        )
        self.redriver = Redriver(self.bus, self.queue, self.dlq)

    async def water(self, request: Water) -> Watered:
        await self.gate.wait()
        self.watered.append(request.zone)
        return Watered(request.zone)

    def letter(self, zone: str, request: Request[Any] | None = None, **fields: Any) -> str:
        """Put a dead letter there and return its trace id."""
        envelope = ActionEnvelope(request or Water(zone), trace_id=f"dead-{zone}", **fields)
        letter = DeadLetter.of(envelope, "failed", ts=self.clock.time(), attempts=3, error=None)
        self.dlq.add(letter)
        return letter.trace_id

    def left(self) -> list[str]:
        return [letter.trace_id for letter in reversed(self.dlq.items())]

    async def rest(self) -> None:
        await self.clock.advance(0)


@asynccontextmanager
async def garden(folder: Path, *, capacity: int = 1000, durable: bool = False) -> AsyncGenerator[Garden]:
    made: Garden | None = None
    clock = FakeClock()
    journal = Journal(folder, clock, sync=False) if durable else None
    if journal is not None:
        journal.open()
    made = Garden(folder, capacity, journal)
    async with made.queue.running(lambda: 0):
        yield made
    made.dlq.close()
    if journal is not None:
        journal.close()


class TestRedrive:
    async def test_an_action_is_sent_again_and_its_letter_leaves(self, tmp_path: Path) -> None:
        """As a new action with all its attempts, its priority, its policy and its conversation."""
        async with garden(tmp_path) as g:
            dead = g.letter("north", priority=ActionPriority.LOW, timeout=7.0, retry=RetryPolicy(5))
            other = g.letter("south")
            handle = await g.redriver.redrive(dead)

            assert await handle.wait() == Watered("north")
            sent = handle.envelope
            assert (sent.priority, sent.timeout, sent.retry) == (ActionPriority.LOW, 7.0, RetryPolicy(5))
            assert sent.trace_id != dead
            assert sent.causation_id == dead
            assert g.left() == [other]
            with pytest.raises(LetterNotFoundError, match=dead):
                await g.redriver.redrive(dead)

    async def test_two_redrives_of_one_letter_send_its_action_once(self, tmp_path: Path) -> None:
        """The second finds no letter."""
        async with garden(tmp_path) as g:
            dead = g.letter("north")
            outcomes: list[str] = []

            async def redrive() -> None:
                try:
                    await g.redriver.redrive(dead)
                    outcomes.append("sent")
                except LetterNotFoundError:
                    outcomes.append("none")

            async with anyio.create_task_group() as group:
                group.start_soon(redrive)
                group.start_soon(redrive)
            await g.rest()

            assert sorted(outcomes) == ["none", "sent"]
            assert g.watered == ["north"]

    async def test_a_letter_that_a_crash_left_behind_is_the_same_action(self, tmp_path: Path) -> None:
        """Sent, and not removed: whoever sends it again gets the action that is there, done or not."""
        async with garden(tmp_path) as g:
            dead = g.letter("north")
            line = (tmp_path / "dlq.jsonl").read_bytes()
            first = await g.redriver.redrive(dead)
            (tmp_path / "dlq.jsonl").write_bytes(line)
            second = await g.redriver.redrive(dead)
            assert second.trace_id == first.trace_id
            await first.wait()
            (tmp_path / "dlq.jsonl").write_bytes(line)
            third = await g.redriver.redrive(dead)

            assert await third.wait() == Watered("north")
            assert g.watered == ["north"]
            assert g.left() == []

    @pytest.mark.parametrize("at_once", [True, False])
    async def test_a_letter_that_is_parked_as_its_action_is_sent_can_be_sent_again(
        self, tmp_path: Path, at_once: bool
    ) -> None:
        """It leaves from where it is by then; one of another action that is parked stays."""
        async with garden(tmp_path) as g:
            dead, other = g.letter("north"), g.letter("south")
            submit = g.queue.submit_envelope

            async def submit_and_park(envelope: ActionEnvelope, **options: Any) -> Any:
                handle = await submit(envelope, **options)
                assert g.dlq.park([dead, other]) == 2
                return handle

            g.queue.submit_envelope = submit_and_park
            await (g.redriver.redrive_where(trace_ids=[dead]) if at_once else g.redriver.redrive(dead))
            await g.rest()

            assert g.watered == ["north"]
            assert g.left() == []
            assert [letter.trace_id for letter in g.dlq.items(parked=True)] == [other]
            assert g.dlq.statistics().parked == g.dlq.unpark() == 1

    async def test_the_letter_stays_when_its_action_cannot_be_sent(self, tmp_path: Path) -> None:
        """No handler, a full lane, other fields, a host that stops: the error says which; no letter more or less."""
        async with garden(tmp_path, capacity=1) as g:
            dead, unknown = g.letter("north"), g.letter("x", Unknown())
            g.gate = anyio.Event()
            await g.queue.submit(Water("running"))
            await g.rest()
            await g.queue.submit(Water("queued"))
            with pytest.raises(NoHandlerError):
                await g.redriver.redrive(unknown)
            with pytest.raises(ActionQueueFullError, match=f"normal lane is full.*{dead}"):
                await g.redriver.redrive(dead)
            g.gate.set()
            await g.rest()
            old = g.bus.route("redrive.water")
            assert old is not None

            async def answer(request: OtherWater) -> Watered:
                return Watered(str(request.litres))

            g.bus.add_routes([Route(OtherWater, answer, Identity("plugin", "garden", 2))], replacing=[old])
            with pytest.raises(MessageValidationError, match="unknown field"):
                await g.redriver.redrive(dead)

            assert g.left() == [dead, unknown]
            assert g.told == []

    async def test_a_letter_that_cannot_be_removed_does_no_harm(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its action is on its way; that the letter stays is said, and sending it again is the same action."""
        async with garden(tmp_path) as g:
            dead = g.letter("north")
            (tmp_path / "dlq.jsonl.new").mkdir()
            handle = await g.redriver.redrive(dead)
            assert await handle.wait() == Watered("north")
            assert "cannot be removed" in caplog.text
            assert g.left() == [dead]

            (tmp_path / "dlq.jsonl.new").rmdir()
            assert await (await g.redriver.redrive(dead)).wait() == Watered("north")
            assert (g.watered, g.left()) == (["north"], [])

    async def test_cancelled_after_the_action_was_accepted_it_removes_the_letter(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both or neither."""
        async with garden(tmp_path) as g:
            dead = g.letter("north")
            submit = g.queue.submit_envelope

            async def submit_and_be_cancelled(envelope: ActionEnvelope, **options: Any) -> Any:
                handle = await submit(envelope, **options)
                scope.cancel()
                return handle

            monkeypatch.setattr(g.queue, "submit_envelope", submit_and_be_cancelled)
            with anyio.CancelScope() as scope:
                await g.redriver.redrive_where()
            await g.rest()
            assert (g.watered, g.left()) == (["north"], [])
            dead = g.letter("south")
            with anyio.CancelScope() as scope:
                await g.redriver.redrive(dead)
            await g.rest()
            assert (g.watered, g.left()) == (["north", "south"], [])


class TestRedriveWhere:
    async def test_those_that_fit_are_sent_again_the_oldest_first(self, tmp_path: Path) -> None:
        """By reason, type and time; ``limit`` counts from the newest, as in the list of letters."""
        async with garden(tmp_path) as g:
            for zone in ("a", "b", "c", "d"):
                g.letter(zone)
                await g.clock.advance(10.0)
            now = g.clock.time()
            assert (await g.redriver.redrive_where(reason="timeout")).redriven == ()
            assert (await g.redriver.redrive_where(action_type="redrive.unknown")).redriven == ()
            report = await g.redriver.redrive_where(
                reason="failed", action_type="redrive.water", since=now - 35.0, before=now - 5.0, limit=2
            )
            await g.rest()

            assert [done.trace_id for done in report.redriven] == ["dead-c", "dead-d"]
            assert len({done.new_trace_id for done in report.redriven} - {"dead-c", "dead-d"}) == 2
            assert (report.refused, report.dry_run) == ((), False)
            assert g.watered == ["c", "d"]
            assert g.left() == ["dead-a", "dead-b"]

    async def test_who_is_refused_is_told_why_and_stays(self, tmp_path: Path) -> None:
        """One that cannot be sent does not hold up the others."""
        async with garden(tmp_path) as g:
            g.letter("a")
            g.letter("x", Unknown())
            g.letter("b")
            report = await g.redriver.redrive_where(trace_ids=["dead-b", "gone", "dead-x", "dead-a", "dead-a"])
            await g.rest()

            assert [done.trace_id for done in report.redriven] == ["dead-a", "dead-b"]
            assert [(no.trace_id, no.action_type, no.error) for no in report.refused] == [
                ("gone", "", "LetterNotFoundError"),
                ("dead-x", "redrive.unknown", "NoHandlerError"),
            ]
            assert "'gone'" in report.refused[0].message
            assert (g.watered, g.left(), g.told) == (["a", "b"], ["dead-x"], [])

    async def test_a_dry_run_tells_and_does_nothing(self, tmp_path: Path) -> None:
        """Who would be sent, and who does not fit today's handlers."""
        async with garden(tmp_path) as g:
            g.letter("a")
            g.letter("x", Unknown())
            report = await g.redriver.redrive_where(dry_run=True)
            await g.rest()

            assert report.redriven == (Redriven("dead-a", ""),)
            assert [no.trace_id for no in report.refused] == ["dead-x"]
            assert report.dry_run
            assert (g.watered, g.left()) == ([], ["dead-a", "dead-x"])
            assert g.queue.statistics().accepted == 0

    async def test_what_has_no_room_stays_and_the_rest_is_sent(self, tmp_path: Path) -> None:
        """A lane's bound holds for redriven actions as well; they are not dead-lettered a second time."""
        async with garden(tmp_path, capacity=3) as g:
            g.gate = anyio.Event()
            for zone in "abcdef":
                g.letter(zone)
            report = await g.redriver.redrive_where()
            assert len(report.redriven) + len(report.refused) == 6
            assert {no.error for no in report.refused} == {"ActionQueueFullError"}
            assert g.left() == [no.trace_id for no in report.refused]
            g.gate.set()
            await g.rest()

            assert g.watered == [done.trace_id.removeprefix("dead-") for done in report.redriven]
            assert g.told == []

    async def test_letters_leave_a_few_at_a_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that a crash in the middle of many finds most of it done."""
        monkeypatch.setattr(redrive_module, "AT_ONCE", 2)
        async with garden(tmp_path) as g:
            for zone in "abcde":
                g.letter(zone)
            removed: list[set[str]] = []
            remove = g.dlq.remove

            def watched(trace_ids: set[str], **options: Any) -> int:
                removed.append(set(trace_ids))
                return remove(trace_ids, **options)

            monkeypatch.setattr(g.dlq, "remove", watched)
            await g.redriver.redrive_where()
            assert removed == [{"dead-a", "dead-b"}, {"dead-c", "dead-d"}, {"dead-e"}]
            assert g.left() == []

    async def test_the_event_loop_goes_on_meanwhile(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Files are read and rewritten in a worker thread."""
        async with garden(tmp_path) as g:
            g.letter("a")
            threads: list[int] = []
            for name in ("items", "find", "remove"):
                method = getattr(g.dlq, name)

                def watched(*arguments: Any, method: Any = method, **options: Any) -> Any:
                    threads.append(threading.get_ident())
                    return method(*arguments, **options)

                monkeypatch.setattr(g.dlq, name, watched)
            await g.redriver.redrive_where()
            monkeypatch.undo()
            assert len(threads) == 2
            assert threading.get_ident() not in threads

    async def test_a_redriven_action_survives_a_crash_where_there_is_a_journal(self, tmp_path: Path) -> None:
        """It is accepted as any other before its letter leaves."""
        async with garden(tmp_path, durable=True) as g:
            g.gate = anyio.Event()
            g.letter("north")
            (done,) = (await g.redriver.redrive_where()).redriven
            assert g.left() == []
            kept = Journal(tmp_path, FakeClock(), sync=False).open().actions
            assert [record.trace_id for record, *_ in kept] == [done.new_trace_id]
            g.gate.set()
            await g.rest()
