"""Runs work in steps to its end."""

from __future__ import annotations

import pytest


@pytest.fixture
def run():
    """Return what work comes to; ``run.steps`` counts the steps of the last."""

    def to_its_end(work):
        to_its_end.steps = 0
        while True:
            try:
                next(work)
            except StopIteration as stop:
                return stop.value
            to_its_end.steps += 1

    return to_its_end
