"""The one walk over a syntax tree: what later steps ask about, gathered by scope.

The walk keeps its own stack, so that no nesting a parser accepts can exhaust Python's.
"""

import ast
from typing import Any

__all__ = ["LONG_CONSTANT", "Scope", "Syntax", "dotted_text", "targets_of"]

LONG_CONSTANT = 400
_TEXTS = (str, bytes)
# Fields that hold no node below them, or none that matters here.
_LEAF_FIELDS = frozenset(
    [
        "ctx",
        "id",
        "attr",
        "arg",
        "module",
        "level",
        "asname",
        "op",
        "ops",
        "kind",
        "type_comment",
        "type_ignores",
        "conversion",
        "rest",
        "kwd_attrs",
        "simple",
        "is_async",
        "n",
        "s",
        "str",
        "type_params",
    ]
)


def _inner_fields() -> dict[type[Any], tuple[str, ...]]:
    fields: dict[type[Any], tuple[str, ...]] = {}
    pending: list[type[ast.AST]] = [ast.AST]
    while pending:
        kind = pending.pop()
        pending.extend(kind.__subclasses__())
        fields[kind] = tuple(name for name in kind._fields if name not in _LEAF_FIELDS)
    # Leaves, and names that are plain text; a function's body is walked as a scope of its own.
    leaves = (ast.Name, ast.Constant, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal, ast.MatchSingleton)
    fields.update(dict.fromkeys(leaves, ()))
    fields[ast.FunctionDef] = fields[ast.AsyncFunctionDef] = ("decorator_list", "args", "returns")
    fields[ast.Lambda] = ("args",)
    fields[ast.ClassDef] = ("decorator_list", "bases", "keywords", "body")
    fields[ast.ExceptHandler] = ("type", "body")
    return fields


_INNER = _inner_fields()


class Scope:
    """The body of a module, a function or a lambda, without those inside it.

    Attributes:
        parent: Where its free names are looked up, or None for the module.
        name: The function's, or empty.
        body: Its statements, or a lambda's expression.
        bindings: What is assigned, with the names it is assigned to, in the order of the source.
        calls: Every call in it.
        returns: Every expression it returns or yields.
        parameters: Their names, in order, without starred ones.
        decorators: What it is decorated with.
    """

    __slots__ = ("bindings", "body", "calls", "decorators", "name", "parameters", "parent", "returns")

    def __init__(self, parent: "Scope | None", name: str, body: list[ast.AST]) -> None:
        self.parent, self.name, self.body = parent, name, body
        self.bindings: list[tuple[list[str], ast.expr]] = []
        self.calls: list[ast.Call] = []
        self.returns: list[ast.expr] = []
        self.parameters: list[str] = []
        self.decorators: list[ast.expr] = []

    def take(self, arguments: ast.arguments) -> None:
        """Note the parameters, and their defaults as what is assigned to them."""
        ordered = [*arguments.posonlyargs, *arguments.args]
        self.parameters = [argument.arg for argument in (*ordered, *arguments.kwonlyargs)]
        defaults = arguments.defaults
        if defaults:
            bound = zip(ordered[-len(defaults) :], defaults, strict=True)
            self.bindings.extend(([argument.arg], default) for argument, default in bound)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            if default is not None:
                self.bindings.append(([argument.arg], default))


class Syntax:
    """A tree, walked once.

    Attributes:
        tree: What was walked.
        scopes: The module first, then every function and lambda.
        imports: Every import statement, wherever it stands.
        environ: Every attribute of that name.
        decorators: Every decorator, with the scope it is looked up in.
        methods: What its classes define, by name.
        long_constants: Text and bytes of at least `LONG_CONSTANT`, docstrings excepted.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.scopes = [Scope(None, "", list(tree.body))]
        self.imports: list[ast.Import | ast.ImportFrom] = []
        self.environ: list[ast.Attribute] = []
        self.decorators: list[tuple[Scope, ast.expr]] = []
        self.methods: set[str] = set()
        self.long_constants: list[ast.Constant] = []
        for scope in self.scopes:  # grows while it is walked
            self._walk(scope)

    def _walk(self, scope: Scope) -> None:  # noqa: C901 - the hot loop: a call for each node would double its time
        stack: list[Any] = list(scope.body)
        inner, calls = _INNER, scope.calls
        while stack:
            node = stack.pop()
            kind = node.__class__
            if kind is ast.Name:
                continue
            if kind is ast.Constant:
                if node.value.__class__ in _TEXTS and len(node.value) >= LONG_CONSTANT:
                    self.long_constants.append(node)
                continue
            if kind is ast.Attribute:
                if node.attr == "environ":
                    self.environ.append(node)
                stack.append(node.value)
                continue
            if kind is ast.Expr and node.value.__class__ is ast.Constant:
                continue  # a docstring, or a constant that does nothing
            if kind is ast.Call:
                calls.append(node)
            elif kind in _NOTED:
                self._note(scope, node)
            for field in inner.get(kind, ()):
                value = getattr(node, field)
                if value.__class__ is list:
                    stack.extend(value)
                elif value is not None:
                    stack.append(value)
        scope.bindings.sort(key=lambda binding: (binding[1].lineno, binding[1].col_offset))

    def _note(self, scope: Scope, node: ast.AST) -> None:
        match node:
            case ast.Import() | ast.ImportFrom():
                self.imports.append(node)
            case ast.Return() | ast.Yield() | ast.YieldFrom():
                if node.value is not None:
                    scope.returns.append(node.value)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                inner = Scope(scope, node.name, list(node.body))
                inner.take(node.args)
                inner.decorators = node.decorator_list
                self.scopes.append(inner)
                self.decorators.extend((scope, decorator) for decorator in node.decorator_list)
            case ast.Lambda():
                inner = Scope(scope, "", [node.body])
                inner.take(node.args)
                inner.returns.append(node.body)
                self.scopes.append(inner)
            case ast.ClassDef():
                self.decorators.extend((scope, decorator) for decorator in node.decorator_list)
                functions = (each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
                self.methods.update(function.name for function in functions)
            case _:
                scope.bindings.extend(_bound(node))


def _bound(node: ast.AST) -> list[tuple[list[str], ast.expr]]:
    """Return what a node assigns, and to which names."""
    match node:
        case ast.Assign():
            return [([name for target in node.targets for name in targets_of(target)], node.value)]
        case ast.AugAssign():
            return [(targets_of(node.target), _augmented(node))]
        case ast.AnnAssign() | ast.NamedExpr():
            return [] if node.value is None else [(targets_of(node.target), node.value)]
        case ast.For() | ast.AsyncFor() | ast.comprehension():
            return [(targets_of(node.target), node.iter)]
        case ast.withitem():
            return [] if node.optional_vars is None else [(targets_of(node.optional_vars), node.context_expr)]
        case _:
            raise AssertionError(node)


_NOTED = frozenset(
    [
        ast.Import,
        ast.ImportFrom,
        ast.Yield,
        ast.YieldFrom,
        ast.Assign,
        ast.AnnAssign,
        ast.AugAssign,
        ast.NamedExpr,
        ast.For,
        ast.AsyncFor,
        ast.comprehension,
        ast.withitem,
        ast.Return,
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.Lambda,
    ]
)


def _augmented(node: ast.AugAssign) -> ast.expr:
    """Return what ``x += y`` assigns, spelled out; what is read off a subscript stays as it is."""
    if not isinstance(node.target, ast.Name):
        return node.value
    read = ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target)
    return ast.copy_location(ast.BinOp(read, node.op, node.value), node.value)


def dotted_text(node: ast.AST) -> str | None:
    """Return ``a.b.c`` for just that, and None for any other expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    parts.append(node.id)
    return ".".join(reversed(parts))


def targets_of(node: ast.expr) -> list[str]:
    """Return the names and attributes an assignment to this target changes."""
    names: list[str] = []
    stack = [node]
    while stack:
        target = stack.pop()
        if isinstance(target, ast.Tuple | ast.List):
            stack.extend(reversed(target.elts))
        elif isinstance(target, ast.Starred | ast.Subscript):
            stack.append(target.value)
        elif (name := dotted_text(target)) is not None:
            names.append(name)
    return names
