"""Warnings, taken by category and place while they are shown as before."""

from __future__ import annotations

import warnings

import pytest

from aetherra.plugins.homeostasis.corrector.facts import faults_of
from aetherra.plugins.homeostasis.corrector.warnings_tap import WarningsTap


@pytest.fixture
def shown(monkeypatch):
    """Have warnings shown in a list."""
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda message, *_: seen.append(str(message)))
        yield seen


def test_a_warning_is_not_shown_any_more(shown):
    """All warnings are shown as before; those of deprecations are taken, by the place that they point to."""
    taken = []
    tap = WarningsTap(taken.append)
    tap.open()
    warnings.warn_explicit("moved", DeprecationWarning, "mill.py", 7)
    warnings.warn_explicit("odd", RuntimeWarning, "mill.py", 8)
    tap.close()
    warnings.warn_explicit("later", DeprecationWarning, "mill.py", 9)

    assert shown == ["moved", "odd", "later"]
    assert [list(faults_of(each)) for each in taken] == [
        [("builtins.DeprecationWarning", {"filename": "mill.py", "line": 7})]
    ]


def test_somebody_else_is_put_aside(shown):
    """Who has come to stand before the tap stays there when it closes, and a later tap works beside a closed one."""
    taken = []
    first, second = WarningsTap(taken.append), WarningsTap(taken.append)
    first.open()
    inner = warnings.showwarning

    def theirs(*args):
        inner(*args)

    warnings.showwarning = theirs
    first.close()
    assert warnings.showwarning is theirs
    second.open()
    warnings.warn_explicit("moved", DeprecationWarning, "mill.py", 7)
    second.close()

    assert warnings.showwarning is theirs
    assert shown == ["moved"]
    assert len(taken) == 1
