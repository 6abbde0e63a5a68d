"""AsyncAPI documents are valid by the official schema, and say who calls whom."""

from __future__ import annotations

import copy
import datetime as dt
import enum
import gzip
import json
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import msgspec
import pytest

from aetherra.registry import Message, Request
from aetherra.registry.asyncapi import asyncapi_document
from aetherra.registry.document import Declared, contract_document
from aetherra.registry.messages import renamed_from

OFFICIAL = Path(__file__).parents[1] / "asyncapi" / "3.0.0-without-id.json.gz"


@cache
def official() -> Any:
    """The validator of the official schema."""
    schema = json.loads(gzip.decompress(OFFICIAL.read_bytes()))
    return jsonschema.validators.validator_for(schema)(schema)


def faults(document: dict[str, Any]) -> list[str]:
    """What is wrong with an AsyncAPI document."""
    return [f"{error.json_path}: {error.message[:200]}" for error in official().iter_errors(document)]


class Hue(enum.Enum):
    RED = "red"


class Near(msgspec.Struct, frozen=True, tag="near"):
    x: int


class Far(msgspec.Struct, frozen=True, tag="far"):
    x: int = 3


class Point(msgspec.Struct, frozen=True, array_like=True):
    x: int
    y: int = 0


class Tree(msgspec.Struct):
    leaf: int
    kids: list[Tree] = []


class Awkward(Message, tag="schema.awkward"):
    """All kinds of types."""

    text: str
    count: Annotated[int, msgspec.Meta(ge=0, lt=10)]
    hue: Annotated[Hue, renamed_from("color")] = Hue.RED
    place: Near | Far | None = None
    near: Near = Near(1)
    point: Point | None = None
    tree: Tree | None = None
    pair: tuple[int, str] = (1, "")
    by_number: dict[int, str] = {}
    when: dt.datetime | None = None
    blob: bytes = b""
    anything: Any = None


class Answer(Message, tag="schema.answer"):
    a: int


class Refused(Message, tag="schema.refused"):
    why: str


class Ask(Request[Answer | Refused | None], tag="schema.ask"):
    a: int = 1


class Grown(Message, tag="größe.neu"):
    """A tag in another language."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    contract = contract_document(
        [
            Declared(Ask, "a", "answers", (Answer, Refused, type(None))),
            Declared(Awkward, "a", "tells"),
            Declared(Answer, "a", "hears"),
            Declared(Grown, "b", "tells"),
        ]
    )
    return asyncapi_document(contract, title="Test host", version="1.2")


class TestDocument:
    def test_it_is_not_valid(self, document: dict[str, Any]) -> None:
        """Awkward types, unions of replies and tags in other alphabets are all said in valid AsyncAPI."""
        assert faults(document) == []

    @pytest.mark.parametrize(
        "path", [("info", "title"), ("channels", "schema.ask", "messages"), ("operations", "schema.ask", "action")]
    )
    def test_the_check_passes_anything(self, document: dict[str, Any], path: tuple[str, ...]) -> None:
        """The official schema notices a mistake."""
        broken = copy.deepcopy(document)
        *way, last = path
        part = broken
        for step in way:
            part = part[step]
        part[last] = 5  # type: ignore[assignment]
        assert faults(broken)

    def test_a_reference_leads_nowhere(self, document: dict[str, Any]) -> None:
        """Every reference leads to something in the document."""
        resolver = jsonschema.validators.Draft7Validator(document)
        seen = 0

        def follow(part: Any) -> None:
            nonlocal seen
            if isinstance(part, list):
                for one in part:
                    follow(one)
            elif isinstance(part, dict):
                if isinstance(part.get("$ref"), str):
                    resolver._resolver.lookup(part["$ref"])
                    seen += 1
                for one in part.values():
                    follow(one)

        follow(document)
        assert seen > 20

    def test_a_request_has_no_reply(self, document: dict[str, Any]) -> None:
        """A request is an operation with a reply; an event is sent, or received where it is only heard."""
        asked = document["operations"]["schema.ask"]
        assert asked["action"] == "receive"
        assert asked["reply"]["channel"] == {"$ref": "#/channels/schema.ask..reply"}
        assert document["components"]["messages"]["schema.ask..reply"]["payload"]["anyOf"][2] == {"type": "null"}
        assert document["operations"]["schema.awkward"]["action"] == "send"
        assert document["operations"]["schema.answer"]["action"] == "receive"

    def test_a_payload_says_something_else(self, document: dict[str, Any]) -> None:
        """The payload takes what the message takes, by the dialect that AsyncAPI goes by."""
        payload = document["components"]["messages"]["schema.awkward"]["payload"]
        validator = jsonschema.Draft7Validator({**payload, "components": document["components"]})
        assert validator.is_valid({"text": "a", "count": 1, "pair": [1, "x"], "near": {"type": "near", "x": 1}})
        for wrong in ({"pair": [1, 2]}, {"pair": [1, "x", 3]}, {"near": {"type": "far", "x": 1}}, {"hue": "green"}):
            assert not validator.is_valid({"text": "a", "count": 1, **wrong})
