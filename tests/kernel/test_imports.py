"""What code imports, read without running it."""

from __future__ import annotations

from types import CodeType

import pytest

from aetherra.kernel.imports import Import, imports_inside, imports_of

TEXT = """
import a
import b.c as d
from . import e
if 0 == 1:
    from ..f.g import h, i
from .star import *

def function():
    import j
    class Inner:
        from .k import l
        method = lambda self: __import__("l")
    return a.attribute
"""


def compiled(text: str) -> CodeType:
    return compile(text, "x", "exec")


class TestImports:
    def test_a_statement_is_not_found(self) -> None:
        """Statements of all kinds are found, apart for what runs at once and what runs in a call."""
        assert list(imports_of(compiled(TEXT))) == [
            Import(0, "a", ()), Import(0, "b.c", ()), Import(1, "", ("e",)), Import(2, "f.g", ("h", "i")),
            Import(1, "star", ("*",)),
        ]  # fmt: skip
        assert list(imports_inside(compiled(TEXT))) == [Import(0, "j", ()), Import(1, "k", ("l",))]

    def test_long_code_is_misread(self) -> None:
        """Names and constants beyond the first 256 are read rightly."""
        text = "".join(f"x{n} = {n}.5\n" for n in range(300)) + "import late.one\nfrom ...late import two\n"
        assert list(imports_of(compiled(text))) == [Import(0, "late.one", ()), Import(3, "late", ("two",))]

    def test_a_relative_name_is_resolved_wrongly(self) -> None:
        """Dots are counted from the package; too many are an error."""
        assert Import(1, "x", ()).module("a@1.b") == "a@1.b.x"
        assert Import(2, "", ()).module("a@1.b") == "a@1"
        assert Import(0, "x", ()).module("a@1.b") == "x"
        with pytest.raises(ImportError):
            Import(3, "x", ()).module("a@1.b")
