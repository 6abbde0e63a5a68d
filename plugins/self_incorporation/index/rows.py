"""What the index keeps of a file, and how that stands in a row of its tables."""

from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import Feature, FileKind
from aetherra.plugins.self_incorporation.code.facts import Definition
from aetherra.plugins.self_incorporation.code.findings import Capability, Finding, Refusal, RiskFactor
from aetherra.plugins.self_incorporation.code.script import Script
from aetherra.plugins.self_incorporation.index.walk import Stamp, folder_of

__all__ = [
    "Entry",
    "FileRecord",
    "Known",
    "RefusalRecord",
    "file_record",
    "file_row",
    "known_of",
    "place_of",
    "refusal_row",
]

_UNSIGNED = 2**64
_SIGNED_MAX = 2**63 - 1


class FileRecord(Struct, frozen=True):
    """One file that was taken in.

    Attributes:
        path: Relative to the root, in the written form of `paths.written`.
        stamp: As it was when it was read.
        rules: What judged it: a record of other rules is read again.
        indexed_at: Unix time of the scan that read it.
        sha256: Of its bytes, in hex.
        kind: And how sure that is, and why: `confidence`, `features`.
        risk: And what makes it up: `factors`, `capabilities`.
        lines: Of a Python file, else 0; likewise its imports, definitions, entry points and what follows.
        evidence: All features that `kind` was told by, those that point elsewhere too.
        imported: What it imports from modules: ``from .a import b`` is ``.a.b``, and perhaps a module itself.
        version: Its ``__version__``.
        script: Its inline script metadata.
    """

    path: str
    stamp: Stamp
    rules: str
    indexed_at: float
    sha256: str
    kind: FileKind
    confidence: float
    features: tuple[str, ...]
    risk: float
    factors: tuple[RiskFactor, ...]
    capabilities: dict[Capability, tuple[int, ...]]
    imports: tuple[str, ...]
    definitions: tuple[Definition, ...]
    entry_points: tuple[str, ...]
    lines: int
    evidence: tuple[Feature, ...] = ()
    imported: tuple[str, ...] = ()
    version: str = ""
    script: Script | None = None


class RefusalRecord(Struct, frozen=True):
    """One file that was refused; without a stamp it is looked at again by every scan."""

    refusal: Refusal
    stamp: Stamp
    rules: str
    indexed_at: float


class Known(Struct, frozen=True):
    """What decides whether a file must be read again, and its refusal if it had one, else its digest."""

    stamp: Stamp
    rules: str
    indexed_at: float
    sha256: str
    refusal: Refusal | None


Entry: TypeAlias = tuple[FileRecord, tuple[Finding, ...]] | RefusalRecord
_decode = msgspec.json.Decoder(FileRecord).decode


def place_of(path: str) -> tuple[str, str]:
    """Return the folder and the name that a path stands under."""
    folder = folder_of(path)
    return folder, path[len(folder) + 1 :] if folder else path


def file_row(root: int, record: FileRecord) -> tuple[Any, ...]:
    """Return the values of a record's row, in the order of the columns, but for its number."""
    values = (record.rules, record.indexed_at, record.sha256, record.kind.value, record.risk)
    return (root, *place_of(record.path), *_stamp_row(record.stamp), *values, msgspec.json.encode(record).decode())


def file_record(text: str) -> FileRecord:
    """Return the record of a row."""
    return _decode(text)


def refusal_row(root: int, record: RefusalRecord) -> tuple[Any, ...]:
    """Return the values of a refusal's row."""
    refusal = record.refusal
    stamp = _stamp_row(record.stamp)
    return (root, *place_of(refusal.path), *stamp, record.rules, record.indexed_at, refusal.reason, refusal.detail)


def known_of(size: int, mtime_ns: int, ctime_ns: int, inode: int, *rest: Any) -> Known:
    """Return what the columns of a file or a refusal say: stamp, rules, time, digest, refusal."""
    return Known(Stamp(size, mtime_ns, ctime_ns, inode % _UNSIGNED), *rest)


def _stamp_row(stamp: Stamp) -> tuple[int, int, int, int]:
    # An inode is unsigned and SQLite's integers are not.
    inode = stamp.inode if stamp.inode <= _SIGNED_MAX else stamp.inode - _UNSIGNED
    return (stamp.size, stamp.mtime_ns, stamp.ctime_ns, inode)
