"""Patterns: compiled late, and once."""

import re

import pytest

from aetherra.plugins.self_incorporation.code.pattern import Pattern


class TestPattern:
    def test_it_finds_something_else_than_a_compiled_one(self):
        """It finds what ``re`` finds, under the same flags."""
        pattern = Pattern("a+b", re.IGNORECASE)

        assert pattern.search("xAAb").span() == (1, 4)
        assert pattern.search("xyz") is None
        assert pattern.fullmatch("AAB") is not None
        assert pattern.fullmatch("xAAb") is None
        assert pattern.pattern == "a+b"

    def test_a_start_waits_until_all_are_compiled(self):
        """What is no expression is an error at its first use, and not before."""
        pattern = Pattern("(")

        with pytest.raises(re.error):
            pattern.search("")
