"""The dead letter queue: letters stay until somebody takes them, whatever the disk and other writers do."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aetherra.kernel import (
    ActionPriority,
    DataFileError,
    DeadLetter,
    DlqConfig,
    LetterNotFoundError,
    RetryPolicy,
)
from aetherra.kernel.actions import dlq as dlq_module
from aetherra.kernel.actions.dlq import DeadLetterQueue
from aetherra.kernel.actions.letter import read_letter
from aetherra.kernel.filelock import FileLock
from aetherra.registry import Request


class Water(Request[None], tag="dlq.water"):
    zone: str
    extra: Any = None


def letter(name: str, **fields: Any) -> DeadLetter:
    base = DeadLetter(
        ts=1.0,
        reason="failed",
        trace_id=name,
        action_type="dlq.water",
        params={"zone": "north"},
        priority=ActionPriority.LOW,
        attempts=3,
        timeout=30.0,
        retry=RetryPolicy(),
    )
    return msgspec.structs.replace(base, **fields)


def names(letters: list[DeadLetter]) -> list[str]:
    return [found.trace_id for found in letters]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kernel_dlq.jsonl"


@pytest.fixture
def queue(path: Path):
    queue = DeadLetterQueue(path)
    yield queue
    queue.close()


@pytest.fixture(params=["file", "memory"])
def either(request: pytest.FixtureRequest, path: Path):
    """A queue with a data directory, and one without."""
    queue = DeadLetterQueue(path if request.param == "file" else None)
    yield queue
    queue.close()


class TestLetters:
    def test_the_newest_come_first_and_no_more_than_asked_for(self, either: DeadLetterQueue) -> None:
        """``limit`` counts from the newest."""
        for number in range(5):
            either.add(letter(f"t{number}"))

        assert names(either.items(limit=3)) == ["t4", "t3", "t2"]
        assert names(either.items()) == ["t4", "t3", "t2", "t1", "t0"]
        assert either.items(limit=0) == []
        assert either.statistics().depth == 5

    def test_filters_are_all_to_fit_and_limit_counts_what_fits(self, either: DeadLetterQueue) -> None:
        """Reason, action type and time, together."""
        either.add(letter("old", ts=1.0))
        either.add(letter("fits", ts=5.0))
        either.add(letter("reason", ts=6.0, reason="timeout"))
        either.add(letter("type", ts=6.0, action_type="dlq.dry"))
        either.add(letter("fits too", ts=7.0))

        assert names(either.items(reason="timeout")) == ["reason"]
        assert names(either.items(action_type="dlq.dry")) == ["type"]
        assert names(either.items(since=6.0)) == ["fits too", "type", "reason"]
        assert names(either.items(reason="failed", action_type="dlq.water", since=2.0)) == ["fits too", "fits"]
        assert names(either.items(reason="failed", action_type="dlq.water", since=2.0, limit=1)) == ["fits too"]

    def test_a_letter_is_found_by_its_trace_id_or_said_to_be_missing(self, either: DeadLetterQueue) -> None:
        """The error names the id."""
        either.add(letter("t0", message="why"))

        assert either.find("t0").message == "why"
        with pytest.raises(LetterNotFoundError, match="'t9'"):
            either.find("t9")

    def test_chosen_letters_are_removed_and_counted(self, either: DeadLetterQueue) -> None:
        """Others stay; an id that is not there does no harm."""
        for number in range(4):
            either.add(letter(f"t{number}"))

        assert either.remove({"t1", "t3", "t9"}) == 2
        assert names(either.items()) == ["t2", "t0"]
        assert either.statistics().depth == 2
        assert either.remove() == 2
        assert either.items() == []
        assert either.statistics().depth == 0

    def test_add_says_which_letters_are_safe(self, either: DeadLetterQueue) -> None:
        """The queue of actions forgets an action only when its letter is where it stays."""
        assert either.add(letter("t0")) == ["t0"]


class TestFile:
    def test_each_letter_is_one_line_of_json(self, path: Path, queue: DeadLetterQueue) -> None:
        """Other tools can read it line by line, newlines in a traceback or not."""
        queue.add(letter("t0", traceback="a\nb"))
        queue.add(letter("t1"))

        lines = path.read_text().splitlines()
        assert [json.loads(line)["trace_id"] for line in lines] == ["t0", "t1"]
        assert json.loads(lines[0])["traceback"] == "a\nb"

    def test_letters_of_an_earlier_run_are_there(self, path: Path, queue: DeadLetterQueue) -> None:
        """The file outlives the host, and its letters are counted from the start."""
        queue.add(letter("t0"))
        queue.close()
        again = DeadLetterQueue(path)

        assert again.statistics().depth == 1
        assert again.find("t0") == letter("t0")
        again.close()

    def test_lines_that_are_no_letters_are_kept_aside_and_counted(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Alien JSON, text, broken UTF-8, endless nesting, a torn end: those between are read, no byte is lost."""
        alien = [
            b"hello",
            b'{"a": 1}',
            b"\xff\xfe",
            b'{"params": ' + b"[" * 100_000,
            b'{"ts": 1.0, "reason": "bored"}',
        ]
        good = msgspec.json.encode(letter("t0"))
        torn = good[:40]
        path.write_bytes(b"\n".join([*alien[:3], good, *alien[3:], b"", torn]))

        queue = DeadLetterQueue(path)
        queue.add(letter("t1"))

        assert names(queue.items()) == ["t1", "t0"]
        assert (queue.statistics().depth, queue.statistics().unreadable) == (2, 6)
        assert queue.aside == path.with_suffix(".unreadable")
        assert queue.aside.read_bytes().split(b"\n") == [*alien, torn, b""]
        assert caplog.text.count("are no dead letters") == 1
        assert str(queue.aside) in caplog.text
        assert queue.remove() == 2
        assert path.read_bytes() == b""
        queue.close()

    def test_letters_of_another_version_are_neither_read_nor_moved_nor_deleted(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What a newer host wrote is there for it, whatever an older one does to the rest."""
        newer = msgspec.json.encode(letter("t1")).replace(b'"failed"', b'"eaten"')
        more = msgspec.json.encode(letter("t2"))[:-1] + b',"colour":"red"}'
        path.write_bytes(b"\n".join([msgspec.json.encode(letter("t0")), newer, more, b""]))
        queue = DeadLetterQueue(path)

        assert names(queue.items()) == ["t2", "t0"]
        assert (queue.statistics().depth, queue.statistics().unreadable) == (2, 1)
        queue.remove({"t0"})
        assert path.read_bytes().split(b"\n") == [newer, more, b""]
        assert queue.remove() == 1
        assert path.read_bytes() == newer + b"\n"
        assert queue.statistics().unreadable == 1
        assert caplog.text.count("1 lines of the dead letters cannot be read here; they stay") == 1
        queue.close()

    def test_letters_that_the_disk_refuses_wait_in_memory_and_are_written_later(
        self, path: Path, queue: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nothing is lost by a full disk; it is said loudly, and healed by the next letter that goes through."""

        def full(descriptor: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        queue.add(letter("t0"))
        monkeypatch.setattr(os, "write", full)
        assert queue.add(letter("t1")) == []
        assert queue.add(letter("t2")) == []

        assert "No space left on device" in caplog.text
        assert (queue.statistics().depth, queue.statistics().unwritten) == (3, 2)
        assert names(queue.items()) == ["t2", "t1", "t0"]
        assert queue.find("t1").trace_id == "t1"
        monkeypatch.undo()
        assert queue.add(letter("t3")) == ["t1", "t2", "t3"]
        assert (queue.statistics().depth, queue.statistics().unwritten) == (4, 0)
        assert names(DeadLetterQueue(path).items()) == ["t3", "t2", "t1", "t0"]

    def test_letters_that_wait_in_memory_are_written_when_the_queue_is_closed(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The last chance is taken; what not even that saves stands in the log, whole."""
        path.mkdir()
        queue = DeadLetterQueue(path)
        assert "the dead letters on disk are left as they are" in caplog.text
        queue.add(letter("t0"))
        queue.close()
        assert '"trace_id":"t0"' in caplog.text
        path.rmdir()
        queue.close()

        assert names(DeadLetterQueue(path).items()) == ["t0"]

    def test_letters_in_memory_can_be_removed_as_well(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Purging takes them wherever they are, counts them once, and nobody waits any longer for them to be safe."""
        queue = DeadLetterQueue(path)
        queue.add(letter("t0"))
        path.unlink()
        path.mkdir()
        queue.close()
        queue.add(letter("t1"))
        path.rmdir()

        assert queue.remove({"t1"}) == 1
        assert queue.statistics().depth == 0
        assert queue.flush() == ["t1"]
        assert queue.statistics().unwritten == 0

    def test_letters_stay_when_the_file_cannot_be_rewritten(
        self, queue: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A purge that fails has removed nothing."""

        def broken(descriptor: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        queue.add(letter("t0"))
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(DataFileError):
            queue.remove()

        assert names(queue.items()) == ["t0"]
        assert queue.statistics().depth == 1


class TestMemory:
    def test_the_oldest_letters_go_when_there_is_no_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Memory is bounded, and what it had no room for is counted."""
        monkeypatch.setattr(dlq_module, "IN_MEMORY", 3)
        queue = DeadLetterQueue(None)
        for number in range(5):
            queue.add(letter(f"t{number}"))

        assert names(queue.items()) == ["t4", "t3", "t2"]
        assert (queue.statistics().depth, queue.statistics().dropped) == (3, 2)

    def test_letters_that_wait_for_the_disk_are_bounded_too(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A disk that stays full does not fill the memory as well; that letters are dropped is said once."""
        monkeypatch.setattr(dlq_module, "IN_MEMORY", 3)
        queue = DeadLetterQueue(path)
        path.mkdir()
        for number in range(5):
            queue.add(letter(f"t{number}"))

        assert (queue.statistics().unwritten, queue.statistics().dropped) == (3, 2)
        assert caplog.text.count("the oldest dead letters are dropped") == 1
        path.rmdir()
        assert queue.flush() == ["t2", "t3", "t4"]
        queue.close()

    def test_a_letter_that_memory_drops_while_it_is_written_is_not_counted_twice(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is on disk after all, and so it is not dropped."""
        monkeypatch.setattr(dlq_module, "IN_MEMORY", 2)
        queue = DeadLetterQueue(path)
        assert queue._files is not None
        append = queue._files.append
        late = iter(["t1", "t2"])

        def append_while_others_come(*arguments: Any) -> None:
            append(*arguments)
            for name in late:
                queue.add(letter(name))

        monkeypatch.setattr(queue._files, "append", append_while_others_come)
        assert queue.add(letter("t0")) == ["t0", "t1", "t2"]
        assert names(queue.items()) == ["t2", "t1", "t0"]
        assert (queue.statistics().depth, queue.statistics().dropped, queue.statistics().unwritten) == (3, 0, 0)
        queue.close()

    def test_where_there_is_room_for_some_of_those_that_wait_these_are_written(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The oldest first, and each that is written is told."""
        queue = DeadLetterQueue(path)
        path.mkdir()
        for number in range(3):
            queue.add(letter(f"t{number}"))
        path.rmdir()
        room, write = iter([False, True, False]), os.write
        monkeypatch.setattr(os, "write", lambda to, data: write(to, data) if next(room) else write(to, data[:9]))
        assert queue.flush() == ["t0"]
        monkeypatch.undo()
        assert (queue.statistics().depth, queue.statistics().unwritten) == (3, 2)
        assert names(queue.items()) == ["t2", "t1", "t0"]
        assert queue.flush() == ["t1", "t2"]
        queue.close()


class TestTogether:
    """Two queues over the same files, as two processes have them."""

    @pytest.fixture
    def other(self, path: Path):
        other = DeadLetterQueue(path)
        yield other
        other.close()

    def test_add_does_not_wait_while_somebody_works_on_the_files(self, path: Path, queue: DeadLetterQueue) -> None:
        """The letter waits in memory, is listed and found, and is written as soon as that can be."""
        queue.add(letter("t0"))
        lock = FileLock(path.with_suffix(".lock"))
        with lock.held(1.0):
            assert queue.add(letter("t1")) == []
            assert queue.flush() == []
            assert names(queue.items()) == ["t1", "t0"]
            assert queue.find("t1").trace_id == "t1"
            assert (queue.statistics().depth, queue.statistics().unwritten) == (2, 1)
        assert queue.flush() == ["t1"]
        assert queue.flush() == []
        assert queue.statistics().unwritten == 0
        assert names(queue.items()) == ["t1", "t0"]

    def test_a_letter_that_is_written_while_somebody_reads_is_read_once(
        self, path: Path, queue: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither twice nor not at all, wherever it is when they look."""
        assert queue._files is not None
        lock = FileLock(path.with_suffix(".lock"))
        with lock.held(1.0):
            queue.add(letter("t0"))
        survey = queue._files.survey

        def survey_after_it_was_written() -> None:
            assert queue.flush() == ["t0"]
            survey()

        monkeypatch.setattr(queue._files, "survey", survey_after_it_was_written)
        assert names(queue.items()) == ["t0"]
        lock.close()

    def test_who_rewrites_the_files_writes_what_came_meanwhile(
        self, queue: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In a worker thread; the event loop is told at its next call that it is safe."""
        queue.add(letter("t0"))
        assert queue._files is not None
        take_out = queue._files.take_out

        def take_out_meanwhile(goes: Any) -> int:
            assert queue.add(letter("t1")) == []
            return take_out(goes)

        monkeypatch.setattr(queue._files, "take_out", take_out_meanwhile)
        assert queue.remove({"t0"}) == 1
        assert names(queue.items()) == ["t1"]
        assert queue.statistics().unwritten == 1
        assert queue.flush() == ["t1"]
        assert queue.statistics().unwritten == 0

    def test_the_end_waits_a_moment_for_somebody_who_works_on_the_files(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A letter that would be lost is worth it; what is lost all the same stands in the log."""
        queue = DeadLetterQueue(path)
        lock = FileLock(path.with_suffix(".lock"))
        lock.acquire(1.0)
        assert queue.add(letter("t0")) == []
        monkeypatch.setattr(time, "sleep", lambda _: lock.release() if lock.path.exists() and held.pop() else None)
        held = [True]
        queue.close()
        assert names(DeadLetterQueue(path).items()) == ["t0"]

        monkeypatch.undo()
        monkeypatch.setattr(dlq_module, "CLOSE_TIMEOUT", 0.01)
        with lock.held(1.0):
            queue.add(letter("t1"))
            queue.close()
        assert "a dead letter is lost" in caplog.text
        assert '"t1"' in caplog.text
        lock.close()

    def test_a_change_that_cannot_have_the_files_is_told(
        self, path: Path, queue: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a while, with the lock's name; nothing has changed."""
        monkeypatch.setattr(dlq_module, "LOCK_TIMEOUT", 0.01)
        queue.add(letter("t0"))
        lock = path.with_suffix(".lock")
        with FileLock(lock).held(1.0), pytest.raises(DataFileError, match=f"{lock}: was held by somebody else"):
            queue.remove()
        assert names(queue.items()) == ["t0"]

    def test_a_start_beside_somebody_who_works_on_the_files_leaves_them(
        self, path: Path, queue: DeadLetterQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """They are counted at the next reading."""
        monkeypatch.setattr(dlq_module, "LOCK_TIMEOUT", 0.01)
        queue.add(letter("t0"))
        with FileLock(path.with_suffix(".lock")).held(1.0):
            late = DeadLetterQueue(path)
        assert "are left as they are" in caplog.text
        assert names(late.items()) == ["t0"]
        assert late.statistics().depth == 1
        late.close()

    def test_what_one_adds_and_removes_the_other_sees(self, queue: DeadLetterQueue, other: DeadLetterQueue) -> None:
        """Counts follow at the next reading."""
        queue.add(letter("t0"))
        other.add(letter("t1"))
        assert names(queue.items()) == names(other.items()) == ["t1", "t0"]
        assert queue.statistics().depth == other.statistics().depth == 2
        assert other.remove({"t0"}) == 1
        assert names(queue.items()) == ["t1"]
        assert queue.statistics().depth == 1
        queue.add(letter("t2"))
        assert names(other.items()) == ["t2", "t1"]

    def test_a_reader_that_is_to_change_nothing_changes_nothing(self, path: Path) -> None:
        """No file is made, moved or written, not even to put things in order."""
        path.write_bytes(b"alien\n" + msgspec.json.encode(letter("t0")) + b"\n")
        before = [(file, file.read_bytes()) for file in path.parent.iterdir()]
        queue = DeadLetterQueue(path, tidy=False)
        assert names(queue.items()) == ["t0"]
        assert (queue.statistics().depth, queue.statistics().unreadable) == (1, 1)
        assert queue.aside is None
        queue.close()
        assert [(file, file.read_bytes()) for file in path.parent.iterdir()] == before

    def test_a_pipe_in_the_files_place_is_told_and_waited_for_by_nobody(
        self, path: Path, queue: DeadLetterQueue, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What is written to it would be gone, and who opens it to read might wait for ever."""
        os.mkfifo(path)
        assert queue.add(letter("t0")) == []
        assert f"{path}: cannot write: is no regular file" in caplog.text
        with pytest.raises(DataFileError, match="cannot read: is no regular file"):
            queue.items()
        path.unlink()
        assert queue.flush() == ["t0"]

    def test_a_folder_that_is_not_there_holds_no_letters(self, tmp_path: Path) -> None:
        """It is not made by looking, nor by deleting what is not there."""
        queue = DeadLetterQueue(tmp_path / "no" / "dlq.jsonl")
        assert (queue.items(), queue.remove(), queue.statistics().depth) == ([], 0, 0)
        queue.close()
        assert not (tmp_path / "no").exists()


def fits(one: DeadLetter, wanted: dict[str, Any]) -> bool:
    """What a filter means, told once more."""
    return (
        one.trace_id in wanted.get("trace_ids", [one.trace_id])
        and wanted.get("reason", one.reason) == one.reason
        and wanted.get("action_type", one.action_type) == one.action_type
        and wanted.get("since", one.ts) <= one.ts < wanted.get("before", one.ts + 1)
    )


TIMES = st.floats(0, 100)
NAMES = st.sampled_from([f"t{i}" for i in range(6)])
WANTED = st.fixed_dictionaries(
    {},
    optional={
        "trace_ids": st.sets(NAMES, max_size=3),
        "reason": st.sampled_from(["failed", "timeout"]),
        "action_type": st.sampled_from(["dlq.a", "dlq.b"]),
        "since": TIMES,
        "before": TIMES,
    },
)


class Letters(RuleBasedStateMachine):
    """Two queues over the same files, beside a list; the files are torn, written to by strangers, and kept busy."""

    @initialize(files=st.sampled_from([2, 3, 1000]))
    def begin(self, files: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "dlq.jsonl"
        self.limits = DlqConfig(max_bytes=1024, files=files)
        self.queues = [DeadLetterQueue(self.path, self.limits) for _ in range(2)]
        self.model: list[DeadLetter] = []
        self.strange = Counter[bytes]()
        self.number = map(str, count())
        self.dropped = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            for queue in self.queues:
                queue.close()
            self.folder.cleanup()

    def drop(self) -> None:
        """What left at the end leaves the list at its beginning."""
        dropped = sum(queue.statistics().dropped for queue in self.queues)
        del self.model[: dropped - self.dropped]
        self.dropped = dropped

    @rule(
        who=st.integers(0, 1),
        name=NAMES,
        ts=TIMES,
        reason=st.sampled_from(["failed", "timeout"]),
        action_type=st.sampled_from(["dlq.a", "dlq.b"]),
        size=st.sampled_from([0, 0, 200, 2000]),
    )
    def add(self, who: int, name: str, ts: float, reason: Any, action_type: str, size: int) -> None:
        one = letter(name, ts=ts, reason=reason, action_type=action_type, message=next(self.number) + "x" * size)
        assert self.queues[who].add(one) == [name]
        self.model.append(one)
        self.drop()

    @rule(who=st.integers(0, 1), batch=st.lists(NAMES, max_size=5))
    def add_while_somebody_works(self, who: int, batch: list[str]) -> None:
        lock = FileLock(self.path.with_suffix(".lock"))
        with lock.held(1.0):
            waiting = [letter(name, message=next(self.number)) for name in batch]
            for one in waiting:
                assert self.queues[who].add(one) == []
            assert self.queues[who].items(limit=1000) == [*self.model, *waiting][::-1]
        lock.close()
        assert self.queues[who].flush() == batch
        self.model += waiting
        self.drop()

    @rule(who=st.integers(0, 1), wanted=WANTED, limit=st.integers(0, 8))
    def read(self, who: int, wanted: dict[str, Any], limit: int) -> None:
        expected = [one for one in reversed(self.model) if fits(one, wanted)]
        assert self.queues[who].items(limit=limit, **wanted) == expected[:limit]

    @rule(who=st.integers(0, 1), wanted=WANTED)
    def remove(self, who: int, wanted: dict[str, Any]) -> None:
        going = [one for one in self.model if fits(one, wanted)]
        assert self.queues[who].remove(**wanted) == len(going)
        self.model = [one for one in self.model if one not in going]

    @rule(who=st.integers(0, 1), tidy=st.booleans())
    def begin_again(self, who: int, tidy: bool) -> None:
        self.queues[who].close()
        self.dropped -= self.queues[who].statistics().dropped
        self.queues[who] = DeadLetterQueue(self.path, self.limits, tidy=tidy)

    @precondition(lambda self: self.path.exists())
    @rule(cut=st.integers(0, 600))
    def tear(self, cut: int) -> None:
        data = self.path.read_bytes()
        before = [line for line in data.split(b"\n") if read_letter(line) is not None]
        left = data[: max(0, len(data) - cut)]
        os.truncate(self.path, len(left))
        after = [line for line in left.split(b"\n") if read_letter(line) is not None]
        del self.model[len(self.model) - (len(before) - len(after)) :]
        lines, rest = Counter(data.split(b"\n")), Counter(left.split(b"\n"))
        self.strange -= lines - rest
        self.strange.update(line for line in rest - lines if line.strip() and read_letter(line) is None)

    @rule(
        line=st.binary(min_size=1, max_size=30).filter(lambda line: line.strip() and b"\n" not in line),
        ended=st.booleans(),
    )
    def write_as_a_stranger(self, line: bytes, ended: bool) -> None:
        with self.path.open("ab") as file:
            file.write(b"\n" + line + (b"\n" if ended else b""))
        self.strange[line] += 1

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        for queue in self.queues:
            assert queue.items(limit=1000) == self.model[::-1]
            ended = not self.path.exists() or self.path.read_bytes()[-1:] in (b"", b"\n")
            assert queue.statistics().depth in ({len(self.model)} if ended else {len(self.model), len(self.model) - 1})

    @precondition(lambda self: self.limits.files == 1000)
    @invariant()
    def no_byte_of_a_stranger_is_lost(self) -> None:
        lines = [line for file in self.path.parent.iterdir() for line in file.read_bytes().split(b"\n")]
        assert not self.strange - Counter(lines)


TestAgainstAList = Letters.TestCase
TestAgainstAList.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
