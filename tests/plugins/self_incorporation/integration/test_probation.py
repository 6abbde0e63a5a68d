"""Verdicts: right as often as promised, and never a way in for what is not known."""

from __future__ import annotations

import math
import random

import pytest

from aetherra.plugins.self_incorporation.integration import probation
from aetherra.plugins.self_incorporation.integration.probation import (
    Calls,
    Terms,
    Trial,
    Verdict,
    calls_needed,
    fails_too_often,
)

TERMS = Terms()


def verdict(control: float, candidate: float, chance: random.Random, most: int = 600) -> Verdict:
    """Return the first verdict of many looks at calls that fail at these rates."""
    trial, beside, tried = Trial(TERMS), [0, 0], [0, 0]
    found: Verdict = "INCONCLUSIVE"
    while found == "INCONCLUSIVE" and tried[0] < most:
        for counts, rate, calls in ((beside, control, 40), (tried, candidate, 10)):
            counts[0] += calls
            counts[1] += sum(chance.random() < rate for _ in range(calls))
        found = trial.look(Calls(*beside), Calls(*tried))
    return found


class TestAVerdict:
    @pytest.mark.parametrize(
        ("control", "candidate", "most_passed", "most_failed", "right"),
        [(0.01, 0.01, 1.0, 0.05, "PASS"), (0.01, 0.06, 0.05, 1.0, "FAIL"), (0.0, 0.5, 0.0, 1.0, "FAIL")],
    )
    def test_is_right_however_often_one_looks(
        self, control: float, candidate: float, most_passed: float, most_failed: float, right: str
    ) -> None:
        """Wrong ones of either kind stay below alpha, and most are right, by hundreds of calls."""
        chance = random.Random(7)
        found = [verdict(control, candidate, chance) for _ in range(50)]
        assert found.count("PASS") <= most_passed * 50
        assert found.count("FAIL") <= most_failed * 50
        assert found.count(right) > 40  # type: ignore[arg-type]

    def test_is_never_a_way_in_without_calls(self) -> None:
        """Nor with calls on one side alone, or calls that do not end."""
        for control, candidate in (
            (Calls(0, 0), Calls(0, 0)),
            (Calls(10_000, 0), Calls(0, 0)),
            (Calls(10_000, 0), Calls(10, 0)),
            (Calls(10_000, 0), Calls(1000, 0, in_hand=200)),
        ):
            assert Trial(TERMS).look(control, candidate) != "PASS"
        assert Trial(TERMS).look(Calls(10_000, 0), Calls(1000, 0)) == "PASS"

    def test_compares_with_what_is_beside_and_not_with_perfection(self) -> None:
        """Where everything fails, by a fault that both share, the candidate is not to blame."""
        assert Trial(TERMS).look(Calls(400, 400), Calls(100, 100)) != "FAIL"
        assert Trial(TERMS).look(Calls(4000, 4000), Calls(1000, 900)) == "PASS"

    def test_sees_code_that_is_slower(self) -> None:
        """By the middle of its times among the slowest of the others; a difference nobody notices is none."""
        trial = Trial(TERMS)
        assert trial.look(Calls(100, 0, 0, 0.001, 0.01), Calls(50, 0, 0, 0.02, 0.03)) == "FAIL"
        assert "slower" in trial.reason
        assert Trial(TERMS).look(Calls(100, 0, 0, 0.001, 0.01), Calls(50, 0, 0, 0.0105, 0.03)) == "INCONCLUSIVE"
        assert Trial(TERMS).look(Calls(100, 0, 0, 0.001, 0.01), Calls(39, 0, 0, 0.02, 0.03)) == "INCONCLUSIVE"

    def test_needs_as_many_calls_as_it_says(self) -> None:
        """With one call less than that, code that never fails is not let through yet."""
        needed = calls_needed(TERMS)
        tried = int(needed * TERMS.share)
        assert 500 < needed < 2000
        assert Trial(TERMS).look(Calls(tried * 4, 0), Calls(tried, 0)) == "PASS"
        assert Trial(TERMS).look(Calls((tried - 1) * 4, 0), Calls(tried - 1, 0)) != "PASS"


def test_failures_count_against_code_by_itself_only_beyond_chance() -> None:
    """By the exact binomial tail."""
    assert not fails_too_often(0, 0, TERMS)
    assert not fails_too_often(4, 4, TERMS)  # one in 16
    assert fails_too_often(5, 5, TERMS)  # one in 32
    assert not fails_too_often(100, 55, TERMS)
    assert fails_too_often(100, 60, TERMS)
    assert fails_too_often(1, 1, Terms(tolerated=0.0))


def test_a_million_calls_are_counted_as_exactly_as_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """In some thousand steps of arithmetic, as an event loop waits meanwhile."""
    log_choose = probation._log_choose
    for ended in (1, 7, 40, 300):
        for failed in range(ended + 1):
            tail = sum(math.comb(ended, count) for count in range(failed, ended + 1)) / 2**ended
            assert fails_too_often(ended, failed, TERMS) == (tail < TERMS.alpha), (ended, failed)
    steps: list[float] = []
    monkeypatch.setattr(probation, "_log_choose", lambda n, k: steps.append(k) or log_choose(n, k))
    assert not fails_too_often(1_000_000, 500_800, TERMS)
    assert fails_too_often(1_000_000, 500_850, TERMS)
    assert not fails_too_often(1_000_000, 100, TERMS)
    assert len(steps) == 2
