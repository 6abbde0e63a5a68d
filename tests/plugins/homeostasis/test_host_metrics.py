"""Metrics from the kernel's counters: levels as they are, rates and ratios since the last snapshot."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel import Kernel
from aetherra.plugins import LifecycleStatistics
from aetherra.plugins.homeostasis.host_metrics import MINIMUM_EVENTS, host_readings
from aetherra.registry import Latency


@pytest.fixture
async def snapshot():
    """Return what a fresh kernel counts, at 100 s of uptime."""
    async with Kernel() as kernel:
        return msgspec.structs.replace(kernel.statistics(), uptime=100.0)


def later(snapshot, seconds, *, bus=None, actions=None):
    return msgspec.structs.replace(
        snapshot,
        uptime=snapshot.uptime + seconds,
        bus=msgspec.structs.replace(snapshot.bus, **(bus or {})),
        actions=msgspec.structs.replace(snapshot.actions, **(actions or {})),
    )


def read(now, *past):
    return {reading.name: reading for reading in host_readings(now, past)}


class TestHostReadings:
    async def test_a_first_snapshot_has_rates(self, snapshot):
        """Before there are two snapshots every rate is unknown, and says so; levels are known."""
        readings = read(snapshot)

        assert {name for name, reading in readings.items() if reading.value is None} == {
            "actions.failed_ratio", "actions.retry_ratio", "actions.utilisation", "calls.error_ratio", "calls.errors",
            "calls.timeouts", "calls.rate", "events.rate", "bus.dropped", "queue.refused", "queue.expired",
            "dlq.rate", "plugins.load_success",
            *(f"queue.{lane}.{what}_p95" for lane in snapshot.actions.lanes for what in ("wait", "run")),
        }  # fmt: skip
        assert readings["calls.rate"].reason == "needs two readings"
        assert readings["queue.depth_ratio"].value == 0.0

    async def test_times_of_long_ago_pass_for_times_of_now(self, snapshot):
        """While nothing ran since the snapshot before, waiting and running times are unknown."""
        lane = msgspec.structs.replace(snapshot.actions.lanes["normal"], wait=Latency(1.0, 2.0, 3.0), done=5)
        now = later(snapshot, 1.0, actions={"lanes": {**snapshot.actions.lanes, "normal": lane}})
        assert read(now, snapshot)["queue.normal.wait_p95"].value == 2.0
        assert read(later(now, 1.0), now)["queue.normal.wait_p95"].value is None

    async def test_plugins_that_do_not_load_are_not_told(self, snapshot):
        """The share of attempts to bring one up that did, and how often one was started anew."""
        life = LifecycleStatistics(loads=3, load_failures=1, restarts=2)
        readings = read(msgspec.structs.replace(snapshot, lifecycle=life))
        assert readings["plugins.load_success"].value == 0.75
        assert readings["plugins.restarts"].value == 2.0

    async def test_two_snapshots_of_one_moment_divide_by_zero(self, snapshot):
        """No time between two snapshots is no rate."""
        assert read(snapshot, snapshot)["calls.rate"].value is None

    async def test_a_rate_counts_from_the_start(self, snapshot):
        """Rates cover the time since the snapshot before, per second."""
        bus = snapshot.bus
        now = later(snapshot, 10.0, bus={"calls": bus.calls + 30, "published": bus.published + 5, "dropped": 20})
        readings = read(now, snapshot)

        assert readings["calls.rate"].value == 3.0
        assert readings["events.rate"].value == 0.5
        assert readings["bus.dropped"].value == 2.0

    async def test_few_events_make_a_ratio(self, snapshot):
        """One failure among few calls says nothing yet: the ratio is unknown, with how many there were."""
        calls = snapshot.bus.calls
        few = later(snapshot, 1.0, bus={"calls": calls + MINIMUM_EVENTS - 1, "call_errors": 1})
        many = later(snapshot, 1.0, bus={"calls": calls + MINIMUM_EVENTS, "call_errors": 1})

        assert read(few, snapshot)["calls.error_ratio"].value is None
        assert str(MINIMUM_EVENTS - 1) in read(few, snapshot)["calls.error_ratio"].reason
        assert read(many, snapshot)["calls.error_ratio"].value == 1 / MINIMUM_EVENTS

    async def test_a_host_with_little_traffic_has_no_ratio(self, snapshot):
        """Events that come slowly are added up, for a minute at most; of many the latest count."""
        calls = snapshot.bus.calls
        past = [
            later(snapshot, second, bus={"calls": calls + second, "call_errors": min(second, 10)})
            for second in range(61)
        ]

        assert read(past[19], *past[:19])["calls.error_ratio"].value is None
        assert read(past[20], *past[:20])["calls.error_ratio"].value == 10 / 20
        assert read(past[60], *past[:60])["calls.error_ratio"].value == 0.0
        assert read(later(past[20], 60.0), *past[:20])["calls.error_ratio"].value is None, "it was long ago"

    async def test_a_storm_is_seen_long_after_it(self, snapshot):
        """Attempts of more than a quarter of a minute ago say nothing of a storm now."""
        storm = later(snapshot, 1.0, actions={"retried": 30, "done": 10})

        assert read(storm, snapshot)["actions.retry_ratio"].value == 0.75
        assert read(later(storm, 16.0, actions={"done": 12}), snapshot, storm)["actions.retry_ratio"].value is None

    async def test_what_a_shed_lane_refuses_counts_as_refused(self, snapshot):
        """It is refused on purpose: else shedding would hold up the symptom that it is to end."""
        lane = msgspec.structs.replace(snapshot.actions.lanes["background"], refused=50)
        lanes = {**snapshot.actions.lanes, "background": lane}
        now = later(snapshot, 10.0, actions={"lanes": lanes, "dead": {"shed": 40, "queue_full": 10}})

        assert read(now, snapshot)["queue.refused"].value == 1.0

    async def test_work_that_nobody_does_uses_no_worker(self, snapshot):
        """Offered work is what comes, done or not, by what each lane's work takes; unknown before any has run."""
        lane = msgspec.structs.replace(snapshot.actions.lanes["normal"], accepted=900, retried=100)
        come = later(snapshot, 10.0, actions={"workers": 4, "lanes": {**snapshot.actions.lanes, "normal": lane}})
        assert read(come, snapshot)["actions.utilisation"].value is None

        lane = msgspec.structs.replace(lane, run=Latency(0.1, 0.2, 0.3))
        come = later(snapshot, 10.0, actions={"workers": 4, "lanes": {**snapshot.actions.lanes, "normal": lane}})
        assert read(come, snapshot)["actions.utilisation"].value == pytest.approx(1000 * 0.1 / 10 / 4)

    async def test_a_clients_typos_condemn_the_host(self, snapshot):
        """Calls to tags that nobody answers, or with bodies that do not fit, leave the ratio alone."""
        calls = snapshot.bus.calls + 2 * MINIMUM_EVENTS
        refused = {"call_errors": MINIMUM_EVENTS, "call_refusals": MINIMUM_EVENTS}
        typos = later(snapshot, 1.0, bus={"calls": calls, **refused})

        assert read(typos, snapshot)["calls.error_ratio"].value == 0.0

    async def test_dead_actions_are_left_out(self, snapshot):
        """The share of failed actions is that of dead letters among all that ended."""
        now = later(snapshot, 1.0, actions={"done": 75, "dead": {"failed": 20, "timeout": 5}})

        assert read(now, snapshot)["actions.failed_ratio"].value == 0.25

    def test_a_ratio_leaves_its_range(self):
        """Whatever was counted, a ratio is between 0 and 1, or unknown with a reason."""
        import anyio

        async def fresh():
            async with Kernel() as kernel:
                return kernel.statistics()

        base = anyio.run(fresh)

        @given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
        def check(done, failed, errors):
            now = later(
                base,
                1.0,
                actions={"done": done, "dead": {"failed": failed}},
                bus={"calls": base.bus.calls + errors + done, "call_errors": base.bus.call_errors + errors},
            )
            for name in ("actions.failed_ratio", "calls.error_ratio"):
                reading = read(now, base)[name]
                assert (reading.value is None) == bool(reading.reason)
                assert reading.value is None or 0 <= reading.value <= 1

        check()

    async def test_repeated_attempts_and_failed_calls_go_uncounted(self, snapshot):
        """The share of attempts that are followed by another, and calls without a reply a second, are told."""
        now = later(
            snapshot,
            10.0,
            bus={"calls": snapshot.bus.calls + 40, "call_errors": snapshot.bus.call_errors + 5},
            actions={"done": snapshot.actions.done + 10, "retried": snapshot.actions.retried + 30},
        )

        readings = read(now, snapshot)

        assert readings["actions.retry_ratio"].value == 0.75
        assert readings["calls.errors"].value == 0.5
        assert readings["actions.workers"].value == snapshot.actions.workers
