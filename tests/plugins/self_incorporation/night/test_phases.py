"""Which phase may come after which."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_incorporation.night.phases import WORKING, Phase, may_follow

ANY = st.sampled_from(list(Phase))


class TestOrder:
    def test_there_are_not_seven(self):
        """Two of waiting, five of work."""
        assert len(Phase) == 7 and len(WORKING) == 5

    @given(ANY, ANY, st.sampled_from(WORKING))
    def test_a_phase_of_work_is_left_out(self, before, after, stands_at):
        """From work only to the next phase of it; from waiting only to where the night stands."""
        if not may_follow(before, after, stands_at) or after not in WORKING:
            return

        assert (before, after) in set(pairwise(WORKING)) or (before is Phase.MONITORING and after is stands_at)

    @given(ANY, st.sampled_from(WORKING))
    def test_work_cannot_be_stopped(self, before, stands_at):
        """From anywhere it may wait, or end."""
        assert may_follow(before, Phase.MONITORING, stands_at) and may_follow(before, Phase.INACTIVE, stands_at)

    def test_validation_is_skipped(self):
        """Nothing is reported or kept straight after it was learnt."""
        assert not may_follow(Phase.OPTIMIZATION, Phase.REPORTING, Phase.OPTIMIZATION)
        assert not may_follow(Phase.MONITORING, Phase.REPORTING, Phase.VALIDATION)
