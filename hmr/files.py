"""The files of a plugin: which ones its code is made of and reads, and where a change of them is to be noticed."""

from __future__ import annotations

import os
from pathlib import Path

from aetherra.hmr.patterns import DataPattern
from aetherra.hmr.walk import LEFT_OUT, entries, files_below, is_file, is_module
from aetherra.kernel import PluginNotFoundError, Swapper
from aetherra.kernel.entry import Code
from aetherra.kernel.sources import Loaded


class PluginFiles:
    """Asks the code that serves which files it came from.

    Args:
        swapper: Knows that code.
    """

    def __init__(self, swapper: Swapper) -> None:
        self._swapper = swapper
        self._links: dict[str, tuple[Loaded, dict[Path, Path]]] = {}

    def of(self, plugin: str, place: Path) -> set[Path]:
        """Return the files that decide: a package's, or a single file and what it imported of those beside it.

        So do modules that were looked for and not there, and data files that the code declares.
        """
        code = self._code(plugin)
        return python_files(place) | _imported(code).keys() | _missing(code) | _data(code, place)

    def data(self, plugin: str, place: Path) -> set[Path]:
        """Return the data files that the code declares."""
        return _data(self._code(plugin), place)

    def serves(self, plugin: str) -> bool:
        """Whether there is code to ask."""
        return self._code(plugin) is not None

    def places(self, plugin: str, place: Path) -> set[Path]:
        """Return what is to be watched for a plugin: its place, helper packages, data, and where links lead to."""
        code = self._code(plugin)
        found = {place, *self._linked(plugin, code).values(), *(data.place for data in _patterns(code, place))}
        for file in _imported(code):
            inside = file.relative_to(place.parent).parts if file.is_relative_to(place.parent) else ()
            if inside and not LEFT_OUT.isdisjoint(inside):
                found.add(file)
            elif len(inside) > 1:
                found.add(place.parent / inside[0])
        return found

    def concern(self, plugin: str, place: Path, changed: set[Path]) -> bool:
        """Whether a change of these paths may be a change of the plugin; cheap, and never wrong in saying no."""
        code = self._code(plugin)
        own = {place, real(place)}
        known = own | _imported(code).keys() | _missing(code) | set(self._linked(plugin, code).values())
        if not changed.isdisjoint(known) or any(not own.isdisjoint(path.parents) for path in changed):
            return True
        return any(data.fits(path) for data in _patterns(code, place) for path in changed)

    def _linked(self, plugin: str, code: Code | None) -> dict[Path, Path]:
        """Return where those of its files really are that are reached by links, looked up once for each code."""
        if code is None:
            return {}
        known = self._links.get(plugin)
        if known is None or known[0] is not code.loaded:
            known = code.loaded, {file: target for file in _imported(code) if (target := real(file)) != file}
            self._links[plugin] = known
        return known[1]

    def forget(self, plugin: str) -> None:
        """Let go of a plugin that is gone."""
        self._links.pop(plugin, None)

    def snapshot(self, plugin: str) -> dict[Path, bytes]:
        """Return the files of the code that serves as they were loaded; none where it is not known."""
        return _imported(self._code(plugin))

    def _code(self, plugin: str) -> Code | None:
        try:
            return self._swapper.serving(plugin)
        except PluginNotFoundError:  # it was removed a moment ago
            return None


def python_files(place: Path, *, below: bool = True) -> set[Path]:
    """Return the Python files that a place stands for: itself, or the modules in the folder that can be loaded."""
    if not is_dir(place):
        return {place}
    inside = files_below(place, of_code=True) if below else (place / e.name for e in entries(place) if is_file(e))
    return {file for file in inside if is_module(file)}


def real(path: Path) -> Path:
    """Return where links lead; unlike ``Path.resolve``, it takes links to themselves as they are in every Python."""
    return Path(os.path.realpath(path))


def is_dir(path: Path) -> bool:
    """Whether it is a folder that can be found."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _imported(code: Code | None) -> dict[Path, bytes]:
    generation = code.loaded.code if code is not None else None
    return generation.files if generation is not None else {}


def _missing(code: Code | None) -> set[Path]:
    generation = code.loaded.code if code is not None else None
    return generation.missing if generation is not None else set()


def _data(code: Code | None, place: Path) -> set[Path]:
    return set[Path]().union(*(data.files() for data in _patterns(code, place)))


def _patterns(code: Code | None, place: Path) -> list[DataPattern]:
    if code is None:
        return []
    folder = place.parent if place.suffix == ".py" else place
    return [DataPattern(folder, pattern) for pattern in code.spec.plugin_type.data_files]
