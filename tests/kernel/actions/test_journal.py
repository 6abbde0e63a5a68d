"""The journal: what was accepted and is not finished is there at the next start, wherever the last one ended."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aetherra.kernel import ActionEnvelope, ActionPriority, DataFileError, RetryPolicy
from aetherra.kernel.actions import journal as journal_module
from aetherra.kernel.actions import segments as segments_module
from aetherra.kernel.actions.journal import Journal, Known
from aetherra.kernel.actions.records import Finished
from aetherra.kernel.testing import FakeClock
from aetherra.registry import Message, MessageValidationError, Request


class Dug(Message, tag="journal.dug"):
    depth: int


class Dig(Request[Dug], tag="journal.dig"):
    depth: int
    extra: Any = None


NOW = FakeClock().time()


def envelope(name: str, **fields: Any) -> ActionEnvelope:
    return ActionEnvelope(Dig(2), trace_id=name, **{"enqueued": 5.0, **fields})


def keyed(name: str, until: float = NOW + 100.0, reply: Any = None) -> Finished:
    return Finished(name, ("journal.dig", f"key of {name}"), until, reply)


class Run:
    """One run of a host, as far as its journal sees: what it has taken in, and what the queue would tell of that."""

    def __init__(self, folder: Path, *, sync: bool = False) -> None:
        self.folder = folder
        self.journal = Journal(folder, FakeClock(), sync=sync)
        self.known: dict[str, Known] = {}
        self.journal.recall = self.known.get
        unfinished = self.journal.open()
        self.found = {record.trace_id: attempts for record, attempts in unfinished.actions}
        self.records = {record.trace_id: record for record, _ in unfinished.actions}
        self.done = {finished.trace_id: finished for finished in unfinished.done}

    def resume(self) -> None:
        """Take up what was found."""
        for name, attempts in self.found.items():
            self.known[name] = (self.records[name].envelope(Dig), attempts)

    def accept(self, *names: str, **fields: Any) -> None:
        for name in names:
            self.journal.accept(envelope(name, **fields))
            self.known[name] = (envelope(name, **fields), 0)

    def begin(self, name: str, attempts: int) -> None:
        self.known[name] = (self.known[name][0], attempts)
        self.journal.begin(name, attempts)

    def finish(self, *names: str) -> None:
        for name in names:
            self.known.pop(name, None)
            self.journal.finish(name)

    def finish_done(self, finished: Finished) -> None:
        self.known.pop(finished.trace_id, None)
        self.journal.finish_done(finished)

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("kernel_journal-*.log"))

    def lines(self) -> int:
        return sum(path.read_bytes().count(b"\n") for path in self.files())


def next_run(folder: Path) -> Run:
    """Start once more and stop at once."""
    run = Run(folder)
    run.journal.close()
    return run


def left(folder: Path, copy: Path) -> dict[str, int]:
    """Return what the next start would find if the process died now; that start changes nothing here."""
    copy.mkdir(exist_ok=True)
    for path in copy.iterdir():
        path.unlink()
    for path in folder.glob("kernel_journal*"):
        (copy / path.name).write_bytes(path.read_bytes())
    return next_run(copy).found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    return made


@pytest.fixture
def run(folder: Path) -> Generator[Run]:
    made = Run(folder)
    yield made
    made.journal.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files be short, and little that nobody needs pile up."""
    monkeypatch.setattr(journal_module, "SPARE", 20)
    monkeypatch.setattr(journal_module, "TOGETHER", 3)
    monkeypatch.setattr(segments_module, "SEGMENT_BYTES", 500)


@contextmanager
def full_disk(call: str = "write", number: int = errno.ENOSPC) -> Generator[None]:
    """Let a call of the operating system fail."""

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments_module.os, call, fail)
        yield


class TestJournal:
    def test_an_action_that_is_not_finished_comes_back_as_it_was_accepted(self, folder: Path, run: Run) -> None:
        """Params, priority, times, retry policy, names and attempts."""
        sent = envelope(
            "a",
            timeout=3.0,
            deadline=99.0,
            retry=RetryPolicy(7, 1.0, 2.0, 3.0, False),
            priority=ActionPriority.LOW,
            target="digger",
            idempotency_key="k",
            correlation_id="c",
            causation_id="d",
        )
        run.journal.accept(sent)
        run.journal.begin("a", 1)
        run.journal.begin("a", 2)
        later = Run(folder)

        assert later.found == {"a": 2}
        assert later.records["a"].envelope(Dig) == sent
        later.journal.close()

    def test_finished_actions_are_forgotten_and_the_rest_keeps_its_order(self, folder: Path, run: Run) -> None:
        """Oldest first, each with its own attempts."""
        run.accept(*"abcd")
        run.begin("c", 1)
        run.finish("b", "d")
        run.journal.begin("d", 2)  # what has ended is not begun

        assert list(next_run(folder).found.items()) == [("a", 0), ("c", 1)]

    def test_a_journal_of_nothing_open_leaves_no_files(self, folder: Path, run: Run) -> None:
        """The next start clears them away."""
        run.accept("a")
        run.finish("a")
        run.journal.close()
        assert len(run.files()) == 1
        next_run(folder)

        assert run.files() == []

    def test_the_end_of_an_action_that_was_never_accepted_needs_no_record(self, folder: Path, run: Run) -> None:
        """A refusal under load costs no write."""
        run.finish("stranger")
        run.journal.begin("stranger", 1)

        assert run.files() == []

    def test_an_action_that_is_accepted_again_is_one_action(self, folder: Path, run: Run) -> None:
        """With the envelope of the last time and no attempts; what is then finished is finished."""
        run.accept("a", "b")
        run.begin("a", 1)
        run.accept("a", timeout=9.0)
        later = next_run(folder)
        assert (later.found, later.records["a"].timeout) == ({"b": 0, "a": 0}, 9.0)
        run.finish("a")

        assert next_run(folder).found == {"b": 0}

    def test_a_request_that_json_cannot_hold_is_refused(self, folder: Path, run: Run) -> None:
        """What could not be read back must not be accepted."""
        for extra in (object(), {(1, 2): 3}, "\ud800"):
            with pytest.raises(MessageValidationError, match="cannot be kept in the journal"):
                run.journal.accept(ActionEnvelope(Dig(1, extra)))

        assert next_run(folder).found == {}

    def test_a_folder_that_cannot_be_written_refuses_the_action(self, tmp_path: Path) -> None:
        """The error names the folder."""
        journal = Journal(tmp_path / "gone", FakeClock(), sync=False)
        with pytest.raises(DataFileError, match=str(tmp_path)):
            journal.accept(envelope("a"))


class TestKeys:
    def test_work_done_under_a_key_is_known_to_the_next_run(self, folder: Path, run: Run) -> None:
        """With its reply, until the key's time is over; what died under a key is not."""
        run.accept("a", "b", "c")
        run.finish_done(keyed("a", reply=Dug(3)))
        run.finish_done(keyed("b", until=NOW))
        run.finish("c")
        later = next_run(folder)

        assert later.found == {}
        assert later.done == {"a": keyed("a", reply={"$tag": "journal.dug", "depth": 3})}
        assert next_run(folder).done.keys() == {"a"}

    def test_an_action_accepted_anew_is_no_longer_done(self, folder: Path, run: Run) -> None:
        """The same name, submitted again after its key's time."""
        run.accept("a")
        run.finish_done(keyed("a"))
        run.accept("a")
        later = next_run(folder)

        assert (later.found, later.done) == ({"a": 0}, {})

    def test_a_reply_that_cannot_be_written_does_not_cost_the_key(self, folder: Path, run: Run) -> None:
        """The work is not done again."""
        run.accept("a")
        run.finish_done(keyed("a", reply=object()))

        assert next_run(folder).done == {"a": Finished("a", keyed("a").key, NOW + 100.0, None, lost=True)}

    def test_a_key_outlives_the_file_that_it_was_written_in(self, folder: Path, run: Run, small: None) -> None:
        """While it counts, and no longer."""
        clock = run.journal._clock
        assert isinstance(clock, FakeClock)
        run.accept("a", "b")
        run.finish_done(keyed("a", reply=Dug(3)))
        run.finish_done(keyed("b", until=NOW + 10.0))
        first = run.files()[0]
        for number in range(100):
            run.accept(f"n{number}")
            run.finish(f"n{number}")
            if number == 50:
                assert not first.exists()
                assert next_run_of_copy(folder).done.keys() == {"a", "b"}
                clock.set_time(NOW + 20.0)

        assert b"key of b" not in b"".join(path.read_bytes() for path in run.files())
        assert next_run(folder).done.keys() == {"a"}


def next_run_of_copy(folder: Path) -> Run:
    copy = folder.parent / "copy"
    left(folder, copy)
    return next_run(copy)


class TestFiles:
    def test_a_journal_of_a_long_run_stays_small(self, folder: Path, run: Run, small: None) -> None:
        """What nobody needs is dropped while the host runs; what is open moves on, with its attempts."""
        run.accept("open", "too")
        run.begin("open", 1)
        run.begin("open", 2)
        for number in range(500):
            run.accept(f"n{number}")
            run.begin(f"n{number}", 1)
            run.finish(f"n{number}")
            assert run.lines() <= 4 + 20 + 2 * 10

        assert next_run(folder).found == {"open": 2, "too": 0}

    def test_what_an_earlier_run_has_left_moves_on_with_the_attempts_of_this_one(
        self, folder: Path, run: Run, small: None
    ) -> None:
        """Whether it was taken up by now or still waits for its plugin."""
        run.accept("taken", "waits")
        run.begin("taken", 1)
        run.begin("waits", 1)
        run.journal.close()
        later = Run(folder)
        assert later.found == {"taken": 1, "waits": 1}
        later.known["taken"] = (later.records["taken"].envelope(Dig), 1)
        later.begin("taken", 2)
        for number in range(200):
            later.accept(f"n{number}")
            later.finish(f"n{number}")
        assert run.files()[0].name > "kernel_journal-00000002.log"
        later.journal.close()

        assert next_run(folder).found == {"taken": 2, "waits": 1}

    def test_what_has_moved_keeps_its_place_in_the_order(self, folder: Path, run: Run, small: None) -> None:
        """The oldest is the oldest, in however late a file it stands by now."""
        for number in range(100):
            run.accept(f"n{number}", enqueued=float(number))
            if number % 20:
                run.finish(f"n{number}")

        assert list(next_run(folder).found) == ["n0", "n20", "n40", "n60", "n80"]

    def test_a_file_in_which_nothing_is_needed_goes_at_once(self, folder: Path, run: Run, small: None) -> None:
        """Without waiting for how much there is."""
        run.accept(*(f"n{number}" for number in range(20)))
        assert len(run.files()) > 2
        run.finish(*(f"n{number}" for number in range(20)))

        assert len(run.files()) == 1
        assert run.lines() <= 20

    def test_an_action_that_nobody_knows_costs_no_other(
        self, folder: Path, run: Run, small: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        """If it cannot be moved its file stays, and so does all that is in it."""
        run.accept("known", "unknown", "too")
        del run.known["unknown"]
        for number in range(200):
            run.accept(f"n{number}")
            run.finish(f"n{number}")
        run.journal.close()

        assert "nobody knows action unknown" in caplog.text
        assert next_run(folder).found.keys() == {"known", "unknown", "too"}

    def test_a_move_that_the_disk_does_not_take_loses_nothing(self, folder: Path, run: Run, small: None) -> None:
        """Neither what is open nor what was done under a key; it is tried again."""
        run.accept("open", "done")
        run.finish_done(keyed("done"))
        real, room = os.write, 0

        def write(descriptor: int, data: bytes) -> int:
            nonlocal room
            if not room:
                raise OSError(errno.ENOSPC, "No space left on device")
            room -= 1
            return real(descriptor, data)

        for number in range(100):
            room = number % 3
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(segments_module.os, "write", write)
                try:
                    run.accept(f"n{number}")
                except DataFileError:
                    continue
            run.finish(f"n{number}")
        run.journal.close()
        later = next_run(folder)

        assert later.found == {"open": 0}
        assert later.done.keys() == {"done"}

    def test_a_key_that_cannot_be_moved_stays_where_it_is(self, folder: Path, run: Run, small: None) -> None:
        """Until it can."""
        run.accept("done", "open")
        run.finish_done(keyed("done"))
        real, has_room = os.write, False

        def write(descriptor: int, data: bytes) -> int:
            if data[9:11] == b"K " and not has_room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(descriptor, data)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(segments_module.os, "write", write)
            for number in range(200):
                has_room = number > 100
                run.accept(f"n{number}")
                run.finish(f"n{number}")
        assert run.lines() <= 100
        run.journal.close()
        later = next_run(folder)

        assert (later.found, later.done) == ({"open": 0}, {"done": keyed("done")})

    def test_an_action_that_is_accepted_anew_is_moved_as_that(self, folder: Path, run: Run, small: None) -> None:
        """What it was before, open or done under a key, does not come back from behind it."""
        run.accept("first", "open", "done")
        run.finish_done(keyed("done"))
        run.accept("open", "done", timeout=9.0)
        run.accept("last")
        run.finish("first")
        for number in range(200):
            run.accept(f"n{number}")
            run.finish(f"n{number}")
        assert run.lines() <= 60
        run.journal.close()
        later = next_run(folder)

        assert (later.found.keys(), later.done) == ({"open", "done", "last"}, {})
        assert [later.records[name].timeout for name in ("open", "done", "last")] == [9.0, 9.0, 30.0]

    def test_files_that_somebody_deletes_are_written_anew(self, folder: Path, run: Run) -> None:
        """All that is open is in the next, as soon as anything ends."""
        run.accept("a", "b", "c")
        run.begin("b", 1)
        run.files()[0].unlink()
        run.finish("a")

        assert next_run(folder).found == {"b": 1, "c": 0}
        run.accept("d")
        assert next_run(folder).found == {"b": 1, "c": 0, "d": 0}

    def test_another_file_in_the_place_of_ours_is_noticed(self, folder: Path, run: Run) -> None:
        """Somebody who restores a copy has not restored what came since."""
        run.accept("a", "b")
        (path,) = run.files()
        path.unlink()
        path.write_bytes(b"")
        run.finish("a")

        assert next_run_of_copy(folder).found == {"b": 0}

    def test_an_older_file_that_somebody_deletes_is_written_anew_at_the_next_turn_of_files(
        self, folder: Path, run: Run, small: None
    ) -> None:
        """What was in it is known to the host."""
        run.accept("old")
        run.accept(*(f"n{number}" for number in range(10)))
        run.files()[0].unlink()
        run.accept(*(f"m{number}" for number in range(10)))

        assert next_run(folder).found.keys() >= {"old"}
        assert len(next_run(folder).found) == 21


class TestEnds:
    async def test_ends_are_on_disk_before_who_waits_hears_of_them(self, folder: Path, run: Run) -> None:
        """Whatever the event loop: one that has been told may tell others."""
        run.accept("a", "b")
        heard = anyio.Event()
        told: list[dict[str, int]] = []

        async def wait() -> None:
            await heard.wait()
            told.append(left(folder, folder.parent / "copy"))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await FakeClock().advance(0)
            run.finish("a")
            heard.set()

        assert told == [{"b": 0}]

    async def test_ends_stand_in_the_line_of_the_next_record(self, folder: Path, run: Run) -> None:
        """What ends while others come costs no write of its own; torn, both are undone."""
        run.accept("a", "b", "c")
        before = run.lines()
        run.finish("a")
        run.finish("b")
        run.accept("d")
        await anyio.lowlevel.checkpoint()
        path = run.files()[0]
        whole = path.read_bytes()
        if isinstance(run.journal._loop, asyncio.AbstractEventLoop):
            assert run.lines() == before + 1
            path.write_bytes(whole[:-2])
            assert left(folder, folder.parent / "copy") == {"a": 0, "b": 0, "c": 0}
            path.write_bytes(whole)

        assert left(folder, folder.parent / "copy") == {"c": 0, "d": 0}

    async def test_ends_of_one_turn_share_a_line(self, folder: Path, run: Run) -> None:
        """A thousand actions that end at once are one write."""
        names = [f"n{number}" for number in range(50)]
        run.accept(*names)
        before = run.lines()
        run.finish(*names[1:])
        await anyio.lowlevel.checkpoint()

        assert run.lines() == before + (1 if run.journal._loop is not None else 49)
        assert left(folder, folder.parent / "copy") == {"n0": 0}

    @pytest.mark.parametrize("recovers_by", ["record", "close"])
    def test_an_end_that_the_disk_refuses_is_written_once_it_can(
        self, folder: Path, run: Run, caplog: pytest.LogCaptureFixture, recovers_by: str
    ) -> None:
        """With the next record, or at the end; that a crash would have it done again is said once, not each time."""
        run.accept("a", "b", "c", "d")
        with full_disk(), caplog.at_level(logging.ERROR):
            run.finish("a")
            run.finish("b")
            run.begin("c", 1)
            run.finish_done(keyed("d"))
        assert caplog.text.count("would run again after a crash") == 1
        assert left(folder, folder.parent / "copy") == {"a": 0, "b": 0, "c": 0, "d": 0}
        if recovers_by == "record":
            run.accept("e")
            assert next_run_of_copy(folder).found == {"c": 0, "e": 0}
            assert next_run_of_copy(folder).done == {"d": keyed("d")}
        run.journal.close()

        assert "a" not in next_run(folder).found
        assert next_run(folder).done == {"d": keyed("d")}

    def test_a_key_whose_end_came_late_to_the_disk_outlives_its_file(self, folder: Path, run: Run, small: None) -> None:
        """As any other does."""
        run.accept("a")
        with full_disk():
            run.finish_done(keyed("a"))
        for number in range(100):
            run.accept(f"n{number}")
            run.finish(f"n{number}")
        run.journal.close()

        assert next_run(folder).done == {"a": keyed("a")}

    def test_a_disk_that_works_again_may_fail_and_be_told_of_again(
        self, run: Run, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Once for each time."""
        run.accept("a", "b", "c")
        for name in ("a", "b"):
            with full_disk():
                run.finish(name)
            run.journal.flush()

        assert caplog.text.count("would run again after a crash") == 2


class TestFullDisk:
    @pytest.mark.parametrize("size", [1, 8, 20, 60])
    def test_an_acceptance_that_fits_by_half_is_none(self, folder: Path, run: Run, size: int) -> None:
        """It is taken back, and what was there stands; once there is room it goes on."""
        run.accept("a")
        before = run.files()[0].stat().st_size
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (before + size, limits[1]))
        try:
            with pytest.raises(DataFileError, match="only a part could be written"):
                run.journal.accept(envelope("b"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert run.files()[0].stat().st_size == before
        run.accept("c")

        assert next_run(folder).found == {"a": 0, "c": 0}

    def test_a_refused_acceptance_keeps_the_ends_that_were_to_go_with_it(self, folder: Path, run: Run) -> None:
        """They are not lost with it."""
        run.accept("a", "b")
        with full_disk():
            run.finish("a")
            with pytest.raises(DataFileError, match="cannot be written"):
                run.journal.accept(envelope("c"))
        run.journal.finish("c")
        run.accept("d")

        assert next_run(folder).found == {"b": 0, "d": 0}


class Fsyncs:
    """The disk's side of group commit: each ``fsync`` of a journal's file waits until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.failures = 0
        self._real = os.fsync
        monkeypatch.setattr(segments_module.os, "fsync", self._fsync)

    def _fsync(self, descriptor: int) -> None:
        if "kernel_journal-" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            self.count += 1
            self.begun.release()
            assert self.go_on.acquire(timeout=10)
            if self.failures:
                self.failures -= 1
                raise OSError(errno.EIO, "Input/output error")
        self._real(descriptor)

    async def next(self) -> None:
        """Return when one has begun."""
        assert await anyio.to_thread.run_sync(lambda: self.begun.acquire(timeout=10))


@pytest.fixture
def fsyncs(monkeypatch: pytest.MonkeyPatch) -> Fsyncs:
    return Fsyncs(monkeypatch)


class Submitters:
    """Those who wait until the disk has what they said."""

    def __init__(self, run: Run, group: anyio.abc.TaskGroup) -> None:
        self.run, self.group = run, group
        self.synced: list[str] = []
        self.failed: dict[str, DataFileError] = {}
        self.scopes: dict[str, anyio.CancelScope] = {}

    async def come(self, *names: str) -> None:
        for name in names:
            self.group.start_soon(self._submit, name)
        for _ in range(30):
            await anyio.lowlevel.checkpoint()

    async def _submit(self, name: str) -> None:
        self.run.accept(name)
        with anyio.CancelScope() as self.scopes[name]:
            try:
                await self.run.journal.sync()
            except DataFileError as exc:
                self.failed[name] = exc
            else:
                self.synced.append(name)


NAMES = [f"n{number}" for number in range(64)]


class TestSync:
    async def test_all_who_come_at_once_share_one_fsync(self, folder: Path, fsyncs: Fsyncs) -> None:
        """64 submitters, one ``fsync``; none returns before it."""
        run = Run(folder, sync=True)
        async with anyio.create_task_group() as group:
            crowd = Submitters(run, group)
            await crowd.come(*NAMES)
            await fsyncs.next()
            assert crowd.synced == []
            fsyncs.go_on.release()
        assert sorted(crowd.synced) == sorted(NAMES)
        assert fsyncs.count == 1
        fsyncs.go_on.release(5)
        run.journal.close()

    async def test_whoever_comes_during_an_fsync_waits_for_the_next_and_shares_it(
        self, folder: Path, fsyncs: Fsyncs
    ) -> None:
        """One that runs may not have what was written since it began."""
        run = Run(folder, sync=True)
        async with anyio.create_task_group() as group:
            crowd = Submitters(run, group)
            await crowd.come("first")
            await fsyncs.next()
            await crowd.come(*NAMES)
            fsyncs.go_on.release()
            await fsyncs.next()
            assert crowd.synced == ["first"]
            fsyncs.go_on.release()
        assert len(crowd.synced) == 65
        assert fsyncs.count == 2
        fsyncs.go_on.release(5)
        await run.journal.sync()  # what is there already is not asked for again
        assert fsyncs.count == 2
        run.journal.close()

    async def test_a_disk_that_fails_fails_all_whom_it_was_for(self, folder: Path, fsyncs: Fsyncs) -> None:
        """And no other: those that came meanwhile have an ``fsync`` of their own, of a file that is written anew."""
        run = Run(folder, sync=True)
        run.accept("before")
        async with anyio.create_task_group() as group:
            crowd = Submitters(run, group)
            await crowd.come("a", "b", "c")
            await fsyncs.next()
            await crowd.come("d", "e")
            fsyncs.failures = 1
            fsyncs.go_on.release(10)
        assert sorted(crowd.failed) == ["a", "b", "c"]
        assert {str(exc) for exc in crowd.failed.values()} == {
            f"{folder}: the disk has failed to keep the journal: Input/output error"
        }
        assert sorted(crowd.synced) == ["d", "e"]
        assert [path.name for path in run.files()] == ["kernel_journal-00000002.log"]
        run.finish("a", "b", "c")
        run.journal.close()

        assert next_run(folder).found == {"before": 0, "d": 0, "e": 0}

    async def test_a_waiter_that_is_cancelled_disturbs_no_other(self, folder: Path, fsyncs: Fsyncs) -> None:
        """Not the one for whom all wait either: what has begun is finished."""
        run = Run(folder, sync=True)
        async with anyio.create_task_group() as group:
            crowd = Submitters(run, group)
            await crowd.come("a")
            await crowd.come("b", "c")
            await fsyncs.next()
            crowd.scopes["a"].cancel()
            crowd.scopes["b"].cancel()
            await anyio.lowlevel.checkpoint()
            fsyncs.go_on.release(5)
        assert "c" in crowd.synced
        assert "b" not in crowd.synced
        assert crowd.failed == {}
        assert run.journal._syncing is None
        run.journal.close()

    async def test_acceptances_of_the_process_alone_are_never_synced(self, folder: Path, fsyncs: Fsyncs) -> None:
        """``durability: process`` waits for no disk, not at the end either."""
        run = Run(folder)
        run.accept("a")
        run.finish("a")
        run.journal.close()

        assert fsyncs.count == 0

    async def test_files_that_are_full_are_synced_with_the_rest(
        self, folder: Path, fsyncs: Fsyncs, small: None
    ) -> None:
        """Each that was written to, before anybody is told."""
        run = Run(folder, sync=True)
        fsyncs.go_on.release(100)
        run.accept(*NAMES)
        before = fsyncs.count
        files = len(run.files())
        await run.journal.sync()

        assert files > 3
        assert fsyncs.count == before + files
        run.journal.close()
        assert len(next_run(folder).found) == 64

    def test_a_disk_that_fails_at_the_end_is_said(
        self, folder: Path, caplog: pytest.LogCaptureFixture, fsyncs: Fsyncs
    ) -> None:
        """The host ends all the same."""
        run = Run(folder, sync=True)
        run.accept("a")
        fsyncs.failures = 5
        fsyncs.go_on.release(5)
        with caplog.at_level(logging.ERROR):
            run.journal.close()

        assert "last records may not be on the disk" in caplog.text
        assert next_run(folder).found == {"a": 0}


class TestDamage:
    def test_a_journal_cut_at_any_byte_opens_with_all_whole_records(self, folder: Path, run: Run) -> None:
        """A crash anywhere leaves the records before it; the fragment is set aside, and later records are whole."""
        run.accept("a", "b")
        run.begin("b", 1)
        run.finish("a")
        run.journal.close()
        (path,) = run.files()
        whole = path.read_bytes()
        ends = [index for index, byte in enumerate(whole) if byte == ord("\n")]
        stages: list[dict[str, int]] = [{}, {"a": 0}, {"a": 0, "b": 0}, {"a": 0, "b": 1}, {"b": 1}]

        for size in range(len(whole) + 1):
            cut = folder / str(size)
            cut.mkdir()
            (cut / path.name).write_bytes(whole[:size])
            complete = sum(end <= size for end in ends)  # whole without its newline is whole
            fragment = whole[ends[complete - 1] + 1 if complete else 0 : size]
            again = Run(cut)
            assert again.found == stages[complete], size
            assert again.journal.unreadable == bool(fragment)
            if fragment:
                assert (cut / "kernel_journal.unreadable").read_bytes() == fragment + b"\n"
            again.accept("z")
            again.journal.close()
            assert next_run(cut).found == {**stages[complete], "z": 0}, size
            assert next_run(cut).journal.unreadable == 0

    @given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)))
    def test_no_bytes_in_the_file_stop_the_next_start(
        self, tmp_path_factory: pytest.TempPathFactory, alien: list[bytes]
    ) -> None:
        """Alien lines between records are set aside, byte for byte, and the records go on."""
        folder = tmp_path_factory.mktemp("journal")
        run = Run(folder)
        run.accept("a")
        run.finish_done(keyed("b"))
        run.journal.close()
        (path,) = run.files()
        with path.open("ab") as file:
            file.writelines(line + b"\n" for line in alien)
        later = next_run(folder)

        assert (later.found, later.done.keys()) == ({"a": 0}, {"b"})
        kept = [line for line in alien if line]
        assert later.journal.unreadable == len(kept)
        if kept:
            assert (folder / "kernel_journal.unreadable").read_bytes() == b"".join(line + b"\n" for line in kept)
            assert path not in later.files()

    def test_a_whole_line_that_is_no_record_is_set_aside(self, folder: Path, run: Run) -> None:
        """A record of a later version, say; what stands in the same line and is known counts."""
        run.accept("a", "b")
        run.journal._segments.append(b"F a\tZ of tomorrow")
        later = next_run(folder)

        assert (later.found, later.journal.unreadable) == ({"b": 0}, 1)
        assert b"Z of tomorrow" in (folder / "kernel_journal.unreadable").read_bytes()

    def test_damaged_lines_that_cannot_be_set_aside_stay_where_they_are(
        self, folder: Path, run: Run, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is said, what is whole is resumed, and the next start tries again."""
        run.accept("a")
        run.journal.close()
        (path,) = run.files()
        with path.open("ab") as file:
            file.write(b"torn")
        (folder / "kernel_journal.unreadable").mkdir()
        with caplog.at_level(logging.ERROR):
            later = Run(folder)
        assert "stays as it is, damaged lines and all" in caplog.text
        assert (later.found, later.journal.unreadable) == ({"a": 0}, 1)
        assert path.read_bytes().endswith(b"torn")
        later.accept("b")
        later.journal.close()
        (folder / "kernel_journal.unreadable").rmdir()

        assert next_run(folder).found == {"a": 0, "b": 0}
        assert (folder / "kernel_journal.unreadable").read_bytes() == b"torn\n"

    def test_a_journal_full_of_what_nobody_needs_is_written_anew_at_the_start(
        self, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A crash may have left it so."""
        run.accept("a", "b")
        for number in range(50):
            run.begin("b", number)
        run.journal.close()
        monkeypatch.setattr(journal_module, "SPARE", 20)
        later = next_run(folder)

        assert (later.found, later.lines()) == ({"a": 0, "b": 49}, 1)  # moved together, in one line
        assert next_run(folder).found == {"a": 0, "b": 49}


class TestClose:
    def test_nothing_is_accepted_after_the_end(self, folder: Path, run: Run) -> None:
        """Nor is anything written; closing twice does no harm."""
        run.accept("a", "b")
        run.journal.close()
        run.journal.close()
        with pytest.raises(DataFileError, match="the host has stopped"):
            run.journal.accept(envelope("c"))
        run.finish("a")
        run.journal.flush()

        assert next_run(folder).found == {"a": 0, "b": 0}

    async def test_ends_of_the_last_moment_are_written(self, folder: Path, run: Run) -> None:
        """Those that the event loop would have come to."""
        run.accept("a", "b")
        run.finish("a")
        run.journal.close()

        assert left(folder, folder.parent / "copy") == {"b": 0}
        await anyio.lowlevel.checkpoint()  # whatever was to be done in the next turn does no harm
        assert next_run(folder).found == {"b": 0}


STEPS = [
    "accept",
    "accept",
    "accept",
    "again",
    "begin",
    "begin",
    "finish",
    "finish",
    "done",
    "revive",
    "crash",
    "reopen",
    "torn",
]


ACCEPTED_AGAIN = [*["accept"] * 4, *["again"] * 3, "begin", "begin", "accept", "again"]
"""An action that is accepted again in the record that begins another file, while its old one is to be moved."""


class Model:
    """What a journal should know, beside one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open: dict[str, int] = {}
        self.done: dict[str, Finished] = {}
        self.born: dict[str, int] = {}
        self.number = 0
        self.run = Run(folder)
        self.last: tuple[list[Path], int, dict[str, int], dict[str, Finished], dict[str, int]] = ([], 0, {}, {}, {})

    def size(self) -> int:
        return self.run.files()[-1].stat().st_size if self.run.files() else 0

    def step(self, step: str, pick: int) -> None:
        if step not in ("crash", "reopen", "torn"):
            self.last = (self.run.files(), self.size(), dict(self.open), dict(self.done), dict(self.born))
        name = list(self.open)[pick % len(self.open)] if self.open else ""
        if step == "accept":
            self.accept(f"n{self.number}")
        elif step == "again" and name:
            self.accept(name)
        elif step == "begin" and name in self.run.known:
            self.open[name] += 1
            self.run.begin(name, self.open[name])
        elif step == "finish" and name:
            del self.open[name]
            self.run.finish(name)
        elif step == "done" and name:
            del self.open[name]
            finished = keyed(name, NOW + (100.0 if pick % 3 else 0.0))
            self.run.finish_done(finished)
            if finished.until > NOW:
                self.done[name] = finished
        elif step == "revive" and self.done:
            revived = list(self.done)[pick % len(self.done)]
            del self.done[revived]
            self.accept(revived)
        elif step in ("crash", "reopen"):
            self.start(closing=step == "reopen", pick=pick)
        elif step == "torn":
            self.tear(pick)

    def accept(self, name: str) -> None:
        self.number += 1
        self.born[name] = self.number
        self.open.pop(name, None)
        self.open[name] = 0
        self.run.accept(name, enqueued=float(self.number))

    def tear(self, pick: int) -> None:
        """Die in the middle of the last write, if that was all that the last step did."""
        files, size, open_, done, born = self.last
        if files != self.run.files() or not files or self.size() <= size:
            return
        cut = size + pick % (self.size() - size)
        if cut < self.size() - 1:
            self.open, self.done, self.born = open_, done, born
        os.truncate(files[-1], cut)
        self.start(closing=False, pick=pick)

    def start(self, *, closing: bool, pick: int) -> None:
        if closing:
            self.run.journal.close()
        else:
            self.run.journal._segments.close()  # a death writes nothing more
        self.run = Run(self.folder)
        order = sorted(self.open, key=self.born.__getitem__)
        assert list(self.run.found.items()) == [(name, self.open[name]) for name in order]
        assert self.run.done == self.done
        self.last = ([], 0, {}, {}, {})
        if pick % 2:
            self.run.resume()


class TestModel:
    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 10**6)), max_size=80),
        st.sampled_from([150, 400, 10**6]),
        st.sampled_from([0, 5, 20]),
    )
    @example([(step, 0) for step in ACCEPTED_AGAIN], 150, 0)
    def test_whatever_happens_the_next_start_finds_what_a_dictionary_would_hold(
        self, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], size: int, spare: int
    ) -> None:
        """Acceptances, attempts and ends in any order, with starts between them, in order or after a torn write."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(segments_module, "SEGMENT_BYTES", size)
            patch.setattr(journal_module, "SPARE", spare)
            patch.setattr(journal_module, "TOGETHER", 2)
            model = Model(tmp_path_factory.mktemp("journal"))
            for step, pick in steps:
                model.step(step, pick)
            model.start(closing=True, pick=0)
            model.run.journal.close()
