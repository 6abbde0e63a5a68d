"""The metrics of each plugin, from two snapshots of what the kernel counts."""

from __future__ import annotations

from typing import Any

import pytest

from aetherra.plugins import PluginVitals, ServiceStatus
from aetherra.plugins.homeostasis.plugin_metrics import WINDOW, PluginMetrics
from aetherra.registry import Latency


def vitals(**fields: Any) -> PluginVitals:
    fields = {"generation": 1, "service": "shop_service", "state": "serving", "longest_done": 0.05} | fields
    return PluginVitals("shop", status=ServiceStatus.HEALTHY, **fields)


class Watched:
    """One plugin, looked at each second."""

    def __init__(self) -> None:
        self.metrics, self.now = PluginMetrics(), 0.0

    def look(self, *, after: float = 1.0, **fields: Any) -> dict[str, float | None]:
        self.now += after
        return {
            reading.name.removeprefix("plugin.shop."): reading.value
            for reading in self.metrics.read([vitals(**fields)], self.now)
        }


@pytest.fixture
def shop() -> Watched:
    return Watched()


class TestErrorRatio:
    def test_few_calls_make_a_ratio(self, shop: Watched) -> None:
        """Nine calls say nothing, whatever became of them."""
        shop.look()
        assert shop.look(calls=9, errors=9)["error_ratio"] is None
        assert shop.look(calls=10, errors=9)["error_ratio"] == 0.9

    def test_the_past_hides_the_present(self, shop: Watched) -> None:
        """A plugin that begins to fail shows it within ten calls, however many went well before."""
        shop.look()
        shop.look(calls=100_000)
        assert shop.look(calls=100_010, errors=10)["error_ratio"] == 1.0

    def test_a_call_in_hand_counts_as_done(self, shop: Watched) -> None:
        """Only what has ended has failed or not."""
        shop.look()
        assert shop.look(calls=19, errors=5, in_hand=9)["error_ratio"] == 0.5

    def test_its_callers_mistakes_are_its_own(self, shop: Watched) -> None:
        """What it refused as a mistake of who asked says nothing of it; it has answered, though."""
        shop.look()
        assert shop.look(calls=50, errors=50, refusals=50)["error_ratio"] is None
        assert shop.look(calls=110, errors=80, refusals=50)["error_ratio"] == 0.5
        shop.look(calls=111, errors=81, refusals=50, timeouts=1)
        assert shop.look(calls=112, errors=81, refusals=50, timeouts=1, in_hand=1)["unanswered"] == 1
        assert shop.look(calls=113, errors=82, refusals=51, timeouts=1, in_hand=1)["unanswered"] == 0

    def test_few_calls_of_long_ago_count(self, shop: Watched) -> None:
        """What is older than the window is forgotten."""
        shop.look()
        shop.look(calls=5, errors=5)
        assert shop.look(after=WINDOW + 1, calls=9, errors=5)["error_ratio"] is None

    def test_a_new_generation_inherits_faults(self, shop: Watched) -> None:
        """The counters begin anew with each generation, and so do the readings."""
        shop.look()
        shop.look(calls=100, errors=100)
        assert shop.look(generation=2, calls=3)["error_ratio"] is None
        assert shop.look(generation=2, calls=13)["error_ratio"] == 0.0


class TestStalled:
    def test_an_idle_plugin_is_stalled(self, shop: Watched) -> None:
        """Who is not asked need not answer."""
        for _ in range(100):
            assert shop.look(calls=5)["stalled"] == 0.0

    def test_one_long_call_is_taken_for_a_wedge(self, shop: Watched) -> None:
        """A single call may be long for its own reasons."""
        shop.look(calls=5)
        for second in range(1, 60):
            assert shop.look(calls=6, in_hand=1, overdue=1, oldest_call=float(second))["stalled"] == 0.0

    def test_calls_that_end_are_passed_over(self, shop: Watched) -> None:
        """A plugin that answers others meanwhile is not stuck."""
        shop.look(calls=5)
        for second in range(1, 60):
            assert shop.look(calls=7 + second, in_hand=2, overdue=2, oldest_call=float(second))["stalled"] <= 1.0

    def test_overdue_calls_are_not_seen(self, shop: Watched) -> None:
        """Two calls that are overdue, and none finished."""
        shop.look(calls=5)
        for second in range(1, 10):
            assert shop.look(calls=7, in_hand=2, overdue=2, oldest_call=float(second))["stalled"] == float(second)

    def test_a_slow_plugin_is_taken_for_a_wedged_one(self, shop: Watched) -> None:
        """Calls that are not overdue are its way, however long they take."""
        shop.look(calls=5)
        for second in range(1, 100):
            assert shop.look(calls=7, in_hand=2, oldest_call=float(second))["stalled"] == 0.0

    def test_callers_that_gave_up_are_not_seen(self, shop: Watched) -> None:
        """Callers with short timeouts leave no call in hand; that nobody was answered is known all the same."""
        shop.look(calls=5)
        for second in range(1, 10):
            found = shop.look(calls=5 + second, errors=second, timeouts=second)
        assert found["stalled"] == 9.0
        assert found["timeouts"] == 1.0
        assert shop.look(calls=15, errors=9, timeouts=9)["stalled"] == 0.0, "it has answered one"

    def test_callers_that_leave_count_as_answered(self, shop: Watched) -> None:
        """One who cancels has no answer; calls much longer than any ever, and left again and again, are stuck."""
        shop.look(calls=5)
        for second in range(1, 10):
            found = shop.look(calls=6 + second, cancelled=second, in_hand=1, overdue=1, oldest_call=0.6)
        assert found["stalled"] == 9.0
        assert found["unanswered"] == 9.0
        assert shop.look(calls=16, cancelled=9)["stalled"] == 0.0

    def test_calls_that_are_meant_to_be_left_are_stuck(self, shop: Watched) -> None:
        """A plugin that has callers wait for news, of whom each leaves some day, is not stuck."""
        shop.look(calls=5, longest_done=30.0)
        for second in range(1, 60):
            found = shop.look(calls=8 + second, cancelled=second, in_hand=3, oldest_call=60.0, longest_done=30.0)
        assert found["stalled"] == 0.0

    def test_it_stays_when_nobody_asks_any_more(self, shop: Watched) -> None:
        """Evidence without anything new ages."""
        shop.look(calls=5)
        shop.look(calls=6, errors=1, timeouts=1)
        for _ in range(int(WINDOW) + 2):
            found = shop.look(calls=6, errors=1, timeouts=1)
        assert found["stalled"] == 0.0


class TestOthers:
    def test_a_rate_is_told_from_one_reading(self, shop: Watched) -> None:
        """The first look knows no rates; they are unknown, not 0."""
        first = shop.look(calls=50)
        assert (first["call_rate"], first["timeouts"], first["faults"], first["blocked"]) == (None,) * 4
        second = shop.look(after=2.0, calls=60, timeouts=4, faults=2, blocked=2.0)
        assert (second["call_rate"], second["timeouts"], second["faults"], second["blocked"]) == (5.0, 2.0, 1.0, 0.4)

    def test_one_long_block_is_less_than_many_short_ones(self, shop: Watched) -> None:
        """What counts is for how long the loop was held, of the last half minute."""
        for second in range(0, 60, 10):
            found = shop.look(after=10.0, blocked=9.0 * second / 10)
        assert found["blocked"] == 0.9
        for _ in range(4):
            found = shop.look(after=10.0, blocked=45.0)
        assert found["blocked"] == 0.0

    def test_a_failed_plugin_is_not_told(self, shop: Watched) -> None:
        """One that could not be brought up says so; one that is kept away says nothing."""
        assert shop.look()["failed"] == 0.0
        assert shop.look(state="failed") == {"failed": 1.0}
        assert shop.look(state="quarantined") == {}

    def test_the_round_trips_of_a_service_are_lost(self, shop: Watched) -> None:
        """Each service has its own, unknown while nobody calls."""
        assert shop.look()["service.shop_service.rtt_p95"] is None
        assert shop.look(latency=Latency(0.1, 0.2, 0.3))["service.shop_service.rtt_p95"] == 0.2
