"""How a name in one file reaches into another."""

import ast

import pytest

from aetherra.plugins.self_incorporation.code.modules import Modules
from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.program import Program, Unit
from aetherra.plugins.self_incorporation.code.syntax import Syntax


def resolved(expression: str, **files: str) -> str | None:
    """Resolve an expression at the end of ``main``."""
    units = []
    for name, text in {**files, "main": f"{files['main']}\n{expression}"}.items():
        syntax = Syntax(ast.parse(text))
        units.append(Unit(f"p/{name}.py", text, syntax, Names(syntax)))
    Program(units, Modules("p", ["p/__init__.py", *(unit.path for unit in units)]))
    statement = units[-1].syntax.tree.body[-1]
    assert isinstance(statement, ast.Expr)
    found = units[-1].names.resolve(statement.value)
    return None if found is None else found.name


class TestProgram:
    @pytest.mark.parametrize(
        ("expression", "files"),
        [
            ("run", {"a": "run = exec", "main": "from .a import run"}),
            ("a.run", {"a": "run = exec", "main": "from . import a"}),
            ("p.a.run", {"a": "run = exec", "main": "import p.a"}),
            ("go", {"a": "from builtins import exec as go", "main": "from p.a import *"}),
            ("go", {"b": "go = exec", "a": "from .b import go", "main": "from .a import go"}),
            ("a.b.exec", {"a": "import builtins as b", "main": "from . import a"}),
        ],
    )
    def test_a_name_is_lost_between_files(self, expression: str, files: dict[str, str]) -> None:
        """However many files pass it on."""
        assert resolved(expression, **files) == "exec"

    def test_a_circle_of_imports_is_followed_for_ever(self) -> None:
        """What each of two files takes from the other is nothing."""
        files = {"a": "from .main import x", "main": "from .a import x"}

        assert resolved("x", **files) in ("p.a.x", ".a.x", ".main.x")

    def test_a_name_of_another_files_own_is_followed_too_far(self) -> None:
        """A function that is defined there is that function."""
        assert resolved("exec", a="def exec(x): ...", main="from .a import exec") == ".a.exec"
