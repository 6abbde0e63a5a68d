"""Whether a new version of a contract keeps what the old one promised: the changes, and which of them break somebody.

Works on documents, as ``document.py`` makes them, so that one side may be a file of last year. Requests and events are
read by the new version, so it must read whatever the old one let people write. Replies are read by callers of both
versions, as either may be served, so there it must hold both ways.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, Literal, cast

import msgspec

from aetherra.registry.document import FORMAT, Role
from aetherra.registry.errors import AetherraError
from aetherra.registry.readable import Misfit, Reading
from aetherra.registry.schema import Schema, component_name

ChangeKind = Literal[
    "tag added", "tag removed", "kind changed", "field added", "field removed", "field renamed", "made required",
    "type narrowed", "type widened", "type changed",
]  # fmt: skip


class ContractError(AetherraError, ValueError):
    """What was given is no contract document, or nothing that one can be made of."""


class Change(msgspec.Struct, frozen=True):
    """One difference between two versions of a contract.

    Attributes:
        tag: The message.
        path: The field, as in ``$.zones[...].name``; ``$reply.…`` is in the reply.
        kind: What happened.
        breaking: Whether somebody who keeps to the old version is let down.
        why: What was, what is, who is let down, and what to do instead.
    """

    tag: str
    path: str
    kind: ChangeKind
    breaking: bool
    why: str

    def __str__(self) -> str:
        return f"{self.tag}: `{self.path}`: {self.why}"


def compare(old: dict[str, Any], new: dict[str, Any]) -> tuple[Change, ...]:
    """Return the changes between two documents, by tag and path.

    Raises:
        ContractError: One of them is no contract document.
    """
    for document in (old, new):
        check_document(document)
    return tuple(_changes(old, new))


def breaking(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Return those that break somebody."""
    return tuple(change for change in changes if change.breaking)


def check_document(document: object, where: str = "the document") -> dict[str, Any]:
    """Return a document that was read from somewhere, if it is a contract.

    Raises:
        ContractError: It is none; says what is wrong.
    """
    try:
        read = msgspec.convert(document, _Document)
    except msgspec.ValidationError as exc:
        raise ContractError(f"{where} is no contract: {exc}; make one with 'aetherra services --schema'") from exc
    if read.format != FORMAT:
        raise ContractError(f"{where} is of the format {read.format!r}; this version reads {FORMAT!r}")
    schemas = [(f"$.$defs.{name}", component) for name, component in read.components.items()]
    for tag, message in read.messages.items():
        schemas.append((f"$.messages.{tag}.schema", message.schema))
        if not isinstance(message.reply, msgspec.UnsetType):
            schemas.append((f"$.messages.{tag}.reply", message.reply))
    for path, schema in schemas:
        _check_schema(schema, read.components, f"{where} is no contract: ", path)
    return cast("dict[str, Any]", document)


class _Message(msgspec.Struct):
    kind: Literal["request", "event"]
    role: Role
    plugin: str
    schema: Schema
    reply: Schema | msgspec.UnsetType = msgspec.UNSET


class _Document(msgspec.Struct):
    format: str
    messages: dict[str, _Message]
    components: dict[str, Schema] = msgspec.field(name="$defs")


_Inner = dict[str, Any]


class _Parts(msgspec.Struct):
    """The keys of a schema that the comparison goes by."""

    type: Literal["object", "array", "string", "integer", "number", "boolean", "null"] | None = None
    ref: str | None = msgspec.field(default=None, name="$ref")
    any_of: list[_Inner] = msgspec.field(default_factory=list[_Inner], name="anyOf")
    prefix_items: list[_Inner] = msgspec.field(default_factory=list[_Inner], name="prefixItems")
    items: dict[str, Any] | bool = True
    additional: dict[str, Any] | bool = msgspec.field(default=True, name="additionalProperties")
    names: _Inner = msgspec.field(default_factory=dict[str, Any], name="propertyNames")
    read_as: _Inner = msgspec.field(default_factory=dict[str, Any], name="x-read-as")
    properties: dict[str, dict[str, Any]] = {}
    required: list[str] = []
    enum: list[Any] = []
    renamed_from: list[str] = msgspec.field(default_factory=list[str], name="x-renamed-from")
    min_length: int = msgspec.field(default=0, name="minLength")
    max_length: int = msgspec.field(default=0, name="maxLength")
    min_items: int = msgspec.field(default=0, name="minItems")
    max_items: int = msgspec.field(default=0, name="maxItems")
    min_properties: int = msgspec.field(default=0, name="minProperties")
    max_properties: int = msgspec.field(default=0, name="maxProperties")
    minimum: float = 0
    maximum: float = 0
    above: float = msgspec.field(default=0, name="exclusiveMinimum")
    below: float = msgspec.field(default=0, name="exclusiveMaximum")
    step: float = msgspec.field(default=1, name="multipleOf")
    pattern: str = ""
    format: str = ""

    def inner(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the schemas inside, each with the step of the path to it."""
        yield from ((f"properties.{name}", part) for name, part in self.properties.items())
        yield from ((f"anyOf[{at}]", part) for at, part in enumerate(self.any_of))
        yield from ((f"prefixItems[{at}]", part) for at, part in enumerate(self.prefix_items))
        for name, part in (("items", self.items), ("additionalProperties", self.additional)):
            if isinstance(part, dict):
                yield name, part
        yield from (("propertyNames", self.names), ("x-read-as", self.read_as))


def _check_schema(schema: dict[str, Any], components: dict[str, Schema], blame: str, path: str) -> None:
    try:
        parts = msgspec.convert(schema, _Parts)
    except msgspec.ValidationError as exc:
        raise ContractError(f"{blame}{exc}, below `{path}`") from exc
    if parts.ref is not None and component_name(parts.ref) not in components:
        raise ContractError(f"{blame}`{path}` refers to {parts.ref!r}, which is not in it")
    for step, inner in parts.inner():
        if inner:
            _check_schema(inner, components, blame, f"{path}.{step}")


# Comparing


def _changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    for tag in sorted({*old["messages"], *new["messages"]}):
        before, after = old["messages"].get(tag), new["messages"].get(tag)
        if after is None and before["role"] == "hears":
            yield Change(tag, "$", "tag removed", False, f"{before['plugin']!r} hears it no more")
        elif after is None:
            near = difflib.get_close_matches(tag, set(new["messages"]) - set(old["messages"]), n=1)
            hint = f"; if it is {near[0]!r} now, answer the old tag too" if near else ""
            yield Change(tag, "$", "tag removed", True, f"the {before['kind']} is gone: keep it{hint}")
        elif before is None:
            yield Change(tag, "$", "tag added", False, f"the {after['kind']} is new")
        elif before["kind"] != after["kind"]:
            why = f"the {before['kind']} became {_a(after['kind'])}: use a new tag for what is another thing"
            yield Change(tag, "$", "kind changed", True, why)
        else:
            sides = _Sides(tag, old["$defs"], new["$defs"])
            yield from sides.changes(before["schema"], after["schema"], "$", both_ways=False)
            if before["kind"] == "request":
                yield from sides.changes(before.get("reply", {}), after.get("reply", {}), "$reply", both_ways=True)


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


class _Sides:
    """The old and the new of one message."""

    def __init__(self, tag: str, old: dict[str, Schema], new: dict[str, Schema]) -> None:
        self._tag, self._old, self._new = tag, old, new

    def changes(self, old: Schema, new: Schema, path: str, *, both_ways: bool) -> Iterator[Change]:
        """Yield what changed; with ``both_ways`` the old version must read the new one, too."""
        forward = list(Reading(self._old, self._new).misfits(old, new, path))
        backward = list(Reading(self._new, self._old).misfits(new, old, path))
        changed = {misfit.path for misfit in backward if misfit.kind == "type"}
        heirs = {f"{_parent(misfit.path)}.{misfit.reads}" for misfit in forward if misfit.kind == "renamed"}
        told: dict[str, bool] = {}
        for change in (self._forward(misfit, forward, backward, changed, both_ways=both_ways) for misfit in forward):
            if change.path not in told:
                told[change.path] = change.breaking
                yield change
        for change in (self._backward(misfit, both_ways=both_ways) for misfit in backward if misfit.kind != "renamed"):
            news = change.path not in told and (change.breaking or change.path not in heirs)
            if news or (change.breaking and not told.get(change.path, True)):
                told[change.path] = change.breaking
                yield change

    def _forward(
        self, misfit: Misfit, forward: list[Misfit], backward: list[Misfit], changed: set[str], *, both_ways: bool
    ) -> Change:
        """Tell what the new version makes of what the old one writes."""
        who = "an older provider's reply, which leaves it out," if both_ways else "who leaves it out"
        what_was = (
            "callers of the new version cannot read an older provider's reply"
            if both_ways
            else "what was valid is refused"
        )
        match misfit.kind:
            case "renamed":
                why = f"is read under its new name {misfit.reads!r}"
                if both_ways:
                    why = f"is {misfit.reads!r} now: callers of the old version look for it; keep both, in a reply"
                return Change(self._tag, misfit.path, "field renamed", both_ways, why)
            case "missing" if misfit.writes == "optional":
                why = f"was optional and is required: {who} is refused; give it a default"
                return Change(self._tag, misfit.path, "made required", True, why)
            case "missing":
                why = f"is new and required: {who} is refused; give it a default"
                return Change(self._tag, misfit.path, "field added", True, why)
            case "unknown":
                return self._lost(misfit, backward, forward)
            case "type":
                kind: ChangeKind = "type changed" if misfit.path in changed else "type narrowed"
                what = f"was {misfit.writes}, is {misfit.reads}"
                if misfit.writes == misfit.reads:
                    what = f"is {misfit.reads} with tighter rules"
                why = f"{what}: {what_was}; take the old values too, or use a new field or tag"
                return Change(self._tag, misfit.path, kind, True, why)

    def _lost(self, misfit: Misfit, backward: list[Misfit], forward: list[Misfit]) -> Change:
        parent, name = _parent(misfit.path), misfit.path.rpartition(".")[2]
        new_fields = [m.path for m in backward if m.kind == "unknown" and _parent(m.path) == parent]
        alike = [m for m in backward if m.path in new_fields and m.writes == misfit.writes]
        required = [m for m in forward if m.kind == "missing" and m.path in new_fields]
        heir = next(iter([m.path for m in alike] or [m.path for m in required]), None)
        fate = "who sends it is refused" if misfit.refused else "what is sent under it is lost"
        if heir is not None:
            new_name = heir.rpartition(".")[2]
            why = (
                f"is gone and {new_name!r} is new: {fate}; if that is its new name, say so: "
                f'{new_name}: Annotated[..., renamed_from("{name}")]'
            )
            return Change(self._tag, misfit.path, "field renamed", True, why)
        return Change(self._tag, misfit.path, "field removed", True, f"is gone: {fate}; keep it, with a default")

    def _backward(self, misfit: Misfit, *, both_ways: bool) -> Change:
        """Tell what only who keeps to the old version would notice, if the new one talks to him."""
        path = misfit.path
        if misfit.kind == "unknown":
            breaks = both_ways and misfit.refused
            why = "is new: callers of the old version refuse it" if breaks else "is new, and may be left out"
            return Change(self._tag, path, "field added", breaks, why)
        breaks = both_ways
        reader = (
            "callers of the old version cannot read that; use a new tag" if breaks else "all that was valid still is"
        )
        if misfit.kind == "missing":
            what = "was always there and may be left out" if misfit.writes == "optional" else "is gone"
            return Change(self._tag, path, "type widened", breaks, f"{what}: {reader}")
        return Change(self._tag, path, "type widened", breaks, f"was {misfit.reads}, is {misfit.writes}: {reader}")
