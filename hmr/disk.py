"""The disk beside the code: which files a plugin's code is made of, and whether they say something new."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from aetherra.hmr.lease import is_being_written
from aetherra.kernel import PluginNotFoundError, Swapper
from aetherra.kernel.manager import Code
from aetherra.kernel.sources import Loaded

RESTLESS_SEC = 2.0
"""How long files may go on changing before they are taken as they are."""
SOON_SEC = 0.05
"""How soon after they were found files need no second look: another save is another swap."""
Signature = tuple[int, int, int]
"""When a file was written in nanoseconds, its bytes, and its inode."""


class News(msgspec.Struct, frozen=True):
    """Files that say something that was not tried yet, as they were when they had come to rest.

    Attributes:
        digests: The content of each file that decides.
        signatures: How the system described it before it was read.
        changed: Those that are not as they were tried.
        beside: The content of what is beside them, in case that is what is wrong.
        pause: Seconds that they should be left alone before another look; 0 if they are at rest.
        found_at: When that was, in monotonic seconds.
    """

    digests: dict[Path, str]
    signatures: dict[Path, Signature]
    changed: tuple[Path, ...]
    beside: dict[Path, str]
    pause: float
    found_at: float


class Disk:
    """Compares what is on disk with what was last tried, so that every save is tried once.

    What counts is content: neither a touch nor a save without a change is news.

    Args:
        swapper: Knows the code that serves.
        quiet: Seconds that files must have been left alone before they count as wholly written. A file that somebody
            holds open for writing never does, where the system can tell, as Linux can.
    """

    def __init__(self, swapper: Swapper, quiet: float) -> None:
        self._swapper = swapper
        self._quiet = quiet
        self._tried: dict[str, dict[Path, str]] = {}
        self._broken: set[str] = set()
        self._read: dict[Path, tuple[Signature, str]] = {}

    # Which files

    def files(self, plugin: str, place: Path) -> set[Path]:
        """Return the files that decide: the package's, or the single file and those beside it that it has imported.

        Data files that the code declares belong to them. Where the last try failed, or nothing serves, anything beside
        may be what is wrong.
        """
        code = self._code(plugin)
        files = python_files(place) | _imported(code) | _data_files(code, place)
        if plugin in self._broken or code is None:
            files |= python_files(place.parent, below=False)
        return files

    def concerns(self, plugin: str, place: Path, changed: set[Path]) -> bool:
        """Whether a change of these paths may be news for a plugin; cheap, and never wrong in saying no."""
        code = self._code(plugin)
        real = place.resolve()
        known = _imported(code) | self._tried.get(plugin, {}).keys() | {place, real}
        if real != place:  # the system tells of each file by one of its paths, whichever it likes
            known |= {file.resolve() for file in known}
        if not changed.isdisjoint(known):
            return True
        folders = {place, real, *data_folders(code, place)}
        if plugin in self._broken or code is None:
            folders |= {place.parent}
        return any(not folders.isdisjoint(path.parents) for path in changed)

    def _code(self, plugin: str) -> Code | None:
        try:
            return self._swapper.serving(plugin)
        except PluginNotFoundError:  # it was removed a moment ago
            return None

    def places_beside(self, plugin: str, place: Path) -> set[Path]:
        """Return what else is to be watched for a plugin: helper packages that it imported, and folders of data."""
        code = self._code(plugin)
        beside = {
            place.parent / file.relative_to(place.parent).parts[0]
            for file in _imported(code)
            if file.is_relative_to(place.parent)
        }
        return {top for top in beside if top.suffix != ".py"} | data_folders(code, place)

    # What was tried

    async def begin(self, plugin: str, place: Path | None, news: News | None = None) -> None:
        """Remember what is on disk, or what was found there, as tried, and as broken until ``succeed``."""
        self._broken.add(plugin)
        if news is not None:
            self._tried[plugin] = {**news.beside, **news.digests}
        elif place is not None:
            self._tried[plugin] = await anyio.to_thread.run_sync(self._all_digests, plugin, place)

    def succeed(self, plugin: str) -> None:
        """Say that the try went well."""
        self._broken.discard(plugin)

    def forget_all_but(self, plugins: Iterable[str]) -> None:
        """Let go of plugins that are gone, and of what was read of their files."""
        gone = self._tried.keys() - set(plugins)
        for plugin in gone:
            del self._tried[plugin]
            self._broken.discard(plugin)
        if gone:
            kept = {file for tried in self._tried.values() for file in tried}
            self._read = {file: read for file, read in self._read.copy().items() if file in kept}

    # What is new

    def distrust(self, changed: Iterable[Path]) -> None:
        """Read these again, even if they look as they did: two writes can fall into one tick of the file's clock."""
        for path in changed:
            self._read.pop(path, None)

    async def news(self, plugin: str, place: Path) -> News | None:
        """Return what the disk says that was not tried, once it has come to rest; ``None`` if that is nothing.

        Files that are not all there are no news: a save that replaces them may be under way.
        """
        await self.adopt(plugin, place)
        begun = time.monotonic()
        while True:
            news = await anyio.to_thread.run_sync(self._look, plugin, place)
            if not news.changed:
                return None
            if not news.pause or time.monotonic() - begun > RESTLESS_SEC:
                break
            await anyio.sleep(news.pause)
            self.distrust(news.changed)
        entry = place if place.suffix == ".py" else place / "__init__.py"
        return news if entry in news.digests else None

    async def adopt(self, plugin: str, place: Path) -> None:
        """Of a plugin that is new here, take what serves for what was tried; files that are none of it, as they are."""
        if plugin in self._tried:
            return
        code = self._code(plugin)
        snapshot = code.loaded.code.files if code is not None and code.loaded.code is not None else {}
        found = await anyio.to_thread.run_sync(self._all_digests, plugin, place)
        self._tried.setdefault(plugin, {**found, **{file: _digest(data) for file, data in snapshot.items()}})

    async def still(self, news: News, loaded: Loaded) -> bool:
        """Whether code came from the files as they were found; if that took long, whether they are so still."""
        read = loaded.code.files if loaded.code is not None else {}
        if any(_digest(read[file]) != news.digests.get(file) for file in read.keys() & set(news.changed)):
            return False
        if time.monotonic() - news.found_at < SOON_SEC:
            return True
        return await anyio.to_thread.run_sync(self._is_still, news)

    def _is_still(self, news: News) -> bool:
        return not _is_written(news.changed) and all(
            _signature(file) == signature for file, signature in news.signatures.items()
        )

    def _look(self, plugin: str, place: Path) -> News:
        files = self.files(plugin, place)
        found = self._read_all(files)
        digests = {file: digest for file, (_, digest) in found.items()}
        signatures = {file: signature for file, (signature, _) in found.items()}
        tried = self._tried[plugin]
        changed = tuple(sorted(file for file in files if digests.get(file) != tried.get(file)))
        pause = self._restlessness([file for file in changed if file in found], signatures) if changed else 0.0
        beside = self._digests(python_files(place.parent, below=False)) if changed else {}
        return News(digests, signatures, changed, beside, pause, time.monotonic())

    def _all_digests(self, plugin: str, place: Path) -> dict[Path, str]:
        return self._digests(self.files(plugin, place) | python_files(place.parent, below=False))

    def _digests(self, files: set[Path]) -> dict[Path, str]:
        return {file: digest for file, (_, digest) in self._read_all(files).items()}

    def _read_all(self, files: set[Path]) -> dict[Path, tuple[Signature, str]]:
        return {file: found for file in files if (found := self._fingerprint(file)) is not None}

    def _fingerprint(self, file: Path) -> tuple[Signature, str] | None:
        """Return a file's signature and the hash of its content; ``None`` if it cannot be read."""
        signature = _signature(file)
        if signature is None:
            return None
        read = self._read.get(file)
        if read is not None and read[0] == signature:
            return read
        try:
            read = signature, _digest(file.read_bytes())
        except OSError:
            return None
        self._read[file] = read
        return read

    def _restlessness(self, changed: list[Path], signatures: dict[Path, Signature]) -> float:
        if _is_written(changed):
            return self._quiet or 0.001
        age = (time.time_ns() - max((signatures[file][0] for file in changed), default=0)) / 1e9
        return max(0.0, self._quiet - age) if age >= 0 else 0.0  # a time to come says nothing about the past


def _is_written(files: Iterable[Path]) -> bool:
    return any(is_being_written(file) for file in files)


def python_files(place: Path, *, below: bool = True) -> set[Path]:
    """Return the Python files that a place stands for: itself, or those in the folder."""
    if not place.is_dir():
        return {place}
    try:
        return set(place.rglob("*.py") if below else place.glob("*.py"))
    except OSError:  # it went away while it was listed
        return set()


def _imported(code: Code | None) -> set[Path]:
    return set(code.loaded.code.files) if code is not None and code.loaded.code is not None else set()


def _data_files(code: Code | None, place: Path) -> set[Path]:
    found: set[Path] = set()
    for pattern in code.spec.plugin_type.data_files if code is not None else ():
        try:
            found |= {file for file in _folder(place).glob(pattern) if file.is_file()}
        except OSError:
            continue
    return found


def data_folders(code: Code | None, place: Path) -> set[Path]:
    """Return the folders that the data files of a plugin's code are in or below."""
    folders: set[Path] = set()
    for pattern in code.spec.plugin_type.data_files if code is not None else ():
        folder = _folder(place)
        for part in Path(pattern).parent.parts:
            if set(part) & set("*?["):
                break
            folder /= part
        folders.add(folder)
    return folders


def _folder(place: Path) -> Path:
    return place.parent if place.suffix == ".py" else place


def _signature(file: Path) -> Signature | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
