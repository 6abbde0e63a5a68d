"""The data directory: one holder at a time, and lines that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel import DataFileError, HostRunningError, datadir
from aetherra.kernel.datadir import AppendFile, DataDir

HOLDER = """
import sys
from pathlib import Path
from aetherra.kernel.datadir import DataDir
DataDir(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds the folder ``state``."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "state")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


class TestDataDir:
    def test_it_is_made_for_this_user_alone_and_kept_out_of_git(self, tmp_path: Path) -> None:
        """Mode 0700, and a .gitignore that hides all of it."""
        data_dir = DataDir(tmp_path / "a" / "state").acquire()

        assert data_dir.path.stat().st_mode & 0o777 == 0o700
        assert (data_dir.path / ".gitignore").read_text() == "*\n"
        assert (data_dir.path / "host.lock").read_text() == str(os.getpid())
        data_dir.release()

    def test_a_gitignore_of_the_users_own_stays(self, tmp_path: Path) -> None:
        """What is there already is not overwritten."""
        (tmp_path / ".gitignore").write_text("mine\n")
        data_dir = DataDir(tmp_path).acquire()
        data_dir.release()

        assert (tmp_path / ".gitignore").read_text() == "mine\n"

    def test_a_second_holder_is_refused_and_told_who_holds_it(
        self, tmp_path: Path, holder: subprocess.Popen[str]
    ) -> None:
        """Two hosts never write the same files; the error names the other's process id and the remedy."""
        with pytest.raises(HostRunningError, match=f"process {holder.pid} already runs a host") as caught:
            DataDir(tmp_path / "state").acquire()

        assert caught.value.pid == holder.pid

    def test_a_second_holder_in_the_same_process_is_refused_until_the_first_lets_go(self, tmp_path: Path) -> None:
        """Two kernels in one process are two hosts."""
        first = DataDir(tmp_path).acquire()
        with pytest.raises(HostRunningError):
            DataDir(tmp_path).acquire()
        first.release()
        first.release()

        DataDir(tmp_path).acquire().release()

    def test_what_a_killed_holder_leaves_is_taken_over(self, tmp_path: Path, holder: subprocess.Popen[str]) -> None:
        """The lock ends with the process; nobody has to clean up after ``kill -9``."""
        holder.send_signal(signal.SIGKILL)
        holder.wait()

        data_dir = DataDir(tmp_path / "state").acquire()

        assert (data_dir.path / "host.lock").read_text() == str(os.getpid())
        data_dir.release()

    def test_a_path_that_cannot_be_a_folder_is_named(self, tmp_path: Path) -> None:
        """A file in the way, or above: which path, and what the system says."""
        (tmp_path / "file").write_text("")
        for path in (tmp_path / "file", tmp_path / "file" / "state", Path("/proc/state")):
            with pytest.raises(DataFileError, match=f"{path}: cannot keep state here: "):
                DataDir(path).acquire()

    def test_a_lock_that_the_file_system_cannot_give_is_not_taken_for_another_host(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only a lock that somebody holds means that a host is running."""

        def no_locks(descriptor: int, operation: int) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(datadir.fcntl, "flock", no_locks)
        with pytest.raises(DataFileError, match="No locks available"):
            DataDir(tmp_path).acquire()

        monkeypatch.undo()
        DataDir(tmp_path).acquire().release()


@pytest.fixture
def file(tmp_path: Path):
    file = AppendFile(tmp_path / "lines.jsonl")
    yield file
    file.close()


class FakeDisk:
    """Takes ``room`` bytes and then is full, as ``os.write`` tells it: short at first, then an error."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self.write(descriptor, data[: self.room])
        self.room -= taken
        return taken


class TestAppendFile:
    def test_lines_come_back_in_order_byte_for_byte(self, file: AppendFile) -> None:
        """Also empty ones, and ones with a carriage return or bytes that are no text."""
        lines = [b"one", b"", b"two\r", b"\x85\xff\x0c", b"three"]
        for line in lines:
            file.append(line)

        assert file.lines() == lines
        assert file.path.stat().st_mode & 0o777 == 0o600

    def test_there_are_no_lines_before_the_first_append(self, file: AppendFile) -> None:
        """A file that is not there yet is empty."""
        assert file.lines() == []

    def test_a_torn_last_line_does_not_spoil_the_next(self, file: AppendFile) -> None:
        """After a crash in the middle of a line the next one begins on a line of its own."""
        file.path.write_bytes(b'{"a": 1}\n{"b"')
        file.append(b'{"c": 3}')
        file.append(b'{"d": 4}')

        assert file.lines() == [b'{"a": 1}', b'{"b"', b'{"c": 3}', b'{"d": 4}']

    @given(room=st.integers(0, 40), lines=st.lists(st.binary(max_size=9).filter(lambda b: b"\n" not in b)))
    def test_a_line_is_there_exactly_if_append_said_so(
        self, tmp_path_factory: pytest.TempPathFactory, room: int, lines: list[bytes]
    ) -> None:
        """On a disk that fills up, a refused line leaves no trace, and lines go on once there is room again."""
        file = AppendFile(tmp_path_factory.mktemp("disk") / "lines")
        kept: list[bytes] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "write", FakeDisk(room))
            for line in lines:
                with suppress(DataFileError):
                    file.append(line)
                    kept.append(line)
        file.append(b"after")

        assert file.lines() == [*kept, b"after"]
        file.close()

    def test_a_torn_line_that_cannot_be_taken_back_is_ended_before_the_next(
        self, file: AppendFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where not even truncating works, the fragment stays on a line of its own."""

        def refuse(descriptor: int, size: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "write", FakeDisk(3))
        monkeypatch.setattr(os, "ftruncate", refuse)
        with pytest.raises(DataFileError, match="only a part"):
            file.append(b"fragment")
        monkeypatch.undo()
        file.append(b"next")

        assert file.lines() == [b"fra", b"next"]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
    def test_a_full_disk_is_told_as_such(self) -> None:
        """The error names the file and says what the system said."""
        file = AppendFile(Path("/dev/full"))
        with pytest.raises(DataFileError, match="/dev/full: cannot write: No space left on device"):
            file.append(b"line")
        file.close()

    def test_a_line_that_the_disk_did_not_take_is_taken_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With ``sync`` a failed flush means that the line is not in the file."""

        def broken(descriptor: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        file = AppendFile(tmp_path / "lines", sync=True)
        file.append(b"kept")
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(DataFileError, match="cannot write"):
            file.append(b"lost")
        monkeypatch.undo()

        assert file.lines() == [b"kept"]
        file.close()

    def test_each_synced_line_is_flushed_and_others_are_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``power`` waits for the disk once a line; ``process`` never does."""
        flushed: list[int] = []
        monkeypatch.setattr(os, "fsync", flushed.append)
        for sync, expected in ((False, 0), (True, 2)):
            file = AppendFile(tmp_path / f"lines-{sync}", sync=sync)
            file.append(b"first")  # makes the file, and so flushes its folder, too
            flushed.clear()
            file.append(b"second")
            file.append(b"third")
            assert len(flushed) == expected
            file.close()

    def test_a_file_that_was_deleted_is_made_again(self, file: AppendFile) -> None:
        """Somebody who removes the file while the host runs loses the old lines, not the new ones."""
        file.append(b"old")
        file.path.unlink()
        file.append(b"new")

        assert file.lines() == [b"new"]

    def test_replace_puts_the_new_lines_and_appends_go_on_after_them(self, file: AppendFile) -> None:
        """Whoever appends later appends to the new content."""
        for line in (b"a", b"b", b"c"):
            file.append(line)
        file.replace([b"b"])
        file.append(b"d")

        assert file.lines() == [b"b", b"d"]
        assert file.path.stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_crash_while_replacing_leaves_the_old_content(
        self, file: AppendFile, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        """Until the last step the old file stands, whole."""

        def crash(*_: object) -> None:
            raise OSError(errno.EIO, "the machine stopped")

        file.append(b"old")
        monkeypatch.setattr(os, step, crash)
        with pytest.raises(DataFileError, match="the machine stopped"):
            file.replace([b"new"])
        monkeypatch.undo()
        file.append(b"more")

        assert file.lines() == [b"old", b"more"]

    def test_a_file_that_cannot_be_read_or_written_is_named(self, tmp_path: Path) -> None:
        """A folder in the file's place: every way to use it ends in one error type."""
        file = AppendFile(tmp_path)
        for use in (lambda: file.append(b"x"), file.lines, lambda: file.replace([b"x"])):
            with pytest.raises(DataFileError, match=str(tmp_path)):
                use()
