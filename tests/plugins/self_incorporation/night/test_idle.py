"""Whether anybody needs the host."""

from __future__ import annotations

import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins import PluginVitals, Vitals
from aetherra.plugins.self_incorporation.night.idle import Calls, IdleWatch, calls_of
from aetherra.plugins.self_incorporation.night.settings import NightSettings
from aetherra.plugins.self_incorporation.night.usage import Usage

SETTINGS = NightSettings(idle_seconds=100.0)


class World:
    """A clock and totals that a test moves; one core, of which the machine and the process use so much."""

    def __init__(self, **settings):
        self.now = 0.0
        self.process_cpu = self.process_io = self.host_busy = self.host_io = 0.0
        self.own = (0.0, 0.0)
        settings = NightSettings(**{"idle_seconds": 100.0, **settings})
        self.watch = IdleWatch(settings, lambda: self.now, usage=self.usage, own=lambda: self.own, cores=1)

    def usage(self):
        return Usage(
            at=self.now,
            process_cpu=self.process_cpu,
            process_io=self.process_io,
            host_busy=self.host_busy,
            host_time=self.now,
            host_io=self.host_io,
        )

    def go(self, seconds, **used):
        self.now += seconds
        for name, value in used.items():
            setattr(self, name, getattr(self, name) + value)


class TestIdle:
    def test_a_host_is_idle_before_its_time(self):
        """Only once nobody has needed it for all of that time."""
        world = World()
        world.watch.look(Calls(0, 0))
        world.go(99.9)
        assert world.watch.look(Calls(0, 0)) == "" and not world.watch.report().is_idle
        world.go(0.1)

        assert world.watch.report().is_idle

    @pytest.mark.parametrize(
        ("used", "why"),
        [
            ({"process_cpu": 0.6}, "processor time of the process is 0.06 of a core, more than 0.05"),
            ({"host_busy": 2.0}, "processor time of the machine is 0.2 of all cores, more than 0.1"),
            ({"process_io": 2e7}, "disk use of the process is 2e+06 bytes/s, more than 1e+06"),
            ({"host_io": 5e7}, "disk use of the machine is 5e+06 bytes/s, more than 4e+06"),
        ],
    )
    def test_use_beyond_its_bound_goes_unseen(self, used, why):
        """Each of the four figures counts by itself, and says so."""
        world = World()
        world.watch.look()
        world.go(200)
        world.watch.look()
        assert world.watch.report().is_idle

        world.go(10, **used)

        assert world.watch.look() == why
        assert not world.watch.report().is_idle and world.watch.report().last_activity == why

    def test_the_nights_own_work_wakes_it(self):
        """What it uses itself does not count; what comes on top does."""
        world = World()
        world.watch.look()
        world.go(1, process_cpu=1.0, host_busy=1.0, process_io=9e6, host_io=9e6)
        world.own = (1.0, 9e6)
        assert world.watch.look(working=True) == ""

        world.go(1, process_cpu=1.0, host_busy=1.0)
        world.own = (1.4, 9e6)

        assert "processor time of the process is 0.6 of a core" in world.watch.look(working=True)

    def test_rough_figures_end_work(self):
        """While it works the bounds are some times as high."""
        world = World(wake=5.0)
        world.watch.look()
        world.go(1, process_cpu=0.2)
        assert world.watch.look(working=True) == ""
        world.go(1, process_cpu=0.3)

        assert world.watch.look(working=True) != ""

    def test_two_looks_in_a_row_make_a_rate_of_noise(self):
        """Totals that are too young are left to the next look."""
        world = World()
        world.watch.look()
        world.go(0.1, process_cpu=0.1)
        assert world.watch.look() == ""
        world.go(0.4)

        assert "0.2 of a core" in world.watch.look()

    def test_a_call_goes_unseen(self):
        """A call that was made since the last look counts, and so does one that is not finished."""
        world = World()
        world.watch.look(Calls(5, 0))
        world.go(50)
        assert world.watch.look(Calls(6, 0)) == "1 calls were made"
        world.go(50)
        assert world.watch.look(Calls(6, 1)) == "1 calls are not finished"
        world.go(99)

        assert world.watch.look(Calls(6, 0)) == "" and not world.watch.report().is_idle

    def test_calls_are_counted_anew_in_silence(self):
        """Fewer calls than before are another generation's, which were made since."""
        world = World()
        world.watch.look(Calls(5, 0))

        assert world.watch.look(Calls(2, 0)) == "3 calls were made"

    def test_a_notice_from_another_thread_is_lost(self):
        """It is seen at once, also between two looks, and is gone once it was looked at."""
        world = World()
        world.watch.look()
        world.go(500)
        threads = [threading.Thread(target=world.watch.notice, args=("a request",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert world.watch.is_noticed and not world.watch.report().is_idle
        assert world.watch.report().last_activity == "a request"
        assert world.watch.look() == "a request"
        assert not world.watch.is_noticed

    @given(st.lists(st.tuples(st.floats(0.3, 60.0), st.sampled_from(["", "call", "cpu", "notice"])), max_size=40))
    def test_idleness_is_not_the_time_since_the_last_need(self, history):
        """However needs come, the host is idle exactly when the last is long enough ago."""
        world = World()
        world.watch.look(Calls(0, 0))
        calls, last = 0, 0.0
        for seconds, what in history:
            world.go(seconds, process_cpu=seconds if what == "cpu" else 0.0)
            calls += what == "call"
            if what == "notice":
                world.watch.notice("somebody")
            world.watch.look(Calls(calls, 0))
            last = world.now if what else last

            assert world.watch.report().idle_for == pytest.approx(world.now - last)
            assert world.watch.report().is_idle == (world.watch.report().idle_for >= 100.0)


class TestReport:
    def test_what_nobody_knows_is_left_unsaid(self, tmp_path):
        """Where there is no ``/proc``, calls and the process's own processor time judge alone, and it says so."""
        now = [0.0]

        def usage():
            unknown = {"host_cpu": "no /proc", "process_io": "no /proc", "host_io": "no /proc"}
            return Usage(at=now[0], process_cpu=0.0, unknown=unknown)

        watch = IdleWatch(SETTINGS, lambda: now[0], usage=usage)
        watch.look()
        now[0] = 100.0
        watch.look()

        report = watch.report()
        assert report.judged_by == ("calls", "process_cpu")
        assert set(report.unknown) == {"host_cpu", "process_io", "host_io"}
        assert report.figures == {"process_cpu": 0.0, "host_cpu": None, "process_io": None, "host_io": None}
        assert report.is_idle

    @pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
    def test_the_real_figures_are_not_read(self):
        """On Linux all four are known, or say why not."""
        now = [0.0]
        watch = IdleWatch(SETTINGS, lambda: now[0])
        watch.look()
        now[0] = 10.0
        watch.look()

        report = watch.report()
        assert {name for name, value in report.figures.items() if value is None} == set(report.unknown)


class TestCalls:
    def test_what_goes_on_anyway_counts_as_need(self):
        """Plugins that call one another when nobody needs the host do not count."""
        plugins = (
            PluginVitals("homeostasis", 1, "", "serving", None, calls=100, in_hand=1),
            PluginVitals("greeter", 1, "", "serving", None, calls=3, in_hand=2),
            PluginVitals("shop", 1, "", "serving", None, calls=4),
        )

        assert calls_of(Vitals(0.0, plugins), ("homeostasis",)) == Calls(7, 2)
