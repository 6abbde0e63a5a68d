"""Folders of plugins: a plugin that is put into one is brought up, and one that is taken out is stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from aetherra.hmr.contents import Signature, signature
from aetherra.hmr.files import python_files, real
from aetherra.hmr.lease import is_being_written
from aetherra.hmr.recognition import Texts
from aetherra.kernel import PluginLoadError, PluginNotFoundError, Swapper
from aetherra.registry.errors import AetherraError

GONE_SEC = 1.0
"""How long a plugin's file must be gone before it is stopped: some editors delete a file to write it anew."""
WRITTEN_SEC = 0.05
"""Seconds between two looks at a file that somebody holds open for writing."""


class _Place(msgspec.Struct, frozen=True):
    """A file or package in one of the folders, as it was found.

    Attributes:
        path: Where it is.
        real: Where that leads to.
        plugin: What is made of it; empty if nothing is.
        leads_out: Whether that is in none of the folders.
        files: Its own.
        beside: All of the folder.
    """

    path: Path
    real: Path
    plugin: str
    leads_out: bool
    files: dict[Path, Signature]
    beside: dict[Path, Signature]

    def pause(self, quiet: float) -> float:
        """Return how long it must still be left alone before it counts as wholly written."""
        if any(is_being_written(file) for file in self.files) or _files(self.path) != self.files:
            return max(quiet, WRITTEN_SEC)
        age = (time.time_ns() - max(written for written, *_ in self.files.values())) / 1e9
        return max(0.0, quiet - age) if age >= 0 else 0.0  # a time to come says nothing about the past


class _Try(msgspec.Struct, frozen=True):
    """How a place was when it was tried.

    Attributes:
        files: What is tried again when it changes.
        around: What else may have been wrong: other files of the folder, and who serves; ``None`` if nothing was.
    """

    files: dict[Path, Signature]
    around: tuple[dict[Path, Signature], frozenset[str]] | None


class PluginFolders:
    """Keeps the plugins of a host in step with the files in some folders.

    What looks like a plugin is read, not run: a file or package that defines one subclass of ``Plugin``, and does not
    lead out of the folders. What could not be brought up is tried again when something in its folder changes, or
    another plugin comes or goes.

    Args:
        swapper: The privilege to add and remove plugins.
        folders: Where plugins may be put.
        log: Told what could not be brought up, once.
        quiet: Seconds that files must have been left alone before they count as wholly written.
    """

    def __init__(
        self,
        swapper: Swapper,
        folders: Iterable[Path],
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
        *,
        quiet: float,
    ) -> None:
        self.folders = tuple(folders)
        self._swapper = swapper
        self._log = log
        self._quiet = quiet
        self._tried: dict[Path, _Try] = {}
        self._said: dict[Path, str] = {}

    async def look(self) -> float:
        """Bring up what is there and was not tried as it is now.

        Returns:
            Seconds after which to look again, as something is being written; 0 if nothing is.
        """
        places = await anyio.to_thread.run_sync(self._places, self._swapper.watched())
        self._forget_all_but({place.path for place in places})
        pauses: list[float] = []
        for place in places:
            serving = frozenset(name for name, state in self._swapper.states().items() if state == "serving")
            now = _Try(place.files, (place.beside, serving))
            if place.plugin in self._swapper.watched():
                self._tried[place.path] = _Try(place.files, None)
            if self._tried.get(place.path) in (now, _Try(place.files, None)):
                continue
            if pause := await anyio.to_thread.run_sync(place.pause, self._quiet):
                pauses.append(pause)
                continue
            if place.path in self._tried and self._tried[place.path].files != place.files:
                self._said.pop(place.path, None)
            self._tried[place.path] = now
            await self._try(place)
        return min(pauses, default=0.0)

    def _places(self, taken: Mapping[str, Path]) -> list[_Place]:
        """Return each file and package in the folders."""
        found: list[_Place] = []
        plugins = {real(path): name for name, path in taken.items()}
        folders = {real(folder) for folder in self.folders}
        for folder in self.folders:
            try:
                paths = sorted(path for path in folder.iterdir() if _is_there(path))
            except OSError:
                continue
            files = {path: own for path in paths if (own := _files(path))}
            beside = {file: described for own in files.values() for file, described in own.items()}
            for path, own in files.items():
                target = real(path)
                leads_out = folders.isdisjoint(target.parents)
                found.append(_Place(path, target, plugins.get(target, ""), leads_out, own, beside))
        return found

    def _forget_all_but(self, places: set[Path]) -> None:
        self._tried = {path: tried for path, tried in self._tried.items() if path in places}
        self._said = {path: said for path, said in self._said.items() if path in places}

    async def _try(self, place: _Place) -> None:
        """Bring up the plugin in a place, if there is one; tell once why not, if it seems to be meant as one."""
        texts = await anyio.to_thread.run_sync(Texts, place.path.parent, place.beside)
        names = texts.plugins_in(place.path)
        if len(names) != 1:
            problem = texts.problem_in(place.path)
            if names:
                problem = f"it defines several plugins ({', '.join(names)}); give each a file of its own"
            self._tell(place, problem and f"was not brought up: {problem}")
            return
        (name,) = names
        if place.leads_out:
            problem = f"leads to {place.real}, which is in none of the folders of sources"
            self._tell(place, f"was not brought up: it {problem}; put the file itself here, or add that folder")
        elif self._swapper.is_wanted(name):
            await self._bring_up(name, place)
        elif name in self._swapper.states():
            holder = self._swapper.watched().get(name)
            if holder is None or _is_there(holder):  # or it is about to be stopped
                where = f", in {holder}" if holder is not None else ""
                self._tell(place, f"was not brought up: there is a plugin {name!r} already{where}; rename one of them")

    async def _bring_up(self, name: str, place: _Place) -> None:
        try:
            await self._swapper.add(name, place.path)
        except PluginLoadError as exc:
            self._tell(place, f"was not brought up: {exc}")
        else:
            self._tried[place.path] = _Try(place.files, None)
            self._said.pop(place.path, None)
            self._log.info("%s was found: plugin %r serves", place.path, name)

    def _tell(self, place: _Place, problem: str) -> None:
        if problem and self._said.get(place.path) != problem:
            self._log.warning("%s %s", place.path, problem)
        self._said[place.path] = problem

    async def remove_if_gone(self, plugin: str, place: Path) -> None:
        """Stop a plugin whose file is gone and does not come back."""
        if _is_there(place) or real(place.parent) not in {real(folder) for folder in self.folders}:
            return
        await anyio.sleep(GONE_SEC)
        if _is_there(place) or self._swapper.watched().get(plugin) != place:
            return
        try:
            await self._swapper.remove(plugin)
        except (PluginNotFoundError, AetherraError) as exc:
            self._log.warning("%s is gone, and plugin %r could not be stopped: %s", place, plugin, exc)
        else:
            self._tried.pop(place, None)
            self._log.info("%s is gone: plugin %r was stopped", place, plugin)


def _is_there(place: Path) -> bool:
    """Whether there is a Python file, or a package; never a pipe or a device, which reading would wait for."""
    try:
        return (place if place.suffix == ".py" else place / "__init__.py").is_file()
    except OSError:  # nobody may look
        return False


def _files(place: Path) -> dict[Path, Signature]:
    """Return the regular files among the Python files of a place, as the system describes them."""
    return {file: found for file in python_files(place) if (found := signature(file)) is not None}
