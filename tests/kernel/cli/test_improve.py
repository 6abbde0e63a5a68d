"""What ``aetherra improve`` knows beforehand of what the plugin says."""

from __future__ import annotations

from typing import get_args

from aetherra.kernel.cli.improve import STATES
from aetherra.plugins.self_improvement.proposals import State


class TestStates:
    def test_a_state_cannot_be_asked_for(self) -> None:
        """``--state`` takes each state that a proposal may be in, and no other."""
        assert set(STATES) == set(get_args(State))
