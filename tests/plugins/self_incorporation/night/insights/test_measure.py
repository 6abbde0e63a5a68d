"""What is measured of one file."""

from __future__ import annotations

import pytest

from aetherra.plugins.self_incorporation.night.insights.measure import Measured, measure, names_in

SOURCE = b'''"""Doc."""
import os.path as p
from pkg.mod import thing


class Shown:
    """Doc."""

    def one(self, a):
        if a and p or thing:
            return [x for x in a if x]
        return getattr(self, "by_name")

    async def _two(self):
        """Doc."""
        try:
            pass
        except ValueError:
            raise


def three():
    for _ in ():
        while True:
            assert "pkg:entry_point"
'''


class TestMeasure:
    def test_a_count_is_wrong(self, run):
        """What is public and documented, functions, branches: counted by hand."""
        measured = run(measure("a.py", "x", SOURCE))

        assert (measured.public, measured.documented) == (4, 2)
        assert measured.functions == 3
        # if, two more ways in its condition, a comprehension and its condition; except; for, while, assert
        assert measured.branches == 1 + 2 + 2 + 1 + 3

    def test_a_use_is_missed(self, run):
        """Names in code, imports and short texts are used; those that are only defined or described are not."""
        names = set(run(measure("a.py", "x", SOURCE)).names.split())

        assert {"os", "path", "pkg", "thing", "by_name", "entry_point", "ValueError", "getattr"} <= names
        assert not {"Shown", "one", "_two", "three", "Doc"} & names

    def test_prose_names_things(self, run):
        """A long text uses nothing."""
        text = f'"""{"word " * 200}"""\n'.encode()

        assert run(measure("a.py", "x", text)).names == ""

    @pytest.mark.parametrize("data", [b"\0", b"def (", b"\xff\xfe", b"# coding: nonsense\n"])
    def test_what_cannot_be_read_has_measures(self, run, data):
        """It has a reason."""
        measured = run(measure("a.py", "x", data))

        assert measured.problem and measured == Measured(sha256="x", problem=measured.problem)

    def test_a_large_file_is_one_step(self, run):
        """The walk through its tree is many, so that it can be left."""
        run(measure("a.py", "x", b"a = b + c * d\n" * 2000))

        assert run.steps > 8

    def test_a_word_is_no_name(self):
        """Whatever could be one is."""
        assert names_in("pkg.mod:Class(a_b) 3x") == {"pkg", "mod", "Class", "a_b", "x"}
