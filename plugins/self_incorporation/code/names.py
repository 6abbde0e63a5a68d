"""What a name in a file stands for: aliases resolved to the dotted name of what they reach.

One table for the whole file, not one for each scope: a name that means two things counts as the more telling one.
"""

import ast
import builtins
from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple

from aetherra.plugins.self_incorporation.code.folding import Given, folded_bytes, folded_text
from aetherra.plugins.self_incorporation.code.rules import CLIENTS, TELLING, canonical, capability_of
from aetherra.plugins.self_incorporation.code.syntax import Scope, Syntax, dotted_text

__all__ = ["Names", "Resolved", "folded_text"]

_BUILTINS = frozenset(dir(builtins))
_BUILTIN_ROOTS = ("builtins.", "__builtins__.", "__builtin__.")
# Aliases of aliases could otherwise grow with the square of the file.
_LONGEST_NAME = 200
_DEEPEST = 12
_MOST_TEXTS = 8
_IMPORTERS = frozenset(["__import__", "importlib.import_module", "importlib.__import__", "pkgutil.resolve_name"])
_GETTERS = frozenset(["getattr", "object.__getattribute__", "type.__getattribute__", "inspect.getattr_static"])
_NAMESPACES = frozenset(["globals()", "locals()", "vars()", "builtins.globals()"])
# What is found under these names in the inside of a thing of somebody else's is what they are everywhere.
_INSIDE = {
    **{name.rpartition(".")[2]: name for name in TELLING if name.startswith("os.")},
    "Popen": "subprocess.Popen",
    "check_output": "subprocess.check_output",
}
_READ_BY_METHOD = frozenset(["__getattribute__", "__getattr__"])


class Resolved(NamedTuple):
    """A dotted name, and whether the source took pains not to spell it."""

    name: str
    hidden: bool


class Groped(NamedTuple):
    """An attribute that only running the source would tell: whose it is, and the expression that names it."""

    owner: str
    attribute: ast.expr


class Names:
    """The aliases of one file.

    Attributes:
        aliases: From a name in the file to what it stands for; a dotted one is an attribute that was assigned.
        modules: Every module it imports, relative ones with their dots.
        texts: Names that stand for one constant text.
        given: What is given to names that stand for one other thing: bytes, a table, a function.
        smuggled: Lines that make a telling function answer to a special name: ``__getitem__ = exec``.
        link: Follows a dotted name into another file; set where several are looked at together.
        link_text: Likewise, to the constant text it stands for.
    """

    def __init__(self, syntax: Syntax) -> None:
        self.aliases: dict[str, str] = {}
        self.modules: set[str] = set()
        self.texts: dict[str, str] = {}
        self.given = Given()
        self.smuggled: set[int] = set()
        self.link: Callable[[str], str] | None = None
        self.link_text: Callable[[str], str | None] | None = None
        self._members: dict[str, str] = {}
        self._hidden: set[str] = set()
        self._joined: set[str] = set()
        self._unclear: dict[str, list[str]] = {}
        self._stars: list[str] = []
        self._tables: dict[ast.expr, ast.expr] = {}
        for statement in syntax.imports:
            self._import(statement)
        body = syntax.tree.body
        own = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
        self._builtins = _BUILTINS - own
        for scope in syntax.scopes:
            self._keep_function(scope)
            for targets, value in scope.bindings:
                self.given.keep(targets, value)
        for scope in syntax.scopes:
            for targets, value in scope.bindings:
                if not isinstance(value, ast.Constant | ast.Compare | ast.Lambda):
                    self._assign(targets, value)
                self._keep_text(targets, value)

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
            self._assign_client(targets, value)
            return  # what an ordinary call returns is another thing than what was called
        resolved = self.resolve(value) or self._within(value)
        if resolved is None or resolved.name.endswith("()"):
            return
        telling = resolved.name in TELLING
        for target in targets:
            root, dot, member = target.rpartition(".")
            if dot and not telling:
                continue
            if telling:
                self._members[member] = resolved.name
                if _is_special(member) or self._root(root) in ("sys", "builtins", "__builtins__"):
                    self.smuggled.add(value.lineno)
            if target not in self.aliases:
                self.aliases[target] = resolved.name
                if resolved.hidden:
                    self._hidden.add(target)

    def _assign_client(self, targets: list[str], call: ast.Call) -> None:
        function = self._spelled(call.func)
        if function in CLIENTS:
            for target in targets:
                self.aliases.setdefault(target, f"{function}()")

    def _within(self, value: ast.expr) -> Resolved | None:
        """Return a telling function that a table, or a choice, holds: whatever is taken from it counts as that."""
        pending: list[ast.expr | None]
        match value:
            case ast.Dict(values=values):
                pending = list(values)
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                pending = list(elements)
            case ast.IfExp(body=one, orelse=other):
                pending = [one, other]
            case ast.BoolOp(values=values):
                pending = list(values)
            case ast.Subscript():
                table = self._innermost(value)
                return self.resolve(table) if isinstance(table, ast.Name) else self._within(table)
            case _:
                return None
        for each in pending[:200]:
            if isinstance(each, ast.Name | ast.Attribute | ast.Call):
                found = self.resolve(each)
                if found is not None and found.name in TELLING:
                    return found
        return None

    def _innermost(self, node: ast.expr) -> ast.expr:
        """Return what is taken from first in ``table[a][b][c]``, without going through the same ones again."""
        passed: list[ast.expr] = []
        while isinstance(node, ast.Subscript):
            passed.append(node)
            node = self._tables.get(node, node.value)
        self._tables.update(dict.fromkeys(passed, node))
        return node

    def _keep_function(self, scope: Scope) -> None:
        """Note a function that does no more than return something of its parameters."""
        match scope.body:
            case [ast.Return(value=ast.expr() as value)] if scope.name:
                arguments = ast.arguments([], [ast.arg(name) for name in scope.parameters], None, [], [], None, [])
                self.given.keep([scope.name], ast.copy_location(ast.Lambda(arguments, value), value))
            case _:
                pass

    def _keep_text(self, targets: list[str], value: ast.expr) -> None:
        """Note the text that a name is given, unless it is given several."""
        if len(targets) != 1 or "." in targets[0]:
            return
        name = targets[0]
        folded = None
        if isinstance(value, ast.Constant | ast.BinOp | ast.JoinedStr | ast.Call | ast.Subscript | ast.Name):
            folded = self.folded(value)
        continues = isinstance(value, ast.BinOp) and isinstance(value.left, ast.Name) and value.left.id == name
        several = self._unclear.get(name)
        if folded is None or several is not None or (self.texts.get(name, folded[0]) != folded[0] and not continues):
            several = self._unclear.setdefault(name, [self.texts.pop(name)] if name in self.texts else [])
            if folded is not None and len(several) < _MOST_TEXTS:
                several.append(folded[0])
            return
        self.texts[name] = folded[0]
        if folded[1]:
            self._joined.add(name)

    def folded(self, node: ast.expr) -> tuple[str, bool] | None:
        """Return the constant text an expression makes, and whether it was put together to make it."""
        if isinstance(node, ast.Constant):
            return folded_text(node)
        if isinstance(node, ast.Name) and node.id not in self.texts and node.id not in self.given.expressions:
            alias = self.aliases.get(node.id)
            linked = self.link_text(alias) if alias is not None and self.link_text is not None else None
            return None if linked is None else (linked, False)
        found = folded_text(node, self.texts, self.given)
        if found is None:
            return None
        joined = isinstance(node, ast.Name) and node.id in self._joined
        return found[0], found[1] or joined

    def folded_bytes(self, node: ast.expr) -> bytes | None:
        """Return the constant bytes an expression makes."""
        return folded_bytes(node, self.texts, self.given)

    def _reaches(self, call: ast.Call) -> bool:
        function = self._spelled(call.func)
        if function in _IMPORTERS or function in _GETTERS or function == "functools.partial":
            return True
        if not isinstance(call.func, ast.Attribute):
            return isinstance(call.func, ast.Call) and self._spelled(call.func.func) == "operator.attrgetter"
        return call.func.attr in _READ_BY_METHOD or (
            call.func.attr == "get" and self._namespace(call.func.value) is not None
        )

    def _spelled(self, node: ast.expr) -> str | None:
        """Resolve a plain dotted name."""
        text = dotted_text(node)
        if text is None:
            return None
        if "." in text and (alias := self.aliases.get(text)) is not None:
            return alias
        root, _, rest = text.partition(".")
        base = self._root(root)
        return None if base is None else self._final(f"{base}.{rest}" if rest else base)

    def _root(self, name: str) -> str | None:
        if (alias := self.aliases.get(name)) is not None:
            return alias
        if name in self._builtins or name == "__builtins__":
            return name
        if self._stars:
            possible = [f"{star}.{name}" for star in self._stars]
            return next((each for each in possible if capability_of(self._final(each)) is not None), possible[-1])
        return None

    def passed_on(self, name: str) -> str | None:
        """Return what a file that imports this name from here gets, where that is a thing of another file."""
        if (alias := self.aliases.get(name)) is not None or name in self._builtins or not self._stars:
            return alias
        return f"{self._stars[-1]}.{name}"

    def resolve(self, node: ast.expr) -> Resolved | None:
        """Return what an expression reaches, or None when that cannot be read off it.

        Sees through aliases, attributes that were assigned, ``getattr`` and ``__import__`` of constant text however
        that is put together, namespaces (``vars(os)["system"]``, ``globals()``, ``sys.modules``),
        ``functools.partial``, and tables and choices that hold a telling function. What a call returns is written
        ``f()``.
        """
        return self._resolve(node, 0)

    def _resolve(self, node: ast.expr, depth: int) -> Resolved | None:
        tail: list[str] = []
        hidden = False
        alias: str | None = None
        text = "."
        while True:
            if isinstance(node, ast.Attribute):
                text = _short_text(node)
                if (alias := self.aliases.get(text)) is not None:
                    break
                tail.append(node.attr)
                node = node.value
            elif (taken := self._taken(node)) is not None:
                attribute, hides, node = taken
                tail.append(attribute)
                hidden = hidden or hides
            elif isinstance(node, ast.NamedExpr):
                node = node.value
            else:
                break
        base = Resolved(alias, text in self._hidden) if alias is not None else self._base(node, depth)
        if base is None:
            member = self._members.get(tail[0]) if tail else None
            return None if member is None else Resolved(member, hidden)
        name = ".".join([base.name, *reversed(tail)]) if tail else base.name
        return Resolved(self._final(name)[:_LONGEST_NAME], hidden or base.hidden)

    def groped(self, node: ast.expr) -> Groped | None:
        """Return the owner and the expression of an attribute whose name cannot be read off the source."""
        attribute: ast.expr
        match node:
            case ast.Call(func=ast.Call(func=function, args=[attribute, *_]), args=[owner, *_]) if (
                self._spelled(function) == "operator.attrgetter"
            ):
                pass
            case ast.Call(func=function, args=[owner, attribute, *_]) if self._spelled(function) in _GETTERS:
                pass
            case (
                ast.Call(func=ast.Attribute(attr="get", value=space), args=[attribute, *_])
                | ast.Subscript(value=space, slice=attribute)
            ) if (found := self._namespace(space)) is not None:
                owner = found
            case _:
                return None
        if self.folded(attribute) is not None:
            return None
        resolved = self.resolve(owner)
        return None if resolved is None else Groped(resolved.name, attribute)

    def _taken(self, node: ast.expr) -> tuple[str, bool, ast.expr] | None:
        """Return the attribute that an expression gets by its text, whether it hides it, and whose it is."""
        if isinstance(node, ast.Subscript):
            owner = self._namespace(node.value)
            folded = None if owner is None else self.folded(node.slice)
            return None if owner is None or folded is None else (*folded, owner)
        if not isinstance(node, ast.Call):
            return None
        function, arguments = node.func, node.args
        if isinstance(function, ast.Call) and arguments and self._spelled(function.func) == "operator.attrgetter":
            folded = self.folded(function.args[0]) if function.args else None
            return None if folded is None else (folded[0], True, arguments[0])
        if len(arguments) > 1 and self._spelled(function) in _GETTERS:
            folded = self.folded(arguments[1]) or self._telling_text(arguments[0], arguments[1])
            return None if folded is None else (*folded, arguments[0])
        if not isinstance(function, ast.Attribute) or not arguments:
            return None
        if function.attr in _READ_BY_METHOD:
            folded = self.folded(arguments[0])
            return None if folded is None else (folded[0], True, function.value)
        if function.attr == "get" and (owner := self._namespace(function.value)) is not None:
            folded = self.folded(arguments[0])
            return None if folded is None else (*folded, owner)
        return None

    def _telling_text(self, owner: ast.expr, attribute: ast.expr) -> tuple[str, bool] | None:
        """Return which of the texts that a name is given at one time or another makes a telling function."""
        texts = self._unclear.get(attribute.id) if isinstance(attribute, ast.Name) else None
        module = self._spelled(owner) if texts else None
        found = (text for text in texts or () if self._final(f"{module}.{text}") in TELLING)
        return next(((text, True) for text in found), None)

    def _namespace(self, node: ast.expr) -> ast.expr | None:
        """Return whose names an expression holds as a mapping: ``os.__dict__``, ``vars(os)``."""
        if isinstance(node, ast.Attribute) and node.attr == "__dict__":
            return node.value
        if isinstance(node, ast.Call) and len(node.args) == 1 and self._spelled(node.func) == "vars":
            return node.args[0]
        return None

    def _base(self, node: ast.expr, depth: int) -> Resolved | None:
        if isinstance(node, ast.Name):
            name = self._root(node.id)
            return None if name is None else Resolved(name, node.id in self._hidden)
        if depth > _DEEPEST:
            return None
        if isinstance(node, ast.Subscript):
            found = self._looked_up(node.value, node.slice, depth) or self._element(node.value, node.slice, depth)
            return found or self._telling(self._within(node))
        if isinstance(node, ast.IfExp | ast.BoolOp):
            return self._telling(self._within(node))
        if not isinstance(node, ast.Call):
            return None
        if isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
            found = self._looked_up(node.func.value, node.args[0], depth)
            found = found or self._element(node.func.value, node.args[0], depth)
            if found is None and isinstance(node.func.value, ast.Name):
                found = self._telling(self._resolve(node.func.value, depth + 1))
            if found is not None:
                return found
        function, concealed = self._spelled(node.func), False
        if (
            isinstance(node.func, ast.Subscript | ast.Call)
            and (taken := self._resolve(node.func, depth + 1)) is not None
        ):
            function, concealed = taken.name, taken.hidden
        if function in _IMPORTERS and node.args and (folded := self.folded(node.args[0])) is not None:
            name = folded[0].replace(":", ".")
            whole = (
                function != "__import__" or len(node.args) > 3 or any(each.arg == "fromlist" for each in node.keywords)
            )
            return Resolved(name if whole else name.partition(".")[0], folded[1] or concealed)
        if function == "functools.partial" and node.args:
            return self._resolve(node.args[0], depth + 1)
        return None if function is None else Resolved(function + "()", hidden=concealed)

    def _element(self, table: ast.expr, key: ast.expr, depth: int) -> Resolved | None:
        """Return what a key finds in a table of this file."""
        held = self.given.expressions.get(dotted_text(table) or "")
        if isinstance(held, ast.Dict):
            folded = self.folded(key)
            keys = [each.value if isinstance(each, ast.Constant) else None for each in held.keys]
            if folded is None or folded[0] not in keys:
                return None
            return self._resolve(held.values[keys.index(folded[0])], depth + 1)
        if isinstance(held, ast.List | ast.Tuple) and isinstance(key, ast.Constant) and isinstance(key.value, int):
            return self._resolve(held.elts[key.value], depth + 1) if key.value < len(held.elts) else None
        return None

    def _looked_up(self, space: ast.expr, key: ast.expr, depth: int) -> Resolved | None:
        """Return what a key finds in ``sys.modules``, ``__builtins__``, ``globals()`` or ``f.__globals__``."""
        if isinstance(space, ast.Attribute) and space.attr in ("__globals__", "f_globals"):
            name: str | None = "__globals__"
        elif isinstance(space, ast.Attribute) and space.attr in ("f_builtins", "__builtins__"):
            name = "__builtins__"
        else:
            found = self._resolve(space, depth + 1)
            name = None if found is None else found.name
        if name is None or (name not in _NAMESPACES and name not in ("sys.modules", "__builtins__", "__globals__")):
            return None
        folded = self.folded(key)
        if folded is None:
            return None
        text, hidden = folded
        if name in ("sys.modules", "__builtins__"):
            return Resolved(text, hidden or (isinstance(space, ast.Attribute) and name != "sys.modules"))
        root = self._root(text)
        if name == "__globals__":
            return Resolved(root or _INSIDE.get(text, text), hidden=True)
        return None if root is None else Resolved(root, hidden or text in self._hidden)

    def _telling(self, resolved: Resolved | None) -> Resolved | None:
        return resolved if resolved is not None and resolved.name in TELLING else None

    def _final(self, name: str) -> str:
        if self.link is not None:
            name = self.link(name)
        for root in _BUILTIN_ROOTS:
            if name.startswith(root):
                return name[len(root) :]
        name = canonical(name)
        return name.removeprefix("builtins.")

    def references(self, nodes: list[ast.expr]) -> Iterator[tuple[ast.expr, Resolved]]:
        """Yield those of some expressions that are a telling function and no call of it."""
        inner = (each for node in nodes if isinstance(node, ast.Dict) for each in node.values)
        listed = (each for node in nodes if isinstance(node, ast.List | ast.Tuple) for each in node.elts)
        for node in chain(nodes, inner, listed):
            if isinstance(node, ast.Name | ast.Attribute):
                found = self.resolve(node)
                if found is not None and found.name in TELLING:
                    yield node, found


def _short_text(node: ast.Attribute) -> str:
    """Return ``a.b`` for just that; longer chains have no alias."""
    return f"{node.value.id}.{node.attr}" if isinstance(node.value, ast.Name) else "."


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
