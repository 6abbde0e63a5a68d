"""A lock between processes and threads: one holder at a time, and none that is dead."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aetherra.kernel import DataFileError
from aetherra.kernel.filelock import FileLock

HOLDER = """
import sys
from pathlib import Path
from aetherra.kernel.filelock import FileLock
FileLock(Path(sys.argv[1])).acquire(1.0)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path: Path):
    lock = FileLock(tmp_path / "lock")
    yield lock
    lock.close()


@pytest.fixture
def holder(lock: FileLock):
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLDER, str(lock.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


class TestFileLock:
    def test_it_is_held_by_one_at_a_time(self, lock: FileLock) -> None:
        """Neither a second asker nor a second object gets it before it is let go."""
        other = FileLock(lock.path)
        assert lock.try_acquire()
        assert not lock.try_acquire()
        assert not other.try_acquire()
        lock.release()
        assert other.try_acquire()
        assert not lock.try_acquire()
        other.release()
        other.close()

    def test_it_is_the_other_process_that_has_it(self, lock: FileLock, holder: subprocess.Popen[str]) -> None:
        """Who cannot wait goes on at once; who waits is told in the end, with the file's name."""
        assert not lock.try_acquire()
        with pytest.raises(DataFileError, match=f"{lock.path}: was held by somebody else for 0.01 s"):
            lock.acquire(0.01)

        holder.send_signal(signal.SIGKILL)
        holder.wait()
        lock.acquire(20.0)
        lock.release()

    def test_a_waiter_gets_it_when_it_is_let_go(self, lock: FileLock) -> None:
        """Also between threads of one process."""
        got = threading.Event()

        def wait() -> None:
            with lock.held(20.0):
                got.set()

        with lock.held(0.0):
            thread = threading.Thread(target=wait)
            thread.start()
            assert not got.is_set()
        thread.join()

        assert got.is_set()
        assert lock.try_acquire()
        lock.release()

    def test_a_body_that_raises_lets_it_go(self, lock: FileLock) -> None:
        """Whatever happens while it is held."""
        with pytest.raises(KeyError), lock.held(0.0):
            raise KeyError
        assert FileLock(lock.path).try_acquire()

    @pytest.mark.parametrize("how", ["deleted", "replaced"])
    def test_a_lock_file_that_is_taken_away_is_made_anew(self, lock: FileLock, how: str) -> None:
        """Two who ask later ask for the same file."""
        assert lock.try_acquire()
        lock.release()
        lock.path.unlink()
        if how == "replaced":
            lock.path.touch()
        other = FileLock(lock.path)
        assert lock.try_acquire()
        assert not other.try_acquire()
        lock.release()
        other.close()

    def test_who_held_a_file_that_is_gone_is_not_waited_for(self, lock: FileLock) -> None:
        """Its name is what counts."""
        old = FileLock(lock.path)
        assert not (lock.try_acquire() and old.try_acquire())
        lock.path.unlink()
        assert old.try_acquire()
        old.release()
        old.close()
        lock.release()

    def test_it_is_closed_only_while_nobody_holds_it(self, lock: FileLock) -> None:
        """Closing a held lock would let it go."""
        with lock.held(0.0):
            lock.close()
            assert not FileLock(lock.path).try_acquire()
        lock.close()
        assert lock.try_acquire()
        lock.release()

    def test_a_file_that_cannot_be_made_is_named_and_tried_again(self, tmp_path: Path) -> None:
        """The error says which; once the way is clear the lock can be had."""
        lock = FileLock(tmp_path / "no" / "lock")
        for _ in range(2):
            with pytest.raises(DataFileError, match="lock: cannot be locked: No such file or directory"):
                lock.try_acquire()
        lock.path.parent.mkdir()
        assert lock.try_acquire()
        lock.release()
        lock.close()

    def test_a_file_system_without_locks_is_no_holder(self, lock: FileLock, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only a lock that somebody holds is waited for."""

        def no_locks(descriptor: int, operation: int) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "flock", no_locks)
        with pytest.raises(DataFileError, match="No locks available"):
            lock.acquire(20.0)

        monkeypatch.undo()
        assert lock.try_acquire()
        lock.release()
