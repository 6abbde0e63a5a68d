"""Which messages make up a contract: a plugin's, that of a whole host, and that of source code that nobody runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Generator, Hashable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from aetherra.kernel.code import CodeGeneration
from aetherra.kernel.entry import Code
from aetherra.kernel.plugin import Plugin
from aetherra.kernel.sources import Loaded, helpers_folder
from aetherra.kernel.spec import PluginSpec
from aetherra.registry import HOST, Message, Request, Route, tag_of
from aetherra.registry.contract import ContractError
from aetherra.registry.document import Declared, contract_document
from aetherra.registry.shape import shape_of

_shapes: WeakKeyDictionary[type, tuple[tuple[str, ...], Hashable | None]] = WeakKeyDictionary()
OUR_PACKAGES = ("aetherra.registry", "aetherra.kernel")
"""Where the host's own events are defined."""


def host_contract(routes: Iterable[Route], plugins: Iterable[Code]) -> dict[str, Any]:
    """Return the contract of a host: what is answered, and the events of its plugins and its own."""
    declared = [Declared(route.request_type, route.provider.name, "answers", route.replies) for route in routes]
    declared += [Declared(event, HOST.name, "tells") for event in _events_in(_below(OUR_PACKAGES))]
    declared += [one for plugin in plugins for one in _declared(plugin.spec, _own_modules(plugin.loaded))]
    return contract_document(_telling_first(declared))


def plugin_contract(plugin: Code) -> dict[str, Any]:
    """Return the contract of one plugin."""
    return contract_document(_telling_first(_declared(plugin.spec, _own_modules(plugin.loaded))))


def plugin_shape(plugin: Code) -> Hashable | None:
    """Return what says all of a plugin's contract, quick to make and to compare; ``None`` if the contract itself must.

    Two plugins of one shape have the same contract.
    """
    modules = _own_modules(plugin.loaded)
    names = tuple(module.__name__ for module in modules)
    known_names, shape = _shapes.get(plugin.spec.plugin_type, ((), None))
    if known_names != names:  # events may be defined in modules that are imported later
        shape = _shape(_declared(plugin.spec, modules))
        _shapes[plugin.spec.plugin_type] = names, shape
    return shape


def _shape(declared: Iterable[Declared]) -> Hashable | None:
    shapes = [(one.plugin, one.role, shape_of(one.message_type), *map(shape_of, one.replies)) for one in declared]
    return None if any(None in shape for shape in shapes) else frozenset(shapes)


def source_contract(path: Path) -> dict[str, Any]:
    """Load a plugin's file, or the folder of its package, as it is on disk, and return its contract. No host is needed.

    Raises:
        ContractError: There is no code, it raised, or it holds neither a plugin nor a message.
    """
    entry = path / "__init__.py" if path.is_dir() else path
    if not entry.is_file():
        raise ContractError(f"{path} holds no plugin: expected a .py file, or a folder with an __init__.py")
    code: CodeGeneration | None = None
    try:
        name, top = _import_name(entry)
        helpers = None if "." in name else helpers_folder(entry)
        code = CodeGeneration(name.rpartition(".")[2], 1, entry, name, helpers=helpers)
        with _importable(top):
            code.load()
            inner = [
                name
                for name, source in code.sources.items()
                if name.rpartition(".")[2] != "__main__" and (name in sys.modules or not source.part.loose)
            ]
            modules = [importlib.import_module(module) for module in inner]
        declared = [one for spec in _specs_in(modules) for one in _declared(spec, modules)]
        declared = declared or [Declared(event, code.plugin, "tells") for event in _events_in(modules)]
        if not declared:
            raise ContractError(f"{path} holds no plugin: it defines neither a subclass of Plugin nor an event")
        return contract_document(_telling_first(declared))
    except (Exception, SystemExit) as exc:
        if isinstance(exc, ContractError):
            raise
        raise ContractError(f"{path} cannot be loaded: {type(exc).__name__}: {exc}") from exc
    finally:
        if code is not None:
            code.unload()


def told_tags(spec: PluginSpec) -> set[str]:
    """Return the tags of the events that a plugin's handlers return."""
    return {
        tag_of(reply) for handler in spec.handlers if not handler.is_request for reply in _messages(handler.replies)
    }


def _declared(spec: PluginSpec, modules: Iterable[ModuleType]) -> Iterator[Declared]:
    heard = [handler for handler in spec.handlers if not handler.is_request]
    for handler in spec.handlers:
        if handler.is_request:
            yield Declared(handler.message_type, spec.name, "answers", handler.replies)
    for handler in heard:
        yield from (Declared(event, spec.name, "tells") for event in _messages(handler.replies))
    tags = {tag_of(handler.message_type) for handler in heard}
    yield from (Declared(event, spec.name, "tells") for event in _events_in(modules) if tag_of(event) not in tags)
    yield from (Declared(handler.message_type, spec.name, "hears") for handler in heard)


def _telling_first(declared: Iterable[Declared]) -> list[Declared]:
    """Put who tells an event before who only hears it, and may know but a part of it."""
    return sorted(declared, key=lambda one: one.role == "hears")


def _messages(classes: Iterable[type]) -> Iterator[type[Message]]:
    return (cls for cls in classes if issubclass(cls, Message))


def _events_in(modules: Iterable[ModuleType]) -> Iterator[type[Message]]:
    """Yield the events that modules define, and do not just import."""
    for module in modules:
        for value in list(vars(module).values()):
            if (
                isinstance(value, type)
                and issubclass(value, Message)
                and not issubclass(value, Request)
                and value.__module__ == module.__name__
                and value.__struct_config__.tag
            ):
                yield value


def _own_modules(loaded: Loaded) -> list[ModuleType]:
    """The modules of a plugin's code that are imported: its generation's, else those of the package of its class."""
    if loaded.code is not None:
        names = list(loaded.code.sources)
        return [sys.modules[name] for name in names if name in sys.modules]
    module = sys.modules.get(loaded.plugin_type.__module__)
    package = loaded.plugin_type.__module__.rpartition(".")[0]
    if package and getattr(sys.modules.get(package), "__file__", None):
        return _below((package,))
    return [] if module is None else [module]


def _below(packages: tuple[str, ...]) -> list[ModuleType]:
    prefixes = tuple(f"{package}." for package in packages)
    names = [name for name in list(sys.modules) if name in packages or name.startswith(prefixes)]
    return [module for name in sorted(names) if (module := sys.modules.get(name)) is not None]


def _specs_in(modules: Iterable[ModuleType]) -> list[PluginSpec]:
    """The plugins that modules define, without those that are only bases of others."""
    classes: list[type[Plugin[Any]]] = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Plugin) and value.__module__ == module.__name__
    ]
    leaves = [cls for cls in classes if not any(other is not cls and issubclass(other, cls) for other in classes)]
    return [PluginSpec.of(cls) for cls in dict.fromkeys(leaves)]


def _import_name(entry: Path) -> tuple[str, Path]:
    """What code calls it in absolute imports, with the packages that it stands in, and the folder of the outermost."""
    folder, names = entry.absolute().parent, [entry.stem]
    if entry.name == "__init__.py":
        folder, names = folder.parent, [folder.name]
        while (folder / "__init__.py").is_file():
            names.insert(0, folder.name)
            folder = folder.parent
    return ".".join(name.replace(".", "_") for name in names), folder


@contextmanager
def _importable(folder: Path) -> Generator[None]:
    """Have imports look into a folder last, so that the packages that a plugin stands in are found."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
