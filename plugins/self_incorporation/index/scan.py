"""One scan of one root: what is new or changed is read and judged, what is gone is dropped, and a report is made."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import Final

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import HeuristicClassifier
from aetherra.plugins.self_incorporation.code.examine import Examined, examine
from aetherra.plugins.self_incorporation.code.findings import Refusal
from aetherra.plugins.self_incorporation.code.panel import Panel
from aetherra.plugins.self_incorporation.code.source import may_be_source
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex, Known
from aetherra.plugins.self_incorporation.index.reading import Content, read
from aetherra.plugins.self_incorporation.index.report import LeftOut, Progress, Risk, ScanReport
from aetherra.plugins.self_incorporation.index.rows import Entry, FileRecord, RefusalRecord, place_of
from aetherra.plugins.self_incorporation.index.walk import (
    ExcludedFolder,
    Folder,
    FoundFile,
    RefusedFolder,
    Stamp,
    Tree,
    Walked,
    folder_of,
)

__all__ = ["Limits", "Scan", "ScanStopped", "Tools"]

_NO_STAMP = Stamp(-1, 0, 0, 0)
# File systems count time in ticks, so two writes within one may carry the same stamp (git calls such an entry racy).
_TICK: Final = 0.02


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
        batch: How many files are written to the index in one transaction, and ``batch_bytes`` how many bytes of source.
        findings: How many findings a report lists, threats first; it counts them all.
        refusals: How many refusals a report lists; it counts them all.
        risks: How many of the riskiest files a report lists.
        changed: How many files that are new or changed a report lists.
    """

    source_bytes: int = 5_000_000
    file_bytes: int = 64_000_000
    batch: int = 256
    batch_bytes: int = 8_000_000
    findings: int = 1000
    refusals: int = 1000
    risks: int = 10
    changed: int = 1000


class Tools(Struct, frozen=True):
    """What every scan works with."""

    index: CodeIndex
    limits: Limits
    classifier: HeuristicClassifier
    rules: str
    clock: Callable[[], float]
    panel: Panel | None = None


class Scan:
    """One scan while it goes on; it is done once, by `whole` or by `part`."""

    def __init__(
        self,
        tools: Tools,
        tree: Tree,
        root: str,
        now: float,
        progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], bool],
    ) -> None:
        self._tools, self._tree, self._root, self._now = tools, tree, root, now
        self._progress, self._should_stop = progress, should_stop
        self._started = tools.clock()
        self._expected = 0
        self._done: set[str] = set()
        self._excluded: list[str] = []
        self._refused: list[Refusal] = []
        self._batch: list[Entry] = []
        self._batch_bytes = 0
        self._changed_paths: list[str] = []
        self._found = self._new = self._changed = self._removed = self._read = 0

    def whole(self, first: Iterable[str]) -> ScanReport:
        """Look at all of the root."""
        index, root = self._tools.index, self._root
        if self._progress is not None:
            self._expected = self._tree.count(self._should_stop)
        self._classify_anew()
        self._deal_first(first)
        folders: set[str] = set()
        for item in self._tree.walk():
            self._take(item, folders)
        self._drop(index.folders(root) - folders)
        self._write()
        index.note(root, left_out=LeftOut(tuple(sorted(self._excluded)), _by_path(self._refused)))
        index.sync()
        return self._report(sum(index.counts(root)) if self._is_shut else self._found)

    def part(self, changed: Iterable[str]) -> ScanReport:
        """Look at what became of some paths, and tell the rest from the index."""
        index, root, tree = self._tools.index, self._root, self._tree
        self._classify_anew()
        listed, walked = self._to_look_at(changed)
        folders: set[str] = set()
        for folder in sorted(listed):
            for item in tree.look(folder):
                self._take(item, folders)
        for folder in sorted(walked):
            for item in tree.walk(folder):
                self._take(item, folders)

        enters = cache(tree.reaches)

        def is_stale(folder: str) -> bool:
            """Say whether what was known of a folder is to be believed no more: it was looked at, or is gone."""
            if folder in listed or not walked.isdisjoint(_and_above(folder)):
                return True
            ways = _and_above(folder)
            return any(above in listed and not enters(below) for below, above in pairwise(ways))

        self._drop({folder for folder in index.folders(root) - folders if is_stale(folder)})
        self._write()
        before = index.left_out(root)
        excluded = {path for path in before.excluded if tree.leaves_out(path)}
        shut = [it for it in before.refused if not is_stale("" if it.path == "." else it.path)]
        left_out = LeftOut(tuple(sorted(excluded.union(self._excluded))), _by_path([*shut, *self._refused]))
        index.note(root, left_out=left_out)
        index.sync()
        return self._report(sum(index.counts(root)))

    def _to_look_at(self, changed: Iterable[str]) -> tuple[set[str], set[str]]:
        """Return the folders to list, and those to walk with all that is below them.

        A path is listed by the nearest folder above it that a walk enters, and walked if it is a folder itself.
        """
        tree = self._tree
        listed: set[str] = set()
        walked: set[str] = set()
        for path in changed:
            below = folder_of(path) if path.endswith("/pyvenv.cfg") else path  # what makes a folder one to leave out
            while below and not tree.reaches(folder_of(below)):
                below = folder_of(below)
            listed.add(folder_of(below))
            if below and tree.may_enter(below):
                walked.add(below)
        walked -= {folder for folder in walked if not walked.isdisjoint(_above(folder))}
        return {folder for folder in listed if walked.isdisjoint(_and_above(folder))}, walked

    def _classify_anew(self) -> None:
        """Have all that is known classified under the weights of this scan, if it was not."""
        index, classifier = self._tools.index, self._tools.classifier
        if index.weights(self._root) != classifier.fingerprint:
            index.reclassify(self._root, classifier.score)
            index.note(self._root, weights=classifier.fingerprint)

    def _deal_first(self, paths: Iterable[str]) -> None:
        for path in paths:
            found = self._tree.find(path)
            if found is not None and path not in self._done:
                folder, name = place_of(path)
                known = self._tools.index.known(self._root, folder, name=name)
                self._deal_with(found, known.get(path))
                self._done.add(path)

    def _take(self, item: Walked, folders: set[str]) -> None:
        match item:
            case Folder():
                if item.items:
                    folders.add(item.path)
                self._take_folder(item)
            case ExcludedFolder():
                self._excluded.append(item.path)
            case RefusedFolder():
                self._refused.append(item.refusal)

    def _take_folder(self, folder: Folder) -> None:
        known = self._tools.index.known(self._root, folder.path)
        for item in folder.items:
            if item.path in self._done:
                continue
            self._deal_with(item, known.get(item.path))
        gone = known.keys() - {item.path for item in folder.items}
        if gone:
            self._removed += sum(known[path].refusal is None for path in gone)
            self._tools.index.write(self._root, (), gone=sorted(gone))

    def _drop(self, folders: set[str]) -> None:
        """Drop what lay in folders that are gone; none is where the root cannot be listed, and all stays as it was."""
        if self._is_shut:
            return
        index, root = self._tools.index, self._root
        self._removed += sum(index.counts(root, folder=folder)[0] for folder in folders)
        index.write(root, (), gone_folders=sorted(folders))

    @property
    def _is_shut(self) -> bool:
        return any(refusal.path == "." for refusal in self._refused)

    def _deal_with(self, item: FoundFile | Refusal, known: Known | None) -> None:
        if self._should_stop():
            self._write()
            raise ScanStopped(self._root, self._found)
        if self._progress is not None:
            self._progress(Progress(max(self._expected, self._found + 1), self._found, self._read, item.path))
        self._found += 1
        if isinstance(item, Refusal):
            if known is None or known.refusal != item:
                self._keep(RefusalRecord(item, _NO_STAMP, self._tools.rules, self._now))
        elif known is None or not self._holds(known, item.stamp):
            self._examine(item, known)

    def _examine(self, file: FoundFile, known: Known | None) -> None:
        limits, rules = self._tools.limits, self._tools.rules
        source = may_be_source(file.path)
        self._read += 1
        content = read(file, max_bytes=limits.source_bytes if source else limits.file_bytes, keep=source)
        if isinstance(content, Refusal):
            # What happened to the reading, and not to the file, is tried again next time.
            stamp = file.stamp if content.reason == "too_large" else _NO_STAMP
            self._keep(RefusalRecord(content, stamp, rules, self._now))
            return
        outcome = examine(file.path, content.data, self._tools.classifier)
        if self._tools.panel is not None and not self._tools.panel.is_whole:
            rules = f"{rules}, not all were asked"  # so that it is read again
        if isinstance(outcome, Refusal):
            self._keep(RefusalRecord(outcome, content.stamp, rules, self._now))
            return
        record = _record(file.path, content, outcome, rules, self._now)
        if known is None or known.sha256 != record.sha256:
            self._new += known is None or known.refusal is not None
            self._changed += known is not None and known.refusal is None
            if len(self._changed_paths) < limits.changed:
                self._changed_paths.append(record.path)
        self._batch_bytes += len(content.data)
        self._keep((record, outcome.judgement.findings))

    def _holds(self, known: Known, stamp: Stamp) -> bool:
        settled = stamp.ctime_ns < (known.indexed_at - _TICK) * 1e9
        return known.stamp == stamp and known.rules == self._tools.rules and settled

    def _keep(self, entry: Entry) -> None:
        self._batch.append(entry)
        if len(self._batch) >= self._tools.limits.batch or self._batch_bytes >= self._tools.limits.batch_bytes:
            self._write()

    def _write(self) -> None:
        if self._batch:
            self._tools.index.write(self._root, self._batch)
        self._batch, self._batch_bytes = [], 0

    def _report(self, found: int) -> ScanReport:
        index, root, limit = self._tools.index, self._root, self._tools.limits.findings
        threats = index.findings(root, severity="threat", limit=limit)
        warnings = index.findings(root, severity="warning", limit=limit - len(threats))
        riskiest = index.riskiest(root, limit=self._tools.limits.risks)
        left_out = index.left_out(root)
        indexed, refusals = index.counts(root)
        return ScanReport(
            root=root,
            files_found=found,
            files_indexed=indexed,
            files_refused=tuple(index.refusals(root, limit=self._tools.limits.refusals)),
            refusals=refusals,
            files_new=self._new,
            files_changed=self._changed,
            files_unchanged=indexed - self._new - self._changed,
            files_removed=self._removed,
            files_read=self._read,
            folders_excluded=left_out.excluded,
            folders_refused=left_out.refused,
            kinds={str(kind): count for kind, count in index.kinds(root).items()},
            severities={str(severity): count for severity, count in index.severities(root).items()},
            findings=(*threats, *warnings),
            risks=tuple(Risk(record.path, record.risk, record.factors) for record in riskiest),
            seconds=self._tools.clock() - self._started,
            changed=tuple(self._changed_paths),
        )


def _by_path(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    return tuple({refusal.path: refusal for refusal in sorted(refusals, key=lambda it: it.path)}.values())


def _above(folder: str) -> Iterator[str]:
    """Yield the folders that a folder lies in, the root last."""
    while folder:
        folder = folder_of(folder)
        yield folder


def _and_above(folder: str) -> tuple[str, ...]:
    return (folder, *_above(folder))


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
