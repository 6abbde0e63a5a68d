"""One scan of one root: what is new or changed is read and judged, what is gone is dropped, and a report is made."""

import os
import sys
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.examine import Examined, examine, may_be_source
from aetherra.plugins.self_incorporation.code.facts import FACTS_VERSION
from aetherra.plugins.self_incorporation.code.findings import Refusal
from aetherra.plugins.self_incorporation.code.rules import RULES_VERSION
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex, Known
from aetherra.plugins.self_incorporation.index.paths import written
from aetherra.plugins.self_incorporation.index.reading import Content, read
from aetherra.plugins.self_incorporation.index.report import Progress, Risk, ScanReport
from aetherra.plugins.self_incorporation.index.rows import Entry, FileRecord, RefusalRecord
from aetherra.plugins.self_incorporation.index.walk import (
    EXCLUDED_FOLDERS,
    ExcludedFolder,
    FoundFile,
    RefusedFolder,
    Stamp,
    walk,
)

__all__ = ["Limits", "RootNotFoundError", "ScanStopped", "Scanner", "name_of_root"]

_NO_STAMP = Stamp(-1, 0, 0, 0)
# File systems count time in ticks, so two writes within one may carry the same stamp (git calls such an entry racy).
_TICK: Final = 0.02


class RootNotFoundError(FileNotFoundError):
    """There is nothing to scan at the root that was given."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.root = root

    def __str__(self) -> str:
        return f"nothing to scan: there is no file or folder {self.root!r}"


class ScanStopped(Exception):  # noqa: N818 - a signal, not an error
    """A scan ended early because it was asked to; what it had done is in the index.

    Attributes:
        files_done: How many files it had dealt with.
    """

    def __init__(self, root: str, files_done: int) -> None:
        super().__init__(root, files_done)
        self.root, self.files_done = root, files_done

    def __str__(self) -> str:
        return f"the scan of {self.root!r} was stopped after {self.files_done} files; the next one goes on from there"


class Limits(Struct, frozen=True, kw_only=True):
    """The bounds of a scan.

    Attributes:
        source_bytes: A larger Python file is refused.
        file_bytes: Any other file that is larger is refused.
        batch: How many files are written to the index in one transaction.
        findings: How many findings a report lists, threats first; it counts them all.
        risks: How many of the riskiest files a report lists.
    """

    source_bytes: int = 5_000_000
    file_bytes: int = 64_000_000
    batch: int = 256
    findings: int = 1000
    risks: int = 10


class Scanner:
    """Scans roots into an index, one at a time."""

    def __init__(
        self,
        index: CodeIndex,
        *,
        clock: Callable[[], float],
        limits: Limits | None = None,
        excluded: AbstractSet[str] = EXCLUDED_FOLDERS,
    ) -> None:
        """Make a scanner.

        Args:
            index: Where to keep what is found; the scanner does not close it.
            clock: Counts seconds from anywhere, for `ScanReport.seconds`.
            limits: The bounds of every scan.
            excluded: Names of folders not to enter.
        """
        self._index, self._clock, self._excluded = index, clock, excluded
        self._limits = limits or Limits()

    def scan(
        self,
        root: str | os.PathLike[str],
        *,
        now: float,
        progress: Callable[[Progress], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> ScanReport:
        """Bring the index up to what lies under a root, and report.

        Args:
            root: A file or a folder; `name_of_root` is its name in the index.
            now: Unix time at which the scan starts. A file changed a moment before may change again unnoticed, so
                it is read again next time.
            progress: Told of each file before it is dealt with.
            should_stop: Asked before each file.

        Raises:
            RootNotFoundError: There is no such root.
            ScanStopped: ``should_stop`` said so.
            IndexUnusableError: The index could not be read or written.
        """
        place, name = _resolved(root), name_of_root(root)
        started = self._clock()
        run = _Run(self._index, name, now, self._limits)
        for item in walk(place, excluded=self._excluded):
            if should_stop():
                raise ScanStopped(name, 0)
            run.found(item)
        run.deal_with_all(progress, should_stop)
        return run.report(self._clock() - started)


class _Run:
    """One scan while it goes on."""

    def __init__(self, index: CodeIndex, root: str, now: float, limits: Limits) -> None:
        self._index, self._root, self._now, self._limits = index, root, now, limits
        self._rules = (
            f"rules {RULES_VERSION}, facts {FACTS_VERSION}, python {sys.version_info.major}.{sys.version_info.minor}, "
            f"source {limits.source_bytes}, file {limits.file_bytes}"
        )
        self._known = index.known(root)
        self._files: list[FoundFile] = []
        self._refused: list[Refusal] = []
        self._excluded: list[str] = []
        self._folders_refused: list[Refusal] = []
        self._batch: list[Entry] = []
        self._found = self._new = self._changed = self._unchanged = self._removed = self._read = 0

    def found(self, item: FoundFile | Refusal | ExcludedFolder | RefusedFolder) -> None:
        match item:
            case FoundFile():
                self._files.append(item)
            case Refusal():
                self._refused.append(item)
                if (known := self._known.get(item.path)) is None or known.refusal != item:
                    self._batch.append(RefusalRecord(item, _NO_STAMP, self._rules, self._now))
            case ExcludedFolder():
                self._excluded.append(item.path)
            case RefusedFolder():
                self._folders_refused.append(item.refusal)

    def deal_with_all(self, progress: Callable[[Progress], None] | None, should_stop: Callable[[], bool]) -> None:
        self._found = len(self._files) + len(self._refused)
        for done, file in enumerate(self._files, len(self._refused)):
            if should_stop():
                self._index.write(self._root, self._batch)
                raise ScanStopped(self._root, done)
            if progress is not None:
                progress(Progress(self._found, done, self._read, file.path))
            self._deal_with(file)
            if len(self._batch) >= self._limits.batch:
                self._index.write(self._root, self._batch)
                self._batch = []
        present = {file.path for file in self._files}.union(refusal.path for refusal in self._refused)
        gone = sorted(self._known.keys() - present)
        self._index.write(self._root, self._batch, gone)
        self._removed = sum(self._known[path].refusal is None for path in gone)

    def _deal_with(self, file: FoundFile) -> None:
        known = self._known.get(file.path)
        if known is not None and self._holds(known, file.stamp):
            if known.refusal is not None:
                self._refused.append(known.refusal)
            else:
                self._unchanged += 1
            return
        source = may_be_source(file.path)
        self._read += 1
        content = read(file, max_bytes=self._limits.source_bytes if source else self._limits.file_bytes, keep=source)
        outcome = content if isinstance(content, Refusal) else examine(file.path, content.data)
        if isinstance(outcome, Refusal):
            # What happened to the reading, and not to the file, is tried again next time.
            stamp = content.stamp if isinstance(content, Content) else _NO_STAMP
            if outcome.reason == "too_large":
                stamp = file.stamp
            self._refused.append(outcome)
            self._batch.append(RefusalRecord(outcome, stamp, self._rules, self._now))
            return
        assert isinstance(content, Content)
        record = _record(file.path, content, outcome, self._rules, self._now)
        self._count(known, record)
        self._batch.append((record, outcome.judgement.findings))

    def _holds(self, known: Known, stamp: Stamp) -> bool:
        settled = stamp.ctime_ns < (known.indexed_at - _TICK) * 1e9
        return known.stamp == stamp and known.rules == self._rules and settled

    def _count(self, known: Known | None, record: FileRecord) -> None:
        if known is None or known.refusal is not None:
            self._new += 1
            return
        before = self._index.file(self._root, record.path)
        if before is not None and before.sha256 == record.sha256:
            self._unchanged += 1
        else:
            self._changed += 1

    def report(self, seconds: float) -> ScanReport:
        index, root, limit = self._index, self._root, self._limits.findings
        threats = index.findings(root, severity="threat", limit=limit)
        warnings = index.findings(root, severity="warning", limit=limit - len(threats))
        riskiest = index.riskiest(root, limit=self._limits.risks)
        return ScanReport(
            root=root,
            files_found=self._found,
            files_indexed=self._new + self._changed + self._unchanged,
            files_refused=tuple(sorted(self._refused, key=lambda refusal: refusal.path)),
            files_new=self._new,
            files_changed=self._changed,
            files_unchanged=self._unchanged,
            files_removed=self._removed,
            files_read=self._read,
            folders_excluded=tuple(self._excluded),
            folders_refused=tuple(self._folders_refused),
            kinds={str(kind): count for kind, count in index.kinds(root).items()},
            severities={str(severity): count for severity, count in index.severities(root).items()},
            findings=(*threats, *warnings),
            risks=tuple(Risk(record.path, record.risk, record.factors) for record in riskiest),
            seconds=seconds,
        )


def name_of_root(root: str | os.PathLike[str]) -> str:
    """Return the name a root has in reports and in the index: absolute, without links, in written form.

    Raises:
        RootNotFoundError: There is no such root.
    """
    return written(_resolved(root))


def _resolved(root: str | os.PathLike[str]) -> str:
    try:
        return str(Path(root).resolve(strict=True))
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise RootNotFoundError(os.fspath(root)) from exc


def _record(path: str, content: Content, examined: Examined, rules: str, now: float) -> FileRecord:
    facts, judgement, classified = examined.facts, examined.judgement, examined.classification
    return FileRecord(
        path=path,
        stamp=content.stamp,
        rules=rules,
        indexed_at=now,
        sha256=content.sha256,
        kind=classified.kind,
        confidence=classified.confidence,
        features=classified.features,
        risk=judgement.risk,
        factors=judgement.factors,
        capabilities=judgement.capabilities,
        imports=() if facts is None else facts.imports,
        definitions=() if facts is None else facts.definitions,
        entry_points=() if facts is None else facts.entry_points,
        lines=0 if facts is None else facts.lines,
        evidence=classified.evidence,
        imported=() if facts is None else facts.imported,
        version="" if facts is None else facts.version,
        script=None if facts is None else facts.script,
    )
