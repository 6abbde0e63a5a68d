"""Entries in memory: the same chain, bounded."""

from __future__ import annotations

import msgspec

from aetherra.kernel.ledger.chain import Draft
from aetherra.kernel.ledger.trail import MemoryTrail

DRAFT = Draft(kind="knob", actor="plugin:a")


class TestMemoryTrail:
    def test_memory_grows_without_end(self) -> None:
        """The oldest go, an entry says so, and the rest verifies."""
        trail = MemoryTrail(lambda: 1.0, bound=20)
        for _ in range(100):
            trail.commit(DRAFT)
        found = trail.verify()

        assert found.ok
        assert found.entries <= 21
        assert found.last - found.first + 1 == found.entries
        assert trail.prepare().first == found.first == next(trail.oldest_first(0)).sequence
        assert any(entry.kind == "audit.retained" for entry in trail.newest_first())

    def test_a_change_in_memory_is_not_seen(self) -> None:
        """An entry that is another object with other words breaks the chain."""
        trail = MemoryTrail(lambda: 1.0)
        trail.commit(DRAFT)
        trail.commit(DRAFT)
        trail._entries[1] = msgspec.structs.replace(trail._entries[1], code="allowed")
        found = trail.verify()

        assert [(each.kind, each.sequence) for each in found.problems] == [("edited", 2)]
        assert not found.ok

    def test_closing_it_loses_what_it_keeps(self) -> None:
        """There are no files to close."""
        trail = MemoryTrail(lambda: 1.0)
        trail.close()
        trail.commit(DRAFT)

        assert [entry.kind for entry in trail.newest_first()] == ["knob", "audit.begun"]
