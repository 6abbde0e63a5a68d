"""The chain: where it ends, and how the next entry is bound to it."""

from __future__ import annotations

from typing import Any

import msgspec

from aetherra.kernel.ledger.entry import ANCHORS, NO_HASH, Entry, Fact, sealed


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry is to say; see ``Entry``."""

    kind: str
    actor: str
    component: str = ""
    summary: str = ""
    code: str = ""
    refers_to: int = 0
    digest: str = ""
    facts: dict[str, Fact] = {}


class Tip(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a chain.

    Attributes:
        ledger: Which ledger it is.
        sequence: The number of its last entry; 0 if there is none.
        entry_hash: The hash of that entry.
        first: The number of the oldest entry that is kept.
        before: The hash of the entry before that one.
        key: What its head is signed with; empty if there is no entry yet.
    """

    ledger: str
    sequence: int = 0
    entry_hash: str = NO_HASH
    first: int = 1
    before: str = NO_HASH
    key: str = ""

    @property
    def count(self) -> int:
        """How many entries are kept."""
        return self.sequence - self.first + 1

    def next_entry(self, draft: Draft, at: float, secret: bytes) -> Entry:
        """Return the entry that comes next."""
        document: dict[str, Any] = {
            **msgspec.structs.asdict(draft),
            "sequence": self.sequence + 1,
            "at": at,
            "prev_hash": self.entry_hash,
        }
        return sealed(document, self.ledger, secret)

    def after(self, entry: Entry) -> Tip:
        """Return where the chain ends once it has one entry more; an anchor says where it begins, too.

        Raises:
            ValueError: An anchor does not say that.
        """
        tip = msgspec.structs.replace(self, sequence=entry.sequence, entry_hash=entry.entry_hash)
        if entry.kind not in ANCHORS:
            return tip
        try:
            said = msgspec.convert(entry.facts, _Anchor)
        except msgspec.ValidationError as exc:
            raise ValueError(f"entry {entry.sequence} does not say where the chain begins: {exc}") from exc
        return msgspec.structs.replace(tip, **msgspec.structs.asdict(said))


class _Anchor(msgspec.Struct, frozen=True):
    ledger: str
    key: str
    first: int
    before: str


def anchor(kind: str, tip: Tip, key: str, *, actor: str, summary: str, **facts: Fact) -> Draft:
    """Return the draft of an entry that says from where on the chain is kept, and by which key its head is signed."""
    anchored: dict[str, Fact] = {"ledger": tip.ledger, "key": key, "first": tip.first, "before": tip.before}
    return Draft(kind=kind, actor=actor, component="audit", summary=summary, facts={**facts, **anchored})
