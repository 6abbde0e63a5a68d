"""The shape of a plugin's settings, read off its source: what it would be loaded with is checked, nothing is run."""

import ast
import collections.abc
import datetime as dt
import decimal
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, Union

import msgspec

from aetherra.plugins.self_incorporation.code.front_door import is_ours, is_plugin
from aetherra.plugins.self_incorporation.code.modules import Modules, is_source
from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.source import decode, parse
from aetherra.plugins.self_incorporation.code.syntax import Syntax

__all__ = ["Read", "misfit"]

Read: TypeAlias = Callable[[str], bytes]
"""Returns what a file holds, by its path as it was planned."""
_MOST_SOURCES: Final = 200
_MOST_TYPES: Final = 2000
"""Annotations, and parts of them, that are read; the rest is anything."""
_LARGEST: Final = 2**63
_PLAIN: Final[Mapping[str, Any]] = {
    **{kind.__name__: kind for kind in (bool, bytes, dict, float, frozenset, int, list, set, str, tuple)},
    **{f"datetime.{kind.__name__}": kind for kind in (dt.date, dt.datetime, dt.time)},
    **{f"typing.{name}": kind for name, kind in (("Dict", dict), ("List", list), ("Set", set), ("Tuple", tuple))},
    **{
        f"{module}.{name}": getattr(collections.abc, name)
        for module in ("typing", "collections.abc")
        for name in ("Collection", "Mapping", "MutableMapping", "Sequence", "Set")
        if (module, name) != ("typing", "Set")
    },
    "datetime.timedelta": dt.timedelta,
    "decimal.Decimal": decimal.Decimal,
    "uuid.UUID": uuid.UUID,
}
_ENUMS: Final = ("enum.Enum", "enum.StrEnum", "enum.IntEnum")
_OPTIONS: Final = frozenset({"array_like", "forbid_unknown_fields", "rename", "tag", "tag_field"})
_OF_NO_MATTER: Final = frozenset(
    {"cache_hash", "dict", "eq", "frozen", "gc", "kw_only", "omit_defaults", "order", "repr_omit_defaults", "weakref"}
)
_CLASS_VARIABLES: Final = ("typing.ClassVar", "typing_extensions.ClassVar")
_META: Final = frozenset({"gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length"})


class _UnclearError(Exception):
    """Only running the source would tell."""


class _Found(NamedTuple):
    """A statement that gives something its name, and the file that it stands in."""

    node: ast.ClassDef | ast.expr
    file: "_File"


def misfit(name: str, settings: Mapping[str, Any], item: str, sources: Sequence[str], read: Read) -> str:
    """Return why settings are not what a plugin declares, with the path of the wrong field; ``""`` if they are.

    What only running it would tell counts as right, and is checked when it is loaded: types from elsewhere, names that
    are computed, what ``__post_init__`` says. So does what would run of the plugin as well: its patterns.

    Args:
        name: Of the plugin.
        settings: For it.
        item: The path of its file or folder.
        sources: The paths of its files, its main one first.
        read: Reads them.
    """
    declared = _Sources(item, sources, read).settings_of(name)
    try:
        msgspec.convert(dict(settings), declared)
    except msgspec.ValidationError as exc:
        return str(exc)
    except TypeError:  # a union that cannot be told apart: the plugin cannot be loaded with any
        return ""
    return ""


class _File:
    """One source: what it names, and what it has from elsewhere."""

    def __init__(self, path: str, tree: ast.Module) -> None:
        self.path = path
        self.names = Names(Syntax(tree))
        self.own: dict[str, ast.ClassDef | ast.expr | None] = {}
        for name, node in _named(tree.body):
            self.own[name] = None if name in self.own else node  # twice: nobody knows which

    def classes(self) -> Iterator[ast.ClassDef]:
        """Yield its classes."""
        yield from (node for node in self.own.values() if isinstance(node, ast.ClassDef))


def _named(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.ClassDef | ast.expr]]:
    for statement in body:
        match statement:
            case ast.ClassDef(name=name):
                yield name, statement
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value
            case _:
                if type(statement).__name__ == "TypeAlias":  # from Python 3.12 on
                    yield statement.name.id, statement.value  # type: ignore[attr-defined]


class _Sources:
    """The sources of one plugin, parsed as they are needed."""

    def __init__(self, item: str, paths: Sequence[str], read: Read) -> None:
        self._paths = [path for path in paths if is_source(path)][:_MOST_SOURCES]
        self._modules = Modules(item, self._paths)
        self._read = read
        self._files: dict[str, _File | None] = {}
        self._classes: dict[int, Any] = {}
        self._left = _MOST_TYPES

    def settings_of(self, plugin: str) -> Any:
        """Return the type of what stands in ``Plugin[...]``."""
        found = [one for path in self._paths if (file := self._file(path)) for one in _plugins(file)]
        if len(found) > 1:
            found = [one for one in found if _says(one[0], plugin)]
        if len(found) != 1:
            return Any
        node, base, file = found[0]
        if isinstance(base, ast.Subscript):
            return self._type(base.slice, file)
        return msgspec.defstruct(node.name, (), forbid_unknown_fields=True)

    def _file(self, path: str) -> _File | None:
        if path not in self._files:
            text = decode(path, self._read(path))
            tree = parse(path, text) if isinstance(text, str) else None
            self._files[path] = _File(path, tree) if isinstance(tree, ast.Module) else None
        return self._files[path]

    def _resolve(self, node: ast.expr, file: _File) -> _Found | str:
        """Return what an expression names: something of the item, or a dotted name of elsewhere."""
        for _ in range(8):
            if isinstance(node, ast.Name) and node.id in file.own:
                own = file.own[node.id]
                if own is None:
                    raise _UnclearError
                return _Found(own, file)
            resolved = file.names.resolve(node)
            if resolved is None:
                raise _UnclearError
            there = self._modules.file(self._modules.absolute(file.path, resolved.name))
            if there is None:
                return resolved.name
            path, name = there
            found = self._file(path)
            if found is None or not name.isidentifier():
                raise _UnclearError
            node, file = ast.Name(name, ast.Load()), found
        raise _UnclearError

    def _type(self, node: ast.expr, file: _File) -> Any:
        """Return the type that an annotation names, ``Any`` where only running it would tell."""
        self._left -= 1
        try:
            return self._read_type(node, file) if self._left > 0 else Any
        except (_UnclearError, ArithmeticError, MemoryError, SyntaxError, TypeError, ValueError, RecursionError):
            return Any

    def _read_type(self, node: ast.expr, file: _File) -> Any:
        match node:
            case ast.Constant(value=None):
                return None
            case ast.Constant(value=str(text)):
                return self._type(ast.parse(text, mode="eval").body, file)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return _union([self._type(left, file), self._type(right, file)])
            case ast.Subscript(value=origin, slice=inner):
                return self._generic(self._resolve(origin, file), inner, file)
            case _:
                pass
        found = self._resolve(node, file)
        if isinstance(found, str):
            return _PLAIN.get(found, Any)
        if isinstance(found.node, ast.expr):
            return self._type(found.node, found.file)
        if id(found.node) not in self._classes:  # each is read once, and within itself is anything
            self._classes[id(found.node)] = Any
            self._classes[id(found.node)] = self._class(found.node, found.file)
        return self._classes[id(found.node)]

    def _generic(self, origin: _Found | str, inner: ast.expr, file: _File) -> Any:
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        if not isinstance(origin, str) or not parts:
            return Any
        match origin.rpartition(".")[2] if origin.startswith(("typing.", "typing_extensions.")) else "":
            case "Literal":
                return Literal[tuple(_constant(part) for part in parts)]
            case "Optional":
                return _union([self._type(parts[0], file), None])
            case "Union":
                return _union([self._type(part, file) for part in parts])
            case "Annotated":
                metas = [meta for part in parts[1:] if (meta := self._meta(part, file)) is not None]
                bare = self._type(parts[0], file)
                return bare if bare is Any else reduce(lambda kind, meta: Annotated[kind, meta], metas, bare)
            case _:
                pass
        if origin not in _PLAIN:
            return Any
        return _PLAIN[origin][tuple(... if _is_ellipsis(part) else self._type(part, file) for part in parts)]

    def _meta(self, node: ast.expr, file: _File) -> msgspec.Meta | None:
        if not isinstance(node, ast.Call) or self._resolve(node.func, file) != "msgspec.Meta":
            return None
        bounds = {one.arg: _constant(one.value) for one in node.keywords if one.arg in _META}
        if not all(isinstance(bound, int | float) for bound in bounds.values()):
            raise _UnclearError
        return msgspec.Meta(**bounds)

    def _class(self, node: ast.ClassDef, file: _File) -> Any:
        shape = _Shape({}, {}, set())
        if self._gather(node, file, shape):
            return Literal[tuple(_constant(value) for _, value in _named(node.body) if isinstance(value, ast.expr))]
        fields = [(name, kind, field) for name, (kind, field) in shape.fields.items()]
        return msgspec.defstruct(node.name, fields, kw_only=True, **shape.options)

    def _gather(self, node: ast.ClassDef, file: _File, shape: "_Shape") -> bool:
        """Put down the fields and options of a class, those of its bases first; say whether it is an enumeration."""
        if id(node) in shape.seen:
            return False
        shape.seen.add(id(node))
        for base in node.bases:
            found = self._resolve(base, file)
            if not isinstance(found, str) and isinstance(found.node, ast.ClassDef):
                if self._gather(found.node, found.file, shape):
                    return True
            elif found in _ENUMS:
                return True
            elif isinstance(found, str) and is_ours(found) and found.endswith(".Settings"):
                shape.options["forbid_unknown_fields"] = True
            elif found != "msgspec.Struct":
                raise _UnclearError
        shape.options.update(_options(node))
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                self._put(statement.target.id, statement, file, shape)
        return False

    def _put(self, name: str, statement: ast.AnnAssign, file: _File, shape: "_Shape") -> None:
        bare = statement.annotation.value if isinstance(statement.annotation, ast.Subscript) else statement.annotation
        resolved = file.names.resolve(bare)
        if resolved is not None and resolved.name in _CLASS_VARIABLES:
            return
        named: dict[str, Any] = {}
        required = statement.value is None
        value = statement.value
        if isinstance(value, ast.Call) and self._resolve(value.func, file) == "msgspec.field":
            given = {one.arg: one.value for one in value.keywords}
            required = not given.keys() & {"default", "default_factory"}
            named = {"name": _constant(given["name"])} if "name" in given else {}
        field = msgspec.field(**named) if required else msgspec.field(default=None, **named)
        shape.fields[name] = (self._type(statement.annotation, file), field)


class _Shape(NamedTuple):
    """What a class of settings is made of."""

    fields: dict[str, tuple[Any, Any]]
    options: dict[str, Any]
    seen: set[int]


def _options(node: ast.ClassDef) -> Iterator[tuple[str, Any]]:
    for keyword in node.keywords:
        if keyword.arg is not None and keyword.arg in _OPTIONS:
            yield keyword.arg, _constant(keyword.value)
        elif keyword.arg not in _OF_NO_MATTER:
            raise _UnclearError


def _plugins(file: _File) -> Iterator[tuple[ast.ClassDef, ast.expr, _File]]:
    for node in file.classes():
        for base in node.bases:
            resolved = file.names.resolve(base.value if isinstance(base, ast.Subscript) else base)
            if resolved is not None and is_plugin(resolved.name):
                yield node, base, file


def _says(node: ast.ClassDef, plugin: str) -> bool:
    return any(
        name == "name" and isinstance(value, ast.Constant) and value.value == plugin
        for name, value in _named(node.body)
    )


def _union(kinds: Sequence[Any]) -> Any:
    return Any if Any in kinds else Union[tuple(kinds)]  # noqa: UP007  # of types that are known only now


def _constant(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as exc:
        raise _UnclearError from exc
    if isinstance(value, int | float) and not abs(value) < _LARGEST:  # msgspec breaks on them
        raise _UnclearError
    return value


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...
