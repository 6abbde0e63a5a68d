"""Files that are looked at together, and how a name in one of them reaches into another."""

import ast
from collections.abc import Sequence
from typing import NamedTuple

from aetherra.plugins.self_incorporation.code.modules import Modules
from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.syntax import Scope, Syntax

__all__ = ["Program", "Unit"]

_LONGEST_CHAIN = 8


class Unit(NamedTuple):
    """One file: where it lies, its text, its tree, and its names."""

    path: str
    text: str
    syntax: Syntax
    names: Names


class Program:
    """Some files, and the modules they are to each other.

    Making it links the names of its files: what one imports from another is resolved to what it is there.

    Args:
        units: The files.
        modules: What they are called when they are imported; None for a file by itself.

    Attributes:
        units: The files.
        modules: What they are called.
        functions: Of each file, its functions and methods by name.
    """

    def __init__(self, units: Sequence[Unit], modules: Modules | None = None) -> None:
        self.units = tuple(units)
        self.modules = modules
        self._by_path = {unit.path: unit for unit in units}
        self._known: dict[tuple[str, str], str] = {}
        self.functions: dict[str, dict[str, list[Scope]]] = {}
        for unit in units:
            named = self.functions.setdefault(unit.path, {})
            lambdas = {scope.body[0]: scope for scope in unit.syntax.scopes if not scope.name and scope.parent}
            for scope in unit.syntax.scopes:
                if scope.name:
                    named.setdefault(scope.name, []).append(scope)
                for targets, value in scope.bindings:
                    if isinstance(value, ast.Lambda):
                        for target in targets:
                            named.setdefault(target, []).append(lambdas[value.body])
            if modules is not None:
                self._link(unit)

    def _link(self, unit: Unit) -> None:
        def link(name: str) -> str:
            key = (unit.path, name)
            if (known := self._known.get(key)) is None:
                known = self._known[key] = self._followed(unit, name)
            return known

        def link_text(name: str) -> str | None:
            found = self.find(unit, name)
            return None if found is None else found[0].names.texts.get(found[1])

        unit.names.link, unit.names.link_text = link, link_text

    def find(self, unit: Unit, name: str) -> tuple[Unit, str] | None:
        """Return the file that a dotted name of another reaches into, and the rest of the name there."""
        if self.modules is None or not name:
            return None
        found = self.modules.file(self.modules.absolute(unit.path, name))
        if found is None or found[0] not in self._by_path:
            return None
        return self._by_path[found[0]], found[1]

    def _followed(self, unit: Unit, name: str) -> str:
        """Return what a name stands for, followed through the files that pass it on."""
        for _ in range(_LONGEST_CHAIN):
            found = self.find(unit, name)
            if found is None or found[0] is unit:
                return name
            unit, rest = found
            first, _, tail = rest.partition(".")
            target = unit.names.passed_on(first)
            if target is None:
                return name
            name = f"{target}.{tail}" if tail else target
        return name
