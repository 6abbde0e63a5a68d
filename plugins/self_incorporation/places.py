"""Places: which trees are looked at, and which folders in them hold what is meant to come in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.index.paths import original
from aetherra.plugins.self_incorporation.index.scanner import RootNotFoundError, name_of_root

__all__ = ["Places"]


class Places:
    """Asked anew each time, as folders come and go.

    Args:
        project: The hosted project's folder.
        roots: Trees to look at, relative to it.
        incoming: Folders in them, relative to it.
    """

    def __init__(self, project: Path, roots: Iterable[str], incoming: Iterable[str]) -> None:
        self._project = project
        self._roots = tuple(roots)
        self._incoming = tuple(incoming)

    def path(self, root: str | None = None) -> Path:
        """Return where a root is; by default the first."""
        return self._project / (self._roots[0] if root is None else root)

    def paths(self) -> list[Path]:
        """Return where all roots are, whether there is anything or not."""
        return [self.path(root) for root in self._roots]

    def roots(self) -> list[str]:
        """Return the names that the roots have in the index; those that are not there have none."""
        names: list[str] = []
        for path in self.paths():
            try:
                names.append(name_of_root(path))
            except RootNotFoundError:
                continue
        return list(dict.fromkeys(names))

    def is_incoming(self, item: Item) -> bool:
        """Say whether an item lies in an incoming folder."""
        if not self._incoming:
            return False
        place = Path(original(item.root)) / original(item.path)
        return any(place.is_relative_to((self._project / folder).resolve()) for folder in self._incoming)
