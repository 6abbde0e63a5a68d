"""What is read off a Python file."""

import ast

from aetherra.plugins.self_incorporation.code.facts import Definition, Facts, facts_of
from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.syntax import Syntax


def facts(text: str) -> Facts:
    syntax = Syntax(ast.parse(text))
    return facts_of(text, syntax, Names(syntax))


class TestFacts:
    def test_imports_are_absolute_or_keep_their_dots(self) -> None:
        """A relative import says from where, and one inside a function counts."""
        text = "import b.c as d\nfrom a import x\nfrom .e import y\nfrom . import f\ndef g():\n    from ..h import z\n"

        assert facts(text).imports == ("..h", ".e", ".f", "a", "b.c")

    def test_definitions_carry_what_they_are_made_of(self) -> None:
        """Bases and decorators are named as what they stand for, generic or called."""
        text = (
            "from abc import ABC as Base\nimport click\n"
            "@click.command()\ndef run(): ...\n"
            "class A(Base, Generic[T]):\n    def go(self): ...\n"
            "if True:\n    async def later(): ...\n"
        )

        assert facts(text).definitions == (
            Definition("run", "function", 4, (), ("click.command",)),
            Definition("A", "class", 5, ("abc.ABC", "Generic"), (), ("go",)),
            Definition("later", "function", 8),
        )

    def test_entry_points_are_found_either_way_round(self) -> None:
        """A guard is a guard whichever side the name stands on."""
        assert facts("def main(): ...\nif '__main__' == __name__: main()").entry_points == ("__main__ guard", "main()")
        assert facts("if __name__ != '__main__': x()").entry_points == ()
        assert facts("if __name__ == 'other': x()").entry_points == ()

    def test_lines_are_counted_as_an_editor_counts_them(self) -> None:
        """A last line without an end is a line."""
        assert [facts(text).lines for text in ("", "x", "x\n", "x\ny")] == [0, 1, 1, 2]

    def test_what_is_imported_from_a_module_may_be_one(self) -> None:
        """Only who knows all files can tell, so each such name is kept."""
        text = "from a import b, c as d\nfrom . import e\nfrom .f import *\nimport g.h\n"

        assert facts(text).imported == (".e", ".f.*", "a.b", "a.c")

    def test_the_version_of_a_module_is_read(self) -> None:
        """If it is constant text."""
        assert [facts(f"__version__ = {value}\n").version for value in ("'1.2'", "1.2", "read()")] == ["1.2", "", ""]
