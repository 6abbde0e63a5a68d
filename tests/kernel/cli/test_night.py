"""What ``aetherra night`` knows beforehand of what the plugin says."""

from __future__ import annotations

from aetherra.kernel.cli.night import TARGETS
from aetherra.plugins.self_incorporation.night.learning.trial import TARGETS as WHAT_NIGHTS_CHANGE


class TestTargets:
    def test_something_learnt_cannot_be_unlearnt(self) -> None:
        """``unlearn`` takes each target of a night, and no other."""
        assert set(TARGETS) == set(WHAT_NIGHTS_CHANGE)
