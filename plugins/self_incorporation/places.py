"""Places: which trees are looked at, and which folders in them hold what is meant to come in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aetherra.plugins.self_incorporation.index.paths import written
from aetherra.plugins.self_incorporation.index.scanner import RootNotFoundError, name_of_root

__all__ = ["Incoming", "Places"]


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

    def incoming(self) -> Incoming:
        """Return the incoming folders as they are now."""
        return Incoming((self._project / folder).resolve() for folder in self._incoming)


class Incoming:
    """Incoming folders, wherever the links of the configuration led when they were looked up."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = tuple(written(str(folder)).rstrip("/") + "/" for folder in folders)

    def holds(self, root: str, path: str) -> bool:
        """Say whether a path of a root, as the index names it, lies in one of them, or is one."""
        place = f"{_place(root, path)}/"
        return place.startswith(self._folders)

    def touches(self, root: str, changed: Iterable[str]) -> bool:
        """Say whether one of some paths lies in one of them, is one, or has one below it."""
        for path in changed:
            place = f"{_place(root, path)}/"
            if place.startswith(self._folders) or any(folder.startswith(place) for folder in self._folders):
                return True
        return False

    def below(self, root: str) -> list[str]:
        """Return their paths relative to a root, of those that lie in it; ``""`` for the root itself."""
        start = f"{root.rstrip('/')}/"
        return [folder[len(start) : -1] for folder in self._folders if folder.startswith(start)]


def _place(root: str, path: str) -> str:
    if path in ("", "."):
        return root.rstrip("/")
    return f"{root.rstrip('/')}/{path}"
