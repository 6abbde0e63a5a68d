"""What a class says of itself where no code need run to know it: attributes, keywords, the messages of its handlers."""

import ast
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TypeAlias

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.front_door import is_ours
from aetherra.plugins.self_incorporation.code.names import Names, folded_text

__all__ = ["ATTRIBUTES", "Constant", "Constants", "Handler", "encodable", "handlers_of"]

Method: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Constant: TypeAlias = str | int | float | bool | tuple[str, ...] | None
ATTRIBUTES = frozenset(
    [
        "name",
        "service",
        "version",
        "requires",
        "capabilities",
        "privileges",
        "exclusive",
        "heartbeat",
        "data_files",
    ]
)
"""The class attributes by which a plugin describes itself."""
_PLAIN = (
    ast.Assign,
    ast.AnnAssign,
    ast.AugAssign,
    ast.Expr,
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Pass,
)
_MARK = ".handler"
_MOST_TEXTS = 1000
_LONGEST_TEXT = 2000
_LARGEST = 2**63


class Handler(Struct, frozen=True):
    """A method that takes a message.

    Attributes:
        method: Its name.
        message: The class that its parameter is annotated with, dotted, with aliases resolved where they could be: a
            bare name is a class of the same file. Empty if there is no annotation, or none that is a name.
    """

    method: str
    message: str


class Constants:
    """The constants of one module, by the names that are given them once, at its top level."""

    def __init__(self, tree: ast.Module) -> None:
        self._body = tree.body

    @cached_property
    def _known(self) -> dict[str, ast.expr]:
        sometimes = _conditional(self._body)
        found: dict[str, list[ast.expr]] = {}
        for name, value in _assigned(self._body):
            found.setdefault(name, []).append(value)
        return {name: values[0] for name, values in found.items() if len(values) == 1 and name not in sometimes}

    def of(self, node: ast.expr) -> tuple[Constant] | None:
        """Return what an expression is, in a tuple of one, or None where only running it would tell."""
        if isinstance(node, ast.Name):
            found = self._known.get(node.id)
            return None if found is None else _read(found)
        return _read(node)

    def text(self, name: str) -> str:
        """Return the text that the module gives a name, or an empty one."""
        node = self._known.get(name)
        return "" if node is None else _text(node) or ""

    def of_class(self, node: ast.ClassDef) -> dict[str, Constant]:
        """Return those of `ATTRIBUTES` that a class sets to a constant, whatever of it is run."""
        sometimes = _conditional(node.body)
        read = {name: self.of(value) for name, value in _assigned(node.body) if name in ATTRIBUTES - sometimes}
        return {name: value[0] for name, value in read.items() if value is not None}

    def of_keywords(self, keywords: list[ast.keyword]) -> dict[str, Constant]:
        """Return the keywords of a class that are constants: ``tag="greeter.hello"``."""
        read = {keyword.arg: self.of(keyword.value) for keyword in keywords if keyword.arg is not None}
        return {name: value[0] for name, value in read.items() if value is not None}


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that a body of statements assigns to, by themselves, and what they are assigned."""
    for statement in body:
        match statement:
            case ast.Assign(targets=targets, value=value):
                yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value
            case ast.AugAssign(target=ast.Name(id=name), value=value):
                yield name, ast.Call(ast.Name(name), [value], [])  # no constant any more
            case _:
                continue


def encodable(name: str) -> str:
    """Return a name that can be written down: ``getattr`` makes one that cannot of half a surrogate pair."""
    return name if name.isprintable() else name.encode("ascii", "backslashreplace").decode()


def _conditional(body: list[ast.stmt]) -> frozenset[str]:
    """Return the names that statements within statements assign to: perhaps, or perhaps twice."""
    within = (statement for statement in body if not isinstance(statement, _PLAIN))
    nodes = (node for statement in within for node in ast.walk(statement))
    return frozenset(node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))


def handlers_of(methods: Iterable[tuple[Method, tuple[str, ...]]], names: Names) -> tuple[Handler, ...]:
    """Return the handlers among the methods of a class, each of which comes with its decorators."""
    return tuple(
        Handler(node.name, _message(node, names))
        for node, marks in methods
        if any(is_ours(mark) and mark.endswith(_MARK) for mark in marks)
    )


def _message(node: Method, names: Names) -> str:
    """Return the annotation of the first parameter behind ``self``, which is the message."""
    parameters = [*node.args.posonlyargs, *node.args.args][1:2]
    annotation = parameters[0].annotation if parameters else None
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value if annotation.value.isidentifier() else ""
    if isinstance(annotation, ast.Subscript):  # a generic message
        annotation = annotation.value
    if annotation is None:
        return ""
    resolved = names.resolve(annotation)
    if resolved is not None:
        return encodable(resolved.name)
    return annotation.id if isinstance(annotation, ast.Name) else ""


def _read(node: ast.expr) -> tuple[Constant] | None:
    text = _text(node)
    if text is not None:
        return (text,)
    if isinstance(node, ast.Constant):
        value = node.value
        kept = value is None or (isinstance(value, int | float) and abs(value) < _LARGEST)
        return (value,) if kept else None  # type: ignore[return-value]
    if not isinstance(node, ast.Tuple | ast.List | ast.Set) or len(node.elts) > _MOST_TEXTS:
        return None
    texts = [_text(element) for element in node.elts]
    return None if None in texts else (tuple(text for text in texts if text is not None),)


def _text(node: ast.expr) -> str | None:
    """Return constant text that can be kept: not too long, and encodable."""
    folded = folded_text(node)
    if folded is None or len(folded[0]) > _LONGEST_TEXT or not folded[0].isprintable():
        return None
    return folded[0]
