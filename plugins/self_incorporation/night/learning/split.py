"""Which evidence is learnt from, and which is held back to try on what was learnt: never both."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["is_held_back", "split_by_time"]

T = TypeVar("T")
_WHOLE = 2**64


def is_held_back(key: str, share: float) -> bool:
    """Say whether evidence about this is held back: the same every night, so that nothing is ever learnt from it."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8]) < share * _WHOLE


def split_by_time(records: Sequence[T], share: float) -> tuple[Sequence[T], Sequence[T]]:
    """Return the earlier records, to learn from, and the later ones, which are held back."""
    held = round(len(records) * share)
    return records[: len(records) - held], records[len(records) - held :]
