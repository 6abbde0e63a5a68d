"""The scanner: knows how roots are scanned into an index, under which rules, and what a root is called there."""

import os
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path

from aetherra.plugins.self_incorporation.code.classifier import KINDS_VERSION, HeuristicClassifier
from aetherra.plugins.self_incorporation.code.facts import FACTS_VERSION
from aetherra.plugins.self_incorporation.code.panel import Panel
from aetherra.plugins.self_incorporation.code.rules import RULES_VERSION
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.index.paths import written
from aetherra.plugins.self_incorporation.index.report import Progress, ScanReport
from aetherra.plugins.self_incorporation.index.scan import Limits, Scan, ScanStopped, Tools
from aetherra.plugins.self_incorporation.index.walk import (
    EXCLUDED_FOLDERS,
    Tree,
)

__all__ = ["Limits", "RootNotFoundError", "ScanStopped", "Scanner", "name_of_root"]


class RootNotFoundError(FileNotFoundError):
    """There is nothing to scan at the root that was given."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.root = root

    def __str__(self) -> str:
        return f"nothing to scan: there is no file or folder {self.root!r}"


class Scanner:
    """Scans roots into an index, one at a time. What it holds of a root is a folder at a time, whatever its size."""

    def __init__(
        self,
        index: CodeIndex,
        *,
        clock: Callable[[], float],
        limits: Limits | None = None,
        excluded: AbstractSet[str] = EXCLUDED_FOLDERS,
        apart: Iterable[Path] = (),
        weights: Mapping[str, float] | None = None,
        panel: Panel | None = None,
    ) -> None:
        """Make a scanner.

        Args:
            index: Where to keep what is found; the scanner does not close it.
            clock: Counts seconds from anywhere, for `ScanReport.seconds`.
            limits: The bounds of every scan.
            excluded: Names of folders not to enter.
            apart: Folders not to enter, wherever they are; the one that the index lies in should be one of them.
            weights: As for `learn`.
            panel: Other plugins' classifiers, asked about each file; when there are others, or of other versions, all
                files are read again.
        """
        self._index, self._clock = index, clock
        self._limits = limits or Limits()
        self._excluded, self._apart = excluded, frozenset(str(folder.resolve()) for folder in apart)
        self._weights = dict(weights or {})
        self._panel = panel

    def learn(self, weights: Mapping[str, float]) -> None:
        """Classify by these weights of features from the next scan on, which classifies all that is known anew."""
        self._weights = dict(weights)

    def scan(
        self,
        root: str | os.PathLike[str],
        *,
        now: float,
        progress: Callable[[Progress], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        first: Iterable[str] = (),
    ) -> ScanReport:
        """Bring the index up to what lies under a root, and report.

        Args:
            root: A file or a folder; `name_of_root` is its name in the index.
            now: Unix time at which the scan starts. A file changed a moment before may change again unnoticed, so
                it is read again next time.
            progress: Told of each file before it is dealt with.
            should_stop: Asked before each file.
            first: Paths of files to deal with before all others.

        Raises:
            RootNotFoundError: There is no such root.
            ScanStopped: ``should_stop`` said so.
            DatabaseUnusableError: The index could not be read or written.
        """
        with self._running(root, now, progress, should_stop) as run:
            return run.whole(first)

    def rescan(
        self,
        root: str | os.PathLike[str],
        changed: Iterable[str],
        *,
        now: float,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> ScanReport:
        """Bring the index up to what became of some paths of a root that was scanned before, and report on all of it.

        Args:
            root: As for `scan`.
            changed: Paths of files and folders that were made, changed or removed.
            now: As for `scan`.
            should_stop: As for `scan`.

        Raises:
            RootNotFoundError: There is no such root.
            ScanStopped: ``should_stop`` said so.
            DatabaseUnusableError: The index could not be read or written.
        """
        with self._running(root, now, None, should_stop) as run:
            return run.part(changed)

    @contextmanager
    def _running(
        self,
        root: str | os.PathLike[str],
        now: float,
        progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], bool],
    ) -> Generator[Scan]:
        place = _resolved(root)
        tree = Tree(place, excluded=self._excluded, apart=self._apart)
        limits, panel = self._limits, self._panel
        asked = panel.convene() if panel is not None else ""
        classifier = HeuristicClassifier(self._weights, panel.features if panel is not None else None)
        rules = (
            f"rules {RULES_VERSION}, facts {FACTS_VERSION}, kinds {KINDS_VERSION}, "
            f"python {sys.version_info.major}.{sys.version_info.minor}, "
            f"source {limits.source_bytes}, file {limits.file_bytes}{asked and ', ' + asked}"
        )
        tools = Tools(self._index, limits, classifier, rules, self._clock, panel)
        try:
            yield Scan(tools, tree, written(place), now, progress, should_stop)
        finally:
            if panel is not None:
                panel.adjourn()


def name_of_root(root: str | os.PathLike[str]) -> str:
    """Return the name a root has in reports and in the index: absolute, without links, in written form.

    Raises:
        RootNotFoundError: There is no such root.
    """
    return written(_resolved(root))


def _resolved(root: str | os.PathLike[str]) -> str:
    try:
        return str(Path(root).resolve(strict=True))
    except (FileNotFoundError, NotADirectoryError, RuntimeError) as exc:  # RuntimeError: links in a circle
        raise RootNotFoundError(os.fspath(root)) from exc
