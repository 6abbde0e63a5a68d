"""Looks at every file: owns the cache of measures, so that no file is parsed twice while it is as it was."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from aetherra.plugins import AppendFile
from aetherra.plugins.self_incorporation.code.source import IMPORTED
from aetherra.plugins.self_incorporation.index.rows import FileRecord
from aetherra.plugins.self_incorporation.night.insights.census import Census, CountedFile
from aetherra.plugins.self_incorporation.night.insights.measure import Measured, measure, names_in
from aetherra.plugins.self_incorporation.night.library import Library
from aetherra.plugins.self_incorporation.night.pace import Steps

__all__ = ["CensusTaker", "MeasureCache"]

PAGE = 50
"""Records that are asked of the library at a time."""
_NAMING = (".toml", ".json", ".cfg", ".ini", ".yaml", ".yml", ".aether")  # may name code that is to be loaded
_STEP = 50


class MeasureCache:
    """The measures of files by their SHA-256, in a file of one line each; a line that cannot be read is left out.

    Args:
        path: Of the file; None keeps them in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = AppendFile(path) if path is not None else None
        self._held: dict[str, Measured] = {}
        self._loaded = False

    def load(self) -> Steps[None, None]:
        """Read what was measured before, once."""
        if self._loaded:
            return
        decoder = msgspec.json.Decoder(Measured)
        for number, line in enumerate(self._file.lines() if self._file else ()):
            try:
                measured = decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            self._held[measured.sha256] = measured
            if number % _STEP == 0:
                yield None
        self._loaded = True

    def get(self, sha256: str) -> Measured | None:
        """Return the measures of these bytes, if they were taken, and are loaded."""
        return self._held.get(sha256)

    def add(self, measured: Measured) -> None:
        """Keep measures; raises `DataFileError` if the disk does not take them."""
        if self._file is not None:
            self._file.append(msgspec.json.encode(measured))
        self._held[measured.sha256] = measured

    def let_go(self, wanted: set[str]) -> Steps[None, None]:
        """Forget what is not wanted any more, and the rest until it is loaded again.

        Raises:
            DataFileError: The disk does not take the shorter file; the longer one stands.
        """
        kept = {sha256: measured for sha256, measured in self._held.items() if sha256 in wanted}
        yield None
        if self._file is not None:
            if len(kept) < len(self._held):
                lines: list[bytes] = []
                for number, measured in enumerate(kept.values()):
                    lines.append(msgspec.json.encode(measured))
                    if number % _STEP == 0:
                        yield None
                self._file.replace(lines)
            self.unload()
        else:
            self._held = kept

    def unload(self) -> None:
        """Hold nothing until it is loaded again; in memory alone, all is held."""
        if self._file is not None:
            self._held, self._loaded = {}, False

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class CensusTaker:
    """Makes the census of a root.

    Args:
        library: What is there.
        cache: What was measured before.
        most_files: How many files are measured, those that changed last first.
        most_bytes: Larger ones are not measured.
    """

    def __init__(self, library: Library, cache: MeasureCache, most_files: int, most_bytes: int) -> None:
        self._library, self._cache = library, cache
        self._most_files, self._most_bytes = most_files, most_bytes

    def census(self) -> Steps[None, Census]:
        """Read the index, and measure what was not measured as it is now."""
        records = yield from self._records()
        yield from self._cache.load()
        tests = {path.rpartition("/")[2] for path in records}
        census = Census(files={}, names=set(), unmeasured={})
        sources = [record for record in records.values() if record.path.endswith(IMPORTED)]
        sources.sort(key=lambda record: -record.stamp.mtime_ns)
        yield None
        for record in sources[self._most_files :]:
            census.unmeasured[record.path] = f"more than {self._most_files} files changed after it"
        wanted: set[str] = set()
        for record in sources[: self._most_files]:
            measured = yield from self._measured(record)
            if measured.problem:
                census.unmeasured[record.path] = measured.problem
            else:
                census.names.update(measured.names.split())
            wanted.add(record.sha256)
            census.files[record.path] = _counted(record, measured, tests)
            yield None
        for path, record in records.items():
            if path not in census.files:
                census.files[path] = _counted(record, None, tests)
                if path.endswith(_NAMING) and (data := self._library.read(path, limit=self._most_bytes)) is not None:
                    census.names.update(names_in(data.decode("utf-8", "replace")))
                yield None
        yield from self._cache.let_go(wanted)
        return census

    def _records(self) -> Steps[None, dict[str, FileRecord]]:
        records: dict[str, FileRecord] = {}
        page: Sequence[FileRecord] = self._library.files(after="", limit=PAGE)
        while page:
            records.update((record.path, record) for record in page)
            yield None
            page = self._library.files(after=page[-1].path, limit=PAGE)
        return records

    def _measured(self, record: FileRecord) -> Steps[None, Measured]:
        known = self._cache.get(record.sha256)
        if known is not None:
            return known
        data = None
        if record.stamp.size <= self._most_bytes:
            data = self._library.read(record.path, limit=self._most_bytes)
            if data is None or hashlib.sha256(data).hexdigest() != record.sha256:
                return Measured(sha256=record.sha256, problem="it is not there as it was")
        yield None
        if data is None:
            measured = Measured(
                sha256=record.sha256, problem=f"it has {record.stamp.size} bytes, more than {self._most_bytes}"
            )
        else:
            measured = yield from measure(record.path, record.sha256, data)
        self._cache.add(measured)
        return measured


def _counted(record: FileRecord, measured: Measured | None, names: set[str]) -> CountedFile:
    kept = None
    if measured is not None and not measured.problem:
        kept = msgspec.structs.replace(measured, names="")
    name = record.path.rpartition("/")[2]
    return CountedFile(
        path=record.path,
        kind=record.kind,
        lines=record.lines,
        definitions=record.definitions,
        has_test=f"test_{name}" in names,
        measured=kept,
    )
