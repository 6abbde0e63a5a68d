"""An entry of the ledger: what was asked, decided or done, bound by its hash to all that came before."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, Literal, TypeAlias

import msgspec

Fact: TypeAlias = str | int | float | bool
NO_HASH = "0" * 64
"""What the first entry of a ledger has before it."""
ANCHORS = ("audit.begun", "audit.retained", "audit.adopted")
"""Kinds of entries that say from which entry on the chain is kept, and by which key its head is signed."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was asked, decided or done.

    Attributes:
        sequence: Its number; each is one more than the one before.
        at: When, in Unix seconds.
        kind: What sort of thing, ``knob`` or ``integration``.
        actor: Who did it, or asked.
        component: What it was done to.
        summary: One sentence for people.
        code: How it was decided, or how it ended.
        refers_to: The number of the entry that this one is about; 0 if none.
        digest: SHA-256, in hex, of exactly what was to be done.
        facts: What else is known.
        prev_hash: The hash of the entry before.
        entry_hash: SHA-256 of all of this but itself, as ``canonical`` writes it.
        seal: HMAC-SHA256 of all but both by a key that is kept apart: nobody else adds an entry.
    """

    sequence: int
    at: float
    kind: str
    actor: str
    component: str = ""
    summary: str = ""
    code: str = ""
    refers_to: int = 0
    digest: str = ""
    facts: dict[str, Fact] = {}
    prev_hash: str = NO_HASH
    entry_hash: str = ""
    seal: str = ""

    @property
    def line(self) -> bytes:
        """How it stands in a file, without a newline."""
        return canonical(msgspec.structs.asdict(self))


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(document: dict[str, Any]) -> bytes:
    """Write JSON in the one way that its hash is taken of: keys sorted, no blanks, UTF-8, nothing escaped needlessly.

    It is what ``json.dumps`` of every Python writes, so that a chain can be checked with nothing of ours.
    """
    return _ENCODER.encode(document).encode("utf-8")


def sealed(document: dict[str, Any], ledger: str, secret: bytes) -> dict[str, Any]:
    """Return the fields of a ledger's entry with the two that bind it: seal and hash."""
    document = {**document, "seal": _seal(document, ledger, secret)}
    return {**document, "entry_hash": _hash(document)}


def hash_of(entry: Entry) -> str:
    """Return the hash that an entry should have, by all that it says."""
    document = msgspec.structs.asdict(entry)
    del document["entry_hash"]
    return _hash(document)


def is_sealed(entry: Entry, ledger: str, secret: bytes) -> bool:
    """Whether an entry was made for a ledger, by whoever has its key."""
    document = msgspec.structs.asdict(entry)
    del document["entry_hash"], document["seal"]
    return hmac.compare_digest(_seal(document, ledger, secret).encode(), entry.seal.encode())


def _hash(document: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(document)).hexdigest()


def _seal(document: dict[str, Any], ledger: str, secret: bytes) -> str:
    return hmac.new(secret, b"entry of %b\n%b" % (ledger.encode(), canonical(document)), hashlib.sha256).hexdigest()


Flaw = Literal["unreadable", "edited"]


def read_line(line: bytes) -> Entry | Flaw:
    """Return the entry that a line is, if it is one to the last byte and has the hash that it says."""
    try:
        entry = _DECODER.decode(line)
        as_written = entry.line
    except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError):
        return "unreadable"
    return entry if as_written == line and hash_of(entry) == entry.entry_hash else "edited"


_DECODER = msgspec.json.Decoder(Entry)
