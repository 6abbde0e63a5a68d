"""Fields that had other names: what old senders say is read, wherever the field stands."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from aetherra.registry import Message, MessageDefinitionError, MessageValidationError, Request, tag_of
from aetherra.registry.messages import (
    MessageMeta,
    adapt,
    from_builtins,
    from_json,
    read_reply,
    renamed_from,
    reply_from_json,
)

Who = Annotated[str, renamed_from("name", "nick")]


class Guest(msgspec.Struct, frozen=True):
    who: Who
    age: int = 0


class Group(msgspec.Struct, frozen=True, tag="group"):
    members: Annotated[tuple[Guest, ...], renamed_from("guests")] = ()


class Pair(msgspec.Struct, frozen=True, tag="pair"):
    both: tuple[Guest, Guest]


class Couple(msgspec.Struct, frozen=True, array_like=True):
    first: Guest
    second: Guest


class Greet(Message, tag="party.greet"):
    who: Who
    loud: Annotated[bool, renamed_from("shout")] = False


class Seat(Message, tag="party.seat"):
    host: Guest
    tables: dict[str, list[Guest]] = {}
    party: Group | Pair | None = None
    head: Couple | None = None
    beside: list[Seat] = []


class AskSeat(Request[Seat], tag="party.ask_seat"):
    table: Annotated[str, msgspec.Meta(min_length=1), renamed_from("desk")]


def every_way(body: dict[str, Any], wanted: type[Message]) -> list[Any]:
    """Read a body by each way there is."""
    fields = {"__annotations__": dict.fromkeys(body, Any), "__module__": __name__}
    message = MessageMeta("Stranger", (Message,), fields, tag=tag_of(wanted))(**body)
    return [from_builtins(body, wanted), from_json(msgspec.json.encode(body), wanted), adapt(message, (wanted,))]


class TestOldNames:
    @pytest.mark.parametrize(
        ("body", "wanted", "read"),
        [
            ({"name": "Ada"}, Greet, Greet("Ada")),
            ({"nick": "Ada", "shout": True}, Greet, Greet("Ada", True)),
            ({"who": "Ada", "name": "Bob"}, Greet, Greet("Ada")),
            ({"host": {"name": "Ada", "age": 3}}, Seat, Seat(Guest("Ada", 3))),
            ({"host": {"who": "A"}, "tables": {"t": [{"nick": "B"}]}}, Seat, Seat(Guest("A"), {"t": [Guest("B")]})),
            (
                {"host": {"who": "A"}, "party": {"type": "group", "guests": [{"name": "B"}]}},
                Seat,
                Seat(Guest("A"), party=Group((Guest("B"),))),
            ),
            (
                {"host": {"who": "A"}, "party": {"type": "pair", "both": [{"name": "B"}, {"nick": "C"}]}},
                Seat,
                Seat(Guest("A"), party=Pair((Guest("B"), Guest("C")))),
            ),
            (
                {"host": {"who": "A"}, "head": [{"name": "B"}, {"name": "C"}]},
                Seat,
                Seat(Guest("A"), head=Couple(Guest("B"), Guest("C"))),
            ),
            (
                {"host": {"name": "A"}, "beside": [{"$tag": "party.seat", "host": {"name": "B"}}]},
                Seat,
                Seat(Guest("A"), beside=[Seat(Guest("B"))]),
            ),
        ],
    )
    def test_an_old_name_is_not_read(self, body: dict[str, Any], wanted: type[Message], read: Message) -> None:
        """The old name stands in where the new one is missing, at the top and in whatever is nested."""
        assert every_way(body, wanted) == [read] * 3

    def test_a_reply_is_not_read_by_its_old_names(self) -> None:
        """A caller reads the reply of an older provider, too."""
        body = {"host": {"name": "Ada"}, "more": 1}

        assert read_reply(AskSeat, body) == Seat(Guest("Ada"))
        assert reply_from_json(AskSeat, msgspec.json.encode(body)) == Seat(Guest("Ada"))

    def test_a_misfit_under_an_old_name_has_no_path(self) -> None:
        """The path names the field as it is called today."""
        for read in (from_builtins, lambda body, cls: from_json(msgspec.json.encode(body), cls)):
            with pytest.raises(MessageValidationError, match=r"got `int` - at `\$.host.who`"):
                read({"host": {"name": 5}}, Seat)

    def test_an_unknown_field_is_taken_for_an_old_name(self) -> None:
        """Only names that are declared are taken."""
        with pytest.raises(MessageValidationError, match=r"unknown field 'nam' - at `\$`; expected loud, who"):
            from_json(b'{"nam": "Ada"}', Greet)

    def test_a_name_that_is_used_again_is_taken_away(self) -> None:
        """An old name that is another field's today is that field's."""

        class Swapped(Message, tag="party.swapped"):
            first: Annotated[str, renamed_from("second")] = ""
            second: str = ""

        assert from_builtins({"second": "b"}, Swapped) == Swapped("", "b")

    def test_a_body_is_changed(self) -> None:
        """What the caller gave is left as it was."""
        body = {"host": {"name": "Ada"}}
        from_builtins(body, Seat)
        assert body == {"host": {"name": "Ada"}}


class TestDeclaration:
    def test_it_is_not_in_the_schema(self) -> None:
        """Old names stand in the field's JSON Schema, beside what else is said of it."""
        field = msgspec.json.schema(AskSeat)["$defs"]["AskSeat"]["properties"]["table"]
        assert field == {"type": "string", "minLength": 1, "x-renamed-from": ["desk"]}

    @pytest.mark.parametrize("names", [(), ("",), (5,)])
    def test_nothing_is_declared(self, names: tuple[Any, ...]) -> None:
        """A mark that says nothing is a mistake, said when the class is made."""
        with pytest.raises(MessageDefinitionError, match=r'expected old names, as in renamed_from\("name"\)'):
            renamed_from(*names)


def test_a_field_that_came_of_a_split_one_is_missing() -> None:
    """Two fields may have been one; the one that is there already takes nothing from the other."""

    class Split(Message, tag="party.split"):
        first: Annotated[str, renamed_from("name")]
        last: Annotated[str, renamed_from("name")]

    assert from_builtins({"name": "Ada"}, Split) == Split("Ada", "Ada")
    assert from_builtins({"first": "Ada", "name": "Lovelace"}, Split) == Split("Ada", "Lovelace")
