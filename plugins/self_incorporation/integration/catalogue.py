"""The catalogue: what is known of registered items that are no plugins, so that others can find and use them."""

import ast
from collections.abc import Iterator
from typing import TypeAlias

from msgspec import Struct

__all__ = [
    "AgentEntry",
    "CatalogueEntry",
    "Column",
    "DatasetEntry",
    "Table",
    "UtilityEntry",
    "WorkflowEntry",
    "agent_entry",
    "utility_entry",
]


class AgentEntry(Struct, frozen=True, tag="agent"):
    """Classes that act on their own once somebody makes one; nothing here does.

    Attributes:
        module: To import them from, as plugins beside it do.
        classes: Each with its public methods.
    """

    module: str
    classes: dict[str, tuple[str, ...]]


class UtilityEntry(Struct, frozen=True, tag="utility"):
    """A module that plugins beside it import; that it can be imported was tried in a process of its own.

    Attributes:
        module: Its name.
        names: What it defines at its top level, but for names that begin with an underscore.
    """

    module: str
    names: tuple[str, ...]


class Column(Struct, frozen=True):
    """A column.

    Attributes:
        name: Its name.
        type: What its values are: ``integer``, ``number``, ``boolean``, ``text``, ``list``, ``object`` or ``blob``; if
            they differ ``mixed``, and if there are none ``unknown``.
        missing: Rows that have none.
    """

    name: str
    type: str
    missing: int = 0


class Table(Struct, frozen=True):
    """One table of a dataset; a file of one has a table without a name."""

    name: str
    rows: int
    columns: tuple[Column, ...]


class DatasetEntry(Struct, frozen=True, tag="dataset"):
    """Data that stays where it is.

    Attributes:
        path: Absolute.
        format: ``csv``, ``tsv``, ``jsonl``, ``json`` or ``sqlite``.
        sha256: Of the file when it was read, in hex.
        size: In bytes.
        tables: What it holds.
    """

    path: str
    format: str
    sha256: str
    size: int
    tables: tuple[Table, ...]


class WorkflowEntry(Struct, frozen=True, tag="workflow"):
    """Actions that were done once, in order.

    Attributes:
        tags: Theirs.
        final: Those without a way back.
    """

    tags: tuple[str, ...]
    final: tuple[str, ...]


CatalogueEntry: TypeAlias = AgentEntry | UtilityEntry | DatasetEntry | WorkflowEntry


def agent_entry(module: str, source: bytes) -> AgentEntry:
    """Read the classes of an agent's module: those that are called one, or derive from one; if none are, all.

    Raises:
        SyntaxError: It is not Python.
        ValueError: It has null bytes.
    """
    classes = [node for node in _top_level(source) if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    agents = [node for node in classes if any(name.endswith("Agent") for name in (node.name, *map(_last, node.bases)))]
    return AgentEntry(module, {node.name: tuple(_methods(node)) for node in agents or classes})


def utility_entry(module: str, source: bytes) -> UtilityEntry:
    """Read what a module defines.

    Raises:
        SyntaxError: It is not Python.
        ValueError: It has null bytes.
    """
    return UtilityEntry(module, tuple(_public(source)))


def _public(source: bytes) -> Iterator[str]:
    for node in _top_level(source):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


def _top_level(source: bytes) -> list[ast.stmt]:
    return ast.parse(source).body


def _methods(node: ast.ClassDef) -> Iterator[str]:
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and not inner.name.startswith("_"):
            yield inner.name


def _last(node: ast.expr) -> str:
    return ast.unparse(node).partition("[")[0].rpartition(".")[2]
