"""What a name in a file stands for: aliases resolved to the dotted name of what they reach.

One table for the whole file, not one for each scope: a name that means two things counts as the more telling one.
"""

import ast
import builtins
from typing import NamedTuple

from aetherra.plugins.self_incorporation.code.syntax import Syntax, dotted_text

__all__ = ["Names", "Resolved", "folded_text"]

_BUILTINS = frozenset(dir(builtins))
_BUILTIN_ROOTS = ("builtins.", "__builtins__.", "builtins.__dict__.", "__builtins__.__dict__.")
# Aliases of aliases could otherwise grow with the square of the file.
_LONGEST_NAME = 200
_IMPORTERS = frozenset(["__import__", "importlib.import_module", "importlib.__import__"])


class Resolved(NamedTuple):
    """A dotted name, and whether the source took pains not to spell it."""

    name: str
    hidden: bool


class Names:
    """The aliases of one file.

    Attributes:
        aliases: From a name in the file to what it stands for.
        modules: Every module it imports, relative ones with their dots.
    """

    def __init__(self, syntax: Syntax) -> None:
        self.aliases: dict[str, str] = {}
        self.modules: set[str] = set()
        self._hidden: set[str] = set()
        self._stars: list[str] = []
        for statement in syntax.imports:
            self._import(statement)
        body = syntax.tree.body
        own = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
        self._builtins = _BUILTINS - own
        for scope in syntax.scopes:
            for targets, value in scope.bindings:
                if isinstance(value, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
                    self._assign(targets, value)

    def _import(self, statement: ast.Import | ast.ImportFrom) -> None:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                self.modules.add(alias.name)
                root = alias.name.partition(".")[0]
                self.aliases[alias.asname or root] = alias.name if alias.asname else root
            return
        module = "." * statement.level + (statement.module or "")
        joint = "" if module.endswith(".") else "."
        if statement.module:
            self.modules.add(module)
        for alias in statement.names:
            if not statement.module:
                self.modules.add(module + alias.name)
            if alias.name == "*":
                self._stars.append(module)
            else:
                self.aliases[alias.asname or alias.name] = module + joint + alias.name

    def _assign(self, targets: list[str], value: ast.expr) -> None:
        if isinstance(value, ast.Call) and not self._reaches(value):
            return  # what an ordinary call returns is another thing than what was called
        resolved = self.resolve(value)
        if resolved is None or resolved.name.endswith("()"):
            return
        for target in targets:
            if "." not in target and target not in self.aliases:
                self.aliases[target] = resolved.name
                if resolved.hidden:
                    self._hidden.add(target)

    def _reaches(self, call: ast.Call) -> bool:
        function = self._spelled(call.func)
        return function == "getattr" or function in _IMPORTERS

    def _spelled(self, node: ast.expr) -> str | None:
        """Resolve a plain dotted name."""
        text = dotted_text(node)
        if text is None:
            return None
        root, _, rest = text.partition(".")
        base = self._root(root)
        return None if base is None else _normal(f"{base}.{rest}" if rest else base)

    def _root(self, name: str) -> str | None:
        if (alias := self.aliases.get(name)) is not None:
            return alias
        if name in self._builtins or name == "__builtins__":
            return name
        if self._stars:
            return f"{self._stars[-1]}.{name}"
        return None

    def resolve(self, node: ast.expr) -> Resolved | None:
        """Return what an expression reaches, or None when that cannot be read off it.

        Sees through aliases, ``getattr`` and ``__import__`` of constant text, ``sys.modules[...]`` and
        ``__builtins__[...]``. What a call returns is written ``f()``.
        """
        tail: list[str] = []
        hidden = False
        while True:
            if isinstance(node, ast.Attribute):
                tail.append(node.attr)
                node = node.value
            elif isinstance(node, ast.Call) and (attribute := self._got(node)) is not None:
                tail.append(attribute[0])
                hidden = hidden or attribute[1]
                node = node.args[0]
            elif isinstance(node, ast.NamedExpr):
                node = node.value
            else:
                break
        base = self._base(node)
        if base is None:
            return None
        return Resolved(_normal(".".join([base.name, *reversed(tail)]))[:_LONGEST_NAME], hidden or base.hidden)

    def _got(self, call: ast.Call) -> tuple[str, bool] | None:
        """Return the attribute that a ``getattr`` of constant text gets."""
        if len(call.args) > 1 and self._spelled(call.func) == "getattr":
            return folded_text(call.args[1])
        return None

    def _base(self, node: ast.expr) -> Resolved | None:
        if isinstance(node, ast.Name):
            name = self._root(node.id)
            return None if name is None else Resolved(name, node.id in self._hidden)
        if isinstance(node, ast.Subscript):
            folded = folded_text(node.slice)
            known = self._spelled(node.value) in ("sys.modules", "__builtins__", "builtins.__dict__")
            return Resolved(*folded) if known and folded is not None else None
        if not isinstance(node, ast.Call):
            return None
        function = self._spelled(node.func)
        if function in _IMPORTERS and node.args and (folded := folded_text(node.args[0])) is not None:
            return Resolved(*folded)
        return None if function is None else Resolved(function + "()", hidden=False)


def folded_text(node: ast.expr) -> tuple[str, bool] | None:
    """Return the text an expression of constants makes, and whether it was put together to make it."""
    if isinstance(node, ast.Constant):
        return (node.value, False) if isinstance(node.value, str) else None
    parts: list[str] = []
    stack: list[ast.expr] = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
            stack += (part.right, part.left)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            parts.append(part.value)
        elif isinstance(part, ast.Subscript) and isinstance(part.value, ast.Constant) and _reverses(part.slice):
            parts.append(str(part.value.value)[::-1])
        else:
            return None
    return "".join(parts), True


def _reverses(node: ast.expr) -> bool:
    step = node.step if isinstance(node, ast.Slice) else None
    return (
        isinstance(step, ast.UnaryOp)
        and isinstance(step.op, ast.USub)
        and isinstance(step.operand, ast.Constant)
        and step.operand.value == 1
    )


def _normal(name: str) -> str:
    for root in _BUILTIN_ROOTS:
        if name.startswith(root):
            return name[len(root) :]
    return name
