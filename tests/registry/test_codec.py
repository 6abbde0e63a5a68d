"""Reading and writing of one message class: all ways agree, bad values are one error, and nothing is kept alive."""

from __future__ import annotations

import datetime as dt
import decimal
import gc
import math
import sys
import types
import uuid
import weakref
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.registry import Message, MessageValidationError, Request
from aetherra.registry.messages import (
    MessageMeta,
    adapt,
    from_builtins,
    from_json,
    reply_from_json,
    to_builtins,
    to_json,
)

DEFINITIONS = """
import datetime, enum, msgspec, uuid
from typing import Annotated, Any, Literal
from aetherra.registry import Message

class Hue(enum.Enum):
    RED = "red"
    BLUE = "blue"

class D(msgspec.Struct, frozen=True):
    d: int
    e: bytes = b""

class C(msgspec.Struct, frozen=True, rename="camel"):
    the_c: D

class Near(msgspec.Struct, frozen=True, tag="near"):
    x: int

class Far(msgspec.Struct, frozen=True, tag="far"):
    x: int

class Deep(Message, tag="codec.deep"):
    a: dict[str, list[C]] = {}
    place: Near | Far | None = None
    hue: Hue = Hue.RED
    anything: Any = None
    kids: "list[Deep]" = []

class Bulky(Message, tag="codec.bulky"):
    floats: list[float] = []
    blob: bytes = b""
    when: list[datetime.datetime] = []
    by_name: dict[str, int | None] = {}
    ids: tuple[uuid.UUID, ...] = ()

class Flat(Message, tag="codec.flat"):
    text: str
    number: Annotated[int, msgspec.Meta(ge=0)] = 0
    share: float = 0.5
    kind: Literal["a", "b"] = "a"
"""


def generation(number: int) -> Any:
    """Load the definitions anew, as a reload does."""
    module = types.ModuleType(f"codec_test@{number}")
    sys.modules[module.__name__] = module
    exec(compile(DEFINITIONS, module.__name__, "exec", dont_inherit=True), vars(module))
    return module


OLD, NEW = generation(1), generation(2)


def plainly(message: Message, wanted: type[Message]) -> Message:
    """Convert as it is promised: what is written as JSON can be read."""
    return msgspec.convert(msgspec.to_builtins(message), wanted, str_keys=True)


class TestAdapt:
    @pytest.mark.parametrize(
        "message",
        [
            OLD.Deep({"b": [OLD.C(OLD.D(1, b"\x00")), OLD.C(OLD.D(2))]}),
            OLD.Deep(place=OLD.Far(1), hue=OLD.Hue.BLUE),
            OLD.Deep(anything={"k": [1, None, "x"]}, kids=[OLD.Deep(place=OLD.Near(2))]),
            OLD.Bulky([1.0, 2], b"abc", [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)], {"a": None, "b": 3}),
            OLD.Bulky(ids=(uuid.UUID(int=3),)),
            OLD.Flat("x", 5, 1.0, "b"),
        ],
        ids=repr,
    )
    def test_the_fast_way_gives_another_value(self, message: Message) -> None:
        """However it is converted, the values are those that its JSON would give."""
        wanted = getattr(NEW, type(message).__name__)
        assert adapt(message, (wanted,)) == plainly(message, wanted)

    def test_an_object_of_the_old_generation_comes_through(self) -> None:
        """A field that takes anything is given builtins, not what the other generation's code defined."""
        converted = adapt(OLD.Deep(anything=OLD.Far(1)), (NEW.Deep,))
        assert converted.anything == {"type": "far", "x": 1}

    def test_a_list_is_shared(self) -> None:
        """What can be changed is copied, so that no reader changes what another holds."""
        message = OLD.Bulky([1.0], by_name={"a": 1})
        converted = adapt(message, (NEW.Bulky,))
        assert converted.floats is not message.floats
        assert converted.by_name is not message.by_name

    def test_an_attributes_name_is_taken_for_the_fields(self) -> None:
        """What counts is the name on the wire, however each class calls its attribute."""
        old, new = (renamed_on_the_wire("items", name) for name in ("a", "b"))
        with pytest.raises(MessageValidationError, match="missing required field `b`"):
            adapt(old([1]), (new,))
        assert adapt(old([1]), (renamed_on_the_wire("things", "a"),)).things == [1]

    def test_bytes_are_written_as_text_on_the_way(self) -> None:
        """A large value inside is passed on, not encoded and decoded again."""
        blob = b"x" * 1000
        converted = adapt(OLD.Deep({"b": [OLD.C(OLD.D(1, blob))]}), (NEW.Deep,))
        assert converted.a["b"][0].the_c.e is blob

    def test_a_method_is_taken_for_a_field(self) -> None:
        """Only fields are read: what the other class has under a name otherwise is none of them."""

        class WithMethod(Message, tag="codec.bulky"):
            floats: list[float]

            @property
            def blob(self) -> bytes:
                return b"not a field"

        assert adapt(WithMethod([1.0]), (NEW.Bulky,)) == NEW.Bulky([1.0])

    def test_another_tag_inside_is_overlooked(self) -> None:
        """A nested struct is told by its tag, not by its looks."""

        class OnlyNear(Message, tag="codec.deep"):
            place: NEW.Near

        with pytest.raises(MessageValidationError, match=r"Invalid value 'far' - at `\$.place.type`"):
            adapt(OLD.Deep(place=OLD.Far(1)), (OnlyNear,))

    @pytest.mark.parametrize(
        ("message", "wanted", "problem"),
        [
            (OLD.Deep({"b": [OLD.C(OLD.D(0)), OLD.C(OLD.D("x"))]}), NEW.Deep, r"at `\$.a\[...\]\[1\].theC.d`"),
            (OLD.Bulky([1.0, "x"]), NEW.Bulky, r"Expected `float`, got `str` - at `\$.floats\[1\]`"),
            (OLD.Flat("x", -1), NEW.Flat, r">= 0 - at `\$.number`"),
            (OLD.Bulky(by_name={"a": "x"}), NEW.Bulky, r"at `\$.by_name\[...\]`"),
        ],
    )  # fmt: skip
    def test_a_fault_has_no_path(self, message: Message, wanted: type[Message], problem: str) -> None:
        """Whichever way is taken, the error names the field, however deep."""
        with pytest.raises(MessageValidationError, match=problem):
            adapt(message, (wanted,))

    def test_the_path_of_a_fault_at_depth_five_is_wrong(self) -> None:
        """Each step of the path is there."""
        d = msgspec.defstruct("D", [("d", Any)])
        c = msgspec.defstruct("C", [("c", d)])
        a = msgspec.defstruct("A", [("b", list[c])])  # type: ignore[valid-type]
        strict_d = msgspec.defstruct("D", [("d", int)])
        strict_c = msgspec.defstruct("C", [("c", strict_d)])
        strict_a = msgspec.defstruct("A", [("b", list[strict_c])])  # type: ignore[valid-type]
        source, wanted = message_type(a=a), message_type(a=strict_a)

        with pytest.raises(MessageValidationError, match=r"Expected `int`, got `str` - at `\$.a.b\[2\].c.d`"):
            adapt(source(a=a([c(d(0)), c(d(1)), c(d("two"))])), (wanted,))
        with pytest.raises(MessageValidationError, match=r"Expected `int`, got `str` - at `\$.a.b\[2\].c.d`"):
            from_json(b'{"a":{"b":[{"c":{"d":0}},{"c":{"d":1}},{"c":{"d":"two"}}]}}', wanted)

    @pytest.mark.parametrize(
        "value",
        [uuid.UUID(int=1), decimal.Decimal("1.5"), dt.date(2024, 1, 2), b"abc", dt.timedelta(seconds=3)],
    )
    def test_what_json_writes_as_a_text_cannot_be_read_as_one(self, value: Any) -> None:
        """A reader may declare a text where the sender has a richer type, as a reader in another language must."""
        texts = message_type(field=str)(field=msgspec.to_builtins(value))
        assert adapt(message_type(field=type(value))(field=value), (type(texts),)) == texts


def renamed_on_the_wire(attribute: str, name: str) -> Any:
    """Make a message class whose one field has another name in JSON."""
    fields = {"__annotations__": {attribute: list[int]}, attribute: msgspec.field(name=name), "__module__": __name__}
    return MessageMeta("Renamed", (Message,), fields, tag="codec.renamed")


def message_type(**fields: Any) -> Any:
    """Make a message class."""
    return MessageMeta("Made", (Message,), {"__annotations__": fields, "__module__": __name__}, tag="codec.made")


class TestCollection:
    def test_a_retired_generation_is_kept_alive(self) -> None:
        """Classes that were converted from, to, decoded and encoded go when nobody uses them."""

        def converse() -> list[weakref.ref[type]]:
            class Old(Message, tag="codec.flat"):
                text: str
                more: list[int] = []

            class New(Message, tag="codec.flat"):
                text: str
                more: list[int] = []

            for source, wanted in ((Old, New), (New, Old), (Old, NEW.Flat), (NEW.Flat, Old)):
                adapt(source("x"), (wanted,))
            for cls in (Old, New):
                assert from_json(to_json(cls("x")), cls) == cls("x")
                assert from_builtins(to_builtins(cls("x")), cls) == cls("x")
                with pytest.raises(MessageValidationError):
                    from_json(b'{"text": 5}', cls)
            return [weakref.ref(Old), weakref.ref(New)]

        references = converse()
        gc.collect()
        assert [reference() for reference in references] == [None, None]


class TestJson:
    def test_a_message_is_written_with_its_tag(self) -> None:
        """The tag is in the bytes only when asked for, and nothing else changes."""
        assert to_json(NEW.Flat("x")) == b'{"text":"x","number":0,"share":0.5,"kind":"a"}'
        assert to_json(NEW.Flat("x"), tagged=True).startswith(b'{"$tag":"codec.flat","text":"x"')
        assert to_json(message_type()()) == b"{}"
        assert to_json(None) == b"null"

    def test_it_is_not_what_the_builtins_are(self) -> None:
        """Bytes and builtins say the same of one message."""
        for message in (NEW.Flat("x"), NEW.Deep(place=NEW.Far(1)), NEW.Bulky(blob=b"xyz"), message_type()()):
            for tagged in (True, False):
                body = to_builtins(message, tagged=tagged)
                assert msgspec.json.decode(to_json(message, tagged=tagged)) == msgspec.json.decode(
                    msgspec.json.encode(body)
                )

    @pytest.mark.parametrize(
        ("raw", "problem"),
        [
            (b'{"text": "x", "txt": 1}', r"unknown field 'txt' - at `\$`; .*did you mean 'text'"),
            (b"{}", "missing required field `text`"),
            (b'{"text": 5}', r"Expected `str`, got `int` - at `\$.text`"),
            (b'{"text": "x", "number": -1}', r">= 0` - at `\$.number`|>= 0 - at `\$.number`"),
            (b'{"text": "x", "$tag": "codec.other"}', "Invalid value 'codec.other'"),
            (b"[]", "Expected `object`, got `array`"),
            (b"null", "Expected `object`, got `null`"),
            (b"", "truncated"),
            (b"{", "truncated"),
            (b'{"text": NaN}', "malformed"),
            (b'{"text": "x", "share": Infinity}', "malformed"),
            (b'{"text": "x", "share": 1e999}', "out of range"),
            (b'{"text": "x", "number": ' + b"9" * 5000 + b"}", "out of range"),
            (b'{"text": "\xff"}', "utf-8"),
            (b'{"text": "\\ud800"}', "JSON is malformed|truncated"),
            (b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply|got `array`"),
            (b'{"more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        ],
        ids=lambda value: repr(value[:30]),
    )  # fmt: skip
    def test_what_does_not_fit_is_another_error(self, raw: bytes, problem: str) -> None:
        """Bytes that cannot be read are one error, which names the tag and what is wrong."""
        with pytest.raises(MessageValidationError, match=problem) as caught:
            from_json(raw, NEW.Flat)
        assert caught.value.tag == "codec.flat"

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_what_json_cannot_say_is_written_as_null(self, value: float) -> None:
        """A reader would take null for nothing; the writer is told instead, with the path."""
        for message, path in (
            (NEW.Flat("x", share=value), r"\$.share"),
            (NEW.Bulky([0.0, value]), r"\$.floats\[1\]"),
            (NEW.Deep(anything={"k": value}), r"\$.anything.k"),
        ):
            with pytest.raises(MessageValidationError, match=rf"got `-?(nan|inf)` - at `{path}`"):
                to_json(message)

    @pytest.mark.parametrize(
        "value",
        [object(), "\ud800", {(1, 2): 3}, {"k": {1: object()}}],
        ids=["an object", "half a character", "a pair as a key", "an object within"],
    )
    def test_what_cannot_be_written_is_another_error(self, value: Any) -> None:
        """Whatever stands in a field, it is said as a fault of the message."""
        with pytest.raises(MessageValidationError, match=r"codec\.deep"):
            to_json(NEW.Deep(anything=value))

    def test_a_circle_is_another_error(self) -> None:
        """A value that holds itself has no end, and that is said."""
        circle: list[Any] = []
        circle.append(circle)
        for write in (to_json, to_builtins, lambda message: adapt(message, (OLD.Deep,))):
            with pytest.raises(MessageValidationError, match="nested too deeply"):
                write(NEW.Deep(anything=circle))

    def test_a_field_by_keyword_only_or_with_another_name_is_lost(self) -> None:
        """Classes are written in many ways, and all are read."""

        class Odd(Message, tag="codec.odd", kw_only=True):
            first: Annotated[int, msgspec.Meta(ge=1)] = msgspec.field(name="One")
            items: list[int] = msgspec.field(default_factory=lambda: [7])
            maybe: int | msgspec.UnsetType = msgspec.UNSET

        class Line(Message, tag="codec.line", array_like=True):
            x: int
            y: int = 0

        assert from_json(b'{"One": 3}', Odd) == Odd(first=3)
        assert from_json(to_json(Odd(first=2, maybe=4)), Odd) == Odd(first=2, maybe=4)
        assert from_json(to_json(Line(1)), Line) == Line(1)
        with pytest.raises(MessageValidationError, match="unknown field 'first'"):
            from_json(b'{"first": 3}', Odd)

    def test_what_a_message_checks_itself_is_not_said(self) -> None:
        """A message's own ``__post_init__`` is heard, once."""
        made: list[int] = []

        class Even(Message, tag="codec.even"):
            number: int

            def __post_init__(self) -> None:
                made.append(self.number)
                if self.number % 2:
                    raise ValueError("odd")

        assert from_json(b'{"number": 2}', Even) == Even(2)
        assert made == [2, 2]
        with pytest.raises(MessageValidationError, match="odd"):
            from_json(b'{"number": 3}', Even)


NUMBERS = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.sampled_from(["text", "a", "x", "number", "type"]) | st.text()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=12,
)
ANYTHING = st.recursive(
    JSON | st.floats() | st.binary() | st.integers() | st.characters() | st.uuids() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner) | st.tuples(inner),
    max_leaves=12,
)


def read(way: Callable[[], Any]) -> Any:
    """Return what it returns, ``None`` if it is refused as a message ought to be."""
    try:
        return way()
    except MessageValidationError:
        return None


TYPES = st.sampled_from([NEW.Flat, NEW.Deep, NEW.Bulky])


class TestFuzz:
    @given(
        raw=st.binary() | JSON.map(msgspec.json.encode) | JSON.map(lambda v: msgspec.json.encode(v)[:-1]), wanted=TYPES
    )
    def test_bytes_end_in_another_error(self, raw: bytes, wanted: type[Message]) -> None:
        """Any bytes are a message or a ``MessageValidationError``."""
        message = read(lambda: from_json(raw, wanted))
        if message is not None:
            assert from_json(to_json(message), wanted) == message

    @given(body=st.dictionaries(st.sampled_from(["text", "number", "share", "kind", "a", "x"]), JSON), wanted=TYPES)
    def test_bytes_and_builtins_are_read_apart(self, body: Any, wanted: type[Message]) -> None:
        """What is said in JSON and what is said in builtins is the same message, or refused alike."""
        raw = msgspec.json.encode(body)
        assert read(lambda: from_builtins(body, wanted)) == read(lambda: from_json(raw, wanted))

    @given(body=ANYTHING, wanted=TYPES)
    def test_builtins_end_in_another_error(self, body: Any, wanted: type[Message]) -> None:
        """Any value is a message or a ``MessageValidationError``."""
        read(lambda: from_builtins(body, wanted))

    @given(value=ANYTHING)
    def test_a_value_that_cannot_be_written_ends_in_another_error(self, value: Any) -> None:
        """Any value in a field is written and converted, or is a ``MessageValidationError``."""
        message = OLD.Deep(anything=value)
        for use in (to_json, to_builtins, lambda message: adapt(message, (NEW.Deep,))):
            read(lambda use=use: use(message))  # type: ignore[misc]


class Ping(Request[None], tag="codec.ping"):
    """Has no fields."""


class Pair(Request["NEW.Flat | NEW.Bulky | None"], tag="codec.pair"):
    """Has several replies."""


class TestRequests:
    def test_a_reply_is_read_otherwise(self) -> None:
        """From JSON and from builtins a reply is the same, told apart by its tag, with the same words for a fault."""
        for reply in (NEW.Flat("x"), NEW.Bulky([1.0]), None):
            assert reply_from_json(Pair, to_json(reply, tagged=True)) == reply
        with pytest.raises(MessageValidationError, match=r"'codec.pair': Expected `str`, got `int` - at `\$.text`"):
            reply_from_json(Pair, b'{"$tag": "codec.flat", "text": 5}')
        for raw in (b"\xff", b"{", b"[" * 100_000, b"5"):
            with pytest.raises(MessageValidationError, match=r"codec\.pair"):
                reply_from_json(Pair, raw)

    def test_fields_that_a_reader_does_not_name_are_refused(self) -> None:
        """A program declares the fields of a reply that it reads, no more; a reply of no known type is builtins."""

        class Ask(Request["NEW.Flat"], tag="codec.ask"):
            """Has one reply."""

        class AskAnything(Request["nowhere"], tag="codec.ask_anything"):  # type: ignore[name-defined]
            """Has any."""

        assert reply_from_json(Ask, b'{"text": "x", "more": 1}') == NEW.Flat("x")
        assert reply_from_json(AskAnything, b'{"text": "x"}') == {"text": "x"}

    def test_a_request_is_read_otherwise(self) -> None:
        """A request is a message; one without fields is an empty object."""
        assert from_json(b"{}", Ping) == Ping()
        assert to_json(Ping()) == b"{}"
