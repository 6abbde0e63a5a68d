"""Which messages are in a contract: a host's, a plugin's, and that of code that nobody runs."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from aetherra.kernel import Config, Kernel, Plugin, handler
from aetherra.kernel.contracts import source_contract
from aetherra.registry import Message, Request
from aetherra.registry.asyncapi import asyncapi_document
from aetherra.registry.contract import ContractError, compare

OFFICIAL = Path(__file__).parents[1] / "asyncapi" / "3.0.0-without-id.json.gz"
PLUGIN = '''
import datetime, enum
from typing import Annotated, Any, Literal
import msgspec
from aetherra.plugins import Message, Plugin, Request, handler

class Zone(msgspec.Struct, frozen=True, tag="zone"):
    name: str
    near: "list[Zone]" = []

class Spot(msgspec.Struct, frozen=True, array_like=True):
    at: tuple[float, float]
    tags: frozenset[str] = frozenset()

class Heard(Message, tag="elsewhere.heard"):
    n: int

class Told(Message, tag="room.told"):
    """It is told."""
    when: datetime.datetime
    by_number: dict[int, Zone | None] = {}

class Quiet(Message, tag="room.quiet"):
    """Published by hand."""

class Answer(Message, tag="room.answer"):
    spot: Spot

class Refused(Message, tag="room.refused"):
    why: Literal["cold", "late"]

class Ask(Request[Answer | Refused | None], tag="room.ask"):
    """Ask the room."""
    zones: Annotated[list[Zone], msgspec.Meta(max_length=3)] = []
    anything: Any = None

class AskElsewhere(Request[None], tag="elsewhere.ask"):
    """Is answered by somebody else."""

class Room(Plugin):
    @handler
    async def ask(self, request: Ask) -> Answer | Refused | None: ...

    @handler
    async def hear(self, event: Heard) -> Told: ...
'''


class Question(Request["Reply"], tag="contracts_test.question"):
    """Asked in a test."""


class Reply(Message, tag="contracts_test.reply"):
    a: int = 0


class Local(Plugin):
    @handler
    async def answer(self, question: Question) -> Reply:
        return Reply()


@pytest.fixture
def room(tmp_path: Path) -> Path:
    file = tmp_path / "room.py"
    file.write_text(PLUGIN, encoding="utf-8")
    return file


def told(document: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    """Who has to do with which tag, and how."""
    return {tag: (m["plugin"], m["kind"], m["role"]) for tag, m in document["messages"].items()}


class TestHost:
    async def test_a_message_is_missing_or_given_to_another(self, room: Path) -> None:
        """What is answered, told and heard is there, with whose it is; a request that nobody answers is not."""
        config = Config.parse(
            {
                "kernel": {"data_dir": None, "discover": True, "durability": "none"},
                "plugins": {"room": {"source": room.name}},
            },
            root=room.parent,
        )
        async with Kernel(config) as kernel:
            await kernel.add_plugin(Local)
            assert [info.name for info in kernel.plugins() if info.state != "serving"] == []
            document = (await kernel.call_tag("kernel.contracts"))["document"]

        found = told(document)
        assert found["room.ask"] == ("room", "request", "answers")
        assert found["room.told"] == found["room.quiet"] == ("room", "event", "tells")
        assert found["elsewhere.heard"] == ("room", "event", "hears")
        assert "elsewhere.ask" not in found
        assert found["contracts_test.question"] == ("local", "request", "answers")
        assert found["kernel.contracts"] == ("host", "request", "answers")
        assert found["service.registered"] == found["kernel.loop_blocked"] == ("host", "event", "tells")
        assert found["homeostasis.measured"] == ("homeostasis", "event", "tells")
        assert found["hmr.reload"] == ("hmr", "request", "answers")
        assert document["messages"]["room.ask"]["summary"] == "Ask the room."

        jsonschema.Draft202012Validator.check_schema(document)
        assert compare(document, json.loads(json.dumps(document))) == ()
        schema = json.loads(gzip.decompress(OFFICIAL.read_bytes()))
        validator = jsonschema.validators.validator_for(schema)(schema)
        asyncapi = json.loads(json.dumps(asyncapi_document(document, title="Host", version="1")))
        assert [error.json_path for error in validator.iter_errors(asyncapi)] == []

    async def test_a_plugin_that_is_gone_is_still_told(self) -> None:
        """The contract is that of who serves now."""
        async with Kernel() as kernel:
            await kernel.add_plugin(Local)
            await kernel.remove_plugin("local")
            assert "contracts_test.question" not in (await kernel.call_tag("kernel.contracts"))["document"]["messages"]


class TestSource:
    def test_a_file_has_another_contract_than_when_it_serves(self, room: Path) -> None:
        """Without a host, the same messages have the same schemas; nothing of the code is left."""
        before = set(sys.modules)
        document = source_contract(room)
        assert told(document) == {
            "elsewhere.heard": ("room", "event", "hears"),
            "room.answer": ("room", "event", "tells"),
            "room.ask": ("room", "request", "answers"),
            "room.quiet": ("room", "event", "tells"),
            "room.refused": ("room", "event", "tells"),
            "room.told": ("room", "event", "tells"),
        }
        assert compare(document, source_contract(room)) == ()
        assert {name for name in set(sys.modules) - before if "room" in name} == set()

    def test_a_package_is_half_read(self, tmp_path: Path) -> None:
        """All its modules count, whatever its ``__init__`` imports, and absolute imports lead to itself."""
        path = list(sys.path)
        package = tmp_path / "acme" / "thermo"
        package.mkdir(parents=True)
        (package.parent / "__init__.py").write_text("")
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text("raise SystemExit('it was run')")
        (package / "messages.py").write_text(
            "from aetherra.plugins import Message\nclass Warm(Message, tag='thermo.warm'):\n    a: int\n"
        )
        (package / "plugin.py").write_text(
            "from acme.thermo.messages import Warm\nfrom aetherra.plugins import Plugin, handler\n"
            "class Thermo(Plugin):\n    @handler\n    async def hear(self, warm: Warm) -> None: ...\n"
        )
        assert told(source_contract(package)) == {"thermo.warm": ("thermo", "event", "hears")}
        assert sys.path == path

    def test_our_own_example_has_none(self) -> None:
        """The example that authors copy has a contract."""
        folder = Path(__file__).parents[2] / "examples" / "greeter" / "aetherra_greeter"
        assert told(source_contract(folder))["greeter.greet"] == ("greeter", "request", "answers")

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("x = 1\n", "defines neither a subclass of Plugin nor an event"),
            ("import nowhere_at_all\n", "cannot be loaded: ModuleNotFoundError: No module named 'nowhere_at_all'"),
            ("class (:\n", "cannot be loaded: SyntaxError"),
            ("raise SystemExit(3)\n", "cannot be loaded: SystemExit: 3"),
            ("from aetherra.plugins import Plugin\nclass A(Plugin):\n    requires = 5\n", "A.requires is 5"),
        ],
    )
    def test_code_that_is_none_is_a_traceback(self, tmp_path: Path, text: str, problem: str) -> None:
        """Whatever is wrong with the code is one error that names the file."""
        file = tmp_path / "broken.py"
        file.write_text(text)
        with pytest.raises(ContractError, match=f"{file} ") as caught:
            source_contract(file)
        assert problem in str(caught.value)

    def test_a_folder_without_code_is_a_contract(self, tmp_path: Path) -> None:
        """A project's folder is not a package's."""
        with pytest.raises(ContractError, match=r"expected a \.py file, or a folder with an __init__\.py"):
            source_contract(tmp_path)
