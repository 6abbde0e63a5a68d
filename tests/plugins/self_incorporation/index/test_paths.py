"""Paths in their written form."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_incorporation.index.paths import original, written


class TestWritten:
    @pytest.mark.parametrize(
        ("path", "form"),
        [
            ("plain.py", "plain.py"),
            ("ü.py", "ü.py"),
            ("two\nlines", r"two\x0alines"),
            ("back\\slash", r"back\\slash"),
            ("caf\udce9", r"caf\xe9"),
            ("\u202egnp.py", r"\u202egnp.py"),
        ],
    )
    def test_what_does_not_print_is_escaped(self, path: str, form: str) -> None:
        """A written path shows every character, and in the order it has."""
        assert written(path) == form

    @given(st.binary())
    def test_every_name_can_be_read_back(self, name: bytes) -> None:
        """No two names share a written form, and the form is text that any encoder takes."""
        path = os.fsdecode(name)
        form = written(path)

        assert form.isprintable()
        assert form.encode().decode() == form
        assert original(form) == path
