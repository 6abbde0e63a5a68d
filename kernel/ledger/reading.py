"""Reading entries from the files of a ledger, while a host may add to them; lines that are none are left out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from aetherra.kernel.errors import DataFileError
from aetherra.kernel.ledger.entry import Entry, read_line
from aetherra.kernel.ledger.segments import Segment, lines_of, segments_of


def newest_first(folder: Path, since: float = -math.inf) -> Iterator[Entry]:
    """Yield what is kept, the last one first; of what is older than a moment nothing.

    A clock may have been set back: it goes on to the first file of which all is older.

    Raises:
        DataFileError: A file cannot be read.
    """
    for segment in reversed(segments_of(folder)):
        is_older = since > -math.inf
        for line in reversed(_lines_of(segment)):
            entry = read_line(line)
            if isinstance(entry, Entry) and entry.at >= since:
                is_older = False
                yield entry
        if is_older:
            return


def oldest_first(folder: Path, since: int = 0) -> Iterator[Entry]:
    """Yield what is kept from a number on.

    Raises:
        DataFileError: A file cannot be read.
    """
    segments = segments_of(folder)
    for i, segment in enumerate(segments):
        if i + 1 < len(segments) and segments[i + 1].first <= since:
            continue
        for line in _lines_of(segment):
            entry = read_line(line)
            if isinstance(entry, Entry) and entry.sequence >= since:
                yield entry


def entry_at(folder: Path, sequence: int) -> Entry | None:
    """Return one entry; ``None`` if it is not there.

    Raises:
        DataFileError: A file cannot be read.
    """
    return next((entry for entry in oldest_first(folder, sequence) if entry.sequence == sequence), None)


def _lines_of(segment: Segment) -> list[bytes]:
    try:
        return [line.data for line in lines_of(segment.path) if line.whole]
    except FileNotFoundError:  # it may leave meanwhile
        return []
    except OSError as exc:
        raise DataFileError(str(segment.path), f"cannot read: {exc.strerror or exc}") from exc
