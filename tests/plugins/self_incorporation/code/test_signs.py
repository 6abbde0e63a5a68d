"""What was seen in one file, and what it comes to."""

from aetherra.plugins.self_incorporation.code.rules import INDICATORS
from aetherra.plugins.self_incorporation.code.signs import MAX_LINES, Signs, first_lines


class TestSigns:
    def test_a_sign_threatens_without_what_it_needs(self) -> None:
        """It is a threat where the capabilities it needs are within reach, and a warning of a third elsewhere."""
        signs = Signs("a.py")
        signs.sign("memory-sent", 7)

        (alone,) = signs.findings(frozenset())
        (able,) = signs.findings(frozenset(["network"]))
        assert (alone.severity, alone.line) == ("warning", 7)
        assert (able.severity, able.message) == ("threat", INDICATORS["memory-sent"].message)
        assert [factor.weight for factor in signs.factors(frozenset())] == [
            round(INDICATORS["memory-sent"].weight / 3, 3)
        ]

    def test_a_capability_is_told_once_for_each_line(self) -> None:
        """It is one finding, at its first line, that says how many there are."""
        signs = Signs("a.py")
        for line in (9, 3, 3):
            signs.use("network", line)

        (told,) = signs.findings(frozenset())
        assert (told.line, told.severity, told.message) == (3, "info", "uses network on 2 lines")

    def test_all_lines_are_told_of_a_file_that_has_very_many(self) -> None:
        """The first are enough to look at."""
        assert first_lines(range(1000, 0, -1)) == tuple(range(1, MAX_LINES + 1))
