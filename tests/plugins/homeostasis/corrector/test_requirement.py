"""What pip may be asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherra.plugins.homeostasis.corrector.requirement import is_path, is_requirement, path_of


@pytest.mark.parametrize(
    "text",
    [
        "PyYAML", "PyYAML>=6", "PyYAML >= 6, <7", "a[b,c]==1.0.*", "a[]", "a (>=1)", "a @ https://x.org/a.whl",
        "a; python_version < '3.12'", "a>=1; python_version < '3.12' and sys_platform == \"linux\"", "a==1.0+local",
        "a; (python_version<'3.12' or os_name=='nt') and extra=='x'", "a~=1!2.0", "a; sys_platform not in 'win32'",
        "a @ https://x.org/a.whl ; python_version < '3.12'",
    ],
)  # fmt: skip
def test_a_requirement_is_refused(text):
    """All forms of PEP 508 are taken."""
    assert is_requirement(text)
    assert not is_path(text)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "PyYAML; rm -rf", "odd>=1; touch x $(touch y)", "-r x", "--index-url=x", "a\n--x", "a b", "a>=", "a;",
        "a;python_version", "a @ x", "git+https://x.org/a", "é", "a-", "_a", "a && b", "a (>=1", "a==1 b", "-e ./a",
        "a; python_version < '3.12' x", "a; python_version < '3.12", "a>=1\n", "./a; rm", "./a\n--x",
    ],
)  # fmt: skip
def test_something_else_is_taken_for_a_requirement(text):
    """What pip or a shell could take for more than one is neither a requirement nor a path."""
    assert not is_requirement(text)
    assert not is_path(text)


@pytest.mark.parametrize(
    "text", ["./x.whl", "../x", "/opt/x", "x.whl", "x-1.tar.gz", "wheels/x", "./x[a,b]", "./a b.whl"]
)
def test_a_path_is_none(text):
    """Folders and archives can be installed, with extras behind them, relative to the project."""
    assert is_path(text)
    assert path_of(Path("/project"), text) == Path("/project") / text.partition("[")[0]
