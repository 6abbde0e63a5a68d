"""What is written in code is held to what is written in a file."""

from __future__ import annotations

import math

import msgspec
import pytest

from aetherra.plugins.homeostasis.decision import Condition, Knob, Policy, QuarantineRule, Rule, Rung, Slo
from aetherra.plugins.homeostasis.decision.shape import is_text

RULE = Rule("m", bad_above=1.0)
MAKE = {
    Condition: lambda **given: Condition("m", **{"above": 1.0, **given}),
    Rung: lambda **given: Rung(**{"action": "a", **given}),
    Rule: lambda **given: Rule(**{"metric": "m", "bad_above": 1.0, **given}),
    Slo: lambda **given: Slo(**{"metric": "m", "target": 0.9, "burn": 5.0, **given}),
    Knob: lambda **given: Knob(**{"action": "a", "metric": "m", "setpoint": 1.0, "low": 1.0, "high": 8.0, **given}),
    QuarantineRule: QuarantineRule,
    Policy: Policy,
}
FIGURES = [
    (kind, field.name)
    for kind in MAKE
    for field in msgspec.structs.fields(kind)
    if "float" in str(field.type) and "tuple" not in str(field.type) and "dict" not in str(field.type)
]


class TestCheckShape:
    @pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf], ids=repr)
    @pytest.mark.parametrize(("kind", "field"), FIGURES, ids=lambda one: getattr(one, "__name__", one))
    def test_a_figure_that_is_none_is_taken(self, kind, field, odd):
        """NaN and infinity are refused by name, wherever a figure is expected."""
        with pytest.raises(ValueError, match=f"^{field}: expected a finite figure, got {odd}"):
            MAKE[kind](**{field: odd})

    @pytest.mark.parametrize(("kind", "field"), FIGURES, ids=lambda one: getattr(one, "__name__", one))
    @pytest.mark.parametrize("odd", ["9", [1.0], 10**400], ids=["text", "list", "huge"])
    def test_something_else_is_taken_for_a_figure(self, kind, field, odd):
        """A text, a list and what no float can hold are none."""
        with pytest.raises(ValueError, match=f"^{field}: "):
            MAKE[kind](**{field: odd})

    @pytest.mark.parametrize(
        ("make", "says"),
        [
            (lambda: Rule("m", 1.0, enter=(2.5, 3)), r"^enter\[0\]: expected int, got float"),
            (lambda: Rule("m", 1.0, plausible=(0.0, math.inf)), r"^plausible\[1\]: expected a finite figure"),
            (lambda: Rule("m", 1.0, ladder=Rung("a")), "^ladder: expected array, got Rung"),
            (lambda: Rule("m", 1.0, ladder=("a",)), r"^ladder\[0\]: expected object, got str"),
            (lambda: Rule("m", 1.0, confirm=({"metric": "x", "above": math.nan},)), "above: expected a finite figure"),
            (lambda: Rule(None, 1.0), "^metric: expected str, got "),
            (lambda: Rung("a", arguments={"x": math.nan}), "^arguments.x: expected a finite figure"),
            (lambda: Rung("a", arguments={"x": 2**64}), "^arguments.x: expected a whole number of at most 64 bits"),
            (lambda: Rung("a", undo={"x": "\ud800"}), "^undo.x: expected whole characters"),
            (lambda: Rung("a", arguments={7: 1}), "^arguments: expected names, got 7"),
            (lambda: Rung("a", tries=True), "^tries: expected int, got bool"),
            (lambda: Policy(rules={"a": None}), "^rules.a: expected object, got null"),
            (lambda: Policy(rules={"a": "b"}), "^rules.a: expected object, got str"),
            (lambda: Policy(rules=None), "^rules: expected object, got null"),
            (lambda: Policy(rules={"\ud800": RULE}), "^rules: expected whole characters"),
            (lambda: Policy(limits={"a": math.nan}), "^limits.a: expected a finite figure"),
            (lambda: Policy(flap_budget=2.5), "^flap_budget: expected int, got float"),
            (lambda: Policy(quarantine=5), "^quarantine: expected object, got int"),
        ],
    )
    def test_a_wrong_type_is_taken(self, make, says):
        """It is refused where it is written, by the field."""
        with pytest.raises(ValueError, match=says):
            make()

    def test_a_part_made_in_code_is_another_than_that_of_a_file(self):
        """Lists become tuples and whole figures floats, as they do in a file."""
        made = Rule("m", bad_above=1, enter=[1, 2], ladder=[Rung("a")])

        assert msgspec.json.decode(msgspec.json.encode(made), type=Rule) == made
        assert (type(made.bad_above), type(made.enter), type(made.ladder)) == (float, tuple, tuple)

    def test_a_large_value_hides_what_is_said_of_it(self):
        """It is shown in few words, also where it cannot be shown at all."""

        class Odd:
            def __repr__(self):
                raise RuntimeError

        with pytest.raises(ValueError, match=r"^metric: .{,120}$"):
            Rule(["m"] * 1000, 1.0)
        with pytest.raises(ValueError, match="a Odd"):
            Rule(Odd(), 1.0)


@pytest.mark.parametrize(("text", "whole"), [("a", True), ("ä", True), ("𝄞", True), ("\ud834", False)])
def test_half_a_character_is_text(text, whole):
    """A lone surrogate cannot be written down."""
    assert is_text(text) is whole
