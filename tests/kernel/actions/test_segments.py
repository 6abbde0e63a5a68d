"""Segments: what is appended is there whole or not at all, in files of bounded size."""

from __future__ import annotations

import errno
import logging
import os
import resource
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel import DataFileError
from aetherra.kernel.actions import segments as module
from aetherra.kernel.actions.segments import Segments

NAME = "log"
records = st.binary(max_size=40).filter(lambda record: b"\n" not in record)


def opened(folder: Path, *, sync: bool = False) -> tuple[Segments, list[bytes | None]]:
    """Open a log as the next run does, and return what its lines say."""
    made = Segments(folder, NAME, sync=sync)
    return made, [record for _, _, record in made.read()]


def read(folder: Path) -> list[bytes | None]:
    return opened(folder)[1]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def line(record: bytes) -> bytes:
    return b"%08x %b\n" % (crc32(record), record)


@pytest.fixture
def log(tmp_path: Path) -> Generator[Segments]:
    made, _ = opened(tmp_path)
    yield made
    made.close()


class Disk:
    """The operating system's calls, some of which go wrong as they do on a full or a broken disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.synced: list[str] = []

    def takes(self, size: int) -> None:
        """Let the next write take so many bytes, and each after it none."""
        left = [size]

        def write(descriptor: int, data: bytes) -> int:
            size, left[0] = left[0], 0
            if not size:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(descriptor, data[:size])

        real = os.write
        self._patch.setattr(module.os, "write", write)

    def refuses(self, call: str, number: int = errno.EIO) -> None:
        """Let a call fail."""

        def fail(*_: Any) -> None:
            raise OSError(number, os.strerror(number))

        self._patch.setattr(module.os, call, fail)

    def note_syncs(self) -> None:
        """Note which files are asked to be on the disk."""

        def fsync(descriptor: int) -> None:
            self.synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
            real(descriptor)

        real = os.fsync
        self._patch.setattr(module.os, "fsync", fsync)

    def mend(self) -> None:
        self._patch.undo()


class AskedLock:
    """A lock that says when somebody wants it."""

    def __init__(self, lock: threading.Lock, asked: threading.Event) -> None:
        self._lock, self._asked = lock, asked

    def __enter__(self) -> None:
        self._asked.set()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@contextmanager
def file_limit(size: int) -> Generator[None]:
    """Let no file of this process grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestAppend:
    @given(st.lists(records, max_size=20), st.integers(1, 200))
    def test_what_was_appended_is_read_in_order(
        self, tmp_path_factory: pytest.TempPathFactory, appended: list[bytes], size: int
    ) -> None:
        """Whatever bytes it is, in one file or in many."""
        folder = tmp_path_factory.mktemp("log")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "SEGMENT_BYTES", size)
            log, _ = opened(folder)
            for record in appended:
                log.append(record)
            log.close()

        assert read(folder) == appended

    def test_a_line_is_its_check_and_its_record(self, tmp_path: Path, log: Segments) -> None:
        """Eight digits of CRC-32, a space, and what was appended."""
        segment = log.append(b"one")
        log.append(b"two")

        assert segment.path.read_bytes() == line(b"one") + line(b"two")
        assert (segment.size, segment.lines, segment.live) == (26, 2, 0)
        assert log.current is segment
        assert names(tmp_path) == ["log-00000001.log"]

    def test_the_next_file_begins_when_one_is_full(
        self, tmp_path: Path, log: Segments, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not before, and a record is never in two."""
        monkeypatch.setattr(module, "SEGMENT_BYTES", 26)
        segments = [log.append(record) for record in (b"one", b"two", b"and three", b"four", b"five")]

        assert [segment.path.name[-5] for segment in segments] == ["1", "1", "2", "2", "3"]
        assert list(log.files) == [segments[0], segments[2], segments[4]]
        assert [segment.descriptor is None for segment in log.files] == [True, True, False]

    def test_a_file_is_for_its_user_alone(self, log: Segments) -> None:
        """Requests may hold what others are not to read."""
        assert log.append(b"one").path.stat().st_mode & 0o777 == 0o600

    def test_each_run_begins_a_file_of_its_own(self, tmp_path: Path, log: Segments) -> None:
        """What an earlier one has left is not written to; empty lines are no records."""
        log.append(b"one")
        log.close()
        with (tmp_path / "log-00000001.log").open("ab") as file:
            file.write(b"\n\n")
        later, found = opened(tmp_path)
        later.append(b"two")
        later.close()

        assert found == [b"one"]
        assert [segment.lines for segment in later.files] == [3, 1]
        assert [segment.path.name for segment in later.files] == ["log-00000001.log", "log-00000002.log"]
        assert read(tmp_path) == [b"one", b"two"]

    def test_files_are_read_in_the_order_of_their_numbers(self, tmp_path: Path) -> None:
        """Not in that of their dates, nor is anything else in the folder taken for one of them."""
        for number in (10, 9, 2):
            (tmp_path / f"log-{number:08d}.log").write_bytes(line(b"%d" % number))
        for other in ("log-1.log", "log-00000001.log.new", "other-00000001.log", "log-0000000a.log"):
            (tmp_path / other).write_bytes(line(other.encode()))
        log, found = opened(tmp_path)
        log.append(b"more")

        assert found == [b"2", b"9", b"10"]
        assert log.current is not None
        assert log.current.path.name == "log-00000011.log"
        log.close()

    def test_nothing_is_written_after_the_end(self, log: Segments) -> None:
        """The folder may be another host's by then."""
        log.append(b"one")
        log.close()
        log.close()

        assert all(segment.descriptor is None for segment in log.files)
        with pytest.raises(DataFileError, match="the host has stopped"):
            log.append(b"two")


class TestDamage:
    def test_a_log_cut_at_any_byte_has_all_whole_records(self, tmp_path: Path, log: Segments) -> None:
        """And says that there is one that is not."""
        appended = [b"one", b"", b"three\x00\xff"]
        for record in appended:
            log.append(record)
        path = tmp_path / "log-00000001.log"
        whole = path.read_bytes()
        ends = [index for index, byte in enumerate(whole) if byte == ord("\n")]

        for size in range(len(whole) + 1):
            path.write_bytes(whole[:size])
            complete = sum(end <= size for end in ends)  # whole without its newline is whole
            begun = [0, *(end + 1 for end in ends)][complete] < size
            assert read(tmp_path) == appended[:complete] + [None] * begun, size

    def test_a_byte_that_has_changed_costs_its_own_record_alone(self, tmp_path: Path, log: Segments) -> None:
        """Wherever it is, the check included; a newline that is gone costs two."""
        for record in (b"one", b"two", b"six"):
            log.append(record)
        path = tmp_path / "log-00000001.log"
        whole = path.read_bytes()

        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            found = read(tmp_path)
            assert set(found) <= {b"one", b"two", b"six", None}, place
            assert len([record for record in found if record is not None]) >= (1 if whole[place] == 10 else 2), place
            assert None in found, place

    @given(st.lists(st.binary(max_size=30)))
    def test_no_bytes_in_a_file_stop_the_reader(
        self, tmp_path_factory: pytest.TempPathFactory, alien: list[bytes]
    ) -> None:
        """What is not ours is handed over as it is."""
        folder = tmp_path_factory.mktemp("log")
        content = b"\n".join(alien)
        (folder / "log-00000001.log").write_bytes(line(b"one") + content)
        log = Segments(folder, NAME, sync=False)
        lines = list(log.read())

        assert lines[0][2] == b"one"
        assert [line for _, line, _ in lines[1:]] == [line for line in content.split(b"\n") if line]
        assert all(record is None for _, _, record in lines[1:])

    def test_a_file_that_cannot_be_read_is_left_where_it_is(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """With what it holds; the others are read, and no new file takes its number."""
        (tmp_path / "log-00000001.log").write_bytes(line(b"one"))
        (tmp_path / "log-00000002.log").mkdir()
        with caplog.at_level(logging.ERROR):
            log, found = opened(tmp_path)
        log.append(b"three")
        log.close()

        assert found == [b"one"]
        assert "log-00000002.log" in caplog.text
        assert names(tmp_path) == ["log-00000001.log", "log-00000002.log", "log-00000003.log"]


class TestDisk:
    @pytest.mark.parametrize("size", range(1, 13))
    def test_a_record_of_which_a_part_was_written_is_taken_back(
        self, tmp_path: Path, log: Segments, disk: Disk, size: int
    ) -> None:
        """The error says so, and the next record stands where this one would have stood."""
        segment = log.append(b"one")
        disk.takes(size)
        with pytest.raises(DataFileError, match="only a part could be written; is the disk full"):
            log.append(b"two")
        disk.mend()
        assert segment.path.read_bytes() == line(b"one")
        assert (segment.size, segment.lines) == (13, 1)
        log.append(b"three")

        assert read(tmp_path) == [b"one", b"three"]

    def test_a_part_that_cannot_be_taken_back_costs_no_other_record(
        self, tmp_path: Path, log: Segments, disk: Disk
    ) -> None:
        """The next begins on a line of its own, however often it takes."""
        segment = log.append(b"one")
        for _ in range(2):
            disk.takes(6)
            disk.refuses("ftruncate")
            with pytest.raises(DataFileError, match="only a part"):
                log.append(b"two")
            disk.mend()
        assert segment.size == len(segment.path.read_bytes())
        log.append(b"three")
        log.append(b"four")

        assert [record for record in read(tmp_path) if record] == [b"one", b"three", b"four"]
        assert segment.size == len(segment.path.read_bytes())

    def test_a_part_that_cannot_be_taken_back_is_left_behind_with_its_file(self, log: Segments, disk: Disk) -> None:
        """The next file begins with a record."""
        disk.takes(6)
        disk.refuses("ftruncate")
        with pytest.raises(DataFileError, match="only a part"):
            log.append(b"one")
        disk.mend()
        log.begin()

        assert log.append(b"two").path.read_bytes() == line(b"two")

    def test_a_disk_that_takes_nothing_is_said(self, tmp_path: Path, log: Segments, disk: Disk) -> None:
        """With the folder and the system's word; nothing has changed."""
        segment = log.append(b"one")
        disk.refuses("write", errno.ENOSPC)
        with pytest.raises(DataFileError, match="cannot be written: No space left on device") as caught:
            log.append(b"two")

        assert caught.value.path == str(tmp_path)
        assert (segment.size, segment.lines) == (13, 1)

    def test_a_limit_of_the_system_is_told_as_a_full_disk_is(self, tmp_path: Path, log: Segments) -> None:
        """What fits by half is taken back, and once there is room it goes on."""
        segment = log.append(b"one")
        with file_limit(20):
            for _ in range(2):
                with pytest.raises(DataFileError, match="only a part"):
                    log.append(b"two")
        with file_limit(segment.size), pytest.raises(DataFileError, match="File too large"):
            log.append(b"two")
        log.append(b"three")

        assert read(tmp_path) == [b"one", b"three"]

    def test_a_file_that_cannot_be_begun_leaves_the_one_there_is(
        self, tmp_path: Path, log: Segments, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Once it can, records go on in the next."""
        monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
        first = log.append(b"one")
        (tmp_path / "log-00000002.log").mkdir()
        for _ in range(2):
            with pytest.raises(DataFileError, match="File exists"):
                log.append(b"two")
            assert log.current is first
        (tmp_path / "log-00000002.log").rmdir()

        assert log.append(b"two").path.name == "log-00000002.log"
        assert read(tmp_path) == [b"one", b"two"]

    def test_a_folder_whose_name_cannot_be_kept_begins_no_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither the file nor its descriptor is left behind, however often it is tried."""

        def fail(folder: Path) -> None:
            raise OSError(errno.EIO, "Input/output error")

        log, _ = opened(tmp_path, sync=True)
        monkeypatch.setattr(module, "sync_folder", fail)
        before = list(Path("/proc/self/fd").iterdir())
        for _ in range(5):
            with pytest.raises(DataFileError, match="Input/output error"):
                log.append(b"one")
        assert len(list(Path("/proc/self/fd").iterdir())) == len(before)
        assert names(tmp_path) == []
        monkeypatch.undo()
        log.append(b"one")
        log.close()

        assert read(tmp_path) == [b"one"]


class TestGone:
    def test_a_file_is_gone_when_its_name_is_no_longer_its_own(self, tmp_path: Path, log: Segments) -> None:
        """Deleted, or another in its place."""
        segment = log.append(b"one")
        assert not log.is_gone(segment)
        segment.path.unlink()
        assert log.is_gone(segment)
        segment.path.write_bytes(b"another")

        assert log.is_gone(segment)

    def test_an_older_file_is_gone_when_it_is_not_there(
        self, tmp_path: Path, log: Segments, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that is no longer written to is known by its name alone."""
        monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
        first = log.append(b"one")
        log.append(b"two")
        assert not log.is_gone(first)
        first.path.unlink()

        assert log.is_gone(first)


class TestDrop:
    def test_the_oldest_file_goes(self, tmp_path: Path, log: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also where somebody has deleted it already."""
        monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
        for record in (b"one", b"two", b"three"):
            log.append(record)
        log.drop_oldest()
        assert names(tmp_path) == ["log-00000002.log", "log-00000003.log"]
        (tmp_path / "log-00000002.log").unlink()
        log.drop_oldest()

        assert (len(log.files), read(tmp_path)) == (1, [b"three"])

    def test_one_that_cannot_be_deleted_stays_known(
        self, tmp_path: Path, log: Segments, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """To be tried again."""
        monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
        first = log.append(b"one")
        log.append(b"two")
        first.path.unlink()
        first.path.mkdir()
        with pytest.raises(OSError, match=r"directory|permitted"):
            log.drop_oldest()
        assert log.files[0] is first
        first.path.rmdir()
        log.drop_oldest()

        assert log.files[0] is not first

    def test_nothing_is_deleted_before_what_takes_its_place_is_on_the_disk(
        self, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where a power cut is to be survived; a disk that fails then keeps the old file."""
        monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
        log, _ = opened(tmp_path, sync=True)
        first = log.append(b"one")
        log.append(b"two")
        disk.refuses("fsync")
        with pytest.raises(OSError, match="Input/output"):
            log.drop_oldest()
        assert first.path.exists()
        assert log.files[0] is first
        disk.mend()
        disk.note_syncs()
        log.drop_oldest()

        assert not first.path.exists()
        assert "log-00000002.log" in disk.synced
        log.close()


class TestSync:
    def test_all_files_that_were_written_to_are_synced_once(
        self, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those that are full are then closed; the last stays open, and is synced each time."""
        monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
        log, _ = opened(tmp_path, sync=True)
        for record in (b"one", b"two", b"three"):
            log.append(record)
        disk.note_syncs()
        log.sync()
        assert disk.synced == ["log-00000001.log", "log-00000002.log", "log-00000003.log"]
        assert [segment.descriptor is None for segment in log.files] == [True, True, False]
        log.sync()

        assert disk.synced[3:] == ["log-00000003.log"]
        log.close()

    def test_a_new_file_has_its_name_on_the_disk_before_it_is_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else a power cut might leave records in a file that nobody finds; without ``sync`` nobody waits for it."""
        synced: list[list[str]] = []
        monkeypatch.setattr(module, "sync_folder", lambda folder: synced.append(names(folder)))
        log, _ = opened(tmp_path, sync=True)
        log.append(b"one")
        log.close()
        assert synced == [["log-00000001.log"]]
        log, _ = opened(tmp_path)
        log.append(b"two")
        log.close()

        assert len(synced) == 1

    def test_a_disk_that_fails_is_said_and_asked_again(self, tmp_path: Path, disk: Disk) -> None:
        """By the next who wants to know."""
        log, _ = opened(tmp_path, sync=True)
        log.append(b"one")
        disk.refuses("fsync")
        with pytest.raises(OSError, match="Input/output"):
            log.sync()
        disk.mend()
        disk.note_syncs()
        log.sync()

        assert disk.synced == ["log-00000001.log"]
        log.close()

    def test_the_end_waits_for_a_sync_that_runs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file is not closed under a thread that waits for the disk."""
        monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
        log, _ = opened(tmp_path, sync=True)
        log.append(b"one")
        log.append(b"two")
        begun, go_on, asked = threading.Event(), threading.Event(), threading.Event()
        faults: list[BaseException] = []
        real = os.fsync

        def fsync(descriptor: int) -> None:
            begun.set()
            go_on.wait(10)
            real(descriptor)

        def close() -> None:
            log._lock = AskedLock(log._lock, asked)  # type: ignore[assignment]
            log.close()
            asked.set()

        def sync() -> None:
            try:
                log.sync()
            except BaseException as exc:
                faults.append(exc)

        monkeypatch.setattr(module.os, "fsync", fsync)
        syncing = threading.Thread(target=sync)
        syncing.start()
        assert begun.wait(10)
        closing = threading.Thread(target=close)
        closing.start()
        assert asked.wait(10)
        go_on.set()
        syncing.join(10)
        closing.join(10)

        assert faults == []
        assert all(segment.descriptor is None for segment in log.files)
