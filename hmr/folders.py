"""Folders of plugins: a plugin that is put into one is brought up, and one that is taken out is stopped."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import anyio
import anyio.to_thread

from aetherra.hmr.files import python_files
from aetherra.kernel import PluginLoadError, PluginNotFoundError, Swapper
from aetherra.kernel.plugin import name_of_class
from aetherra.registry.errors import AetherraError

GONE_SEC = 1.0
"""How long a plugin's file must be gone before it is stopped: some editors delete a file to write it anew."""
FRONT_DOORS = ("aetherra.plugins", "aetherra.kernel")


class PluginFolders:
    """Keeps the plugins of a host in step with the files in some folders.

    What looks like a plugin is read, not run: a file or package that defines one subclass of ``Plugin``.

    Args:
        swapper: The privilege to add and remove plugins.
        folders: Where plugins may be put.
        log: Told what could not be brought up.
    """

    def __init__(
        self, swapper: Swapper, folders: Iterable[Path], log: logging.Logger | logging.LoggerAdapter[logging.Logger]
    ) -> None:
        self.folders = tuple(folders)
        self._swapper = swapper
        self._log = log
        self._tried: dict[Path, object] = {}

    async def look(self) -> None:
        """Bring up what is there and was not tried as it is now."""
        taken = {place.resolve() for place in self._swapper.watched().values()}
        for place, content in await anyio.to_thread.run_sync(self._contents):
            if self._tried.get(place) == content or place.resolve() in taken:
                continue
            self._tried[place] = content
            name = await anyio.to_thread.run_sync(plugin_name, place)
            if name is None or not self._swapper.is_wanted(name):
                continue
            try:
                await self._swapper.add(name, place)
            except PluginLoadError as exc:
                self._log.warning("%s was not brought up: %s", place, exc)
            else:
                self._log.info("%s was found: plugin %r serves", place, name)

    def _contents(self) -> list[tuple[Path, object]]:
        """Return each file and package in the folders, with what tells whether it has changed."""
        found: list[tuple[Path, object]] = []
        for folder in self.folders:
            try:
                places = sorted(folder.iterdir())
            except OSError:
                continue
            places = [place for place in places if place.suffix == ".py" or (place / "__init__.py").is_file()]
            found += [(place, frozenset(_signatures(place))) for place in places]
        return found

    async def remove_if_gone(self, plugin: str, place: Path) -> None:
        """Stop a plugin whose file is gone and does not come back."""
        if not self._is_gone(place) or place.parent.resolve() not in {folder.resolve() for folder in self.folders}:
            return
        await anyio.sleep(GONE_SEC)
        if not self._is_gone(place) or self._swapper.watched().get(plugin) != place:
            return
        try:
            await self._swapper.remove(plugin)
        except (PluginNotFoundError, AetherraError) as exc:
            self._log.warning("%s is gone, and plugin %r could not be stopped: %s", place, plugin, exc)
        else:
            self._log.info("%s is gone: plugin %r was stopped", place, plugin)

    def _is_gone(self, place: Path) -> bool:
        return not (place if place.suffix == ".py" else place / "__init__.py").exists()


def _signatures(place: Path) -> Iterator[tuple[Path, int, int]]:
    for file in python_files(place):
        try:
            found = file.stat()
        except OSError:
            continue
        yield file, found.st_mtime_ns, found.st_size


def plugin_name(place: Path) -> str | None:
    """Return the name of the plugin that a file or package defines, without running it; ``None`` if it is not one."""
    bases: dict[str, str | None] = {}
    for file in sorted(python_files(place)):
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        bases |= _plugin_classes(tree)
    return next(iter(bases.values())) if len(bases) == 1 else None


def _plugin_classes(tree: ast.Module) -> dict[str, str]:
    """Return the names of plugins by class, of those classes of a module that are no base of another."""
    doors, modules = _doors(tree)
    found: dict[str, str] = {}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        named = [_dotted(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases]
        if any(base in doors or base in found or base.rpartition(".")[0] in modules for base in named):
            for base in named:
                found.pop(base, None)
            found[node.name] = _given_name(node) or name_of_class(node.name)
    return found


def _doors(tree: ast.Module) -> tuple[set[str], set[str]]:
    """Return what ``Plugin`` is called in a module, and what the modules are called that have it."""
    names: set[str] = set()
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in FRONT_DOORS:
            names |= {alias.asname or alias.name for alias in node.names if alias.name == "Plugin"}
        elif isinstance(node, ast.ImportFrom) and node.module == "aetherra":
            doors = [door.rpartition(".")[2] for door in FRONT_DOORS]
            modules |= {alias.asname or alias.name for alias in node.names if alias.name in doors}
        elif isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name for alias in node.names if alias.name in FRONT_DOORS}
    return names, modules


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return ".".join([node.id, *parts]) if isinstance(node, ast.Name) else ""


def _given_name(node: ast.ClassDef) -> str | None:
    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
        if any(isinstance(target, ast.Name) and target.id == "name" for target in targets):
            value = statement.value  # type: ignore[attr-defined]
            return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
    return None
