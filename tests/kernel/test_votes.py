"""Votes on what a file is."""

from __future__ import annotations

from typing import get_args

import pytest

from aetherra.kernel.votes import LONGEST_FEATURE, FileKindName, Vote
from aetherra.plugins.self_incorporation.code.classifier import FileKind


class TestVote:
    @pytest.mark.parametrize("weight", [float("nan"), float("inf"), 10.1, -10.1])
    def test_a_vote_outweighs_all_else(self, weight: float) -> None:
        """No one plugin decides alone, whatever it says."""
        with pytest.raises(ValueError, match="expected a weight between -10 and 10"):
            Vote("docs", weight, "a")

    @pytest.mark.parametrize("feature", ["", "a" * (LONGEST_FEATURE + 1), "a\nb", "\udc80"])
    def test_a_feature_cannot_be_written_down(self, feature: str) -> None:
        """It stands in the index, and in what people read."""
        with pytest.raises(ValueError, match="printable characters"):
            Vote("docs", 1.0, feature)

    def test_a_kind_cannot_be_voted_for(self) -> None:
        """The kinds that the host knows are those that files are classified by."""
        assert set(get_args(FileKindName)) == {str(kind) for kind in FileKind}
