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

    Room is made for the one that begins. A file is as old as its last entry, which is no newer than the next file.
    """
    most = max(0, settings.max_bytes - settings.segment_bytes)
    total = sum(file.size for file in files)
    count = 0
    for file, following in itertools.pairwise(files):
        if total <= most and now - following.begun_at <= settings.max_age:
            break
        total -= file.size
        count += 1
    return count
