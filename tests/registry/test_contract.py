"""Two versions of a contract: what breaks is found and said, and what is called compatible is really read."""

from __future__ import annotations

import copy
import datetime as dt
import enum
import types
import uuid
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.registry import Message, Request
from aetherra.registry.contract import Change, ContractError, breaking, check_document, compare
from aetherra.registry.document import Declared, contract_document
from aetherra.registry.messages import MessageMeta, from_json, message_classes, read_reply, renamed_from, to_json


def struct(fields: dict[str, Any], *, base: Any = msgspec.Struct, **config: Any) -> Any:
    """Make a struct class; a field is a type, or a type and its default."""
    annotations = {name: field[0] if isinstance(field, tuple) else field for name, field in fields.items()}
    defaults = {
        name: msgspec.field(default_factory=lambda value=field[1]: copy.deepcopy(value))
        for name, field in fields.items()
        if isinstance(field, tuple)
    }
    namespace = {"__annotations__": annotations, "__module__": __name__, **defaults}
    return types.new_class("Zone", (base,), {"kw_only": True, **config}, lambda body: body.update(namespace))


def event(**fields: Any) -> Any:
    """Make an event."""
    return struct(fields, base=Message, tag="house.said")


def request(reply: Any = None, **fields: Any) -> Any:
    """Make a request."""
    return struct(fields, base=Request[reply], tag="house.ask")


def answer(**fields: Any) -> Any:
    """Make a reply."""
    return struct(fields, base=Message, tag="house.answer")


def document(*classes: type[Message], replies: tuple[type, ...] = (type(None),)) -> dict[str, Any]:
    """The contract of these, as it is read back from a file."""
    built = contract_document(
        Declared(cls, "house", "answers" if issubclass(cls, Request) else "tells", replies) for cls in classes
    )
    read: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(built))
    return read


def changes(old: type[Message], new: type[Message]) -> tuple[Change, ...]:
    """Compare two versions of a message."""
    return compare(document(old), document(new))


def reply_changes(old: tuple[type, ...], new: tuple[type, ...]) -> tuple[Change, ...]:
    """Compare two versions of a reply."""
    return compare(document(request(), replies=old), document(request(), replies=new))


class Hue(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Tint(enum.Enum):
    RED = "red"


Low, High = Annotated[int, msgspec.Meta(ge=0, le=9)], Annotated[int, msgspec.Meta(ge=0, le=99)]
Near, Far = struct({"x": int}, tag="near"), struct({"x": int}, tag="far")
FarToo = struct({"x": int, "y": int}, tag="far")

NARROWED: list[tuple[Any, Any, str]] = [
    (int, str, "$.a"),
    (float, int, "$.a"),
    (int | None, int, "$.a"),
    (int | str, int, "$.a"),
    (Near | Far, Near, "$.a.type"),
    (Near | Far, Near | FarToo, "$.a.y"),
    (Literal["a", "b"], Literal["a"], "$.a"),
    (Literal[1, 2], Literal[1], "$.a"),
    (str, Literal["a"], "$.a"),
    (Literal["a", "long"], Annotated[str, msgspec.Meta(max_length=2)], "$.a"),
    (Hue, Tint, "$.a"),
    (High, Low, "$.a"),
    (int, High, "$.a"),
    (int, Annotated[int, msgspec.Meta(multiple_of=2)], "$.a"),
    (Annotated[int, msgspec.Meta(multiple_of=2)], Annotated[int, msgspec.Meta(multiple_of=4)], "$.a"),
    (Annotated[float, msgspec.Meta(ge=0)], Annotated[float, msgspec.Meta(gt=0)], "$.a"),
    (str, Annotated[str, msgspec.Meta(min_length=1)], "$.a"),
    (str, Annotated[str, msgspec.Meta(pattern="^a")], "$.a"),
    (str, bytes, "$.a"),
    (str, dt.datetime, "$.a"),
    (str, uuid.UUID, "$.a"),
    (dt.datetime, dt.date, "$.a"),
    (dt.datetime, Annotated[dt.datetime, msgspec.Meta(tz=True)], "$.a"),
    (list[int], Annotated[list[int], msgspec.Meta(max_length=3)], "$.a"),
    (list[int], list[Low], "$.a[...]"),
    (list[int], set[int], "$.a"),
    (list[int], tuple[int, int], "$.a"),
    (tuple[int, int], tuple[int, str], "$.a[1]"),
    (tuple[int, int], tuple[int, int, int], "$.a"),
    (dict[str, int], dict[int, int], "$.a[key]"),
    (dict[str, int | None], dict[str, int], "$.a[...]"),
    (dict[str, int], Near, "$.a"),
    (Any, int, "$.a"),
    (list[dict[str, list[High]]], list[dict[str, list[Low]]], "$.a[...][...][...]"),
    (struct({"x": int}), struct({"x": int, "y": int}), "$.a.y"),
    (struct({"x": (int, 0)}), struct({"x": int}), "$.a.x"),
    (struct({"x": int}), struct({"x": int}, forbid_unknown_fields=True), ""),
]  # fmt: skip


class TestTypes:
    @pytest.mark.parametrize(("wide", "tight", "path"), NARROWED)
    def test_a_tighter_type_passes(self, wide: Any, tight: Any, path: str) -> None:
        """What was valid and is not any more breaks, at its path; the other way round it does not."""
        found = changes(event(a=wide), event(a=tight))
        assert [change.path for change in breaking(found)] == ([path] if path else [])
        if path:
            assert breaking(found)[0].kind in {"type narrowed", "type changed", "made required", "field added"}

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (int, float),
            (int, int | None),
            (int, Any),
            (Near, Near | Far),
            (Literal["a"], Literal["a", "b"]),
            (Literal["a", "b"], str),
            (Tint, Hue),
            (Hue, str),
            (Literal["red", "blue"], Hue),
            (Low, High),
            (High, int),
            (Annotated[int, msgspec.Meta(gt=0)], Annotated[int, msgspec.Meta(ge=1)]),
            (Annotated[int, msgspec.Meta(multiple_of=4)], Annotated[int, msgspec.Meta(multiple_of=2)]),
            (bytes, str),
            (set[int], list[int]),
            (tuple[int, int], list[int]),
            (dict[int, int], dict[str, float]),
            (Near, dict[str, Any]),
            (struct({"x": int}), struct({"x": int, "y": (int, 0)})),
        ],
    )
    def test_a_wider_type_is_refused(self, old: Any, new: Any) -> None:
        """What is sent may become more; what is replied may not, for callers of the old version could not read it."""
        assert breaking(changes(event(a=old), event(a=new))) == ()
        assert breaking(changes(request(a=old), request(a=new))) == ()

    @pytest.mark.parametrize(("old", "new"), [(int, float), (int, int | None), (Literal["a"], Literal["a", "b"])])
    def test_a_reply_becomes_wider_or_tighter(self, old: Any, new: Any) -> None:
        """Callers of either version meet providers of either, so a reply's types stay."""
        (wider,) = breaking(reply_changes((answer(a=old),), (answer(a=new),)))
        assert (wider.path, wider.kind) == ("$reply.a", "type widened")
        assert "callers of the old version cannot read that" in wider.why
        (tighter,) = breaking(reply_changes((answer(a=new),), (answer(a=old),)))
        assert (tighter.path, tighter.kind) == ("$reply.a", "type narrowed")

    def test_a_type_that_holds_itself_has_no_end(self) -> None:
        """Recursive types are compared, and what is inside is found."""
        assert breaking(changes(Tree, Tree)) == ()
        assert [change.path for change in breaking(changes(Tree, Shrub))] == ["$.root.leaf", "$.root.kids[...].leaf"][
            :1
        ]


class Node(msgspec.Struct):
    leaf: int
    kids: list[Node] = []
    other: Node | None = None


class Bush(msgspec.Struct):
    leaf: str
    kids: list[Bush] = []
    other: Bush | None = None


class Tree(Message, tag="house.tree"):
    root: Node


class Shrub(Message, tag="house.tree"):
    root: Bush


def only(found: tuple[Change, ...]) -> tuple[str, str, bool]:
    """Tell the only change there is."""
    (change,) = found
    return change.path, change.kind, change.breaking


class TestFields:
    def test_a_field_with_a_default_breaks(self) -> None:
        """It may be left out, so nobody is let down; nor by one more in a reply."""
        assert only(changes(request(a=int), request(a=int, b=(int, 0)))) == ("$.b", "field added", False)
        assert only(reply_changes((answer(a=int),), (answer(a=int, b=(int, 0)),))) == ("$reply.b", "field added", False)

    def test_a_field_without_default_passes(self) -> None:
        """Who does not know it is refused, and what to do is said."""
        (change,) = changes(request(a=int), request(a=int, b=int))
        assert (change.path, change.kind, change.breaking) == ("$.b", "field added", True)
        assert str(change).startswith(
            "house.ask: `$.b`: is new and required: who leaves it out is refused; give it a d"
        )

    def test_a_field_made_required_passes(self) -> None:
        """Who left it out is refused."""
        assert only(changes(event(a=(int, 0)), event(a=int))) == ("$.a", "made required", True)

    def test_a_removed_field_passes(self) -> None:
        """A request's sender is refused, an event's loses what he says; both are told."""
        (change,) = changes(request(a=int, b=int), request(a=int))
        assert (change.path, change.kind, change.breaking) == ("$.b", "field removed", True)
        assert "who sends it is refused" in change.why
        (change,) = changes(event(a=int, b=int), event(a=int))
        assert "what is sent under it is lost" in change.why

    def test_a_rename_passes_or_is_not_recognised(self) -> None:
        """A new name without a word of the old breaks, and the remedy is said; with it nothing does."""
        found = breaking(changes(request(name=str), request(who=str)))
        lost = next(change for change in found if change.path == "$.name")
        assert lost.kind == "field renamed"
        assert 'who: Annotated[..., renamed_from("name")]' in lost.why

        told = changes(request(name=str), request(who=Annotated[str, renamed_from("name")]))
        assert only(told) == ("$.name", "field renamed", False)

    def test_a_rename_to_another_type_passes(self) -> None:
        """A new name is no cover for a new type."""
        found = breaking(changes(request(name=str), request(who=Annotated[int, renamed_from("name")])))
        assert [(change.path, change.kind) for change in found] == [("$.who", "type narrowed")]

    def test_a_reply_is_renamed(self) -> None:
        """Callers of the old version look for the old name, which no declaration in the new one helps."""
        who = Annotated[str, renamed_from("name")]
        for old, new in ((answer(name=str), answer(who=who)), (answer(name=(str, "")), answer(who=(who, "")))):
            found = reply_changes((old,), (new,))
            assert [change.path for change in breaking(found)] == ["$reply.name"]

    def test_a_closed_struct_in_a_reply_grows(self) -> None:
        """Callers of the old version refuse a field that they do not know, if their struct says so."""
        old, new = (struct(fields, forbid_unknown_fields=True) for fields in ({"x": int}, {"x": int, "y": (int, 0)}))
        assert breaking(changes(event(a=old), event(a=new))) == ()
        (change,) = breaking(reply_changes((answer(a=old),), (answer(a=new),)))
        assert (change.path, change.kind) == ("$reply.a.y", "field added")


class TestTags:
    def test_a_tag_is_gone(self) -> None:
        """It is said which, and what may have become of it; a new one is no matter."""

        class Renamed(Message, tag="house.says"):
            a: int

        gone, new = changes(event(a=int), Renamed)
        assert (gone.tag, gone.kind, gone.breaking) == ("house.said", "tag removed", True)
        assert "if it is 'house.says' now" in gone.why
        assert (new.tag, new.kind, new.breaking) == ("house.says", "tag added", False)

    def test_an_event_that_is_heard_no_more_breaks(self) -> None:
        """It may be somebody else's, and goes on without this hearer."""
        old = contract_document([Declared(event(a=int), "house", "hears")])
        assert only(compare(old, contract_document([]))) == ("$", "tag removed", False)

    def test_a_request_became_an_event(self) -> None:
        """Nobody answers an event."""

        class NoMore(Message, tag="house.ask"):
            pass

        assert only(changes(request(), NoMore)) == ("$", "kind changed", True)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ((answer(a=int),), (type(None),)),
            ((answer(a=int),), (answer(a=int), type(None))),
            ((answer(a=int), type(None)), (answer(a=int),)),
            ((answer(a=int),), ()),
            ((), (answer(a=int),)),
            ((answer(a=int),), (event(a=int),)),
        ],
    )
    def test_a_reply_is_another(self, old: tuple[type, ...], new: tuple[type, ...]) -> None:
        """Another type of reply, one more or one less breaks."""
        assert breaking(reply_changes(old, new))
        assert reply_changes(old, old) == ()


SAID = {"kind": "event", "role": "tells", "plugin": "house", "schema": {}}


def told(messages: dict[str, Any], **components: Any) -> dict[str, Any]:
    """A document as somebody might write it."""
    return {"format": "aetherra-contract/1", "messages": messages, "$defs": components}


class TestDocuments:
    def test_equal_contracts_differ(self) -> None:
        """A document has no change to itself, however awkward its types."""
        fields = {f"f{at}": wide for at, (wide, _, _) in enumerate(NARROWED)}
        assert changes(event(**fields), event(**fields)) == ()

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            (5, "Expected `object`, got `int`"),
            ({}, "missing required field `format`"),
            ({"format": "openapi", "messages": {}, "$defs": {}}, "format 'openapi'"),
            (told({"a": {**SAID, "kind": "x"}}), "`$.messages[...].kind`"),
            (told({"a": {**SAID, "schema": {"$ref": "#/$defs/X"}}}), "refers to '#/$defs/X'"),
            (told({}, X={"items": {"type": "int"}}), "`$.$defs.X.items`"),
            (told({}, X={"required": 5}), "`$.$defs.X`"),
        ],
    )  # fmt: skip
    def test_another_document_is_taken(self, body: Any, problem: str) -> None:
        """What is no contract is refused with the place in the file."""
        with pytest.raises(ContractError) as caught:
            check_document(body, "old.json")
        assert str(caught.value).startswith("old.json is")
        assert problem in str(caught.value)


# Types and values, drawn. A shape is data, so that another version of it can be drawn from it.

LEAVES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "int": (int, st.integers(-200, 200)),
    "digit": (Low, st.integers(0, 9)),
    "percent": (High, st.integers(0, 99)),
    "positive": (Annotated[int, msgspec.Meta(gt=0)], st.integers(1, 300)),
    "even": (Annotated[int, msgspec.Meta(multiple_of=2)], st.integers(-9, 9).map(lambda n: 2 * n)),
    "float": (float, st.floats(-1e6, 1e6)),
    "share": (Annotated[float, msgspec.Meta(ge=0, lt=1)], st.floats(0, 1, exclude_max=True)),
    "str": (str, st.text(max_size=5)),
    "word": (Annotated[str, msgspec.Meta(min_length=1, max_length=3)], st.text(min_size=1, max_size=3)),
    "bool": (bool, st.booleans()),
    "none": (None, st.none()),
    "ab": (Literal["a", "b"], st.sampled_from(["a", "b"])),
    "abc": (Literal["a", "b", "c"], st.sampled_from(["a", "b", "c"])),
    "one": (Literal[1, 2], st.sampled_from([1, 2])),
    "hue": (Hue, st.sampled_from(Hue)),
    "tint": (Tint, st.sampled_from(Tint)),
    "bytes": (bytes, st.binary(max_size=4)),
    "any": (Any, st.none() | st.integers(-5, 5) | st.text(max_size=2) | st.lists(st.booleans(), max_size=2)),
}
NAMES = ["a", "b", "c"]
Shape = tuple[Any, ...]
leaves = st.sampled_from(sorted(LEAVES)).map(lambda name: ("leaf", name))


def structs(inner: st.SearchStrategy[Shape]) -> st.SearchStrategy[Shape]:
    field = st.tuples(inner, st.booleans(), st.just(()) | st.sampled_from(NAMES).map(lambda name: (name,)))
    return st.tuples(
        st.just("struct"), st.dictionaries(st.sampled_from(NAMES), field, max_size=3).map(dict.items).map(tuple)
    )


shapes = st.recursive(
    leaves,
    lambda inner: (
        st.tuples(st.sampled_from(["list", "dict", "ints", "optional", "pair"]), inner)
        | structs(inner)
        | st.tuples(st.just("tagged"), structs(inner), structs(inner))
    ),
    max_leaves=5,
)


def build(shape: Shape) -> tuple[Any, st.SearchStrategy[Any]]:
    """Return the type of a shape, and its values."""
    match shape:
        case ("leaf", name):
            return LEAVES[name]
        case ("list", inner):
            kind, values = build(inner)
            return list[kind], st.lists(values, max_size=2)
        case ("dict", inner):
            kind, values = build(inner)
            return dict[str, kind], st.dictionaries(st.text(max_size=2), values, max_size=2)
        case ("ints", inner):
            kind, values = build(inner)
            return dict[int, kind], st.dictionaries(st.integers(-9, 9), values, max_size=2)
        case ("optional", inner):
            kind, values = build(inner)
            return (kind if kind in (Any, None) else kind | None), values | st.none()
        case ("pair", inner):
            kind, values = build(inner)
            return tuple[kind, int], st.tuples(values, st.integers(0, 3))
        case ("tagged", first, second):
            one, one_values = build_struct(first, tag="one")
            two, two_values = build_struct(second, tag="two")
            return one | two, one_values | two_values
        case _:
            return build_struct(shape)


def build_struct(shape: Shape, **config: Any) -> tuple[Any, st.SearchStrategy[Any]]:
    fields: dict[str, Any] = {}
    values: dict[str, st.SearchStrategy[Any]] = {}
    for name, (inner, optional, old_names) in shape[1]:
        kind, values[name] = build(inner)
        if old_names:
            kind = Annotated[kind, renamed_from(*old_names)]
        fields[name] = (kind, None) if optional else kind
    made = struct(fields, **config)
    return made, st.fixed_dictionaries(values).map(lambda given: made(**given))


@st.composite
def versions(draw: st.DrawFn) -> tuple[Shape, Shape]:
    """Draw a shape, and another that is like it but for a place or two."""
    old = draw(structs(shapes))

    def changed(shape: Any) -> Any:
        if draw(st.integers(0, 5)) == 0:
            return draw(shapes | st.just(("optional", shape)))
        match shape:
            case ("leaf", _):
                return shape
            case ("struct", _):
                return changed_struct(shape)
            case ("tagged", first, second):
                return ("tagged", changed_struct(first), changed_struct(second))
            case (kind, inner):
                return (kind, changed(inner))

    def changed_struct(shape: Shape) -> Shape:
        fields: dict[str, Shape] = {}
        for name, (inner, optional, old_names) in shape[1]:
            how = draw(st.sampled_from(["keep", "keep", "inside", "optional", "rename", "remove"]))
            if how == "rename":
                fields[draw(st.sampled_from([*NAMES, "d"]))] = (inner, optional, (name,))
            elif how != "remove":
                inside = changed(inner) if how == "inside" else inner
                fields[name] = (inside, optional != (how == "optional"), old_names)
        if draw(st.integers(0, 3)) == 0:
            fields["e"] = (draw(leaves), draw(st.booleans()), ())
        return ("struct", tuple(fields.items()))

    return old, changed_struct(old)


class TestSoundness:
    @settings(max_examples=150, deadline=None)
    @given(pair=versions(), kind=st.sampled_from(["event", "request"]), data=st.data())
    def test_what_is_called_compatible_is_not_read(
        self, pair: tuple[Shape, Shape], kind: str, data: st.DataObject
    ) -> None:
        """If nothing breaks, whatever the old version can write the new one reads."""
        base: Any = Message if kind == "event" else Request[None]
        (old, values), (new, _) = (build_struct(shape, base=base, tag="drawn.thing") for shape in pair)
        if not breaking(changes(old, new)):
            for value in data.draw(st.lists(values, min_size=1, max_size=5)):
                from_json(to_json(value), new)

    @settings(max_examples=100, deadline=None)
    @given(pair=versions(), data=st.data())
    def test_a_reply_that_is_called_compatible_is_not_read(
        self, pair: tuple[Shape, Shape], data: st.DataObject
    ) -> None:
        """If nothing breaks, callers of either version read the replies of either."""
        built = [build_struct(shape, base=Message, tag="drawn.reply") for shape in pair]
        old, new = (request(reply=cls) for cls, _ in built)
        if not breaking(reply_changes((built[0][0],), (built[1][0],))):
            for ask, (_, values) in ((new, built[0]), (old, built[1])):
                read_reply(ask, msgspec.json.decode(to_json(data.draw(values))))

    @settings(max_examples=60, deadline=None)
    @given(shape=structs(shapes))
    def test_a_version_differs_from_itself(self, shape: Shape) -> None:
        """The same declaration, made twice, has no change."""
        first, second = (build_struct(shape, base=Message, tag="drawn.thing")[0] for _ in range(2))
        assert first is not second
        assert changes(first, second) == ()
        assert isinstance(first, MessageMeta)
        assert message_classes(first) == (first,)
