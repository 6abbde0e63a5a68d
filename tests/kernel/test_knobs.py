"""A knob's declaration: what cannot work is refused where it is written, and values are held to it."""

from __future__ import annotations

import enum
import math
from typing import Any

import msgspec
import pytest

from aetherra.kernel import Knob, KnobInfo, KnobRangeError, PluginDefinitionError

RANGE: dict[str, Any] = {"low": 1, "high": 64, "step": 8}


def knob(name: str = "room.batch", read: Any = lambda: 8, **shape: Any) -> Knob:
    """A knob that writes nothing."""
    return Knob(name=name, read=read, write=str, **(shape or RANGE))


class TestDeclaration:
    @pytest.mark.parametrize(
        ("shape", "problem"),
        [
            ({"low": 2, "high": 2, "step": 1}, "expected low < high, got 2 and 2"),
            ({"low": 3, "high": 2, "step": 1}, "expected low < high, got 3 and 2"),
            ({"low": 1, "high": 2}, "expected low, high and step, or choices"),
            ({"unit": "s"}, "expected low, high and step, or choices"),
            ({"low": 0, "high": 2, "step": 0}, "expected a step of more than 0, and of high - low at most, got 0"),
            ({"low": 0, "high": 2, "step": 3}, "expected a step of more than 0, and of high - low at most, got 3"),
            ({"low": 0, "high": 2, "step": -1}, "expected a step of more than 0"),
            ({"low": 0, "high": 2, "step": 2, "scale": "log"}, "expected low > 0 and a step, a factor, of more than 1"),
            ({"low": 1, "high": 2, "step": 1, "scale": "log"}, "expected low > 0 and a step, a factor, of more than 1"),
            ({"low": 0.0, "high": math.inf, "step": 1.0}, "expected finite low, high and step, got 0.0, inf and 1.0"),
            ({"low": math.nan, "high": 1.0, "step": 1.0}, "expected finite low, high and step"),
            ({"low": 0, "high": 10**400, "step": 1}, "expected finite low, high and step"),
            ({"low": 0.5, "high": 2, "step": 1, "whole": True}, "expected whole numbers, as it is whole"),
            ({"low": 0, "high": 2, "step": 0.5, "whole": True}, "expected whole numbers, as it is whole"),
            ({"low": True, "high": 2, "step": 1}, "low is True: Expected `int | float | null`, got `bool`"),
            ({"low": "1", "high": 2, "step": 1}, "low is '1': Expected `int | float | null`, got `str`"),
            ({"choices": ("a", "a")}, "expected choices that are distinct and not empty, got 'a', 'a'"),
            ({"choices": ("a", "")}, "expected choices that are distinct and not empty, got 'a', ''"),
            ({"choices": ("a", 3)}, "choices is .*Expected `str`, got `int`"),
            ({"choices": ("a", "b"), "low": 1}, "expected either choices, or low, high and step; got both"),
            ({**RANGE, "scale": "cubic"}, "scale is 'cubic': Invalid enum value 'cubic'"),
            ({**RANGE, "role": "toy"}, "role is 'toy': Invalid enum value"),
            ({**RANGE, "impact": "none"}, "impact is 'none': Invalid enum value"),
            ({**RANGE, "moves": {"queue.depth": "sideways"}}, "moves is .*Invalid enum value 'sideways'"),
            ({**RANGE, "unit": None}, "unit is None: Expected `str`, got `null`"),
            ({**RANGE, "read": 8}, "expected read to be a function, got 8"),
        ],
    )
    def test_a_range_that_cannot_be_is_taken(self, shape: dict[str, Any], problem: str) -> None:
        """The error names the knob, what was expected, and what was given."""
        with pytest.raises(PluginDefinitionError, match=f"^knob 'room.batch': {problem}"):
            knob(**{"read": lambda: 8, **shape})

    @pytest.mark.parametrize(
        "name", ["batch", "room.", ".batch", "room..batch", "Room.batch", "room.a b", "", "ro\n.b"]
    )
    def test_a_name_that_belongs_to_nobody_is_taken(self, name: str) -> None:
        """A name is a plugin's, a dot, and the rest."""
        with pytest.raises(PluginDefinitionError, match="expected its plugin's name, a dot"):
            knob(name)

    def test_whole_numbers_have_to_be_asked_for(self) -> None:
        """A range of ``int`` is whole, one with a ``float`` in it is not, unless it says so."""
        assert knob().whole
        assert not knob(low=1.0, high=64, step=8).whole
        assert knob(low=1.0, high=64, step=8, whole=True).whole
        assert knob(low=1, high=64, step=1.5, whole=True, scale="log").whole
        assert not knob(choices=("fast", "good")).whole

    def test_a_snapshot_keeps_a_class_of_the_plugin(self) -> None:
        """Members of an enumeration, and what may still change, become plain texts, tuples and a copy."""

        class Mode(str, enum.Enum):  # noqa: UP042  # whose text is not its value
            FAST = "fast"
            GOOD = "good"

        moves = {"room.wait": "up"}
        chosen = knob(read=lambda: Mode.GOOD, choices=list(Mode), moves=moves)
        moves.clear()
        info = chosen.info("room", 1, chosen.value())
        texts = (*info.choices, info.value, chosen.accept(Mode.FAST))
        assert texts == ("fast", "good", "good", "fast")
        assert {type(text) for text in texts} == {str}
        assert info.moves == {"room.wait": "up"}


class TestValues:
    @pytest.mark.parametrize(("value", "taken"), [(1, 1), (64, 64), (8.0, 8)])
    def test_a_whole_number_does_not_stay_whole(self, value: object, taken: int) -> None:
        """What is whole is written as ``int``, as from a document that says 8.0."""
        accepted = knob().accept(value)
        assert (accepted, type(accepted)) == (taken, int)

    def test_a_float_knob_is_written_an_int(self) -> None:
        """What is not whole is written as ``float``."""
        accepted = knob(low=0.0, high=2.0, step=0.5).accept(1)
        assert (accepted, type(accepted)) == (1.0, float)

    @pytest.mark.parametrize("value", [0, 65, 8.5, True, "8", None, math.nan, math.inf, 10**400, [8]])
    def test_a_value_beyond_the_range_is_taken(self, value: object) -> None:
        """The error says what would do."""
        with pytest.raises(KnobRangeError, match=r"^knob 'room.batch': expected a whole number from 1 to 64 \(items\)"):
            knob(**RANGE, unit="items").accept(value)

    @pytest.mark.parametrize("value", ["best", "", 3, None])
    def test_what_is_no_choice_is_taken(self, value: object) -> None:
        """A knob of choices takes only those."""
        chosen = knob(choices=("fast", "good"))
        assert chosen.accept("good") == "good"
        with pytest.raises(KnobRangeError, match=r"expected one of 'fast', 'good', got "):
            chosen.accept(value)

    def test_what_others_have_set_beyond_the_range_is_hidden(self) -> None:
        """A reading is what it is."""
        assert knob(read=lambda: 100).value() == 100

    @pytest.mark.parametrize("read", ["8", 8.5, None, math.nan, True])
    def test_a_reading_that_is_no_value_is_passed_on(self, read: object) -> None:
        """It is the plugin's fault, and said so."""
        with pytest.raises(TypeError, match=r"read\(\) returned .*, expected a whole number"):
            knob(read=lambda: read).value()

    def test_a_reading_that_has_to_be_awaited_is_left_lying(self) -> None:
        """A coroutine function cannot read; what it returned is closed, so that nothing complains of it later."""

        async def read() -> int:
            return 8

        with pytest.raises(TypeError, match="returned <coroutine"):
            knob(read=read).value()


class TestInfo:
    def test_a_snapshot_does_not_survive_the_wire(self) -> None:
        """It holds all but the functions, and whole numbers stay whole as JSON."""
        info = knob(**RANGE, moves={"queue.*": "down"}, cost="memory").info("room", 3, 8)
        copy = msgspec.json.decode(msgspec.json.encode(info), type=KnobInfo)
        assert copy == info
        assert (copy.plugin, copy.generation, copy.value, type(copy.value), copy.whole) == ("room", 3, 8, int, True)
