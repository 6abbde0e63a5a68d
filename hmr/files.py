"""The files of a plugin: which ones its code is made of and reads, and where a change of them is to be noticed."""

from __future__ import annotations

from pathlib import Path

from aetherra.kernel import PluginNotFoundError, Swapper
from aetherra.kernel.manager import Code
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
        return python_files(place) | _imported(code) | _missing(code) | _data_files(code, place)

    def serves(self, plugin: str) -> bool:
        """Whether there is code to ask."""
        return self._code(plugin) is not None

    def places(self, plugin: str, place: Path) -> set[Path]:
        """Return what is to be watched for a plugin: its place, helper packages, data, and where links lead to."""
        code = self._code(plugin)
        beside = {
            place.parent / file.relative_to(place.parent).parts[0]
            for file in _imported(code)
            if file.is_relative_to(place.parent)
        }
        packages = {top for top in beside if top.suffix != ".py"}
        return {place, *packages, *_data_folders(code, place), *self._linked(plugin, code).values()}

    def concern(self, plugin: str, place: Path, changed: set[Path]) -> bool:
        """Whether a change of these paths may be a change of the plugin; cheap, and never wrong in saying no."""
        code = self._code(plugin)
        known = _imported(code) | _missing(code) | {place, place.resolve()} | set(self._linked(plugin, code).values())
        folders = {place, place.resolve(), *_data_folders(code, place)}
        return not changed.isdisjoint(known) or any(not folders.isdisjoint(path.parents) for path in changed)

    def _linked(self, plugin: str, code: Code | None) -> dict[Path, Path]:
        """Return where those of its files really are that are reached by links, looked up once for each code."""
        if code is None:
            return {}
        loaded, links = self._links.get(plugin, (None, {}))
        if loaded is not code.loaded:
            links = {file: real for file in _imported(code) if (real := file.resolve()) != file}
            self._links[plugin] = code.loaded, links
        return links

    def forget(self, plugin: str) -> None:
        """Let go of a plugin that is gone."""
        self._links.pop(plugin, None)

    def snapshot(self, plugin: str) -> dict[Path, bytes]:
        """Return the files of the code that serves as they were loaded; none where it is not known."""
        code = self._code(plugin)
        return {} if code is None or code.loaded.code is None else code.loaded.code.files

    def _code(self, plugin: str) -> Code | None:
        try:
            return self._swapper.serving(plugin)
        except PluginNotFoundError:  # it was removed a moment ago
            return None


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


def _missing(code: Code | None) -> set[Path]:
    return code.loaded.code.missing if code is not None and code.loaded.code is not None else set()


def _data_files(code: Code | None, place: Path) -> set[Path]:
    found: set[Path] = set()
    for pattern in code.spec.plugin_type.data_files if code is not None else ():
        try:
            found |= {file for file in _folder(place).glob(pattern) if file.is_file()}
        except OSError:
            continue
    return found


def _data_folders(code: Code | None, place: Path) -> set[Path]:
    """Return the folders that the data files are in or below."""
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
