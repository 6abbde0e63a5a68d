"""The records of a quarantine: one file each, read at start, and all of them as they are at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from aetherra.plugins.self_incorporation.gate.quarantined import Quarantined
from aetherra.plugins.self_incorporation.gate.whole import sync
from aetherra.plugins.storage import StateFile

__all__ = ["NAMED", "QuarantineRecords"]

NAMED: Final = 16
"""Characters of an item's digest that the name of what is kept begins with."""


class _Known(NamedTuple):
    """All records as they are at one moment; never changed, so that any thread may read them."""

    by_id: Mapping[str, Quarantined]
    by_digest: Mapping[str, tuple[Quarantined, ...]]

    @classmethod
    def of(cls, records: Iterable[Quarantined]) -> _Known:
        by_id = {record.id: record for record in records}
        by_digest: dict[str, tuple[Quarantined, ...]] = {}
        for record in by_id.values():
            for digest in filter(None, (record.digest, record.known_as)):
                by_digest[digest] = (*by_digest.get(digest, ()), record)
        return cls(by_id, by_digest)


class QuarantineRecords:
    """Owns the records in a folder. One thread at a time changes them; any may ask meanwhile, and never waits.

    Args:
        folder: Where they lie.

    Attributes:
        unreadable: What is wrong with each record that cannot be read, or is missing.

    Raises:
        OSError: The folder cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        found: dict[str, Quarantined] = {}
        lost = dict(_lost(folder, found))
        self._known = _Known.of(found.values())
        self._unknown = frozenset(id.partition("-")[0] for id in lost)  # noqa: A001 - what it is called
        self.unreadable: tuple[str, ...] = tuple(
            f"{problem}; what it is of is held back until the record is mended, or both are taken away by hand"
            for problem in lost.values()
        )

    def get(self, id: str) -> Quarantined | None:  # noqa: A002 - what it is called
        """Return the record of a name."""
        return self._known.by_id.get(id)

    def all(self) -> list[Quarantined]:
        """Return all of them, latest first."""
        return sorted(self._known.by_id.values(), key=lambda record: (-record.at, record.id))

    def of(self, digest: str) -> tuple[Quarantined, ...]:
        """Return those of an item, by its digest or by what it is known as."""
        return self._known.by_digest.get(digest, ())

    def may_be_lost(self, digest: str) -> bool:
        """Say whether a record that cannot be read may be of this item."""
        return digest[:NAMED] in self._unknown

    def save(self, record: Quarantined) -> Quarantined:
        """Keep a record, on disk when this returns it.

        Raises:
            DataFileError: It cannot be written; the one before is kept.
        """
        StateFile(self.place(record), Quarantined).save(record)
        self._known = _Known.of({**self._known.by_id, record.id: record}.values())
        return record

    def forget(self, record: Quarantined) -> None:
        """Remember nothing of it."""
        self.place(record).unlink(missing_ok=True)
        sync(self._folder)
        self._known = _Known.of(each for each in self._known.by_id.values() if each.id != record.id)

    def place(self, record: Quarantined) -> Path:
        """Return where a record is written."""
        return self._folder / f"{record.id}.json"


def _lost(folder: Path, found: dict[str, Quarantined]) -> Iterable[tuple[str, str]]:
    """Read the records in a folder into ``found``, and yield what is wrong with the others, by their names."""
    decoder = msgspec.json.Decoder(Quarantined)
    lost: dict[str, str] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            record = decoder.decode(file.read_bytes())
        except (OSError, ValueError, RecursionError) as exc:
            lost[file.stem] = f"the record {str(file)!r} cannot be read: {exc}"
        else:
            if record.id == file.stem:
                found[record.id] = record
            else:
                lost[file.stem] = f"{str(file)!r} is the record of another"
    for file in sorted([*folder.glob("*.json.corrupt-*"), *folder.glob("*.quarantined")]):
        id = file.name.partition(".")[0]  # noqa: A001 - what it is called
        if id not in found:
            lost.setdefault(id, f"{str(file)!r} is kept without a record")
    return lost.items()
