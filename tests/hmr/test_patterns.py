"""Patterns of data files."""

from __future__ import annotations

import pytest

from aetherra.hmr.patterns import DataPattern

FILES = ["a.txt", "b.json", "words/c.txt", "words/deep/d.txt", ".venv/e.txt"]


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


class TestDataPattern:
    @pytest.mark.parametrize(
        ("pattern", "fitting", "place"),
        [
            ("a.txt", {"a.txt"}, "a.txt"),
            ("*.txt", {"a.txt"}, "*.txt"),
            ("words/*", {"words/c.txt"}, "words/*"),
            ("words/deep/d.txt", {"words/deep/d.txt"}, "words/deep/d.txt"),
            ("*/*.txt", {"words/c.txt"}, ""),
            ("words/**/*.txt", {"words/c.txt", "words/deep/d.txt"}, "words"),
            ("words/**", {"words/c.txt", "words/deep/d.txt"}, "words"),
            ("**/*.txt", {"a.txt", "words/c.txt", "words/deep/d.txt"}, ""),
            ("w*s/deep/[de].txt", {"words/deep/d.txt"}, ""),
            ("none/*.txt", set(), "none/*.txt"),
            (".", set(), "."),
        ],
    )
    def test_a_pattern_is_read_another_way(self, folder, pattern, fitting, place):
        """What fits is found, and all below is watched only where something there can fit."""
        data = DataPattern(folder, pattern)
        assert {file.relative_to(folder).as_posix() for file in data.files()} == fitting
        assert data.place == folder / place

    def test_a_file_that_is_gone_fits_no_more(self, folder):
        """That it went is told by its name."""
        data = DataPattern(folder, "words/**/*.txt")
        assert data.fits(folder / "words" / "gone" / "x.txt")
        assert not data.fits(folder / "words" / "gone" / "x.json")
        assert not data.fits(folder / "x.txt")
