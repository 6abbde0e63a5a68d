"""The dead letter queue: letters stay until somebody takes them, whatever the disk and other writers do."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aetherra.kernel import ActionPriority, DataFileError, DeadLetter, LetterNotFoundError, RetryPolicy
from aetherra.kernel.actions import dlq as dlq_module
from aetherra.kernel.actions.dlq import DeadLetterQueue
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

    def test_letters_of_another_version_are_neither_read_nor_moved_nor_deleted(self, path: Path) -> None:
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

    def test_letters_that_wait_for_the_disk_are_bounded_too(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A disk that stays full does not fill the memory as well."""
        monkeypatch.setattr(dlq_module, "IN_MEMORY", 3)
        queue = DeadLetterQueue(path)
        path.mkdir()
        for number in range(5):
            queue.add(letter(f"t{number}"))

        assert (queue.statistics().unwritten, queue.statistics().dropped) == (3, 2)
