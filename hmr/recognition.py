"""Recognition: which plugins the texts in a folder define, told without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import msgspec

from aetherra.hmr.contents import Signature
from aetherra.kernel.plugin import name_of_class

REEXPORTS = 5
"""How many modules a name may be handed on by."""


class Outline(msgspec.Struct, frozen=True):
    """What the text of a module says; all names in full, as seen from the folder.

    Attributes:
        classes: The bases of each class.
        plugins: What each class is called if it is a plugin.
        imports: What each name stands for that is imported.
        problem: Why a text that seems to be meant as a plugin cannot be read.
    """

    classes: dict[str, tuple[str, ...]] = {}
    plugins: dict[str, str] = {}
    imports: dict[str, str] = {}
    problem: str = ""


class Texts:
    """The modules in a folder, by their texts; each is read once for as long as it does not change.

    Args:
        folder: Where they are beside each other, so that one imports another.
        files: All Python files in it that are regular files, as the system describes them.
    """

    def __init__(self, folder: Path, files: Mapping[Path, Signature]) -> None:
        self._folder = folder
        self._outlines = {_module(file, folder): _outline(file, folder, files[file]) for file in files}
        bases = [base for outline in self._outlines.values() for found in outline.classes.values() for base in found]
        self._bases = {self._origin(base) for base in bases}

    def plugins_in(self, place: Path) -> list[str]:
        """Return the names of the plugins that a file or package defines: of classes that are no base of another."""
        return sorted(
            outline.plugins[name]
            for module, outline in self._within(place)
            for name in outline.classes
            if f"{module}.{name}" not in self._bases and self._is_plugin(f"{module}.{name}")
        )

    def problem_in(self, place: Path) -> str:
        """Return why a file or package that seems to be meant as a plugin cannot be read; empty if it can be."""
        return next((outline.problem for _, outline in self._within(place) if outline.problem), "")

    def _within(self, place: Path) -> Iterator[tuple[str, Outline]]:
        top = _module(place, self._folder)
        return ((name, found) for name, found in sorted(self._outlines.items()) if f"{name}.".startswith(f"{top}."))

    def _is_plugin(self, name: str, seen: frozenset[str] = frozenset()) -> bool:
        """Whether a class has ``Plugin`` among its ancestors."""
        name = self._origin(name)
        if name.startswith("aetherra."):
            return name.endswith(".Plugin")
        module, _, inner = name.rpartition(".")
        bases = self._outlines.get(module, Outline()).classes.get(inner, ())
        return name not in seen and any(self._is_plugin(base, seen | {name}) for base in bases)

    def _origin(self, name: str) -> str:
        """Return a name as it is where it was defined, which another module may import on."""
        for _ in range(REEXPORTS):
            module, _, inner = name.rpartition(".")
            imported = self._outlines.get(module, Outline()).imports.get(inner)
            if imported is None:
                break
            name = imported
        return name


def _module(file: Path, folder: Path) -> str:
    parts = file.relative_to(folder).with_suffix("" if file.suffix == ".py" else file.suffix).parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@lru_cache(maxsize=4096)
def _outline(file: Path, folder: Path, signature: Signature) -> Outline:  # noqa: ARG001  # part of the key
    text = b""
    try:
        text = file.read_bytes()
        tree = ast.parse(text)
    except SyntaxError as exc:
        problem = f"{exc.msg} ({file.name}, line {exc.lineno})" if exc.lineno else f"{exc.msg} ({file.name})"
        return Outline(problem=problem if b"aetherra" in text else "")
    except (OSError, ValueError, RecursionError, MemoryError) as exc:
        return Outline(problem=f"{type(exc).__name__}: {exc} ({file.name})" if b"aetherra" in text else "")
    module = _module(file, folder)
    imports = dict(_imports(tree, module if file.name == "__init__.py" else module.rpartition(".")[0]))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return Outline(
        classes={node.name: tuple(_in_full(base, module, imports) for base in node.bases) for node in classes},
        plugins={node.name: _given_name(node) or name_of_class(node.name) for node in classes},
        imports={name: full for name, full in imports.items() if name not in {node.name for node in classes}},
    )


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, str]]:
    """Yield each imported name with what it stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*filter(None, above), *filter(None, [node.module])])
            for alias in node.names:
                yield alias.asname or alias.name, f"{source}.{alias.name}" if source else alias.name


def _in_full(node: ast.expr, module: str, imports: Mapping[str, str]) -> str:
    """Return what the base of a class is called where it comes from."""
    node = node.value if isinstance(node, ast.Subscript) else node
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([imports.get(node.id, f"{module}.{node.id}"), *parts])


def _given_name(node: ast.ClassDef) -> str | None:
    for statement in node.body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name("name")], value=ast.Constant(str(name)))
                | ast.AnnAssign(target=ast.Name("name"), value=ast.Constant(str(name)))
            ):
                return name
            case _:
                continue
    return None
