"""One loaded generation of a plugin's code: its modules under names of their own, over one snapshot of the source.

``thermostat`` becomes ``thermostat@2`` with ``thermostat@2.messages`` below it, so that two generations live side by
side. Imports of the plugin's own modules, absolute ones too, lead to its own generation; all others are ordinary. Only
``importlib.import_module("thermostat.messages")`` knows nothing of generations; ``import_module(".messages",
__package__)`` does. No bytecode is written or read; what has not changed is not compiled again.
"""

from __future__ import annotations

import builtins
import errno
import hashlib
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from aetherra.kernel.finder import ModuleSource, finder
from aetherra.kernel.imports import Import, imports_of
from aetherra.kernel.snapshot import Part, read_module, read_package

NO_HELPERS = sys.stdlib_module_names | {"aetherra", "__main__"}
"""What no helper stands in for."""

_lock = threading.RLock()  # a collection of garbage may run anything, imports too


class CodeGeneration:
    """A snapshot of a plugin's source files and the modules made of it.

    Args:
        plugin: Its name.
        number: Which generation.
        entry: The plugin's file, or the ``__init__.py`` of its package.
        own_name: What its code calls the entry in absolute imports, as in ``thermostat`` or ``acme.thermostat``.
        helpers: The folder that this file or package is in, if the modules there are the plugin's helpers: it has a
            copy of its own of each that it imports. They come before installed modules, but for folders without an
            ``__init__.py``. What code imports by statements is read while it is loaded, even if only a call gets there.

        before: The generation whose snapshot it is to be made of; by default the files are read.

    ``origin`` is what generations of one snapshot have in common, and with no other.

    Raises:
        FileNotFoundError: The entry is not there.
        PluginUnreadableError: A file cannot be read; says which.
    """

    def __init__(
        self,
        plugin: str,
        number: int,
        entry: Path,
        own_name: str,
        *,
        helpers: Path | None = None,
        before: CodeGeneration | None = None,
    ) -> None:
        self.own_name = own_name
        self.plugin = plugin
        self.entry = entry
        self.sources: dict[str, ModuleSource] = {}
        self._helpers = helpers
        self._elsewhere: set[str] = set()
        self._missing: set[Path] = set()
        self._unloaded = False
        self._real_import = builtins.__import__
        self.origin: object = object() if before is None else before.origin
        self.builtins: dict[str, Any] = {**vars(builtins), "__import__": self._import}
        self.root_name = _free_name(f"{own_name}@{number}")
        try:
            self._take(self._read(entry) if before is None else self._inherit(before))
        except BaseException:
            self.unload()
            raise

    def again(self, number: int) -> CodeGeneration:
        """Return another generation of the same snapshot, helpers that were read late included; it is not loaded."""
        return CodeGeneration(self.plugin, number, self.entry, self.own_name, helpers=self._helpers, before=self)

    def _inherit(self, before: CodeGeneration) -> dict[str, Part]:
        self._elsewhere, self._missing = set(before._elsewhere), set(before._missing)
        parts = {name: source.part for name, source in list(before.sources.items())}
        return {self.root_name + name[len(before.root_name) :]: part for name, part in parts.items()}

    def _read(self, entry: Path) -> dict[str, Part]:
        if entry.name != "__init__.py":
            return {self.root_name: read_module(entry)}
        parts = read_package(self.root_name, entry.parent)
        if self.root_name not in parts or parts[self.root_name].content is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(entry))
        return parts

    def _take(self, parts: Mapping[str, Part]) -> None:
        self.sources.update({name: ModuleSource(self, name, part) for name, part in parts.items()})

    @property
    def files(self) -> dict[Path, bytes]:
        """The source files of the snapshot, with their bytes."""
        return {part.place: part.content.data for part in self._parts() if part.content is not None}

    @property
    def missing(self) -> set[Path]:
        """The files that its imports looked for in vain: with one of them it might be other code."""
        return set(self._missing)

    @property
    def digest(self) -> str:
        """The SHA-256, in hex, of all files with their relative paths; another one once a helper was imported late."""
        top = self.entry.parent.parent if self.entry.name == "__init__.py" else self.entry.parent
        total = hashlib.sha256()
        for path, data in sorted((os.fsencode(path.relative_to(top)), data) for path, data in self.files.items()):
            total.update(b"%b\0%d\0%b" % (path, len(data), data))
        return total.hexdigest()

    def _parts(self) -> list[Part]:
        return [source.part for source in list(self.sources.values())]  # a thread may import a helper meanwhile

    def load(self) -> ModuleType:
        """Import the entry. Runs the plugin's code: call it in a worker thread.

        Raises:
            BaseException: What the code raised; no module of this generation is left then.
        """
        with _lock:
            if finder not in sys.meta_path:
                sys.meta_path.insert(0, finder)
            finder.sources.update(self.sources)
        try:
            module = importlib.import_module(self.root_name)
            self._read_ahead()
        except BaseException:
            self.unload()
            raise
        return module

    def unload(self) -> None:
        """Forget the modules, so that they can be freed once nobody uses them. Twice does no harm."""
        with _lock:
            if self._unloaded:
                return
            self._unloaded = True
            _taken.discard(self.root_name)
            for name in list(self.sources):
                finder.sources.pop(name, None)
            below = (f"{self.root_name}.", f"{self.root_name}:")
            names = [name for name in list(sys.modules) if name == self.root_name or name.startswith(below)]
            modules = [sys.modules.pop(name, None) for name in names]
        parent, _, leaf = self.root_name.rpartition(".")
        if parent in sys.modules:
            vars(sys.modules[parent]).pop(leaf, None)
        del modules  # what their ends run may import, which takes the lock

    # Imports

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002  # the names of __import__
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if level:
            return self._real_import(name, globals, locals, fromlist or (), level)
        own = self._own(name)
        try:
            module = self._real_import(own or name, globals, locals, fromlist or (), 0)
        except ModuleNotFoundError as exc:
            if self._helpers is not None and exc.name and exc.name in self._elsewhere:
                self.miss(self._helpers / exc.name)
            raise
        outer = self.own_name.rpartition(".")[0]
        if outer and not fromlist and name.partition(".")[0] == outer.partition(".")[0]:
            return self._seen_from_inside(outer)
        return module

    def _seen_from_inside(self, outer: str) -> ModuleType:
        """What ``import acme.thermostat.messages`` gives: ``acme``, but that its ``thermostat`` is our own."""
        inner_name, inner = self.own_name, sys.modules[self.root_name]
        while True:
            view = _View(outer)
            setattr(view, inner_name.rpartition(".")[2], inner)
            if "." not in outer:
                return view
            inner_name, inner, outer = outer, view, outer.rpartition(".")[0]

    def _own(self, name: str) -> str | None:
        """The generation's name for an absolute one, if it is the plugin's own: one of its modules, or a helper."""
        top = name.partition(".")[0]
        if name == self.own_name or name.startswith(self.own_name + "."):
            hidden = top in sys.stdlib_module_names and self.entry.name != "__init__.py"
            return None if hidden else self.root_name + name[len(self.own_name) :]
        if top in NO_HELPERS or self._helpers is None or not self._has_helper(top, self._helpers / top):
            return None
        return f"{self.root_name}:{name}"

    def _has_helper(self, top: str, place: Path) -> bool:
        """Whether it is a helper, which is read if it has not been; what was found elsewhere once stays there."""
        name = f"{self.root_name}:{top}"
        if name in self.sources:
            return True
        if top in self._elsewhere:
            return False
        file, is_folder = place.with_name(f"{top}.py"), place.is_dir()
        if is_folder and (place / "__init__.py").is_file():
            self.add(read_package(name, place))
        elif file.is_file():
            self.add({name: read_module(file)})
        elif is_folder and not _is_installed(top, place):
            self.add(read_package(name, place))
        if name not in self.sources:
            self._elsewhere.add(top)
        return name in self.sources

    def add(self, parts: Mapping[str, Part]) -> None:
        """Add what is found late, whole; or nothing, if another thread was faster."""
        with _lock:
            if parts.keys().isdisjoint(self.sources):
                self._take(parts)
            if not self._unloaded:
                finder.sources.update(self.sources)

    def _read_ahead(self) -> None:
        """Read the helpers that only a call imports, so that they are as old as the rest."""
        if self._helpers is None:
            return
        waiting = [name for name in list(self.sources) if name in sys.modules]
        seen = set(waiting)
        for name in waiting:  # it grows by what these import, and what that imports
            for found in self._imports_to_come(self.sources[name]):
                inside = self._reached(found, name)
                waiting += inside - seen
                seen |= inside

    def _imports_to_come(self, source: ModuleSource) -> list[Import]:
        """What a module will import. If it does not compile, all of the code fails, as a call would later."""
        content = source.part.content
        if content is None:
            return []
        begun = source.name in sys.modules
        return [*content.late_imports(), *(() if begun else imports_of(content.code()))]

    def _reached(self, found: Import, importer: str) -> set[str]:
        """The modules of this generation that an import leads to, of which helpers are read."""
        package = importer if self.sources[importer].part.folder is not None else importer.rpartition(".")[0]
        try:
            name = found.module(package) if found.level else self._own(found.name)
        except (ImportError, OSError):  # whoever runs it will be told
            return set()
        if name is None:
            self._miss_if_nowhere(found.name.partition(".")[0])
            return set()
        parts = name.split(".")
        names = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
        return (names | {f"{name}.{attribute}" for attribute in found.attributes}) & self.sources.keys()

    def _miss_if_nowhere(self, top: str) -> None:
        unknown = top in self._elsewhere and top not in sys.modules
        if self._helpers is not None and unknown and importlib.util.find_spec(top) is None:
            self.miss(self._helpers / top)

    def miss(self, place: Path) -> None:
        """Remember that there is no module at ``place``, which is a path without the ``.py``."""
        self._missing |= {place.with_name(place.name + ".py"), place / "__init__.py"}


class _View(ModuleType):
    """An ordinary package, with something of its own put before what is there."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


_taken: set[str] = set()


def _is_installed(top: str, beside: Path) -> bool:
    """Whether an import finds it elsewhere than in that folder, which has no ``__init__.py`` and so comes last."""
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # a module that says nothing of where it is from
        return True
    return spec is not None and list(spec.submodule_search_locations or ()) != [str(beside)]


def _free_name(wanted: str) -> str:
    """Another kernel in this process may have a plugin of that name, too."""
    with _lock:
        name, twin = wanted, 1
        while name in _taken:
            twin += 1
            name = f"{wanted}~{twin}"
        _taken.add(name)
        return name
