"""What a night reads: the files of one root as the index holds them, their bytes, items, and decisions about them."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from aetherra.plugins.self_incorporation.gate.decision import Decision
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.index.rows import FileRecord

__all__ = ["Library"]


class Library(Protocol):
    """Lent to the night by whoever has the index; asked in a worker thread, by one at a time.

    An `OSError` or `AetherraError` that it raises ends the night, which is told; the next one begins anew.
    """

    @property
    def root(self) -> str:
        """The root's name in the index."""
        ...

    def revision(self) -> str:
        """Return what is another text once anything in the root is other than it was."""
        ...

    def files(self, *, after: str, limit: int) -> Sequence[FileRecord]:
        """Return the records of files in the order of the index, of those behind ``after``, at most ``limit``."""
        ...

    def read(self, path: str, *, limit: int) -> bytes | None:
        """Return the bytes of a file; None if it cannot be read, is no regular file, or has more than ``limit``."""
        ...

    def items(self) -> Iterable[Item]:
        """Return all items, assembled one at a time."""
        ...

    def decisions(self) -> Iterable[Decision]:
        """Return the latest decision about each item."""
        ...
