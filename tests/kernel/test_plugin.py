"""What an author writes: the class, its settings and the marks."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.kernel import Plugin, PluginDefinitionError, Settings, every, handler
from aetherra.kernel.plugin import EVERY_ATTRIBUTE, HANDLER_ATTRIBUTE, EveryMark, HandlerMark, settings_type


class RoomSettings(Settings):
    setpoint: float = 21.0
    name: str = "hall"


class Room(Plugin[RoomSettings]):
    pass


class SmallRoom(Room):
    pass


class TestSettings:
    def test_they_can_be_changed_or_given_unknown_keys(self) -> None:
        """Settings are frozen, keyword-only and know their keys."""
        settings = RoomSettings(setpoint=20.0)
        with pytest.raises(AttributeError):
            settings.setpoint = 3.0  # type: ignore[misc]  # the point
        with pytest.raises(TypeError):
            RoomSettings(20.0)  # type: ignore[misc]  # the point
        with pytest.raises(msgspec.ValidationError, match="unknown field `setpiont`"):
            msgspec.convert({"setpiont": 3}, RoomSettings)

    def test_the_class_in_the_brackets_is_not_found(self) -> None:
        """The settings class is found through bases too; a bare plugin has none."""

        class Bare(Plugin):
            pass

        assert settings_type(Room) is settings_type(SmallRoom) is RoomSettings
        assert settings_type(Bare) is Settings

    def test_another_class_in_the_brackets_is_taken_for_none(self) -> None:
        """``Plugin[dict]`` is refused rather than read as no settings."""

        class Wrong(Plugin[dict]):  # type: ignore[type-var]  # the point
            pass

        with pytest.raises(PluginDefinitionError, match=r"Wrong is a Plugin\[.*dict.*\]; expected a subclass of Setti"):
            settings_type(Wrong)


class TestPlugin:
    def test_its_methods_cannot_be_tested_without_a_host(self) -> None:
        """A plugin can be made by hand, with its settings or their defaults."""
        assert Room().settings == RoomSettings()
        assert Room(RoomSettings(setpoint=1.0)).settings.setpoint == 1.0

    @pytest.mark.parametrize(
        ("class_name", "name"), [("Thermostat", "thermostat"), ("HTTPServer2Room", "http_server2_room"), ("A", "a")]
    )
    def test_its_name_is_not_snake_case(self, class_name: str, name: str) -> None:
        """A class without a name of its own is called by its class name in snake_case."""
        assert type(class_name, (Plugin,), {}).name == name

    def test_a_subclass_takes_its_bases_name(self) -> None:
        """Two classes never have one name by inheritance alone."""
        assert (Room.name, SmallRoom.name) == ("room", "small_room")

    def test_its_context_is_there_before_the_host_is(self) -> None:
        """Without a host the context says that there is none."""
        with pytest.raises(RuntimeError, match="plugin 'room' is not hosted"):
            _ = Room().ctx


class TestMarks:
    def test_a_handler_is_changed_by_its_mark(self) -> None:
        """The decorators return the function itself, marked."""

        async def bare() -> None: ...
        async def tuned() -> None: ...
        async def repeated() -> None: ...

        assert handler(bare) is bare
        assert (
            handler(timeout=2.0, limit=4, queue=5, fallback=True, capacity=3, overflow="latest", blocking=True)(tuned)
            is tuned
        )
        assert every("interval", at_start=True)(repeated) is repeated
        assert getattr(bare, HANDLER_ATTRIBUTE) == HandlerMark(False, None, None, 1000, False, 1000, "drop_oldest")
        assert getattr(tuned, HANDLER_ATTRIBUTE) == HandlerMark(True, 2.0, 4, 5, True, 3, "latest")
        assert getattr(repeated, EVERY_ATTRIBUTE) == EveryMark("interval", True)

    @pytest.mark.parametrize("interval", [0, -1.0, float("nan")])
    def test_an_interval_without_length_is_taken(self, interval: float) -> None:
        """A method cannot be repeated without a pause."""
        with pytest.raises(ValueError, match="expected an interval of more than 0 seconds"):
            every(interval)

    def test_a_handler_without_time_or_room_is_taken(self) -> None:
        """A timeout and a capacity are more than nothing."""
        with pytest.raises(ValueError, match="expected a timeout of more than 0 seconds, got 0"):
            handler(timeout=0)
        with pytest.raises(ValueError, match="expected a capacity of at least 1, got 0"):
            handler(capacity=0)
