"""The shape of a message: what its schema is made of, read off the class in a fraction of the time."""

from __future__ import annotations

import enum
import types
from collections.abc import Hashable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import structs

_PLAIN: frozenset[Any] = frozenset(
    {str, int, float, bool, bytes, bytearray, memoryview, object, Any, type(None), None, Ellipsis}
    | {date, datetime, time, timedelta, Decimal, UUID, msgspec.Raw, msgspec.UnsetType}
)
_GENERIC: frozenset[Any] = frozenset({list, dict, set, frozenset, tuple, Union, types.UnionType})


def shape_of(message_type: Any) -> Hashable | None:
    """Return what says all of a type's schema; two types of one shape, in one generation or two, have the same.

    ``None`` if something in it takes the schema itself to tell: what is neither a struct, an enumeration, nor one of
    the types that JSON and msgpack have, in the containers that they have.
    """
    try:
        return _Shapes().of(message_type)
    except _ManyWordsError:
        return None


class _ManyWordsError(Exception):
    """This takes a schema to tell."""


class _Shapes:
    def __init__(self) -> None:
        self._seen: dict[type, int] = {}

    def of(self, kind: Any) -> Hashable:
        if isinstance(kind, type):
            return self._of_class(kind)
        if kind in _PLAIN:
            return ("plain", kind)
        origin, args = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return ("said", self.of(args[0]), *map(repr, args[1:]))
        if origin is Literal:
            return ("literal", *map(_exact, args))
        if origin in _GENERIC:
            return ("generic", "union" if origin in (Union, types.UnionType) else origin, *map(self.of, args))
        raise _ManyWordsError

    def _of_class(self, kind: type) -> Hashable:
        if kind in _PLAIN or kind in _GENERIC:
            return ("plain", kind)
        if kind in self._seen:
            return ("again", self._seen[kind])
        self._seen[kind] = len(self._seen)
        if issubclass(kind, msgspec.Struct):
            return self._of_struct(kind)
        if issubclass(kind, enum.Enum):
            members: type[enum.Enum] = kind
            return ("enum", kind.__name__, *(_exact(member.value) for member in members))
        raise _ManyWordsError

    def _of_struct(self, kind: type[msgspec.Struct]) -> Hashable:
        config = kind.__struct_config__
        fields = [(field.name, field.encode_name, _default(field), self.of(field.type)) for field in _fields(kind)]
        how = (config.tag, config.tag_field, config.array_like, config.forbid_unknown_fields)
        return ("struct", kind.__name__, how, *fields)


class _Field(msgspec.Struct, frozen=True):
    """As ``msgspec.structs.FieldInfo``, which evaluates the annotations of all bases each time."""

    name: str
    encode_name: str
    type: Any
    default: Any
    default_factory: Any


def _fields(kind: type[msgspec.Struct]) -> list[_Field]:
    annotations: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        annotations.update(vars(base).get("__annotations__", {}))
    names = kind.__struct_fields__
    if any(isinstance(annotations.get(name, ""), (str, TypeVar, ForwardRef)) for name in names):
        return [
            _Field(field.name, field.encode_name, field.type, field.default, field.default_factory)
            for field in structs.fields(kind)
        ]
    defaults = (msgspec.NODEFAULT,) * (len(names) - len(kind.__struct_defaults__)) + kind.__struct_defaults__
    return [
        _Field(name, encode_name, annotations[name], *_split_default(default))
        for name, encode_name, default in zip(names, kind.__struct_encode_fields__, defaults, strict=True)
    ]


def _split_default(default: Any) -> tuple[Any, Any]:
    factory = getattr(default, "factory", None) if type(default).__name__ == "Factory" else None
    return (default, msgspec.NODEFAULT) if factory is None else (msgspec.NODEFAULT, factory)


def _default(field: _Field) -> Hashable:
    default = field.default
    if default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT:
        return "required"
    if default is msgspec.UNSET:
        return "unset"
    if default is not msgspec.NODEFAULT:
        return ("default", _exact(default))
    if field.default_factory in (list, dict, set, frozenset, tuple):
        return ("made by", field.default_factory)
    raise _ManyWordsError


def _exact(value: Any) -> Hashable:
    """Tell 1 from True and 1.0, which are equal in Python and different in JSON."""
    if value is None or type(value) in (str, int, float, bool, bytes):
        return type(value).__name__, value
    if type(value) in (tuple, frozenset):
        parts = [_exact(part) for part in value]
        return type(value).__name__, frozenset(parts) if type(value) is frozenset else tuple(parts)
    if isinstance(value, enum.Enum):
        return "member", type(value).__name__, value.name, _exact(value.value)
    raise _ManyWordsError
