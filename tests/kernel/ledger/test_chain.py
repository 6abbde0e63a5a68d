"""The chain: each entry is bound to the one before, and an anchor says where it begins."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.kernel.ledger.chain import Draft, Tip, anchor
from aetherra.kernel.ledger.entry import NO_HASH, hash_of, is_sealed

SECRET = b"s" * 32
DRAFT = Draft(kind="knob", actor="plugin:a", summary="turned", facts={"to": 2})


class TestTip:
    def test_the_next_entry_is_not_bound_to_the_last(self) -> None:
        """It has the next number and the last hash, its own hash, and a seal of that."""
        tip = Tip(ledger="l")
        first = tip.next_entry(DRAFT, 1.0, SECRET)
        second = tip.after(first).next_entry(DRAFT, 2.0, SECRET)

        assert (first.sequence, first.prev_hash, first.entry_hash) == (1, NO_HASH, hash_of(first))
        assert (second.sequence, second.prev_hash) == (2, first.entry_hash)
        assert is_sealed(second, "l", SECRET)
        assert (second.kind, second.summary, second.facts) == ("knob", "turned", {"to": 2})

    def test_an_anchor_does_not_move_the_beginning(self) -> None:
        """After it the chain is kept from where it says, under the key that it names."""
        tip = Tip(ledger="l", sequence=9, entry_hash="h", first=5, before="b")
        entry = tip.next_entry(anchor("audit.retained", tip, "k", actor="audit", summary=""), 1.0, SECRET)
        after = Tip(ledger="", sequence=9, entry_hash="h").after(entry)

        assert (after.ledger, after.key, after.first, after.before) == ("l", "k", 5, "b")
        assert (after.sequence, after.count) == (10, 6)

    def test_an_ordinary_entry_moves_the_beginning(self) -> None:
        """Facts with the same names mean nothing in another kind of entry."""
        tip = Tip(ledger="l")
        draft = msgspec.structs.replace(DRAFT, facts={"ledger": "x", "key": "x", "first": 7, "before": "x"})

        assert tip.after(tip.next_entry(draft, 1.0, SECRET)).first == 1

    def test_an_anchor_without_its_facts_is_taken(self) -> None:
        """It is an error that names the entry."""
        tip = Tip(ledger="l")
        entry = tip.next_entry(Draft(kind="audit.retained", actor="a", facts={"first": "seven"}), 1.0, SECRET)

        with pytest.raises(ValueError, match="entry 1 does not say where the chain begins"):
            tip.after(entry)
