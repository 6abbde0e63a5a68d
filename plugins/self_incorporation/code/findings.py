"""What a scan has to say about a file: refusals, findings and the factors of its risk."""

import math
from collections.abc import Iterable
from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = ["Capability", "Finding", "Reason", "Refusal", "RiskFactor", "Severity", "joined"]

Reason: TypeAlias = Literal[
    "bad_encoding_declaration",
    "changed_while_read",
    "not_a_regular_file",
    "not_utf8",
    "null_bytes",
    "symlink",
    "syntax_error",
    "too_complex",
    "too_large",
    "unreadable",
]
Severity: TypeAlias = Literal["info", "warning", "threat"]
Capability: TypeAlias = Literal[
    "network",
    "fs_read",
    "fs_write",
    "process",
    "dynamic_code",
    "native_code",
    "environment",
    "serialization",
]


class Refusal(Struct, frozen=True):
    """A path that was found and not taken in, and why.

    Attributes:
        path: Relative to the root that was scanned, in the written form of `paths.written`.
        reason: A stable code for programs.
        detail: A sentence for people.
    """

    path: str
    reason: Reason
    detail: str


class Finding(Struct, frozen=True):
    """Something worth knowing about one line of one file.

    Attributes:
        path: Relative to the root that was scanned, in the written form of `paths.written`.
        line: Counted from 1.
        code: A capability for ``info``; otherwise the code of the rule.
        severity: Only a ``threat`` is a reason to block.
        message: A sentence for people.
    """

    path: str
    line: int
    code: str
    severity: Severity
    message: str


class RiskFactor(Struct, frozen=True):
    """One part of a file's risk.

    Attributes:
        code: A capability, or the code of an indicator.
        weight: Its share, between 0 and 1; `joined` makes one figure of shares.
        lines: The first lines it was seen on.
    """

    code: str
    weight: float
    lines: tuple[int, ...]


def joined(factors: Iterable[RiskFactor]) -> float:
    """Return the risk that some factors make together: each adds its share of what is left to 1."""
    return round(1.0 - math.prod(1.0 - factor.weight for factor in factors), 4)
