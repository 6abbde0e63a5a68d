"""A database in use: owns its connections and their locks, and what is done when the file goes wrong meanwhile."""

import os
import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from aetherra.kernel.storage.clean_stop import mark_clean_stop
from aetherra.kernel.storage.sqlite_file import NAMELESS, Schema, connected, open_sqlite
from aetherra.registry import AetherraError

__all__ = ["Database", "DatabaseUnusableError", "silent", "size_of"]

_READ_CACHE_KIB = 16_384  # a day of 200 metrics a minute; as much is taken as was read
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class DatabaseUnusableError(AetherraError, sqlite3.OperationalError):
    """A database could not do what was asked: nothing of it was stored; ``__cause__`` says more."""

    def __init__(self, kind: str, path: str, doing: str, reason: str) -> None:
        super().__init__(kind, path, doing, reason)
        self.kind, self.path, self.doing, self.reason = kind, path, doing, reason

    def again(self) -> Self:
        """Return the same error, to be raised to somebody else, too."""
        other = type(self)(self.kind, self.path, self.doing, self.reason)
        other.__cause__ = self.__cause__
        return other

    def __str__(self) -> str:
        return f"the {self.kind} at {self.path} could not be {self.doing}: {self.reason}"


def silent(_: str) -> None:
    """Tell nobody."""


class Database:
    """A SQLite database that any number of threads may use at once.

    Writers wait for each other. A file is read through a connection of its own: readers see the last commit and wait
    for no writer. In memory there is one connection, so that readers wait for a transaction to end.

    A file that is deleted while it is open is written anew with all that it held, at the next transaction that writes;
    one that somebody replaced is opened instead. Damage that is met while it is open, text that is none included, has
    the whole file checked, and moved aside as at opening: the call that meets it raises, the next one has a new
    database. ``tell`` is told of each, from whichever thread.

    Attributes:
        set_aside: Where the last damaged file went, or None.
        reason: What was wrong with it, or an empty string.

    Raises:
        DatabaseUnusableError: It cannot be opened for a reason other than damage: rights, space, a lock.
    """

    def __init__(self, path: Path | str, schema: Schema, tell: Callable[[str], None] = silent) -> None:
        self.set_aside: Path | None = None
        self.reason = ""
        self._path = path if path in NAMELESS else Path(path)
        self._schema = schema
        self._tell = tell
        self._closed = self._broken = False
        self._write_lock = threading.RLock()
        self._read_lock = self._write_lock if path in NAMELESS else threading.RLock()
        with self._explained("opened"):
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait for who reads or writes, fold the log into the file, close it and mark it as left by a clean stop.

        Closing twice is fine, any other call then raises.
        """
        with self._write_lock, self._read_lock:
            ours = not self._closed and not self._broken and self._identities()[0] == self._files[0]
            self._closed = True
            self._reader.close()
            self._writer.close()
            if ours and isinstance(self._path, Path):
                mark_clean_stop(self._path)

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection, None, None]:
        """Give a transaction: committed at the end, rolled back on an error.

        Raises:
            DatabaseUnusableError: It cannot be written, or is damaged.
            sqlite3.ProgrammingError: It is closed.
        """
        with self._explained("written"), self._write_lock:
            if not self._closed:
                self._look_after_file()
            self._writer.execute("BEGIN IMMEDIATE")
            with self._writer:
                yield self._writer

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Give a view of the last commit that no writer changes.

        Raises:
            DatabaseUnusableError: It cannot be read, or is damaged.
            sqlite3.ProgrammingError: It is closed.
        """
        with self._explained("read"):
            if self._broken and not self._closed:
                with self._write_lock:
                    self._mend()
            with self._read_lock:
                self._reader.execute("BEGIN")
                with self._reader:
                    yield self._reader

    @contextmanager
    def _explained(self, doing: str) -> Generator[None, None, None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError, OSError) as error:
            if self._closed or isinstance(error, DatabaseUnusableError):
                raise
            reason = str(error)
            damage = isinstance(error, UnicodeDecodeError) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE
            if damage and doing != "opened":
                reason = f"{reason}; {self._begun_anew()}"
            raise DatabaseUnusableError(self._schema.kind, str(self._path), doing, reason) from error

    def _open(self) -> None:
        opened = open_sqlite(self._path, self._schema)
        self._writer = self._reader = opened.db
        if opened.set_aside is not None:
            self.set_aside, self.reason = opened.set_aside, opened.reason
        if isinstance(self._path, Path):
            self._reader = connected(self._path)
            self._reader.execute("PRAGMA query_only = 1")
            self._reader.execute(f"PRAGMA cache_size = -{_READ_CACHE_KIB}")
        self._files = self._identities()

    def _identities(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return _identity(str(self._path)), _identity(f"{self._path}-wal")

    def _look_after_file(self) -> None:
        """Put right that the file, or its log, is no longer the one that was opened."""
        self._mend()
        if isinstance(self._path, str) or (now := self._identities()) == self._files:
            return
        if now[0] == (0, 0):
            said = "was deleted while in use; it was written anew with all that it held"
            copy = self._path.with_name(f"{self._path.name}.copy")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.unlink(missing_ok=True)
            self._writer.execute("VACUUM INTO ?", (str(copy),))
            self._reopen(copy)
        elif now[0] == self._files[0]:
            said = "lost its log while in use; what that held was put into the file"
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._reopen()
        else:
            said = "was replaced while in use; what stands there now was opened"
            self._reopen()
        self._tell(f"the {self._schema.kind} at {self._path} {said}")

    def _reopen(self, copy: Path | None = None) -> None:
        with self._read_lock:
            self._broken = True
            self._reader.close()
            self._writer.close()
            if copy is not None:
                for log in ("-wal", "-shm"):  # of the file that is gone, and not of the copy
                    copy.with_name(f"{Path(self._path).name}{log}").unlink(missing_ok=True)
                copy.replace(self._path)
            self._open()
            self._broken = False

    def _mend(self) -> None:
        """Open the file again if that went wrong the last time."""
        if self._broken:
            before = self.set_aside
            self._reopen()
            self._say_what_was_done(before)

    def _begun_anew(self) -> str:
        """Check the file that seems damaged, move it aside if it is, and say what was done, or why nothing was."""
        if isinstance(self._path, str):
            return "it is in memory and lost"
        before = self.set_aside
        try:
            with self._write_lock:
                self._reopen()
        except (sqlite3.Error, OSError) as error:  # it is tried again by the next call
            return f"it could not be opened again: {error}"
        return self._say_what_was_done(before)

    def _say_what_was_done(self, before: Path | None) -> str:
        if self.set_aside == before:
            return "it was opened again and found sound"
        said = f"it was moved to {self.set_aside} and a new one begun"
        self._tell(f"the {self._schema.kind} at {self._path} was damaged while in use ({self.reason}); {said}")
        return said


def size_of(db: sqlite3.Connection) -> tuple[int, int]:
    """Return the bytes of a database without its log, and those of them that are free for what comes."""
    pages, free, size = (
        int(db.execute(f"PRAGMA {pragma}").fetchone()[0]) for pragma in ("page_count", "freelist_count", "page_size")
    )
    return pages * size, free * size


def _identity(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116  # before each transaction, and three times as fast
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino
