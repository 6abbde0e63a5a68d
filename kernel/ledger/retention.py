"""Which files of a ledger leave: the oldest, once there is too much or they are too old."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from aetherra.kernel.ledger.segments import Segment
from aetherra.kernel.ledger.settings import LedgerSettings


class Kept(NamedTuple):
    """A file of the ledger.

    Attributes:
        segment: Which one.
        size: How many bytes it has.
        begun_at: When its first entry was written.
        before: The hash of the entry before that one.
    """

    segment: Segment
    size: int
    begun_at: float
    before: str


def leaving(files: Sequence[Kept], settings: LedgerSettings, now: float) -> int:
    """Return how many files leave, from the oldest on, when another one is about to begin; the newest of them stays.

    Room is made for the one that begins. A file is as old as its last entry, which is no newer than the next file. Each
    file behind it makes it older by its own time, and by no more than one file is written for: a clock that jumps ahead
    drops nothing that way, and what was not written while a host was off is kept for as much longer.
    """
    most = max(0, settings.max_bytes - settings.segment_bytes)
    begins = [*(file.begun_at for file in files[1:]), now]
    spans = [min(max(0.0, end - begin), settings.segment_age) for begin, end in itertools.pairwise(begins)]
    total, age = sum(file.size for file in files), sum(spans)
    count = 0
    for file, span in zip(files, spans, strict=False):
        if total <= most and age <= settings.max_age:
            break
        total -= file.size
        age -= span
        count += 1
    return count
