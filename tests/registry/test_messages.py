"""Messages, tags and decoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from aetherra.registry import Message, MessageDefinitionError, MessageValidationError, Request, tag_of
from aetherra.registry.messages import (
    adapt,
    from_builtins,
    message_classes,
    read_reply,
    reply_annotation,
    to_builtins,
)


class Zone(msgspec.Struct, frozen=True):
    name: str
    sizes: list[float] = []


class Heat(Message, tag="heater.heat"):
    zones: list[Zone]
    levels: dict[int, str] = {}


class Warmed(Message, tag="heater.warmed"):
    degrees: float


class Refused(Message, tag="heater.refused"):
    why: str


class Warm(Request["Warmed"], tag="heater.warm"):
    zone: str


class WarmOrNot(Request["Warmed | Refused | None"], tag="heater.warm_or_not"):
    zone: str


AnyReply = TypeVar("AnyReply")


class Typo(Request["Nowhere"], tag="heater.typo"):  # type: ignore[name-defined]
    """Names a reply that is not there."""


class TestTags:
    @pytest.mark.parametrize("tag", ["heater.heat", "a", "self-inc.scan_2", "1.2", "größe.neu"])
    def test_words_joined_by_dots_are_taken(self, tag: str) -> None:
        """A tag is words of letters, digits, '_' and '-', joined by dots."""
        cls = MessageMetaProbe.make(tag)
        assert tag_of(cls) == tag

    @pytest.mark.parametrize("tag", ["", ".", "a.", ".a", "a..b", "a b", "a/b", "a.*", "a[b]", "a\n", 5, True])
    def test_a_bad_tag_is_refused_with_an_example(self, tag: Any) -> None:
        """The error names the class, the tag, and what was expected."""
        with pytest.raises(MessageDefinitionError, match=r"'Probe' has tag .* expected words .*'thermostat.reading'"):
            MessageMetaProbe.make(tag)

    def test_a_base_without_tag_cannot_be_sent(self) -> None:
        """An untagged class says what to write."""

        class Base(Message):
            x: int = 0

        with pytest.raises(MessageDefinitionError, match=r'has no tag; write class Base\(\.\.\., tag="\.\.\."\)'):
            tag_of(Base)

    def test_a_subclass_does_not_inherit_its_bases_tag(self) -> None:
        """Two classes never share a tag by accident of inheritance."""

        class Sub(Warmed):
            more: int = 0

        class Retagged(Sub, tag="heater.more"):
            pass

        with pytest.raises(MessageDefinitionError):
            tag_of(Sub)
        assert tag_of(Retagged) == "heater.more"

    @pytest.mark.parametrize("thing", [5, "heater.heat", None, int, Warmed(1.0)])
    def test_what_is_no_message_class_has_no_tag(self, thing: Any) -> None:
        """Asking anything else for its tag is a clear error, an instance included."""
        with pytest.raises(MessageDefinitionError, match="is no message class"):
            tag_of(thing)


class MessageMetaProbe:
    @staticmethod
    def make(tag: Any) -> type[Message]:
        class Probe(Message, tag=tag):
            pass

        return Probe


class TestMessage:
    def test_a_message_is_frozen(self) -> None:
        """What is passed by reference cannot be changed by who hears it."""
        with pytest.raises(AttributeError):
            Warmed(1.0).degrees = 2.0  # type: ignore[misc]

    def test_a_subclass_cannot_thaw(self) -> None:
        """Asking for a message that can be changed is refused when the class is made."""
        with pytest.raises(MessageDefinitionError, match="'Thawed' is not frozen"):

            class Thawed(Message, tag="heater.thawed", frozen=False):
                pass

    def test_equal_fields_are_equal_messages(self) -> None:
        """Messages are values: compared and hashed by their fields."""
        assert Warmed(1.0) == Warmed(1.0)
        assert len({Warmed(1.0), Warmed(1.0), Warmed(2.0)}) == 2


class TestFromBuiltins:
    def test_builtins_become_the_message(self) -> None:
        """JSON's keys are texts, and those of an int-keyed dict are read as ints."""
        body = {"zones": [{"name": "hall", "sizes": [1, 2.5]}], "levels": {"1": "low"}}

        assert from_builtins(body, Heat) == Heat([Zone("hall", [1.0, 2.5])], {1: "low"})

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            ({"zones": [{"name": "hall"}, {"name": "attic", "sizes": [1, "two"]}]}, r"\$.zones\[1\].sizes\[1\]"),
            ({"zones": [{"name": 5}]}, r"Expected `str`, got `int` - at `\$.zones\[0\].name`"),
            ({}, "missing required field `zones`"),
            ({"zone": []}, r"unknown field 'zone' - at `\$`; expected levels, zones"),
            (5, "Expected `object`, got `int`"),
            ({"zones": [], "$tag": "other"}, "other"),
        ],
    )
    def test_what_does_not_fit_is_named_with_its_path(self, body: Any, problem: str) -> None:
        """The error holds the tag and the path of the field, however deep."""
        with pytest.raises(MessageValidationError, match=problem) as caught:
            from_builtins(body, Heat)
        assert caught.value.tag == "heater.heat"

    def test_the_tag_may_stand_in_the_body(self) -> None:
        """A body that was encoded with its tag reads back."""
        assert from_builtins(to_builtins(Warmed(2.0), tagged=True), Warmed) == Warmed(2.0)

    def test_builtins_out_do_not_hold_the_tag_unless_asked(self) -> None:
        """The tag is in the body only where a reader must tell several types apart."""
        assert to_builtins(Warmed(2.0)) == {"degrees": 2.0}
        assert to_builtins(Warmed(2.0), tagged=True) == {"$tag": "heater.warmed", "degrees": 2.0}
        assert to_builtins(None) is None


class TestReplyAnnotation:
    def test_a_forward_reference_is_found_in_its_module(self) -> None:
        """The reply may be defined below its request."""
        assert reply_annotation(Warm) is Warmed
        assert message_classes(reply_annotation(WarmOrNot)) == (Warmed, Refused, type(None))

    def test_a_local_forward_reference_is_anything(self) -> None:
        """A class local to a function cannot be found by name, and breaks nothing."""

        class Ask(Request["Answer"], tag="local.ask"):
            pass

        class Answer(Message, tag="local.answer"):
            pass

        assert reply_annotation(Ask) is Any
        assert message_classes(Any) == ()

    def test_a_local_class_given_as_itself_is_found(self) -> None:
        """Without quotes there is nothing to look up."""

        class Answer(Message, tag="local.answer"):
            pass

        class Ask(Request[Answer], tag="local.ask"):
            pass

        assert reply_annotation(Ask) is Answer

    def test_a_name_that_is_nowhere_is_anything(self) -> None:
        """A reply imported for type checkers only leaves the handler's own annotation to stand in."""
        assert reply_annotation(Typo) is Any

    def test_nothing_is_a_reply(self) -> None:
        """A request may be answered with None."""

        class Ping(Request[None], tag="local.ping"):
            pass

        assert message_classes(reply_annotation(Ping)) == (type(None),)


class TestReadReply:
    def test_fields_that_the_reader_does_not_name_are_dropped(self) -> None:
        """A program declares the fields that it reads, no more."""
        assert read_reply(Warm, {"degrees": 1, "humidity": 0.4}) == Warmed(1.0)

    def test_a_union_is_told_apart_by_tag(self) -> None:
        """One of several replies comes with its tag."""
        body = to_builtins(Refused("cold"), tagged=True)

        assert read_reply(WarmOrNot, body) == Refused("cold")
        assert read_reply(WarmOrNot, None) is None

    def test_a_misfit_is_named_with_its_path(self) -> None:
        """Whatever the type, the error is ours and says where."""
        with pytest.raises(MessageValidationError, match=r"\$.degrees"):
            read_reply(Warm, {"degrees": "hot"})


class TestAdapt:
    def test_the_same_class_is_passed_as_it_is(self) -> None:
        """No copy is made."""
        message = Heat([])
        assert adapt(message, (Warmed, Heat)) is message

    def test_another_class_of_the_same_tag_is_converted(self) -> None:
        """Fields that are not wanted are dropped, missing ones take their defaults."""

        class Newer(Message, tag="heater.warmed"):
            degrees: float
            unit: str = "C"

        assert adapt(Warmed(1.0), (Newer,)) == Newer(1.0, "C")
        assert adapt(Newer(1.0, "F"), (Warmed,)) == Warmed(1.0)

    def test_a_field_that_does_not_fit_is_named_with_its_path(self) -> None:
        """Conversion validates."""

        class Strange(Message, tag="heater.heat"):
            zones: list[dict[str, int]]

        with pytest.raises(MessageValidationError, match=r"\$.zones\[0\].name"):
            adapt(Strange([{"name": 1}]), (Heat,))

    def test_a_field_that_cannot_be_encoded_is_a_validation_error(self) -> None:
        """A plugin that puts any object into its event gives its hearers no raw TypeError."""

        class WithPath(Message, tag="heater.warmed"):
            degrees: Any

        with pytest.raises(MessageValidationError, match=r"heater\.warmed"):
            adapt(WithPath(Path()), (Warmed,))

    def test_another_tag_is_refused(self) -> None:
        """The error says what was expected and what came."""
        with pytest.raises(MessageValidationError, match="expected 'Heat' or 'Refused', got 'Warmed'"):
            adapt(Warmed(1.0), (Heat, Refused))
        with pytest.raises(MessageValidationError, match="expected 'Heat', got 'NoneType'"):
            adapt(None, (Heat,))
