"""Votes: what a plugin takes a file for, told by the hook ``classify_file`` while self-incorporation scans."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

FileKindName = Literal["plugin", "agent", "aether", "workflow", "utility", "dataset", "docs", "unknown"]
MOST_WEIGHT = 10.0
LONGEST_FEATURE = 100


class Vote(msgspec.Struct, frozen=True):
    """What speaks for a file being of a kind, or against it.

    Attributes:
        kind: Of what.
        weight: How much, in log-odds: 2 makes it 7 times as likely beside all others, 5 makes it 150 times. Below 0 it
            speaks against. At most `MOST_WEIGHT`, either way.
        feature: Why: a few words that are the same for every file of which it is true, as weights are learnt for it.

    Raises:
        ValueError: The weight or the feature is none.
    """

    kind: FileKindName
    weight: float
    feature: str

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight) or abs(self.weight) > MOST_WEIGHT:
            raise ValueError(f"expected a weight between -{MOST_WEIGHT:g} and {MOST_WEIGHT:g}, got {self.weight!r}")
        if not 1 <= len(self.feature) <= LONGEST_FEATURE or not self.feature.isprintable():
            raise ValueError(f"expected 1 to {LONGEST_FEATURE} printable characters, got {self.feature[:120]!r}")


class SourceDefinition(Protocol):
    """A function or class at the top level of a Python file; names are dotted, aliases resolved where they could be."""

    @property
    def name(self) -> str:
        """As defined."""
        ...

    @property
    def kind(self) -> Literal["function", "class"]:
        """What it is."""
        ...

    @property
    def bases(self) -> tuple[str, ...]:
        """Of a class."""
        ...

    @property
    def decorators(self) -> tuple[str, ...]:
        """Of either."""
        ...

    @property
    def methods(self) -> tuple[str, ...]:
        """Of a class."""
        ...

    @property
    def keywords(self) -> Mapping[str, object]:
        """Of a class, those that are constants: ``tag="greeter.hello"``."""
        ...


class SourceFacts(Protocol):
    """What was read off a Python file, none of which was run."""

    @property
    def imports(self) -> tuple[str, ...]:
        """Modules, sorted; a relative one begins with its dots."""
        ...

    @property
    def definitions(self) -> Sequence[SourceDefinition]:
        """In the order they stand in."""
        ...

    @property
    def entry_points(self) -> tuple[str, ...]:
        """How it is run: ``__main__ guard``, ``main()``."""
        ...

    @property
    def lines(self) -> int:
        """How many it has."""
        ...
