"""The book: proposals move from state to state, on disk before they are told."""

from __future__ import annotations

import contextlib

import anyio
import anyio.to_thread
import pytest

from aetherra.plugins.self_improvement.book import MOST, REMEMBERED, Book, UnknownProposalError
from aetherra.plugins.self_improvement.history import DatabaseUnusableError
from aetherra.plugins.self_improvement.proposals import Context, MeasuredEffect, Proposal, ProposalStateError
from aetherra.plugins.self_improvement.proposals.register import Register

from .conftest import full_disk

NOW = 1_700_000_000.0
BETTER = MeasuredEffect(verdict="better", before=2.0, after=1.0, lift=0.5)


def proposal(name="plant.pool-1", **changes):
    fields = {
        "kind": "scale_up",
        "knob": "plant.pool",
        "direction": "raise",
        "before": 1,
        "after": 2,
        "metric": "plant.latency",
        "good": "down",
        "context": Context(metric="plant.latency", problem="beyond_setpoint"),
        "rationale": "it is slow",
        "evidence": (),
        "confidence": 0.65,
        "priority": 0.3,
        "way_back": "set the value that it had",
        "created": NOW,
        "expires": NOW + 3600.0,
    }
    return Proposal(id=name, **(fields | changes))


class Shelf:
    """A book, what it told, and the time."""

    def __init__(self, register):
        self.register, self.now, self.told = register, NOW, []
        self.gate = None
        self.book = self.open()

    def open(self):
        return Book(self.register, run_sync=self._run, tell=self._tell, time=lambda: self.now)

    async def _run(self, function, *args):
        if self.gate is not None:
            await self.gate.wait()
        return await anyio.to_thread.run_sync(function, *args)

    async def _tell(self, one):
        self.told.append((one.id, one.state, [each.state for each in self.register.load() if each.id == one.id]))


@pytest.fixture(params=["memory", "disk"])
def shelf(request, tmp_path):
    with Register(":memory:" if request.param == "memory" else tmp_path / "improvement.sqlite3") as register:
        yield Shelf(register)


class TestMove:
    async def test_a_state_is_told_before_it_is_kept(self, shelf):
        """Who hears of a proposal finds it on disk in the state that they heard of."""
        await shelf.book.add(proposal())
        await shelf.book.move("plant.pool-1", "applied", "plant.pool is 2")
        await shelf.book.move("plant.pool-1", "kept", "it helped", outcome=BETTER)

        assert shelf.told == [("plant.pool-1", state, [state]) for state in ("proposed", "applied", "kept")]

    async def test_a_book_forgets_at_a_restart(self, shelf):
        """What is kept on disk is taken up as it was, and what was learnt with it."""
        await shelf.book.add(proposal())
        await shelf.book.move("plant.pool-1", "applied")
        shelf.now += 600.0
        moved = await shelf.book.move("plant.pool-1", "kept", "it helped", outcome=BETTER)
        again = shelf.open()
        await again.load()

        assert again.all() == [moved]
        assert moved.steps[-1].at == shelf.now
        (outcome,) = again.strategies.outcomes
        assert (outcome.proposal, outcome.verdict, outcome.lift, outcome.at) == (
            "plant.pool-1",
            "better",
            0.5,
            shelf.now,
        )

    async def test_an_outcome_counts_twice_after_a_restart(self, shelf):
        """What was learnt in this run and is on disk counts once."""
        await shelf.book.add(proposal())
        await shelf.book.move("plant.pool-1", "applied")
        await shelf.book.move("plant.pool-1", "undone", outcome=BETTER)
        await shelf.book.load()

        assert len(shelf.book.strategies.outcomes) == 1

    async def test_a_state_that_leads_nowhere_is_taken(self, shelf):
        """A step that there is not is an error that names both states; nothing is changed or told."""
        await shelf.book.add(proposal())
        with pytest.raises(ProposalStateError, match=r"'proposed' and cannot become 'kept'"):
            await shelf.book.move("plant.pool-1", "kept", outcome=BETTER)

        assert shelf.book.get("plant.pool-1").state == "proposed"
        assert (len(shelf.told), shelf.book.strategies.outcomes) == (1, ())

    async def test_an_unknown_name_is_moved(self, shelf):
        """It is a ``LookupError`` that says where those that there are can be seen."""
        for fault in (shelf.book.move, lambda name, _: shelf.open().move(name, "kept")):
            with pytest.raises(UnknownProposalError, match=r"selfimprovement\.proposals") as caught:
                await fault("plant.pool-9", "applied")
            assert isinstance(caught.value, LookupError)
        with pytest.raises(UnknownProposalError):
            shelf.book.get("plant.pool-9")

    async def test_two_moves_at_once_both_count(self, shelf):
        """Of two who move one proposal at the same time one is told that it is too late."""
        await shelf.book.add(proposal())
        faults = []

        async def move(state):
            try:
                await shelf.book.move("plant.pool-1", state)
            except ProposalStateError as exc:
                faults.append(exc)

        async with anyio.create_task_group() as group:
            group.start_soon(move, "rejected")
            group.start_soon(move, "expired")

        assert len(faults) == 1
        assert [state for _, state, _ in shelf.told] == ["proposed", shelf.book.get("plant.pool-1").state]

    async def test_a_cancelled_move_is_half_done(self, shelf):
        """Who moves a proposal and is cancelled meanwhile has moved it, on disk as in memory."""
        await shelf.book.add(proposal())
        shelf.gate = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(shelf.book.move, "plant.pool-1", "rejected", "no")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
            shelf.gate.set()

        assert shelf.book.get("plant.pool-1").state == "rejected"
        assert [one.state for one in shelf.register.load()] == ["rejected"]


class TestDisk:
    @pytest.fixture
    def shelf(self, tmp_path):
        with Register(tmp_path / "improvement.sqlite3") as register:
            yield Shelf(register)

    async def test_a_full_disk_undoes_what_has_happened(self, shelf):
        """What cannot be kept has happened all the same: it counts and is told, and ``problem`` says what is amiss."""
        await shelf.book.add(proposal())
        with full_disk():
            moved = await shelf.book.move("plant.pool-1", "applied")

            assert shelf.book.get("plant.pool-1") == moved
            assert shelf.told[-1] == ("plant.pool-1", "applied", ["proposed"])
            assert "'plant.pool-1' is 'applied', and not on disk" in shelf.book.problem

    async def test_a_problem_is_told_for_ever(self, shelf):
        """It is over as soon as the next is kept."""
        await shelf.book.add(proposal())
        with full_disk():
            await shelf.book.move("plant.pool-1", "applied")
        await shelf.book.move("plant.pool-1", "undone")

        assert shelf.book.problem == ""
        assert [one.state for one in shelf.register.load()] == ["undone"]

    async def test_what_the_disk_did_not_take_is_never_kept(self, shelf):
        """It is kept as soon as the disk takes it, with its outcome, whatever else is moved meanwhile."""
        await shelf.book.add(proposal())
        with full_disk():
            await shelf.book.move("plant.pool-1", "applied")
            await shelf.book.move("plant.pool-1", "kept", outcome=MeasuredEffect(verdict="better", lift=0.5))
            await shelf.book.keep()
            assert shelf.book.problem
        await shelf.book.keep()

        assert shelf.book.problem == ""
        assert [one.state for one in shelf.register.load()] == ["kept"]
        assert [one.lift for one in shelf.register.outcomes()] == [0.5]

    async def test_a_register_that_is_begun_anew_stays_empty(self, shelf, tmp_path):
        """What is known is written into the one that takes the place of a damaged one."""
        await shelf.book.add(proposal())
        await shelf.book.move("plant.pool-1", "applied")
        file = tmp_path / "improvement.sqlite3"
        for each in (file, file.with_name(file.name + "-wal")):
            each.write_bytes(b"no database any more" * 2000)
        with contextlib.suppress(DatabaseUnusableError):
            await shelf.book.add(proposal("plant.pool-2", knob="plant.other"))
        await shelf.book.keep()
        await shelf.book.keep()

        assert shelf.register.set_aside is not None
        assert [one.state for one in shelf.register.load() if one.id == "plant.pool-1"] == ["applied"]

    async def test_a_new_proposal_is_taken_up_without_a_disk(self, shelf):
        """One that cannot be kept is not taken up: an error, and nothing is told."""
        with full_disk(), pytest.raises(DatabaseUnusableError):
            await shelf.book.add(proposal())

        assert (shelf.book.all(), shelf.told) == ([], [])
        assert await shelf.book.add(proposal()) == shelf.book.get("plant.pool-1")


class TestLists:
    async def test_the_order_is_by_chance(self, shelf):
        """All come newest first, open ones the most important first."""
        for number, (priority, age) in enumerate([(0.1, 0), (0.9, 100), (0.5, 50)]):
            await shelf.book.add(proposal(f"p-{number}", priority=priority, created=NOW - age))
        await shelf.book.add(proposal("p-3", priority=1.0, state="rejected", created=NOW - 10))

        assert [one.id for one in shelf.book.all()] == ["p-0", "p-3", "p-2", "p-1"]
        assert [one.id for one in shelf.book.open()] == ["p-1", "p-2", "p-0"]
        assert [one.id for one in shelf.book.all("rejected", "kept")] == ["p-3"]
        assert shelf.book.counts() == {"proposed": 3, "rejected": 1}

    async def test_a_chain_begins_at_its_end(self, shelf):
        """Of each knob the last kept one stands, with the value of before the first."""

        def kept(name, knob, before, after, at):
            one = proposal(name, knob=knob, before=before, after=after, state="applied")
            return one.moved("kept", at)

        for one in (
            kept("a-2", "a", 2, 4, NOW + 20),
            kept("a-1", "a", 1, 2, NOW + 10),
            kept("b-1", "b", 5, 6, NOW + 15),
            proposal("a-3", knob="a", state="undone"),
        ):
            await shelf.book.add(one)

        assert {(one.id, original) for one, original in shelf.book.standing()} == {("a-2", 1), ("b-1", 5)}

    async def test_a_host_remembers_all_that_it_ever_proposed(self, shelf):
        """What was concluded long ago leaves memory at the next start; what is open or kept stays in any case."""
        old = NOW - REMEMBERED - 1.0
        for state in ("rejected", "kept", "proposed"):
            await shelf.book.add(proposal(f"old-{state}", state=state, created=old))
        await shelf.book.add(proposal("new", state="rejected", created=NOW - 1.0))
        book = shelf.open()
        await book.load()

        assert {one.id for one in book.all()} == {"old-kept", "old-proposed", "new"}

    async def test_memory_grows_without_end(self, tmp_path):
        """At most a thousand concluded ones are taken up, the newest."""
        with Register(":memory:") as register:
            shelf = Shelf(register)
            for number in range(MOST + 5):
                register.save(proposal(f"p-{number}", state="rejected", created=NOW + number))
            shelf.now = NOW + 2 * MOST
            await shelf.book.load()

            assert {one.id for one in shelf.book.all()} == {f"p-{number}" for number in range(5, MOST + 5)}
