"""What is read off one Python file: its imports, its top-level definitions, what it says of itself, its length."""

import ast
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.declared import Constant, Constants, Handler, encodable, handlers_of
from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.script import Script, script_of
from aetherra.plugins.self_incorporation.code.syntax import Syntax

__all__ = ["FACTS_VERSION", "Definition", "Facts", "facts_of"]

FACTS_VERSION = 4
"""Counts up when other facts are gathered, so that files are read again."""


class Definition(Struct, frozen=True):
    """A function or class at the top level of a module.

    Attributes:
        name: As defined.
        kind: What it is.
        line: Of its ``def`` or ``class``.
        bases: Of a class, dotted, with aliases resolved where they could be.
        decorators: Likewise.
        methods: Of a class.
        constants: Of a class, those of `declared.ATTRIBUTES` that it sets to a constant: ``version = "1"``.
        keywords: Of a class, those that are constants: ``tag="greeter.hello"``.
        handlers: Of a class, its methods under ``@handler`` of aetherra.
    """

    name: str
    kind: Literal["function", "class"]
    line: int
    bases: tuple[str, ...] = ()
    decorators: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    constants: dict[str, Constant] = {}
    keywords: dict[str, Constant] = {}
    handlers: tuple[Handler, ...] = ()


class Facts(Struct, frozen=True):
    """What one Python file is made of; of a project's metadata, its ``script`` alone.

    Attributes:
        imports: Modules, sorted; a relative one begins with its dots.
        definitions: In the order they stand in, those under a top-level ``if`` or ``try`` included.
        entry_points: How it is run: ``__main__ guard``, ``main()``.
        lines: How many it has.
        method_decorators: Those on methods of its classes, sorted.
        imported: What it imports from modules, sorted: ``from .a import b`` is ``.a.b``, and perhaps a module itself.
        version: Its ``__version__`` if that is constant text, else empty.
        script: Its inline script metadata, or None if it has none.
    """

    imports: tuple[str, ...]
    definitions: tuple[Definition, ...]
    entry_points: tuple[str, ...]
    lines: int
    method_decorators: tuple[str, ...] = ()
    imported: tuple[str, ...] = ()
    version: str = ""
    script: Script | None = None


def facts_of(text: str, syntax: Syntax, names: Names) -> Facts:
    """Gather the facts of a file that was walked and whose names are known."""
    definitions: list[Definition] = []
    entry_points: list[str] = []
    on_methods: set[str] = set()
    constants = Constants(syntax.tree)
    for node in _top_level(syntax.tree):
        if isinstance(node, ast.ClassDef):
            definitions.append(_class(node, names, constants, on_methods))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = _called(node.decorator_list, names)
            definitions.append(Definition(node.name, "function", node.lineno, (), decorators))
        elif isinstance(node, ast.If) and _guards_main(node.test):
            entry_points.append("__main__ guard")
    if any(definition.name == "main" and definition.kind == "function" for definition in definitions):
        entry_points.append("main()")
    return Facts(
        imports=tuple(sorted(names.modules)),
        definitions=tuple(definitions),
        entry_points=tuple(dict.fromkeys(entry_points)),
        lines=text.count("\n") + (not text.endswith("\n") and bool(text)),
        method_decorators=tuple(sorted(on_methods)),
        imported=_imported(syntax),
        version=constants.text("__version__") if "__version__" in text else "",
        script=script_of(text),
    )


def _class(node: ast.ClassDef, names: Names, constants: Constants, on_methods: set[str]) -> Definition:
    methods = [inner for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)]
    marked = [(method, _called(method.decorator_list, names)) for method in methods]
    on_methods.update(mark for _, marks in marked for mark in marks)
    return Definition(
        name=node.name,
        kind="class",
        line=node.lineno,
        bases=_called(node.bases, names),
        decorators=_called(node.decorator_list, names),
        methods=tuple(method.name for method in methods),
        constants=constants.of_class(node),
        keywords=constants.of_keywords(node.keywords),
        handlers=handlers_of(marked, names),
    )


def _imported(syntax: Syntax) -> tuple[str, ...]:
    found: set[str] = set()
    for statement in syntax.imports:
        if isinstance(statement, ast.ImportFrom):
            module = "." * statement.level + (statement.module or "")
            joint = "" if module.endswith(".") else "."
            found.update(f"{module}{joint}{alias.name}" for alias in statement.names)
    return tuple(sorted(found))


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
            found.append(encodable(text))
    return tuple(found)


def _guards_main(test: ast.expr) -> bool:
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq):
        return False
    sides = [test.left, *test.comparators]
    names = any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides)
    return names and any(isinstance(side, ast.Constant) and side.value == "__main__" for side in sides)
