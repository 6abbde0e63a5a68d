"""Reading totals: of a written ``/proc``, of the real one, and of none."""

from __future__ import annotations

import sys
import time

import pytest

from aetherra.plugins.self_incorporation.night.usage import Usage, UsageReader, rates_between, thread_io

STAT = "cpu  100 10 40 800 50 0 5 5 7 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
IO = "rchar: 9\nwchar: 9\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n"
DISKS = """\
   7       0 loop0 5 0 1000 0 5 0 1000 0 0 0 0
 254       0 vda 10 0 200 0 20 0 300 0 0 0 0
 254       1 vda1 10 0 150 0 20 0 300 0 0 0 0
 259       0 nvme0n1 1 0 8 0 1 0 2 0 0 0 0
 259       1 nvme0n1p1 1 0 8 0 1 0 2 0 0 0 0
 252       0 dm-0 10 0 200 0 20 0 300 0 0 0 0
"""


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "io").write_text(IO)
    (tmp_path / "stat").write_text(STAT)
    (tmp_path / "diskstats").write_text(DISKS)
    return tmp_path


class TestReading:
    def test_a_total_is_not_what_the_system_wrote(self, proc):
        """Each figure is read from its file; guests, partitions and devices made of others do not count twice."""
        usage = UsageReader(lambda: 7.0, proc=proc, cpu_time=lambda: 1.5)()

        assert (usage.at, usage.process_cpu, usage.process_io) == (7.0, 1.5, 12288.0)
        assert (usage.host_busy, usage.host_time) == (160.0, 1010.0)
        assert usage.host_io == 512.0 * (200 + 300 + 8 + 2)
        assert usage.unknown == {}

    def test_a_system_without_proc_is_taken_for_idle(self, tmp_path):
        """What cannot be read is unknown, with its reason, and not 0."""
        usage = UsageReader(proc=tmp_path / "none")()

        assert (usage.process_io, usage.host_busy, usage.host_io) == (None, None, None)
        assert set(usage.unknown) == {"process_io", "host_cpu", "host_io"}
        assert "No such file" in usage.unknown["host_cpu"]
        assert usage.process_cpu > 0

    @pytest.mark.parametrize("text", ["", "cpu", "gpu 1 2 3 4 5 6 7 8", "cpu a b c d e f g h"])
    def test_a_figure_is_made_of_nonsense(self, proc, text):
        """A file that is not understood is a reason, and shown."""
        (proc / "stat").write_text(text)

        usage = UsageReader(proc=proc)()

        assert usage.host_busy is None and "not understood" in usage.unknown["host_cpu"]

    @pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
    def test_the_real_figures_do_not_move(self):
        """On Linux the real files are read, and processor time that is used is seen."""
        reader = UsageReader()
        before = reader()
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
        after = reader()

        assert after.process_cpu - before.process_cpu >= 0.05
        assert after.host_time is not None and before.host_time is not None and after.host_time >= before.host_time
        assert thread_io() >= 0.0


class TestRates:
    def test_what_is_ours_counts(self):
        """What the night itself uses is nobody's need; it is taken off the process and the machine."""
        before = Usage(at=0.0, process_cpu=1.0, process_io=0.0, host_busy=0.0, host_time=0.0, host_io=0.0)
        after = Usage(at=2.0, process_cpu=2.0, process_io=300.0, host_busy=100.0, host_time=400.0, host_io=500.0)

        rates = rates_between(before, after, own_cpu=0.8, own_io=100.0, cores=2)

        assert rates.process_cpu == pytest.approx(0.1)
        assert rates.host_cpu == pytest.approx(0.25 - 0.8 / 4)
        assert (rates.process_io, rates.host_io) == (100.0, 200.0)

    def test_the_unknown_becomes_a_figure(self):
        """No total, no rate."""
        rates = rates_between(Usage(at=0.0, process_cpu=0.0), Usage(at=1.0, process_cpu=0.5))

        assert (rates.process_cpu, rates.host_cpu, rates.process_io, rates.host_io) == (0.5, None, None, None)

    def test_a_rate_over_no_time_is_made_up(self):
        """Two totals of one time have no rate."""
        with pytest.raises(ValueError, match="later totals second"):
            rates_between(Usage(at=1.0, process_cpu=0.0), Usage(at=1.0, process_cpu=0.0))
