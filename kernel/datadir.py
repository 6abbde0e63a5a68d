"""The data directory: who holds it, and how its files are written."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

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
        self._lock: int | None = None

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
            self._lock = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, str(os.getpid()).encode(), 0)
        except BlockingIOError as exc:
            holder = os.pread(self._lock, 20, 0) if self._lock is not None else b""
            self._close()
            raise HostRunningError(str(self.path), int(holder) if holder.isdigit() else 0) from exc
        except OSError as exc:
            self._close()
            raise DataFileError(str(self.path), f"cannot keep state here: {exc.strerror or exc}") from exc
        return self

    def release(self) -> None:
        """Let another host have it; twice does no harm."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            self._close()

    def _close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class AppendFile:
    """A file that lines are appended to: each is there whole or not at all, and a crash tears at most the last.

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
            DataFileError: The disk is full, the file is read-only, ...; the line is not in the file.
        """
        try:
            descriptor = self._open()
            data = (b"\n" if self._torn else b"") + line + b"\n"
            written = os.write(descriptor, data)
            if written < len(data):
                self._take_back(descriptor, written)
                raise DataFileError(str(self.path), "only a part of a line could be written; is the disk full?")
            if self._sync:
                self._flush(descriptor, written)
            self._torn = False
        except DataFileError:
            raise
        except OSError as exc:
            raise DataFileError(str(self.path), f"cannot write: {exc.strerror or exc}") from exc

    def _open(self) -> int:
        if self._descriptor is not None and not os.fstat(self._descriptor).st_nlink:
            self.close()  # somebody deleted the file: what is written there would be lost
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o600)
            size = os.fstat(self._descriptor).st_size
            self._torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"
            if self._sync:
                sync_folder(self.path.parent)
        return self._descriptor

    def _flush(self, descriptor: int, written: int) -> None:
        try:
            os.fsync(descriptor)
        except OSError:
            self._take_back(descriptor, written)
            raise

    def _take_back(self, descriptor: int, written: int) -> None:
        try:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        except OSError:
            self._torn = True

    def replace(self, lines: list[bytes]) -> None:
        """Put these lines in the file's place in one step: readers see the old content or the new.

        Raises:
            DataFileError: It cannot be written; the old content stands.
        """
        self.close()
        replace_file(self.path, (line + b"\n" for line in lines))

    def lines(self) -> list[bytes]:
        """Return the lines that are there, without newlines, byte for byte; none if there is no file yet.

        Raises:
            DataFileError: It cannot be read.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise DataFileError(str(self.path), f"cannot read: {exc.strerror or exc}") from exc
        return lines if lines[-1] else lines[:-1]

    def close(self) -> None:
        """Close the file; the next append opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def replace_file(path: Path, parts: Iterable[bytes]) -> None:
    """Put a file of these parts in a place, in one step and for this user alone; once this returns, the disk has it.

    Raises:
        DataFileError: It cannot be written; the old content stands.
    """
    beside = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as exc:
        raise DataFileError(str(path), f"cannot write: {exc.strerror or exc}") from exc


def sync_folder(folder: Path) -> None:
    """Make a new or renamed file survive a power cut: its name is the folder's content."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
