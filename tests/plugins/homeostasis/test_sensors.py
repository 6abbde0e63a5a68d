"""Tests of the sensors, on the real machine and on a proc file system of our own."""

import gc
import math
import os
import resource
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.plugins.homeostasis.health import DEFAULT_SETPOINTS
from aetherra.plugins.homeostasis.sensors import ProcessSensors, Reading

NAMES = [
    "process.cpu",
    "process.rss",
    "process.open_files",
    "process.open_files_used",
    "process.threads",
    "process.gc_pause",
    "process.context_switches_involuntary",
    "process.page_faults_major",
    "host.load",
    "host.memory_available",
    "host.disk_free",
    "host.disk_free_bytes",
    "host.pressure_cpu",
    "host.pressure_memory",
    "host.pressure_io",
]
RATES = ["process.cpu", "process.gc_pause", "process.context_switches_involuntary", "process.page_faults_major"]

# As Linux 6.18 writes them; the program's name holds a blank and a bracket, as it may.
FILES = {
    "self/statm": "765 441 413 5 0 123 0\n",
    "self/stat": "4235 (my (odd) name) R 4221 4221 2291 0 -1 4194304 101 0 7 0 3 4 0 0 20 0 12 0 177137 3133440 382 "
    "18446744073709551615 94277346488320 94277346508201 140737401057056 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n",
    "loadavg": "1.50 0.31 0.17 1/82 4235\n",
    "meminfo": "MemTotal:       24684092 kB\nMemFree:        24046476 kB\nMemAvailable:    6171023 kB\n"
    "Buffers:           25456 kB\nHugePages_Total:       0\n",
    "pressure/cpu": "some avg10=12.50 avg60=0.36 avg300=0.12 total=2583199\nfull avg10=0.00 avg60=0.00 total=0\n",
    "pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=9.00 avg60=0.00 total=0\n",
    "pressure/io": "some avg10=100.00 avg60=0.62 avg300=0.16 total=1222384\n",
}
METRIC_OF = {
    "self/statm": "process.rss",
    "self/stat": "process.threads",
    "loadavg": "host.load",
    "meminfo": "host.memory_available",
    "pressure/cpu": "host.pressure_cpu",
    "pressure/memory": "host.pressure_memory",
    "pressure/io": "host.pressure_io",
}

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs a real /proc")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A proc file system of real form, in which this process has 4 open files."""
    for name, content in FILES.items():
        file = tmp_path / "proc" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    (tmp_path / "proc" / "self" / "fd").mkdir()
    for descriptor in range(5):  # the fifth is the folder being listed
        (tmp_path / "proc" / "self" / "fd" / str(descriptor)).touch()
    return tmp_path / "proc"


def by_name(readings: list[Reading]) -> dict[str, Reading]:
    return {reading.name: reading for reading in readings}


class TestOwnProc:
    def test_every_file_is_read_as_its_manual_says(self, proc: Path) -> None:
        """Pages become bytes, percents become ratios, and the right column counts."""
        with ProcessSensors(proc=proc) as sensors:
            readings = by_name(sensors.read(0.0))
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert {name: readings[name].value for name in [*METRIC_OF.values(), "process.open_files"]} == {
            "process.rss": 441 * resource.getpagesize(),
            "process.threads": 12,
            "host.load": 1.5 / (os.cpu_count() or 1),
            "host.memory_available": pytest.approx(0.25),
            "host.pressure_cpu": 0.125,
            "host.pressure_memory": 0.0,
            "host.pressure_io": 1.0,
            "process.open_files": 4,
        }
        assert readings["process.open_files_used"].value == (0.0 if limit == resource.RLIM_INFINITY else 4 / limit)

    @pytest.mark.parametrize("file", list(FILES))
    def test_a_file_that_is_not_there_is_unknown(self, proc: Path, file: str) -> None:
        """Missing is not 0: it has no value, and the reason names the file."""
        (proc / file).unlink()
        with ProcessSensors(proc=proc) as sensors:
            readings = by_name(sensors.read(0.0))
        assert readings[METRIC_OF[file]].value is None
        assert readings[METRIC_OF[file]].reason == f"{proc / file}: No such file or directory"
        assert all(readings[name].value is not None for known, name in METRIC_OF.items() if known != file)

    @pytest.mark.parametrize("file", list(FILES))
    @pytest.mark.parametrize(
        "content",
        ["", "\n", "nonsense", "some avg10=", "some avg10=nan x", "- MemTotal: 0 kB\nMemAvailable: 0 kB", ")"],
    )
    def test_a_file_of_another_form_is_unknown(self, proc: Path, file: str, content: str) -> None:
        """What is not understood has no value, and the reason shows the content."""
        (proc / file).write_text(content)
        with ProcessSensors(proc=proc) as sensors:
            reading = by_name(sensors.read(0.0))[METRIC_OF[file]]
        assert reading.value is None
        assert reading.reason == f"{proc / file} is not understood: {content.encode()!r}"

    def test_without_a_proc_the_rest_is_still_read(self, tmp_path: Path) -> None:
        """Another system than Linux has rates and disk, and says what it has not."""
        with ProcessSensors(tmp_path, proc=tmp_path / "none") as sensors:
            sensors.read(0.0)
            readings = by_name(sensors.read(1.0))
        known = {name for name, reading in readings.items() if reading.value is not None}
        assert known == {*RATES, "host.disk_free", "host.disk_free_bytes"}
        assert all(reading.reason for name, reading in readings.items() if name not in known)

    def test_a_proc_that_vanishes_between_reads_is_unknown(self, proc: Path) -> None:
        """A sensor that worked may stop, and comes back by itself."""
        with ProcessSensors(proc=proc) as sensors:
            assert by_name(sensors.read(0.0))["host.load"].value is not None
            shutil.move(proc, proc.with_name("away"))
            assert by_name(sensors.read(1.0))["host.load"].value is None
            shutil.move(proc.with_name("away"), proc)
            assert by_name(sensors.read(2.0))["host.load"].value is not None

    @settings(deadline=None, max_examples=200)
    @given(file=st.sampled_from(sorted(FILES)), content=st.binary(max_size=300), keep=st.integers(0, 300))
    def test_any_content_gives_a_figure_or_a_reason(
        self, tmp_path_factory: pytest.TempPathFactory, file: str, content: bytes, keep: int
    ) -> None:
        """No content raises, and no figure is negative, infinite or NaN."""
        root = tmp_path_factory.mktemp("proc")
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(FILES[file].encode()[:keep] + content)
        with ProcessSensors(proc=root) as sensors:
            reading = by_name(sensors.read(0.0))[METRIC_OF[file]]
        if reading.value is None:
            assert reading.reason
        else:
            assert 0 <= reading.value < math.inf


class TestRates:
    def test_the_first_read_knows_no_rate(self, proc: Path) -> None:
        """A rate needs two reads, and the first says so."""
        with ProcessSensors(proc=proc) as sensors:
            readings = by_name(sensors.read(100.0))
        for name in RATES:
            assert readings[name].value is None
            assert readings[name].reason == "a rate needs two reads, this is the first"

    def test_processor_time_is_a_ratio_of_what_has_passed(self, proc: Path) -> None:
        """3 s of processor time in 2 s are one and a half cores."""
        used = iter([10.0, 13.0, 13.5])
        with ProcessSensors(proc=proc, cpu_time=lambda: next(used)) as sensors:
            sensors.read(100.0)
            assert by_name(sensors.read(102.0))["process.cpu"].value == 1.5
            assert by_name(sensors.read(104.0))["process.cpu"].value == 0.25

    @pytest.mark.parametrize("now", [100.0, 99.0])
    def test_no_time_between_reads_is_unknown(self, proc: Path, now: float) -> None:
        """No rate is made of nothing, nor of a clock that goes back."""
        with ProcessSensors(proc=proc) as sensors:
            sensors.read(100.0)
            reading = by_name(sensors.read(now))["process.cpu"]
        assert reading.value is None
        assert reading.reason.startswith("no time has passed")

    def test_garbage_collection_is_timed(self, proc: Path) -> None:
        """Collecting many objects takes a share of the time, and doing nothing takes none."""
        keep = [[i] for i in range(100_000)]
        with ProcessSensors(proc=proc) as sensors:
            sensors.read(0.0)
            started = time.perf_counter()
            gc.collect()
            passed = time.perf_counter() - started
            busy = by_name(sensors.read(passed))["process.gc_pause"].value
            gc.disable()
            try:
                sensors.read(passed + 1)
                idle = by_name(sensors.read(passed + 2))["process.gc_pause"].value
            finally:
                gc.enable()
        assert len(keep) == 100_000
        assert busy is not None
        assert 0.0 < busy <= 1.0
        assert idle == 0.0

    def test_closing_lets_go_of_the_garbage_collector(self, proc: Path) -> None:
        """No hook outlives its sensors, however often they are closed."""
        before = len(gc.callbacks)
        with ProcessSensors(proc=proc) as sensors:
            assert len(gc.callbacks) == before + 1
        sensors.close()
        assert len(gc.callbacks) == before


class TestDisk:
    def test_room_is_what_the_system_says(self, tmp_path: Path) -> None:
        """The ratio and the bytes speak of one disk."""
        with ProcessSensors(tmp_path) as sensors:
            readings = by_name(sensors.read(0.0))
        usage = shutil.disk_usage(tmp_path)
        assert readings["host.disk_free_bytes"].value == pytest.approx(usage.free, rel=0.01)
        assert readings["host.disk_free"].value == pytest.approx(usage.free / usage.total, rel=0.1)

    def test_a_path_that_is_not_there_is_unknown(self, tmp_path: Path) -> None:
        """Both figures say which path."""
        with ProcessSensors(tmp_path / "gone") as sensors:
            readings = by_name(sensors.read(0.0))
        for name in ("host.disk_free", "host.disk_free_bytes"):
            assert readings[name].value is None
            assert readings[name].reason == f"{tmp_path / 'gone'}: No such file or directory"

    @linux
    def test_a_file_system_without_blocks_is_unknown(self) -> None:
        """A disk of no size is not a full disk."""
        with ProcessSensors("/proc") as sensors:
            assert by_name(sensors.read(0.0))["host.disk_free"].reason == "/proc is on a file system without blocks"


@linux
class TestRealMachine:
    def test_all_sensors_read_with_a_unit_in_a_fixed_order(self) -> None:
        """On Linux everything but the pressures, which a kernel may lack, is known at the second read."""
        with ProcessSensors() as sensors:
            sensors.read(time.monotonic())
            readings = sensors.read(time.monotonic() + 1e-6)
        assert [reading.name for reading in readings] == NAMES
        assert all(reading.unit for reading in readings)
        unknown = {reading.name for reading in readings if reading.value is None}
        assert {name for name in unknown if not name.startswith("host.pressure_")} == set()

    def test_an_open_file_counts(self, tmp_path: Path) -> None:
        """Three more files are three more."""
        with ProcessSensors() as sensors:
            before = by_name(sensors.read(0.0))["process.open_files"].value
            files = [(tmp_path / str(i)).open("w") for i in range(3)]
            after = by_name(sensors.read(1.0))["process.open_files"].value
            for file in files:
                file.close()
        assert before is not None
        assert after == before + 3

    def test_a_thread_counts(self) -> None:
        """One more thread is one more."""
        done = threading.Event()
        with ProcessSensors() as sensors:
            before = by_name(sensors.read(0.0))["process.threads"].value
            thread = threading.Thread(target=done.wait)
            thread.start()
            after = by_name(sensors.read(1.0))["process.threads"].value
            done.set()
            thread.join()
        assert before is not None
        assert after == before + 1

    def test_memory_that_is_used_counts(self) -> None:
        """Filling 64 MB raises the resident size by about that."""
        with ProcessSensors() as sensors:
            before = by_name(sensors.read(0.0))["process.rss"].value
            block = bytearray(b"x") * 64_000_000
            after = by_name(sensors.read(1.0))["process.rss"].value
        assert len(block) == 64_000_000
        assert before is not None
        assert after is not None
        assert 48e6 < after - before < 80e6

    def test_work_is_seen_as_processor_time(self) -> None:
        """By the clock of its own processor time, a process uses exactly one core."""
        with ProcessSensors() as sensors:
            started = time.process_time()
            sensors.read(started)
            while time.process_time() < started + 0.05:
                pass
            value = by_name(sensors.read(time.process_time()))["process.cpu"].value
        assert value == pytest.approx(1.0, abs=0.05)


class TestNames:
    def test_every_sensor_with_a_setpoint_exists(self) -> None:
        """The setpoints of process and host name sensors that are read."""
        wanted = {name for name in DEFAULT_SETPOINTS if name.startswith(("process.", "host."))}
        assert wanted <= set(NAMES)
