"""What is read off one Python file: its imports, its top-level definitions, its entry points, its length."""

import ast
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.syntax import Syntax

__all__ = ["Definition", "Facts", "facts_of"]


class Definition(Struct, frozen=True):
    """A function or class at the top level of a module.

    Attributes:
        name: As defined.
        kind: What it is.
        line: Of its ``def`` or ``class``.
        bases: Of a class, dotted, with aliases resolved where they could be.
        decorators: Likewise.
        methods: Of a class.
    """

    name: str
    kind: Literal["function", "class"]
    line: int
    bases: tuple[str, ...] = ()
    decorators: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


class Facts(Struct, frozen=True):
    """What one Python file is made of.

    Attributes:
        imports: Modules, sorted; a relative one begins with its dots.
        definitions: In the order they stand in, those under a top-level ``if`` or ``try`` included.
        entry_points: How it is run: ``__main__ guard``, ``main()``.
        lines: How many it has.
        method_decorators: Those on methods of its classes, sorted.
    """

    imports: tuple[str, ...]
    definitions: tuple[Definition, ...]
    entry_points: tuple[str, ...]
    lines: int
    method_decorators: tuple[str, ...] = ()


def facts_of(text: str, syntax: Syntax, names: Names) -> Facts:
    """Gather the facts of a file that was walked and whose names are known."""
    definitions: list[Definition] = []
    entry_points: list[str] = []
    on_methods: set[str] = set()
    for node in _top_level(syntax.tree):
        if isinstance(node, ast.ClassDef):
            methods = [inner for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)]
            on_methods.update(decorator for method in methods for decorator in _called(method.decorator_list, names))
            definitions.append(
                Definition(
                    node.name,
                    "class",
                    node.lineno,
                    _called(node.bases, names),
                    _called(node.decorator_list, names),
                    tuple(method.name for method in methods),
                )
            )
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = _called(node.decorator_list, names)
            definitions.append(Definition(node.name, "function", node.lineno, (), decorators))
        elif isinstance(node, ast.If) and _guards_main(node.test):
            entry_points.append("__main__ guard")
    if any(definition.name == "main" and definition.kind == "function" for definition in definitions):
        entry_points.append("main()")
    lines = text.count("\n") + (not text.endswith("\n") and bool(text))
    imports = tuple(sorted(names.modules))
    return Facts(imports, tuple(definitions), tuple(dict.fromkeys(entry_points)), lines, tuple(sorted(on_methods)))


def _top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    pending: list[ast.stmt] = tree.body[::-1]
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.If):
            pending.extend([*node.body, *node.orelse][::-1])
        elif isinstance(node, ast.Try | ast.TryStar):
            handled = [inner for handler in node.handlers for inner in handler.body]
            pending.extend([*node.body, *handled, *node.orelse, *node.finalbody][::-1])


def _called(nodes: list[ast.expr], names: Names) -> tuple[str, ...]:
    found: list[str] = []
    for node in nodes:
        bare = node
        while isinstance(bare, ast.Call | ast.Subscript):  # a decorator with arguments, a generic base
            bare = bare.func if isinstance(bare, ast.Call) else bare.value
        resolved = names.resolve(bare)
        text = resolved.name if resolved is not None else bare.id if isinstance(bare, ast.Name) else None
        if text is None and isinstance(bare, ast.Attribute):
            text = bare.attr
        if text is not None:
            found.append(text)
    return tuple(found)


def _guards_main(test: ast.expr) -> bool:
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq):
        return False
    sides = [test.left, *test.comparators]
    names = any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides)
    return names and any(isinstance(side, ast.Constant) and side.value == "__main__" for side in sides)
