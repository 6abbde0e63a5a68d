"""One loaded generation of a plugin's code: its modules under names of their own, over one snapshot of the source.

``thermostat`` becomes ``thermostat@2`` with ``thermostat@2.messages`` below it, so that two generations live side by
side. Imports of the plugin's own modules, absolute ones too, lead to its own generation; all others are ordinary. Only
``importlib.import_module("thermostat.messages")`` knows nothing of generations. No bytecode is written or read.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

_lock = threading.Lock()


class CodeGeneration:
    """A snapshot of a plugin's source files and the modules made of it.

    Args:
        plugin: Its name.
        number: Which generation.
        entry: The plugin's file, or the ``__init__.py`` of its package.
        own_name: What its code calls the entry in absolute imports, as in ``thermostat`` or ``acme.thermostat``.
    """

    def __init__(self, plugin: str, number: int, entry: Path, own_name: str) -> None:
        self.own_name = own_name
        self.plugin = plugin
        self.entry = entry
        self.sources: dict[str, _Source] = {}
        self._unloaded = False
        self._real_import = builtins.__import__
        self.builtins: dict[str, Any] = {**vars(builtins), "__import__": self._import}
        self.root_name = _free_name(f"{own_name}@{number}")
        try:
            if entry.name == "__init__.py":
                self._snapshot_package(self.root_name, entry.parent)
            else:
                self._snapshot_file(self.root_name, entry)
        except OSError:
            self.unload()
            raise

    def _snapshot_file(self, name: str, path: Path, *, package: Path | None = None) -> None:
        self.sources[name] = _Source(self, name, path, path.read_bytes(), package)

    def _snapshot_package(self, name: str, folder: Path) -> None:
        self._snapshot_file(name, folder / "__init__.py", package=folder)
        for path in sorted(folder.iterdir()):
            if path.suffix == ".py" and path.name != "__init__.py":
                self._snapshot_file(f"{name}.{path.stem}", path)
            elif (path / "__init__.py").is_file():
                self._snapshot_package(f"{name}.{path.name}", path)

    @property
    def files(self) -> dict[Path, bytes]:
        """The source files of the snapshot, with their bytes."""
        return {source.path: source.data for source in self.sources.values()}

    def load(self) -> ModuleType:
        """Import the entry. Runs the plugin's code: call it in a worker thread.

        Raises:
            BaseException: What the code raised; no module of this generation is left then.
        """
        with _lock:
            if _finder not in sys.meta_path:
                sys.meta_path.insert(0, _finder)
            _finder.sources.update(self.sources)
        try:
            return importlib.import_module(self.root_name)
        except BaseException:
            self.unload()
            raise

    def unload(self) -> None:
        """Forget the modules, so that they can be freed once nobody uses them. Twice does no harm."""
        with _lock:
            if self._unloaded:
                return
            self._unloaded = True
            _taken.discard(self.root_name)
            for name in self.sources:
                _finder.sources.pop(name, None)
            for name in list(sys.modules):
                if name == self.root_name or name.startswith((f"{self.root_name}.", f"{self.root_name}:")):
                    del sys.modules[name]
        parent, _, leaf = self.root_name.rpartition(".")
        if parent in sys.modules:
            vars(sys.modules[parent]).pop(leaf, None)

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002  # the names of __import__
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        own = self._own(name) if level == 0 else None
        module = self._real_import(own or name, globals, locals, fromlist or (), level)
        outer = self.own_name.rpartition(".")[0]
        if outer and not fromlist and level == 0 and name.partition(".")[0] == outer.partition(".")[0]:
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
        """The generation's name for an absolute one, if it is the plugin's own: a module, or a file beside it."""
        if self.entry.name != "__init__.py" and name.partition(".")[0] in sys.stdlib_module_names:
            return None
        if name == self.own_name or name.startswith(self.own_name + "."):
            return self.root_name + name[len(self.own_name) :]
        return self._sibling(name)

    def _sibling(self, name: str) -> str | None:
        """A single file's neighbours are its helpers: each plugin has its own copy, found before installed modules."""
        if self.entry.name == "__init__.py" or "." in self.own_name:
            return None
        top = name.partition(".")[0]
        own_top = f"{self.root_name}:{top}"
        if own_top not in self.sources:
            beside = self.entry.parent / f"{top}.py"
            folder = self.entry.parent / top
            if beside.is_file():
                self._snapshot_file(own_top, beside)
            elif (folder / "__init__.py").is_file():
                self._snapshot_package(own_top, folder)
            else:
                return None
            with _lock:
                if not self._unloaded:
                    _finder.sources.update(self.sources)
        return f"{self.root_name}:{name}"


class _View(ModuleType):
    """An ordinary package, with something of its own put before what is there."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


class _Source(importlib.abc.InspectLoader):
    """One file of the snapshot, and the loader of its module."""

    def __init__(self, generation: CodeGeneration, name: str, path: Path, data: bytes, package: Path | None) -> None:
        self.generation = generation
        self.name = name
        self.path = path
        self.data = data
        self.package = package

    def spec(self) -> importlib.machinery.ModuleSpec:
        spec = importlib.machinery.ModuleSpec(
            self.name, self, origin=str(self.path), is_package=self.package is not None
        )
        spec.has_location = True
        if self.package is not None:
            spec.submodule_search_locations = [str(self.package)]
        return spec

    def is_package(self, fullname: str) -> bool:  # noqa: ARG002  # one loader a module
        return self.package is not None

    def get_source(self, fullname: str) -> str:  # noqa: ARG002
        return importlib.util.decode_source(self.data)

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        return compile(self.data, str(self.path), "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self.generation.builtins
        exec(self.get_code(self.name), module.__dict__)  # noqa: S102  # loading plugins is what this host does


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of all generations by their full names."""

    def __init__(self) -> None:
        self.sources: dict[str, _Source] = {}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        source = self.sources.get(fullname)
        return None if source is None else source.spec()


_finder = _Finder()
_taken: set[str] = set()


def _free_name(wanted: str) -> str:
    """Another kernel in this process may have a plugin of that name, too."""
    with _lock:
        name, twin = wanted, 1
        while name in _taken:
            twin += 1
            name = f"{wanted}~{twin}"
        _taken.add(name)
        return name
