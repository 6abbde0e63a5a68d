"""The agenda: what is due is acted upon in time, in order, and once."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from math import inf

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.kernel.actions import agenda as agenda_module
from aetherra.kernel.actions.agenda import Agenda
from aetherra.kernel.testing import FakeClock


class Entry:
    """Something that can be due, by a name."""

    due = 0

    def __init__(self, name: str) -> None:
        self.name = name


class Diary:
    """An agenda, and what it has acted upon and looked at, each with the time."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.acted: list[tuple[float, str]] = []
        self.looked: list[float] = []
        self.look_again = inf
        self.agenda: Agenda[Entry] = Agenda(self.clock, self.act, self.look)

    def act(self, entry: Entry) -> None:
        assert entry.due == 0
        self.acted.append((self.clock.monotonic(), entry.name))

    def look(self, now: float) -> float:
        self.looked.append(now)
        return self.look_again

    def put(self, name: str, when: float) -> Entry:
        entry = Entry(name)
        self.agenda.put(entry, when)
        return entry


@asynccontextmanager
async def diary() -> AsyncGenerator[Diary]:
    made = Diary()
    async with anyio.create_task_group() as group:
        group.start_soon(made.agenda.run)
        await made.clock.advance(0)
        yield made
        group.cancel_scope.cancel()


class TestDue:
    async def test_entries_are_acted_upon_at_their_time_and_in_order(self) -> None:
        """Whatever the order in which they were put; equals in the order they came."""
        async with diary() as d:
            for name, when in (("late", 9.0), ("soon", 1.0), ("soon too", 1.0), ("middle", 5.0)):
                d.put(name, when)
            await d.clock.advance(0.9)
            assert d.acted == []
            await d.clock.advance(10.0)

            assert d.acted == [(1.0, "soon"), (1.0, "soon too"), (5.0, "middle"), (9.0, "late")]

    async def test_an_entry_that_is_due_before_the_next_wakes_the_agenda(self) -> None:
        """It does not sleep until what was first when it went to sleep."""
        async with diary() as d:
            d.put("late", 100.0)
            await d.clock.advance(1.0)
            d.put("sooner", 3.0)
            await d.clock.advance(2.0)

            assert d.acted == [(3.0, "sooner")]

    async def test_what_is_due_already_is_acted_upon_at_once(self) -> None:
        """Its time may have passed before it was put."""
        async with diary() as d:
            await d.clock.advance(5.0)
            d.put("past", 1.0)
            d.put("now", 5.0)
            await d.clock.advance(0)

            assert d.acted == [(5.0, "past"), (5.0, "now")]

    async def test_an_entry_that_was_taken_off_is_not_acted_upon(self) -> None:
        """Taking it off twice, or before it was ever on, does no harm."""
        async with diary() as d:
            gone = d.put("gone", 1.0)
            d.agenda.discard(gone)
            d.agenda.discard(gone)
            d.agenda.discard(Entry("never there"))
            d.put("kept", 2.0)
            await d.clock.advance(5.0)

            assert d.acted == [(2.0, "kept")]

    async def test_an_entry_is_on_the_agenda_once(self) -> None:
        """Put again, it is due at its new time alone, earlier or later; once acted upon it may be put anew."""
        async with diary() as d:
            entry = d.put("moved", 5.0)
            d.agenda.put(entry, 8.0)
            d.agenda.put(entry, 3.0)
            await d.clock.advance(10.0)
            assert d.acted == [(3.0, "moved")]
            d.agenda.put(entry, 12.0)
            await d.clock.advance(10.0)

            assert d.acted == [(3.0, "moved"), (12.0, "moved")]

    async def test_acting_may_put_and_take_off(self) -> None:
        """An entry that puts itself again, or takes off the next, meets no surprise."""
        async with diary() as d:
            next_one = d.put("next", 2.0)
            first = d.put("first", 1.0)

            def act(entry: Entry) -> None:
                d.act(entry)
                if len(d.acted) < 3:
                    d.agenda.put(entry, d.clock.monotonic())
                    d.agenda.discard(next_one)

            d.agenda._act = act
            await d.clock.advance(5.0)

            assert d.acted == [(1.0, "first")] * 3
            assert first.due == 0

    async def test_an_entry_that_is_never_due_waits_for_ever(self) -> None:
        """``inf`` is a time, too, and another one may be put in its place."""
        async with diary() as d:
            entry = d.put("never", inf)
            await d.clock.advance(1e9)
            assert d.acted == []
            d.agenda.put(entry, 1e9 + 1)
            await d.clock.advance(1.0)

            assert d.acted == [(1e9 + 1, "never")]

    async def test_a_timer_that_fires_early_brings_nothing_forward(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An event loop's timer may be a hair before its time; it is waited for the rest."""
        async with diary() as d:
            exact = d.clock.move_on_after
            monkeypatch.setattr(d.clock, "move_on_after", lambda seconds: exact(seconds - min(0.5, seconds / 2)))
            d.put("exact", 4.0)
            await d.clock.advance(3.9)
            assert d.acted == []
            d.clock.move_on_after = exact  # type: ignore[method-assign]
            await d.clock.advance(0.2)

            assert [name for _, name in d.acted] == ["exact"]
            assert d.acted[0][0] >= 4.0

    def test_entries_that_were_taken_off_do_not_pile_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A million cancelled retries an hour ahead are not a million entries."""
        monkeypatch.setattr(agenda_module, "STALE", 10)
        d = Diary()
        kept = [d.put(f"kept {number}", 50.0 + number) for number in range(5)]
        for number in range(1000):
            d.agenda.discard(d.put("gone", float(number)))
            assert len(d.agenda._heap) <= 2 * (len(kept) + 10) + 2

        async def run() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(d.agenda.run)
                await d.clock.advance(2000.0)
                group.cancel_scope.cancel()

        anyio.run(run)
        assert [name for _, name in d.acted] == [entry.name for entry in kept]

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0, 2**32), st.sampled_from(["asyncio", "trio"]))
    def test_whatever_is_put_and_taken_off_each_is_acted_upon_at_its_last_time(self, seed: int, backend: str) -> None:
        """Random entries against a dictionary of what is due when; the agenda is swept often."""
        chance = random.Random(seed)

        async def run() -> None:
            async with diary() as d:
                entries = [Entry(str(number)) for number in range(8)]
                due: dict[str, float] = {}
                for _ in range(60):
                    entry = chance.choice(entries)
                    match chance.randrange(4):
                        case 0:
                            d.agenda.discard(entry)
                            due.pop(entry.name, None)
                        case 1:
                            await d.clock.advance(chance.randrange(24) / 8)
                        case _:
                            due[entry.name] = d.clock.monotonic() + chance.randrange(48) / 8
                            d.agenda.put(entry, due[entry.name])
                    now = d.clock.monotonic()
                    await d.clock.advance(0)
                    expected = sorted((when, name) for name, when in due.items() if when <= now)
                    assert sorted(d.acted) == expected
                    assert [when for when, _ in d.acted] == [when for when, _ in expected]
                    d.acted.clear()
                    for _, name in expected:
                        del due[name]
                    assert d.agenda._stale == len(d.agenda._heap) - len(due)  # as much as counts no more

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(agenda_module, "STALE", 3)
            anyio.run(run, backend=backend)


class TestLook:
    async def test_it_looks_around_when_it_was_told_to_and_no_oftener(self) -> None:
        """At the earliest of the times that were asked for; then not again, unless the look says when."""
        async with diary() as d:
            d.agenda.look_by(7.0)
            d.agenda.look_by(4.0)
            d.agenda.look_by(5.0)
            await d.clock.advance(20.0)

            assert d.looked == [4.0]
            assert d.agenda.look_at == inf

    async def test_a_look_says_when_the_next_is(self) -> None:
        """For as long as there is something to look at."""
        async with diary() as d:
            d.look_again = 6.0
            d.agenda.look_by(4.0)
            await d.clock.advance(5.0)
            assert (d.looked, d.agenda.look_at) == ([4.0], 6.0)
            d.look_again = inf
            await d.clock.advance(20.0)

            assert d.looked == [4.0, 6.0]

    async def test_a_look_that_is_asked_for_during_a_look_is_not_forgotten(self) -> None:
        """What is found there may need another, sooner than the rest does."""
        async with diary() as d:

            def look(now: float) -> float:
                d.looked.append(now)
                if len(d.looked) == 1:
                    d.agenda.look_by(now + 1.0)
                return now + 50.0

            d.agenda._look = look
            d.agenda.look_by(2.0)
            await d.clock.advance(10.0)

            assert d.looked == [2.0, 3.0]

    async def test_looks_and_entries_do_not_delay_one_another(self) -> None:
        """Each has its own time."""
        async with diary() as d:
            d.put("before", 1.0)
            d.agenda.look_by(2.0)
            d.put("after", 3.0)
            await d.clock.advance(5.0)

            assert (d.acted, d.looked) == ([(1.0, "before"), (3.0, "after")], [2.0])
