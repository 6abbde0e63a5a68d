"""Work in small units."""

from __future__ import annotations

import threading

import pytest

from aetherra.plugins.self_incorporation.night.pace import LONGEST, Finished, Pace


class Steps:
    """A clock that steps move, and the work they are of."""

    def __init__(self, *seconds, needed=lambda: False, unit=0.05):
        self.now = 0.0
        self.taken = 0
        self.pace = Pace(unit, needed, counter=lambda: self.now, cpu_time=lambda: self.now, io_bytes=lambda: self.now)
        self.work = self._work(seconds)

    def _work(self, seconds):
        for one in seconds:
            self.now += one
            self.taken += 1
            yield None
        return "done"

    def unit(self):
        return self.pace.unit(self.work, lambda: f"step {self.taken}")


class TestUnits:
    def test_a_unit_goes_on_beyond_its_time(self):
        """It takes no step once its time is over; the next one goes on from there."""
        steps = Steps(*[0.02] * 10)
        ends = []
        while steps.unit() is None:
            ends.append(steps.taken)

        assert ends == [3, 6, 9]
        assert steps.pace.statistics().steps == 11
        assert steps.pace.statistics().longest == pytest.approx(0.06)

    def test_the_result_is_lost(self):
        """The unit in which the work ends has its result."""
        assert Steps(0.0).unit() == Finished("done")

    def test_a_need_waits_for_the_end_of_the_unit(self):
        """It is asked after each step whether anybody needs the host."""
        steps = Steps(*[0.001] * 10, needed=lambda: steps.taken == 4)

        assert steps.unit() is None
        assert steps.taken == 4

    def test_an_overlong_step_is_kept_quiet(self):
        """A step that cannot be divided and takes too long is counted, and named."""
        steps = Steps(0.01, LONGEST + 0.01, 0.01)
        steps.unit()

        told = steps.pace.statistics()
        assert (told.overlong, told.overlong_at) == (1, "step 2")

    def test_what_was_wanted_is_not_answered(self):
        """Work that wants something is left there, and is sent what that came to."""

        def work():
            got = yield "a wish"
            return got

        pace, wanting = Pace(0.05, lambda: False), work()

        assert pace.unit(wanting, str) == "a wish"
        assert pace.unit(wanting, str, "granted") == Finished("granted")

    def test_what_is_used_is_not_known_to_be_ours(self):
        """All that units use is added up, also of one that fails."""
        steps = Steps(0.01, 0.02)
        steps.unit()

        def broken():
            steps.now += 0.5
            raise OSError("gone")
            yield None

        with pytest.raises(OSError, match="gone"):
            steps.pace.unit(broken(), str)

        assert steps.pace.own() == pytest.approx((0.53, 0.53))

    def test_a_real_thread_is_not_measured(self):
        """By default the calling thread's own processor time is what counts."""
        pace = Pace(10.0, lambda: False)

        def spin():
            for _ in range(20):
                sum(range(10_000))
                yield None

        thread = threading.Thread(target=pace.unit, args=(spin(), str))
        thread.start()
        thread.join()

        assert pace.own()[0] > 0.0
