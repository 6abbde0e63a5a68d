"""Inline script metadata."""

import pytest

from aetherra.plugins.self_incorporation.code.script import Script, script_of

BLOCK = '# /// script\n# requires-python = ">=3.11"\n# dependencies = [\n#   "rich",\n#   "httpx<1",\n# ]\n# ///\n'


class TestScriptOf:
    def test_what_a_script_needs_is_read(self) -> None:
        """The block may stand anywhere between other lines."""
        assert script_of(f"import os\n\n{BLOCK}x = 1\n") == Script(("rich", "httpx<1"), ">=3.11")

    @pytest.mark.parametrize(
        "text", ["", "x = 1\n", "# just a comment\n", "# /// tool\n# a = 1\n# ///\n", "  # /// script"]
    )
    def test_a_source_without_the_block_has_none(self, text: str) -> None:
        """A comment is no metadata, nor is a block of another kind."""
        assert script_of(text) is None

    def test_an_empty_block_needs_nothing(self) -> None:
        """Both entries are optional, and others are let stand."""
        assert script_of("# /// script\n# ///\n") == Script()
        assert script_of("# /// script\n#\n# [tool.x]\n# y = 1\n# ///\n") == Script()

    def test_the_last_closing_line_in_a_row_of_comments_ends_the_block(self) -> None:
        """A block may hold such a line in a text of its own."""
        text = '# /// script\n# requires-python = """\n# ///\n# """\n# ///\n'

        assert script_of(text) == Script(requires_python="///\n")

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (BLOCK + "\n" + BLOCK, "expected one block"),
            ("# /// script\n# dependencies = []\nx = 1\n# ///\n", "not closed"),
            ("# /// script\n# dependencies = [\n# ///\n", "no TOML"),
            ("# /// script\n# dependencies = 'rich'\n# ///\n", "Expected `array`"),
            ("# /// script\n# dependencies = [1]\n# ///\n", "Expected `str`"),
            ("# /// script\n# requires-python = 3\n# ///\n", "Expected `str`"),
            ("# /// script\n# x = " + "[" * 5000 + "\n# ///\n", "no TOML"),
            ("# /// script\n# dependencies = [" + "'x'," * 1001 + "]\n# ///\n", "<= 1000"),
        ],
    )
    def test_a_block_that_cannot_be_read_says_why(self, text: str, problem: str) -> None:
        """Nothing of it is believed, and nothing raises, whatever somebody wrote there."""
        script = script_of(text)

        assert script is not None
        assert problem in script.problem
        assert script.dependencies == ()
