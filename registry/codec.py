"""How one message class is read and written: worked out at first use and kept on the class, so that it goes with it.

No codec knows the class of another, so a retired generation is freed however much it was talked with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from inspect import Parameter, signature
from typing import Any, cast
from uuid import UUID

import msgspec
from msgspec import inspect as mi

from aetherra.registry.renames import Renames, nodes

TAG_FIELD = "$tag"
"""The key that carries the tag in an encoded message; it is no valid field name, so none can collide."""
FAULTS = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)
"""What reading and writing bad values may raise; ``ValueError`` covers bytes that are no UTF-8."""

_AS_THEY_ARE = (bytes, bytearray, datetime, date, time, timedelta, Decimal, UUID)
_TEXTS = (mi.DateTimeType, mi.DateType, mi.TimeType, mi.TimeDeltaType, mi.DecimalType, mi.UUIDType)
_SMALL = (mi.NoneType, mi.BoolType, mi.IntType, mi.FloatType, mi.StrType, mi.LiteralType, mi.UnionType)
_LARGE = (mi.ListType, mi.VarTupleType, mi.TupleType, mi.SetType, mi.FrozenSetType, mi.DictType)
_JSON = (*_SMALL, *_LARGE, mi.StructType, mi.EnumType)
_MAY_BE_NAN = (mi.FloatType, mi.AnyType, mi.CustomType)
_encode = msgspec.json.Encoder().encode


class Codec:
    """Reads and writes one message class. What it raises for bad values is among ``FAULTS``."""

    def __init__(self, message_type: type[msgspec.Struct]) -> None:
        self.message_type = message_type
        config = message_type.__struct_config__
        self.tag = cast("str | None", config.tag)
        self._after_tag = len(_encode({TAG_FIELD: config.tag}))
        self._has_tag = config.tag is not None and not config.array_like
        self.decode_reply: Callable[[bytes | msgspec.Raw], Any] | None = None

    # Reading

    def read(self, body: Any) -> Any:
        """Read builtins, as from JSON; fields that the class does not name are dropped."""
        if self.renames is not None:
            body = self.renames.apply(body)
        return msgspec.convert(body, self.message_type, str_keys=True)  # JSON has no other keys

    def read_message(self, message: msgspec.Struct, codec: Codec) -> Any:
        """Read a message of another class with this tag; ``codec`` is that class's.

        Both ways give the same: attribute by attribute is faster where there is much to copy and nothing to tell apart.
        """
        try:
            if self._bulky and codec._bulky and self._attributes <= codec._attributes:
                return msgspec.convert(message, self.message_type, from_attributes=True)
            body = msgspec.to_builtins(message, builtin_types=codec._kept)
            return msgspec.convert(body if self.renames is None else self.renames.apply(body), self.message_type)
        except FAULTS:  # what JSON has as a text, such as a UUID, may still be read as one
            return msgspec.convert(self._renamed(msgspec.to_builtins(message)), self.message_type)

    @cached_property
    def decode(self) -> Callable[[bytes | msgspec.Raw], Any] | None:
        """Read JSON at once and refuse unknown fields; ``None`` where only ``read`` can do it.

        Whoever catches a fault reads again by way of builtins: that takes old names too, and tells what is wrong.
        """
        config = self.message_type.__struct_config__
        if config.tag is None or config.array_like or (self.renames is not None and self.renames.nested):
            return None
        fields = msgspec.structs.fields(self.message_type)
        default: Any = msgspec.field  # each field has one of both, or none
        strict = msgspec.defstruct(
            self.message_type.__name__,
            [(f.name, f.type, default(default=f.default, default_factory=f.default_factory)) for f in fields],
            kw_only=True,
            rename={f.name: f.encode_name for f in fields},
            tag=config.tag,
            tag_field=config.tag_field,
            forbid_unknown_fields=True,
        )
        decode, make, values = msgspec.json.Decoder(strict).decode, self.message_type, msgspec.structs.astuple
        if any(parameter.kind is Parameter.KEYWORD_ONLY for parameter in signature(make).parameters.values()):
            return lambda raw: make(**msgspec.structs.asdict(decode(raw)))
        return lambda raw: make(*values(decode(raw)))

    @cached_property
    def names(self) -> frozenset[str]:
        """The fields' names on the wire."""
        return frozenset(field.encode_name for field in self._info.fields)

    @cached_property
    def renames(self) -> Renames | None:
        """The old names of fields; ``None`` if there are none, here and in nested structs."""
        renames = Renames(self._info)
        return renames if renames.at_top or renames.nested else None

    def _renamed(self, body: Any) -> Any:
        return body if self.renames is None else self.renames.apply(body)

    # Writing

    def encode(self, message: msgspec.Struct, *, tagged: bool) -> bytes:
        """Write JSON."""
        raw = _encode(message)
        self.check(message, raw)
        if tagged or not self._has_tag:
            return raw
        return b"{" + raw[self._after_tag :] if len(raw) > self._after_tag else b"{}"

    def check(self, message: msgspec.Struct, raw: bytes) -> None:
        """Refuse a message that ``raw`` holds as something else: JSON has no NaN, and msgspec writes null for it."""
        if self._may_be_nan and b"null" in raw:
            _refuse_nan(msgspec.to_builtins(message), "$")

    # What the class is made of

    @cached_property
    def _info(self) -> mi.StructType:
        return cast("mi.StructType", mi.type_info(self.message_type))

    @cached_property
    def _attributes(self) -> frozenset[str]:
        return frozenset(self.message_type.__struct_fields__)

    @cached_property
    def _bulky(self) -> bool:
        """Whether there are containers, of plain values only: no structs, enums or anything, and no other names."""
        parts = list(nodes(self._info))[1:]
        return (
            all(isinstance(part, (*_SMALL, *_TEXTS, *_LARGE, mi.BytesType)) for part in parts)
            and any(isinstance(part, (*_LARGE, mi.BytesType)) for part in parts)
            and self.names == self._attributes
            and self.renames is None
        )

    @cached_property
    def _kept(self) -> tuple[type, ...] | None:
        """What need not be written as a text on the way to another class; asking costs, so only where there is any."""
        return _AS_THEY_ARE if any(not isinstance(part, _JSON) for part in nodes(self._info)) else None

    @cached_property
    def _may_be_nan(self) -> bool:
        return any(isinstance(part, _MAY_BE_NAN) for part in nodes(self._info))


def _refuse_nan(value: Any, path: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"Expected a number that JSON can write, got `{value}` - at `{path}`")
    if isinstance(value, dict):
        for key, item in cast("dict[object, Any]", value).items():
            _refuse_nan(item, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for at, item in enumerate(cast("Iterable[Any]", value)):
            _refuse_nan(item, f"{path}[{at}]")
