"""All that a night has looked at: each file with its measures, and every name that is used anywhere."""

from collections.abc import Iterator

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.code.facts import Definition
from aetherra.plugins.self_incorporation.night.insights.measure import Measured

__all__ = ["Census", "CountedFile"]


class CountedFile(Struct, frozen=True, kw_only=True):
    """One file.

    Attributes:
        path: Relative to the root, in the written form of `index.paths.written`.
        kind: What it is taken for.
        lines: Of source; 0 if it is none.
        definitions: At its top level.
        has_test: Whether a file beside or under a tests folder is named after it.
        measured: Its measures without its names; None if it is no source, or was not measured.
    """

    path: str
    kind: FileKind
    lines: int
    definitions: tuple[Definition, ...]
    has_test: bool
    measured: Measured | None


class Census(Struct, kw_only=True):
    """What there is.

    Attributes:
        files: By path.
        names: That any file uses.
        unmeasured: Python files that could not be measured, with why.
    """

    files: dict[str, CountedFile]
    names: set[str]
    unmeasured: dict[str, str]

    def sources(self) -> Iterator[CountedFile]:
        """Return the files that were measured, by path."""
        return (file for _, file in sorted(self.files.items()) if file.measured is not None)
