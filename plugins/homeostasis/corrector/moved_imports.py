"""A deprecated import: of a name that is somewhere else now. A plugin's file is edited only where that is allowed."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import anyio

from aetherra.plugins import Advise, AetherraError, Correction, LogFacts
from aetherra.plugins.homeostasis.corrector.edits import EditError, Edits
from aetherra.plugins.homeostasis.corrector.facts import is_builtin, text_in
from aetherra.plugins.homeostasis.corrector.hands import Hands, NotMine
from aetherra.plugins.homeostasis.corrector.hosted import HostedPlugins
from aetherra.plugins.homeostasis.corrector.messages import (
    HostedPlugin,
    ImportsRewritten,
    RewriteImports,
)
from aetherra.plugins.homeostasis.corrector.moves import KNOWN_MOVES, UnreadableError, rewrite
from aetherra.plugins.homeostasis.corrector.places import inside, is_inside
from aetherra.plugins.homeostasis.corrector.port import Port
from aetherra.plugins.homeostasis.corrector.settings import CorrectorSettings

PUT_BACK_SEC = 10.0
"""For putting back edits."""
FILES = 1000
"""Files of one plugin that are looked through."""


class DeprecatedImport(Correction):
    """Has a plugin's imports of moved names rewritten and it loaded anew; what does not serve then is put back."""

    name = "deprecated_import"

    def __init__(
        self, port: Port, hands: Hands, plugins: HostedPlugins, settings: CorrectorSettings, edits: Edits | None
    ) -> None:
        self._port = port
        self._edits = edits
        self._hands = hands
        self._plugins = plugins
        self._settings = settings
        self._moves = {**KNOWN_MOVES, **settings.moved}
        self._modules = {old.rpartition(".")[0] for old in self._moves} | set(self._moves)

    def matches(self, facts: LogFacts) -> dict[str, str] | None:
        """Return the file that a warning was about, or the plugin that could not import a name that has moved."""
        if is_builtin(facts, "DeprecationWarning", "PendingDeprecationWarning", "FutureWarning"):
            path = text_in(facts, "filename")
            return {"path": path} if path and is_inside(self._port.root, path) else None
        plugin = text_in(facts, "plugin")
        if not plugin:
            return None
        name = text_in(facts, "name")
        if is_builtin(facts, "ImportError", "ModuleNotFoundError") and name in self._modules:
            return {"plugin": plugin}
        if is_builtin(facts, "AttributeError") and f"{text_in(facts, 'module')}.{name}" in self._moves:
            return {"plugin": plugin}
        return None

    async def fix(self, subject: dict[str, str]) -> str:
        """Have the imports rewritten and the plugin loaded."""
        plugin, found = await self._find(subject)
        if plugin is None or not found:
            raise NotMine
        moved = ", ".join(f"{old} -> {new}" for moves in found.values() for old, new in moves.items())
        where = ", ".join(map(str, found))
        lacks = [
            *([] if self._settings.allow_edits else ['"allow_edits": true under plugins.homeostasis.corrector']),
            *(["a data_dir for the backup"] if self._edits is None else []),
            *(["the hmr plugin to load what is edited"] if self._plugins.way_up(plugin, anew=True) is None else []),
        ]
        if lacks or self._edits is None:
            raise Advise(f"edit {where}: {moved}; to have it done, the configuration lacks {' and '.join(lacks)}")
        before = {path: await self._port.run_sync(path.read_bytes) for path in found}
        for path in found:
            await self._port.run_sync(self._edits.want, inside(self._port.root, path))
        edited: list[Path] = []
        try:
            for path in found:
                await self._hands.act(RewriteImports(plugin=plugin.name, path=str(path)))
                edited.append(path)
            await self._plugins.bring_up(plugin.name, anew=True)
        except BaseException as exc:  # cancelled as well: no edit stays that nobody has seen to work
            await self._put_back(self._edits, before)
            if not isinstance(exc, (AetherraError, Advise)) or (isinstance(exc, Advise) and not edited):
                raise
            raise EditError(where, f"plugin {plugin.name!r} does not serve with {moved}: {exc}") from exc
        return f"{where}: {moved}; plugin {plugin.name!r} was loaded anew"

    async def _put_back(self, edits: Edits, before: Mapping[Path, bytes]) -> None:
        """Have files hold what they did; by ourselves, as the way of changes may be closed, and nobody cancels this."""
        with anyio.CancelScope(shield=True), self._port.clock.move_on_after(PUT_BACK_SEC):
            for path, content in before.items():
                try:
                    await self._port.run_sync(edits.withdraw, inside(self._port.root, path), content)
                except (OSError, ValueError, EditError):
                    self._port.log.exception("an edit that was not seen to work stays in %s", path)

    async def check(self, subject: dict[str, str]) -> bool:
        """Whether no import of a moved name is left, and the plugin serves."""
        plugin, found = await self._find(subject)
        return plugin is not None and not found and await self._plugins.serves(plugin.name)

    async def _find(self, subject: dict[str, str]) -> tuple[HostedPlugin | None, dict[Path, dict[str, str]]]:
        """Return whose code it is, and its files with the moved names that each imports."""
        plugins = await self._plugins.all()
        return await self._port.run_sync(_find, self._port.root, plugins, subject, self._moves)


def place_of(plugin: HostedPlugin) -> Path | None:
    """Return a plugin's file or folder, if it is one that the configuration names."""
    for text in (plugin.source, plugin.source.rpartition(":")[0]):
        if text and os.path.isabs(text) and Path(text).exists():  # noqa: PTH117  # an entry point is no path
            return Path(text)
    return None


def files_of(plugin: HostedPlugin) -> Iterator[Path]:
    """Yield the Python files of a plugin's own code."""
    place = place_of(plugin)
    if place is None:
        return
    if place.is_file():
        yield place
        return
    for number, path in enumerate(sorted(place.rglob("*.py"))):
        if number == FILES:
            return
        yield path


def is_of(plugin: HostedPlugin, path: Path) -> bool:
    """Whether a file is of a plugin's own code."""
    place = place_of(plugin)
    if place is None:
        return False
    real, file = place.resolve(), path.resolve()
    return file == real or (place.is_dir() and file.is_relative_to(real))


def _find(
    root: Path, plugins: Mapping[str, HostedPlugin], subject: Mapping[str, str], moves: Mapping[str, str]
) -> tuple[HostedPlugin | None, dict[Path, dict[str, str]]]:
    if path := subject.get("path"):
        owner = next((each for each in plugins.values() if is_of(each, Path(path))), None)
        return owner, moved_in(root, [Path(path)], moves)
    owner = plugins.get(subject["plugin"])
    return owner, moved_in(root, [] if owner is None else list(files_of(owner)), moves)


def moved_in(root: Path, files: list[Path], moves: Mapping[str, str]) -> dict[Path, dict[str, str]]:
    """Return the files inside the project that import moved names, with those; what cannot be read is passed over."""
    found: dict[Path, dict[str, str]] = {}
    for path in files:
        if not is_inside(root, path):
            continue
        try:
            _, moved = rewrite(path.read_bytes(), moves)
        except (OSError, UnreadableError):
            continue
        if moved:
            found[path] = moved
    return found


def rewrite_file(
    root: Path, plugin: HostedPlugin, path: str, settings: CorrectorSettings, edits: Edits, wanted: bool
) -> ImportsRewritten:
    """Rewrite the imports of moved names in a file of a plugin inside the project.

    Args:
        root: The project.
        plugin: Whose file it is.
        path: Of the file.
        settings: What may be edited, and what has moved.
        edits: Makes the edit.
        wanted: Whether it is wanted though it was withdrawn before.

    Raises:
        EditError: Edits are not allowed, the file is not the plugin's, or nothing in it has moved to where it can be
            found.
    """
    if not settings.allow_edits:
        raise EditError(path, "the configuration does not allow edits")
    try:
        place = inside(root, path)
        if not is_of(plugin, place):
            raise EditError(path, f"it is no file of plugin {plugin.name!r}")
        before = place.read_bytes()
        after, moved = rewrite(before, {**KNOWN_MOVES, **settings.moved})
        for old, new in moved.items():
            if not _is_there(new):
                raise EditError(path, f"{old} is said to be {new} now, which cannot be imported")
        if not moved:
            raise EditError(path, "it imports no name that is known to have moved")
        if wanted:
            edits.want(place)
        backup = edits.replace(place, before, after)
    except (OSError, ValueError) as exc:
        raise EditError(path, str(exc)) from exc
    return ImportsRewritten(str(place), backup, moved)


def _is_there(name: str) -> bool:
    """Whether a dotted name is a module, or a member of one."""
    module, _, member = name.rpartition(".")
    for wanted in (name, module):
        try:
            found = importlib.import_module(wanted) if wanted else None
        except ImportError:
            continue
        return wanted == name or hasattr(found, member)
    return False
