"""Messages that are declared again by whoever hears or asks without an import: they say what their originals say."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from aetherra.registry import Message, Request
from aetherra.registry.contract import compare
from aetherra.registry.document import Declared, contract_document
from aetherra.registry.messages import message_classes, reply_annotation, tag_of

ROOT = Path(__file__).parents[1]
LAYERS = ("registry", "kernel", "hmr", "plugins")
OWN_WORDS = re.compile(r"aetherra\.(?:registry\..*|kernel\..*|(?:hmr|plugins\.\w+)\.messages(?:\.\w+)?)")
"""Where messages are declared that others may declare again; what is below those others does not know them."""


def package_of(message_type):
    """Return the layer or plugin that a class belongs to."""
    return re.match(r"aetherra\.(?:plugins\.)?\w+", message_type.__module__)[0]


def declared():
    """Yield each message that is declared anywhere."""
    for path in sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")):
        if ' tag="' in path.read_text(encoding="utf-8"):
            module = importlib.import_module(".".join(("aetherra", *path.relative_to(ROOT).with_suffix("").parts)))
            for value in vars(module).values():
                if isinstance(value, type) and issubclass(value, Message) and value.__module__ == module.__name__:
                    yield value


MESSAGES = [message_type for message_type in declared() if message_type.__struct_config__.tag]
ORIGINALS = {tag_of(one): one for one in MESSAGES if OWN_WORDS.fullmatch(one.__module__)}


def owners(tag):
    """Return who has messages of their own that begin as this tag does."""
    head = tag.partition(".")[0]
    return {package_of(one) for own, one in ORIGINALS.items() if own.partition(".")[0] == head}


COPIES = [
    one
    for one in MESSAGES
    if ORIGINALS.get(tag_of(one)) is not one and package_of(one) not in (owners(tag_of(one)) or {package_of(one)})
]


def document(message_type):
    """Return the contract of one message, but for what it is answered with, which is a message of its own."""
    return contract_document([Declared(message_type, "", "tells")])


def differences(copy, original):
    """Yield in what a message that is declared again is not what its original is."""
    if original is None:
        yield f"nobody says {tag_of(copy)}"
        return
    is_said = issubclass(copy, Request)
    written, read = (copy, original) if is_said else (original, copy)
    unknown = "field removed" if is_said else "field added"
    harmless = () if is_said else ("field removed", "made required")  # all fields are told, with defaults or without
    for change in compare(document(written), document(read)):
        if change.kind in (unknown, "field renamed") or (change.breaking and change.kind not in harmless):
            yield str(change)
    if is_said and issubclass(original, Request):
        replies = [
            {tag_of(reply) for reply in message_classes(reply_annotation(one)) if issubclass(reply, Message)}
            for one in (copy, original)
        ]
        if replies[0] != replies[1]:
            yield f"{tag_of(copy)} is answered with {replies[1]}, not with {replies[0]}"


@pytest.mark.parametrize("copy", COPIES, ids=lambda copy: f"{copy.__module__}.{copy.__name__}")
def test_a_message_is_declared_again_as_another(copy):
    """It has a tag that somebody says, and no field that the original has not; what one writes the other can read."""
    assert list(differences(copy, ORIGINALS.get(tag_of(copy)))) == []


def test_messages_that_are_declared_again_are_not_found():
    """Those of hot swap are among them, said by two plugins at least."""
    assert len({package_of(copy) for copy in COPIES if tag_of(copy).startswith("hmr.")}) > 1


class TestDifferences:
    def test_a_field_of_another_name_or_type_goes_unseen(self):
        """Whoever reads less, or a wider type, is right; whoever reads what is not said, or cannot read it, is not."""

        class Told(Message, tag="declarations.told"):
            plugin: str
            share: float = 0.5

        class Less(Message, tag="declarations.told"):
            plugin: str | None

        class Named(Message, tag="declarations.told"):
            plugin_name: str = ""

        class Typed(Message, tag="declarations.told"):
            plugin: int

        assert list(differences(Less, Told)) == []
        for wrong, original in ((Named, Told), (Typed, Told), (Told, None)):
            assert list(differences(wrong, original)) != [], wrong

    def test_a_request_says_what_nobody_knows(self):
        """It says all that is asked for, and nothing else, and reckons with the reply that comes."""

        class Reply(Message, tag="declarations.reply"):
            pass

        class Other(Message, tag="declarations.other_reply"):
            pass

        class Ask(Request[Reply], tag="declarations.ask"):
            plugin: str
            force: bool = False

        class Brief(Request[Reply], tag="declarations.ask"):
            plugin: str

        class Silent(Request[Reply], tag="declarations.ask"):
            pass

        class Unknown(Request[Reply], tag="declarations.ask"):
            plugin: str
            forced: bool = False

        class Elsewhere(Request[Other], tag="declarations.ask"):
            plugin: str

        class Event(Message, tag="declarations.ask"):
            plugin: str

        assert list(differences(Brief, Ask)) == []
        for wrong in (Silent, Unknown, Elsewhere, Event):
            assert list(differences(wrong, Ask)) != [], wrong
