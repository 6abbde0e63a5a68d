"""What is in quarantine: one record for each thing that was set aside, and what may go wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from msgspec import Struct

from aetherra.plugins import AetherraError
from aetherra.plugins.self_incorporation.gate.decision import Ground
from aetherra.plugins.self_incorporation.index.paths import original

__all__ = ["QuarantineError", "QuarantineState", "QuarantineStatistics", "Quarantined"]

QuarantineState: TypeAlias = Literal["moving", "kept", "releasing", "released", "deleting", "deleted", "given_up"]


class QuarantineError(AetherraError, OSError):
    """Something could not be set aside, given back or deleted; nothing was changed."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"{self.path!r}: {self.problem}"


class Quarantined(Struct, frozen=True, kw_only=True):
    """What is or was in quarantine.

    Attributes:
        id: Its name here.
        root: The folder that was scanned.
        path: Relative to it, in the written form of `paths.written`.
        digest: Of the item that was set aside.
        known_as: What it is known by whatever it is called; empty if it holds nothing, and in records of long ago.
        content: SHA-256 of all that was moved: names, modes, times and bytes.
        folder: Whether it is a package's folder.
        mode: Permissions of the file or folder, to be given back.
        mtime_ns: Likewise its time of change.
        size: In bytes, of all files.
        reason: Why, in a sentence.
        rationale: Of the decision that led here.
        by: Who set it aside.
        at: Unix time.
        state: Where it stands: ``kept``, ``released``, ``deleted``, or on the way to one of these; ``given_up`` is what
            came to nothing and is not remembered.
        reviewed_by: Who has looked at it last, and what they said: ``review``.
        review: What they said.
        ended_by: Who released or deleted it, or has begun to.
        ended_at: Unix time; 0 while it is kept.
    """

    id: str
    root: str
    path: str
    digest: str
    content: str
    folder: bool
    mode: int
    mtime_ns: int
    size: int
    reason: str
    rationale: tuple[Ground, ...] = ()
    by: str = ""
    at: float
    state: QuarantineState
    reviewed_by: str = ""
    review: str = ""
    ended_by: str = ""
    ended_at: float = 0.0
    known_as: str = ""

    @property
    def place(self) -> Path:
        """Where it was taken from."""
        return Path(original(self.root)) / original(self.path)


class QuarantineStatistics(Struct, frozen=True):
    """How many are kept, and how many people released and deleted; the bytes that are kept, and records unread."""

    kept: int
    released: int
    deleted: int
    reviewed: int
    bytes_kept: int
    unreadable: int
