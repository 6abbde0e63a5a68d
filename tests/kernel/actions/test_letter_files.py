"""The files of the dead letter queue: rotated, let go, read at one moment, whatever others do to them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aetherra.kernel import ActionPriority, DataFileError, DeadLetter, DlqConfig, RetryPolicy
from aetherra.kernel.actions import letter_file
from aetherra.kernel.actions.letter import write_letter
from aetherra.kernel.actions.letter_files import LetterFiles

DAY = 86_400.0
NOW = 1_800_000_000.0


def letter(name: str, ts: float = NOW, size: int = 0) -> DeadLetter:
    params = {"x": "y" * size}
    return DeadLetter(ts, "failed", name, "files.water", params, ActionPriority.LOW, 1, 1.0, RetryPolicy())


def add(files: LetterFiles, *letters: DeadLetter) -> None:
    with files.lock.held(1.0):
        files.append([write_letter(one) for one in letters], list(letters))


def names(files: LetterFiles) -> list[str]:
    return [found.trace_id for found in files.backwards()]


def on_disk(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kernel_dlq.jsonl"


@pytest.fixture
def make(path: Path):
    """Make the files, as each process does for itself."""
    made: list[LetterFiles] = []

    def make_(**limits: Any) -> LetterFiles:
        made.append(LetterFiles(path, DlqConfig(**{"max_bytes": 1024, **limits}), sync=False))
        return made[-1]

    yield make_
    for files in made:
        files.close()
        files.lock.close()


Make = Callable[..., LetterFiles]


class TestRotation:
    def test_a_full_file_is_put_beside_and_the_oldest_leave(
        self, make: Make, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Their names sort by age; what leaves is counted and said, and all that stays is read as one."""
        files = make(files=3)
        for i in range(12):
            add(files, letter(f"t{i}", size=70))

        assert on_disk(path.parent) == ["kernel_dlq.00000004.jsonl", "kernel_dlq.00000005.jsonl", "kernel_dlq.jsonl"]
        assert names(files) == ["t11", "t10", "t9", "t8", "t7", "t6"]
        assert (files.letters, files.dropped) == (6, 6)
        assert "2 dead letters left the queue" in caplog.text
        assert "there are more than 3 files" in caplog.text
        assert all(file.stat().st_size <= 1024 for file in path.parent.glob("*.jsonl"))

    def test_a_letter_that_is_larger_than_a_file_has_one_of_its_own(self, make: Make) -> None:
        """It is not lost, and neither are its neighbours."""
        files = make()
        for name, size in (("t0", 10), ("t1", 5000), ("t2", 10)):
            add(files, letter(name, size=size))
        assert names(files) == ["t2", "t1", "t0"]

    def test_numbers_go_on_behind_eight_digits(self, make: Make, path: Path) -> None:
        """And files that are named otherwise are none of ours."""
        path.with_name("kernel_dlq.99999999.jsonl").write_bytes(write_letter(letter("old")) + b"\n")
        path.with_name("kernel_dlq.7.jsonl").write_text("not ours")
        files = make()
        for i in range(5):
            add(files, letter(f"t{i}", size=70))

        assert "kernel_dlq.100000000.jsonl" in on_disk(path.parent)
        assert names(files) == ["t4", "t3", "t2", "t1", "t0", "old"]
        assert path.with_name("kernel_dlq.7.jsonl").read_text() == "not ours"

    def test_letters_of_more_than_an_age_leave_a_file_at_a_time(
        self, make: Make, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The file is put beside after its share of the age, so that few letters a month do not stay for ever."""
        files = make(files=3, max_age=10 * DAY, max_bytes=100_000)
        for day in range(0, 31, 2):
            add(files, letter(f"t{day}", NOW + day * DAY))
            left = {int(name[1:]) for name in names(files)}
            assert left >= {old for old in range(0, day + 1, 2) if old >= day - 10}
            assert min(left) >= day - 10 - 5 - 2

        assert files.dropped > 0
        assert files.letters == len(names(files))
        assert "they are older than 864000 s" in caplog.text
        assert len(on_disk(path.parent)) <= 3

    def test_age_pushes_out_nothing_that_is_not_due(self, make: Make) -> None:
        """With as many files as there may be, the file that is written to waits for one to leave."""
        files = make(files=3, max_age=10 * DAY)
        for name, size in (("t0", 700), ("t1", 700), ("t2", 0)):
            add(files, letter(name, size=size))
        add(files, letter("t3", NOW + 9 * DAY))
        assert (names(files), files.dropped) == (["t3", "t2", "t1", "t0"], 0)
        add(files, letter("t4", NOW + 11 * DAY))
        assert (names(files), files.dropped) == (["t4", "t3", "t2"], 2)

    def test_a_clock_that_jumps_back_an_hour_changes_nothing(self, make: Make) -> None:
        """Letters stand as they were written, and none is taken for old."""
        files = make(max_age=2 * DAY)
        for i, ts in enumerate((NOW, NOW - 3600, NOW - 3599)):
            add(files, letter(f"t{i}", ts))
        assert names(files) == ["t2", "t1", "t0"]
        assert [found.trace_id for found in files.backwards(since=NOW)][-1] == "t0"
        assert files.dropped == 0

    def test_what_is_too_old_leaves_at_the_start_too(self, make: Make, path: Path) -> None:
        """Also the file that is written to, and files that were never counted."""
        first = make(max_age=10 * DAY)
        for i in range(4):
            add(first, letter(f"t{i}", NOW + i * DAY, size=500))
        again = make(max_age=10 * DAY)
        with again.lock.held(1.0):
            again.let_go(NOW + 11.5 * DAY)
        assert (names(again), again.dropped) == (["t3", "t2"], 2)
        with again.lock.held(1.0):
            again.let_go(NOW + 40 * DAY)
        again.survey()
        assert (names(again), again.dropped, again.letters, on_disk(path.parent)) == ([], 4, 0, [])


class TestOthers:
    def test_what_others_wrote_is_counted(self, make: Make) -> None:
        """By the next letter, or by a survey; also when a file was rewritten or deleted."""
        ours, theirs = make(), make()
        add(theirs, letter("t0"))
        add(ours, letter("t1"))
        assert ours.letters == 2
        add(theirs, letter("t2"), letter("t3"))
        ours.survey()
        assert ours.letters == 4
        with theirs.lock.held(1.0):
            assert theirs.take_out(lambda found: found.trace_id != "t1") == 3
        ours.survey()
        assert ours.letters == 1
        add(ours, letter("t4"))
        assert (names(theirs), ours.letters) == (["t4", "t1"], 2)

    def test_much_that_others_wrote_is_counted_by_a_survey_alone(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A new letter does not wait for it."""
        ours, theirs = make(max_bytes=2**20), make(max_bytes=2**20)
        add(ours, letter("t0"))
        for i in range(9):
            add(theirs, letter(f"big{i}", size=10_000))
        read: list[int] = []
        pread = os.pread

        def watched(descriptor: int, size: int, start: int) -> bytes:
            read.append(size)
            return pread(descriptor, size, start)

        monkeypatch.setattr(os, "pread", watched)
        add(ours, letter("t1"))
        assert max(read) <= letter_file.BLOCK
        monkeypatch.undo()
        ours.survey()
        assert ours.letters == 11

    @pytest.mark.parametrize("how", ["deleted", "replaced", "rotated"])
    def test_a_file_that_is_taken_away_is_not_written_to(self, make: Make, path: Path, how: str) -> None:
        """The next letter goes where readers look."""
        ours, theirs = make(), make()
        add(ours, letter("t0"))
        if how == "deleted":
            path.unlink()
        elif how == "replaced":
            with theirs.lock.held(1.0):
                theirs.take_out(lambda found: found.trace_id == "t0")
        else:
            add(theirs, letter("big", size=900))
        add(ours, letter("t1"))
        assert names(ours)[0] == "t1"
        assert path.read_bytes().endswith(write_letter(letter("t1")) + b"\n")

    def test_a_torn_end_that_another_process_left_costs_nobody_a_letter(self, make: Make, path: Path) -> None:
        """Each letter stands on a line of its own, whoever died before it."""
        ours = make()
        add(ours, letter("t0"))
        for i in range(3):
            with path.open("ab") as dying:
                dying.write(b'{"torn": ')
            add(ours, letter(f"after{i}"))
        ours.survey()
        assert names(ours) == ["after2", "after1", "after0", "t0"]
        assert (ours.letters, ours.unreadable) == (4, 3)

    def test_readers_miss_nothing_that_is_moved_meanwhile(
        self, make: Make, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file put beside between two looks is found under its new name."""
        ours, theirs = make(), make()
        add(ours, letter("t0", size=500))
        opened = os.open
        moves = iter([1])

        def moving(target: Any, *arguments: Any) -> int:
            if target == path and next(moves, None):
                add(theirs, letter("t1", size=500))
            return opened(target, *arguments)

        monkeypatch.setattr(os, "open", moving)
        found = names(ours)
        assert sorted(found) == ["t0", "t1"]

    def test_readers_of_files_that_never_rest_ask_for_a_moment(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They hold the lock for it, and let go of it before they read."""
        files = make()
        add(files, letter("t0"))
        open_all = files._open_all

        def moved_unless_held(stack: Any) -> Any:
            found = open_all(stack)
            return found if not files.lock.try_acquire() else files.lock.release()

        monkeypatch.setattr(files, "_open_all", moved_unless_held)
        letters = files.backwards()
        assert next(letters).trace_id == "t0"
        assert files.lock.try_acquire()
        files.lock.release()
        letters.close()

    def test_no_file_stays_open_behind_readers(self, make: Make, path: Path) -> None:
        """Not even when they stop half way."""
        files = make()
        for i in range(9):
            add(files, letter(f"t{i}", size=400))

        def descriptors() -> int:
            return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

        if not Path("/proc/self/fd").exists():
            pytest.skip("this system does not tell open files")
        before = descriptors()
        letters = files.backwards()
        next(letters)
        assert descriptors() > before
        letters.close()
        files.survey()
        assert descriptors() == before

    def test_a_survey_beside_writers_forgets_none_of_their_letters(self, make: Make) -> None:
        """What this process wrote meanwhile is counted."""
        files = make(files=1000, max_bytes=2048)
        stop = threading.Event()

        def survey() -> None:
            while not stop.is_set():
                files.survey()

        thread = threading.Thread(target=survey)
        thread.start()
        for i in range(300):
            add(files, letter(f"t{i}", size=200))
        stop.set()
        thread.join()
        assert files.letters == 300


def _die(*_: object) -> None:
    raise KeyboardInterrupt


class TestFolder:
    def test_no_folder_is_no_letters(self, tmp_path: Path) -> None:
        """A reader makes nothing; a writer says what is missing."""
        files = LetterFiles(tmp_path / "no" / "dlq.jsonl", DlqConfig(), sync=False)
        assert names(files) == []
        files.survey()
        assert files.letters == 0
        assert on_disk(tmp_path) == []
        with pytest.raises(DataFileError, match="No such file or directory"):
            files.lock.try_acquire()

    def test_a_folder_in_an_older_files_place_is_named(self, make: Make, path: Path) -> None:
        """The error says which path, whatever was to be done."""
        wrong = path.with_name("kernel_dlq.00000001.jsonl")
        wrong.mkdir()
        files = make()
        for use in (lambda: names(files), files.survey, lambda: files.take_out(lambda _: True)):
            with pytest.raises(DataFileError, match="Is a directory"):
                use()

    def test_a_crash_in_a_rewrite_is_cleared_away(self, make: Make, path: Path) -> None:
        """What was beside is deleted, never taken for letters."""
        files = make()
        for i in range(4):
            add(files, letter(f"t{i}"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "replace", _die)
            with files.lock.held(1.0), pytest.raises(KeyboardInterrupt):
                files.take_out(lambda found: found.trace_id == "t0")
        assert "kernel_dlq.jsonl.new" in on_disk(path.parent)
        with files.lock.held(1.0):
            files.tidy()
        assert on_disk(path.parent) == ["kernel_dlq.00000001.jsonl", "kernel_dlq.jsonl"]
        assert names(files) == ["t3", "t2", "t1", "t0"]

    def test_older_files_that_are_empty_are_deleted(self, make: Make, path: Path) -> None:
        """A purge gives the disk back what it held."""
        files = make()
        for i in range(5):
            add(files, letter(f"t{i}", size=500))
        with files.lock.held(1.0):
            assert files.take_out(lambda _: True) == 5
        assert on_disk(path.parent) == ["kernel_dlq.jsonl"]
        assert files.letters == 0

    def test_what_cannot_be_set_aside_does_not_keep_letters_from_leaving(self, make: Make, path: Path) -> None:
        """A full disk must not keep anybody from making room; the lines stay where they are."""
        files = make()
        add(files, letter("t0"), letter("t1"))
        with path.open("ab") as alien:
            alien.write(b"alien\n")
        files.aside.mkdir()
        with files.lock.held(1.0):
            with pytest.raises(DataFileError, match="Is a directory"):
                files.tidy()
            assert files.take_out(lambda found: found.trace_id == "t0") == 1
        assert path.read_bytes() == write_letter(letter("t1")) + b"\nalien\n"
        assert (files.letters, files.unreadable) == (1, 1)
