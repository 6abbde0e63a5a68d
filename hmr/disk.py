"""The disk beside the code: which files a plugin's code is made of, and whether they say something new."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import anyio
import anyio.to_thread

from aetherra.kernel import PluginNotFoundError, Swapper
from aetherra.kernel.sources import Loaded

QUIET_SEC = 0.02
"""How long files must stay as they are before they count as wholly written."""
RESTLESS_SEC = 2.0
"""How long files may go on changing before they are taken as they are."""


class Disk:
    """Compares what is on disk with what was last tried, so that every save is tried once.

    What counts is content: neither a touch nor a save without a change is news.
    """

    def __init__(self, swapper: Swapper) -> None:
        self._swapper = swapper
        self._tried: dict[str, dict[Path, str]] = {}
        self._broken: set[str] = set()

    def files(self, plugin: str, place: Path) -> set[Path]:
        """Return the files that decide: the package's, or the single file and those beside it that it has imported.

        Where the last try failed, or nothing serves, anything beside it may be what is wrong.
        """
        if place.is_dir() or (plugin not in self._broken and self._code(plugin) is not None):
            return python_files(place) | self._imported(plugin).keys()
        return self._neighbourhood(plugin, place)

    def _neighbourhood(self, plugin: str, place: Path) -> set[Path]:
        files = python_files(place) | self._imported(plugin).keys()
        return files if place.is_dir() else files | python_files(place.parent, below=False)

    def _imported(self, plugin: str) -> dict[Path, bytes]:
        loaded = self._code(plugin)
        return loaded.code.files if loaded is not None and loaded.code is not None else {}

    def _code(self, plugin: str) -> Loaded | None:
        try:
            return self._swapper.current(plugin)
        except PluginNotFoundError:  # it was removed a moment ago
            return None

    def packages_beside(self, plugin: str, place: Path) -> set[Path]:
        """Return the folders of helper packages that a single file has imported."""
        tops = {place.parent / file.relative_to(place.parent).parts[0] for file in self._imported(plugin)}
        return {top for top in tops if top.suffix != ".py"}

    async def begin(self, plugin: str, place: Path | None) -> None:
        """Remember what is on disk as tried, and as broken until ``succeed``; call it just before trying."""
        self._broken.add(plugin)
        if place is not None:
            await self._note(plugin, place)

    def succeed(self, plugin: str) -> None:
        """Say that the try went well."""
        self._broken.discard(plugin)

    async def _note(self, plugin: str, place: Path) -> None:
        self._tried[plugin] = await _in_thread(self._neighbourhood(plugin, place))

    async def has_news(self, plugin: str, place: Path) -> bool:
        """Whether the disk says something that was not tried, once it has come to rest.

        Files that are not all there are no news: a save that replaces them may be under way.
        """
        if plugin not in self._tried:
            await self._note(plugin, place)
            self._tried[plugin] |= {file: _digest(data) for file, data in self._imported(plugin).items()}
        files = self.files(plugin, place)
        if self._is_tried(plugin, files, await _in_thread(files)):
            return False
        now = await _settled(files)
        entry = place if place.suffix == ".py" else place / "__init__.py"
        return entry in now and not self._is_tried(plugin, files, now)

    def _is_tried(self, plugin: str, files: set[Path], now: dict[Path, str]) -> bool:
        loaded = {file: _digest(data) for file, data in self._imported(plugin).items()}
        known = {**loaded, **self._tried[plugin]}
        return now == {file: known[file] for file in files & known.keys()}

    def forget_all_but(self, plugins: Iterable[str]) -> None:
        """Let go of plugins that are gone."""
        for plugin in self._tried.keys() - set(plugins):
            del self._tried[plugin]
            self._broken.discard(plugin)


def python_files(place: Path, *, below: bool = True) -> set[Path]:
    """Return the Python files that a place stands for: itself, or those in the folder."""
    if not place.is_dir():
        return {place}
    try:
        return set(place.rglob("*.py") if below else place.glob("*.py"))
    except OSError:  # it went away while it was listed
        return set()


async def _settled(files: set[Path]) -> dict[Path, str]:
    before = await _in_thread(files)
    with anyio.move_on_after(RESTLESS_SEC):
        while True:
            await anyio.sleep(QUIET_SEC)
            now = await _in_thread(files)
            if now == before:
                break
            before = now
    return before


async def _in_thread(files: set[Path]) -> dict[Path, str]:
    return await anyio.to_thread.run_sync(fingerprints, files)


def fingerprints(files: Iterable[Path]) -> dict[Path, str]:
    """Return a hash of each file's content; one that is not there has none."""
    found: dict[Path, str] = {}
    for file in files:
        try:
            found[file] = _digest(file.read_bytes())
        except OSError:
            continue
    return found


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
