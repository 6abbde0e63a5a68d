"""The surveyor: scans trees into the index in a worker thread, one at a time, and says what it did."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.lowlevel

from aetherra.plugins import PluginContext
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex, IndexStatistics
from aetherra.plugins.self_incorporation.index.report import Progress, ScanReport
from aetherra.plugins.self_incorporation.index.scanner import Scanner, ScanStopped, name_of_root
from aetherra.plugins.self_incorporation.index.tree_watcher import ANYTHING
from aetherra.plugins.self_incorporation.messages import Scanned, ScanProgress
from aetherra.plugins.self_incorporation.school import School

__all__ = ["Surveyor"]

PROGRESS_INTERVAL = 0.1
"""Seconds between two progress events at least."""
MOST_LISTED = 1_000
"""Entries of each list of a report that are told of; all are counted."""


class Surveyor:
    """One scan at a time: the index has one writer. Whoever reads it waits for nobody.

    Args:
        ctx: Of the plugin that it works in.
        index: What the scans fill.
        scanner: Scans.
        school: Says which files to look at first, and is told of those that have changed.
        held: What the index holds now.

    Attributes:
        scanning: The tree that is being scanned now, ``""`` if none.
        scans: Scans finished.
        failed: Scans that ended with an error.
        problem: Why, for the latest of these.
    """

    def __init__(
        self, ctx: PluginContext, index: CodeIndex, scanner: Scanner, school: School, held: IndexStatistics
    ) -> None:
        self._ctx = ctx
        self._index = index
        self._scanner = scanner
        self._school = school
        self._held = held
        self._turn = anyio.Lock()
        self._stop = threading.Event()
        self.scanning = ""
        self.scans = 0
        self.failed = 0
        self.problem = ""

    def stop(self) -> None:
        """Have a scan end at its next file, and begin none."""
        self._stop.set()

    async def statistics(self) -> IndexStatistics:
        """Return what the index holds, in the middle of a scan what it held before."""
        if not self._turn.locked():
            self._held = await self._ctx.run_sync(self._index.statistics)
        return self._held

    async def scan(self, root: Path, changed: AbstractSet[str] = ANYTHING) -> Scanned:
        """Scan one tree; cancelled, it ends at its next file, and what was read stays in the index.

        Args:
            root: The tree.
            changed: Paths that alone may have changed since the last scan; by default anything may.

        Raises:
            RootNotFoundError: There is no such tree.
            ScanStopped: ``stop`` was called.
            DatabaseUnusableError: The index cannot be read or written.
        """
        async with self._turn:
            self.scanning = str(root)
            try:
                report = await self._ctx.run_sync(self._scan_in_thread, root, changed)
            except ScanStopped:
                await anyio.lowlevel.checkpoint_if_cancelled()  # who has cancelled it gets no other error
                raise
            except Exception as exc:
                self.failed += 1
                self.problem = str(exc)
                raise
            finally:
                self.scanning = ""
        self.scans += 1
        await self._school.note_changes(report.root, report.changed)
        scanned = _told(report)
        await self._ctx.publish(scanned)
        return scanned

    async def forget(self, root: str) -> None:
        """Drop all that is known of a root, by its name; bit by bit, so that nobody waits long for their turn.

        Raises:
            DatabaseUnusableError: The index cannot be read or written.
        """
        done = False
        while not done:
            async with self._turn:
                done = await self._ctx.run_sync(self._index.forget, root)

    def _scan_in_thread(self, root: Path, changed: AbstractSet[str]) -> ScanReport:
        told = 0.0

        def progress(now: Progress) -> None:
            nonlocal told
            if time.monotonic() - told >= PROGRESS_INTERVAL:
                told = time.monotonic()
                event = ScanProgress(f"scanning {root.name or root}", now.files_done, now.files_found)
                _is_cancelled(lambda: anyio.from_thread.run(self._ctx.publish, event))

        def should_stop() -> bool:
            return self._stop.is_set() or _is_cancelled(anyio.from_thread.check_cancelled)

        if changed != ANYTHING:
            return self._scanner.rescan(root, changed, now=time.time(), should_stop=should_stop)
        first = self._school.first(self._index.paths(name_of_root(root)))
        return self._scanner.scan(root, now=time.time(), progress=progress, should_stop=should_stop, first=first)


def _is_cancelled(ask: Callable[[], object]) -> bool:
    """Ask the event loop something from a worker thread, and say whether the answer was a cancellation."""
    try:
        ask()
    except BaseException:  # noqa: BLE001  # the backend's own, to be turned into an orderly end of the scan
        return True
    return False


def _told(report: ScanReport) -> Scanned:
    return Scanned(
        root=report.root,
        files_found=report.files_found,
        files_indexed=report.files_indexed,
        files_refused=report.files_refused[:MOST_LISTED],
        refusals=report.refusals,
        files_new=report.files_new,
        files_changed=report.files_changed,
        files_unchanged=report.files_unchanged,
        files_removed=report.files_removed,
        files_read=report.files_read,
        folders_excluded=report.folders_excluded[:MOST_LISTED],
        excluded=len(report.folders_excluded),
        folders_refused=report.folders_refused[:MOST_LISTED],
        unlisted=len(report.folders_refused),
        kinds=report.kinds,
        severities=report.severities,
        findings=report.findings[:MOST_LISTED],
        risks=report.risks,
        seconds=report.seconds,
    )
