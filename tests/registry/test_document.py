"""The document of many messages: one name stands for one content, whoever declares it."""

from __future__ import annotations

import types
from typing import Any

import jsonschema
import msgspec
import pytest

from aetherra.registry import Message, Request
from aetherra.registry.document import Declared, contract_document, part_of


class Warmed(Message, tag="room.warmed"):
    """It is warm.

    At last.
    """

    degrees: float


class Warm(Request[Warmed], tag="room.warm"):
    zone: str


def with_zone(tag: str, zone: type, generation: int = 1) -> type[Message]:
    """A message that holds a ``Zone`` of some plugin."""
    fields = {"__annotations__": {"zone": zone}, "__module__": f"plugin@{generation}"}
    return types.new_class("Said", (Message,), {"tag": tag}, lambda body: body.update(fields))


def zone(kind: Any, generation: int = 1) -> type:
    """A struct of that name."""
    return msgspec.defstruct("Zone", [("x", kind)], module=f"plugin@{generation}")


class TestDocument:
    def test_what_is_asked_of_a_tag_is_missing(self) -> None:
        """Each tag has its kind, who it is of, a line of words, its hash and both schemas."""
        document = contract_document([
            Declared(Warm, "room", "answers", (Warmed,)),
            Declared(Warmed, "room", "tells"),
        ])  # fmt: skip

        assert list(document["messages"]) == ["room.warm", "room.warmed"]
        told = document["messages"]["room.warmed"]
        assert (told["kind"], told["role"], told["plugin"], told["summary"]) == (
            "event",
            "tells",
            "room",
            "It is warm.",
        )
        assert len(told["hash"]) == 12
        asked = document["messages"]["room.warm"]
        assert asked["kind"] == "request"
        assert asked["reply"]["properties"]["degrees"] == {"type": "number"}
        assert "reply" not in told
        jsonschema.Draft202012Validator.check_schema(document)

    def test_the_first_of_a_tag_is_overruled(self) -> None:
        """Whoever owns a message is named before those that only know of it."""
        document = contract_document([Declared(Warmed, "room", "tells"), Declared(Warmed, "other", "hears")])
        assert document["messages"]["room.warmed"]["plugin"] == "room"

    def test_equal_components_are_told_twice(self) -> None:
        """Two generations, or two plugins, with the same struct share it under its own name."""
        document = contract_document([
            Declared(with_zone("a.said", zone(int, 1), 1), "a", "tells"),
            Declared(with_zone("b.said", zone(int, 2), 2), "b", "tells"),
        ])  # fmt: skip
        assert list(document["$defs"]) == ["Zone"]

    def test_components_of_one_name_are_mixed_up(self) -> None:
        """Other contents bear their hash, and each message refers to its own."""
        document = contract_document([
            Declared(with_zone("a.said", zone(int)), "a", "tells"),
            Declared(with_zone("b.said", zone(str)), "b", "tells"),
        ])  # fmt: skip
        assert len(document["$defs"]) == 2
        assert all(name.startswith("Zone.") for name in document["$defs"])
        for tag, good, bad in (("a.said", 1, "x"), ("b.said", "x", 1)):
            schema = {"$defs": document["$defs"], **document["messages"][tag]["schema"]}
            assert jsonschema.Draft202012Validator(schema).is_valid({"zone": {"x": good}})
            assert not jsonschema.Draft202012Validator(schema).is_valid({"zone": {"x": bad}})

    def test_a_reload_changes_it(self) -> None:
        """The same declarations give the same bytes in every generation."""
        texts = {
            msgspec.json.encode(contract_document([Declared(with_zone("a.said", zone(int, n), n), "a", "tells")]))
            for n in (1, 2)
        }
        assert len(texts) == 1


class TestPart:
    def test_a_part_has_too_much_or_too_little(self) -> None:
        """One tag comes with the components that it needs, and is a contract of its own."""
        outer = msgspec.defstruct("Outer", [("zone", zone(int))])
        document = contract_document([
            Declared(with_zone("a.said", outer), "a", "tells"),
            Declared(with_zone("b.said", msgspec.defstruct("Other", [("y", int)])), "b", "tells"),
        ])  # fmt: skip
        part = part_of(document, "a.said")
        assert (list(part["messages"]), list(part["$defs"])) == (["a.said"], ["Outer", "Zone"])
        assert part_of(part, "a.said") == part
        with pytest.raises(KeyError):
            part_of(document, "c.said")
