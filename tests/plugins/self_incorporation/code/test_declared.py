"""What a class says of itself."""

import ast

import msgspec
import pytest

from aetherra.plugins.self_incorporation.code.declared import Constant, Constants, Handler
from aetherra.plugins.self_incorporation.code.facts import Definition, facts_of
from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.syntax import Syntax


def only_class(text: str) -> Definition:
    syntax = Syntax(ast.parse(text))
    (definition,) = (each for each in facts_of(text, syntax, Names(syntax)).definitions if each.kind == "class")
    return definition


class TestAttributes:
    def test_what_a_plugin_says_of_itself_is_read(self) -> None:
        """Plain constants, and names that the module gives a constant once."""
        text = """
GREETING = "greeter"
class Greeter:
    name = GREETING
    service: str = "greeting" + "_service"
    version = "1"
    requires = ("aetherra-api>=1", "homeostasis")
    capabilities = ["publish:greeter.*"]
    exclusive = True
    heartbeat = 2.5
    colour = "red"
"""

        assert only_class(text).constants == {
            "name": "greeter",
            "service": "greeting_service",
            "version": "1",
            "requires": ("aetherra-api>=1", "homeostasis"),
            "capabilities": ("publish:greeter.*",),
            "exclusive": True,
            "heartbeat": 2.5,
        }

    @pytest.mark.parametrize(
        "text",
        [
            "class A:\n    name = compute()",
            "class A:\n    name = f'{x}'",
            "class A:\n    name = 'a'\n    name += 'b'",
            "class A:\n    name = 'a'\n    if x:\n        name = 'b'",
            "class A:\n    for name in 'ab': ...",
            "X = 'a'\nX = 'b'\nclass A:\n    name = X",
            "X = 'a'\nif y:\n    X = 'b'\nclass A:\n    name = X",
            "class A:\n    name = UNKNOWN",
            "class A:\n    name = ('a', b)",
            "class A:\n    name = " + "9" * 30,
            "class A:\n    name = 1e999",
            "class A:\n    name = '\\ud800'",
            "class A:\n    name = '" + "a" * 2001 + "'",
        ],
    )
    def test_what_only_running_would_tell_is_a_constant(self, text: str) -> None:
        """It is never guessed, and never kept where it cannot be written down."""
        assert only_class(text).constants == {}

    def test_the_last_of_two_constants_counts(self) -> None:
        """As it does for Python."""
        assert only_class("class A:\n    name = x\n    name = 'a'\n    name = 'b'").constants == {"name": "b"}

    def test_keywords_of_a_class_are_read(self) -> None:
        """The tag of a message stands there; what is unpacked or computed does not."""
        text = "TAG = 'a.c'\nclass A(Message, tag=TAG, frozen=True, order=x(), **more): ..."

        assert only_class(text).keywords == {"tag": "a.c", "frozen": True}

    @pytest.mark.parametrize("value", ["a", 1, 2.0, True, None, ("a", "b"), ()])
    def test_a_constant_survives_being_written_down(self, value: Constant) -> None:
        """In the index it is JSON."""
        assert msgspec.json.decode(msgspec.json.encode(value), type=Constant) == value
        found = Constants(ast.parse(f"X = {value!r}")).of(ast.Name("X"))
        assert found == (value,)


class TestHandlers:
    def test_the_message_of_a_handler_is_named_as_what_it_stands_for(self) -> None:
        """Imported, of the same file, quoted, generic; or unknown."""
        text = """
from aetherra.plugins import handler, every
from aetherra.plugins.homeostasis.messages import Heal as H
from . import messages as m
class A:
    @handler
    async def a(self, request: H) -> None: ...
    @handler(limit=1)
    def b(self, request: m.Ask): ...
    @handler
    def c(self, request: Own): ...
    @handler
    def d(self, request: "Own"): ...
    @handler
    def e(self, request: Box[int]): ...
    @handler
    def f(self, request): ...
    @handler
    def g(self, request: "Own | Other"): ...
    @every(1)
    def h(self): ...
    @other.handler
    def i(self, request: Own): ...
"""

        assert only_class(text).handlers == (
            Handler("a", "aetherra.plugins.homeostasis.messages.Heal"),
            Handler("b", ".messages.Ask"),
            Handler("c", "Own"),
            Handler("d", "Own"),
            Handler("e", "Box"),
            Handler("f", ""),
            Handler("g", ""),
        )
