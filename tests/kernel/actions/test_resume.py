"""The actions of an earlier run: each is taken up, or waits for its plugin, or is dead."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from aetherra.kernel import (
    ActionCancelledError,
    ActionEnvelope,
    ActionPriority,
    DeadLetter,
    LaneConfig,
    LanesConfig,
    Reject,
    RetryPolicy,
)
from aetherra.kernel.actions import resume
from aetherra.kernel.actions.dlq import DeadLetterQueue
from aetherra.kernel.actions.journal import Journal
from aetherra.kernel.actions.queue import ActionQueue
from aetherra.kernel.actions.records import Finished
from aetherra.kernel.actions.resume import Resumption, without_buried
from aetherra.kernel.testing import FakeClock
from aetherra.registry import Bus, Identity, Message, Request, Route, ServiceRegistry

MILLER = Identity("plugin", "miller", 1)


class Ground(Message, tag="resume.ground"):
    grain: str


class Grind(Request[Ground], tag="resume.grind"):
    grain: str


class OldGrind(Request[Ground], tag="resume.grind"):
    sacks: int


class Sift(Request[None], tag="resume.sift"):
    pass


class Mill:
    """A queue over a folder, whose handler grinds, or does what it is told for a grain."""

    def __init__(self, folder: Path, clock: FakeClock, workers: int, capacity: int) -> None:
        self.clock = clock
        self.bus = Bus(clock=clock)
        self.bus.add_routes([Route(Grind, self.grind, MILLER)])
        self.ground: list[str] = []
        self.sifted = 0
        self.plan: dict[str, Callable[[], Awaitable[Any]]] = {}
        self.letters: list[DeadLetter] = []
        self.dlq = DeadLetterQueue(folder / "dlq.jsonl")
        self.journal = Journal(folder, clock, sync=False)
        lane = LaneConfig(capacity=capacity)
        self.queue = ActionQueue(
            self.bus,
            self.dlq,
            lanes=LanesConfig(high=lane, normal=lane, background=lane),
            workers=workers,
            journal=self.journal,
            on_dead_letter=self.letters.append,
        )
        self.resumption = Resumption(self.bus, self.queue)

    async def grind(self, request: Grind) -> Ground:
        self.ground.append(request.grain)
        if request.grain in self.plan:
            await self.plan[request.grain]()
        return Ground(request.grain)

    async def sift(self, _: Sift) -> None:
        self.sifted += 1

    def add_sifter(self) -> None:
        """Bring up the plugin that sifts."""
        self.bus.add_routes([Route(Sift, self.sift, MILLER)])
        ServiceRegistry(self.bus).register("sifter", tags=["resume.sift"])


@asynccontextmanager
async def mill(folder: Path, *, workers: int = 1, capacity: int = 100) -> AsyncGenerator[Mill]:
    """Start a host's queue over what an earlier run has left, and stop it at the end."""
    made = Mill(folder, FakeClock(), workers, capacity)
    unfinished = without_buried(made.journal, made.dlq, made.journal.open())
    async with made.queue.running(lambda: 0.0), anyio.create_task_group() as group:
        made.resumption.begin(unfinished)
        group.start_soon(made.resumption.run)
        yield made
        group.cancel_scope.cancel()
    made.dlq.close()
    made.journal.close()


def leave(folder: Path, *envelopes: ActionEnvelope, attempts: int = 0, done: Finished | None = None) -> None:
    """Leave a journal as a host that died has left it."""
    journal = Journal(folder, FakeClock(), sync=False)
    journal.open()
    for envelope in envelopes:
        journal.accept(envelope)
        if attempts:
            journal.begin(envelope.trace_id, attempts)
    if done is not None:
        journal.finish_done(done)
    journal.close()


def left(folder: Path) -> list[str]:
    journal = Journal(folder, FakeClock(), sync=False)
    found = [record.trace_id for record, _ in journal.open().actions]
    journal.close()
    return found


NOW = FakeClock().time()


def grind(grain: str, **fields: Any) -> ActionEnvelope:
    return ActionEnvelope(Grind(grain), trace_id=grain, **{"enqueued": NOW - 10.0, **fields})


class TestBegin:
    async def test_actions_are_taken_up_in_the_order_of_their_acceptance(self, tmp_path: Path) -> None:
        """Urgent ones first, as at any other time, with the attempts that they have left."""
        leave(tmp_path, grind("rye"), grind("oats"), grind("malt", priority=ActionPriority.HIGH), attempts=1)
        async with mill(tmp_path) as m:
            numbers = m.queue.statistics()
            assert (numbers.accepted, numbers.oldest_age) == (3, 10.0)
            await m.clock.advance(0)

            assert m.ground == ["malt", "rye", "oats"]
            assert m.queue.statistics().done == 3
        assert left(tmp_path) == []

    async def test_more_than_a_lane_holds_are_all_taken_up(self, tmp_path: Path) -> None:
        """They were accepted; whoever comes now has to wait until there is room again."""
        leave(tmp_path, *(grind(f"sack-{number}") for number in range(20)))
        async with mill(tmp_path, capacity=5) as m:
            assert m.queue.statistics().lanes["normal"].depth == 20
            handle = await m.queue.submit(Grind("late"), wait_for_room=10.0)
            await m.clock.advance(0)

            assert (len(m.ground), handle.status) == (21, "done")

    async def test_one_whose_attempts_are_used_up_is_dead(self, tmp_path: Path) -> None:
        """Each of them was under way when a host died."""
        leave(tmp_path, grind("stone", retry=RetryPolicy(2)), attempts=2)
        async with mill(tmp_path) as m:
            await m.clock.advance(0)
            ((reason, attempts, message),) = [(one.reason, one.attempts, one.message) for one in m.letters]
            assert (reason, attempts, m.ground) == ("failed", 2, [])
            assert "the host died during attempt 2 of 2" in message
        assert left(tmp_path) == []

    async def test_one_that_nobody_can_read_any_more_is_dead(self, tmp_path: Path) -> None:
        """Its letter has what was accepted."""
        leave(tmp_path, ActionEnvelope(OldGrind(3), trace_id="old"), grind("rye"))
        async with mill(tmp_path) as m:
            await m.clock.advance(0)
            assert [(one.reason, one.trace_id, one.params) for one in m.letters] == [("invalid", "old", {"sacks": 3})]
            assert m.ground == ["rye"]
        assert left(tmp_path) == []

    async def test_keys_of_what_was_done_and_of_what_was_not_are_honoured(self, tmp_path: Path) -> None:
        """The work is not done again for a submitter who has not heard that the host died."""
        done = Finished("old", ("resume.grind", "k1"), NOW + 50.0, Ground("rye"))
        leave(tmp_path, grind("oats", idempotency_key="k2"), done=done)
        async with mill(tmp_path) as m:
            first = await m.queue.submit(Grind("more rye"), idempotency_key="k1")
            second = await m.queue.submit(Grind("more oats"), idempotency_key="k2")
            await m.clock.advance(0)
            assert (await first.wait(), await second.wait()) == (Ground("rye"), Ground("oats"))
            assert (m.ground, m.queue.statistics().duplicates) == (["oats"], 2)
            await m.clock.advance(50.0)
            third = await m.queue.submit(Grind("more rye"), idempotency_key="k1")
            assert await third.wait() == Ground("more rye")


class TestWait:
    async def test_one_whose_plugin_is_not_there_waits_for_it(self, tmp_path: Path) -> None:
        """It counts as waiting meanwhile, and is done when the plugin comes."""
        leave(tmp_path, ActionEnvelope(Sift(), trace_id="sift", enqueued=NOW - 60.0), grind("rye"))
        async with mill(tmp_path) as m:
            await m.clock.advance(m.bus.default_timeout - 1.0)
            numbers = m.queue.statistics()
            assert (numbers.done, numbers.waiting, numbers.oldest_age) == (1, 1, 60.0 + m.bus.default_timeout - 1.0)
            m.add_sifter()
            await m.clock.advance(0)
            assert (m.sifted, m.queue.statistics().waiting) == (1, 0)
            await m.clock.advance(100.0)
            assert (m.letters, m.bus.statistics().subscriptions) == ([], 0)
        assert left(tmp_path) == []

    async def test_one_whose_plugin_does_not_come_is_dead(self, tmp_path: Path) -> None:
        """After the time that a call would wait; a plugin that comes later does not get it."""
        leave(tmp_path, ActionEnvelope(Sift(), trace_id="sift"), attempts=1)
        async with mill(tmp_path) as m:
            await m.clock.advance(m.bus.default_timeout)
            assert [(one.reason, one.trace_id, one.attempts) for one in m.letters] == [("no_handler", "sift", 1)]
            m.add_sifter()
            await m.clock.advance(1.0)
            assert m.sifted == 0
        assert left(tmp_path) == []

    async def test_one_that_waits_for_its_plugin_when_the_host_stops_waits_on(self, tmp_path: Path) -> None:
        """For the next start; a stop is no reason to die of."""
        leave(tmp_path, ActionEnvelope(Sift(), trace_id="sift"))
        async with mill(tmp_path) as m:
            await m.clock.advance(m.bus.default_timeout - 1.0)

        assert m.letters == []
        assert left(tmp_path) == ["sift"]

    async def test_a_wait_that_ends_after_the_queue_has_stopped_ends_nothing(self, tmp_path: Path) -> None:
        """The time for the plugin may be over while other parts of the host still stop."""
        leave(tmp_path, ActionEnvelope(Sift(), trace_id="sift"))
        m = Mill(tmp_path, FakeClock(), 1, 100)
        async with anyio.create_task_group() as group:
            async with m.queue.running(lambda: 0.0):
                m.resumption.begin(m.journal.open())
                group.start_soon(m.resumption.run)
                await m.clock.advance(1.0)
            await m.clock.advance(m.bus.default_timeout)
        m.dlq.close()
        m.journal.close()

        assert m.letters == []
        assert left(tmp_path) == ["sift"]

    async def test_many_that_come_up_at_once_let_others_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A plugin that comes to a thousand actions does not hold up the host."""
        monkeypatch.setattr(resume, "AT_ONCE", 10)
        leave(tmp_path, *(ActionEnvelope(Sift(), trace_id=f"s{number}") for number in range(95)))
        async with mill(tmp_path) as m:
            await m.clock.advance(1.0)
            m.add_sifter()
            steps = {0}
            while m.queue.unclaimed:
                steps.add(95 - len(m.queue.unclaimed))
                await anyio.lowlevel.checkpoint()
            await m.clock.advance(0)

            assert max(later - sooner for sooner, later in pairwise(sorted(steps))) <= 20
            assert max(steps) >= 80
            assert m.sifted == 95

    async def test_an_action_of_an_earlier_run_may_be_cancelled_like_any_other(self, tmp_path: Path) -> None:
        """Who submits it again has its handle."""
        leave(tmp_path, grind("rye"))
        async with mill(tmp_path) as m:
            m.plan["rye"] = anyio.sleep_forever
            await m.clock.advance(0)
            handle = await m.queue.submit_envelope(grind("rye"))
            assert handle.attempts == 1
            assert handle.cancel()
            with pytest.raises(ActionCancelledError):
                await handle.wait()
        assert left(tmp_path) == []


class TestWithoutBuried:
    async def test_an_action_whose_letter_is_on_disk_is_dead(self, tmp_path: Path) -> None:
        """The host died between the letter and the journal's end: it is not done after all."""
        letter = DeadLetter.of(grind("rye"), "failed", ts=NOW, attempts=3, error=OSError("stone"))
        dlq = DeadLetterQueue(tmp_path / "dlq.jsonl")
        dlq.add(letter)
        dlq.close()
        leave(tmp_path, grind("rye"), grind("oats"))
        async with mill(tmp_path) as m:
            await m.clock.advance(0)
            assert (m.ground, m.letters) == (["oats"], [])
            assert [one.trace_id for one in m.dlq.items()] == ["rye"]
        assert left(tmp_path) == []

    async def test_an_action_that_was_submitted_again_after_its_death_is_not_dead(self, tmp_path: Path) -> None:
        """A letter is of the action that it was written for, and not of a later one of its name."""
        async with mill(tmp_path) as m:

            async def refuse() -> None:
                raise Reject("wet")

            m.plan["rye"] = refuse
            dead = await m.queue.submit_envelope(grind("rye", enqueued=0.0))
            await m.clock.advance(1.0)
            assert [one.trace_id for one in m.letters] == ["rye"]
            m.plan["rye"] = anyio.sleep_forever
            again = await m.queue.submit_envelope(dead.envelope)
            await m.clock.advance(1.0)
            assert again.status == "running"
        async with mill(tmp_path) as m:
            await m.clock.advance(0)
            assert m.ground == ["rye"]
        assert left(tmp_path) == []
