"""How commands print: documents, tables and figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel.cli.output import number, print_json, print_table, seconds, stdout_kept_clean


class TestJson:
    def test_a_document_is_one_line_off_a_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        """What a program reads by lines is one line, in the letters it was written in."""
        document = {"name": "Ünï\ncode", "list": [1, None]}
        print_json(document)
        out = capsys.readouterr().out
        assert out.count("\n") == 1
        assert "Ünï" in out
        assert json.loads(out) == document


class TestTable:
    def test_columns_line_up_off_a_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Every column begins at one place in all lines, an empty cell included."""
        print_table("Things", ("name", "size", "note"), [("a", 1, None), ("longer", 22, "x")])
        lines = capsys.readouterr().out.splitlines()
        assert lines == ["NAME    SIZE  NOTE", "a       1", "longer  22    x"]

    def test_a_cell_speaks_to_the_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        """What somebody else has worded cannot move the cursor, hide itself or begin a row of its own."""
        print_table("Things", ("name",), [("safe\x1b[2K\rother\nrow",)])
        assert capsys.readouterr().out == "NAME\nsafe\\x1b[2K\\rother\\nrow\n"

    def test_no_rows_leave_the_heading(self, capsys: pytest.CaptureFixture[str]) -> None:
        """An empty table says what it would hold."""
        print_table("Things", ("name", "size"), [])
        assert capsys.readouterr().out == "NAME  SIZE\n"


class TestFigures:
    @pytest.mark.parametrize(
        ("value", "written"),
        [
            (None, "-"),
            (0.0, "0.0 ms"),
            (0.0123, "12.3 ms"),
            (1.0, "1.0 s"),
            (119.0, "119.0 s"),
            (120.0, "2 min"),
            (7199.0, "120 min"),
            (7200.0, "2.0 h"),
        ],
    )
    def test_a_duration_has_the_unit_that_fits(self, value: float | None, written: str) -> None:
        """Milliseconds, seconds, minutes, hours."""
        assert seconds(value) == written

    @pytest.mark.parametrize(
        ("value", "written"),
        [
            (None, "unknown"),
            (0, "0"),
            (0.123456, "0.1235"),
            (9999, "9,999"),
            (123456.7, "123,457"),
            (-2.5, "-2.5"),
            (1e300, "1e+300"),
        ],
    )
    def test_a_figure_has_the_digits_that_count(self, value: float | None, written: str) -> None:
        """Small ones are not rounded away, big ones have no fractions."""
        assert number(value) == written

    @given(st.floats(allow_nan=False, allow_infinity=False))
    def test_any_figure_can_be_written(self, value: float) -> None:
        """No measurement breaks a report, and none is written as nothing."""
        assert number(value)
        assert seconds(abs(value))


class TestStandardOutput:
    def test_what_is_printed_meanwhile_goes_to_standard_error(self, capfd: pytest.CaptureFixture[str]) -> None:
        """By file descriptor and from child processes, and after it all is as it was."""
        with stdout_kept_clean():
            os.write(1, b"written\n")
            subprocess.run([sys.executable, "-c", "print('printed')"], check=True)
        print("the document")
        out, err = capfd.readouterr()
        assert out == "the document\n"
        assert sorted(err.split()) == ["printed", "written"]
