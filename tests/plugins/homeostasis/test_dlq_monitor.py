"""Tests of the dead letters' monitor: every letter once, grouped, at the price of what is new; on a real queue."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel import ActionPriority, DeadLetter, RetryPolicy
from aetherra.kernel.actions.dlq import DeadLetterQueue
from aetherra.kernel.actions.messages import DeadLetters
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import ListDeadLetters
from aetherra.plugins.homeostasis.dlq_monitor import KEPT_SEC, MOST_GROUPS, OVERLAP, QUIET_SEC, DlqMonitor

NOW = 1_700_000_000.0


def a_letter(number: int | str, ts: float, **fields: str) -> DeadLetter:
    """Return a letter."""
    values = {"action_type": "weather.fetch", "reason": "failed", "error_type": "OSError", "message": "gone"} | fields
    return DeadLetter(
        ts=ts, trace_id=f"t{number}", params={}, priority=ActionPriority.MAINTENANCE, attempts=3, timeout=30.0,
        retry=RetryPolicy(), **values,
    )  # type: ignore[arg-type]  # fmt: skip


class Kernel:
    """Answers as the kernel's service does, from a real dead letter queue; counts what it is asked."""

    def __init__(self, path: Path | None = None) -> None:
        self.queue = DeadLetterQueue(path)
        self.asked: list[ListDeadLetters] = []
        self.told = 0

    def add(self, *letters: DeadLetter) -> None:
        for letter in letters:
            self.queue.add(letter)

    async def ask(self, request: ListDeadLetters) -> DeadLetters:
        self.asked.append(request)
        letters = self.queue.items(limit=request.limit, since=request.since, before=request.before)
        self.told += len(letters)
        return DeadLetters(tuple(letters))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture(params=["disk", "memory"])
def kernel(request: pytest.FixtureRequest, tmp_path: Path) -> Kernel:
    return Kernel(tmp_path / "dlq.jsonl" if request.param == "disk" else None)


@pytest.fixture
def monitor(kernel: Kernel, clock: FakeClock) -> DlqMonitor:
    return DlqMonitor(kernel.ask, monotonic=clock.monotonic, time=clock.time)


async def found(monitor: DlqMonitor, total: int | None = None) -> list[str]:
    """Look, and return the ids of what is new."""
    return [letter.trace_id for letter in (await monitor.look(total)).new]


async def test_a_letter_is_found_twice(kernel: Kernel, monitor: DlqMonitor, clock: FakeClock) -> None:
    """Each look finds what is new, oldest first, and nothing of what was."""
    kernel.add(a_letter(1, NOW), a_letter(2, NOW + 1))
    assert await found(monitor) == ["t1", "t2"]
    assert await found(monitor) == []
    await clock.advance(10.0)
    kernel.add(a_letter(3, NOW + 10))
    assert await found(monitor) == ["t3"]


async def test_a_look_reads_all_there_is(kernel: Kernel, monitor: DlqMonitor, clock: FakeClock) -> None:
    """After the first look only the new ones are read, and the few of before that may have company."""
    kernel.add(*(a_letter(number, NOW - 1000 + number) for number in range(500)))
    assert len(await found(monitor)) == 500
    await clock.advance(60.0)
    kernel.told = 0
    kernel.add(a_letter("new", NOW + 60))
    assert await found(monitor) == ["tnew"]
    assert kernel.told <= 2 + OVERLAP


async def test_nothing_new_is_asked_for(kernel: Kernel, monitor: DlqMonitor, clock: FakeClock) -> None:
    """While the kernel counts no more dead actions, nobody is asked; but for once a minute, for others' letters."""
    kernel.add(a_letter(1, NOW))
    assert await found(monitor, total=1) == ["t1"]
    for _ in range(11):
        await clock.advance(5.0)
        assert (await monitor.look(total=1)).asked is False
    assert len(kernel.asked) == 1
    kernel.add(a_letter(2, NOW + 55))
    await clock.advance(5.0)
    assert await found(monitor, total=1) == ["t2"]
    kernel.add(a_letter(3, NOW + 60))
    assert await found(monitor, total=2) == ["t3"]


async def test_letters_of_one_moment_hide_each_other(kernel: Kernel, clock: FakeClock) -> None:
    """Pages end within a moment, and go on in it."""
    monitor = DlqMonitor(kernel.ask, monotonic=clock.monotonic, time=clock.time, page=4, pages=20)
    kernel.add(*(a_letter(number, NOW + number // 3) for number in range(12)))
    assert sorted(await found(monitor)) == sorted(f"t{number}" for number in range(12))


async def test_more_than_a_page_of_one_moment_goes_round_for_ever(kernel: Kernel, clock: FakeClock) -> None:
    """A moment with more letters than a page is left for the one before it."""
    monitor = DlqMonitor(kernel.ask, monotonic=clock.monotonic, time=clock.time, page=2, pages=20)
    kernel.add(a_letter("old", NOW - 1), *(a_letter(number, NOW) for number in range(5)))
    look = await monitor.look()
    assert look.behind is False
    assert "told" in [letter.trace_id for letter in look.new]


async def test_a_flood_is_read_to_its_end(kernel: Kernel, monitor: DlqMonitor) -> None:
    """A look reads so many letters and no more, and says so."""
    kernel.add(*(a_letter(number, NOW + number / 1000) for number in range(900)))
    assert (await monitor.look()).behind is False
    kernel.add(*(a_letter(f"more{number}", NOW + 100 + number / 1000) for number in range(1000)))
    look = await monitor.look()
    assert look.behind is True
    assert len(kernel.asked) == 5 + 5
    assert look.new[-1].trace_id == "tmore999"


async def test_a_letter_that_is_written_late_is_lost(kernel: Kernel, monitor: DlqMonitor, clock: FakeClock) -> None:
    """One that is dated a little before those that were seen is found."""
    await clock.advance(10.0)
    kernel.add(a_letter(1, NOW + 3))
    await monitor.look()
    kernel.add(a_letter(2, NOW + 1))
    assert await found(monitor) == ["t2"]


async def test_a_clock_that_was_put_back_hides_letters(kernel: Kernel, monitor: DlqMonitor, clock: FakeClock) -> None:
    """A letter from the future does not hide those of the present."""
    kernel.add(a_letter("future", NOW + 10_000))
    await monitor.look()
    clock.set_time(NOW + 1)
    kernel.add(a_letter("now", NOW + 1))
    assert await found(monitor) == ["tnow"]
    assert await found(monitor) == []


async def test_letters_are_not_grouped(kernel: Kernel, monitor: DlqMonitor) -> None:
    """By type and reason, with the newest one's error; the fastest first."""
    kernel.add(
        a_letter(1, NOW),
        a_letter(2, NOW + 1, reason="timeout", error_type="", message=""),
        a_letter(3, NOW + 2, message="still gone", plugin="weather"),
    )
    await monitor.look()
    first, second = monitor.groups()
    assert (first.action_type, first.reason, first.count) == ("weather.fetch", "failed", 2)
    assert (first.first, first.last, first.trace_id) == (NOW, NOW + 2, "t3")
    assert (first.plugin, first.error) == ("weather", "OSError: still gone")
    assert (second.reason, second.error) == ("timeout", "")


async def test_groups_grow_for_ever(kernel: Kernel, monitor: DlqMonitor) -> None:
    """Of more groups than are told apart the rest is counted together."""
    kernel.add(*(a_letter(number, NOW + number / 100, action_type=f"a.b{number}") for number in range(300)))
    await monitor.look()
    groups = {group.action_type: group.count for group in monitor.groups()}
    assert len(groups) == MOST_GROUPS + 1
    assert groups["*"] == 100


async def test_a_new_group_finds_no_room_for_ever(kernel: Kernel, monitor: DlqMonitor, clock: FakeClock) -> None:
    """One that has been quiet for an hour makes way for a new one; one that grows does not."""
    kernel.add(*(a_letter(number, NOW + number, action_type=f"a{number}") for number in range(MOST_GROUPS)))
    await found(monitor)
    await clock.advance(1800.0)
    kernel.add(a_letter("early", NOW + 1800, action_type="early"))
    await found(monitor)
    assert "early" not in {group.action_type for group in monitor.groups()}
    await clock.advance(QUIET_SEC)
    kernel.add(a_letter("late", NOW + 1800 + QUIET_SEC, action_type="late"))
    await found(monitor)
    names = {group.action_type for group in monitor.groups()}
    assert {"late", "*", "a1"} <= names
    assert "a0" not in names
    assert len(names) <= MOST_GROUPS + 1


async def test_a_group_is_told_of_for_ever(kernel: Kernel, monitor: DlqMonitor, clock: FakeClock) -> None:
    """A week after its newest letter a group is told of no more."""
    kernel.add(a_letter(1, NOW, action_type="old"), a_letter(2, NOW + 60, action_type="new"))
    await found(monitor)
    await clock.advance(KEPT_SEC + 30.0)
    assert [group.action_type for group in monitor.groups()] == ["new"]


async def test_the_rate_is_off(kernel: Kernel, monitor: DlqMonitor, clock: FakeClock) -> None:
    """At one letter a second the rate comes to one a second; then it fades. Letters of an earlier run have none."""
    kernel.add(a_letter("old", NOW - 100))
    await monitor.look()
    assert monitor.rate == 0.0
    for number in range(300):
        await clock.advance(5.0)
        kernel.add(*(a_letter(f"{number} {part}", clock.time()) for part in range(5)))
        await monitor.look()
    assert monitor.rate == pytest.approx(1.0, rel=0.02)
    await clock.advance(300.0)
    assert monitor.rate == pytest.approx(math.exp(-1), rel=0.02)
    assert monitor.groups()[0].rate == monitor.rate


async def test_a_look_that_fails_loses_letters(kernel: Kernel, clock: FakeClock) -> None:
    """What a failed look has read is found by the next."""
    fails = True

    async def ask(request: ListDeadLetters) -> DeadLetters:
        if fails and request.before is not None:
            raise ConnectionError
        return await kernel.ask(request)

    monitor = DlqMonitor(ask, monotonic=clock.monotonic, time=clock.time, page=2)
    kernel.add(*(a_letter(number, NOW + number) for number in range(3)))
    with pytest.raises(ConnectionError):
        await monitor.look()
    fails = False
    assert await found(monitor) == ["t0", "t1", "t2"]


@given(st.lists(st.lists(st.integers(0, 8), max_size=8), max_size=8), st.integers(1, 5))
async def test_a_letter_is_lost_in_some_order(steps: list[list[int]], page: int) -> None:
    """However letters come, each is found once if no moment holds more than a page, and a look takes all."""
    now = NOW

    def time() -> float:
        return now

    kernel = Kernel()
    monitor = DlqMonitor(kernel.ask, monotonic=time, time=time, page=page, pages=200)
    written: list[str] = []
    seen: list[str] = []
    moments: dict[float, int] = {}
    for step in steps:
        for wait in step:
            now += wait / 4
            if moments.get(now, 0) < page:
                moments[now] = moments.get(now, 0) + 1
                written.append(f"t{len(written)}")
                kernel.add(a_letter(len(written) - 1, now))
        seen += await found(monitor)
    assert sorted(seen) == sorted(written)
