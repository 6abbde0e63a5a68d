"""Folding health."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.registry import HealthReport, ServiceStatus, fold_health

DEAD = (ServiceStatus.FAILED, ServiceStatus.QUARANTINED)
reports = st.builds(
    HealthReport,
    component=st.text(max_size=3),
    status=st.sampled_from(ServiceStatus),
    score=st.none() | st.floats(),
    reasons=st.lists(st.text(max_size=3), max_size=2).map(tuple),
)


class TestFoldHealth:
    @given(st.lists(reports, min_size=1))
    def test_the_score_is_between_nothing_and_all(self, parts: list[HealthReport]) -> None:
        """Whatever the parts claim, infinite and no number at all included."""
        score = fold_health("all", parts).score
        assert score is not None
        assert 0.0 <= score <= 1.0

    @given(st.lists(reports, min_size=1))
    def test_healthy_means_every_part_is(self, parts: list[HealthReport]) -> None:
        """The folded status is never better than the worst part suggests."""
        folded = fold_health("all", parts)
        assert (folded.status is ServiceStatus.HEALTHY) == all(part.status is ServiceStatus.HEALTHY for part in parts)
        assert (folded.status is ServiceStatus.FAILED) == all(part.status in DEAD for part in parts)
        assert len(folded.reasons) == sum(part.status is not ServiceStatus.HEALTHY for part in parts)

    @given(st.lists(reports, min_size=1), st.randoms())
    def test_the_order_of_the_parts_is_no_matter(self, parts: list[HealthReport], random: object) -> None:
        """The same parts fold to the same score and status."""
        shuffled = sorted(parts, key=lambda _: random.random())  # type: ignore[attr-defined]
        first, second = fold_health("all", parts), fold_health("all", shuffled)
        assert first.status is second.status
        assert first.score == pytest.approx(second.score)

    def test_one_failure_among_many_shows(self) -> None:
        """A hundred healthy parts do not hide one dead one."""
        parts = [HealthReport(str(i), ServiceStatus.HEALTHY, 1.0) for i in range(100)]
        folded = fold_health("all", [*parts, HealthReport("cache", ServiceStatus.FAILED, 0.0, ("no disk",))])

        assert folded.score is not None
        assert folded.score < 0.5
        assert folded.status is ServiceStatus.DEGRADED
        assert folded.reasons == ("cache is failed: no disk",)

    def test_a_low_score_pulls_down_though_the_status_is_healthy(self) -> None:
        """A part's own score counts before what its status is worth."""
        folded = fold_health("all", [HealthReport("a", ServiceStatus.HEALTHY, 0.2)])
        assert folded.score == pytest.approx(0.2)

    def test_no_number_counts_as_useless(self) -> None:
        """A score that could not be computed is never read as well."""
        assert fold_health("all", [HealthReport("a", ServiceStatus.HEALTHY, math.nan)]).score == 0.0

    def test_nothing_to_fold_has_no_score(self) -> None:
        """Nobody measured it, so nobody claims a number."""
        assert fold_health("all", []) == HealthReport("all", ServiceStatus.HEALTHY, None, ())
