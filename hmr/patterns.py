"""A pattern of the data files that a plugin declares: what fits it, and where that is to be watched."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from aetherra.hmr.walk import entries, files_below, is_file

MAGIC = frozenset("*?[")


class DataPattern:
    """A glob pattern, split into the folder that it surely means and the rest.

    Args:
        base: The folder that it is relative to.
        pattern: As in ``templates/**/*.html``.

    Attributes:
        folder: That what fits is in, or below.
    """

    def __init__(self, base: Path, pattern: str) -> None:
        *parts, last = Path(pattern).parts or (pattern,)
        fixed = next((number for number, part in enumerate(parts) if MAGIC & set(part)), len(parts))
        self.folder = base.joinpath(*parts[:fixed])
        self._rest = (*parts[fixed:], last)

    @property
    def place(self) -> Path:
        """What is to be watched: the folder with all below, or what fits in it if that is nowhere deeper."""
        return self.folder / self._rest[0] if self._is_flat else self.folder

    @property
    def _is_flat(self) -> bool:
        return len(self._rest) == 1 and self._rest[0] != "**"

    def files(self) -> set[Path]:
        """Return the files that fit."""
        if not self._is_flat:
            return {file for file in files_below(self.folder) if self.fits(file)}
        return {
            file for entry in entries(self.folder) if is_file(entry) and self.fits(file := self.folder / entry.name)
        }

    def fits(self, path: Path) -> bool:
        """Whether a path fits, be there a file or not."""
        return path.is_relative_to(self.folder) and _fit(path.relative_to(self.folder).parts, self._rest)


def _fit(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fit(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fit(parts[1:], pattern[1:])
