"""The contract of a whole host as one JSON document: every tag, who answers or tells it, and the schemas of both ways.

It is a valid JSON Schema document (its ``$defs`` hold the components), and what ``aetherra contract check`` compares.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from aetherra.registry.messages import Message, Request, tag_of
from aetherra.registry.schema import (
    DIALECT,
    Schema,
    component_name,
    fingerprint,
    message_schema,
    reply_schema,
    schema_hash,
    summary_of,
    with_refs,
)

FORMAT = "aetherra-contract/1"
"""What the key ``format`` says; the number counts up when older readers could not read it."""
Role = Literal["answers", "tells", "hears"]
"""What a plugin has to do with a message: an event that it only hears may be somebody else's."""


class Declared(msgspec.Struct, frozen=True):
    """A message that somebody answers, hears or tells.

    Attributes:
        message_type: The class.
        plugin: Whose it is.
        role: What that plugin has to do with it.
        replies: What a request may be answered with; none means anything.
    """

    message_type: type[Message]
    plugin: str
    role: Role
    replies: tuple[type, ...] = ()


def contract_document(declared: Iterable[Declared]) -> dict[str, Any]:
    """Return the document of these messages; of several with one tag the first counts."""
    by_tag: dict[str, Declared] = {}
    for one in declared:
        by_tag.setdefault(tag_of(one.message_type), one)
    components = _Components()
    messages = {tag: _described(by_tag[tag], components) for tag in sorted(by_tag)}
    names = components.names()
    messages = {tag: with_refs(message, lambda mark: "#/$defs/" + names[mark]) for tag, message in messages.items()}
    return {"$schema": DIALECT, "format": FORMAT, "messages": messages, "$defs": components.named(names)}


def part_of(document: dict[str, Any], tag: str) -> dict[str, Any]:
    """Return the document of one tag alone, with the components that it needs.

    Raises:
        KeyError: The document has no such tag.
    """
    needed: dict[str, Schema] = {}
    ahead: list[str] = []
    components: dict[str, Schema] = document["$defs"]

    def note(reference: str) -> str:
        ahead.append(component_name(reference))
        return reference

    message = with_refs(document["messages"][tag], note)
    while ahead:
        name = ahead.pop()
        if name not in needed:
            needed[name] = components[name]
            with_refs(components[name], note)
    return {**document, "messages": {tag: message}, "$defs": {name: needed[name] for name in sorted(needed)}}


def _described(declared: Declared, components: _Components) -> dict[str, Any]:
    message_type = declared.message_type
    is_request = issubclass(message_type, Request)
    reply = {"reply": components.take(reply_schema(declared.replies))} if is_request else {}
    return {
        "kind": "request" if is_request else "event",
        "plugin": declared.plugin,
        "role": declared.role,
        "summary": summary_of(message_type),
        "hash": schema_hash(message_type),
        "schema": components.take(message_schema(message_type)),
        **reply,
    }


class _Components:
    """Components of many messages under names of which each stands for one content.

    Two plugins may each have a ``Zone``, and so may two generations: equal ones are one component, others bear their
    hash.
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, Schema]] = {}

    def take(self, schema: Schema) -> Schema:
        """Take a schema's components in and return it with references to them by their marks."""
        own: dict[str, Schema] = schema.get("$defs", {})
        marks = {name: f"{name}.{fingerprint({'$ref': f'#/$defs/{name}', '$defs': own})}" for name in own}

        def mark(reference: str) -> str:
            return marks[component_name(reference)]

        for name, component in own.items():
            self._found.setdefault(marks[name], (name, with_refs(component, mark)))
        taken: Schema = with_refs({key: part for key, part in schema.items() if key not in ("$defs", "$schema")}, mark)
        return taken

    def names(self) -> dict[str, str]:
        """Return the name of each mark: the class's, or the mark itself where several contents want that name."""
        wanted = [name for name, _ in self._found.values()]
        return {mark: name if wanted.count(name) == 1 else mark for mark, (name, _) in self._found.items()}

    def named(self, names: dict[str, str]) -> dict[str, Schema]:
        """Return the components under their names."""
        found = {names[mark]: component for mark, (_, component) in self._found.items()}
        return {name: with_refs(found[name], lambda mark: "#/$defs/" + names[mark]) for name in sorted(found)}
