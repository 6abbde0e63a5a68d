"""What a plugin class declares, and how it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec
import pytest

from aetherra import kernel
from aetherra.kernel import Plugin, PluginDefinitionError, Settings, every, handler
from aetherra.kernel.spec import PluginSpec, _named
from aetherra.registry import Message, Request

if TYPE_CHECKING:

    class Unseen(Message, tag="spec_test.unseen"):
        pass


class Reading(Message, tag="spec_test.reading"):
    celsius: float


class Heat(Message, tag="spec_test.heat"):
    on: bool


class Ask(Request["Heat"], tag="spec_test.ask"):
    pass


class RoomState(msgspec.Struct):
    celsius: float


class RoomSettings(Settings):
    interval: float = 5.0


class Base(Plugin[RoomSettings]):
    @handler
    async def hear(self, reading: Reading) -> Heat | None: ...

    @every("interval")
    async def tick(self) -> None: ...


class Room(Base):
    name = "room"
    service = "room_service"
    requires = ("aetherra-api>=1,<2", "boiler")

    @handler(timeout=3.0)
    async def answer(self, ask: Ask) -> Heat:
        return Heat(on=True)

    async def take_over(self, state: RoomState) -> None: ...


def make(**members: Any) -> type[Plugin[Any]]:
    """A plugin class with these members."""
    made: type[Plugin[Any]] = type("Made", (Plugin,), members)
    return made


class TestRead:
    def test_a_declaration_is_missed(self) -> None:
        """Handlers, repeated methods, requirements and state are read off the class and its bases."""
        spec = PluginSpec.of(Room)
        assert (spec.name, spec.service, spec.needs, spec.state_type) == (
            "room",
            "room_service",
            ("boiler",),
            RoomState,
        )
        assert spec.settings_type is RoomSettings
        assert {(h.method, h.message_type, h.replies, h.is_request) for h in spec.handlers} == {
            ("hear", Reading, (Heat, type(None)), False),
            ("answer", Ask, (Heat,), True),
        }
        assert [(name, mark.interval) for name, mark in spec.everies] == [("tick", "interval")]
        assert spec.tags == ("spec_test.ask",)
        assert PluginSpec.of(Base).state_type is None

    def test_the_name_of_a_class_is_compiled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is looked up, dotted or not, with the same result; only what is more than a name is compiled."""

        class Named(Plugin):
            @handler
            async def hear(self, reading: Reading) -> None: ...

            @handler
            async def answer(self, status: kernel.GetStatus) -> kernel.HostStatus: ...  # type: ignore[empty-body]

        with monkeypatch.context() as patch:
            patch.setattr("aetherra.kernel.spec.get_type_hints", None)
            read = PluginSpec.of(Named).handlers
            with pytest.raises(TypeError, match="not callable"):
                PluginSpec.of(Room)
        assert [(each.message_type, each.replies) for each in read] == [
            (Reading, (type(None),)),
            (kernel.GetStatus, (kernel.HostStatus,)),
        ]
        for function in (Named.hear, Named.answer):
            assert _named(function, globals()) == get_type_hints(function, localns=globals())

    def test_an_override_without_the_mark_is_still_a_handler(self) -> None:
        """A subclass that overrides a handler without marking it takes it out."""

        class Quiet(Base):
            async def hear(self, reading: Reading) -> Heat | None: ...

        assert PluginSpec.of(Quiet).handlers == ()


async def no_parameters(self: Any) -> None: ...
async def untyped(self: Any, reading) -> None: ...  # type: ignore[no-untyped-def]  # the point
async def of_a_text(self: Any, reading: str) -> None: ...
async def unseen(self: Any, reading: Unseen) -> None: ...
async def hears(self: Any, reading: Reading) -> None: ...
async def hears_too(self: Any, reading: Reading) -> None: ...
def plain(self: Any) -> None: ...
async def stateless(self: Any) -> None: ...
async def deaf(self: Any) -> None: ...
async def repeated(self: Any) -> None: ...


class TestRefusal:
    @pytest.mark.parametrize(
        ("members", "problem"),
        [
            ({"name": "My-Plugin"}, "Made.name is 'My-Plugin'; expected snake_case"),
            ({"name": 3}, "Made.name is 3; expected a text"),
            ({"service": None}, "Made.service is None; expected a text"),
            ({"version": 1.0}, r"Made.version is 1.0; expected a text"),
            ({"requires": "boiler"}, "Made.requires is 'boiler'; expected a tuple of texts"),
            ({"privileges": (1,)}, r"Made.privileges is \(1,\); expected a tuple of texts"),
            ({"start": plain}, "Made.start is no coroutine; expected 'async def'"),
            ({"start": stateless}, r"Made.start takes \(self\); expected \(self, ctx\)"),
            ({"take_over": stateless}, "Made.take_over takes 0 parameters; expected the state"),
            ({"go": handler(no_parameters)}, "handler Made.go takes 0 parameters; expected one message"),
            ({"go": handler(untyped)}, "handler Made.go takes 'reading' of None; annotate it with the message class"),
            ({"go": handler(of_a_text)}, "handler Made.go takes 'reading' of <class 'str'>; annotate it"),
            ({"go": handler(unseen)}, "the annotations of Made.go cannot be resolved: name 'Unseen' is not defined"),
            ({"a": handler(hears), "b": handler(hears_too)}, "handlers 'a' and 'b' of Made.b both take 'spec_test.rea"),
            ({"go": handler(blocking=True)(deaf)}, "handler Made.go takes 0 parameters"),
            ({"tick": every(1.0)(plain)}, "Made.tick is marked with @every; expected 'async def'"),
            ({"tick": every("often")(repeated)}, "Made.tick runs every 'often', which is no field of its settings"),
            ({"requires": ("boiler>=2",)}, "requires has 'boiler>=2'; only aetherra-api takes a version"),
            ({"requires": ("two words",)}, "requires has 'two words'; expected a plugin's name, or as in"),
        ],
    )
    def test_a_class_that_cannot_work_is_taken(self, members: dict[str, Any], problem: str) -> None:
        """What cannot be used is refused, with where it is and what was expected."""
        with pytest.raises(PluginDefinitionError, match=problem):
            PluginSpec.of(make(**members))

    def test_an_async_handler_is_taken_as_blocking(self) -> None:
        """A coroutine is not for a worker thread."""

        async def compute(self: Any, reading: Reading) -> None: ...

        with pytest.raises(PluginDefinitionError, match=r"handler Made\.go is async and blocking"):
            PluginSpec.of(make(go=handler(blocking=True)(compute)))

    def test_a_setting_that_no_file_can_set_is_taken(self) -> None:
        """A section's reserved keys never reach the plugin, so no setting may have their names."""

        class Sourced(Settings):
            source: int = 3

        class Reader(Plugin[Sourced]):
            pass

        with pytest.raises(PluginDefinitionError, match=r"Sourced\.source is a name that the configuration reserves"):
            PluginSpec.of(Reader)


class TestApiVersion:
    @pytest.mark.parametrize(
        "bounds", ["", ">=1", ">=1,<2", "==1.0", "==1", ">= 1.0 , < 2.0", "<=1.0.0", ">0.9", "!=0.5"]
    )
    def test_a_plugin_for_this_api_is_refused(self, bounds: str) -> None:
        """Bounds are compared as numbers, missing ones as 0."""
        assert PluginSpec.of(make(requires=(f"aetherra-api{bounds}",))).needs == ()

    @pytest.mark.parametrize("bounds", [">=99", "<1", "==1.1", "!=1.0", ">1", "<=0.9", ">=1,<1"])
    def test_a_plugin_for_another_api_is_taken(self, bounds: str) -> None:
        """The error names what is required and what is here."""
        with pytest.raises(PluginDefinitionError, match=r"requires 'aetherra-api.*', this host has aetherra-api 1\.0"):
            PluginSpec.of(make(requires=(f"aetherra-api{bounds}",)))
