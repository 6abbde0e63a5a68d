"""Where a plugin's code comes from: a file or folder, an entry point, or a class that the host has in hand."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from aetherra.kernel.code import CodeGeneration
from aetherra.kernel.errors import PluginDefinitionError
from aetherra.kernel.offers import Offer, offers
from aetherra.kernel.plugin import Plugin

if TYPE_CHECKING:
    from typing_extensions import TypeIs

ENTRY_POINT_GROUP = "aetherra.plugins"
OWN_DISTRIBUTION = "aetherra"
STANDARD_LIBRARY = Path(os.path.realpath(os.__file__)).parent


class Loaded(msgspec.Struct, frozen=True):
    """A plugin class, and the code generation it came in; ``None`` where the interpreter's own import brought it."""

    plugin_type: type[Plugin[Any]]
    code: CodeGeneration | None

    def unload(self) -> None:
        """Forget its modules."""
        if self.code is not None:
            self.code.unload()

    @property
    def origin(self) -> object:
        """What it has in common with the same code brought up afresh, and with no other."""
        return self if self.code is None else self.code.origin

    @property
    def digest(self) -> str:
        """The SHA-256 of all its files, in hex; ``""`` where the interpreter's own import brought it."""
        return "" if self.code is None else self.code.digest


class Source(Protocol):
    """Where the code of a plugin comes from."""

    trusted: bool
    """Whether the host's owner put it in place by hand, so that it has the privileges it asks for."""

    def load(self, generation: int) -> Loaded:
        """Load the code as it is now. Runs it: call this in a worker thread.

        Raises:
            BaseException: What the code raised.
        """
        ...

    def again(self, loaded: Loaded, generation: int) -> Loaded:
        """Bring the same code up afresh, from memory; what the interpreter's own import brought stays as it is.

        Runs it: call this in a worker thread.

        Raises:
            BaseException: What the code raised.
        """
        ...

    def at_hand(self) -> Loaded | None:
        """Return what is there without running any code; ``None`` if it must be loaded."""
        ...

    def watched(self) -> Path | None:
        """The file, or the folder of the package, whose change means new code; ``None`` if there is none."""
        ...

    def __str__(self) -> str: ...


class FileSource:
    """A Python file, or a folder with an ``__init__.py``, as ``path`` or ``path:Class``."""

    trusted = False

    def __init__(self, name: str, location: str) -> None:
        self.name = name
        path, colon, wanted = location.rpartition(":")
        self.path = Path(path) if colon and path else Path(location)
        self.wanted = wanted if colon and path else None

    def __str__(self) -> str:
        return str(self.path) + (f":{self.wanted}" if self.wanted else "")

    def load(self, generation: int) -> Loaded:
        """Load the file or package as a generation of its own."""
        entry = self.path / "__init__.py" if self.path.is_dir() else self.path
        if not entry.is_file():
            raise FileNotFoundError(f"no plugin at {self.path}: expected a .py file or a folder with an __init__.py")
        own_name = (entry.parent.name if entry.name == "__init__.py" else entry.stem).replace(".", "_")
        return self._run(CodeGeneration(self.name, generation, entry, own_name, helpers=helpers_folder(entry)))

    def again(self, loaded: Loaded, generation: int) -> Loaded:
        """Run the same snapshot again."""
        return loaded if loaded.code is None else self._run(loaded.code.again(generation))

    def _run(self, code: CodeGeneration) -> Loaded:
        return _run(code, lambda module: plugin_class(module, self.wanted))

    def at_hand(self) -> None:
        """Nothing: a file is always loaded."""

    def watched(self) -> Path | None:
        """The file or folder."""
        return self.path


class ClassSource:
    """A class that the interpreter imported: by an entry point, or in the host's own code.

    The first time it is that class; later its package's files are loaded afresh.
    """

    def __init__(self, name: str, *, module: str, attribute: str, where: str, trusted: bool) -> None:
        self.name = name
        self.module = module
        self.attribute = attribute
        self.where = where
        self.trusted = trusted
        self._given: type[Plugin[Any]] | None = None
        self._begun = False
        self._is_of_host = False

    @classmethod
    def of_offer(cls, offer: Offer) -> ClassSource:
        """Take an installed package's offer, which is looked at when it is loaded."""
        module, _, attribute = offer.value.partition(":")
        return cls(
            offer.name,
            module=module.strip(),
            attribute=attribute.strip(),
            where=f"entry point of {offer.distribution}",
            trusted=offer.distribution == OWN_DISTRIBUTION,
        )

    @classmethod
    def of_class(cls, plugin_type: type[Plugin[Any]]) -> ClassSource:
        """Take a class from the host."""
        source = cls(
            plugin_type.name,
            module=plugin_type.__module__,
            attribute=plugin_type.__qualname__,
            where="the host's own code",
            trusted=True,
        )
        source._given, source._begun, source._is_of_host = plugin_type, True, True
        return source

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute} ({self.where})"

    def load(self, generation: int) -> Loaded:
        """Import the class, or if that was done before load its package anew."""
        again, self._begun = self._begun, True
        if not again:
            return Loaded(_attribute(importlib.import_module(self.module), self.attribute), None)
        own_name, entry, inner = self._package()
        is_host_file = self._is_of_host and entry.name != "__init__.py" and "." not in own_name
        helpers = helpers_folder(entry) if is_host_file else None
        return self._run(CodeGeneration(self.name, generation, entry, own_name, helpers=helpers), inner)

    def again(self, loaded: Loaded, generation: int) -> Loaded:
        """Run the same snapshot again, or give the same class, if that is no snapshot's."""
        if loaded.code is None:
            return loaded
        code = loaded.code.again(generation)
        return self._run(code, self.module[len(code.own_name) + 1 :])

    def _run(self, code: CodeGeneration, inner: str) -> Loaded:
        def find(module: ModuleType) -> type[Plugin[Any]]:
            inside = importlib.import_module(f"{code.root_name}.{inner}") if inner else module
            return _attribute(inside, self.attribute)

        return _run(code, find)

    def _package(self) -> tuple[str, Path, str]:
        """The package to load, its ``__init__.py`` or single file, and the entry module's name inside it."""
        spec = importlib.util.find_spec(self.module) if self.module != "__main__" else None
        if spec is None or spec.origin is None or not spec.origin.endswith(".py") or "<locals>" in self.attribute:
            raise PluginDefinitionError(
                f"{self} cannot be loaded anew: it is not the class of a module in a file that can be imported"
            )
        parent = self.module.rpartition(".")[0]
        if spec.submodule_search_locations is None and parent:
            package = importlib.util.find_spec(parent)
            if package is not None and package.origin is not None:
                return parent, Path(package.origin), self.module[len(parent) + 1 :]
        return self.module, Path(spec.origin), ""

    @property
    def home(self) -> str:
        """The module or package that is the plugin's alone, as far as can be told; ``""`` if it is the host's."""
        return "" if self._is_of_host else self.module.rpartition(".")[0] or self.module

    def at_hand(self) -> Loaded | None:
        """The class that the host gave, once."""
        given, self._given = self._given, None
        return None if given is None else Loaded(given, None)

    def watched(self) -> Path | None:
        """The module's file, or its package's folder."""
        try:
            _, entry, _ = self._package()
        except (PluginDefinitionError, ImportError, ValueError):
            return None
        return entry.parent if entry.name == "__init__.py" else entry


class MissingSource:
    """The source of a plugin that is configured and nowhere to be found."""

    trusted = False

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return "nowhere"

    def load(self, generation: int) -> Loaded:
        """Say what could be done about it."""
        del generation
        raise PluginDefinitionError(
            f"no installed package offers a plugin {self.name!r}; install one, or name a file with "
            f'"{self.name}": {{"source": "path/to/{self.name}.py"}}'
        )

    def again(self, loaded: Loaded, generation: int) -> Loaded:
        """Leave it as it is; there never was any."""
        del generation
        return loaded

    def at_hand(self) -> None:
        """Nothing."""

    def watched(self) -> None:
        """Nothing."""


def _run(code: CodeGeneration, find: Callable[[ModuleType], type[Plugin[Any]]]) -> Loaded:
    """Load a generation and find its class; if that fails, nothing of it is left."""
    module = code.load()
    try:
        return Loaded(find(module), code)
    except BaseException:
        code.unload()
        raise


@lru_cache(256)
def helpers_folder(entry: Path) -> Path | None:
    """Return the folder beside a plugin's file or package whose modules are its own; ``None`` if others share it.

    Others do where packages are installed, and in the standard library.
    """
    folder = entry.parent.parent if entry.name == "__init__.py" else entry.parent
    real = Path(os.path.realpath(folder))
    installed = {"site-packages", "dist-packages"} & {*folder.parts, *real.parts}
    return None if installed or real.is_relative_to(STANDARD_LIBRARY) else folder


def installed_plugins() -> Iterator[ClassSource]:
    """Return what installed packages offer under the entry point group, first found first; nothing is imported yet."""
    return map(ClassSource.of_offer, offers(ENTRY_POINT_GROUP))


def plugin_class(module: ModuleType, wanted: str | None) -> type[Plugin[Any]]:
    """Return the plugin class that a module defines: the one of that name, or the only one.

    Raises:
        PluginDefinitionError: There is none, or several and none is named.
    """
    if wanted is not None:
        return _attribute(module, wanted)
    own = module.__name__.partition(".")[0]
    classes = {
        value
        for value in vars(module).values()
        if _is_plugin(value) and value.__module__.partition(".")[0].partition(":")[0] == own
    }
    leaves = sorted(
        (cls for cls in classes if not any(other is not cls and issubclass(other, cls) for other in classes)),
        key=lambda cls: cls.__qualname__,
    )
    if len(leaves) == 1:
        return leaves[0]
    names = ", ".join(cls.__qualname__ for cls in leaves)
    raise PluginDefinitionError(
        f"{module.__file__} defines {f'several plugins ({names})' if leaves else 'no subclass of Plugin'}; "
        f"expected one" + (', or name it: "source": "file.py:Class"' if leaves else "")
    )


def _is_plugin(value: object) -> TypeIs[type[Plugin[Any]]]:
    return isinstance(value, type) and issubclass(value, Plugin) and value is not Plugin


def _attribute(module: ModuleType, attribute: str) -> type[Plugin[Any]]:
    found: object = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not _is_plugin(found):
        raise PluginDefinitionError(f"{attribute!r} of {module.__name__!r} is {found!r}; expected a subclass of Plugin")
    return found


def module_owner(module_name: str) -> str | None:
    """Return which plugin's code a module belongs to, by its generation name; ``None`` if it is none's."""
    module = sys.modules.get(module_name)
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    generation = getattr(loader, "generation", None)
    return generation.plugin if isinstance(generation, CodeGeneration) else None
