"""A lock between processes: what several may change, one changes at a time."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from aetherra.kernel.errors import DataFileError

POLL = 0.002
"""Seconds between two looks at a lock that somebody else holds."""


class FileLock:
    """Mutual exclusion by an ``flock`` on a file of its own, between the threads of this process as well.

    The lock is the operating system's and ends with its holder, however that ends. A lock file that somebody deletes or
    replaces is made anew, and whoever held the old one is not waited for.

    Args:
        path: The lock file; it is created, empty and for this user alone, when the lock is first asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._path = str(path)
        self._threads = threading.Lock()
        self._descriptor: int | None = None

    def try_acquire(self, timeout: float = 0.0) -> bool:
        """Take the lock, waiting in this thread for at most ``timeout`` seconds, and say whether that went.

        Raises:
            DataFileError: The file cannot be made, or its file system has no locks.
        """
        end = time.monotonic() + timeout if timeout else 0.0
        while not (self._threads.acquire(blocking=False) and self._taken_or_let_go()):
            if not timeout or time.monotonic() >= end:
                return False
            time.sleep(POLL)
        return True

    def acquire(self, timeout: float) -> None:
        """Take the lock, waiting in this thread for at most ``timeout`` seconds.

        Raises:
            DataFileError: It was held all the time, the file cannot be made, or its file system has no locks.
        """
        if not self.try_acquire(timeout):
            raise DataFileError(str(self.path), f"was held by somebody else for {timeout:g} s; try again")

    def release(self) -> None:
        """Let go of a lock that is held."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._threads.release()

    @contextmanager
    def held(self, timeout: float) -> Generator[None]:
        """Hold the lock while the body runs; see ``acquire``."""
        self.acquire(timeout)
        try:
            yield
        finally:
            self.release()

    def close(self) -> None:
        """Close the file, if nobody here holds the lock; the next who asks opens it again."""
        if self._threads.acquire(blocking=False):
            self._close()
            self._threads.release()

    def _taken_or_let_go(self) -> bool:
        taken = False
        try:
            taken = self._flock()
        except OSError as exc:
            raise DataFileError(str(self.path), f"cannot be locked: {exc.strerror or exc}") from exc
        finally:
            if not taken:
                self._threads.release()
        return taken

    def _flock(self) -> bool:
        while True:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                taken = True
            except BlockingIOError:
                taken = False
            if self._is_in_place(self._descriptor):
                return taken
            self._close()

    def _is_in_place(self, descriptor: int) -> bool:
        try:
            there = os.stat(self._path)  # noqa: PTH116  # a text is taken more quickly, and this is done for each look
        except FileNotFoundError:
            return False
        told = os.fstat(descriptor)
        return there.st_ino == told.st_ino and there.st_dev == told.st_dev

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
