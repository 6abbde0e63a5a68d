"""One thing that a night found worth telling about the code."""

from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = ["Insight", "InsightKind"]

InsightKind: TypeAlias = Literal["quality", "conflict", "risk", "dead_code"]


class Insight(Struct, frozen=True):
    """What was found.

    Attributes:
        kind: What it is about.
        path: Of the file or item, relative to the root; empty if it is about none.
        text: One sentence for people.
    """

    kind: InsightKind
    path: str
    text: str
