"""What is said of the files that the index holds."""

from __future__ import annotations

from aetherra.plugins import Message, Request
from aetherra.plugins.self_incorporation.code.classifier import FileKind

__all__ = ["Classify", "CorrectKind", "Corrected", "GetFile", "IndexedFile", "Kinds"]


class Kinds(Message, tag="selfinc.classify_reply"):
    """The indexed files by kind."""

    kinds: dict[str, int]


class Classify(Request[Kinds], tag="selfinc.classify"):
    """Ask for the kinds of the files that the index holds of all roots."""


class IndexedFile(Message, tag="selfinc.file_reply"):
    """One file of the index.

    Attributes:
        path: Relative to the root.
        sha256: Of its content.
        size: Bytes.
        kind: What it is, with ``confidence`` 0..1 by ``features``.
        risk: 0..1, by ``factors``.
        capabilities: What its code can do.
        imports: Modules that it imports.
        entry_points: Ways to run it.
        lines: Of source.
    """

    path: str
    sha256: str
    size: int
    kind: str
    confidence: float
    features: tuple[str, ...]
    risk: float
    factors: tuple[str, ...]
    capabilities: tuple[str, ...]
    imports: tuple[str, ...]
    entry_points: tuple[str, ...]
    lines: int


class GetFile(Request[IndexedFile], tag="selfinc.file"):
    """Ask what the index holds of one file; raises ``LookupError`` if nothing."""

    path: str


class Corrected(Message, tag="selfinc.correct_reply"):
    """What a file was taken for, and what it is."""

    path: str
    before: FileKind
    kind: FileKind


class CorrectKind(Request[Corrected], tag="selfinc.correct"):
    """Say what a file really is, for nights to learn from. Only a person may.

    Attributes:
        path: Of the file, relative to the first root that has it.
        kind: What it is.
    """

    path: str
    kind: FileKind
