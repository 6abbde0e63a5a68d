"""Text that an expression of constants makes, worked out without running any of the source.

Only what is listed here is worked out, each operation by hand and within bounds, so nothing of the source is executed.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aetherra.plugins.self_incorporation.code.operations import (
    FAILURES,
    LONGEST,
    METHODS,
    STEPS,
    Unknown,
    applied,
    by_method,
    is_list,
    number,
    sequence,
    short,
)
from aetherra.plugins.self_incorporation.code.syntax import dotted_text

__all__ = ["Given", "folded_bytes", "folded_text"]

_DEEPEST = 40
_NUMERIC: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.BitXor: lambda a, b: a ^ b,
    ast.BitAnd: lambda a, b: a & b,
    ast.BitOr: lambda a, b: a | b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.Mult: lambda a, b: a * b,
}


class Given:
    """What names are given that stand for one thing: bytes, a table, a function. Worked out once, where it helps.

    Attributes:
        expressions: By name.
    """

    def __init__(self) -> None:
        self.expressions: dict[str, ast.expr] = {}
        self._several: set[str] = set()
        self._values: dict[str, Any] = {}

    def keep(self, targets: list[str], value: ast.expr) -> None:
        """Note what names are given; one that is given several things stands for nothing."""
        for target in targets:
            if target in self._several or target in self.expressions or len(targets) > 1:
                self._several.add(target)
                self.expressions.pop(target, None)
            else:
                self.expressions[target] = value

    def value(self, name: str, work_out: Callable[[ast.expr], Any]) -> Any:
        """Return what a name stands for.

        Raises:
            Unknown: It is given nothing that could be worked out.
        """
        if name not in self._values:
            self._values[name] = _NOTHING  # while it is worked out: what needs itself is nothing
            self._values[name] = work_out(self.expressions[name])
        if self._values[name] is _NOTHING:
            raise Unknown
        return self._values[name]


_NOTHING = object()


def folded_text(
    node: ast.expr, texts: Mapping[str, str] | None = None, given: Given | None = None
) -> tuple[str, bool] | None:
    """Return the text an expression of constants makes, and whether it was put together to make it.

    Args:
        node: The expression.
        texts: Names that stand for constant text, by which it may be put together, too.
        given: Names that stand for something else.
    """
    if isinstance(node, ast.Constant):
        return (node.value, False) if isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        known = None if texts is None else texts.get(node.id)
        if known is not None:
            return known, False
    value = _folded(node, texts or {}, given or Given())
    return (value, True) if isinstance(value, str) else None


def folded_bytes(node: ast.expr, texts: Mapping[str, str], given: Given) -> bytes | None:
    """Likewise, for bytes."""
    value = _folded(node, texts, given)
    return value if isinstance(value, bytes) else None


def _folded(node: ast.expr, texts: Mapping[str, str], given: Given) -> Any:
    try:
        value = _Folding(texts, given).of(node, {}, 0)
    except FAILURES:
        return None
    return value if not isinstance(value, str | bytes) or len(value) <= LONGEST else None


class _Folding:
    def __init__(self, texts: Mapping[str, str], given: Given) -> None:
        self._texts = texts
        self._given = given
        self._left = STEPS

    def of(self, node: ast.expr, bound: Mapping[str, Any], depth: int) -> Any:
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            raise Unknown
        deeper = depth + 1
        match node:
            case ast.Constant(value=value) if isinstance(value, str | bytes | int):
                return value
            case ast.Name(id=name):
                return self._named(name, bound, deeper)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return [self.of(element, bound, deeper) for element in elements]
            case ast.BinOp():
                return self._operation(node, bound, deeper)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -number(self.of(operand, bound, deeper))
            case ast.JoinedStr(values=values):
                return "".join(self._part(part, bound, deeper) for part in values)
            case ast.Subscript(value=value, slice=index):
                return self._taken(value, index, bound, deeper)
            case ast.GeneratorExp() | ast.ListComp():
                return list(self._each(node, bound, deeper))
            case ast.Call():
                return self._called(node, bound, deeper)
            case _:
                raise Unknown

    def _named(self, name: str, bound: Mapping[str, Any], depth: int) -> Any:
        if name in bound:
            return bound[name]
        if name in self._texts:
            return self._texts[name]
        return self._given.value(name, lambda expression: self.of(expression, {}, depth))

    def _table(self, node: ast.expr) -> dict[Any, ast.expr] | None:
        """Return what a table of constant keys holds."""
        table = self._given.expressions.get(node.id) if isinstance(node, ast.Name) else node
        if not isinstance(table, ast.Dict):
            return None
        pairs = zip(table.keys, table.values, strict=True)
        return {key.value: value for key, value in pairs if isinstance(key, ast.Constant)}

    def _part(self, part: ast.expr, bound: Mapping[str, Any], depth: int) -> str:
        if isinstance(part, ast.FormattedValue):
            if part.conversion != -1 or part.format_spec is not None:
                raise Unknown
            part = part.value
        text: str = short(str(self.of(part, bound, depth)))
        return text

    def _operation(self, node: ast.BinOp, bound: Mapping[str, Any], depth: int) -> Any:
        # A chain of additions leans to the left, as deep as it is long.
        if isinstance(node.op, ast.Add):
            parts: list[ast.expr] = []
            stack: list[ast.expr] = [node]
            while stack:
                part = stack.pop()
                if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
                    stack += (part.right, part.left)
                else:
                    parts.append(part)
            values = [self.of(part, bound, depth) for part in parts]
            total = values[0]
            for value in values[1:]:
                total = short(total + value)
            return total
        left, right = self.of(node.left, bound, depth), self.of(node.right, bound, depth)
        if isinstance(left, str) and isinstance(node.op, ast.Mod):
            if "*" in left or any(character.isdigit() for character in left):
                raise Unknown
            return short(left % (tuple(right) if is_list(right) else right))
        operate = _NUMERIC.get(type(node.op))
        if operate is None:
            raise Unknown
        return number(operate(number(left), number(right)))

    def _taken(self, owner: ast.expr, index: ast.expr, bound: Mapping[str, Any], depth: int) -> Any:
        if (table := self._table(owner)) is not None:
            return self.of(table[self.of(index, bound, depth)], bound, depth)
        value = sequence(self.of(owner, bound, depth))
        if isinstance(index, ast.Slice):
            edges = [None if edge is None else number(self.of(edge, bound, depth)) for edge in _edges(index)]
            return value[slice(*edges)]
        return value[number(self.of(index, bound, depth))]

    def _each(self, node: ast.GeneratorExp | ast.ListComp, bound: Mapping[str, Any], depth: int) -> Iterator[Any]:
        if len(node.generators) != 1:
            raise Unknown
        loop = node.generators[0]
        names = loop.target.elts if isinstance(loop.target, ast.Tuple) else [loop.target]
        targets = [name.id for name in names if isinstance(name, ast.Name)]
        if loop.ifs or len(targets) != len(names):
            raise Unknown
        for value in sequence(self.of(loop.iter, bound, depth)):
            values = sequence(value) if isinstance(loop.target, ast.Tuple) else [value]
            yield self.of(node.elt, {**bound, **dict(zip(targets, values, strict=True))}, depth)

    def _called(self, node: ast.Call, bound: Mapping[str, Any], depth: int) -> Any:
        name = (dotted_text(node.func) or "").rpartition(".")[2]
        if node.keywords and name != "format":
            raise Unknown
        arguments = [self.of(argument, bound, depth) for argument in node.args if name != "map"]
        function = node.func
        own = self._given.expressions.get(function.id) if isinstance(function, ast.Name) else function
        if isinstance(own, ast.Lambda):
            parameters = [argument.arg for argument in own.args.args]
            return self.of(own.body, dict(zip(parameters, arguments, strict=True)), depth)
        if isinstance(function, ast.Attribute) and function.attr in METHODS and not _of_module(function.value):
            return by_method(self.of(function.value, bound, depth), function.attr, arguments)
        if name == "map" and len(node.args) == 2 and dotted_text(node.args[0]) == "chr":
            return [chr(code) for code in sequence(self.of(node.args[1], bound, depth))]
        return applied(name, arguments)


def _of_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("codecs", "base64", "binascii", "bytes", "bytearray", "str")


def _edges(index: ast.Slice) -> tuple[ast.expr | None, ...]:
    return index.lower, index.upper, index.step
