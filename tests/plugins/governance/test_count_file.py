"""Tests of the file of what guards have counted, as earlier versions left it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherra.plugins import DataFileError
from aetherra.plugins.governance.count_file import FILE_NAME, earlier_counts
from aetherra.plugins.governance.guards import Count, Counted

ONE = Counted(Count("integrations_per_hour"), 1.0)
TWO = Counted(Count("actions_per_component_per_minute", "x\n\u2028"), 2.5)
LINES = (
    b'{"count":{"guard":"integrations_per_hour","key":""},"at":1.0}\n'
    b'{"count":{"guard":"actions_per_component_per_minute","key":"x\\n\xe2\x80\xa8"},"at":2.5}\n'
)


class TestEarlierCounts:
    def test_what_was_counted_is_gone(self, tmp_path: Path) -> None:
        """It is there, in order; what a death has torn was told to nobody."""
        (tmp_path / FILE_NAME).write_bytes(LINES + b'{"count":{"gu')
        assert earlier_counts(tmp_path) == ([ONE, TWO], "")

    def test_a_file_that_is_gone_counts_nothing(self, tmp_path: Path) -> None:
        """A file that is not there is said to be gone: the version that kept one had one from its first start."""
        assert earlier_counts(tmp_path) == ([], f"{tmp_path / FILE_NAME} is gone")

    def test_a_damaged_line_takes_the_others_along(self, tmp_path: Path) -> None:
        """What can be read counts, and how much cannot is said."""
        (tmp_path / FILE_NAME).write_bytes(b'{"count":{"gu\n\n[[[\n' + LINES)
        assert earlier_counts(tmp_path) == ([ONE, TWO], f"2 lines of {tmp_path / FILE_NAME} cannot be read")

    def test_a_file_that_cannot_be_read_counts_nothing(self, tmp_path: Path) -> None:
        """That is an error, and no empty hour."""
        (tmp_path / FILE_NAME).mkdir()
        with pytest.raises(DataFileError, match="cannot read"):
            earlier_counts(tmp_path)
