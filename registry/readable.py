"""Whether what one version of a schema lets somebody write can be read by another version, and if not, where and why.

Follows what msgspec decodes rather than all that JSON Schema could say: it is meant for schemas as ``schema.py`` makes
them. In doubt it finds a misfit, so that no misfits means that every value is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Literal, cast

import msgspec

from aetherra.registry.renames import RENAMED_FROM
from aetherra.registry.schema import Schema, component_name

MisfitKind = Literal["type", "missing", "unknown", "renamed"]


class Misfit(msgspec.Struct, frozen=True):
    """A place where what is written may not be read.

    Attributes:
        path: The field, as in ``$.zones[...].name``.
        kind: ``type``: another type, or tighter; ``missing``: the reader requires what may not be written; ``unknown``:
            the writer has a field that the reader has not; ``renamed``: it is read under its new name, and all is well.
        writes: What the writer has there, in words.
        reads: What the reader has there, in words; of ``renamed``, the new name.
        refused: Whether the reader refuses it, rather than going without.
    """

    path: str
    kind: MisfitKind
    writes: str
    reads: str
    refused: bool = True


class Reading:
    """One comparison of a writer's schema with a reader's, each with the components that it refers to."""

    def __init__(self, writer_components: dict[str, Schema], reader_components: dict[str, Schema]) -> None:
        self._writers = writer_components
        self._readers = reader_components
        self._begun: set[tuple[int, int]] = set()

    def misfits(self, writer: Schema, reader: Schema, path: str) -> Iterator[Misfit]:
        """Yield all misfits between two schemas."""
        wanted = list(_alternatives(reader, self._readers))
        if any(_is_anything(want) for want in wanted):
            return
        for written in _alternatives(writer, self._writers):
            candidates = _alike(written, [want for want in wanted if _may_read(written, want, wanted)])
            found = [self._once(written, want, path) for want in candidates]
            fitting = next((misfits for misfits in found if _all_is_read(misfits)), None)
            if fitting is not None:
                yield from fitting
            elif len(found) == 1:
                yield from found[0]
            else:
                yield Misfit(path, "type", describe(written), describe_all(wanted))

    def _once(self, writer: Schema, reader: Schema, path: str) -> list[Misfit]:
        """Compare two schemas; of types that contain themselves, what is found on the way holds for all."""
        pair = (id(writer), id(reader))
        if pair in self._begun:
            return []
        self._begun.add(pair)
        try:
            return list(self._one(writer, reader, path))
        finally:
            self._begun.discard(pair)

    def _one(self, writer: Schema, reader: Schema, path: str) -> Iterator[Misfit]:
        """Compare two schemas of one JSON type, neither a union."""
        if "enum" in reader or "x-opaque" in reader:
            fits = all(_same(value, reader.get("enum", ())) for value in writer.get("enum", [None]))
            fits = fits and "enum" in writer
            fits = fits or ("x-opaque" in reader and writer.get("title") == reader.get("title"))
        elif "enum" in writer:
            fits = all(_value_fits(value, reader) for value in writer["enum"])
        else:
            match reader["type"]:
                case "object":
                    yield from self._objects(writer, reader, path)
                    return
                case "array":
                    yield from self._arrays(writer, reader, path)
                    return
                case "string":
                    fits = _text_fits(writer, reader)
                case "integer" | "number":
                    fits = _number_fits(writer, reader)
                case _:
                    fits = True
        if not fits:
            yield Misfit(path, "type", describe(writer), describe(reader))

    # Objects

    def _objects(self, writer: Schema, reader: Schema, path: str) -> Iterator[Misfit]:
        if "properties" in writer and "properties" in reader:
            yield from self._structs(writer, reader, path)
        elif "properties" in reader or not _sizes_fit(writer, reader, "Properties"):
            yield Misfit(path, "type", describe(writer), describe(reader))
        else:
            yield from self._names(writer, reader, path)
            values = (
                writer["properties"].values() if "properties" in writer else [writer.get("additionalProperties", {})]
            )
            for value in values:
                yield from self.misfits(value, reader.get("additionalProperties", {}), f"{path}[...]")

    def _names(self, writer: Schema, reader: Schema, path: str) -> Iterator[Misfit]:
        wanted = cast("Schema | None", reader.get("propertyNames"))
        if wanted is None:
            return
        written = cast("Schema", writer.get("propertyNames", {}))
        if "x-read-as" in wanted and "x-read-as" in written:
            yield from self.misfits(written["x-read-as"], wanted["x-read-as"], f"{path}[key]")
        elif "x-read-as" in wanted or "properties" in writer:
            yield Misfit(f"{path}[key]", "type", "any text", "a text that can be read as another type")
        else:
            names = {"type": "string", **({} if "x-read-as" in written else written)}
            yield from self.misfits(names, {"type": "string", **wanted}, f"{path}[key]")

    def _structs(self, writer: Schema, reader: Schema, path: str) -> Iterator[Misfit]:
        written, read = cast("dict[str, Schema]", writer["properties"]), cast("dict[str, Schema]", reader["properties"])
        always = set(cast("list[str]", writer.get("required", ())))
        taken: set[str] = set()
        for name, schema in read.items():
            sources = [name] if name in written else [old for old in _old_names(name, read) if old in written]
            taken.update(sources)
            place = f"{path}.{name}"
            for source in sources:
                if source != name:
                    yield Misfit(f"{path}.{source}", "renamed", source, name, refused=False)
                yield from self.misfits(written[source], schema, place)
            if name in reader.get("required", ()) and always.isdisjoint(sources):
                yield Misfit(place, "missing", "optional" if sources else "no such field", "required")
        for name in written:
            if name not in taken:
                refused = reader.get("additionalProperties") is False
                yield Misfit(f"{path}.{name}", "unknown", describe(written[name]), "no such field", refused)

    # Arrays

    def _arrays(self, writer: Schema, reader: Schema, path: str) -> Iterator[Misfit]:
        places, wanted = (cast("list[Schema]", schema.get("prefixItems", [])) for schema in (writer, reader))
        tuples = "prefixItems" in writer, "prefixItems" in reader
        merges = reader.get("uniqueItems") and not writer.get("uniqueItems")
        if merges or tuples == (False, True) or not _sizes_fit(writer, reader, "Items"):
            yield Misfit(path, "type", describe(writer), describe(reader))
        elif tuples == (True, True):
            for at, (place, want) in enumerate(zip(places, wanted, strict=False)):
                yield from self.misfits(place, want, f"{path}[{at}]")
            for at in range(len(wanted), len(places)):
                refused = reader.get("items") is False
                yield Misfit(f"{path}[{at}]", "unknown", describe(places[at]), "no such place", refused)
        else:
            for item in places or [writer.get("items", {})]:
                yield from self.misfits(item, reader.get("items", {}), f"{path}[...]")


def _alternatives(schema: Schema, components: dict[str, Schema]) -> Iterator[Schema]:
    """Yield the parts of a union, each without references at its top; an enum of several values one by one."""
    if "$ref" in schema:
        yield from _alternatives(components[component_name(schema["$ref"])], components)
    elif "anyOf" in schema:
        for part in schema["anyOf"]:
            yield from _alternatives(part, components)
    elif "enum" in schema:
        for value in schema["enum"]:
            yield {**schema, "enum": [value]}
    else:
        yield schema


def _is_anything(schema: Schema) -> bool:
    return not {"type", "enum", "anyOf", "$ref", "x-opaque"} & schema.keys()


def _types(schema: Schema) -> set[str]:
    if "enum" in schema:
        return {_type_of(value) for value in schema["enum"]}
    return {schema["type"]} if "type" in schema else set()


def _may_read(writer: Schema, reader: Schema, readers: list[Schema]) -> bool:
    """Whether a reader is whom msgspec would give it to: by JSON type, whole numbers to ``int`` if there is one."""
    if "x-opaque" in writer or "x-opaque" in reader:
        return "x-opaque" in writer and "x-opaque" in reader
    types = _types(writer)
    if types == {"integer"} and "number" in _types(reader):
        return not any("integer" in _types(other) for other in readers)
    return bool(types & _types(reader))


def _alike(writer: Schema, readers: list[Schema]) -> list[Schema]:
    """Of structs that are told apart by a tag, those with the writer's; else all."""
    tags = _tags(writer)
    return [reader for reader in readers if tags and _tags(reader) == tags] or readers


def _tags(schema: Schema) -> dict[str, Any]:
    properties = cast("dict[str, Schema]", schema.get("properties", {}))
    return {name: part["enum"] for name, part in properties.items() if len(part.get("enum", ())) == 1}


def _all_is_read(misfits: list[Misfit]) -> bool:
    return all(misfit.kind == "renamed" for misfit in misfits)


def _old_names(name: str, properties: dict[str, Schema]) -> list[str]:
    return [old for old in properties[name].get(RENAMED_FROM, ()) if old not in properties]


def _type_of(value: object) -> str:
    names: dict[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    return names.get(type(value), "object")


def _same(value: Any, values: Any) -> bool:
    return any(type(other) is type(value) and other == value for other in values)  # as 1 == True


def _value_fits(value: Any, reader: Schema) -> bool:
    if isinstance(value, str):
        exact = {"minLength": len(value), "maxLength": len(value)}
        pattern = reader.get("pattern")
        if "format" in reader or "contentEncoding" in reader or (pattern and not re.search(pattern, value)):
            return False
        return _lengths_fit(exact, reader, "Length")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        whole = "integer" if isinstance(value, int) else "number"
        step = reader.get("multipleOf")
        return _number_fits({"type": whole, "minimum": value, "maximum": value, "multipleOf": step}, reader) and (
            step is None or value % step == 0
        )
    return True


def _text_fits(writer: Schema, reader: Schema) -> bool:
    written, wanted = writer.get("format"), reader.get("format")
    formats = wanted in (None, written) or (
        isinstance(written, str) and wanted.endswith("-any") and written.removesuffix("-local") == wanted[:-4]
    )
    return (
        formats
        and reader.get("contentEncoding") in (None, writer.get("contentEncoding"))
        and reader.get("pattern") in (None, writer.get("pattern"))
        and _lengths_fit(writer, reader, "Length")
    )


def _sizes_fit(writer: Schema, reader: Schema, noun: str) -> bool:
    """Whether all sizes that may be written may be read; a struct, or a place of a tuple, is written whole."""
    if "prefixItems" in writer:
        places = len(writer["prefixItems"])
        writer = {"minItems": writer.get("minItems", places), "maxItems": places}
        if reader.get("items") is not False and "prefixItems" in reader:
            reader = {"minItems": reader.get("minItems", 0)}
    elif "properties" in writer:
        writer = {"minProperties": len(writer.get("required", ())), "maxProperties": len(writer["properties"])}
    return _lengths_fit(writer, reader, noun)


def _lengths_fit(writer: Schema, reader: Schema, noun: str) -> bool:
    least, most = f"min{noun}", f"max{noun}"
    return bool(
        writer.get(least, 0) >= reader.get(least, 0) and writer.get(most, math.inf) <= reader.get(most, math.inf)
    )


def _number_fits(writer: Schema, reader: Schema) -> bool:
    whole = writer["type"] == "integer"
    step, wanted = writer.get("multipleOf"), reader.get("multipleOf")
    return bool(
        (whole or reader["type"] == "number")
        and _lower(writer, 1, whole=whole) >= _lower(reader, 1, whole=whole)
        and _lower(writer, -1, whole=whole) >= _lower(reader, -1, whole=whole)
        and (wanted is None or (step is not None and step % wanted == 0))
    )


def _lower(schema: Schema, sign: int, *, whole: bool) -> tuple[float, bool]:
    """The lower bound, or by ``sign`` -1 the upper one turned over, and whether it is left out itself."""
    least, beyond = ("minimum", "exclusiveMinimum") if sign > 0 else ("maximum", "exclusiveMaximum")
    bounds: list[tuple[float, bool]] = [(-math.inf, False)]
    if least in schema:
        bounds.append((sign * schema[least], False))
    if beyond in schema:
        bounds.append(
            (sign * schema[beyond] + 1, False) if whole and schema[beyond] % 1 == 0 else (sign * schema[beyond], True)
        )
    return max(bounds)


# Words


def describe(schema: Schema) -> str:
    """Say in a few words what a schema takes."""
    if "enum" in schema:
        return " | ".join(repr(value) for value in schema["enum"])
    if "anyOf" in schema:
        return describe_all(schema["anyOf"])
    if "$ref" in schema:
        return component_name(schema["$ref"])
    name = schema.get("title") or schema.get("format") or _NOUNS.get(schema.get("type", ""), schema.get("type"))
    if name is None:
        return "anything"
    if schema.get("contentEncoding"):
        name = "bytes"
    if isinstance(schema.get("items"), dict):
        name = f"{'set' if schema.get('uniqueItems') else 'list'} of {describe(schema['items'])}"
    bounds = [f"{key} {schema[key]}" for key in _BOUNDS if key in schema and "properties" not in schema]
    return f"{name} ({', '.join(bounds)})" if bounds else str(name)


def describe_all(schemas: list[Schema]) -> str:
    """Say in a few words what any of them takes."""
    return " | ".join(describe(schema) for schema in schemas)


_NOUNS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "null", "array": "tuple"}
_BOUNDS = (
    "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
    "minItems", "maxItems", "minProperties", "maxProperties",
)  # fmt: skip
