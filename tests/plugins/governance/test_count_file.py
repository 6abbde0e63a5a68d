"""Tests of the file of what guards have counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherra.plugins import DataFileError
from aetherra.plugins.governance.count_file import FILE_NAME, MOST_LINES, CountFile
from aetherra.plugins.governance.guards import Count, Counted

ONE = Counted(Count("integrations_per_hour"), 1.0)
TWO = Counted(Count("actions_per_component_per_minute", "x\n\u2028"), 2.5)


class TestCountFile:
    def test_what_was_counted_is_gone(self, tmp_path: Path) -> None:
        """A later run has it, in order; before the first there is nothing."""
        file = CountFile(tmp_path)
        assert file.load() == []
        file.append(ONE)
        file.append(TWO)
        assert CountFile(tmp_path).load() == [ONE, TWO]

    def test_nothing_on_disk_is_written(self) -> None:
        """A host that keeps nothing keeps no counts."""
        file = CountFile(None)
        file.append(ONE)
        file.replace([ONE])
        assert (file.load(), file.is_long) == ([], False)

    def test_a_torn_line_is_a_problem(self, tmp_path: Path) -> None:
        """What a death has torn was told to nobody, and the next one is appended after it."""
        CountFile(tmp_path).append(ONE)
        path = tmp_path / FILE_NAME
        path.write_bytes(path.read_bytes() + b'{"count":{"gu')
        file = CountFile(tmp_path)
        assert (file.load(), file.problem) == ([ONE], "")
        file.append(TWO)
        later = CountFile(tmp_path)
        assert later.load() == [ONE, TWO]

    def test_damage_is_no_problem(self, tmp_path: Path) -> None:
        """A line in the middle that says nothing is damage, and is said; to write the file anew mends it."""
        file = CountFile(tmp_path)
        file.append(ONE)
        path = tmp_path / FILE_NAME
        path.write_bytes(b"\xff\xfe\n" + path.read_bytes())
        damaged = CountFile(tmp_path)
        assert damaged.load() == [ONE]
        assert str(path) in damaged.problem
        damaged.replace([ONE])
        assert (damaged.problem, CountFile(tmp_path).load()) == ("", [ONE])

    def test_it_grows_for_ever(self, tmp_path: Path) -> None:
        """It says when it is worth while to write it anew."""
        file = CountFile(tmp_path)
        file.replace([ONE] * MOST_LINES)
        assert not file.is_long
        file.append(ONE)
        assert file.is_long
        file.replace([ONE])
        assert not file.is_long

    def test_a_disk_that_takes_nothing_is_silent(self, tmp_path: Path) -> None:
        """What cannot be written, or read, is an error."""
        with pytest.raises(DataFileError):
            CountFile(tmp_path / "none").append(ONE)
        (tmp_path / FILE_NAME).mkdir()
        with pytest.raises(DataFileError):
            CountFile(tmp_path).load()
