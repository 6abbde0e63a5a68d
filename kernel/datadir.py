"""The data directory: who holds it, and how its files are written."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, Self

from aetherra.kernel.errors import DataFileError, HostRunningError

SOCKET_NAME = "control.sock"
LOCK_NAME = "host.lock"


class DataDir:
    """A host's own folder, locked while it runs.

    The lock is the operating system's and ends with the process, however that ends; what a killed host
    leaves is taken over without a question.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = path / SOCKET_NAME
        self._lock: IO[str] | None = None

    def acquire(self) -> Self:
        """Create the folder if need be, for this user alone, and hold it.

        Raises:
            HostRunningError: Another process holds it; says which.
            DataFileError: It cannot be created or written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            ignore = self.path / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")
            lock = (self.path / LOCK_NAME).open("a+", encoding="utf-8")
        except OSError as exc:
            raise DataFileError(str(self.path), f"cannot keep state here: {exc.strerror or exc}") from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise HostRunningError(str(self.path), int(holder) if holder.isdigit() else 0) from exc
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock
        return self

    def release(self) -> None:
        """Let another host have it; twice does no harm."""
        if self._lock is not None:
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None


class AppendFile:
    """A file that lines are appended to, each in one write, so that a crash tears at most the last.

    Args:
        path: The file; it is created for this user alone.
        sync: Whether each append waits until the disk has it (``fsync``), to survive a power cut.
    """

    def __init__(self, path: Path, *, sync: bool = False) -> None:
        self.path = path
        self._sync = sync
        self._descriptor: int | None = None
        self._torn = False

    def append(self, line: bytes) -> None:
        """Write a line; its newline is added, and one before it if an earlier write was torn.

        Raises:
            DataFileError: The disk is full, the file is read-only, ...; nothing may be assumed written.
        """
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
                size = os.fstat(self._descriptor).st_size
                self._torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"
            data = (b"\n" if self._torn else b"") + line + b"\n"
            self._torn = os.write(self._descriptor, data) != len(data)
            if self._torn:
                raise DataFileError(str(self.path), "only a part of a line could be written")
            if self._sync:
                os.fsync(self._descriptor)
        except OSError as exc:
            if isinstance(exc, DataFileError):
                raise
            raise DataFileError(str(self.path), f"cannot write: {exc.strerror or exc}") from exc

    def replace(self, lines: list[bytes]) -> None:
        """Put these lines in the file's place in one step: readers see the old content or the new.

        Raises:
            DataFileError: It cannot be written; the old content stands.
        """
        self.close()
        beside = self.path.with_name(self.path.name + ".new")
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.writelines(line + b"\n" for line in lines)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError as exc:
            raise DataFileError(str(self.path), f"cannot write: {exc.strerror or exc}") from exc

    def lines(self) -> list[bytes]:
        """Return the lines that are there, without newlines; none if there is no file yet."""
        try:
            return self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise DataFileError(str(self.path), f"cannot read: {exc.strerror or exc}") from exc

    def close(self) -> None:
        """Close the file; the next append opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
