"""Shapes: equal only where the schemas are."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.registry import Message, renamed_from
from aetherra.registry.schema import fingerprint, message_schema
from aetherra.registry.shape import shape_of


def make(*fields: Any, **config: Any) -> Any:
    """Return a new message class, as another generation of it would be."""
    namespace = {"__annotations__": {name: kind for name, kind, *_ in fields}, "__module__": __name__}
    namespace |= {name: rest[0] for name, _, *rest in fields if rest}
    return type(Message)("Made", (Message,), namespace, **{"tag": "made.made", **config})


class Colour(enum.Enum):
    RED = "red"


def colour(*values: str) -> type[enum.Enum]:
    return enum.Enum("Colour", [(value.upper(), value) for value in values])  # type: ignore[return-value]


def inner(*fields: Any, **config: Any) -> Any:
    return msgspec.defstruct("Inner", fields, **config)


PARTS: list[Callable[[], Any]] = [
    lambda: str,
    lambda: int,
    lambda: int | None,
    lambda: list[str],
    lambda: dict[str, int],
    lambda: tuple[int, ...],
    lambda: tuple[int, str],
    lambda: Literal["a", "b"],
    lambda: Literal["a"],
    lambda: Literal[1],
    lambda: Annotated[int, msgspec.Meta(ge=0)],
    lambda: Annotated[int, msgspec.Meta(ge=1)],
    lambda: Annotated[str, renamed_from("old")],
    lambda: dt.datetime,
    lambda: Any,
    lambda: colour("red"),
    lambda: colour("red", "green"),
    lambda: inner(("a", int)),
    lambda: inner(("a", int, 0)),
    lambda: inner(("a", int, 1)),
    lambda: inner(("a", int), array_like=True),
    lambda: inner(("a", int), forbid_unknown_fields=True),
    lambda: inner(("a", int), tag="x"),
    lambda: inner(("a", int), rename="upper"),
    lambda: inner(("a", list[int], msgspec.field(default_factory=list))),
    lambda: inner(("a", inner(("b", int)))),
    lambda: list[inner(("a", int)) | None],  # type: ignore[misc]
]


class TestShape:
    @given(st.lists(st.sampled_from(PARTS), max_size=3), st.lists(st.sampled_from(PARTS), max_size=3))
    def test_two_messages_of_one_shape_differ(self, first: list[Any], second: list[Any]) -> None:
        """Shapes are equal just where schemas are; two classes made alike have one."""
        one, again, other = (
            make(*((f"f{number}", part()) for number, part in enumerate(parts))) for parts in (first, first, second)
        )
        assert shape_of(one) == shape_of(again) is not None
        schemas = [fingerprint(message_schema(kind)) for kind in (one, other)]
        assert (shape_of(one) == shape_of(other)) <= (schemas[0] == schemas[1])

    @pytest.mark.parametrize(
        "other",
        [
            make(("count", int, 0)),
            make(("count", str)),
            make(("amount", int)),
            make(("count", int), ("more", int)),
            make(("count", int), tag="made.other"),
            make(("count", int), rename="upper"),
            make(("count", int), forbid_unknown_fields=True),
            make(("count", int | None, None)),
            make(("count", bool)),
            make(),
        ],
    )
    def test_a_change_is_not_seen(self, other: Any) -> None:
        """Whatever the schema would show."""
        assert shape_of(make(("count", int))) not in (shape_of(other), None)

    def test_defaults_that_compare_equal_are_one(self) -> None:
        """1, True and 1.0 are different in JSON."""
        shapes = {shape_of(make(("x", Any, value))) for value in (1, True, 1.0)}
        assert len(shapes) == 3

    def test_a_struct_that_contains_itself_is_followed_for_ever(self) -> None:
        """It is described once."""

        class Tree(msgspec.Struct):
            children: list[Tree] = []

        globals()["Tree"] = Tree
        assert shape_of(make(("tree", Tree))) == shape_of(make(("tree", Tree))) is not None

    def test_what_only_a_schema_can_tell_is_guessed(self) -> None:
        """There is no shape for it."""

        @dataclasses.dataclass
        class Point:
            x: int

        for kind in (Point, set[Point], Annotated[Point, "words"]):
            assert shape_of(make(("it", kind))) is None
        assert shape_of(make(("it", Any, object()))) is None
        assert shape_of(make(("it", Any, msgspec.field(default_factory=dict)))) is not None
        assert shape_of(make(("it", Any, msgspec.field(default_factory=lambda: 3)))) is None

    def test_defaults_of_several_parts_are_passed_over(self) -> None:
        """Tuples and members of enumerations are told apart by what is in them."""
        defaults: list[Any] = [(), (1,), (True,), ((1,), 2), Colour.RED, "red", frozenset({1}), frozenset({2})]
        shapes = [shape_of(make(("it", Any, default))) for default in defaults]
        assert None not in shapes
        assert len(set(shapes)) == len(defaults)

    def test_annotations_as_texts_are_read_otherwise(self) -> None:
        """What is said in quotes, or under ``from __future__ import annotations``, has the shape of what it means."""
        assert shape_of(make(("count", "int"), ("names", "list[str]"))) == shape_of(
            make(("count", int), ("names", list[str]))
        )

    def test_the_fields_of_a_base_are_passed_over(self) -> None:
        """They belong to the message."""

        class Base(Message):
            count: int = 0

        class Wide(Base, tag="made.wide", kw_only=True):
            more: str
            also: list[int] = []

        class Narrow(Base, tag="made.wide", kw_only=True):
            also: list[int] = []

        assert len({shape_of(Wide), shape_of(Narrow)} - {None}) == 2
