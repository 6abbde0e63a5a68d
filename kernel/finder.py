"""How Python's import finds and makes the modules of code generations: by their full names, from memory alone."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Protocol, cast

from aetherra.kernel.snapshot import Part


class Home(Protocol):
    """The generation that modules belong to, as far as they need it."""

    plugin: str
    builtins: dict[str, Any]
    sources: dict[str, ModuleSource]

    def add(self, parts: Mapping[str, Part]) -> None:
        """Take in what was found late."""
        ...

    def miss(self, place: Path) -> None:
        """Remember that there is no module at ``place``, which is a path without the ``.py``."""
        ...


class _Module(ModuleType):
    """A module whose own code has its path as an ordinary string, and ``inspect`` as the name of this very content."""

    __slots__ = ()

    @property
    def __file__(self) -> str | None:
        path: str | None = vars(self).get("__file__")
        origin = self.__spec__.origin if self.__spec__ is not None else None
        return origin if origin == path else path

    @__file__.setter
    def __file__(self, path: str | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        vars(self)["__file__"] = path and str(path)


class ModuleSource(importlib.abc.InspectLoader):
    """One module of a snapshot, and its loader."""

    def __init__(self, generation: Home, name: str, part: Part) -> None:
        self.generation = generation
        self.name = name
        self.part = part
        self.path = str(part.place if part.content is not None else part.place / "__init__.py")

    def spec(self) -> importlib.machinery.ModuleSpec:
        """Return what the import system asks for."""
        content, folder = self.part.content, self.part.folder
        origin = None if content is None else content.filename
        spec = importlib.machinery.ModuleSpec(self.name, self, origin=origin, is_package=folder is not None)
        spec.has_location = content is not None
        if folder is not None:
            spec.submodule_search_locations = [str(folder)]
        return spec

    def spec_inside(self, fullname: str) -> importlib.machinery.ModuleSpec | None:
        """Return that of a module inside it which is not in the snapshot, but for Python code: that came too late.

        Raises:
            ModuleNotFoundError: There is no such extension module or folder.
        """
        folder, leaf = self.part.folder, fullname.rpartition(".")[2]
        if folder is None:
            return None
        extensions = (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES)
        spec = importlib.machinery.FileFinder(str(folder), extensions).find_spec(fullname)
        if spec is not None and spec.loader is not None:
            return spec
        place = folder / leaf
        if spec is None or (place / "__init__.py").exists():
            self.generation.miss(place)
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        self.generation.add({fullname: Part(place, None, place, loose=True)})
        return self.generation.sources[fullname].spec()

    def is_package(self, fullname: str) -> bool:  # noqa: ARG002  # one loader a module
        """Whether it has modules inside."""
        return self.part.folder is not None

    def get_source(self, fullname: str) -> str | None:  # noqa: ARG002
        """Return its text."""
        return None if self.part.content is None else self.part.content.text()

    def get_code(self, fullname: str) -> CodeType | None:  # noqa: ARG002
        """Return it compiled."""
        return None if self.part.content is None else self.part.content.code()

    def get_data(self, path: str) -> bytes:
        """Return a file beside it, as it is on disk now."""
        return Path(path).read_bytes()

    def get_resource_reader(self, fullname: str) -> Any:  # noqa: ARG002
        """Return what ``importlib.resources`` finds files beside it by, as they are on disk now."""
        from importlib.readers import FileReader  # noqa: PLC0415  # few plugins ask

        return FileReader(cast("Any", self))

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Make the module."""
        return None if self.part.content is None else _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Run its code, of which all imports are of its own generation."""
        if self.part.content is not None:
            module.__dict__["__builtins__"] = self.generation.builtins
            exec(self.part.content.code(), module.__dict__)  # noqa: S102  # loading plugins is what this host does


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of all generations by their full names, and keeps what is beside them on disk out."""

    def __init__(self) -> None:
        self.sources: dict[str, ModuleSource] = {}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module of a generation, or of what may be inside one; ``None`` for all others.

        Raises:
            ModuleNotFoundError: It would be inside one, and is not.
        """
        source = self.sources.get(fullname)
        if source is not None:
            return source.spec()
        package = self.sources.get(fullname.rpartition(".")[0])
        return None if package is None else package.spec_inside(fullname)


finder = Finder()
"""The one of this process: on ``sys.meta_path``, first, from the first load on."""
