"""Tests of the test that may be asked again after every point."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.plugins.self_improvement.analysis.directions import Direction
from aetherra.plugins.self_improvement.analysis.harm import MINIMUM_AFTER, Harm, harmful

Points = list[tuple[float, float]]
START = 1_764_000_000.0


def window(values: list[float], since: float = 0.0) -> Points:
    return [(START + since + 60.0 * i, value) for i, value in enumerate(values)]


def ask(before: list[float], after: list[float], good: Direction = "down", **more: float) -> Harm:
    return harmful(window(before), window(after, 60.0 * len(before) + 120), good=good, **more)


def noise(source: random.Random, count: int, memory: float) -> list[float]:
    """First-order autoregression around 100 with a standard deviation of 20."""
    state = source.gauss(0, 1)
    values: list[float] = []
    for _ in range(count):
        values.append(100 + 20 * state)
        state = memory * state + math.sqrt(1 - memory**2) * source.gauss(0, 1)
    return values


def called_at(before: list[float], after: list[float], good: Direction = "down") -> int | None:
    """At which point the change is called harmful, looking after each."""
    return next((i for i in range(1, len(after) + 1) if ask(before, after[:i], good).harmful), None)


class TestFalseAlarms:
    @pytest.mark.parametrize("memory", [0.0, 0.5, 0.8])
    def test_looking_often_enough_finds_harm(self, memory: float) -> None:
        """Of 30 changes that do nothing, each looked at 30 times, few are ever called harmful."""
        source = random.Random(1)
        values = [noise(source, 50, memory) for _ in range(30)]

        assert sum(called_at(one[:20], one[20:]) is not None for one in values) <= 3

    @pytest.mark.parametrize(
        "draw",
        [
            lambda source: source.expovariate(1.0),
            lambda source: source.lognormvariate(0.0, 1.0),
            lambda source: float(source.random() < 0.03),
        ],
        ids=["exponential", "log-normal", "rare errors"],
    )
    def test_spikes_are_harm(self, draw: Callable[[random.Random], float]) -> None:
        """Nor are many in noise that is nothing like Gaussian."""
        source = random.Random(2)
        values = [[draw(source) for _ in range(50)] for _ in range(30)]

        assert sum(called_at(one[:20], one[20:]) is not None for one in values) <= 3

    def test_what_rose_anyway_is_blamed_on_the_change(self) -> None:
        """A metric that goes on getting worse as it did before is not harmed by the change."""
        source = random.Random(3)
        values = [[100 + 5 * i + source.gauss(0, 10) for i in range(60)] for _ in range(25)]

        assert sum(called_at(one[:30], one[30:]) is not None for one in values) <= 2

    def test_nothing_is_evidence_of_harm(self) -> None:
        """On the average over changes that do nothing the evidence is 1 at most, which is what makes it a fair bet."""
        source = random.Random(15)
        values = [noise(source, 40, 0.0) for _ in range(150)]

        assert sum(ask(one[:20], one[20:]).evidence or 0.0 for one in values) / 150 < 1.5

    def test_something_better_is_harm(self) -> None:
        """A halving is never harm where less is better."""
        source = random.Random(4)
        values = [noise(source, 50, 0.0) for _ in range(20)]

        assert all(called_at(one[:20], [value / 2 for value in one[20:]]) is None for one in values)


class TestHarm:
    @pytest.mark.parametrize(("memory", "within"), [(0.0, 4), (0.5, 10)])
    def test_a_doubling_is_noticed_late(self, memory: float, within: int) -> None:
        """Half of the changes that double a metric are called within so many points."""
        source = random.Random(5)
        values = [noise(source, 50, memory) for _ in range(20)]
        at = [called_at(one[:20], [2 * value for value in one[20:]]) or 99 for one in values]

        assert sorted(at)[10] <= within

    @pytest.mark.parametrize(("good", "factor"), [("up", 0.4), ("down", 2.0), ("near", 2.0), ("near", 0.4)])
    def test_harm_in_that_direction_is_overlooked(self, good: Direction, factor: float) -> None:
        """Harm is what is not good, whichever way that is, and the reason says how large and how sure."""
        source = random.Random(6)
        before, after = noise(source, 30, 0.0), [factor * value for value in noise(source, 10, 0.0)]
        found = ask(before, after, good, target=100.0)

        assert found.harmful
        assert found.evidence is not None
        assert found.evidence >= 20
        assert found.lift is not None
        assert found.lift < -0.4
        assert found.reason.startswith(f"{-found.lift:.0%} worse than before, which is")

    def test_the_end_of_an_improvement_is_no_harm(self) -> None:
        """What fell, and stands higher than it would by now, is worse, though lower than it mostly was before."""
        source = random.Random(14)
        before = [[200 - 3 * i + source.gauss(0, 4) for i in range(30)] for _ in range(20)]
        after = [[150 - 3 * i + source.gauss(0, 4) for i in range(12)] for _ in range(20)]
        found = [ask(*pair) for pair in zip(before, after, strict=True)]

        assert sum(one.harmful for one in found) >= 18
        assert found[0].reason.split(", ")[0].endswith("worse than its drift")

    def test_errors_where_there_were_none_are_no_harm(self) -> None:
        """A counter that stood at 0 and now does not, is called as soon as anything is."""
        assert called_at([0.0] * 20, [5.0, 4.0, 6.0, 5.0]) == MINIMUM_AFTER

    def test_evidence_shrinks_with_more_harm(self) -> None:
        """Each further point of the same harm adds to what is known."""
        source = random.Random(7)
        before, after = noise(source, 30, 0.0), [150 + source.gauss(0, 5) for _ in range(10)]
        evidence = [ask(before, after[:i]).evidence or 0.0 for i in range(MINIMUM_AFTER, 11)]

        assert evidence == sorted(evidence)

    def test_too_little_evidence_is_enough(self) -> None:
        """Below one in ``alpha`` it says what is missing."""
        source = random.Random(8)
        before, after = noise(source, 30, 0.0), [value + 25 for value in noise(source, 6, 0.0)]
        found = ask(before, after)

        assert not found.harmful
        assert "and 20 times would be enough" in found.reason
        assert ask(before, after, alpha=0.9).harmful

    def test_a_small_harm_is_worth_a_word(self) -> None:
        """However sure, a difference below the minimum effect is none."""
        source = random.Random(9)
        before, after = ([value + source.gauss(0, 0.1) for value in [level] * 30] for level in (100.0, 102.0))

        assert not ask(before, after).harmful
        assert ask(before, after).reason == "it is not worse by the 5.0% that count"
        assert ask(before, after, minimum_effect=0.01).harmful


class TestOddWindows:
    @pytest.mark.parametrize("count", range(MINIMUM_AFTER))
    def test_one_point_is_harm(self, count: int) -> None:
        """Fewer than 3 points since the change may be a spike."""
        found = ask([1.0, 2.0, 1.0, 2.0, 1.0], [1e9] * count)

        assert (found.harmful, found.evidence, found.after_points) == (False, None, count)
        assert found.reason == f"needs at least 5 points before and 3 after, has 5 and {count}"

    def test_a_long_window_before_makes_one_point_harm(self) -> None:
        """Where neighbours are averaged, 3 means are needed, and whole ones."""
        source = random.Random(12)
        before, after = noise(source, 200, 0.0), [300.0 + source.gauss(0, 20) for _ in range(18)]

        assert ask(before, after[:17]).reason == "needs at least 30 points before and 18 after, has 200 and 17"
        assert ask(before, after).harmful

    def test_noise_that_wanders_in_a_flicker_is_harm(self) -> None:
        """A slow wandering beside a quick flicker hides its memory from one point to the next, and is no harm."""
        source = random.Random(13)
        values = [
            [a + b for a, b in zip(noise(source, 260, 0.97), noise(source, 260, 0.0), strict=True)] for _ in range(40)
        ]

        assert sum(ask(one[:200], one[200:]).harmful for one in values) <= 4

    @pytest.mark.parametrize("good", ["unknown", "near"])
    def test_harm_needs_no_direction(self, good: Direction) -> None:
        """Where nobody said what is good, nothing is harm."""
        found = ask([1.0, 2.0, 1.0, 2.0, 1.0], [9.0] * 5, good)

        assert (found.harmful, found.reason) == (False, "nobody said which way is good")

    def test_constants_are_harmed(self) -> None:
        """A metric that never moved has no harm."""
        assert ask([7.0] * 10, [7.0] * 10).evidence == 1.0

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_no_number_is_one(self, bad: float) -> None:
        """The error shows value and time."""
        with pytest.raises(ValueError, match=rf"got value {bad!r} at time 1764000720.0"):
            ask([1.0] * 10, [bad])

    @pytest.mark.parametrize("arguments", [{"alpha": 0.0}, {"alpha": 1.0}, {"minimum_effect": math.nan}])
    def test_arguments_out_of_range_are_taken(self, arguments: dict[str, float]) -> None:
        """A wrong argument is named, not guessed around."""
        with pytest.raises(ValueError, match="expected 0 < alpha < 1 and minimum_effect >= 0"):
            ask([1.0] * 10, [1.0] * 10, **arguments)

    @settings(max_examples=60)
    @given(
        st.lists(st.floats(-1e300, 1e300) | st.integers(0, 2).map(float), max_size=15),
        st.lists(st.floats(-1e300, 1e300) | st.integers(0, 2).map(float), max_size=15),
        st.sampled_from(["up", "down", "near", "unknown"]),
    )
    def test_finite_windows_get_no_answer(self, before: list[float], after: list[float], good: Direction) -> None:
        """No finite windows raise, and harm is always worse."""
        found = ask(before, after, good, target=1.0)

        if found.evidence is not None:
            assert 0 <= found.evidence < math.inf
        if found.harmful:
            assert (found.lift or 0) <= -0.05
