"""Rewriting of imports: what moves, and that all other bytes stay."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.plugins.homeostasis.corrector.moves import KNOWN_MOVES, UnreadableError, rewrite

MOVES = {**KNOWN_MOVES, "oldlib.thing": "newlib.part.object", "oldlib.deep": "newlib.deep"}
CASES = {
    "alone": ("from collections import Mapping\n", "from collections.abc import Mapping\n"),
    "among others": (
        "from collections import OrderedDict, Mapping as M, deque\n",
        "from collections import OrderedDict, deque\nfrom collections.abc import Mapping as M\n",
    ),
    "under another name": ("from oldlib import thing\n", "from newlib.part import object as thing\n"),
    "renamed there and here": ("from oldlib import thing as t\n", "from newlib.part import object as t\n"),
    "two places": (
        "from oldlib import thing, deep\n",
        "from newlib.part import object as thing\nfrom newlib import deep\n",
    ),
    "over lines": (
        "from collections import (\n    Mapping,  # read\n    Set,\n)  # kept\nx = 1\n",
        "from collections.abc import Mapping, Set  # kept\nx = 1\n",
    ),
    "indented": (
        "try:\n    from collections import deque, Mapping\nexcept ImportError:\n    pass\n",
        (
            "try:\n    from collections import deque\n    from collections.abc import Mapping\n"
            "except ImportError:\n    pass\n"
        ),
    ),
    "on a line with others": (
        "x = 1; from collections import deque, Mapping; y = 2\n",
        "x = 1; from collections import deque; from collections.abc import Mapping; y = 2\n",
    ),
    "behind a colon": (
        "if True: from collections import deque, Mapping\n",
        "if True: from collections import deque; from collections.abc import Mapping\n",
    ),
    "carriage returns": (
        "from collections import deque, Mapping\r\nx = 'ä'\r\n",
        "from collections import deque\r\nfrom collections.abc import Mapping\r\nx = 'ä'\r\n",
    ),
    "a module": (
        "import xml.etree.cElementTree as ET, os\n",
        "import xml.etree.ElementTree as ET, os\n",
    ),
    "an attribute": (
        "import collections\nä = 'ä', collections.Mapping, collections.deque\n",
        "import collections\nimport collections.abc\nä = 'ä', collections.abc.Mapping, collections.deque\n",
    ),
    "no end of line": ("from collections import Mapping", "from collections.abc import Mapping"),
}


@pytest.mark.parametrize("name", CASES)
def test_an_import_stays_where_nothing_is(name):
    """Imports of moved names name the new place, and nothing else changes."""
    before, after = CASES[name]

    assert rewrite(before.encode(), MOVES)[0].decode() == after


@pytest.mark.parametrize(
    "source",
    [
        "from collections import deque\n",
        "from .collections import Mapping\n",
        "from collections import *\n",
        "collections.Mapping\n",
        "import acme as collections\ncollections.Mapping\n",
        "import collections\ndef f(collections): return collections.Mapping\n",
        "import collections\ncollections.Mapping = 1\n",
        "'from collections import Mapping'\n# from collections import Mapping\n",
        "import xml.etree.cElementTree\n",
    ],
)
def test_code_that_means_something_else_is_rewritten(source):
    """What does not surely mean a moved name stays, byte for byte."""
    assert rewrite(source.encode(), MOVES) == (source.encode(), {})


@pytest.mark.parametrize(
    "source",
    [
        b"from collections import\n",
        b"\xef\xbb\xbfx = 1\n",
        b"x = 1\ry = 2\r",
        b"# coding: latin-1\nx = '\xe4'\n",
        b"\0",
    ],
)
def test_a_file_that_cannot_be_read_is_rewritten(source):
    """What is no plain Python in UTF-8 is refused."""
    with pytest.raises(UnreadableError):
        rewrite(source, MOVES)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [before for before, _ in CASES.values() if before.endswith("\n") and "\r" not in before]
            + ["ü = 1\n", "\n", "# ä\n", "def f(ö): return ö\n"]
        ),
        max_size=8,
    )
)
def test_a_second_time_changes_something(parts):
    """Rewritten code is Python, and has nothing left to rewrite."""
    after, _ = rewrite("".join(parts).encode(), MOVES)
    ast.parse(after)

    assert rewrite(after, MOVES) == (after, {})
