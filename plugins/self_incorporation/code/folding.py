"""Text that an expression of constants makes, worked out without running any of the source.

Only what is listed here is worked out, each operation by hand and within bounds, so nothing of the source is executed.
"""

import ast
import base64
import binascii
import codecs
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard

from aetherra.plugins.self_incorporation.code.syntax import dotted_text

__all__ = ["folded_text"]

_LONGEST = 4000
_DEEPEST = 40
_STEPS = 4000
_MOST = 1_000_000
_METHODS = frozenset(
    (
        *("capitalize", "casefold", "decode", "encode", "format", "hex", "join", "lower", "lstrip", "removeprefix"),
        *("removesuffix", "replace", "rstrip", "strip", "swapcase", "title", "upper"),
    )
)
_DECODE: Mapping[str, Callable[[Any], Any]] = {
    "b64decode": base64.b64decode,
    "urlsafe_b64decode": base64.urlsafe_b64decode,
    "standard_b64decode": base64.standard_b64decode,
    "b32decode": base64.b32decode,
    "b16decode": base64.b16decode,
    "b85decode": base64.b85decode,
    "a85decode": base64.a85decode,
    "unhexlify": binascii.unhexlify,
    "a2b_hex": binascii.unhexlify,
    "a2b_base64": binascii.a2b_base64,
    "fromhex": bytes.fromhex,
}
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


class _Unknown(Exception):  # noqa: N818 - a signal, not an error
    """Only running it would tell."""


def folded_text(node: ast.expr, texts: Mapping[str, str] | None = None) -> tuple[str, bool] | None:
    """Return the text an expression of constants makes, and whether it was put together to make it.

    Args:
        node: The expression.
        texts: Names that stand for constant text, by which it may be put together, too.
    """
    if isinstance(node, ast.Constant):
        return (node.value, False) if isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        known = None if texts is None else texts.get(node.id)
        return None if known is None else (known, False)
    try:
        value = _Folding(texts or {}).of(node, {}, 0)
    except (_Unknown, ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
        return None
    return (value, True) if isinstance(value, str) and len(value) <= _LONGEST else None


class _Folding:
    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._left = _STEPS

    def of(self, node: ast.expr, bound: Mapping[str, Any], depth: int) -> Any:
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            raise _Unknown
        deeper = depth + 1
        match node:
            case ast.Constant(value=value) if isinstance(value, str | bytes | int):
                return value
            case ast.Name(id=name):
                if name in bound:
                    return bound[name]
                return self._texts[name]
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return [self.of(element, bound, deeper) for element in elements]
            case ast.BinOp():
                return self._operation(node, bound, deeper)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -_number(self.of(operand, bound, deeper))
            case ast.JoinedStr(values=values):
                return "".join(self._part(part, bound, deeper) for part in values)
            case ast.Subscript(value=value, slice=index):
                return self._taken(_sequence(self.of(value, bound, deeper)), index, bound, deeper)
            case ast.GeneratorExp() | ast.ListComp():
                return list(self._each(node, bound, deeper))
            case ast.Call():
                return self._called(node, bound, deeper)
            case _:
                raise _Unknown

    def _part(self, part: ast.expr, bound: Mapping[str, Any], depth: int) -> str:
        if isinstance(part, ast.FormattedValue):
            if part.conversion != -1 or part.format_spec is not None:
                raise _Unknown
            part = part.value
        text: str = _short(str(self.of(part, bound, depth)))
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
                total = _short(total + value)
            return total
        left, right = self.of(node.left, bound, depth), self.of(node.right, bound, depth)
        if isinstance(left, str) and isinstance(node.op, ast.Mod):
            if "*" in left or any(character.isdigit() for character in left):
                raise _Unknown
            listed = _listed(right)
            return _short(left % (right if listed is None else tuple(listed)))
        operate = _NUMERIC.get(type(node.op))
        if operate is None:
            raise _Unknown
        return _number(operate(_number(left), _number(right)))

    def _taken(self, value: Any, index: ast.expr, bound: Mapping[str, Any], depth: int) -> Any:
        if isinstance(index, ast.Slice):
            edges = [None if edge is None else _number(self.of(edge, bound, depth)) for edge in _edges(index)]
            return value[slice(*edges)]
        return value[_number(self.of(index, bound, depth))]

    def _each(self, node: ast.GeneratorExp | ast.ListComp, bound: Mapping[str, Any], depth: int) -> Iterator[Any]:
        if len(node.generators) != 1:
            raise _Unknown
        loop = node.generators[0]
        if loop.ifs or not isinstance(loop.target, ast.Name):
            raise _Unknown
        for value in _sequence(self.of(loop.iter, bound, depth)):
            yield self.of(node.elt, {**bound, loop.target.id: value}, depth)

    def _called(self, node: ast.Call, bound: Mapping[str, Any], depth: int) -> Any:
        name = (dotted_text(node.func) or "").rpartition(".")[2]
        if node.keywords and name != "format":
            raise _Unknown
        arguments = [self.of(argument, bound, depth) for argument in node.args if name != "map"]
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr in _METHODS and not _of_module(function.value):
            return self._method(function, arguments, bound, depth)
        match name, arguments:
            case ("chr", [int(code)]):
                return chr(code)
            case ("str" | "ascii", [value]):
                return str(value)
            case ("str", [bytes(value), str(encoding)]) | ("decode", [bytes() | str() as value, str(encoding)]):
                return _decoded(value, encoding)
            case ("bytes" | "bytearray", [value]) if (codes := _listed(value)) is not None:
                return bytes(codes)
            case ("reversed", [value]):
                return list(reversed(_sequence(value)))
            case ("list" | "tuple", [value]):
                return list(_sequence(value))
            case ("map", []) if len(node.args) == 2 and (dotted_text(node.args[0]) or "") == "chr":
                return [chr(code) for code in _sequence(self.of(node.args[1], bound, depth))]
            case (known, [value]) if known in _DECODE:
                return _short(_DECODE[known](value))
            case _:
                raise _Unknown

    def _method(self, function: ast.Attribute, arguments: list[Any], bound: Mapping[str, Any], depth: int) -> Any:
        value = self.of(function.value, bound, depth)
        if not isinstance(value, str | bytes):
            raise _Unknown
        name = function.attr
        if name == "decode":
            return _decoded(value, *(arguments[:1] or ["utf-8"]))
        if name == "format":
            plain = value if isinstance(value, str) else ""
            if plain.replace("{}", "").count("{"):
                raise _Unknown
            return _short(plain.format(*arguments))
        if len(value) * sum(len(each) for each in arguments if hasattr(each, "__len__")) > _MOST:
            raise _Unknown
        return _short(getattr(value, name)(*arguments))


def _decoded(value: Any, encoding: str) -> Any:
    name = codecs.lookup(encoding).name
    if name not in ("utf-8", "rot-13", "ascii", "iso8859-1", "latin-1", "rot13", "hex", "base64", "utf-16"):
        raise _Unknown
    return _short(codecs.decode(value, name))


def _of_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("codecs", "base64", "binascii", "bytes", "bytearray", "str")


def _edges(index: ast.Slice) -> tuple[ast.expr | None, ...]:
    return index.lower, index.upper, index.step


def _number(value: Any) -> int:
    if not isinstance(value, int) or abs(value) > 1 << 32:
        raise _Unknown
    return value


def _sequence(value: Any) -> Any:
    if isinstance(value, str | bytes):
        return value
    if (listed := _listed(value)) is None:
        raise _Unknown
    return listed


def _listed(value: Any) -> list[Any] | None:
    return value if _is_list(value) else None


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _short(value: Any) -> Any:
    size = len(value) if isinstance(value, str | bytes) else len(_listed(value) or ())
    if size > _LONGEST:
        raise _Unknown
    return value
