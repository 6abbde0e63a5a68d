"""An entry of the ledger: what was asked, decided or done, bound by its hash to all that came before."""

from __future__ import annotations

import hashlib
import hmac
import re
from functools import lru_cache
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
        entry_hash: SHA-256, in hex, of the line that this is in a file, without the hash itself.
        seal: HMAC-SHA256 of all the rest by a key that is kept apart: nobody else adds an entry.
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
        return _ENCODER.encode(self)


def canonical(document: dict[str, Any]) -> bytes:
    """Write JSON in the one way that it is hashed and signed in: keys sorted, no blanks, UTF-8."""
    return _ENCODER.encode(document)


def sealed(document: dict[str, Any], ledger: str, secret: bytes) -> Entry:
    """Return the entry of a ledger that says what a document does, with the two fields that bind it: seal and hash."""
    seal = _seal(canonical(document), ledger, secret)
    entry_hash = hashlib.sha256(canonical({**document, "seal": seal})).hexdigest()
    return Entry(**document, seal=seal, entry_hash=entry_hash)


def hash_of(entry: Entry) -> str:
    """Return the hash that an entry should have, by all that it says."""
    return hashlib.sha256(_without_hash(entry.line)).hexdigest()


def is_sealed(entry: Entry, ledger: str, secret: bytes) -> bool:
    """Whether an entry was made for a ledger, by whoever has its key."""
    document = msgspec.structs.asdict(entry)
    del document["entry_hash"], document["seal"]
    return hmac.compare_digest(_seal(canonical(document), ledger, secret).encode(), entry.seal.encode())


def _seal(said: bytes, ledger: str, secret: bytes) -> str:
    seal = _begun(secret).copy()
    seal.update(b"entry of %b\n%b" % (ledger.encode(), said))
    return seal.hexdigest()


@lru_cache(8)
def _begun(secret: bytes) -> hmac.HMAC:
    """Return what takes a while to make for a key, and is made for each of its entries."""
    return hmac.new(secret, digestmod=hashlib.sha256)


def _without_hash(line: bytes) -> bytes:
    """Cut the hash out of a line; before it stand texts alone, in which quotes are escaped, so that it is the first."""
    return _HASH_FIELD.sub(b"", line, count=1)


Flaw = Literal["unreadable", "edited"]


def read_line(line: bytes) -> Entry | Flaw:
    """Return the entry that a line is, if it is one to the last byte and has the hash that it says."""
    try:
        entry = _DECODER.decode(line)
        as_written = entry.line
    except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError):
        return "unreadable"
    if as_written != line or hashlib.sha256(_without_hash(line)).hexdigest() != entry.entry_hash:
        return "edited"
    return entry


_DECODER = msgspec.json.Decoder(Entry)
_ENCODER = msgspec.json.Encoder(order="sorted")
_HASH_FIELD = re.compile(rb'"entry_hash":"[^"]*",')
