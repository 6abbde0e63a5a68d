"""Which modules code imports, as its bytecode says without being run."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from importlib.util import resolve_name
from types import CodeType
from typing import NamedTuple

IMPORT = dis.opmap["IMPORT_NAME"]


class Import(NamedTuple):
    """One import statement.

    Attributes:
        level: How many dots stand before the name; none if it is absolute.
        name: The module's name.
        attributes: What is taken from it, and may be modules inside it.
    """

    level: int
    name: str
    attributes: tuple[str, ...]

    def module(self, package: str) -> str:
        """Return the name in full, as seen from inside a package.

        Raises:
            ImportError: It has more dots than there are packages.
        """
        return resolve_name("." * self.level + self.name, package) if self.level else self.name


def imports_of(code: CodeType) -> Iterator[Import]:
    """Yield what code imports by itself, without that inside of its functions and classes."""
    if IMPORT not in code.co_code[::2]:  # most code, told at the speed of C
        return
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    for level, attributes, step in zip(steps, steps[1:], steps[2:], strict=False):
        if step.opcode == IMPORT:
            yield Import(level.argval, step.argval, attributes.argval or ())


def imports_inside(code: CodeType) -> Iterator[Import]:
    """Yield what is imported inside of the functions and classes of code."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from imports_of(constant)
            yield from imports_inside(constant)
