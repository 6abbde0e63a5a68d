"""What is wrong with a ledger, and what a check of it came to."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from aetherra.kernel.errors import DataFileError

ProblemKind: TypeAlias = Literal[
    "edited",
    "reordered",
    "duplicated",
    "missing",
    "truncated",
    "deleted",
    "forged",
    "fork",
    "head_missing",
    "head_forged",
    "unreadable",
]
"""How a ledger differs from what was written.

``edited``: a line is not what was written. ``reordered``, ``duplicated``: a line stands where it should not, or again.
``missing``: entries between others are gone. ``truncated``: the last ones are. ``deleted``: a file is, or all are.
``forged``: an entry was added without the key. ``fork``: this is another history than the one that the head signs.
``head_missing``, ``head_forged``: the signed head is gone, or not signed by its key. ``unreadable``: a file cannot be
read, or the library for its signatures is not installed, so nothing is known.
"""
RemainKind: TypeAlias = Literal["dropped", "ahead", "torn"]
"""What a kill or a power cut leaves: a file that was to leave, entries that the head does not sign yet, half a line."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    Attributes:
        kind: What sort of thing.
        detail: What was expected and what is there, for people.
        sequence: The number of the entry that it is about, or of the first one; 0 if that cannot be told.
        file: The name of the file; empty if it is about none.
        line: Its line, from 1; 0 if it is about none.
    """

    kind: ProblemKind
    detail: str
    sequence: int = 0
    file: str = ""
    line: int = 0


class Remain(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a kill or a power cut left, which is not wrong, and which the next append puts in order.

    Attributes:
        kind: What sort of thing.
        file: The name of the file.
        detail: How it came about, for people.
        sequence: The number of the entry that stands there, or would; 0 where it is about a whole file.
        line: Its line, from 1; 0 where it is about a whole file.
    """

    kind: RemainKind
    file: str
    detail: str
    sequence: int = 0
    line: int = 0


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a check came to.

    Attributes:
        ok: Whether the ledger is what was written, all of it, and its head is signed by its key.
        entries: How many entries are there.
        first: The number of the oldest one that is kept.
        last: The number of the last one that the head signs.
        ledger: Which ledger it is.
        key: By which key its head is signed.
        problems: What is wrong.
        remains: What a kill or a power cut left and the next append puts in order; none of it is wrong.
    """

    ok: bool
    entries: int = 0
    first: int = 0
    last: int = 0
    ledger: str = ""
    key: str = ""
    problems: tuple[Problem, ...] = ()
    remains: tuple[Remain, ...] = ()


class LedgerBrokenError(DataFileError):
    """The ledger is not what was written, or its head does not fit: nothing is added to it until a person looked."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.problem}; nothing is recorded until a person has looked: 'aetherra audit verify' says "
            "what is wrong, 'aetherra audit adopt' goes on from what is there"
        )
