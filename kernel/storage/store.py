"""A store: what is kept in one database, and is opened, looked after and closed with it."""

from pathlib import Path
from types import TracebackType
from typing import Self

from aetherra.kernel.storage.database import Database

__all__ = ["Store"]


class Store:
    """Owns a database; what is in it is a subclass's to know.

    Args:
        database: Closed with the store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def set_aside(self) -> Path | None:
        """Where the last damaged file went, or None."""
        return self._database.set_aside

    @property
    def set_aside_reason(self) -> str:
        """What was wrong with it, or an empty string."""
        return self._database.reason

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Fold the log into the file, close and mark it; closing twice is fine, any other call then raises."""
        self._database.close()
