"""The disk beside the code: which files a plugin's code is made of, and whether they say something new."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from aetherra.hmr.files import PluginFiles, python_files
from aetherra.hmr.lease import is_being_written
from aetherra.kernel.sources import Loaded

PATIENCE_SEC = 0.1
"""How long files that are being written are waited for before others have their turn."""
FEW = 4
"""Files that the event loop itself may ask the system about."""
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
        files: Knows which files a plugin has.
        quiet: Seconds that files must have been left alone before they count as wholly written. A file that somebody
            holds open for writing never does, where the system can tell, as Linux can.
    """

    def __init__(self, files: PluginFiles, quiet: float) -> None:
        self._files = files
        self._quiet = quiet
        self._tried: dict[str, dict[Path, str]] = {}
        self._beside: dict[str, dict[Path, str]] = {}
        self._before: dict[str, tuple[dict[Path, str] | None, dict[Path, str], bool]] = {}
        self._broken: set[str] = set()
        self._read: dict[Path, tuple[Signature, str]] = {}
        self._doubts = 0

    # What was tried

    async def begin(self, plugin: str, place: Path | None, news: News | None = None) -> None:
        """Remember what is on disk, or what was found there, as tried, and as broken until ``succeed`` or ``undo``."""
        self._before[plugin] = self._tried.get(plugin), self._beside.get(plugin, {}), plugin in self._broken
        self._broken.add(plugin)
        if news is not None:
            self._tried[plugin], self._beside[plugin] = news.digests, news.beside
        elif place is not None:
            await anyio.to_thread.run_sync(self._note, plugin, place, {})

    def _note(self, plugin: str, place: Path, snapshot: dict[Path, bytes]) -> None:
        loaded = {file: _digest(data) for file, data in snapshot.items()}
        self._tried[plugin] = {**self._digests(self._files.of(plugin, place)), **loaded}
        self._beside[plugin] = self._digests(python_files(place.parent, below=False))

    def undo(self, plugin: str) -> None:
        """Say that nothing was tried after all: what was news is news again."""
        tried, beside, was_broken = self._before.pop(plugin, (None, {}, False))
        if tried is not None:
            self._tried[plugin], self._beside[plugin] = tried, beside
        if not was_broken:
            self._broken.discard(plugin)

    async def succeed(self, plugin: str, place: Path | None) -> None:
        """Say that the try went well, or does not matter any more: what serves now says which files decide."""
        self._broken.discard(plugin)
        if place is not None:
            await anyio.to_thread.run_sync(self._settle, plugin, place)

    def _settle(self, plugin: str, place: Path) -> None:
        loaded = {file: _digest(data) for file, data in self._files.snapshot(plugin).items()}
        known = {**loaded, **self._tried.get(plugin, {})}
        self._tried[plugin] = {file: known[file] for file in self._files.of(plugin, place) & known.keys()}

    def forget_all_but(self, plugins: Iterable[str]) -> None:
        """Let go of plugins that are gone, and of what was read of their files."""
        gone = self._tried.keys() - set(plugins)
        for plugin in gone:
            del self._tried[plugin]
            self._beside.pop(plugin, None)
            self._broken.discard(plugin)
            self._files.forget(plugin)
        if gone:
            noted = [*self._tried.values(), *self._beside.values()]
            kept = {file for files in noted for file in files}
            self._read = {file: read for file, read in self._read.copy().items() if file in kept}

    # What is new

    def concerns(self, plugin: str, place: Path, changed: set[Path]) -> bool:
        """Whether a change of these paths may be news for a plugin; cheap, and never wrong in saying no.

        Where the last try failed, or nothing serves, anything beside may be what is wrong.
        """
        if self._is_open(plugin) and any(path.parent == place.parent for path in changed):
            return True
        known = self._tried.get(plugin, {}).keys()
        return not changed.isdisjoint(known) or self._files.concern(plugin, place, changed)

    def _is_open(self, plugin: str) -> bool:
        return plugin in self._broken or not self._files.serves(plugin)

    def distrust(self, changed: Iterable[Path]) -> None:
        """Read these again, even if they look as they did: two writes can fall into one tick of the file's clock."""
        self._doubts += 1
        for path in changed:
            self._read.pop(path, None)

    async def news(self, plugin: str, place: Path) -> News | None:
        """Return what the disk says that was not tried; ``None`` if that is nothing.

        It is waited for a moment until it has come to rest: with a ``pause`` it has not, and must not be loaded.
        Files that are not all there are no news: a save that replaces them may be under way.
        """
        await self.adopt(plugin, place)
        begun = time.monotonic()
        while True:
            news = await anyio.to_thread.run_sync(self._look, plugin, place)
            if not news.changed:
                return None
            if not news.pause or time.monotonic() + news.pause - begun > PATIENCE_SEC:
                break
            await anyio.sleep(news.pause)
            if len(news.changed) <= FEW and self._is_still(news, news.changed):  # quicker than another look
                news = msgspec.structs.replace(news, pause=0.0, found_at=time.monotonic())
                break
            self.distrust(news.changed)
        entry = place if place.suffix == ".py" else place / "__init__.py"
        return news if entry in news.digests else None

    async def adopt(self, plugin: str, place: Path) -> None:
        """Of a plugin that is new here, take what serves for what was tried; files that are none of it, as they are."""
        if plugin not in self._tried:
            await anyio.to_thread.run_sync(self._note, plugin, place, self._files.snapshot(plugin))

    async def still(self, news: News, loaded: Loaded) -> bool:
        """Whether code came from the files as they were found; if that took long, whether they are so still."""
        read = loaded.code.files if loaded.code is not None else {}
        found = {**news.beside, **news.digests}
        if any(_digest(read[file]) != found.get(file) for file in read.keys() & set(news.changed)):
            return False
        if time.monotonic() - news.found_at < SOON_SEC:
            return True
        return await anyio.to_thread.run_sync(self._is_still, news, news.signatures)

    def _is_still(self, news: News, files: Iterable[Path]) -> bool:
        return not _is_written(news.changed) and all(_signature(file) == news.signatures.get(file) for file in files)

    def _look(self, plugin: str, place: Path) -> News:
        tried = self._tried.get(plugin, {})
        own = self._files.of(plugin, place) | tried.keys()
        beside = python_files(place.parent, below=False) - own
        if self._is_open(plugin):
            tried = {**self._beside.get(plugin, {}), **tried}
        decisive = own | beside if self._is_open(plugin) else own
        found = self._read_all(decisive)
        changed = tuple(
            sorted(file for file in decisive if (found[file][1] if file in found else None) != tried.get(file))
        )
        return News(
            digests={file: found[file][1] for file in own & found.keys()},
            signatures={file: signature for file, (signature, _) in found.items()},
            changed=changed,
            beside=self._digests(beside) if changed else {},
            pause=self._restlessness([found[file][0] for file in changed if file in found], changed),
            found_at=time.monotonic(),
        )

    def _digests(self, files: set[Path]) -> dict[Path, str]:
        return {file: digest for file, (_, digest) in self._read_all(files).items()}

    def _read_all(self, files: set[Path]) -> dict[Path, tuple[Signature, str]]:
        return {file: found for file in files if (found := self._fingerprint(file)) is not None}

    def _fingerprint(self, file: Path) -> tuple[Signature, str] | None:
        """Return a file's signature and the hash of its content; ``None`` if it cannot be read."""
        doubts = self._doubts
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
        if doubts == self._doubts:  # or it may have been written since
            self._read[file] = read
        return read

    def _restlessness(self, signatures: list[Signature], changed: tuple[Path, ...]) -> float:
        if not signatures:
            return 0.0
        if _is_written(changed):
            return self._quiet or 0.001
        age = (time.time_ns() - max(signatures)[0]) / 1e9
        return max(0.0, self._quiet - age) if age >= 0 else 0.0  # a time to come says nothing about the past


def _is_written(files: Iterable[Path]) -> bool:
    return any(is_being_written(file) for file in files)


def _signature(file: Path) -> Signature | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
