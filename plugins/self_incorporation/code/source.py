"""What is a Python file; and from its bytes to its text and its syntax tree, or to the reason there is none."""

import ast
import codecs
import io
import re
import sys
import tokenize
import warnings
from typing import Any

from aetherra.plugins.self_incorporation.code.findings import Reason, Refusal
from aetherra.plugins.self_incorporation.code.project import is_project

__all__ = ["IMPORTED", "MAX_MARKS", "decode", "is_python", "may_be_source", "parse", "run_lines"]

IMPORTED = (".py", ".pyw")
"""Suffixes of what can be imported as source."""
_READ = (*IMPORTED, ".pyi", ".pth")
_SHEBANG = re.compile(rb"#!.*(?:python|pypy)")
_RUN_LINE = re.compile(r"import[ \t]")
# A tree takes up to 1.4 kB for each of these characters: within this bound, at most about a gigabyte.
MAX_MARKS = 700_000
_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"
_MARKS = "([{,.=:;\n<>"
_FILENAME = "<aetherra scan>"
_MODULE = re.escape(_FILENAME) + r"\Z"
# Decoding these takes time that grows with the square of the length, and no source is written in them.
_NO_SOURCE_ENCODING = frozenset(["idna", "punycode"])


def may_be_source(path: str) -> bool:
    """Say whether a file of this name is likely to be Python, or tells of a project, so that all of it is wanted.

    A name without a suffix may be a script, which only its first line tells.
    """
    return path.lower().endswith(_READ) or "." not in path.rpartition("/")[2] or is_project(path)


def is_python(path: str, data: bytes) -> bool:
    """Say whether a file is Python: by its name, or as its first line has Python run it."""
    return path.lower().endswith(_READ) or _SHEBANG.match(data) is not None


def run_lines(path: str, text: str) -> str:
    """Return what of a file is code, line by line: of a path file the lines that begin with an import, else all."""
    if not path.lower().endswith(".pth"):
        return text
    return "".join(line if _RUN_LINE.match(line) else "\n" for line in text.splitlines(keepends=True))


def decode(path: str, data: bytes) -> str | Refusal:
    """Decode a source as Python would: byte order mark, then declaration (PEP 263), then UTF-8."""
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        return Refusal(path, "null_bytes", f"line {line} holds a null byte")
    try:
        encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        if codecs.lookup(encoding).name in _NO_SOURCE_ENCODING:
            return Refusal(path, "bad_encoding_declaration", f"{encoding!r} is no encoding for source")
    except SyntaxError as exc:
        # The same exception stands for a bad declaration and for none over bytes that are not UTF-8.
        reason: Reason = "not_utf8" if "missing encoding declaration" in str(exc) else "bad_encoding_declaration"
        return Refusal(path, reason, str(exc))
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        if encoding.startswith("utf-8"):
            return Refusal(path, "not_utf8", f"line {line}: {exc.reason}, and no encoding is declared")
        return Refusal(path, "bad_encoding_declaration", f"line {line} is not {encoding!r}: {exc.reason}")
    except (UnicodeError, LookupError) as exc:
        return Refusal(path, "bad_encoding_declaration", str(exc))


def parse(path: str, text: str) -> ast.Module | Refusal:
    """Parse a source without running, printing or warning about any of it.

    The parser reports a doubtful escape sequence as a warning, which a host may have turned into errors. Warnings
    of this one file name are ignored by an entry in the filters of the process, renewed when another takes its
    place in front: `warnings.catch_warnings` would change the filters of every thread for as long as it is open.
    """
    marks = sum(map(text.count, _MARKS))
    if marks > MAX_MARKS:
        return Refusal(path, "too_complex", f"expected at most {MAX_MARKS} brackets, operators and lines, got {marks}")
    try:
        _ignore_warnings()
        try:
            return ast.parse(text, filename=_FILENAME)
        except SyntaxError:
            # Another thread may have set its filters between the check and the parse, so ask once more.
            warnings.filterwarnings("ignore", module=_MODULE)
            return ast.parse(text, filename=_FILENAME)
    except SyntaxError as exc:
        return Refusal(path, "syntax_error", f"line {exc.lineno or 1}: {exc.msg} (read as {_PYTHON})")
    except UnicodeEncodeError as exc:
        return Refusal(path, "bad_encoding_declaration", f"decoded to something that is no text: {exc.reason}")
    except (RecursionError, MemoryError, OverflowError, ValueError, SystemError) as exc:
        # SystemError: what 3.11 raises when it notices a recursion limit only on the way back.
        return Refusal(path, "too_complex", f"the parser gave up: {type(exc).__name__}: {exc}")


def _ignore_warnings() -> None:
    first: tuple[Any, ...] = next(iter(warnings.filters), ())
    if not first or getattr(first[3], "pattern", None) != _MODULE:
        warnings.filterwarnings("ignore", module=_MODULE)
