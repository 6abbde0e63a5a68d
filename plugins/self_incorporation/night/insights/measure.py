"""What is measured of one Python file: how much of it is documented, how it branches, which names it uses."""

import ast
import re
from collections.abc import Iterable

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.findings import Refusal
from aetherra.plugins.self_incorporation.code.source import decode, parse
from aetherra.plugins.self_incorporation.night.pace import Steps

__all__ = ["Measured", "measure", "names_in"]

_STEP = 2_000  # nodes of a tree
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONG = 500  # characters of a text beyond which it is prose, and names nothing
_BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.match_case, ast.Assert)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Measured(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The measures of one file.

    Attributes:
        sha256: Of the bytes that were measured.
        public: Functions, methods and classes whose names do not begin with an underscore, and the module.
        documented: How many of them have a docstring.
        functions: Functions and methods, of any name.
        branches: Ways that their flow can take besides the first: conditions, loops, handlers.
        names: Every name that it uses, also in short texts, sorted, with blanks between; those it only defines or
            describes are not among them.
        problem: Why there are no measures.
    """

    sha256: str
    public: int = 0
    documented: int = 0
    functions: int = 0
    branches: int = 0
    names: str = ""
    problem: str = ""


def measure(path: str, sha256: str, data: bytes) -> Steps[None, Measured]:
    """Measure a file by its bytes; neither runs nor imports any of it."""
    text = decode(path, data)
    tree = text if isinstance(text, Refusal) else parse(path, text)
    yield None
    if isinstance(tree, Refusal):
        return Measured(sha256=sha256, problem=tree.detail)
    public, documented = 1, int(ast.get_docstring(tree, clean=False) is not None)
    functions = branches = 0
    names: set[str] = set()
    pending: list[ast.AST] = [tree]
    count = 0
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # it describes
        pending.extend(ast.iter_child_nodes(node))
        names.update(_used(node))
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            functions += isinstance(node, _FUNCTIONS)
            if not node.name.startswith("_"):
                public += 1
                documented += ast.get_docstring(node, clean=False) is not None
        elif isinstance(node, _BRANCHES):
            branches += 1
        elif isinstance(node, ast.BoolOp):
            branches += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            branches += 1 + len(node.ifs)
        count += 1
        if count % _STEP == 0:
            yield None
    return Measured(
        sha256=sha256,
        public=public,
        documented=documented,
        functions=functions,
        branches=branches,
        names=" ".join(sorted(names)),
    )


def names_in(text: str) -> set[str]:
    """Return every word of a text that may be a name."""
    return set(_WORD.findall(text))


def _used(node: ast.AST) -> Iterable[str]:
    match node:
        case ast.Name():
            return (node.id,)
        case ast.Attribute():
            return (node.attr,)
        case ast.alias():
            return node.name.split(".")
        case ast.Constant(value=str(text)) if len(text) <= _LONG:
            return names_in(text)
        case ast.MatchClass():
            return node.kwd_attrs
        case _:
            return ()
