"""Tests of the search for lagged correlations, on metrics whose relations are known."""

import math
import random
from collections.abc import Callable
from itertools import accumulate, combinations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, rankdata, spearmanr
from statsmodels.stats.multitest import multipletests
from statsmodels.tsa.stattools import acf, ccf

from aetherra.plugins.self_improvement.analysis.correlation import LARGEST_GRID, MINIMUM_MOVES, correlations

Points = list[tuple[float, float]]
START = 1_764_000_000.0
STEP = 300.0


def series(values: list[float], *, step: float = STEP) -> Points:
    """One point in each cell, not at its edge."""
    return [(START + 17 + i * step, value) for i, value in enumerate(values)]


def autoregression(source: random.Random, count: int, memory: float) -> list[float]:
    """First-order autoregression of variance 1."""
    state = source.gauss(0, 1)
    values: list[float] = []
    for _ in range(count):
        values.append(state)
        state = memory * state + math.sqrt(1 - memory**2) * source.gauss(0, 1)
    return values


def walk(source: random.Random, count: int) -> list[float]:
    return list(accumulate(source.gauss(0, 1) for _ in range(count)))


def rare(source: random.Random, count: int) -> list[float]:
    """A counter that is nearly always 0."""
    return [float(source.random() < 0.03) for _ in range(count)]


def single_step(source: random.Random, count: int) -> list[float]:
    """A level that changes once."""
    at = source.randrange(count)
    return [float(i >= at) for i in range(count)]


def follower(source: random.Random, leader: list[float], lag: int, noise: float) -> list[float]:
    """What ``leader`` was ``lag`` points ago, in noise."""
    return [leader[max(0, i - lag)] + noise * source.gauss(0, 1) for i in range(len(leader))]


def crowd(source: random.Random, count: int = 10, points: int = 288) -> dict[str, Points]:
    """Metrics that have nothing to do with anything."""
    return {f"other{i}": series(autoregression(source, points, 0.7)) for i in range(count)}


class TestFalseFindings:
    @pytest.mark.parametrize(
        "kind",
        [
            lambda source, count: autoregression(source, count, 0.0),
            lambda source, count: autoregression(source, count, 0.95),
            walk,
            rare,
            single_step,
        ],
        ids=["noise", "memory", "walk", "rare counter", "single step"],
    )
    def test_unrelated_metrics_are_called_related(self, kind: Callable[[random.Random, int], list[float]]) -> None:
        """Of 25 sets of 10 metrics that have nothing to do with each other, few give a finding at all."""
        source = random.Random(1)
        sets = [{f"m{i}": series(kind(source, 288)) for i in range(10)} for _ in range(25)]

        assert sum(bool(correlations(metrics)) for metrics in sets) <= 3

    def test_the_metrics_are_hard_ones(self) -> None:
        """Correlating the values themselves calls one pair in four of the same walks related, after correction."""
        source = random.Random(1)
        walks = [walk(source, 288) for _ in range(20)]
        chances = [pearsonr(one, other).pvalue for one, other in combinations(walks, 2)]

        assert multipletests(chances, method="fdr_bh")[0].mean() > 0.5

    def test_one_common_moment_is_a_finding(self) -> None:
        """Two metrics that rest all day and jump together once agree once, however perfectly."""
        at_noon = [float(i >= 144) for i in range(288)]

        assert correlations({"a": series(at_noon), "b": series(at_noon)}) == []

    def test_a_gap_in_both_becomes_an_agreement(self) -> None:
        """Two metrics that are both away for half of the day and come back changed do not agree about it."""
        source = random.Random(2)
        sets = [
            {
                name: [
                    (at, value + (100.0 if i > 200 else 0.0))
                    for i, (at, value) in enumerate(series(autoregression(source, 288, 0.5)))
                    if not 60 < i <= 200
                ]
                for name in "ab"
            }
            for _ in range(40)
        ]

        assert sum(bool(correlations(metrics)) for metrics in sets) <= 5


class TestFindings:
    @pytest.mark.parametrize("lag", [0, 1, 5, 12])
    @pytest.mark.parametrize("swapped", [False, True])
    def test_a_follower_is_not_found_or_leads(self, lag: int, swapped: bool) -> None:
        """A metric that follows another is found among others, with who leads and by how much."""
        source = random.Random(3)
        leader = autoregression(source, 288, 0.9)
        pair = {"leader": series(leader), "follower": series(follower(source, leader, lag, 0.3))}
        metrics = dict(reversed(pair.items())) if swapped else pair
        found = correlations(crowd(source) | metrics)

        assert [{one.first, one.second} for one in found] == [{"leader", "follower"}]
        assert found[0].lag == lag * STEP
        assert found[0].first == ("leader" if lag else next(iter(metrics)))
        assert found[0].r > 0.5
        assert found[0].p <= found[0].q < 0.001

    def test_a_lag_beyond_those_scanned_is_found(self) -> None:
        """What nobody looks for is not found; who looks further finds it."""
        source = random.Random(4)
        leader = autoregression(source, 288, 0.5)
        metrics = {"leader": series(leader), "follower": series(follower(source, leader, 15, 0.1))}

        assert correlations(metrics) == []
        assert [one.lag for one in correlations(metrics, lags=20)] == [15 * STEP]

    def test_opposite_metrics_have_a_positive_r(self) -> None:
        """A metric that falls when another rises is a finding of negative sign."""
        source = random.Random(5)
        one = autoregression(source, 288, 0.9)
        found = correlations({"a": series(one), "b": series([-value for value in follower(source, one, 2, 0.1)])})

        assert (found[0].first, found[0].lag) == ("a", 2 * STEP)
        assert found[0].reason == f"b moves the other way 600 s after a (r = {found[0].r:.2f}, q < 0.001)"
        assert found[0].r < -0.9

    def test_identical_metrics_are_no_perfect_agreement(self) -> None:
        """A metric and its copy correlate by 1 without delay."""
        points = series(autoregression(random.Random(6), 288, 0.5))
        (found,) = correlations({"a": points, "b": points})

        assert (found.first, found.second, found.lag, found.r) == ("a", "b", 0.0, 1.0)
        assert found.reason == "b moves the same way together with a (r = 1.00, q < 0.001)"
        assert found.p < 1e-15
        assert 0 < found.effective_n <= 287

    def test_a_metric_sampled_more_rarely_is_lost(self) -> None:
        """One is measured each minute, the other each 10: they are compared where both have moved."""
        source = random.Random(7)
        fine = autoregression(source, 2880, 0.99)
        coarse = fine[9::10]
        (found,) = correlations({"fine": series(fine, step=60.0), "coarse": series(coarse, step=600.0)})

        assert {found.first, found.second} == {"fine", "coarse"}
        assert found.lag <= 600.0
        assert found.r > 0.5

    def test_missing_points_hide_a_relation(self) -> None:
        """Stretches without points at different times in either metric leave what is there."""
        source = random.Random(8)
        leader = autoregression(source, 288, 0.9)
        pair = series(leader), series(follower(source, leader, 3, 0.2))
        kept = [[point for i, point in enumerate(points) if (i // 20 + 2 * j) % 5] for j, points in enumerate(pair)]
        found = correlations(crowd(source) | {"leader": kept[0], "follower": kept[1]})

        assert [(one.first, one.second, one.lag) for one in found] == [("leader", "follower", 3 * STEP)]

    def test_the_surest_is_not_first(self) -> None:
        """Findings come in the order of their certainty."""
        source = random.Random(9)
        leader = autoregression(source, 288, 0.5)
        noises = {"c": 0.8, "a": 0.1, "b": 0.4}
        found = correlations(
            {"leader": series(leader)} | {name: series(follower(source, leader, 1, x)) for name, x in noises.items()}
        )

        assert [one.second for one in found if one.first == "leader"] == ["a", "b", "c"]
        assert [one.q for one in found] == sorted(one.q for one in found)

    @pytest.mark.parametrize("minutes", [1, 5])
    def test_neighbouring_points_are_not_averaged(self, minutes: int) -> None:
        """Points of one cell count as their mean: measured five times as often, the same metrics are as related."""
        source = random.Random(10)
        leader = autoregression(source, 288, 0.5)
        cells = leader, follower(source, leader, 2, 0.5)
        metrics = {
            name: [
                (START + STEP * i + 60 * k + 1, value + (k - 2) * 100)
                for i, value in enumerate(values)
                for k in (range(5) if minutes == 1 else [2])
            ]
            for name, values in zip("ab", cells, strict=True)
        }
        plain = correlations({name: series(values) for name, values in zip("ab", cells, strict=True)})
        (found,) = correlations(metrics)

        assert found.r == pytest.approx(plain[0].r)
        assert found.p == pytest.approx(plain[0].p)


class TestAgainstOracles:
    def test_r_is_not_the_correlation_of_ranks(self) -> None:
        """At lag 0 and without gaps r is Spearman's, as scipy has it."""
        source = random.Random(11)
        one = [round(value, 1) for value in autoregression(source, 100, 0.5)]
        other = [round(value, 1) for value in follower(source, one, 0, 0.5)]
        (found,) = correlations({"a": series(one), "b": series(other)})

        assert found.lag == 0.0
        assert found.r == pytest.approx(spearmanr(np.diff(one), np.diff(other)).statistic, rel=1e-12)

    def test_the_lag_is_not_where_the_cross_correlation_peaks(self) -> None:
        """The best lag is that of statsmodels' cross-correlation of the same ranks."""
        source = random.Random(12)
        leader = autoregression(source, 300, 0.8)
        metrics = {"leader": leader, "follower": follower(source, leader, 7, 0.5)}
        (found,) = correlations({name: series(values) for name, values in metrics.items()})
        ranks = [rankdata(np.diff(values)) for values in metrics.values()]

        assert found.lag == STEP * int(np.argmax(np.abs(ccf(ranks[1], ranks[0], adjusted=False)[:13])))

    def test_a_pair_that_counts_ends_at_the_first_look(self) -> None:
        """All pairs looked at in full, by numpy, scipy and statsmodels, give the very same findings."""
        source = random.Random(13)
        common = autoregression(source, 200, 0.8)
        metrics = {
            f"m{i}": [
                a + b
                for a, b in zip(
                    autoregression(source, 200, source.choice([0.0, 0.5, 0.95])),
                    follower(source, [i % 4 * x for x in common], i, 0.1),
                    strict=True,
                )
            ]
            for i in range(12)
        }
        found = {
            (one.first, one.second, one.lag): one
            for one in correlations({name: series(values) for name, values in metrics.items()})
        }
        expected = _in_full(metrics, lags=12, q=0.05)

        assert 10 < len(found) < 60
        assert found.keys() == expected.keys()
        for key, (r, p, q) in expected.items():
            assert found[key].r == pytest.approx(r)
            assert found[key].p == pytest.approx(p, rel=0.2)
            assert found[key].q == pytest.approx(q, rel=0.2)


def _in_full(
    metrics: dict[str, list[float]], *, lags: int, q: float
) -> dict[tuple[str, str, float], tuple[float, float, float]]:
    """The same by other means: every lag of every pair, with statsmodels' autocorrelations and its correction."""
    cells = len(next(iter(metrics.values())))
    ranks = {name: rankdata(np.diff(values)) for name, values in metrics.items()}
    reach = cells // 5
    memories = {name: acf(values, nlags=reach, fft=False)[1:] for name, values in ranks.items()}
    fading = 1 - np.arange(1, reach + 1) / cells
    rows = []
    for one, other in combinations(metrics, 2):
        stretch = max(1.0, 1 + 2 * (memories[one] * memories[other] * fading).sum())
        best = (-1.0, 0, 0.0)
        for lag in range(-lags, lags + 1):
            x = ranks[one][: cells - 1 - lag] if lag >= 0 else ranks[one][-lag:]
            y = ranks[other][lag:] if lag >= 0 else ranks[other][: cells - 1 + lag]
            middle = cells / 2
            products = (x - middle) * (y - middle)
            total = products.sum() - (x - middle).sum() * (y - middle).sum() / len(x)
            height = abs(total) / math.sqrt(stretch * (products**2).sum())
            best = max(best, (height, lag, float(np.corrcoef(x, y)[0, 1])))
        height, lag, r = best
        single = math.erfc(height / math.sqrt(2))
        pair = (one, other, lag * STEP) if lag >= 0 else (other, one, -lag * STEP)
        rows.append((pair, r, 1 - (1 - single) ** (2 * lags + 1)))
    kept, shares, _, _ = multipletests([p for _, _, p in rows], alpha=q, method="fdr_bh")
    return {pair: (r, p, share) for (pair, r, p), share, keep in zip(rows, shares, kept, strict=True) if keep}


class TestOddMetrics:
    def test_a_constant_takes_part(self) -> None:
        """What never moves is related to nothing, also when rounding makes its means differ."""
        source = random.Random(14)
        constant = [(START + 7 * i, 0.1) for i in range(12_000)]
        metrics = crowd(source) | {"constant": constant, "same": constant, "zero": series([0.0] * 288)}

        assert correlations(metrics) == []

    def test_rounding_moves_a_constant(self) -> None:
        """Means of one value over few and many points differ in their last digit, in both metrics alike: at rest."""
        source = random.Random(25)
        times = [START + STEP * i + k for i in range(288) for k in range(source.randrange(1, 60))]
        metrics = {name: [(at, 0.1) for at in times] for name in "ab"}

        assert correlations(metrics) == []

    @pytest.mark.parametrize("count", [0, 1, 2, 3, MINIMUM_MOVES])
    def test_few_points_are_compared(self, count: int) -> None:
        """A metric without enough moves takes no part, and does not widen the grid."""
        source = random.Random(15)
        one = autoregression(source, 288, 0.5)
        few = [(at - 1e9, value) for at, value in series(one[:count])]
        found = correlations({"a": series(one), "few": few, "b": series(one)})

        assert [(one.first, one.second) for one in found] == [("a", "b")]

    def test_metrics_of_different_days_are_compared(self) -> None:
        """Pairs without enough common moves are no pairs."""
        one = autoregression(random.Random(16), 288, 0.5)

        assert correlations({"a": series(one), "b": [(at + 100_000, value) for at, value in series(one)]}) == []

    def test_no_metrics_are_an_error(self) -> None:
        """Nothing gives no findings."""
        assert correlations({}) == []
        assert correlations({"a": series(autoregression(random.Random(17), 288, 0.5))}) == []

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_a_value_that_is_no_number_is_not_named(self, bad: float) -> None:
        """The error says which metric and when."""
        points = series(autoregression(random.Random(18), 30, 0.5))
        with pytest.raises(ValueError, match=rf"metric 'disk': .*got value {bad!r} at time 1764000000.5"):
            correlations({"good": points, "disk": [*points, (START + 0.5, bad)]})

    @pytest.mark.parametrize("stray", [5.0, START - 1e7, START + 1e7, 1e11])
    def test_a_stray_point_hides_a_relation(self, stray: float) -> None:
        """One point of a clock that went wrong costs nothing: neither the finding, nor its lag, nor hours of work."""
        source = random.Random(19)
        leader = autoregression(source, 300, 0.5)
        after = series(follower(source, leader, 2, 0.2))
        plain = correlations({"a": series(leader), "b": after})

        assert [one.lag for one in plain] == [2 * STEP]
        assert correlations({"a": series(leader), "b": [*after, (stray, 1e9)]}) == [
            msgspec.structs.replace(
                plain[0],
                r=pytest.approx(plain[0].r),
                p=pytest.approx(plain[0].p, rel=1e-3),
                q=pytest.approx(plain[0].q, rel=1e-3),
                effective_n=pytest.approx(plain[0].effective_n),
            )
        ]

    @pytest.mark.parametrize(("days", "width"), [(7, 1), (8, 2), (30, 5), (365, 52)])
    def test_a_long_window_is_refused(self, days: int, width: int) -> None:
        """What does not fit into the grid is looked at by wider steps, and a lag is told in those."""
        source = random.Random(23)
        count = days * 288 // width
        leader = walk(source, count)
        metrics = {
            "leader": series(leader, step=STEP * width),
            "follower": series(follower(source, leader, 3, 0.1), step=STEP * width),
        }
        (found,) = correlations(crowd(source, 3) | metrics)

        assert (found.first, found.lag) == ("leader", 3 * STEP * width)
        assert found.r > 0.9

    def test_the_clock_runs_ahead_for_a_while(self) -> None:
        """Thirty points that lie two months ahead widen the steps for all, and nothing else."""
        source = random.Random(24)
        leader = autoregression(source, 288 * 7, 0.99)
        ahead = [(at + 60 * 86_400, value) for at, value in series(leader[:30])]

        (found,) = correlations({"a": [*series(leader), *ahead], "b": series(follower(source, leader, 0, 0.01))})
        assert (found.first, found.second, found.lag) == ("a", "b", 0.0)

    def test_a_whole_grid_overflows(self) -> None:
        """As many cells as are allowed are no other matter, at the ends of the widest scan."""
        source = random.Random(20)
        leader = walk(source, LARGEST_GRID)
        (found,) = correlations({"a": series(leader), "b": series(follower(source, leader, 40, 0.01))}, lags=40)

        assert (found.first, found.lag) == ("a", 40 * STEP)
        assert found.r > 0.9

    @pytest.mark.parametrize(
        "arguments", [{"step": 0.0}, {"step": math.inf}, {"lags": -1}, {"q": 0.0}, {"q": 1.0}, {"q": math.nan}]
    )
    def test_arguments_out_of_range_are_taken(self, arguments: dict[str, float]) -> None:
        """A wrong argument is named, not guessed around."""
        with pytest.raises(ValueError, match="expected step > 0, lags >= 0 and 0 < q < 1"):
            correlations({}, **arguments)  # type: ignore[arg-type]

    def test_the_order_of_points_matters(self) -> None:
        """Points are sorted by time first, and those of one time are one."""
        source = random.Random(21)
        leader = autoregression(source, 288, 0.8)
        metrics = {"a": series(leader), "b": series(follower(source, leader, 1, 0.5))}
        mixed = {name: source.sample([*points, points[5]], len(points) + 1) for name, points in metrics.items()}

        assert correlations(mixed) == correlations(metrics)

    @given(
        st.lists(
            st.lists(st.tuples(st.floats(0, 15_000), st.floats(-1e300, 1e300)), max_size=60), min_size=2, max_size=4
        ),
        st.integers(0, 60),
    )
    def test_finite_metrics_get_no_answer(self, metrics: list[Points], lags: int) -> None:
        """No metrics of finite points raise, and what is found is within bounds."""
        found = correlations({f"m{i}": points for i, points in enumerate(metrics)}, lags=lags)

        for one in found:
            assert one.first != one.second
            assert 0 <= one.p <= one.q <= 0.05
            assert -1 <= one.r <= 1
            assert 0 <= one.lag <= lags * STEP

    @settings(max_examples=30)
    @given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(-1e3, 1e3), st.booleans())
    def test_units_matter(self, seed: int, factor: float, offset: float, mirrored: bool) -> None:
        """Another unit of one metric leaves all but the sign of r."""
        source = random.Random(seed)
        leader = autoregression(source, 60, 0.5)
        after = follower(source, leader, 2, 0.2)
        sign = -1 if mirrored else 1
        plain = correlations({"a": series(leader), "b": series(after)})
        changed = correlations({"a": series(leader), "b": series([sign * factor * value + offset for value in after])})

        assert [(one.first, one.lag) for one in plain] == [(one.first, one.lag) for one in changed]
        for one, other in zip(plain, changed, strict=True):
            assert other.r == pytest.approx(sign * one.r)
            assert other.p == pytest.approx(one.p)
