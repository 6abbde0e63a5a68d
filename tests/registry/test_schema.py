"""JSON Schemas: they take what msgspec takes, whoever declares the message, and their hash says when that changes."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import math
import types
import uuid
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetherra.registry import Message, MessageValidationError, Request
from aetherra.registry.messages import from_json, renamed_from, to_json
from aetherra.registry.schema import message_schema, reply_schema, schema_hash


class Hue(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Near(msgspec.Struct, frozen=True, tag="near"):
    """Close by.

    Not far.
    """

    x: int


class Far(msgspec.Struct, frozen=True, tag="far"):
    x: int = 3


class Point(msgspec.Struct, array_like=True):
    x: int
    y: int = 0


class Tree(msgspec.Struct, rename="camel"):
    the_leaf: int
    kids: list[Tree] = []


class Place(TypedDict, total=False):
    street: str


class Range(NamedTuple):
    low: int
    high: int = 9


@dataclasses.dataclass
class Box:
    width: float


class Opaque:
    pass


class Awkward(Message, tag="schema.awkward"):
    """All kinds of types."""

    text: Annotated[str, msgspec.Meta(min_length=1, pattern="^[a-z]+$")]
    count: Annotated[int, msgspec.Meta(ge=0, lt=10)]
    share: Annotated[float, msgspec.Meta(gt=0)] = 0.5
    flag: bool = False
    hue: Hue = Hue.RED
    size: Size = Size.SMALL
    kind: Literal["a", 1] | None = "a"
    place: Near | Far | None = None
    near: Near = Near(1)
    point: Point | None = None
    tree: Tree | None = None
    where: Place | None = None
    span: Range | None = None
    box: Box | None = None
    pair: tuple[int, str] = (1, "")
    many: tuple[int, ...] = ()
    some: frozenset[int] = frozenset()
    by_name: dict[str, int] = {}
    by_number: dict[int, str] = {}
    by_hue: dict[Hue, int] = {}
    when: dt.datetime | None = None
    day: dt.date | None = None
    length: dt.timedelta | None = None
    id: uuid.UUID | None = None
    price: decimal.Decimal | None = None
    blob: bytes = b""
    anything: Any = None
    maybe: int | msgspec.UnsetType = msgspec.UNSET
    who: Annotated[str, renamed_from("name")] = ""
    old_key: int = msgspec.field(default=0, name="newKey")
    title: str = ""


class Answer(Message, tag="schema.answer"):
    a: int


class Refused(Message, tag="schema.refused"):
    why: str


class Ask(Request[Answer], tag="schema.ask"):
    """Ask for it."""

    a: int = 1


def accepts(schema: dict[str, Any], body: Any) -> bool:
    """Whether a body is valid by the official validator."""
    return bool(jsonschema.Draft202012Validator(schema).is_valid(body))


MINIMAL = {"text": "a", "count": 1}


class TestMessageSchema:
    @pytest.mark.parametrize("message_type", [Awkward, Ask, Answer])
    def test_it_is_no_json_schema(self, message_type: type[Message]) -> None:
        """The schema is valid by the official meta-schema, and whole in itself."""
        jsonschema.Draft202012Validator.check_schema(message_schema(message_type))

    @pytest.mark.parametrize(
        "body",
        [
            MINIMAL,
            {**MINIMAL, "$tag": "schema.awkward"},
            {**MINIMAL, "place": {"type": "far"}, "point": [1], "tree": {"theLeaf": 1, "kids": [{"theLeaf": 2}]}},
            {**MINIMAL, "where": {}, "span": [1], "box": {"width": 1}, "pair": [2, "x"], "by_number": {"-3": "x"}},
            {
                **MINIMAL,
                "when": "2024-01-01T00:00:00Z",
                "blob": "eHl6",
                "kind": None,
                "by_hue": {"red": 1},
                "newKey": 2,
            },
        ],
    )
    def test_a_good_body_is_refused(self, body: Any) -> None:
        """What msgspec reads the schema takes."""
        from_json(msgspec.json.encode(body), Awkward)
        assert accepts(message_schema(Awkward), body)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"text": ""}, {"text": 5}, {"count": 10}, {"count": 1.5}, {"share": 0}, {"flag": 1}, {"hue": "green"},
            {"size": 3}, {"kind": "b"}, {"place": {"type": "other"}}, {"place": {"x": 1}}, {"near": {"type": "near"}},
            {"point": []},
            {"tree": {"theLeaf": 1, "kids": [{"theLeaf": "x"}]}}, {"span": [1, 2, 3]}, {"box": {}}, {"pair": [1]},
            {"pair": [1, "x", 2]}, {"many": ["x"]}, {"by_name": {"a": "x"}}, {"by_number": {"x": "y"}}, {"maybe": "x"},
            {"$tag": "schema.other"},
        ],
        ids=repr,
    )  # fmt: skip
    def test_a_bad_body_is_taken(self, wrong: dict[str, Any]) -> None:
        """What msgspec refuses the schema refuses, too."""
        body = {**MINIMAL, **wrong}
        with pytest.raises(MessageValidationError):
            from_json(msgspec.json.encode(body), Awkward)
        assert not accepts(message_schema(Awkward), body)

    @settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
    @given(
        st.builds(
            Awkward,
            text=st.from_regex(r"\A[a-z]+\Z"),
            count=st.integers(0, 9),
            place=st.none() | st.builds(Near, st.integers()) | st.builds(Far, st.integers()),
            tree=st.none() | st.builds(Tree, st.integers(), st.lists(st.builds(Tree, st.integers()))),
            by_number=st.dictionaries(st.integers(), st.text()),
            when=st.none() | st.datetimes(timezones=st.none() | st.just(dt.UTC)),
            blob=st.binary(),
            hue=st.sampled_from(Hue),
            pair=st.tuples(st.integers(), st.text()),
        )
    )
    def test_what_is_written_is_refused(self, message: Awkward) -> None:
        """Whatever a message is encoded to is valid by its schema."""
        assert accepts(message_schema(Awkward), msgspec.json.decode(to_json(message)))

    def test_a_request_takes_any_field_or_an_event_does_not(self) -> None:
        """A caller's slip of the pen is refused; a hearer reads the fields that it knows."""
        assert not accepts(message_schema(Ask), {"b": 1})
        assert accepts(message_schema(Answer), {"a": 1, "b": 1})

    def test_words_and_old_names_are_missing(self) -> None:
        """Docstrings, defaults and old names are there for who reads the schema."""
        schema = message_schema(Awkward)
        assert (schema["title"], schema["description"]) == ("Awkward", "All kinds of types.")
        assert schema["$defs"]["Near"]["description"] == "Close by.\n\nNot far."
        assert schema["properties"]["who"] == {"type": "string", "x-renamed-from": ["name"], "default": ""}
        assert schema["properties"]["hue"]["default"] == "red"
        assert "description" not in schema["$defs"]["Far"]

    def test_what_json_cannot_say_is_an_error(self) -> None:
        """A field of a foreign class, or a default that is no number, leaves the rest to be told."""

        class Foreign(Message, tag="schema.foreign"):
            thing: Opaque
            share: float = math.nan

        schema = message_schema(Foreign)
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["properties"]["thing"] == {"title": "Opaque", "x-opaque": True}
        assert schema["properties"]["share"] == {"type": "number"}

    def test_two_classes_of_one_name_are_taken_for_one(self) -> None:
        """Two modules of a plugin may each have a ``Zone``."""
        first = msgspec.defstruct("Zone", [("x", int)], module="first")
        second = msgspec.defstruct("Zone", [("y", str)], module="second")
        both = msgspec.defstruct("Both", [("a", first), ("b", second)])
        cls = types.new_class(
            "M", (Message,), {"tag": "schema.m"}, lambda body: body.update(__annotations__={"z": both})
        )

        components = message_schema(cls)["$defs"]
        assert [list(components[name]["properties"]) for name in ("Zone", "Zone_2")] == [["x"], ["y"]]
        assert components["Both"]["properties"]["b"] == {"$ref": "#/$defs/Zone_2"}


class TestReplySchema:
    def test_one_class_needs_its_tag(self) -> None:
        """A single kind of reply comes without its tag, and may have fields more."""
        assert accepts(reply_schema((Answer,)), {"a": 1, "more": 2})

    def test_several_are_not_told_apart(self) -> None:
        """One of several comes with its tag."""
        schema = reply_schema((Answer, Refused, type(None)))
        assert accepts(schema, {"$tag": "schema.refused", "why": "cold"})
        assert accepts(schema, None)
        assert not accepts(schema, {"why": "cold"})

    def test_nothing_or_anything_is_refused(self) -> None:
        """``None`` is null, and an unknown reply may be anything."""
        assert accepts(reply_schema((type(None),)), None)
        assert not accepts(reply_schema((type(None),)), {})
        assert accepts(reply_schema(()), {"what": "ever"})


def version(doc: str = "", **fields: Any) -> Any:
    """Make a class of one tag."""
    namespace = {"__annotations__": fields, "__doc__": doc}
    return types.new_class("Version", (Message,), {"tag": "schema.version"}, lambda body: body.update(namespace))


class TestHash:
    def test_it_changes_by_chance(self) -> None:
        """Neither the generation, nor words, nor the order of fields matter."""
        inner = [msgspec.defstruct(name, [("x", int)], namespace={"__doc__": name}) for name in ("One", "Two")]
        first, again = (version(name, a=int, b=inner[at], c=str) for at, name in enumerate(("First", "Again")))
        turned = version(c=str, b=inner[0], a=int)

        assert len(schema_hash(first)) == 12
        assert schema_hash(first) == schema_hash(turned)
        assert schema_hash(version(a=int, z=inner[0])) == schema_hash(version("Other words", z=inner[0], a=int))
        assert schema_hash(again) == schema_hash(version(a=int, b=inner[1], c=str))

    def test_two_versions_have_one(self) -> None:
        """Every change of fields, bounds or nested fields shows."""
        nested = [msgspec.defstruct("N", [("x", kind)]) for kind in (int, str)]
        versions = [
            version(),
            version(a=int),
            version(b=int),
            version(a=str),
            version(a=int | None),
            version(a=Annotated[int, msgspec.Meta(ge=0)]),
            version(a=Annotated[int, renamed_from("b")]),
            version(a=nested[0]),
            version(a=nested[1]),
            version(title=int),
        ]
        assert len({schema_hash(cls) for cls in versions}) == len(versions)
