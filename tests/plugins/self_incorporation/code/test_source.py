"""Decoding and parsing what may be no Python at all."""

import ast
import threading
import warnings

import pytest

from aetherra.plugins.self_incorporation.code.findings import Refusal
from aetherra.plugins.self_incorporation.code.source import MAX_MARKS, decode, is_python, parse, run_lines


def reason(data: bytes) -> str:
    text = decode("a.py", data)
    outcome = text if isinstance(text, Refusal) else parse("a.py", text)
    return outcome.reason if isinstance(outcome, Refusal) else "parsed"


class TestDecode:
    @pytest.mark.parametrize(
        "data",
        [b"\xef\xbb\xbfx = 1\n", b"# coding: latin-1\nx = '\xe9'\n", "x = 'é'\n".encode(), b"", b"x = 1\r\ny = 2\r"],
        ids=["byte order mark", "latin-1", "utf-8", "empty", "carriage returns"],
    )
    def test_what_python_reads_is_read(self, data: bytes) -> None:
        """Byte order marks and declarations mean what they mean to Python."""
        assert reason(data) == "parsed"

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"x = 1\ny = '\xe9'\n", "not_utf8"),
            (b"x = 1\n\n\n\ny = '\xe9'\n", "not_utf8"),
            (b"# coding: klingon\n", "bad_encoding_declaration"),
            (b"\xef\xbb\xbf# coding: latin-1\n", "bad_encoding_declaration"),
            (b"# coding: ascii\n\n\nx = '\xe9'\n", "bad_encoding_declaration"),
            (b"# coding: rot13\nvzcbeg bf\n", "bad_encoding_declaration"),
            (b"# coding: punycode\nx = 1\n", "bad_encoding_declaration"),
            (b"# coding: undefined\nx = 1\n", "bad_encoding_declaration"),
            (b"# coding: utf-7\nx = '+2AA-'\n", "bad_encoding_declaration"),
            (b"x = 1\0\n", "null_bytes"),
        ],
    )
    def test_what_python_would_not_read_is_refused(self, data: bytes, expected: str) -> None:
        """Each way to be no text has its reason."""
        assert reason(data) == expected

    def test_the_line_of_a_bad_byte_is_named(self) -> None:
        """A refusal says where."""
        text = decode("a.py", b"\n\n\n'\xe9'\n")

        assert isinstance(text, Refusal)
        assert text.detail.startswith("line 4")


class TestParse:
    @pytest.mark.parametrize(
        "text",
        ["(" * 10_000, "x = " + "-" * 100_000 + "1", "x" + ".y" * 200_000, "not " * 50_000 + "x", "[" * 50_000],
        ids=["parentheses", "minus", "attributes", "not", "brackets"],
    )
    def test_deep_nesting_is_refused_in_any_thread(self, text: str) -> None:
        """A source cannot exhaust the stack of whoever scans it."""
        outcomes: list[ast.Module | Refusal] = []
        thread = threading.Thread(target=lambda: outcomes.append(parse("a.py", text)))
        thread.start()
        thread.join()

        (outcome,) = outcomes
        assert isinstance(outcome, Refusal)
        assert outcome.reason in ("syntax_error", "too_complex")

    def test_a_tree_too_large_for_memory_is_refused_unparsed(self) -> None:
        """Five megabytes of brackets would take three gigabytes to parse."""
        outcome = parse("a.py", "x = [" + "[]," * (MAX_MARKS // 2) + "]")

        assert isinstance(outcome, Refusal)
        assert (outcome.reason, outcome.detail[:16]) == ("too_complex", "expected at most")

    def test_syntax_of_another_python_is_refused_with_its_line(self) -> None:
        """What cannot be parsed is said to be so, and where."""
        outcome = parse("a.py", "x = 1\nprint 'two'\n")

        assert isinstance(outcome, Refusal)
        assert (outcome.reason, outcome.detail[:7]) == ("syntax_error", "line 2:")
        assert reason(b"lazy import json\n") == "syntax_error"

    def test_a_number_too_long_to_convert_is_refused(self) -> None:
        """Python's own limits are reasons, not exceptions."""
        assert reason(b"x = " + b"1" * 10_000) == "syntax_error"

    @pytest.mark.parametrize("action", ["error", "always"])
    def test_a_doubtful_escape_neither_warns_nor_fails(self, action: str) -> None:
        """The scanned code's warnings are not ours, whatever filters the host has set."""
        with warnings.catch_warnings(record=action == "always") as caught:
            warnings.simplefilter(action)  # type: ignore[arg-type]
            for _ in range(2):
                assert isinstance(parse("a.py", r"x = '\d' + '\w'"), ast.Module)
                warnings.simplefilter(action, append=False)  # type: ignore[arg-type]

        assert not caught

    def test_our_filter_hides_no_other_warning(self) -> None:
        """What the host's own code warns of is still heard."""
        parse("a.py", "x = 1")

        with pytest.warns(DeprecationWarning, match="ours"):
            warnings.warn("ours", DeprecationWarning, stacklevel=1)

    def test_filters_do_not_pile_up(self) -> None:
        """A scan of many files leaves one entry."""
        parse("a.py", "x = 1")
        before = len(warnings.filters)
        for _ in range(10):
            parse("a.py", "x = = 1")

        assert len(warnings.filters) == before


class TestWhatIsPython:
    @pytest.mark.parametrize(
        ("path", "data"),
        [("a.py", b""), ("a.PYW", b""), ("a.pyi", b""), ("a.pth", b""), ("a", b"#!/usr/bin/env python3\n"),
         ("a.sh", b"#!/usr/bin/pythonw\n"), ("a", b"#! /usr/bin/pypy3 -I\n")],
    )  # fmt: skip
    def test_a_file_is_taken_for_data(self, path: str, data: bytes) -> None:
        """By its name, or by who is to run it."""
        assert is_python(path, data)

    @pytest.mark.parametrize(("path", "data"), [("a.txt", b"import os"), ("a", b"#!/bin/sh\npython"), ("a.pyc", b"")])
    def test_data_is_taken_for_a_file(self, path: str, data: bytes) -> None:
        """Whatever it holds."""
        assert not is_python(path, data)

    def test_a_line_that_no_interpreter_runs_is_code(self) -> None:
        """Of a path file only lines that begin with an import are; lines keep their numbers."""
        assert run_lines("a.pth", "lib\nimport os\nimport\tre\n importx\n") == "\nimport os\nimport\tre\n\n"
        assert run_lines("a.py", "lib\n") == "lib\n"
