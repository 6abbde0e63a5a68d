"""JSON Schema of messages (draft 2020-12): what a body must look like, whole in itself, and its hash.

Components are named after their classes and numbered where two of one message share a name, so the same message has
the same schema whichever generation of a plugin, or module of it, declares it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from inspect import cleandoc
from typing import Any, Union, cast

import msgspec
from msgspec import inspect as mi

from aetherra.registry.messages import TAG_FIELD, Message, Request, tag_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
_WORDS = ("title", "description", "examples", "deprecated")
"""Keys that change nothing of what is accepted."""
_LITERAL = ("default", "enum", "const", "examples")
"""Keys whose values are data and no schemas."""


def message_schema(message_type: type[Message]) -> Schema:
    """Return the schema of a message's body.

    The tag may be missing, as whoever carries the message knows it. A request's unknown fields are refused, an event's
    are dropped.
    """
    tag_of(message_type)
    return _body_schema(message_type, closed=issubclass(message_type, Request))


def reply_schema(replies: tuple[type, ...]) -> Schema:
    """Return the schema of a reply that may be any of these, as ``message_classes`` gives them; of none means anything.

    One of several bears its tag.
    """
    if not replies:
        return {"$schema": DIALECT}
    if len(replies) == 1:
        return _body_schema(replies[0], closed=False)
    generator = _Generator()
    schema = generator.schema(mi.type_info(Union[replies]))  # noqa: UP007  # known at run time only
    return _document(schema, generator.components)


def schema_hash(message_type: type[Message]) -> str:
    """Return twelve characters that stand for what a message looks like; with its tag they tell two versions apart.

    Words, such as docstrings, are left out of it.
    """
    return fingerprint(message_schema(message_type))


def fingerprint(schema: Schema) -> str:
    """Return twelve characters that stand for what a schema accepts and its defaults."""
    return hashlib.sha256(canonical(_numbered(_without_words(schema)))).hexdigest()[:12]


def canonical(document: Any) -> bytes:
    """Write JSON in one way only: keys sorted, no blanks."""
    return msgspec.json.encode(document, order="deterministic")


def summary_of(message_type: type) -> str:
    """Return the first line of a class's own docstring."""
    return (_docstring(message_type) or "").partition("\n")[0]


def with_refs(schema: Any, rename: Callable[[str], str]) -> Any:
    """Return a schema with each reference to a component of the document given another target."""
    if isinstance(schema, list):
        return [with_refs(part, rename) for part in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    return {
        key: rename(value)
        if key == "$ref" and isinstance(value, str)
        else value
        if key in _LITERAL and not isinstance(value, dict)
        else with_refs(value, rename)
        for key, value in cast("Schema", schema).items()
    }


def component_name(reference: str) -> str:
    """Return which component a reference leads to."""
    return reference.rpartition("/")[2]


def _document(schema: Schema, components: Mapping[str, Schema]) -> Schema:
    return {"$schema": DIALECT, **schema, **({"$defs": dict(components)} if components else {})}


def _body_schema(message_type: type, *, closed: bool) -> Schema:
    info = mi.type_info(message_type)
    generator = _Generator()
    if not isinstance(info, mi.StructType):
        return _document(generator.schema(info), generator.components)
    schema = generator.struct(info)
    if schema["type"] == "object":
        schema["required"] = [name for name in schema["required"] if name != TAG_FIELD]
        if closed:
            schema["additionalProperties"] = False
    return _document(schema, generator.components)


class _Generator:
    """Makes schemas of what ``msgspec.inspect`` tells, and collects the components that they refer to."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._names: dict[Any, str] = {}

    def schema(self, node: Any) -> Schema:
        """Return the schema of a type."""
        match node:
            case mi.Metadata():
                said: Any = node
                return {**self.schema(node.type), **(said.extra_json_schema or {})}
            case mi.UnionType():
                return {"anyOf": [self.schema(part) for part in node.types]}
            case mi.StructType():
                return self._component(node, self.struct)
            case mi.DataclassType() | mi.TypedDictType():
                return self._component(node, self._object)
            case mi.NamedTupleType():
                return self._component(node, lambda _: self._places(node.fields, closed=True))
            case mi.EnumType():
                return self._component(node, lambda _: {"enum": [member.value for member in node.cls]})
            case mi.LiteralType():
                return {"enum": list(node.values)}
            case mi.TupleType():
                places = [self.schema(item) for item in node.item_types]
                return {
                    "type": "array", "prefixItems": places, "items": False,
                    "minItems": len(places), "maxItems": len(places),
                }  # fmt: skip
            case _ if hasattr(node, "item_type"):
                return self._array(node)
            case _ if hasattr(node, "value_type"):
                return self._mapping(node)
            case _:
                return _scalar(node)

    def struct(self, node: mi.StructType) -> Schema:
        """Return the schema of a struct itself, rather than a reference to it."""
        if node.array_like:
            tag: list[Schema] = [{"enum": [node.tag]}] if node.tag_field else []
            return _titled(node, self._places(node.fields, closed=node.forbid_unknown_fields, before=tag))
        return _titled(node, self._object(node))

    def _component(self, node: Any, make: Callable[[Any], Schema]) -> Schema:
        name = self._names.get(node.cls)
        if name is None:
            wanted = "".join(
                c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in getattr(node.cls, "__name__", "Type")
            )
            number, name = 1, wanted
            while name in self.components:
                number += 1
                name = f"{wanted}_{number}"
            self._names[node.cls] = name
            self.components[name] = {}  # holds its place, as it may contain itself
            self.components[name] = _titled(node, make(node))
        return {"$ref": f"#/$defs/{name}"}

    def _object(self, node: Any) -> Schema:
        properties: Schema = {}
        required: list[str] = []
        if getattr(node, "tag_field", None):
            properties[node.tag_field] = {"enum": [node.tag]}
            required.append(node.tag_field)
        for field in node.fields:
            properties[field.encode_name] = {**self.schema(field.type), **_default(field)}
            if field.required:
                required.append(field.encode_name)
        closed = {"additionalProperties": False} if getattr(node, "forbid_unknown_fields", False) else {}
        return {"type": "object", "properties": properties, "required": required, **closed}

    def _places(self, fields: Iterable[Any], *, closed: bool, before: list[Schema] | None = None) -> Schema:
        places = list(before or ())
        least = len(places)
        for field in fields:
            places.append({**self.schema(field.type), **_default(field)})
            least = len(places) if field.required else least
        end: Schema = {"items": False, "maxItems": len(places)} if closed else {}
        return {"type": "array", "prefixItems": places, "minItems": least, **end}

    def _array(self, node: Any) -> Schema:
        unique = {"uniqueItems": True} if isinstance(node, (mi.SetType, mi.FrozenSetType)) else {}
        bounds = {"minItems": node.min_length, "maxItems": node.max_length}
        return {"type": "array", "items": self.schema(node.item_type), **unique, **_said(bounds)}

    def _mapping(self, node: Any) -> Schema:
        bounds = _said({"minProperties": node.min_length, "maxProperties": node.max_length})
        keys = self.schema(node.key_type)
        if keys.get("type") == "string":
            del keys["type"]
        elif keys:  # JSON has texts for keys; they are read as this
            keys = {"x-read-as": keys, **({"pattern": r"^-?[0-9]+$"} if keys.get("type") == "integer" else {})}
        names = {"propertyNames": keys} if keys else {}
        return {"type": "object", **names, "additionalProperties": self.schema(node.value_type), **bounds}


def _scalar(node: Any) -> Schema:
    match node:
        case mi.AnyType() | mi.RawType():
            return {}
        case mi.NoneType():
            return {"type": "null"}
        case mi.BoolType():
            return {"type": "boolean"}
        case mi.IntType() | mi.FloatType():
            bounds = {
                "minimum": node.ge, "exclusiveMinimum": node.gt, "maximum": node.le, "exclusiveMaximum": node.lt,
                "multipleOf": node.multiple_of,
            }  # fmt: skip
            return {"type": "integer" if isinstance(node, mi.IntType) else "number", **_said(bounds)}
        case mi.StrType():
            lengths = {"minLength": node.min_length, "maxLength": node.max_length, "pattern": node.pattern}
            return {"type": "string", **_said(lengths)}
        case mi.BytesType() | mi.ByteArrayType() | mi.MemoryViewType():
            lengths = {"minLength": _base64_length(node.min_length), "maxLength": _base64_length(node.max_length)}
            return {"type": "string", "contentEncoding": "base64", **_said(lengths)}
        case mi.DateTimeType() | mi.TimeType():
            name = "date-time" if isinstance(node, mi.DateTimeType) else "time"
            return {"type": "string", "format": name + {True: "", False: "-local", None: "-any"}[node.tz]}
        case mi.DateType() | mi.TimeDeltaType() | mi.UUIDType() | mi.DecimalType():
            return {"type": "string", "format": _FORMATS[type(node)]}
        case _:
            cls: Any = getattr(node, "cls", type(cast("object", node)))
            return {"title": getattr(cls, "__qualname__", str(cls)), "x-opaque": True}  # JSON cannot say it


_FORMATS: dict[type, str] = {
    mi.DateType: "date",
    mi.TimeDeltaType: "duration",
    mi.UUIDType: "uuid",
    mi.DecimalType: "decimal",
}


def _base64_length(length: int | None) -> int | None:
    return None if length is None else 4 * ((length + 2) // 3)


def _said(bounds: Mapping[str, Any]) -> Schema:
    return {key: value for key, value in bounds.items() if value is not None}


def _titled(node: Any, schema: Schema) -> Schema:
    text = _docstring(node.cls)
    return {"title": getattr(node.cls, "__name__", str(node.cls)), **({"description": text} if text else {}), **schema}


def _docstring(cls: Any) -> str | None:
    text = vars(cls).get("__doc__") if isinstance(cls, type) else None
    return cleandoc(text) if isinstance(text, str) and not text.startswith(f"{cls.__name__}(") else None


def _default(field: Any) -> Schema:
    """What stands in for a missing field, where JSON can write it."""
    value: Any = field.default
    if field.default_factory in (list, dict, set, tuple, frozenset):
        value = cast("Any", field.default_factory())
    if value is msgspec.NODEFAULT or value is msgspec.UNSET:
        return {}
    try:
        written = msgspec.to_builtins(value, str_keys=True)
        return {"default": written} if _is_json(written) else {}
    except (TypeError, ValueError, OverflowError, RecursionError):
        return {}


def _is_json(value: Any) -> bool:
    msgspec.json.encode(value)
    return not isinstance(value, float) or math.isfinite(value)


def _without_words(schema: Any) -> Any:
    """Leave out what is for people, and the order of what has none; a field may be called ``title`` and is kept."""
    if isinstance(schema, list):
        return [_without_words(part) for part in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    kept: Schema = {}
    for key, value in sorted(cast("Schema", schema).items()):
        if key in ("properties", "$defs"):
            kept[key] = {name: _without_words(part) for name, part in sorted(value.items())}
        elif key in ("required", "enum"):
            kept[key] = sorted(value, key=canonical)
        elif key not in _WORDS:
            kept[key] = value if key in _LITERAL else _without_words(value)
    return kept


def _numbered(schema: Schema) -> Schema:
    """Name components by the order in which they are met, so that their names say nothing."""
    components: Mapping[str, Schema] = schema.get("$defs", {})
    order: dict[str, str] = {}

    def rename(reference: str) -> str:
        return "#/$defs/" + order.setdefault(component_name(reference), str(len(order)))

    root = with_refs({key: value for key, value in schema.items() if key != "$defs"}, rename)
    done: Schema = {}
    while len(done) < len(order):
        name = list(order)[len(done)]
        done[order[name]] = with_refs(components.get(name, {}), rename)
    return {**root, "$defs": done}
