"""How records stand in the tables of the index: the schema, and rows to records and back."""

from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import Feature, FileKind
from aetherra.plugins.self_incorporation.code.facts import Definition
from aetherra.plugins.self_incorporation.code.findings import Capability, Finding, Refusal, RiskFactor
from aetherra.plugins.self_incorporation.code.script import Script
from aetherra.plugins.self_incorporation.index.walk import Stamp

__all__ = [
    "SCHEMA",
    "SCHEMA_VERSION",
    "Entry",
    "FileRecord",
    "RefusalRecord",
    "file_record",
    "file_row",
    "path_of",
    "refusal_row",
    "stamp_of",
]

SCHEMA_VERSION: Final = 2
SCHEMA = f"""
BEGIN;
CREATE TABLE files (
  root TEXT, path TEXT, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode INTEGER, rules TEXT, indexed_at REAL,
  sha256 TEXT, kind TEXT, confidence REAL, features TEXT, risk REAL, factors TEXT, capabilities TEXT, imports TEXT,
  definitions TEXT, entry_points TEXT, lines INTEGER, evidence TEXT, imported TEXT, version TEXT, script TEXT,
  PRIMARY KEY (root, path)
) WITHOUT ROWID;
CREATE INDEX files_by_risk ON files (root, risk DESC, path);
CREATE TABLE refusals (
  root TEXT, path TEXT, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode INTEGER, rules TEXT, indexed_at REAL,
  reason TEXT, detail TEXT, PRIMARY KEY (root, path)
) WITHOUT ROWID;
CREATE TABLE findings (root TEXT, path TEXT, line INTEGER, code TEXT, severity TEXT, message TEXT);
CREATE INDEX findings_by_path ON findings (root, path);
CREATE INDEX findings_by_severity ON findings (root, severity, path, line);
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_LISTED = frozenset(
    ["features", "factors", "capabilities", "imports", "definitions", "entry_points", "evidence", "imported", "script"]
)
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


Entry: TypeAlias = tuple[FileRecord, tuple[Finding, ...]] | RefusalRecord


def path_of(entry: Entry) -> str:
    """Return the path an entry is about."""
    return entry.refusal.path if isinstance(entry, RefusalRecord) else entry[0].path


def file_row(root: str, record: FileRecord) -> tuple[Any, ...]:
    """Return the values of a record's row, in the order of the columns."""
    values: list[Any] = [root, record.path, *_stamp_row(record.stamp)]
    for name in FileRecord.__struct_fields__[2:]:
        value = getattr(record, name)
        values.append(msgspec.json.encode(value).decode() if name in _LISTED else value)
    return tuple(values)


def file_record(row: tuple[Any, ...]) -> FileRecord:
    """Return the record of a row."""
    _, path, size, mtime_ns, ctime_ns, inode, *rest = row
    values: dict[str, Any] = dict(zip(FileRecord.__struct_fields__[2:], rest, strict=True))
    for name in _LISTED:
        values[name] = msgspec.json.decode(values[name])
    stamp = stamp_of(size, mtime_ns, ctime_ns, inode)
    return msgspec.convert({"path": path, "stamp": stamp, **values}, FileRecord)


def refusal_row(root: str, record: RefusalRecord) -> tuple[Any, ...]:
    """Return the values of a refusal's row."""
    refusal = record.refusal
    stamp = _stamp_row(record.stamp)
    return (root, refusal.path, *stamp, record.rules, record.indexed_at, refusal.reason, refusal.detail)


def stamp_of(size: int, mtime_ns: int, ctime_ns: int, inode: int) -> Stamp:
    """Return a stamp from the values of its columns."""
    return Stamp(size, mtime_ns, ctime_ns, inode % _UNSIGNED)


def _stamp_row(stamp: Stamp) -> tuple[int, int, int, int]:
    # An inode is unsigned and SQLite's integers are not.
    inode = stamp.inode if stamp.inode <= _SIGNED_MAX else stamp.inode - _UNSIGNED
    return (stamp.size, stamp.mtime_ns, stamp.ctime_ns, inode)
