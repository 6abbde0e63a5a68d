"""Tests of the comparison of before and after, on windows whose truth is known."""

import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from aetherra.plugins.self_improvement.analysis.comparison import MINIMUM_POINTS, Comparison, Verdict, compare
from aetherra.plugins.self_improvement.analysis.directions import Direction

Points = list[tuple[float, float]]
START = 1_764_000_000.0
LATER = 100_000.0


def window(values: list[float], since: float = 0.0, *, step: float = 60.0) -> Points:
    return [(START + since + step * i, value) for i, value in enumerate(values)]


def held(before: list[float], after: list[float], good: Direction = "down", **more: float) -> Comparison:
    """Compare two windows of which the second follows the first at once."""
    return compare(window(before), window(after, 60.0 * len(before)), good=good, **more)


def noise(source: random.Random, count: int, memory: float, deviation: float = 20.0) -> list[float]:
    """First-order autoregression around 100."""
    state = source.gauss(0, 1)
    values: list[float] = []
    for _ in range(count):
        values.append(100 + deviation * state)
        state = memory * state + math.sqrt(1 - memory**2) * source.gauss(0, 1)
    return values


def verdicts(n: int, memory: float, factor: float = 1.0, *, times: int = 150) -> Counter[Verdict]:
    """What is said of so many seeded metrics whose values are multiplied by ``factor`` half way through."""
    source = random.Random(f"{n} {memory} {factor}")
    said: Counter[Verdict] = Counter()
    for _ in range(times):
        values = noise(source, 2 * n, memory)
        said[held(values[:n], [factor * value for value in values[n:]]).verdict] += 1
    return said


class TestFalseVerdicts:
    @pytest.mark.parametrize("memory", [0.0, 0.5, 0.8])
    @pytest.mark.parametrize(("n", "times"), [(10, 200), (20, 200), (200, 40)])
    def test_noise_gets_a_verdict(self, n: int, memory: float, times: int) -> None:
        """Where nothing has changed, at most one metric in ten is called better, and at most one worse."""
        said = verdicts(n, memory, times=times)

        assert said["better"] <= times / 10
        assert said["worse"] <= times / 10

    def test_noise_that_wanders_in_a_flicker_gets_a_verdict(self) -> None:
        """A slow wandering beside a quick flicker hides its memory from one point to the next."""
        source = random.Random(13)
        said: Counter[Verdict] = Counter()
        for _ in range(60):
            values = [a + b for a, b in zip(noise(source, 400, 0.95), noise(source, 400, 0.0), strict=True)]
            said[held(values[:200], values[200:]).verdict] += 1

        assert said["better"] <= 9
        assert said["worse"] <= 9

    def test_the_noise_is_harmless(self) -> None:
        """The windows are hard ones: the plain rank test calls four in ten of them changed."""
        source = random.Random(1)
        called = 0
        for _ in range(200):
            values = noise(source, 40, 0.8)
            called += mannwhitneyu(values[:20], values[20:]).pvalue < 0.05

        assert called / 200 > 0.3

    @pytest.mark.parametrize("fall", [-8.0, 8.0])
    def test_what_moved_anyway_is_a_merit(self, fall: float) -> None:
        """A metric that goes on as it went before the change is neither better nor worse."""
        source = random.Random(2)
        said: Counter[Verdict] = Counter()
        for _ in range(100):
            values = [1000 + fall * i + source.gauss(0, 20) for i in range(40)]
            said[held(values[:20], values[20:]).verdict] += 1

        assert said["better"] + said["worse"] <= 8


class TestTrueVerdicts:
    @pytest.mark.parametrize(
        ("n", "memory", "least"), [(10, 0.0, 85), (20, 0.0, 95), (20, 0.5, 85), (20, 0.8, 60), (60, 0.8, 90)]
    )
    def test_a_halving_is_overlooked(self, n: int, memory: float, least: int) -> None:
        """Values that halve are seen, the surer the more points there are and the less they remember."""
        said = verdicts(n, memory, 0.5, times=100)

        assert said["better"] >= least
        assert said["worse"] == 0

    @pytest.mark.parametrize(
        ("factor", "good", "verdict"),
        [
            (0.5, "down", "better"),
            (0.5, "up", "worse"),
            (2.0, "down", "worse"),
            (2.0, "up", "better"),
            (2.0, "unknown", "unknown"),
            (2.0, "near", "unknown"),
        ],
    )
    def test_a_shift_is_judged_by_the_wrong_direction(self, factor: float, good: Direction, verdict: Verdict) -> None:
        """Better and worse depend on what is good; where nobody said, the figures are told and no verdict."""
        source = random.Random(30)
        before, after = noise(source, 20, 0.0), [factor * value for value in noise(source, 20, 0.0)]
        found = held(before, after, good)

        assert found.verdict == verdict
        assert found.shift is not None
        assert found.lift is not None
        assert (found.shift > 0) == (factor > 1)
        assert abs(found.lift) == pytest.approx(abs(found.shift) / float(np.median(before)))
        if good in ("up", "down"):
            assert (found.lift > 0) == (verdict == "better")
        else:
            assert "nobody said what is good" in found.reason

    @pytest.mark.parametrize(("target", "verdict"), [(50.0, "better"), (100.0, "worse")])
    def test_near_is_judged_without_its_target(self, target: float, verdict: Verdict) -> None:
        """Being closer to the target is better, from whichever side."""
        source = random.Random(4)
        before, after = noise(source, 20, 0.0, 5.0), [value - 50 for value in noise(source, 20, 0.0, 5.0)]

        assert held(before, after, "near", target=target).verdict == verdict

    def test_a_leak_that_stops_is_no_merit(self) -> None:
        """What no longer rises is better than it would have been, though it is higher than it was."""
        source = random.Random(5)
        before = [100 + 5 * i + source.gauss(0, 5) for i in range(40)]
        after = [300 + source.gauss(0, 5) for _ in range(40)]
        found = held(before, after)

        assert (found.before_median or 0) < (found.after_median or 0)
        assert found.drift == pytest.approx(5 * 79, rel=0.1)
        assert found.verdict == "better"
        assert "lower than the drift before it would have led to" in found.reason

    def test_a_small_difference_is_worth_a_word(self) -> None:
        """However sure it is, below the minimum effect it is none."""
        source = random.Random(6)
        before, after = noise(source, 60, 0.0, 0.1), [value - 2 for value in noise(source, 60, 0.0, 0.1)]

        assert held(before, after).verdict == "same"
        assert held(before, after).reason == "any difference is less than the 5.0% that count"
        assert held(before, after, minimum_effect=0.01).verdict == "better"

    def test_outliers_make_a_verdict(self) -> None:
        """Some absurd values are not a change, and hide none."""
        source = random.Random(7)
        before, after = noise(source, 30, 0.0), noise(source, 30, 0.0)
        wild = [value if i % 10 else 1e9 for i, value in enumerate(after)]

        assert held(before, wild).verdict == "same"
        assert held(before, [value / 2 if value < 1e9 else value for value in wild]).verdict == "better"


class TestCounters:
    def test_zeros_differ_from_zeros(self) -> None:
        """A counter that never moved is the same, for sure."""
        found = held([0.0] * 10, [0.0] * 10)

        assert (found.verdict, found.shift, found.low, found.high, found.lift) == ("same", 0.0, 0.0, 0.0, 0.0)
        assert found.p_value == 1.0

    @pytest.mark.parametrize("after", [[5.0] * 10, [3.0, 4.0, 1.0, 0.0, 6.0, 2.0, 4.0, 3.0, 5.0, 2.0]])
    def test_errors_where_there_were_none_are_no_change(self, after: list[float]) -> None:
        """From all zeros upwards there is no relative change; it counts as one of 100 % and more."""
        found = held([0.0] * 20, after)

        assert found.verdict == "worse"
        assert found.lift is not None
        assert -2 < found.lift <= -0.9
        assert held([0.0] * 20, after, "up").verdict == "better"

    def test_errors_that_end_are_overlooked(self) -> None:
        """A counter that stands at 0 more often than not has a median of 0 before and after: its mean is compared."""
        source = random.Random(8)
        before = [float(source.random() < 0.4) * 3 for _ in range(39)]
        found = held(before, [0.0] * 39)

        assert found.before_median == found.after_median == 0.0
        assert found.verdict == "better"
        assert found.shift == pytest.approx(-sum(before) / 39)
        assert found.lift == pytest.approx(1.0)
        assert found.high is not None
        assert found.high < 0

    def test_a_single_error_is_a_change(self) -> None:
        """One error in 20 points is no evidence."""
        assert held([0.0] * 20, [0.0] * 19 + [1.0]).verdict == "same"


class TestAgainstScipy:
    @pytest.mark.parametrize("shift", [0.0, 5.0, 10.0, 20.0])
    def test_the_probability_is_that_of_no_rank_test(self, shift: float) -> None:
        """Without memory the test is close to Mann and Whitney's, a little more careful, as it does not know that."""
        source = random.Random(9)
        ratios: list[float] = []
        for _ in range(10):
            before = noise(source, 39, 0.0)
            after = [value + shift for value in noise(source, 39, 0.0)]
            found = held(before, after)
            expected = mannwhitneyu(before, after).pvalue
            assert found.p_value is not None
            ratios.append(math.log(found.p_value) / math.log(expected))

        assert 0.6 < sorted(ratios)[5] < 1.1

    def test_the_shift_is_not_hodges_and_lehmanns(self) -> None:
        """It is the median of the differences of all pairs, and its interval holds the truth as often as said."""
        source = random.Random(10)
        held_it = 0
        for _ in range(100):
            before, after = noise(source, 30, 0.0), [value + 30 for value in noise(source, 30, 0.0)]
            found = held(before, after)
            assert found.shift is not None
            assert found.low is not None
            assert found.high is not None
            assert found.low <= found.shift <= found.high
            held_it += found.low <= 30 <= found.high
            if not found.drift:
                assert found.shift == pytest.approx(np.median(np.subtract.outer(after, before)))

        assert held_it >= 92


class TestOddWindows:
    @pytest.mark.parametrize("count", range(MINIMUM_POINTS))
    def test_few_points_are_a_verdict(self, count: int) -> None:
        """Fewer than 5 points on either side say nothing, and it says so."""
        enough, few = window([1.0, 2.0, 3.0, 4.0, 5.0]), window([9.0] * count, LATER)
        found = compare(enough, few, good="down")

        assert found == Comparison(
            verdict="unknown",
            before_points=5,
            after_points=count,
            reason=f"needs at least 5 points before and 5 after, has 5 and {count}",
        )
        assert compare([(at - 2 * LATER, value) for at, value in few], enough, good="down").verdict == "unknown"

    def test_few_points_are_the_same(self) -> None:
        """No evidence in few independent points is no evidence of anything."""
        source = random.Random(11)
        found = held(noise(source, 6, 0.0), noise(source, 6, 0.0))

        assert found.verdict == "unknown"
        assert found.effective_n is not None
        assert 0 < found.effective_n < 10
        assert "these points are worth only" in found.reason

    def test_the_order_of_points_matters(self) -> None:
        """Points are sorted by time; those of one time count once."""
        source = random.Random(12)
        before, after = window(noise(source, 20, 0.5)), window(noise(source, 20, 0.5), LATER)
        mixed = source.sample([*before, before[3]], 21), source.sample([*after, after[4]], 21)

        assert compare(*mixed, good="up") == compare(before, after, good="up")

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_no_number_is_one(self, bad: float) -> None:
        """The error shows value and time."""
        good = window([1.0] * 10)
        with pytest.raises(ValueError, match=rf"got value {bad!r} at time 1764100000.0"):
            compare(good, window([bad], LATER), good="up")
        with pytest.raises(ValueError, match=rf"got value {bad!r} at time 1764000000.0"):
            compare(window([bad]), window([1.0] * 10, LATER), good="up")

    @pytest.mark.parametrize("arguments", [{"alpha": 0.0}, {"alpha": 1.0}, {"alpha": math.nan}, {"minimum_effect": -1}])
    def test_arguments_out_of_range_are_taken(self, arguments: dict[str, float]) -> None:
        """A wrong argument is named, not guessed around."""
        with pytest.raises(ValueError, match="expected 0 < alpha < 1 and minimum_effect >= 0"):
            held([1.0] * 10, [1.0] * 10, **arguments)

    @settings(max_examples=60)
    @given(
        st.lists(st.floats(-1e300, 1e300) | st.integers(0, 2).map(float), max_size=25),
        st.lists(st.floats(-1e300, 1e300) | st.integers(0, 2).map(float), max_size=25),
        st.sampled_from(["up", "down", "near", "unknown"]),
    )
    def test_finite_windows_get_no_answer(self, before: list[float], after: list[float], good: Direction) -> None:
        """No finite windows raise, and what is said holds together."""
        found = held(before, after, good, target=1.0)

        if found.p_value is not None:
            assert 0 <= found.p_value <= 1
            assert found.effective_n is not None
            assert 0 < found.effective_n <= found.before_points + found.after_points
            assert found.shift is not None
            assert found.lift is not None
            assert math.isfinite(found.shift)
            assert math.isfinite(found.lift)
        if found.verdict in ("better", "worse"):
            assert (found.lift or 0) * (1 if found.verdict == "better" else -1) >= 0.05

    @settings(max_examples=40)
    @given(
        st.lists(st.integers(-50, 50), min_size=5, max_size=7), st.lists(st.integers(-50, 50), min_size=5, max_size=9)
    )
    def test_a_mirror_changes_more_than_the_sign(self, before: list[int], after: list[int]) -> None:
        """Values turned over, where the other way is good, get the same verdict."""
        plain = held(list(map(float, before)), list(map(float, after)), "up")
        mirrored = held([-float(value) for value in before], [-float(value) for value in after], "down")

        assert mirrored.verdict == plain.verdict
        assert mirrored.p_value == pytest.approx(plain.p_value)
        assert mirrored.shift == pytest.approx(-(plain.shift or 0))
        assert mirrored.lift == pytest.approx(plain.lift)
