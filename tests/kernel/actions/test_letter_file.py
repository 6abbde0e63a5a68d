"""One file of dead letters: what is read of it, and that no byte is lost while it is written to or rewritten."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel import ActionPriority, DeadLetter, RetryPolicy
from aetherra.kernel.actions import letter_file
from aetherra.kernel.actions.letter import write_letter
from aetherra.kernel.actions.letter_file import Tally, append, count, letters_backwards, lines_backwards, replace

LINES = st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=12)


def letter(name: str, ts: float = 1.0) -> DeadLetter:
    return DeadLetter(ts, "failed", name, "file.water", {}, ActionPriority.LOW, 1, 1.0, RetryPolicy())


def line(name: str, ts: float = 1.0) -> bytes:
    return write_letter(letter(name, ts))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "letters.jsonl"


@pytest.fixture
def opened(path: Path):
    """Open the file for reading and appending; all are closed at the end."""
    descriptors: list[int] = []

    def open_() -> int:
        descriptors.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND))
        return descriptors[-1]

    yield open_
    for descriptor in descriptors:
        os.close(descriptor)


class TestBackwards:
    @given(lines=LINES, end=st.binary(max_size=5), block=st.integers(1, 50))
    def test_lines_come_as_they_stand_the_last_first(
        self, tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bytes, block: int
    ) -> None:
        """Whatever they hold and wherever a block of the file begins."""
        path = tmp_path_factory.mktemp("lines") / "lines"
        path.write_bytes(b"\n".join([*lines, end]))
        descriptor = os.open(path, os.O_RDONLY)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(letter_file, "BLOCK", block)
            found = list(lines_backwards(descriptor, path.stat().st_size))
        os.close(descriptor)

        assert list(reversed(found)) == (path.read_bytes().split(b"\n") if path.stat().st_size else [])

    def test_no_more_is_read_than_is_asked_for(
        self, path: Path, opened: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One letter from the end of a large file is one block."""
        path.write_bytes(b"".join(line(f"t{i}") + b"\n" for i in range(5000)))
        assert path.stat().st_size > 10 * letter_file.BLOCK
        blocks: list[int] = []
        read = os.pread

        def watched(descriptor: int, size: int, start: int) -> bytes:
            blocks.append(start)
            return read(descriptor, size, start)

        monkeypatch.setattr(os, "pread", watched)
        letters = letters_backwards(opened(), path.stat().st_size)

        assert next(letters).trace_id == "t4999"
        assert len(blocks) == 1

    def test_a_line_that_is_being_written_is_not_waited_for(self, path: Path, opened: Callable[[], int]) -> None:
        """What stands before it is read."""
        path.write_bytes(line("t0") + b"\n" + line("t1") + b"\n" + line("t2")[:30])
        assert [found.trace_id for found in letters_backwards(opened(), path.stat().st_size)] == ["t1", "t0"]


class TestTally:
    def test_a_file_is_counted_once_and_its_growth_after_that(self, path: Path, opened: Callable[[], int]) -> None:
        """Letters, lines that are none, and the span of time; blank lines and an unfinished one do not count."""
        begun = line("t0", 5.0) + b"\n\n" + line("t1", 3.0) + b"\nalien\n"
        path.write_bytes(begun + b'{"half')
        descriptor = opened()
        first = count(descriptor, path.stat().st_size, Tally())
        assert first == Tally(len(begun), 2, 1, 3.0, 5.0, len(begun) - 6, b"alien\n")
        assert count(descriptor, path.stat().st_size, first) == first

        append(descriptor, [line("t2", 9.0)], sync=False)
        grown = count(descriptor, path.stat().st_size, first)
        assert (grown.size, grown.letters, grown.strange) == (path.stat().st_size, 3, 2)
        assert (grown.oldest, grown.newest) == (3.0, 9.0)

    def test_nothing_has_no_time(self) -> None:
        """So that nothing in an empty file is ever too old."""
        assert (Tally().oldest, Tally().newest) == (math.inf, -math.inf)
        assert Tally().plus(b"strange\n", [], strange=1) == Tally(8, 0, 1, mark=b"strange\n")

    def test_a_file_that_got_the_inode_of_another_is_told_from_it(self, path: Path, opened: Callable[[], int]) -> None:
        """By the last line that was counted; one that has only grown is the same, one that was cut is not."""
        descriptor = opened()
        append(descriptor, [line("t0"), line("t1")], sync=False)
        size = path.stat().st_size
        known = count(descriptor, size, Tally())
        assert known.is_of(descriptor, size)
        append(descriptor, [line("t2")], sync=False)
        assert known.is_of(descriptor, path.stat().st_size)
        os.truncate(path, 0)
        append(descriptor, [line("t1"), line("t2"), line("t3")], sync=False)
        assert not known.is_of(descriptor, path.stat().st_size)
        assert not known.is_of(descriptor, size - 1)
        assert Tally().is_of(descriptor, 0)


class TestAppend:
    @given(before=st.binary(max_size=20), lines=LINES.filter(bool))
    def test_lines_stand_on_lines_of_their_own(
        self, tmp_path_factory: pytest.TempPathFactory, before: bytes, lines: list[bytes]
    ) -> None:
        """Whatever somebody else left at the end."""
        path = tmp_path_factory.mktemp("append") / "lines"
        path.write_bytes(before)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        append(descriptor, lines, sync=False)
        os.close(descriptor)

        kept = before if before.endswith(b"\n") or not before else before + b"\n"
        assert path.read_bytes() == kept + b"".join(line + b"\n" for line in lines)

    @pytest.mark.parametrize("fault", ["short", "fsync"])
    def test_a_write_that_fails_leaves_nothing(
        self, path: Path, opened: Callable[[], int], monkeypatch: pytest.MonkeyPatch, fault: str
    ) -> None:
        """All of the lines or none of them."""
        path.write_bytes(b"before\n")
        write = os.write
        if fault == "short":
            monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:9]))
        else:
            monkeypatch.setattr(os, "fsync", _broken)
        with pytest.raises(OSError, match="only a part" if fault == "short" else "broken"):
            append(opened(), [b"one", b"two", b"three"], sync=True)

        assert path.read_bytes() == b"before\n"

    def test_what_somebody_wrote_behind_a_torn_line_stays(
        self, path: Path, opened: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Taking back our own part would take theirs."""
        write = os.write

        def torn(descriptor: int, data: bytes) -> int:
            taken = write(descriptor, data[:3])
            with path.open("ab") as file:
                file.write(b"\ntheirs\n")
            return taken

        monkeypatch.setattr(os, "write", torn)
        with pytest.raises(OSError, match="only a part"):
            append(opened(), [b"ours, too long"], sync=False)
        assert path.read_bytes() == b"our\ntheirs\n"

    def test_a_fault_is_told_even_if_nothing_can_be_taken_back(
        self, path: Path, opened: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first error is the one that says what is wrong; the fragment ends before the next line."""
        write = os.write
        descriptor = opened()
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
        monkeypatch.setattr(os, "ftruncate", _broken)
        with pytest.raises(OSError, match="only a part"):
            append(descriptor, [b"fragment"], sync=False)
        monkeypatch.undo()
        append(descriptor, [b"next"], sync=False)
        assert path.read_bytes() == b"fra\nnext\n"

    def test_synced_lines_wait_for_the_disk_and_others_do_not(
        self, opened: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Once for all that are written together."""
        flushed: list[int] = []
        monkeypatch.setattr(os, "fsync", flushed.append)
        descriptor = opened()
        append(descriptor, [b"a", b"b"], sync=False)
        assert flushed == []
        append(descriptor, [b"a", b"b"], sync=True)
        assert flushed == [descriptor]


def _broken(*_: object) -> None:
    raise OSError(errno.EIO, "broken")


class TestReplace:
    def test_the_new_lines_stand_in_the_files_place(self, path: Path, opened: Callable[[], int]) -> None:
        """For this user alone, and nothing is left beside."""
        path.write_bytes(b"a\nb\n")
        replace(path, opened(), [b"b"], 4, path.with_name("new"))
        assert path.read_bytes() == b"b\n"
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_fault_on_the_way_leaves_the_old_content(
        self, path: Path, opened: Callable[[], int], monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        """And nothing that fills a full disk still more."""
        path.write_bytes(b"a\nb\n")
        monkeypatch.setattr(os, step, _broken)
        with pytest.raises(OSError, match="broken"):
            replace(path, opened(), [b"b"], 4, path.with_name("new"))
        assert path.read_bytes() == b"a\nb\n"
        assert list(path.parent.iterdir()) == [path]

    def test_what_came_before_the_step_is_in_the_new_file_before_it(
        self, path: Path, opened: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So that a death right after the step does not lose it either."""
        path.write_bytes(b"a\nb\nearly\n")
        step = Path.replace

        def watched(beside: Path, target: Path) -> Path:
            assert beside.read_bytes() == b"b\nearly\n"
            return step(beside, target)

        monkeypatch.setattr(Path, "replace", watched)
        replace(path, opened(), [b"b"], 4, path.with_name("new"))
        assert path.read_bytes() == b"b\nearly\n"

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_what_is_written_without_the_lock_meanwhile_is_carried_over(
        self, path: Path, opened: Callable[[], int], monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        """Another version that knows of no lock loses nothing, before the step or just after it."""
        path.write_bytes(b"a\nb\n")
        theirs = opened()
        real = getattr(os, step)

        def late(*arguments: object) -> None:
            real(*arguments)
            os.write(theirs, f"written after {step}\n".encode())

        os.write(theirs, b"early\n")
        monkeypatch.setattr(os, step, late)
        replace(path, opened(), [b"b"], 4, path.with_name("new"))
        assert path.read_bytes().startswith(b"b\nearly\nwritten after " + step.encode())
