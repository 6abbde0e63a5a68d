"""Where names have moved, and the rewriting of a file's imports by that: a pure function of bytes."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_ABCS = """
    AsyncGenerator AsyncIterable AsyncIterator Awaitable ByteString Callable Collection Container Coroutine Generator
    Hashable ItemsView Iterable Iterator KeysView Mapping MappingView MutableMapping MutableSequence MutableSet
    Reversible Sequence Set Sized ValuesView
"""
KNOWN_MOVES: Mapping[str, str] = {
    **{f"collections.{name}": f"collections.abc.{name}" for name in _ABCS.split()},
    "fractions.gcd": "math.gcd",
    "imp.reload": "importlib.reload",
    "xml.etree.cElementTree": "xml.etree.ElementTree",
}
"""Names of the standard library that mean the same elsewhere; where they are not the same there, none is listed."""


class _Edit(NamedTuple):
    """Bytes from ``begin`` to ``end`` that become ``text``."""

    begin: int
    end: int
    text: str


class UnreadableError(ValueError):
    """A file cannot be rewritten: it is no Python, not in UTF-8, or has line ends of an old kind."""


def rewrite(source: bytes, moves: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
    """Return a file's bytes with the imports of moved names rewritten, and which names those were.

    Rewritten are ``from old import name``, ``import old.name as x``, and ``old.name`` after a plain ``import old``. All
    other bytes stay as they are.

    Raises:
        UnreadableError: It cannot be rewritten.
    """
    tree, starts = _parse(source)
    newline = "\r\n" if b"\r\n" in source else "\n"
    edits: list[_Edit] = []
    moved: dict[str, str] = {}
    attributes = list(_attributes(tree, moves))
    needed = {new.rpartition(".")[0] for _, new in attributes}
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        lines = [*_from_lines(node, moves, moved)] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.Import):
            lines = [*_import_lines(node, moves, moved, attributes, needed)]
        if lines:
            begin, end = _span(node, starts)
            edits.append(_Edit(begin, end, _joined(lines, source, begin, end, newline)))
    for attribute, new in attributes:
        moved[_dotted(attribute)] = new
        edits.append(_Edit(*_span(attribute, starts), new))
    for edit in sorted(edits, reverse=True):
        source = source[: edit.begin] + edit.text.encode() + source[edit.end :]
    _parse(source)
    return source, moved


def _parse(source: bytes) -> tuple[ast.Module, list[int]]:
    """Return the tree, and where each line begins; positions in the tree count bytes from there."""
    if source.startswith(b"\xef\xbb\xbf") or b"\r" in source.replace(b"\r\n", b"") or b"\x0c" in source:
        raise UnreadableError("it begins with a byte order mark, or has line ends other than \\n and \\r\\n")
    try:
        text = source.decode()
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as exc:
        raise UnreadableError(f"it is no Python in UTF-8: {exc}") from exc
    if ast.dump(ast.parse(text)) != ast.dump(tree):
        raise UnreadableError("it names another encoding than UTF-8")
    starts = [0]
    for line in source.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    return tree, starts


def _span(node: ast.stmt | ast.expr, starts: list[int]) -> tuple[int, int]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset


def _from_lines(node: ast.ImportFrom, moves: Mapping[str, str], moved: dict[str, str]) -> Iterator[str]:
    """Yield what a ``from`` statement becomes; nothing if it stays."""
    if node.level or node.module is None:
        return
    hit = {alias.name: moves[old] for alias in node.names if (old := f"{node.module}.{alias.name}") in moves}
    if not hit:
        return
    rest = [_alias(alias.name, alias.asname) for alias in node.names if alias.name not in hit]
    if rest:
        yield f"from {node.module} import {', '.join(rest)}"
    for module in dict.fromkeys(new.rpartition(".")[0] for new in hit.values()):
        names: list[str] = []
        for alias in node.names:
            new = hit.get(alias.name, "")
            if new.rpartition(".")[0] == module:
                moved[f"{node.module}.{alias.name}"] = new
                names.append(_alias(new.rpartition(".")[2], alias.asname or alias.name))
        yield f"from {module} import {', '.join(names)}"


def _import_lines(
    node: ast.Import,
    moves: Mapping[str, str],
    moved: dict[str, str],
    attributes: list[tuple[ast.Attribute, str]],
    needed: set[str],
) -> Iterator[str]:
    """Yield what an ``import`` statement becomes: its moved modules by their new names, and what attributes need."""
    roots = {_dotted(attribute).rpartition(".")[0] for attribute, _ in attributes}
    more = sorted(needed) if any(alias.asname is None and alias.name in roots for alias in node.names) else []
    more = [module for module in more if module not in {alias.name for alias in node.names}]
    if not more and not any(alias.asname and alias.name in moves for alias in node.names):
        return
    names: list[str] = []
    for alias in node.names:
        if alias.asname and alias.name in moves:
            moved[alias.name] = moves[alias.name]
            names.append(_alias(moves[alias.name], alias.asname))
        else:
            names.append(_alias(alias.name, alias.asname))
    yield f"import {', '.join(names)}"
    yield from (f"import {module}" for module in more)


def _attributes(tree: ast.Module, moves: Mapping[str, str]) -> Iterator[tuple[ast.Attribute, str]]:
    """Yield each read of a moved name of a module that is imported plainly, and is bound by nothing else."""
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.asname is None
    }
    bound = set(_bound(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            name = _dotted(node)
            module = name.rpartition(".")[0]
            if name in moves and module in imported and module.partition(".")[0] not in bound:
                yield node, moves[name]


def _bound(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name


def _dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` of an expression that is just that, else ``""``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def _alias(name: str, known_as: str | None) -> str:
    return name if known_as is None or known_as == name else f"{name} as {known_as}"


def _joined(lines: list[str], source: bytes, begin: int, end: int, newline: str) -> str:
    """Write statements in place of one: each on a line of its own, if the one has its line to itself."""
    start = source.rfind(b"\n", 0, begin) + 1
    before, after = source[start:begin], source[end:].split(b"\n", 1)[0].strip()
    alone = not before.strip() and (not after or after.startswith(b"#"))
    return (newline + before.decode()).join(lines) if alone else "; ".join(lines)
