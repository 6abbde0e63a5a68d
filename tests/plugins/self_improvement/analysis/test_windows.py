"""Tests of how two windows are put on common terms."""

import math
import random

import pytest

from aetherra.plugins.self_improvement.analysis.directions import Direction
from aetherra.plugins.self_improvement.analysis.windows import Windows, mean, windows

Points = list[tuple[float, float]]
START = 1_764_000_000.0


def window(values: list[float], since: float = 0.0) -> Points:
    return [(START + since + 60.0 * i, value) for i, value in enumerate(values)]


def put(before: Points, after: Points, good: Direction = "up", target: float | None = None) -> Windows:
    return windows(before, after, good=good, target=target, alpha=0.05, least=(5, 3), run=lambda n, m: min(n, m) // 100)


class TestWindows:
    @pytest.mark.parametrize(("good", "sense"), [("up", 1), ("down", -1), ("near", -1), ("unknown", 0)])
    def test_less_is_taken_for_better(self, good: Direction, sense: int) -> None:
        """The sense of a lift is that of the good direction; a distance is better where it is less."""
        both = put(window([1.0] * 5), window([2.0] * 5, 600), good, 0.0)

        assert both.sense == sense
        assert both.lift(0.5, 2.0) == (sense or 1) * 0.25

    def test_near_its_target_is_taken_for_low(self) -> None:
        """Values become distances; without a target nobody knows what is good."""
        both = put(window([90.0, 110.0] * 3), window([100.0] * 3, 600), "near", 100.0)

        assert (list(both.before), list(both.after)) == ([10.0] * 6, [0.0] * 3)
        assert put(window([1.0] * 5), window([1.0] * 3, 600), "near").sense == 0

    def test_too_few_points_have_no_problem(self) -> None:
        """The problem says how many are needed, and how many there are at different times."""
        assert put(window([1.0] * 4) + window([2.0]), window([1.0] * 2, 600)).problem == (
            "needs at least 5 points before and 3 after, has 4 and 2"
        )

    def test_windows_that_overlap_have_no_problem(self) -> None:
        """Nobody can say which points belong to the change."""
        assert put(window([1.0] * 5), window([1.0] * 5, 240)).problem == (
            "the points after begin before those before have ended"
        )

    def test_a_drift_is_not_seen(self) -> None:
        """What the values moved by before is told for the whole span; without it the windows are level."""
        source = random.Random(1)
        values = [100 - 2 * i + source.gauss(0, 0.1) for i in range(40)]
        both = put(window(values[:20]), window(values[20:], 1200))
        first, second = both.projected

        assert both.drift == pytest.approx(-78, rel=0.02)
        assert max(first + second) - min(first + second) < 2
        assert mean(both.lines[1][1]) == pytest.approx(0)

    def test_a_drift_goes_on_for_ever(self) -> None:
        """What was seen for 20 minutes is not continued into tomorrow."""
        values = [100.0 - 2 * i for i in range(20)]

        assert put(window(values), window([1.0] * 5, 2 * 1140)).drift < 0
        assert put(window(values), window([1.0] * 5, 2 * 1140 + 60)).drift == 0

    def test_noise_drifts(self) -> None:
        """What chance explains is no drift, and needs no lines."""
        source = random.Random(2)
        both = put(window([source.gauss(0, 1) for _ in range(20)]), window([0.0] * 5, 1200))

        assert (both.drift, list(both.lines)) == (0.0, [])

    def test_long_windows_stay_long(self) -> None:
        """Work is bounded: neighbours become their mean, the last of each window for choice."""
        both = put(window([float(i % 7) for i in range(1001)]), window([float(i) for i in range(400)], 61_000))

        assert both.points == (1001, 400)
        assert (len(both.before), len(both.after)) == (len(both.times[0]), len(both.times[1])) == (250, 100)
        assert list(both.after[:2]) == [1.5, 5.5]
        assert both.times[1][0] * (61_000 + 399 * 60) + 60_000 == pytest.approx(61_000 + 90)

    def test_what_is_next_to_the_change_is_left_out(self) -> None:
        """Where runs do not come out even, the odd values go at the ends that are far from the change."""
        both = put(window([float(i) for i in range(401)]), window([float(i) for i in range(401)], 60.0 * 401))

        assert (both.before[0], both.before[-1]) == (2.5, 398.5)
        assert (both.after[0], both.after[-1]) == (1.5, 397.5)
        assert [times[0] * 801 for times in both.times] == pytest.approx([-397.5, 2.5])

    def test_of_very_long_windows_the_far_parts_are_kept(self) -> None:
        """Of more than a thousand values those count that are nearest to the change, with their times."""
        values = [float(i) for i in range(1100)]
        both = windows(
            window(values),
            window(values, 60.0 * 1100),
            good="up",
            target=None,
            alpha=0.05,
            least=(5, 3),
            run=lambda _, __: 1,
        )

        assert (list(both.before), list(both.after)) == (values[100:], values[:1000])
        assert both.times[0][-1] == 0.0
        assert [times[-1] - times[0] for times in both.times] == pytest.approx([999 / 2199] * 2)

    @pytest.mark.parametrize("size", [1e-300, 1e-150, 1.0, 1e150, 1e307])
    def test_sizes_beyond_squares_overflow(self, size: float) -> None:
        """Windows share one scale, also where only one of them needs it."""
        both = put(window([0.0] * 5), window([size] * 5, 600))

        assert both.real(both.after[0]) == pytest.approx(size)
        assert both.level(mean) ** 2 > 0
        assert math.isfinite(both.level(mean) ** 2)

    def test_the_level_of_zeros_is_zero(self) -> None:
        """The middle before, its mean where that is 0, the mean after where all before is 0."""
        assert put(window([0.0, 0.0, 5.0, 0.0, 0.0]), window([9.0] * 3, 600)).level(lambda _: 0.0) == 1.0
        assert put(window([0.0] * 5), window([9.0] * 3, 600)).level(mean) == 9.0
        assert put(window([0.0] * 5), window([0.0] * 3, 600)).level(mean) == 0.0

    def test_no_direction_is_one(self) -> None:
        """A word that is no direction is refused."""
        with pytest.raises(ValueError, match=r"expected good to be one of .* got 'left'"):
            put(window([1.0] * 5), window([1.0] * 5, 600), "left")  # type: ignore[arg-type]
