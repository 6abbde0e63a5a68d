"""Places: which trees are looked at, and which folders in them hold what is meant to come in."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from aetherra.plugins.self_incorporation.index.paths import written
from aetherra.plugins.self_incorporation.index.scanner import name_of_root
from aetherra.plugins.storage import StateFile

__all__ = ["Incoming", "Places"]


class Places:
    """Asked anew each time, as folders come and go; by any thread, at the same time.

    Args:
        project: The hosted project's folder.
        roots: Trees to look at, relative to it.
        incoming: Folders in them, relative to it.
        names: Where it is kept what roots are called, for when they are not there.
    """

    def __init__(
        self,
        project: Path,
        roots: Iterable[str],
        incoming: Iterable[str],
        names: StateFile[dict[str, str]] | None = None,
    ) -> None:
        self._project = project
        self._roots = tuple(roots)
        self._incoming = tuple(incoming)
        self._file = names or StateFile(None, dict[str, str])
        self._noted = self._file.load()
        self._noting = threading.Lock()

    def path(self, root: str | None = None) -> Path:
        """Return where a root is; by default the first."""
        return self._project / (self._roots[0] if root is None else root)

    def paths(self) -> list[Path]:
        """Return where all roots are, whether there is anything or not."""
        return [self.path(root) for root in self._roots]

    def roots(self) -> list[str]:
        """Return the names that the roots have in the index; those that are not there have none."""
        return list(dict.fromkeys(self._there().values()))

    def _there(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for root in self._roots:
            with suppress(OSError):
                names[root] = name_of_root(self.path(root))
        return names

    def _called(self) -> dict[str, str]:
        """Return what the roots are called; those that are not there, what they were called when they were."""
        before = self._noted or {}
        return {**{root: before[root] for root in self._roots if root in before}, **self._there()}

    def note(self) -> None:
        """Remember what the roots are called, for when they are not there.

        Raises:
            DataFileError: The disk does not take it.
        """
        with self._noting:
            called = self._called()
            if self._noted is not None or len(called) == len(set(self._roots)):
                self._save(called)

    def strays(self, held: Iterable[str]) -> list[str]:
        """Return which of some names are of no root.

        A root that is not there keeps the name it had. While nobody has noted any, and it may be one of these, none is.

        Raises:
            DataFileError: What the roots are called cannot be kept.
        """
        names = set(held)
        with self._noting:
            called = self._called()
            missing = {written(os.path.realpath(self.path(root))) for root in self._roots if root not in called}
            strays = sorted(names.difference(called.values(), missing))
            if strays and self._noted is None and not missing <= names:
                return []
            self._save(called)
            return strays

    def _save(self, called: dict[str, str]) -> None:
        if called != self._noted:
            self._file.save(called)
            self._noted = called

    def misplaced(self) -> list[str]:
        """Return from which incoming folders nothing can come in, as they are not there or lie in no root."""
        roots = self.roots()
        found: list[str] = []
        for folder in self._incoming:
            place = os.path.realpath(self._project / folder)
            if not os.access(place, os.F_OK):
                found.append(f"nothing comes in from {place!r}: it is not there, or may not be looked at")
            elif not any(f"{written(place)}/".startswith(f"{root.rstrip('/')}/") for root in roots):
                found.append(f"nothing comes in from {place!r}: it lies in no root, which are {', '.join(roots)}")
        return found

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
