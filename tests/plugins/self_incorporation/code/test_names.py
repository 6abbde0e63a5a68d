"""What a name stands for."""

import ast

import pytest

from aetherra.plugins.self_incorporation.code.names import Names, Resolved
from aetherra.plugins.self_incorporation.code.syntax import Syntax


def last(text: str) -> Resolved | None:
    """Resolve what the last statement, an expression, calls."""
    tree = ast.parse(text)
    statement = tree.body[-1]
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Call)
    return Names(Syntax(tree)).resolve(statement.value.func)


class TestResolve:
    @pytest.mark.parametrize(
        "text",
        [
            "import os\nos.system()",
            "import os as o\no.system()",
            "from os import system\nsystem()",
            "from os import system as s\ns()",
            "from os import *\nsystem()",
            "import os\ns = os.system\nt = s\nt()",
            "import os\n(m := os).system()",
            "def late():\n    import os\nos.system()",
            "__import__('os').system()",
            "import importlib\nimportlib.import_module('os').system()",
            "import os\ngetattr(os, 'system')()",
            "getattr(__import__('os'), 'system')()",
            "import sys\nsys.modules['os'].system()",
            "o = __import__('os')\no.system()",
        ],
    )
    def test_every_way_to_say_a_name_is_the_name(self, text: str) -> None:
        """An alias hides nothing."""
        assert last(text) == Resolved("os.system", hidden=False)

    @pytest.mark.parametrize(
        "text",
        [
            "exec()",
            "import builtins\nbuiltins.exec()",
            "__builtins__.exec()",
            "__builtins__['exec']()",
            "import builtins as b\ngetattr(b, 'exec')()",
        ],
    )
    def test_a_builtin_is_itself_wherever_it_is_taken_from(self, text: str) -> None:
        """There are many doors to one room."""
        assert last(text) == Resolved("exec", hidden=False)

    @pytest.mark.parametrize("text", ["getattr(__builtins__, 'e' + 'xec')()", "__builtins__['cexe'[::-1]]()"])
    def test_an_assembled_name_is_hidden(self, text: str) -> None:
        """Whoever puts a name together has a reason."""
        assert last(text) == Resolved("exec", hidden=True)

    @pytest.mark.parametrize(
        "text", ["unknown()", "(a or b)()", "x[0]()", "def exec(): ...\nexec()", "getattr(x, y)()"]
    )
    def test_what_cannot_be_read_off_is_not_guessed(self, text: str) -> None:
        """No name is better than a wrong one; a function of the file is not the builtin."""
        resolved = last(text)

        assert resolved is None or resolved.name == "getattr()"

    def test_what_a_call_returns_is_told_from_what_is_called(self) -> None:
        """A session's method is not the module's function."""
        assert last("import requests\nrequests.Session().get()") == Resolved("requests.Session().get", hidden=False)
