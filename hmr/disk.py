"""The disk beside the code: which files a plugin's code is made of, and whether they say something new."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import anyio
import anyio.to_thread
import msgspec

from aetherra.hmr.contents import Contents, Signature, digest, signature
from aetherra.hmr.files import PluginFiles, python_files
from aetherra.hmr.lease import is_being_written
from aetherra.kernel.sources import Loaded

PATIENCE_SEC = 0.1
"""How long files that are being written are waited for before others have their turn."""
FEW = 4
"""Files that the event loop itself may ask the system about."""
SOON_SEC = 0.05
"""How soon after they were found files need no second look: another save is another swap."""
COME_BACK_SEC = 0.05
"""How long a file that is gone is waited for: some tools delete a file to write it anew."""
STEP_SEC = 0.01
"""How often it is looked for."""


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
        self._unserved: set[str] = set()
        self._served: dict[str, dict[Path, str]] = {}
        self._contents = Contents()

    # What was tried

    async def begin(self, plugin: str, place: Path | None, news: News | None = None) -> None:
        """Remember what is on disk, or what was found there, as tried, and as broken until ``succeed`` or ``undo``."""
        self._before[plugin] = self._tried.get(plugin), self._beside.get(plugin, {}), plugin in self._broken
        self._broken.add(plugin)
        if news is not None:
            self._tried[plugin], self._beside[plugin] = news.digests, news.beside
        elif place is not None:
            await anyio.to_thread.run_sync(self._note, plugin, place)

    def _note(self, plugin: str, place: Path, known: Mapping[Path, str] = MappingProxyType({})) -> None:
        (self._unserved.discard if self._files.serves(plugin) else self._unserved.add)(plugin)
        self._tried[plugin] = {**self._contents.digests(self._files.of(plugin, place)), **known}
        self._beside[plugin] = self._contents.digests(python_files(place.parent, below=False))

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
        data = self._contents.digests(self._files.data(plugin, place))  # the new code may be the first to name it
        known = {**data, **self._loaded(plugin), **self._tried.get(plugin, {})}
        if self._files.serves(plugin):
            self._unserved.discard(plugin)
        self._tried[plugin] = {file: known[file] for file in self._files.of(plugin, place) & known.keys()}
        self._served[plugin] = {**self._tried[plugin], **self._loaded(plugin)}

    def _loaded(self, plugin: str) -> dict[Path, str]:
        return {file: digest(data) for file, data in self._files.snapshot(plugin).items()}

    def forget_all_but(self, plugins: Iterable[str]) -> None:
        """Let go of plugins that are gone, and of what was read of their files."""
        gone = self._tried.keys() - set(plugins)
        for plugin in gone:
            del self._tried[plugin]
            self._beside.pop(plugin, None)
            self._before.pop(plugin, None)
            self._broken.discard(plugin)
            self._unserved.discard(plugin)
            self._served.pop(plugin, None)
            self._files.forget(plugin)
        if gone:
            noted = [*self._tried.values(), *self._beside.values()]
            self._contents.forget_all_but({file for files in noted for file in files})

    # What is new

    def concerns(self, plugin: str, place: Path, changed: set[Path]) -> bool:
        """Whether a change of these paths may be news for a plugin; cheap, and never wrong in saying no.

        Where the last try failed, or nothing serves, anything beside may be what is wrong.
        """
        if self._is_open(plugin) and any(path.parent == place.parent for path in changed):
            return True
        known = self._tried.get(plugin, {}).keys()
        if not changed.isdisjoint(known) or self._files.concern(plugin, place, changed):
            return True
        return not _folders_above(known).isdisjoint(changed)  # one that is moved is told, but not what is in it

    def _is_open(self, plugin: str) -> bool:
        return plugin in self._broken or not self._files.serves(plugin)

    def distrust(self, changed: Iterable[Path]) -> None:
        """Read these again, even if they look as they did: two writes can fall into one tick of the file's clock."""
        self._contents.distrust(changed)

    async def news(self, plugin: str, place: Path) -> News | None:
        """Return what the disk says that was not tried; ``None`` if that is nothing.

        It is waited for a moment until it has come to rest: with a ``pause`` it has not, and must not be loaded.
        Files that are not all there are no news: a save that replaces them may be under way.
        """
        await self.adopt(plugin, place)
        entry = place if place.suffix == ".py" else place / "__init__.py"
        begun = time.monotonic()
        while True:
            news = await anyio.to_thread.run_sync(self._look, plugin, place)
            if not news.changed or entry not in news.digests:
                return None
            waited = time.monotonic() - begun
            is_whole = news.signatures.keys() >= set(news.changed)
            pause = news.pause if is_whole else max(news.pause, min(STEP_SEC, COME_BACK_SEC - waited))
            if pause <= 0 or waited + pause > PATIENCE_SEC:
                return news
            await anyio.sleep(pause)
            if is_whole and len(news.changed) <= FEW and self._is_still(news, news.changed):  # quicker than a look
                return msgspec.structs.replace(news, pause=0.0, found_at=time.monotonic())
            self.distrust(news.changed)

    def is_what_serves(self, plugin: str, news: News) -> bool:
        """Whether news are the files of the code that serves, each as it was: something else was tried meanwhile."""
        return self._files.serves(plugin) and news.digests == self._served.get(plugin)

    async def adopt(self, plugin: str, place: Path) -> None:
        """Of a plugin that is new here, take what serves for what was tried; files that are none of it, as they are.

        One that did not serve before is looked at anew once it does, as only its code says what else is part of it;
        what was seen of its files then stays seen.
        """
        if plugin not in self._tried or (plugin in self._unserved and self._files.serves(plugin)):
            await anyio.to_thread.run_sync(self._adopt, plugin, place)

    def _adopt(self, plugin: str, place: Path) -> None:
        seen = {**self._beside.get(plugin, {}), **self._tried.get(plugin, {})}
        seen = {file: seen[file] for file in self._files.of(plugin, place) & seen.keys()}
        self._note(plugin, place, {**seen, **self._loaded(plugin)})
        self._served[plugin] = self._tried[plugin]

    async def still(self, news: News, loaded: Loaded) -> bool:
        """Whether code came from the files as they were found, and these say so still.

        A touch, or the same bytes written again, changes nothing; where that took long, every file is asked.
        """
        generation = loaded.code
        read = generation.files if generation is not None else {}
        found = {**news.beside, **news.digests}
        if any(digest(read[file]) != found.get(file) for file in read.keys() & set(news.changed)):
            return False
        files = set(news.changed)
        if time.monotonic() - news.found_at >= SOON_SEC:
            files |= news.signatures.keys()
        if len(files) <= FEW and self._is_still(news, files):
            return True
        return await anyio.to_thread.run_sync(self._says_the_same, news.changed, files, found)

    def _is_still(self, news: News, files: Iterable[Path]) -> bool:
        return not _is_written(news.changed) and all(signature(file) == news.signatures.get(file) for file in files)

    def _says_the_same(self, changed: Iterable[Path], files: set[Path], found: dict[Path, str]) -> bool:
        return not _is_written(changed) and self._contents.digests(files) == {
            file: found[file] for file in files & found.keys()
        }

    def _look(self, plugin: str, place: Path) -> News:
        tried = self._tried.get(plugin, {})
        own = self._files.of(plugin, place) | tried.keys()
        beside = python_files(place.parent, below=False) - own
        if self._is_open(plugin):
            tried = {**self._beside.get(plugin, {}), **tried}
        decisive = own | beside if self._is_open(plugin) else own
        found = self._contents.of(decisive)
        digests = {file: content.digest for file, content in found.items()}
        changed = tuple(sorted(file for file in decisive if digests.get(file) != tried.get(file)))
        return News(
            digests={file: digests[file] for file in own & found.keys()},
            signatures={file: content.signature for file, content in found.items()},
            changed=changed,
            beside=self._contents.digests(beside) if changed else {},
            pause=self._restlessness(changed, [found[file].written_ns for file in changed if file in found]),
            found_at=time.monotonic(),
        )

    def _restlessness(self, changed: tuple[Path, ...], written_ns: list[int]) -> float:
        if not written_ns:
            return 0.0
        if _is_written(changed):
            return self._quiet or 0.001
        age = max(0.0, (time.time_ns() - max(written_ns)) / 1e9)  # clocks can be set back
        return max(0.0, self._quiet - age)


def _is_written(files: Iterable[Path]) -> bool:
    return any(is_being_written(file) for file in files)


def _folders_above(files: Iterable[Path]) -> set[Path]:
    folders = {file.parent for file in files}
    return folders.union(*(folder.parents for folder in folders))
