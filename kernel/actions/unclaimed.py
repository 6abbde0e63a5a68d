"""The unclaimed: actions of an earlier run that nobody answers yet."""

from __future__ import annotations

from collections.abc import Iterator

from aetherra.kernel.actions.keys import Key
from aetherra.kernel.actions.records import Accepted

Claim = tuple[Accepted, int]
"""What was accepted, and how many attempts were begun."""


class Unclaimed:
    """Records by trace id, in the order of acceptance, and by idempotency key."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self._by_key: dict[Key, str] = {}

    def __len__(self) -> int:
        return len(self._claims)

    def __iter__(self) -> Iterator[Claim]:
        return iter(list(self._claims.values()))

    def add(self, record: Accepted, attempts: int) -> None:
        """Have one more."""
        self._claims[record.trace_id] = (record, attempts)
        if record.idempotency_key:
            self._by_key[record.action_type, record.idempotency_key] = record.trace_id

    def claim(self, trace_id: str, action_type: str) -> Claim | None:
        """Hand one over, ``None`` if it is not here."""
        if trace_id in self._claims and self._claims[trace_id][0].action_type != action_type:
            return None
        claimed = self._claims.pop(trace_id, None)
        if claimed is not None and claimed[0].idempotency_key:
            self._by_key.pop((claimed[0].action_type, claimed[0].idempotency_key), None)
        return claimed

    def claim_key(self, key: Key) -> Claim | None:
        """Hand over the one that a key stands for, ``None`` if it is not here."""
        trace_id = self._by_key.get(key)
        return None if trace_id is None else self.claim(trace_id, key[0])

    def clear(self) -> None:
        """Have none any more."""
        self._claims.clear()
        self._by_key.clear()
