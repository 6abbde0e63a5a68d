"""Fields that had other names before: how they are declared, and how bodies of old senders are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import msgspec
from msgspec import inspect as mi

from aetherra.registry.errors import MessageDefinitionError

RENAMED_FROM = "x-renamed-from"
"""The key of a field's JSON Schema under which its old names stand."""


def renamed_from(*old_names: str) -> msgspec.Meta:
    """Mark a field with the names that it had before, in its annotation: a piece of ``Annotated``.

    ``who: Annotated[str, renamed_from("name")]`` was once ``name: str``.

    What was sent under an old name is read where the new one is missing. Where both are there, the new one counts.
    Readers that know only the old name do not find the new one: a rename is for what a plugin reads.

    Raises:
        MessageDefinitionError: No name is given, or what is given is no text.
    """
    if not old_names or not all(isinstance(name, str) and name for name in old_names):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise MessageDefinitionError(f'renamed_from{old_names!r}: expected old names, as in renamed_from("name")')
    return msgspec.Meta(extra_json_schema={RENAMED_FROM: list(old_names)})


class Renames:
    """The old names of a message's fields and of those of its nested structs.

    Args:
        root: What ``msgspec.inspect`` says of the message class.
    """

    def __init__(self, root: Any) -> None:
        self._root = root
        self._structs = {id(node): list(_old_names(node)) for node in nodes(root) if hasattr(node, "fields")}
        self.at_top = frozenset(name for olds, _ in self._structs[id(root)] for name in olds)
        self.nested = any(olds for key, renames in self._structs.items() if key != id(root) for olds, _ in renames)

    def apply(self, body: Any) -> Any:
        """Return a body with its fields under their names of today; what does not look like the message is left."""
        return self._apply(body, self._root)

    def _apply(self, body: Any, node: Any) -> Any:
        node = _bare(node)
        match body:
            case dict():
                return self._apply_object(cast("dict[object, Any]", body), node)
            case list() | tuple():
                return self._apply_array(list(cast("Iterable[Any]", body)), node)
            case _:
                return body

    def _apply_object(self, body: dict[object, Any], node: Any) -> dict[object, Any]:
        for candidate in _candidates(node, body):
            if id(candidate) in self._structs:
                return self._apply_fields(body, candidate)
            if hasattr(candidate, "value_type"):
                return {key: self._apply(value, candidate.value_type) for key, value in body.items()}
        return body

    def _apply_fields(self, body: dict[object, Any], struct: Any) -> dict[object, Any]:
        body = dict(body)
        for olds, field in self._structs[id(struct)]:
            if field.encode_name not in body:
                old = next((name for name in olds if name in body), None)
                if old is not None:
                    body[field.encode_name] = body[old]
            if field.encode_name in body:
                body[field.encode_name] = self._apply(body[field.encode_name], field.type)
        for olds, _ in self._structs[id(struct)]:  # last, as two fields may have been one
            for name in olds:
                body.pop(name, None)
        return body

    def _apply_array(self, body: list[Any], node: Any) -> list[Any]:
        for candidate in _candidates(node, body):
            if hasattr(candidate, "item_type"):
                return [self._apply(item, candidate.item_type) for item in body]
            kinds = _places(candidate)
            if kinds:
                return [self._apply(item, kinds[at]) if at < len(kinds) else item for at, item in enumerate(body)]
        return body


def nodes(root: Any) -> Iterator[Any]:
    """Yield all that a type is made of, each once; recursive types end."""
    ahead, seen = [root], set[int]()
    while ahead:
        node = _bare(ahead.pop())
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        ahead += [field.type for field in getattr(node, "fields", ())]
        ahead += [*getattr(node, "types", ()), *getattr(node, "item_types", ())]
        ahead += [getattr(node, name) for name in ("item_type", "key_type", "value_type") if hasattr(node, name)]


def _bare(node: Any) -> Any:
    while isinstance(node, mi.Metadata):
        node = node.type
    return node


def _places(node: Any) -> list[Any]:
    """The types of an array's places, where each has its own: a tuple's, or the fields of a struct written as one."""
    if getattr(node, "array_like", False):
        return [*([mi.AnyType()] if node.tag_field else []), *(field.type for field in node.fields)]
    return list(getattr(node, "item_types", ()))


def _old_names(struct: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each field with its old names, none for most; an old name that another field has today is that field's."""
    today = {field.encode_name for field in struct.fields}
    for field in struct.fields:
        extra: dict[str, Any] = getattr(field.type, "extra_json_schema", None) or {}
        yield tuple(name for name in extra.get(RENAMED_FROM, ()) if name not in today), field


def _candidates(node: Any, body: Any) -> list[Any]:
    """The parts of a union that a body may be: of its tagged structs only the one whose tag it bears."""
    if not isinstance(node, mi.UnionType):
        return [node]
    parts = [_bare(part) for part in node.types]
    if not isinstance(body, dict):
        return parts
    fields = cast("dict[object, Any]", body)
    return [
        part for part in parts if (field := getattr(part, "tag_field", None)) is None or fields.get(field) == part.tag
    ]
