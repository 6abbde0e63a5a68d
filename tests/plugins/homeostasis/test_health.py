"""Tests of the health score: bounds, monotony, and what one bad metric does to it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.homeostasis.health import DEFAULT_SETPOINTS, Setpoint, health_score

VALUES = st.floats(allow_nan=False)
FINITE = st.floats(-1e12, 1e12)
ENDS = st.tuples(FINITE, FINITE).filter(lambda ends: ends[0] != ends[1])
SETPOINTS = st.builds(lambda ends, weight: Setpoint(ends[0], ends[1], weight), ENDS, st.floats(0.01, 10))


class TestSetpoint:
    @pytest.mark.parametrize(
        ("value", "score"), [(0.0, 1.0), (0.02, 1.0), (0.26, 0.5), (0.5, 0.0), (9.0, 0.0), (math.inf, 0.0)]
    )
    def test_lower_is_better_when_good_is_below_bad(self, value: float, score: float) -> None:
        """At good or beyond it is 1, at bad or beyond 0, linear between."""
        assert Setpoint(0.02, 0.5).score(value) == pytest.approx(score)

    @pytest.mark.parametrize(("value", "score"), [(1.5, 1.0), (1.0, 1.0), (0.75, 0.5), (0.5, 0.0), (-1.0, 0.0)])
    def test_higher_is_better_when_good_is_above_bad(self, value: float, score: float) -> None:
        """The order of the two says which way is better."""
        assert Setpoint(1.0, 0.5).score(value) == score

    @pytest.mark.parametrize(
        "figures",
        [(1.0, 1.0), (math.nan, 1.0), (0.0, math.inf), (0.0, 1.0, 0.0), (0.0, 1.0, -1.0), (0.0, 1.0, math.inf)],
    )
    def test_a_setpoint_without_meaning_is_refused(self, figures: tuple[float, ...]) -> None:
        """Equal or infinite ends and weights that count for nothing are errors."""
        with pytest.raises(ValueError, match="expected"):
            Setpoint(*figures)


class TestHealthScore:
    def test_all_well_is_one_and_needs_no_reasons(self) -> None:
        """A host with nothing wrong has a full score and full coverage."""
        result = health_score({"a": 0.0, "b": 0.0}, {"a": Setpoint(0, 1), "b": Setpoint(0, 1)})
        assert (result.score, result.known, result.unknown, result.coverage) == (1.0, 2, [], 1.0)
        assert result.reasons == []

    def test_all_bad_is_zero(self) -> None:
        """The bottom of the scale is reached."""
        assert health_score({"a": 9.0, "b": 9.0}, {"a": Setpoint(0, 1), "b": Setpoint(0, 1)}).score == 0.0

    def test_one_terrible_metric_is_not_averaged_away(self) -> None:
        """Among a hundred good ones, one of full weight that is as bad as can be leaves at most 0.3."""
        setpoints = {f"m{i}": Setpoint(0, 1) for i in range(100)}
        readings = dict.fromkeys(setpoints, 0.0) | {"m7": 1.0}
        result = health_score(readings, setpoints)
        assert result.score is not None
        assert 0.29 < result.score <= 0.3
        assert [reason.metric for reason in result.reasons] == ["m7"]

    def test_a_second_fault_lowers_the_score_further(self) -> None:
        """The worst metric does not hide the next."""
        setpoints = {f"m{i}": Setpoint(0, 1) for i in range(10)}
        one = health_score(dict.fromkeys(setpoints, 0.0) | {"m1": 1.0}, setpoints).score
        two = health_score(dict.fromkeys(setpoints, 0.0) | {"m1": 1.0, "m2": 0.5}, setpoints).score
        assert one is not None
        assert two is not None
        assert two < one

    def test_a_light_metric_cannot_condemn_the_host_alone(self) -> None:
        """Half the weight does half the harm."""
        setpoints = {"heavy": Setpoint(0, 1), "light": Setpoint(0, 1, weight=0.5)}
        assert health_score({"heavy": 0, "light": 1}, setpoints).score == pytest.approx(1 - (0.7 * 0.5 + 0.3 / 3))

    @pytest.mark.parametrize("missing", [{"b": None}, {"b": math.nan}, {}])
    def test_an_unknown_metric_is_listed_and_counts_for_nothing(self, missing: dict[str, float | None]) -> None:
        """Missing is not healthy: it lifts no score and lowers the coverage."""
        setpoints = {"a": Setpoint(0, 1), "b": Setpoint(0, 1, weight=3)}
        result = health_score({"a": 0.5} | missing, setpoints)
        assert (result.known, result.unknown, result.coverage) == (1, ["b"], 0.25)
        assert result.score == pytest.approx(1 - (0.7 * 0.5 / 3 + 0.3 * 0.5))

    @pytest.mark.parametrize("readings", [{}, {"a": None}, {"other": 1.0}])
    def test_nothing_known_has_no_score(self, readings: dict[str, float | None]) -> None:
        """Without a single reading nobody knows, and no figure pretends."""
        result = health_score(readings, {"a": Setpoint(0, 1)})
        assert (result.score, result.known, result.unknown, result.coverage) == (None, 0, ["a"], 0.0)

    def test_without_setpoints_there_is_no_score(self) -> None:
        """Nothing wanted, nothing judged."""
        assert health_score({"a": 1.0}, {}).score is None

    def test_the_reasons_say_what_is_wrong_heaviest_first(self) -> None:
        """Each reason names the figure, what was wanted, and its part of the loss."""
        setpoints = {"lag": Setpoint(0.02, 0.5), "free": Setpoint(1.0, 0.5), "fine": Setpoint(0, 1)}
        result = health_score({"lag": 0.9, "free": 0.75, "fine": 0.0}, setpoints)
        assert [reason.sentence for reason in result.reasons] == [
            "lag is 0.9, wanted at most 0.02 (as bad as counts)",
            "free is 0.75, wanted at least 1 (bad below 0.5)",
        ]
        assert [reason.score for reason in result.reasons] == [0.0, 0.5]
        assert result.score == pytest.approx(1 - (0.7 + 0.3 * 1.5 / 3))
        assert result.reasons[0].loss == pytest.approx(0.85 * 2 / 3)

    @given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(SETPOINTS, st.none() | VALUES)))
    def test_the_score_stays_in_bounds_and_the_losses_add_up(
        self, metrics: dict[str, tuple[Setpoint, float | None]]
    ) -> None:
        """Whatever is read, the score is 0 to 1 and its reasons explain all that it lacks, in order."""
        result = health_score(
            {name: value for name, (_, value) in metrics.items()}, {name: point for name, (point, _) in metrics.items()}
        )
        assert 0 <= result.coverage <= 1 + 1e-12
        assert result.known + len(result.unknown) == len(metrics)
        if result.score is None:
            assert result.known == 0
            return
        assert 0 <= result.score <= 1
        losses = [reason.loss for reason in result.reasons]
        assert math.fsum(losses) == pytest.approx(1 - result.score, abs=1e-9)
        assert losses == sorted(losses, reverse=True)

    @given(
        st.dictionaries(st.sampled_from("abcdef"), st.tuples(SETPOINTS, VALUES), min_size=1),
        st.data(),
    )
    def test_a_worse_reading_never_raises_the_score(
        self, metrics: dict[str, tuple[Setpoint, float]], data: st.DataObject
    ) -> None:
        """The score is monotone in every reading."""
        name = data.draw(st.sampled_from(sorted(metrics)))
        setpoints = {metric: point for metric, (point, _) in metrics.items()}
        readings: dict[str, float | None] = {metric: value for metric, (_, value) in metrics.items()}
        one, other = sorted([metrics[name][1], data.draw(VALUES)], reverse=setpoints[name].good < setpoints[name].bad)
        worse = health_score(readings | {name: one}, setpoints).score
        better = health_score(readings | {name: other}, setpoints).score
        assert worse is not None
        assert better is not None
        assert worse <= better


class TestDefaultSetpoints:
    def test_a_host_at_rest_is_healthy(self) -> None:
        """Every setpoint is met by its own good value."""
        readings = {name: setpoint.good for name, setpoint in DEFAULT_SETPOINTS.items()}
        assert health_score(readings, DEFAULT_SETPOINTS).score == 1.0

    def test_a_wedged_loop_alone_is_seen(self) -> None:
        """A loop that lags half a second leaves a score below a third, all else being well."""
        readings = {name: setpoint.good for name, setpoint in DEFAULT_SETPOINTS.items()} | {"loop.lag": 0.5}
        score = health_score(readings, DEFAULT_SETPOINTS).score
        assert score is not None
        assert score < 1 / 3

    def test_a_busy_machine_alone_condemns_nobody(self) -> None:
        """What others on the machine cause leaves the score above a half."""
        readings = {name: setpoint.good for name, setpoint in DEFAULT_SETPOINTS.items()} | {"host.load": 50.0}
        score = health_score(readings, DEFAULT_SETPOINTS).score
        assert score is not None
        assert score > 0.5
